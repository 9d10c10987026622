"""The history's model, for those who read it through the ORM."""

from __future__ import annotations

import pytest

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import BaseStudentModuleHistory, StudentModule, StudentModuleHistory

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
    entries = StudentModuleHistory.objects.order_by("revision")
    assert [(entry.revision, entry.state, entry.grade, entry.max_grade) for entry in entries] == [
        (1, None, 1.0, 2.0),
        (2, '{"a":"\\u00e9"}', 1.0, 2.0),
        (3, "{}", 1.0, 2.0),
    ]
    assert [entry.created for entry in entries][-1] == module.modified
    assert {entry.version for entry in entries} == {None}
    assert str(entries[0]) == f"learner {module.student_id}, block {module.block_id}, revision 1"


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


def test_the_history_of_a_learners_modules_is_one_statement(client: DjangoXBlockUserStateClient) -> None:
    client.set_many("ann", {key: {"a": 1} for key in make_blocks(20)})
    modules = list(StudentModule.objects.all())
    with captured() as statements:
        assert len(BaseStudentModuleHistory.get_history(modules)) == 20
    assert len(statements) == 1
    with captured() as statements:
        assert BaseStudentModuleHistory.get_history([]) == []
    assert statements == []
