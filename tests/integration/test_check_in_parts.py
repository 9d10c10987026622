"""``check_history`` in parts, of a sample, with a report, and after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.factories import make_block, make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.maintenance import verification
from xblock_user_state.maintenance.passes import StateFile
from xblock_user_state.maintenance.shares import Share
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

NAMES = [f"learner{number}" for number in range(40)]


@pytest.fixture
def client(settings: Settings) -> DjangoXBlockUserStateClient:
    """Forty learners, with two rows of two entries each."""
    settings.XBLOCK_USER_STATE = {}
    make_learners(*NAMES)
    client = DjangoXBlockUserStateClient()
    for name in NAMES:
        for number in range(2):
            client.set_many(name, {block: {"number": number} for block in make_blocks(2)})
    return client


def check(**options: Any) -> tuple[str, str]:
    """Return output and error of a check."""
    output = StringIO()
    try:
        call_command("check_history", stdout=output, **options)
    except CommandError as error:
        return output.getvalue(), str(error)
    return output.getvalue(), ""


def learners() -> list[Any]:
    return sorted(StudentModule.objects.values_list("student_id", flat=True).distinct())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_parts_are_the_whole(client: DjangoXBlockUserStateClient) -> None:
    StudentModuleHistory.objects.filter(revision=1, block_id=StudentModule.objects.earliest("pk").block_id).delete()
    whole, error = check()
    parts = [check(part=f"{number}/3") for number in (1, 2, 3)]
    named = [line for output, _ in parts for line in output.splitlines() if line.startswith("learner ")]
    assert sorted(named) == sorted(line for line in whole.splitlines() if line.startswith("learner "))
    assert len(named) >= len(NAMES)
    assert sum(int(output.rpartition(" rows with ")[0].rpartition("\n")[2]) for output, _ in parts) == 80
    assert error.startswith("40 rows disagree")


def test_a_sample_is_that_of_its_learners(client: DjangoXBlockUserStateClient) -> None:
    sampled = [id_ for id_ in learners() if Share(percent=25).has(id_)]
    assert 0 < len(sampled) < len(NAMES)
    assert check(sample="25%") == (f"{2 * len(sampled)} rows with {4 * len(sampled)} entries were checked.\n", "")
    assert check(sample="a few")[1] == "'a few' is not a sample, such as 1%"
    assert check(part="5/4")[1] == "'5/4' is not a part, such as 2/8"


def test_orphans_of_other_parts_are_left_to_them(client: DjangoXBlockUserStateClient) -> None:
    StudentModule.objects.all()._raw_delete("default")
    of_part = [id_ for id_ in learners_of_history() if Share(1, 4).has(id_)]
    assert check(part="1/4")[1] == f"{4 * len(of_part)} entries belong to no state: run sweep_history."


def learners_of_history() -> list[Any]:
    return sorted(StudentModuleHistory.objects.values_list("student_id", flat=True).distinct())


def test_the_report_has_each_fault_and_the_numbers(client: DjangoXBlockUserStateClient, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    check(report=report)
    [only] = lines(report)
    assert only["summary"]["rows"] == 80
    assert only["summary"]["entries"] == 160
    assert {only["summary"][name] for name in ("wrong_rows", "orphans", "stranded", "lost", "hidden")} == {0}

    row = StudentModule.objects.get(student__username=NAMES[3], block__usage_key=str(make_blocks(2)[0]))
    StudentModuleHistory.objects.filter(student_id=row.student_id, block_id=row.block_id, revision=1).delete()
    _, error = check(report=report)
    fault, summary = [line for line in lines(report)[1:] if "missing" in str(line) or "summary" in line][::2]
    assert error
    assert fault["learner"] == str(row.student_id)
    assert fault["block"] == row.block_id
    assert "revision" in fault["fault"]
    assert summary["summary"]["wrong_rows"] == 1


def test_a_report_that_cant_be_written_is_an_error_at_once(client: DjangoXBlockUserStateClient, tmp_path: Path) -> None:
    output, error = check(report=tmp_path / "missing" / "report.jsonl")
    assert (output, "missing" in error) == ("", True)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let checks of pages of ten rows end before they write their place the given number of times."""

    def killed(after: int, **options: Any) -> None:
        write, left = StateFile.write, [after + 1]  # The first write is at the start.

        def dying(self: StateFile, *place: Any) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            write(self, *place)

        with monkeypatch.context() as patch:
            patch.setattr(verification, "PAGE", 10)
            patch.setattr(StateFile, "write", dying)
            with pytest.raises(KeyboardInterrupt):
                check(**options)

    return killed


@pytest.mark.parametrize("pages", [1, 5, 8])
def test_an_interrupted_check_goes_on(
    client: DjangoXBlockUserStateClient, killed: Any, tmp_path: Path, pages: int
) -> None:
    # The last learner's row is gone: the sweep for orphans is interrupted, too.
    client.set(NAMES[-1], make_block("gone"), {"a": 1})
    StudentModule.objects.filter(block__usage_key=str(make_block("gone")))._raw_delete("default")
    state_file = tmp_path / "state.json"
    killed(pages, state_file=state_file)
    output, error = check(state_file=state_file)
    assert output.startswith("going on in the rows, after learner ")
    assert "80 rows with 160 entries were checked." in output
    assert error == "1 entries belong to no state: run sweep_history."
    assert not state_file.exists()
    assert not list(tmp_path.glob("*.new"))


def test_the_sweep_for_orphans_goes_on(client: DjangoXBlockUserStateClient, killed: Any, tmp_path: Path) -> None:
    StudentModule.objects.filter(student__username__in=NAMES[:5])._raw_delete("default")
    _, expected = check()
    state_file = tmp_path / "state.json"
    killed(9, batch=7, state_file=state_file)
    assert json.loads(state_file.read_text())["stage"] != "rows"
    output, error = check(state_file=state_file)
    assert error == expected
    assert "70 rows with 140 entries were checked." in output


def test_the_place_of_another_check_is_refused(
    client: DjangoXBlockUserStateClient, killed: Any, tmp_path: Path
) -> None:
    state_file = tmp_path / "state.json"
    killed(1, state_file=state_file, part="1/1")
    assert "belongs to another check" in check(state_file=state_file, part="1/2")[1]
    state_file.write_text("nonsense")
    assert "holds no place of a check" in check(state_file=state_file)[1]
