"""The service in processes of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.server_process import ServerProcess
from tests.service_keys import FIRST

ROOT = Path(__file__).parents[2]


class Certificate(NamedTuple):
    """A certificate of 127.0.0.1 with its key, and the one of the authority that has signed it: files in PEM form."""

    file: Path
    key: Path
    authority: Path


class ServiceProcess(ServerProcess):
    """A web server with two workers of four threads, over TLS if it has a certificate.

    `environment` names the run's databases.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], certificate: Certificate | None = None) -> None:
        where = ["--host", "127.0.0.1", "--port", "{port}", "tests.over_http.wsgi:application"]
        size = ["--workers", "2", "--blocking-threads", "4"]
        self._dies = folder / "dies"
        variables = {
            "DJANGO_SETTINGS_MODULE": "tests.over_http.settings",
            "SERVICE_PUBLIC_KEY": FIRST.public,
            "SERVICE_DIES": str(self._dies),
        }
        authority = None
        if certificate:
            size += ["--ssl-certificate", str(certificate.file), "--ssl-keyfile", str(certificate.key)]
            authority = certificate.authority
        command = ["-m", "granian", "--interface", "wsgi", *size, *where]
        log = folder / "service.log"
        page = "/state/health/ready"
        super().__init__(command, ROOT, {**environment, **variables}, log, page, authority=authority)

    @property
    def address(self) -> str:
        """The place where the host has mounted the service."""
        return f"{self.url}/state/"

    def die_before_next_answer(self) -> None:
        """End all processes with SIGKILL once the next request is done, before its answer."""
        self._dies.touch()
