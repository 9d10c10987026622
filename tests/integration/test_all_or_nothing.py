"""A call commits all of its changes, or raises and commits none (law 1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import Error
from django.db.models import Model
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.interference import refusing, without_table
from tests.integration.rows import assert_history_is_gapless, everything
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import Preferences, StudentModule, StudentModuleHistory, UserInfo, UserStateSummary
from xblock_user_state.state.keys import identify_block

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("prepared_or_not")]
BLOCKS = make_blocks(5)
LAST = max(BLOCKS, key=lambda key: identify_block(key).id)
FIRST = min(BLOCKS, key=lambda key: identify_block(key).id)


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    """A client whose learner ann has state in all blocks except the first two; bob has state in some of these."""
    make_learners("ann", "bob")
    made = DjangoXBlockUserStateClient()
    made.set_many("ann", {key: {"a": 1, "b": 1} for key in BLOCKS[2:]})
    made.set_many("bob", {key: {"a": 1} for key in BLOCKS})
    made.set_score("ann", BLOCKS[2], 1, 2)
    made.set("ann", "problem", {"a": 1}, Scope.preferences)
    made.set("ann", None, {"a": 1}, Scope.user_info)
    made.set("ann", BLOCKS[0], {"a": 1}, Scope.user_state_summary)
    return made


def _of(key: UsageKey) -> str:
    return f"NEW.block_id = {identify_block(key).id}"


def _set(client: DjangoXBlockUserStateClient) -> None:
    client.set_many("ann", {key: {"a": 2} for key in BLOCKS})


def _delete(client: DjangoXBlockUserStateClient) -> None:
    client.delete_many("ann", BLOCKS)


def _delete_fields(client: DjangoXBlockUserStateClient) -> None:
    client.delete_many("ann", BLOCKS, fields=["b"])


def _batch(client: DjangoXBlockUserStateClient) -> None:
    with client.batch("ann") as batch:
        batch.set("problem", {"a": 2}, Scope.preferences)
        batch.set(None, {"a": 2}, Scope.user_info)
        batch.set(BLOCKS[0], {"a": 2}, Scope.user_state_summary)
        for key in BLOCKS:
            batch.set(key, {"a": 2})
            batch.set_score(key, 2, 2)


@pytest.mark.parametrize("act", [_set, _delete, _delete_fields, _batch], ids=lambda act: act.__name__.strip("_"))
@pytest.mark.parametrize("key", [FIRST, LAST], ids=["first", "last"])
def test_an_entry_that_history_refuses_undoes_the_call(
    client: DjangoXBlockUserStateClient, act: Callable[[DjangoXBlockUserStateClient], None], key: UsageKey
) -> None:
    client.set("ann", key, {"b": 1})
    before = everything()
    with refusing("INSERT", StudentModuleHistory, _of(key)):
        with pytest.raises(Error, match="refused by the test"):
            act(client)
        assert everything() == before
    act(client)
    assert everything() != before
    assert_history_is_gapless()


@pytest.mark.parametrize(
    ("verb", "model", "condition"),
    [
        pytest.param("INSERT", StudentModule, "NEW.revision = 1", id="new state"),
        pytest.param("UPDATE", StudentModule, "NEW.revision > 1", id="changed state"),
        pytest.param("INSERT", StudentModuleHistory, "NEW.revision > 1", id="history"),
        pytest.param("UPDATE", Preferences, "NEW.revision > 1", id="preferences"),
        pytest.param("UPDATE", UserInfo, "NEW.revision > 1", id="user info"),
        pytest.param("UPDATE", UserStateSummary, "NEW.revision > 1", id="summary"),
    ],
)
def test_an_error_in_any_table_undoes_a_batch(
    client: DjangoXBlockUserStateClient, verb: str, model: type[Model], condition: str
) -> None:
    before = everything()
    with refusing(verb, model, condition):
        with pytest.raises(Error, match="refused by the test"):
            _batch(client)
        assert everything() == before
    _batch(client)
    assert_history_is_gapless()


def test_an_error_in_the_last_piece_undoes_all_pieces(client: DjangoXBlockUserStateClient) -> None:
    keys = make_blocks(2500)
    client.set_many("ann", {key: {"a": 1} for key in keys[::2]})
    before = everything()
    last = max(keys, key=lambda key: identify_block(key).id)
    with refusing("INSERT", StudentModuleHistory, _of(last)):
        with pytest.raises(Error, match="refused by the test"):
            client.set_many("ann", {key: {"a": 2} for key in keys})
        assert everything() == before


def test_a_score_that_history_refuses_is_not_kept(client: DjangoXBlockUserStateClient) -> None:
    before = everything()
    with refusing("INSERT", StudentModuleHistory, _of(LAST)), pytest.raises(Error, match="refused by the test"):
        client.set_score("ann", LAST, 1, 1)
    assert everything() == before


def test_without_its_history_table_no_state_is_written(client: DjangoXBlockUserStateClient) -> None:
    before = everything()["StudentModule"]
    with without_table(StudentModuleHistory), pytest.raises(Error):
        _set(client)
    assert everything()["StudentModule"] == before


def test_a_block_that_needs_no_history_is_written_without_its_table(client: DjangoXBlockUserStateClient) -> None:
    film = make_block("film", "video")
    with without_table(StudentModuleHistory):
        client.set("ann", film, {"a": 1})
    assert client.get("ann", film).state == {"a": 1}
