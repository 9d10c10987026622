"""The service over TLS, with a certificate that only some callers accept."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.acceptance.scene import problems
from tests.over_http.callers import make_host
from tests.over_http.service_process import Certificate, ServiceProcess
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.remote import RemoteXBlockUserStateClient

pytestmark = pytest.mark.django_db(transaction=True)

[BLOCK] = problems("secret", 1)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    files = Certificate(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "authority.pem")
    made.cert_chain_pems[0].write_to_path(files.file)
    made.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.authority)
    return files


@pytest.fixture
def secure_service(
    tmp_path: Path, child_environment: dict[str, str], certificate: Certificate
) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path, child_environment, certificate) as service:
        yield service


def test_a_client_that_accepts_the_certificate_is_served(
    secure_service: ServiceProcess, certificate: Certificate, learner: str
) -> None:
    context = ssl.create_default_context(cafile=certificate.authority)
    with RemoteXBlockUserStateClient(secure_service.address, make_host(), ssl_context=context) as client:
        client.set(learner, BLOCK, {"answer": "B"})
        assert client.get(learner, BLOCK).state == {"answer": "B"}
    elsewhere = secure_service.address.replace("127.0.0.1", "localhost")
    # The system does not know the authority, and the certificate is that of another name.
    for address, known in ((secure_service.address, None), (elsewhere, context)):
        assert_refused(address, known)


def assert_refused(address: str, context: ssl.SSLContext | None) -> None:
    """Expect an error at the first attempt: the next one would meet the same certificate."""
    attempts: list[str] = []

    def token() -> str:
        attempts.append("token")
        return attempts[-1]

    with (
        RemoteXBlockUserStateClient(address, token, ssl_context=context) as client,
        pytest.raises(ServiceUnavailable, match="CERTIFICATE_VERIFY_FAILED") as raised,
    ):
        client.get("ann", BLOCK)
    assert raised.value.__cause__ is not None
    assert len(attempts) == 1
