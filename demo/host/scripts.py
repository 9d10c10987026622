"""Runs the Python scripts of problems, each in a process of its own.

What problems run before a script puts a seeded stand-in for ``random`` into ``sys.modules`` and moves ``TMPDIR``:
in the server's process every other request would feel it. The process has the rights of the server, which is enough
for a course that is part of this repository. A site whose problems others write runs the codejail service instead.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from typing import Any

from xblocks_contrib.problem.capa.safe_exec.safe_exec import SafeExecException, json_safe

TIMEOUT = 20
RUNNER = """
import json, sys
from codejail.safe_exec import json_safe
code, names = json.load(sys.stdin)
exec(code, names)
sys.__stdout__.write(json.dumps(json_safe(names)))
"""


def run(task: dict[str, Any]) -> tuple[str | None, SafeExecException | None]:
    """Run the code of a task and leave its variables in the task's ``globals_dict``.

    The signature is what xblocks-contrib asks of ``CODE_JAIL_REST_SERVICE_REMOTE_EXEC``.
    """
    answer, failure = _run(json.dumps([task["code"], json_safe(task["globals_dict"])], sort_keys=True))
    if failure:
        return failure, SafeExecException(failure)
    task["globals_dict"].update(json.loads(answer))
    return None, None


@lru_cache(maxsize=1000)
def _run(task: str) -> tuple[str, str]:
    """Return the variables as JSON, and what went wrong. The seed is part of the code, so a result can be kept."""
    done = subprocess.run(  # noqa: S603 - this interpreter, with a program of ours
        [sys.executable, "-c", RUNNER], input=task, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    return done.stdout, done.stderr if done.returncode else ""
