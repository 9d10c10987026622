"""The demo's history page over entries that the client wrote."""

from __future__ import annotations

import pytest
from django.test import override_settings

from demo.host.timeline import timeline
from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import FULL
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db

BLOCK = make_block()


def test_newest_first_with_what_each_revision_changed() -> None:
    ada, staff = make_learners("ada", "staff")
    own = DjangoXBlockUserStateClient(ada)
    with own.batch("ada") as batch:
        batch.set(BLOCK, {"attempts": 1, "answer": "a"})
        batch.set_score(BLOCK, 0, 1)
    own.set("ada", BLOCK, {"answer": "b"})
    with own.batch("ada") as batch:
        batch.set(BLOCK, {"attempts": 2})
        batch.set_score(BLOCK, 1, 1)
    DjangoXBlockUserStateClient(staff).delete("ada", BLOCK)

    entries = timeline(StudentModule.objects.get(student=ada))

    assert [entry.revision for entry in entries] == [4, 3, 2, 1]
    assert [entry.actor for entry in entries] == ["staff", "ada", "ada", "ada"]
    assert [entry.scored for entry in entries] == [False, True, False, True]
    assert [(entry.grade, entry.max_grade) for entry in entries] == [(1, 1), (1, 1), (0, 1), (0, 1)]
    assert [entry.note for entry in entries] == ["The whole state was deleted.", "", "", ""]
    assert [[(one.field, one.kind, one.old, one.new) for one in entry.changes] for entry in entries] == [
        [("attempts", "removed", "2", ""), ("answer", "removed", '"b"', "")],
        [("attempts", "changed", "1", "2")],
        [("answer", "changed", '"a"', '"b"')],
        [("attempts", "added", "", "1"), ("answer", "added", "", '"a"')],
    ]


@override_settings(XBLOCK_USER_STATE={"RECORDED_BLOCK_TYPES": []})
def test_a_block_that_is_not_recorded_has_no_entries() -> None:
    [ada] = make_learners("ada")
    DjangoXBlockUserStateClient(ada).set("ada", BLOCK, {"attempts": 1})
    assert timeline(StudentModule.objects.get(student=ada)) == []


def test_a_damaged_entry_is_shown_as_such_and_the_others_as_ever() -> None:
    [ada] = make_learners("ada")
    client = DjangoXBlockUserStateClient()
    with override_settings(XBLOCK_USER_STATE={"HISTORY_ENCODING": "plain"}):
        for number in range(4):
            client.set("ada", BLOCK, {"attempts": number})
    StudentModuleHistory._base_manager.filter(revision=2).update(encoding=FULL)

    entries = timeline(StudentModule.objects.get(student=ada))

    assert [len(entry.changes) for entry in entries] == [1, 0, 0, 1]
    assert all("revision 2 can't be read" in entry.note for entry in entries[1:3])
    assert [entry.note for entry in (entries[0], entries[3])] == ["", ""]
