"""Packing of old history: readers and commands find the same entries, wherever they are."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.factories import BY, make_block, make_learners
from xblock_user_state.actions import delete_block, delete_learner, move_state
from xblock_user_state.archive import read_export
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import PACK
from xblock_user_state.history.packs import MOST_ENTRIES
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance import compaction, paging
from xblock_user_state.maintenance.checkpoint import Checkpoint
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK = make_block()


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "ben")
    return DjangoXBlockUserStateClient()


Compact = Callable[..., str]


@pytest.fixture
def compact(tmp_path: Path) -> Compact:
    """Runs the command, and returns its output."""

    def run(older_than: str = "0h", **options: Any) -> str:
        output = io.StringIO()
        options = {"state_file": tmp_path / "position.json", **options}
        call_command("compact_history", older_than=older_than, stdout=output, **options)
        return output.getvalue()

    return run


def check() -> str:
    output = io.StringIO()
    call_command("check_history", stdout=output)
    return output.getvalue()


def attempt(client: DjangoXBlockUserStateClient, times: int, name: str = "ann", start: int = 0) -> None:
    """Submit an answer this many times, each time with another score."""
    for number in range(start, start + times):
        answers = [{"input": str(each)} for each in range(number + 1)]
        with client.batch(name) as batch:
            batch.set(BLOCK, {"attempts": number, "answers": answers, "now": answers[-1]})
            batch.set_score(BLOCK, number, 1000)


def history(client: DjangoXBlockUserStateClient, name: str = "ann", **options: Any) -> list[Any]:
    return list(client.get_history(name, BLOCK, **options))


def revisions() -> list[tuple[int, bool]]:
    """Return the revision of each row of the default history, and whether it is a pack."""
    rows = StudentModuleHistory._base_manager.order_by("student_id", "block_id", "revision")
    return [(revision, encoding == PACK) for revision, encoding in rows.values_list("revision", "encoding")]


def test_readers_see_the_same_history(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 40)
    client.delete("ann", BLOCK)
    before = history(client)
    assert compact().startswith("41 entries of 1 rows were packed into 1 packs.\n")
    assert revisions() == [(41, True)]
    assert history(client) == before
    for start in range(1, 43):
        assert history(client, before_revision=start) == [entry for entry in before if entry.revision < start]
    assert history(client, limit=7) == before[:7]
    assert check().startswith("1 rows with 41 entries were checked.")


def test_changes_go_on_after_a_pack(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 20)
    compact()
    attempt(client, 40, start=20)
    before = history(client)
    assert [entry.revision for entry in before] == [*range(60, 0, -1)]
    assert revisions() == [(20, True), *((revision, False) for revision in range(21, 61))]
    check()
    compact()
    assert revisions() == [(60, True)]
    assert history(client) == before
    check()


def test_packs_have_a_bounded_number_of_entries(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 2 * MOST_ENTRIES + 10)
    before = history(client)
    compact()
    assert revisions() == [(each, True) for each in (MOST_ENTRIES, 2 * MOST_ENTRIES, 2 * MOST_ENTRIES + 10)]
    assert history(client) == before
    check()
    assert compact().startswith("0 entries")


def test_only_entries_of_the_age_are_packed(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 10)
    old = datetime.now(UTC) - timedelta(days=90)
    for revision in range(1, 7):
        created = old + timedelta(minutes=revision)
        StudentModuleHistory._base_manager.filter(revision=revision).update(created=created)
    before = history(client)
    assert compact("91d").startswith("0 entries")
    assert compact("12w").startswith("6 entries")
    assert revisions() == [(6, True), (7, False), (8, False), (9, False), (10, False)]
    assert history(client) == before
    check()
    assert compact("12w").startswith("0 entries")


def test_a_pass_may_be_limited(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    for name in ("ann", "ben"):
        attempt(client, 3, name)
    assert compact(learner="ben").startswith("3 entries of 1 rows")
    assert compact(context=str(BLOCK.context_key)).startswith("3 entries of 2 rows")
    with pytest.raises(CommandError, match="there is no user"):
        compact(learner="nobody")


@pytest.mark.parametrize("age", ["", "90", "d", "1.5d", "90 d", "3m"])
def test_an_age_is_a_number_with_a_unit(compact: Compact, age: str) -> None:
    with pytest.raises(CommandError, match="is not an age, such as 36h"):
        compact(age)


def test_plain_entries_are_packed_too(
    client: DjangoXBlockUserStateClient, compact: Compact, settings: Settings
) -> None:
    settings.XBLOCK_USER_STATE = {"HISTORY_ENCODING": "plain"}
    attempt(client, 10)
    settings.XBLOCK_USER_STATE = {}
    attempt(client, 10, start=10)
    before = history(client)
    compact()
    assert revisions() == [(20, True)]
    assert history(client) == before
    check()


def test_a_score_without_a_state_is_packed(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    for grade in range(5):
        client.set_score("ann", BLOCK, grade, None)
    before = history(client)
    compact()
    assert revisions() == [(5, True)]
    assert history(client) == before
    assert [entry.state for entry in before] == [None] * 5
    check()


def test_a_row_that_was_deleted_by_sql_begins_after_its_pack(
    client: DjangoXBlockUserStateClient, compact: Compact
) -> None:
    attempt(client, 10)
    earlier = history(client)
    compact()
    StudentModule._base_manager.all()._raw_delete("default")
    attempt(client, 3, start=50)
    # The first entries of both lives had the same revisions.
    found = history(client)
    assert found[3:] == earlier
    assert [entry.revision for entry in found] == [*range(13, 0, -1)]
    assert [entry.state["attempts"] for entry in found[:3]] == [52, 51, 50]
    attempt(client, 1, start=60)
    assert [entry.revision for entry in history(client)] == [*range(14, 0, -1)]
    check()


def test_the_check_names_a_life_that_has_revisions_of_a_pack(
    client: DjangoXBlockUserStateClient, compact: Compact
) -> None:
    attempt(client, 10)
    compact()
    StudentModule._base_manager.all()._raw_delete("default")
    attempt(client, 3, start=50)
    with pytest.raises(CommandError, match="1 rows disagree"):
        check()
    assert compact().startswith("0 entries")
    call_command("repair_history", stdout=io.StringIO())
    assert [entry.revision for entry in history(client)] == [*range(13, 0, -1)]
    check()


def test_a_restored_row_goes_on_after_its_pack(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 4)
    rows = StudentModule._base_manager.values("revision", "state", "grade", "modified", "history_checksum").get()
    attempt(client, 6, start=4)
    earlier = history(client)
    compact()
    StudentModule._base_manager.update(**rows)
    attempt(client, 2, start=70)
    found = history(client)
    assert found[2:] == earlier
    assert [(entry.revision, entry.state["attempts"]) for entry in found[:2]] == [(12, 71), (11, 70)]
    check()


def damage(revision: int) -> None:
    """Change a byte in the middle of a body."""
    row = StudentModuleHistory._base_manager.filter(revision=revision)
    body = bytes(row.get().body or b"")
    place = len(body) // 2
    row.update(body=body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :])


def faults() -> list[str]:
    output = io.StringIO()
    with pytest.raises(CommandError):
        call_command("check_history", stdout=output)
    return [line.partition("): ")[2] for line in output.getvalue().splitlines() if "learner" in line]


def test_a_damaged_pack_is_named_and_closed_off(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 20)
    compact()
    attempt(client, 2, start=20)
    damage(20)
    found = history(client)
    assert [entry.revision for entry in found] == [*range(22, 0, -1)]
    with pytest.raises(DamagedHistory, match="revision 7 can't be read"):
        found[15].state  # noqa: B018
    first, *others = faults()
    assert first.startswith("revision 1 can't be read: its pack is damaged")
    assert others[0].startswith(
        "revisions 2 to 22 can't be read: they are in the damaged pack of revision 20, or build on it"
    )
    assert compact().endswith("22 old entries can't be read, or are there twice, and stay: run check_history.\n")
    call_command("repair_history", stdout=io.StringIO())
    # The newest is written from the state.
    assert "21 entries were lost and are closed off" in check()


def test_the_newest_entry_of_a_damaged_pack_is_written_anew(
    client: DjangoXBlockUserStateClient, compact: Compact
) -> None:
    attempt(client, 20)
    newest = history(client)[0]
    compact()
    damage(20)
    call_command("repair_history", stdout=io.StringIO())
    assert history(client)[0] == newest
    assert "19 entries were lost and are closed off" in check()


def test_other_entries_are_repaired_beside_packs(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 10)
    compact()
    attempt(client, 3, start=10)
    StudentModuleHistory._base_manager.filter(revision=12)._raw_delete("default")
    before = history(client)[-10:]
    call_command("repair_history", stdout=io.StringIO())
    assert revisions()[0] == (10, True)
    assert history(client)[-10:] == before
    check()


def test_deleted_learners_leave_no_pack(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    for name in ("ann", "ben"):
        attempt(client, 5, name)
    compact()
    delete_learner(get_user_model().objects.get(username="ann").pk)
    assert revisions() == [(5, True)]
    delete_block(BLOCK, **BY)
    assert revisions() == []


def test_packs_move_with_their_block(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 5)
    before = history(client)
    compact()
    new = make_block("renamed")
    move_state(BLOCK, new, **BY)
    assert [entry._replace(block_key=BLOCK) for entry in client.get_history("ann", new)] == before
    check()


def test_packs_without_a_state_are_swept(client: DjangoXBlockUserStateClient, compact: Compact) -> None:
    attempt(client, 5)
    compact()
    StudentModule._base_manager.all()._raw_delete("default")
    call_command("sweep_history", stdout=io.StringIO())
    assert revisions() == []


def test_an_export_has_the_entries_of_packs(
    client: DjangoXBlockUserStateClient, compact: Compact, tmp_path: Path
) -> None:
    attempt(client, 5)
    call_command("export_history", tmp_path / "before", stdout=io.StringIO())
    compact()
    call_command("export_history", tmp_path / "after", stdout=io.StringIO())
    assert list(read_export(tmp_path / "after")) == list(read_export(tmp_path / "before"))


def test_an_interrupted_pass_goes_on(
    client: DjangoXBlockUserStateClient, compact: Compact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ann", "ben"):
        attempt(client, 3, name)
    monkeypatch.setattr(paging, "PAGE", 1)
    monkeypatch.setattr(compaction.Compaction, "_compact", fail_at(2, compaction.Compaction._compact))
    with pytest.raises(CommandError, match="interrupted after 1 rows: no disk"):
        compact()
    assert len(revisions()) == 4
    assert compact().startswith("going on after learner ")
    assert revisions() == [(3, True), (3, True)]
    assert not (tmp_path / "position.json").exists()


def fail_at(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that raises an error at one of its calls."""
    calls = count(1)

    def failing(*args: Any) -> Any:
        if next(calls) == call:
            raise OperationalError("no disk")
        return function(*args)

    return failing


def test_the_file_of_another_job_is_refused(compact: Compact, tmp_path: Path) -> None:
    Checkpoint(tmp_path / "position.json", "default", "default").write(None, {})
    with pytest.raises(CommandError, match="belongs to a back-fill"):
        compact()


def test_the_rate_is_bounded(
    client: DjangoXBlockUserStateClient, compact: Compact, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    attempt(client, 20)
    compact(rate=4)
    assert 4 < sum(pauses) <= 5
    with pytest.raises(CommandError, match="--rate is 0"):
        compact(rate=0)


def test_a_page_of_a_packed_history_takes_no_more_statements(
    client: DjangoXBlockUserStateClient, compact: Compact
) -> None:
    attempt(client, 10)
    with CaptureQueriesContext(connection) as before:
        history(client, before_revision=6)
    compact()
    with CaptureQueriesContext(connection) as after:
        history(client, before_revision=6)
    assert len(after) == len(before)
