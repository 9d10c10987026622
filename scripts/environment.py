"""Creates the project's virtual environment and keeps it up to date.

It runs before anything is installed, so it uses the standard library only. When the environment is complete it returns
at once.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)


class CannotSetUp(Exception):
    """The machine lacks a program or a module; the message names it and its Debian package."""


@dataclass(frozen=True)
class Note:
    """The contents of an environment, written into its folder after each successful installation."""

    python: str
    django: str
    sources: str
    extras: list[str]


def main() -> int:
    arguments = _parse_arguments()
    try:
        _check_interpreter()
        _set_up(ROOT / arguments.venv, arguments.django, arguments.extras, arguments.optional)
    except CannotSetUp as problem:
        print(f"Cannot set up {arguments.venv}: {problem}", file=sys.stderr)
        return 1
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.environment", description=__doc__)
    parser.add_argument("extras", nargs="*", help="extras of the project that must be installed")
    parser.add_argument("--venv", default=".venv", help="folder of the environment, from the project's root")
    parser.add_argument("--django", default="", help="series of Django, such as 5.2; the newest without it")
    parser.add_argument("--optional", action="append", default=[], help="extra to install where it can be")
    return parser.parse_args()


def _check_interpreter() -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    if sys.version_info < OLDEST_PYTHON:
        raise CannotSetUp(f"this is Python {version}, 3.11 or later is needed; choose it with PYTHON=...")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise CannotSetUp(f"this Python has no venv module; install the Debian package python{version}-venv")


def _set_up(venv: Path, django: str, extras: list[str], optional: list[str]) -> None:
    python = sysconfig.get_python_version()
    sources = _hash_sources(python)
    note = _read_note(venv)
    if note is None or note.python != python or (django and note.django != django):
        _create(venv, python)
        note = Note(python, django, "", [])
    wanted = sorted({*note.extras, *extras})
    if (note.sources, note.extras) != (sources, wanted):
        _install(venv, note, wanted)
        note = replace(note, sources=sources, extras=wanted)
        _write_note(venv, note)
    for extra in set(optional) - set(note.extras):
        if _install_optional(venv, note, extra):
            note = replace(note, extras=sorted({*note.extras, extra}))
            _write_note(venv, note)


def constraints_of(python: str) -> Path:
    """Return the file that pins each distribution for a version of Python such as 3.11; it may not exist."""
    return ROOT / "constraints" / f"python{python}.txt"


def _hash_sources(python: str) -> str:
    """Hash the files that decide what is installed: a change of one of them repeats the installation."""
    files = [ROOT / "pyproject.toml", ROOT / "src/xblock_user_state/__init__.py", constraints_of(python)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.exists())).hexdigest()


def _note_path(venv: Path) -> Path:
    return venv / "xblock-user-state.json"


def _read_note(venv: Path) -> Note | None:
    path = _note_path(venv)
    try:
        return Note(**json.loads(path.read_text()))
    except (FileNotFoundError, TypeError):  # The latter when another version of this script wrote it.
        return None


def _write_note(venv: Path, note: Note) -> None:
    _note_path(venv).write_text(json.dumps(asdict(note)))


def _create(venv: Path, python: str) -> None:
    print(f"Making a virtual environment for Python {python} in {venv.name}", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(venv)])


def _install(venv: Path, note: Note, extras: list[str]) -> None:
    print(f"Installing {', '.join(extras)} into {venv.name}; the first time takes some minutes", flush=True)
    _run(_pip(venv, note, extras))


def _install_optional(venv: Path, note: Note, extra: str) -> bool:
    reason = _why_not(extra)
    if reason is None:
        print(f"Installing {extra} into {venv.name}", flush=True)
        if subprocess.run(_pip(venv, note, [extra]), check=False).returncode == 0:
            return True
        reason = "its installation failed, see above"
    print(f"Going on without the extra {extra}: {reason}", flush=True)
    return False


def _why_not(extra: str) -> str | None:
    """Return the reason why an extra can't be installed on this machine: only MariaDB's driver is built from source."""
    packages = _missing_for_mysqlclient() if extra == "mysql" else []
    if not packages:
        return None
    return f"mysqlclient is built from source; install the Debian packages {' '.join(packages)}"


def _missing_for_mysqlclient() -> list[str]:
    packages = []
    if shutil.which("cc") is None:
        packages.append("build-essential")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        packages.append("python3-dev")
    if shutil.which("pkg-config") is None:
        packages.append("pkg-config")
    if shutil.which("mariadb_config") is None and shutil.which("mysql_config") is None:
        packages.append("libmariadb-dev")
    return packages


def _pip(venv: Path, note: Note, extras: list[str]) -> list[str]:
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    series = [f"Django=={note.django}.*"] if note.django else []
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [*pip, "--editable", project, *series, *_constrain(venv, note)]


def _constrain(venv: Path, note: Note) -> list[str]:
    """Return pip's options that pin every version; a version of Python without constraints gets the newest releases."""
    file = constraints_of(note.python)
    if not file.exists():
        print(f"There is no {file.relative_to(ROOT)}: going on with the newest releases", flush=True)
        return []
    own = venv / "constraints.txt"
    own.write_text("".join(f"{line}\n" for line in file.read_text().splitlines() if _agrees(line, note.django)))
    return ["--constraint", str(own)]


def _agrees(constraint: str, series: str) -> bool:
    """Tell whether a constraint leaves pip a release of the series of Django that the caller asked for."""
    name, _, version = constraint.lower().partition("==")
    return not series or name != "django" or f"{version}.".startswith(f"{series}.")


def _run(command: list[str]) -> None:
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        raise CannotSetUp(f"{' '.join(command)} ended with status {status}")


if __name__ == "__main__":
    sys.exit(main())
