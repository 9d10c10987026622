"""The build before the present work, beside which figures are measured that are ratios to it."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

COMMIT = "aa678d1"


def sources(folder: Path) -> Path | None:
    """Unpack that build into a folder, and return the path of its packages; ``None`` outside of a clone with it."""
    command = ["git", "archive", "--format=tar", COMMIT, "src"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=False)  # noqa: S603
    if ended.returncode:
        return None
    with tarfile.open(fileobj=BytesIO(ended.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"
