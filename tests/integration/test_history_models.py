"""The history's models, read through the ORM."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models.signals import post_init

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.histories import ESSAY
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history import encoding, window
from xblock_user_state.history.encoding import DELTA, FULL, MAX_CHAIN, PLAIN, SPLICE
from xblock_user_state.history.entries import COLUMNS, EntryRow
from xblock_user_state.history.reading import decode
from xblock_user_state.interface import BlockScore, DamagedHistory, HistoryEntry, State
from xblock_user_state.models import BaseStudentModuleHistory, StudentModule, StudentModuleHistory
from xblock_user_state.store.dialects.rows import Target
from xblock_user_state.store.statements import fetch

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


def test_an_entry_has_state_score_and_time_of_its_revision(client: DjangoXBlockUserStateClient) -> None:
    client.set_score("ann", make_block(), 1, 2)
    client.set("ann", make_block(), {"a": "é"})
    client.delete("ann", make_block())
    module = StudentModule.objects.get()
    entries = list(StudentModuleHistory.objects.order_by("revision"))
    decode(entries)
    assert [(entry.revision, entry.state, entry.grade, entry.max_grade) for entry in entries] == [
        (1, None, 1.0, 2.0),
        (2, '{"a":"\\u00e9"}', 1.0, 2.0),
        (3, "{}", 1.0, 2.0),
    ]
    assert entries[-1].created == module.modified
    assert entries[-1].score == BlockScore(1.0, 2.0, module.modified)
    assert {entry.version for entry in entries} == {None}
    assert str(entries[0]) == f"learner {module.student_id}, block {module.block_id}, revision 1"


def test_entries_name_their_actors(client: DjangoXBlockUserStateClient) -> None:
    cid, tutor = make_learners("cid", "tutor")
    client.set("cid", make_block(), {"a": 1})
    DjangoXBlockUserStateClient(cid).set("cid", make_block(), {"a": 2})
    DjangoXBlockUserStateClient(tutor).set("cid", make_block(), {"a": 3})
    DjangoXBlockUserStateClient(tutor).set("cid", make_block(), {"a": 4})

    with captured() as statements:
        actors = [entry.actor for entry in client.get_history("cid", make_block())]

    assert actors == ["tutor", "tutor", "cid", None]
    # The history, and the name of the actor who is not the learner.
    assert len(statements) == 2
    tutor.delete()
    assert [entry.actor for entry in client.get_history("cid", make_block())] == [None, None, "cid", None]


def test_the_history_of_some_modules_is_newest_first(client: DjangoXBlockUserStateClient) -> None:
    one, two, other = make_blocks(3)
    for value in range(3):
        for name in ("ann", "bob"):
            client.set_many(name, {key: {"value": value, "who": name} for key in (one, two, other)})
    modules = StudentModule.objects.exclude(block__usage_key=str(other))
    entries = BaseStudentModuleHistory.get_history(modules)
    assert len(entries) == 12
    assert [entry.created for entry in entries] == sorted((entry.created for entry in entries), reverse=True)
    assert {(entry.student_id, entry.block_id) for entry in entries} == {
        (module.student_id, module.block_id) for module in modules
    }


def test_entries_are_the_rows_of_their_store(client: DjangoXBlockUserStateClient) -> None:
    ann = get_user_model().objects.get(username="ann")
    client.set("ann", make_block(), {"a": 1})
    DjangoXBlockUserStateClient(ann).set_score("ann", make_block(), 1, 2)
    entries = BaseStudentModuleHistory.get_history(StudentModule.objects.all())
    rows = list(StudentModuleHistory.objects.order_by("-revision"))
    assert [(type(entry), entry._state.db, entry._state.adding) for entry in entries] == [
        (StudentModuleHistory, "default", False)
    ] * 2
    assert [values(entry) for entry in entries] == [values(row) for row in rows]
    assert [entry.state for entry in entries] == ['{"a":1}'] * 2


def values(entry: BaseStudentModuleHistory) -> list[Any]:
    """Return the values of all columns."""
    return [getattr(entry, name) for name in COLUMNS]


def test_a_row_has_all_columns_of_an_entry() -> None:
    assert EntryRow._fields == (*COLUMNS, "store", "pack", "hidden", "is_archived")
    assert [field.attname for field in StudentModuleHistory._meta.concrete_fields] == [*COLUMNS]


def test_the_client_makes_no_instances_of_entries(client: DjangoXBlockUserStateClient) -> None:
    for number in range(3):
        client.set("ann", make_block(), {"a": number})
    made: list[object] = []

    def note(instance: object, **_: object) -> None:
        made.append(instance)

    post_init.connect(note, sender=StudentModuleHistory)
    try:
        history = list(client.get_history("ann", make_block()))
    finally:
        post_init.disconnect(note, sender=StudentModuleHistory)
    assert [entry.state for entry in history] == [{"a": 2}, {"a": 1}, {"a": 0}]
    assert made == []


def test_entries_of_every_encoding_are_read_in_one_pass(client: DjangoXBlockUserStateClient) -> None:
    for number in range(4):
        client.set("ann", make_block(), {"number": number, "essay": ESSAY})
    texts = [f'{{"number":{number},"essay":{json.dumps(ESSAY)}}}' for number in range(4)]
    rows = StudentModuleHistory._base_manager.filter(student__username="ann")
    # Frames of the first version, which had no splices.
    rows.filter(revision=2).update(encoding=DELTA, body=encoding._compress(texts[1], texts[0]))
    rows.filter(revision=4).update(encoding=PLAIN, body=texts[3].encode())
    assert [*rows.order_by("revision").values_list("encoding", flat=True)] == [FULL, DELTA, SPLICE, PLAIN]
    for limit in (None, 1, 2, 3):
        history = client.get_history("ann", make_block(), limit=limit)
        assert [(state_of(entry) or {})["number"] for entry in history] == [3, 2, 1, 0][:limit]


def test_a_page_reads_its_entries_and_those_that_they_build_on(
    client: DjangoXBlockUserStateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def noting(target: Target, *others: Any, **options: Any) -> list[Any]:
        rows = [*fetch(target, *others, **options)]
        read.extend(values[target.columns.index("revision")] for values in rows)
        return rows

    for number in range(MAX_CHAIN + 4):
        client.set("ann", make_block(), {"number": number, "essay": ESSAY})
    monkeypatch.setattr(window, "fetch", noting)
    for limit, before, expected in (
        # Revisions 1 and 33 are full.
        (1, None, [36, 35, 34, 33]),
        (4, None, [36, 35, 34, 33]),
        (1, 34, [34, 33]),
        (2, 6, [6, 5, 4, 3, 2, 1]),
        (9, 3, [3, 2, 1]),
    ):
        read.clear()
        entries = [*client.get_history("ann", make_block(), limit=limit, before_revision=before)]
        assert [entry.revision for entry in entries] == [*range((before or 37) - 1, 0, -1)][:limit]
        # The row at `before` may be a pack.
        assert read == expected


def test_the_history_of_a_learners_modules_is_one_statement(client: DjangoXBlockUserStateClient) -> None:
    client.set_many("ann", {key: {"a": 1} for key in make_blocks(20)})
    modules = list(StudentModule.objects.all())
    with captured() as statements:
        assert len(BaseStudentModuleHistory.get_history(modules)) == 20
    assert len(statements) == (2 if "student_module_history" in connections else 1)
    with captured() as statements:
        assert BaseStudentModuleHistory.get_history([]) == []
    assert statements == []


def test_a_damaged_entry_does_not_take_down_those_that_do_not_build_on_it(client: DjangoXBlockUserStateClient) -> None:
    for number in range(MAX_CHAIN + 2):
        client.set("ann", make_block(), {"number": number, "essay": ESSAY})
    entries = StudentModuleHistory._base_manager.filter(student__username="ann")
    entries.filter(revision=30).update(body=b"damaged")
    entries.filter(revision=1).update(body=b"not JSON", encoding=PLAIN)
    history = list(client.get_history("ann", make_block()))
    assert [entry.revision for entry in history] == [*range(MAX_CHAIN + 2, 0, -1)]
    # Revision 33 is full again; the entries from 2 on build on the text of 1, which has changed.
    assert [state_of(entry) for entry in history[:2]] == [
        {"number": 33, "essay": ESSAY},
        {"number": 32, "essay": ESSAY},
    ]
    for entry in history[2:]:
        named = rf"^'ann' in {re.escape(str(make_block()))}: .*revision {entry.revision} "
        with pytest.raises(DamagedHistory, match=named):
            state_of(entry)


def state_of(entry: HistoryEntry) -> State | None:
    return entry.state
