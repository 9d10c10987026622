"""Pins the newest releases: writes the constraints of one version of Python, the one that runs this.

    python -m scripts.constraints

pip resolves all extras together, also those that never share an environment, so that one file serves every
environment. Nothing is installed outside a temporary environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

from scripts.environment import ROOT, constraints_of


def main() -> int:
    target = constraints_of(sysconfig.get_python_version())
    with tempfile.TemporaryDirectory() as place:
        pins = _resolve(Path(place))
    target.parent.mkdir(exist_ok=True)
    target.write_text("".join(f"{pin}\n" for pin in sorted(pins, key=str.lower)))
    print(f"Pinned {len(pins)} distributions in {target.relative_to(ROOT)}")
    return 0


def _resolve(place: Path) -> list[str]:
    """Return `name==version` of each distribution that pip would install for all extras."""
    venv, report = place / "venv", place / "report.json"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # An old Python brings an old setuptools into the environment, which pip would keep.
    new = ["install", "--dry-run", "--ignore-installed", "--report", str(report)]
    subprocess.run([*pip, *new, f"{ROOT}[{','.join(_extras())}]"], check=True)
    return [
        "{name}=={version}".format_map(each["metadata"])
        for each in json.loads(report.read_text())["install"]
        if each["requested"] is False
    ]


def _extras() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sorted(project["optional-dependencies"])


if __name__ == "__main__":
    sys.exit(main())
