"""Programs run side by side, and their outputs read as if they had run one after another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.side_by_side import Ended, Program, run_side_by_side
from tests.documentation import ROOT

pytestmark = pytest.mark.timeout(60)

BEGIN_AND_WAIT = """
import sys, time
from pathlib import Path
print("begins", flush=True)
while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
print("ends")
"""
BE_QUICK = """
import sys
from pathlib import Path
print("is quick")
Path(sys.argv[1]).touch()
"""
COUNT_NEIGHBOURS = """
import sys, time
from pathlib import Path
mine = Path(sys.argv[1], sys.argv[2])
mine.touch()
time.sleep(0.05)
print(len(list(mine.parent.iterdir())))
mine.unlink()
"""
SLEEP_AND_CLEAN_UP = """
import sys, time
from pathlib import Path
try:
    Path(sys.argv[1], "begun").touch()
    time.sleep(600)
finally:
    Path(sys.argv[1], "cleaned up").touch()
"""
LEAVE_A_CHILD = """
import subprocess
nowhere = subprocess.DEVNULL
print(subprocess.Popen(["sleep", "600"], stdout=nowhere, stderr=nowhere).pid)
"""


def program(title: str, code: str, *arguments: object) -> Program:
    return Program(title, [sys.executable, "-c", code, *map(str, arguments)], os.environ)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that can use the names of this module."""
    command = [sys.executable, "-c", f"from {__name__} import *\n{code}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def wait_until(reached: Callable[[], bool]) -> None:
    while not reached():
        time.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_ends_with_its_status_and_what_it_printed() -> None:
    failure = "import sys; print('out', flush=True); sys.exit('error')"
    programs = [program("good", "print('well')"), program("bad", failure)]
    assert run_side_by_side(programs, 2) == [Ended(0, "well\n"), Ended(1, "out\nerror\n")]


def test_output_is_whole_and_in_the_order_of_the_programs(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    quick_was_there = tmp_path / "quick"
    programs = [program("Slow", BEGIN_AND_WAIT, quick_was_there), program("Quick", BE_QUICK, quick_was_there)]
    run_side_by_side(programs, 2)
    assert capfdbinary.readouterr().out == b"\nSlow\nbegins\nends\n\nQuick\nis quick\n"


def test_the_first_is_shown_as_it_comes(tmp_path: Path) -> None:
    end = tmp_path / "end"
    with start("run_side_by_side([program('Slow', BEGIN_AND_WAIT, sys.argv[1])], 2)", end) as ours:
        assert ours.stdout is not None
        assert [ours.stdout.readline() for _ in range(3)] == ["\n", "Slow\n", "begins\n"]
        end.touch()
        assert ours.communicate()[0] == "ends\n"
    assert ours.returncode == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_more_run_at_once_than_there_are_jobs(tmp_path: Path, jobs: int) -> None:
    programs = [program(f"{number}", COUNT_NEIGHBOURS, tmp_path, number) for number in range(5)]
    counted = [int(ended.output) for ended in run_side_by_side(programs, jobs)]
    assert max(counted) <= jobs


def test_what_a_program_leaves_behind_is_killed() -> None:
    [parent] = run_side_by_side([program("parent", LEAVE_A_CHILD)], 1)
    wait_until(lambda: not is_running(int(parent.output)))


def test_all_that_run_are_interrupted_with_us_and_clean_up(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second", "waiting")]
    for folder in folders:
        folder.mkdir()
    sleepers = "[program('sleeper', SLEEP_AND_CLEAN_UP, folder) for folder in sys.argv[1:]]"
    with start(f"run_side_by_side({sleepers}, 2)", *folders) as ours:
        wait_until(lambda: all((folder / "begun").exists() for folder in folders[:2]))
        ours.send_signal(signal.SIGINT)
    assert ours.returncode != 0
    assert [(folder / "cleaned up").exists() for folder in folders] == [True, True, False]
    assert not (folders[2] / "begun").exists()
