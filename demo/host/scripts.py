"""Runs the Python scripts of problems, each in a separate process.

Before a script, capa replaces ``random`` in ``sys.modules`` by a seeded version and changes ``TMPDIR``. In the server's
process this would affect every other request. The separate process has the rights of the server, which is safe enough
for the course in this repository. A site with problems by other authors should run the codejail service instead.
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
    """Run the code of a task and store its variables in the task's ``globals_dict``.

    xblocks-contrib requires this signature for ``CODE_JAIL_REST_SERVICE_REMOTE_EXEC``.
    """
    # Sorted keys make equal tasks equal cache keys.
    answer, failure = _run(json.dumps([task["code"], json_safe(task["globals_dict"])], sort_keys=True))
    if failure:
        return failure, SafeExecException(failure)
    task["globals_dict"].update(json.loads(answer))
    return None, None


@lru_cache(maxsize=1000)
def _run(task: str) -> tuple[str, str]:
    """Return the variables as JSON, and the error output. Results are cached: the code contains the seed."""
    done = subprocess.run(  # noqa: S603 - this interpreter, with our own program
        [sys.executable, "-c", RUNNER], input=task, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    return done.stdout, done.stderr if done.returncode else ""
