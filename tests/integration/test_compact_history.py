"""Packing of old history: readers and commands find the same entries, wherever they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import PACK
from xblock_user_state.history.packs import MOST_ENTRIES
from xblock_user_state.models import StudentModuleHistory

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
        call_command("compact_history", "--older-than", older_than, stdout=output, **options)
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


@pytest.mark.parametrize("age", ["", "90", "d", "-1d", "1.5d", "90 d", "3m"])
def test_an_age_is_a_number_with_a_unit(compact: Compact, age: str) -> None:
    with pytest.raises(CommandError, match="older-than"):
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
