"""The deletion of whole states reads no text, and its history entry is the text of a deleted state."""

from __future__ import annotations

import pytest

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.rows import assert_history_is_gapless
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.encoding import PLAIN
from xblock_user_state.interface import Conflict
from xblock_user_state.models import StudentModule, StudentModuleHistory

pytestmark = pytest.mark.django_db(transaction=True)
BLOCK = make_block()


@pytest.fixture(autouse=True)
def learners() -> None:
    make_learners("ann")


def _cold() -> DjangoXBlockUserStateClient:
    """Return a client that has read nothing."""
    return DjangoXBlockUserStateClient()


def test_a_deletion_looks_up_no_text() -> None:
    _cold().set_many("ann", {key: {"answer": "A"} for key in make_blocks(2)})
    with captured() as statements:
        _cold().delete_many("ann", make_blocks(2))
    [lookup] = [sql for sql in statements if "asked" in sql]
    assert "substr(" in lookup
    with captured() as statements:
        _cold().delete_many("ann", make_blocks(2), fields=["answer"])
    [lookup] = [sql for sql in statements if "asked" in sql]
    assert "substr(" not in lookup


def test_its_entry_is_two_bytes_and_the_next_one_builds_on_it() -> None:
    _cold().set("ann", BLOCK, {"answer": "A" * 1000})
    _cold().delete("ann", BLOCK)
    _cold().set("ann", BLOCK, {"answer": "B"})
    _cold().set("ann", BLOCK, {"answer": "C"})
    entry = StudentModuleHistory._base_manager.get(revision=2)
    assert (entry.encoding, bytes(entry.body or b"")) == (PLAIN, b"{}")
    states = [found.state for found in _cold().get_history("ann", BLOCK)]
    assert states == [{"answer": "C"}, {"answer": "B"}, None, {"answer": "A" * 1000}]
    assert_history_is_gapless()


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_state_that_is_not_there_is_not_deleted(text: str | None) -> None:
    _cold().set_score("ann", BLOCK, 1, 2)
    StudentModule._base_manager.update(state=text)
    _cold().delete_many("ann", [BLOCK, make_block("unseen")])
    [row] = StudentModule._base_manager.all()
    assert (row.revision, row.state) == (1, text)


@pytest.mark.parametrize("text", ["", "{", "{}}", "no state"])
def test_a_text_that_is_no_state_is_deleted(text: str) -> None:
    _cold().set("ann", BLOCK, {"answer": "A"})
    StudentModule._base_manager.update(state=text)
    _cold().delete("ann", BLOCK)
    [row] = StudentModule._base_manager.all()
    assert (row.revision, row.state) == (2, "{}")
    assert [found.state for found in _cold().get_history("ann", BLOCK)] == [None, {"answer": "A"}]


def test_a_deletion_keeps_score_and_condition() -> None:
    _cold().set("ann", BLOCK, {"answer": "A"})
    _cold().set_score("ann", BLOCK, 1, 2)
    with pytest.raises(Conflict):
        _cold().delete("ann", BLOCK, if_revision=1)
    _cold().delete("ann", BLOCK, if_revision=2)
    assert _cold().get_scores("ann", [BLOCK])[BLOCK].grade == 1
    assert_history_is_gapless()
