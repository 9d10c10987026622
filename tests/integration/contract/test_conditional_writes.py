"""Conditional writes (law 11): a caller that names the revision that it read gets its write, or a `Conflict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks
from tests.integration.contract.refusal import Refusal, Statements, parametrize_refusals
from xblock_user_state.interface import BlockKey, Conflict, ConflictingRow, DoesNotExist, XBlockUserStateClient

BLOCK, OTHER, THIRD = make_blocks(3)
STATE, SUMMARY = Scope.user_state, Scope.user_state_summary
PLACES = [
    (STATE, BLOCK),
    (STATE, AsideUsageKeyV2(BLOCK, "notes_aside")),
    (SUMMARY, BLOCK),
    (Scope.preferences, "problem"),
    (Scope.preferences, BlockTypeKeyV1("xblock_asides.v1", "problem")),
    (Scope.user_info, None),
]
in_every_scope = pytest.mark.parametrize(
    ("scope", "key"), PLACES, ids=["state", "aside", "summary", "preferences", "preferences of asides", "user_info"]
)


def _set(client: XBlockUserStateClient, revision: int) -> None:
    client.set("ann", BLOCK, {"a": "mine"}, if_revision=revision)


def _set_many(client: XBlockUserStateClient, revision: int) -> None:
    client.set_many("ann", {OTHER: {"a": "mine"}, BLOCK: {"a": "mine"}}, if_revisions={BLOCK: revision})


def _delete(client: XBlockUserStateClient, revision: int) -> None:
    client.delete("ann", BLOCK, if_revision=revision)


def _delete_fields(client: XBlockUserStateClient, revision: int) -> None:
    client.delete("ann", BLOCK, STATE, ["a"], if_revision=revision)


def _delete_many(client: XBlockUserStateClient, revision: int) -> None:
    client.delete_many("ann", [OTHER, BLOCK], if_revisions={BLOCK: revision})


def _set_score(client: XBlockUserStateClient, revision: int) -> None:
    client.set_score("ann", BLOCK, 5, 5, if_revision=revision)


def _batch(client: XBlockUserStateClient, revision: int) -> None:
    with client.batch("ann", if_revisions={(STATE, BLOCK): revision}) as batch:
        batch.set(OTHER, {"a": "mine"})
        batch.set(BLOCK, {"a": "mine"})
        batch.set_score(BLOCK, 5, 5)
        batch.set("problem", {"a": "mine"}, Scope.preferences)


def _no_change(client: XBlockUserStateClient, revision: int) -> None:
    client.set("ann", BLOCK, {"a": 1}, if_revision=revision)


def _no_field(client: XBlockUserStateClient, revision: int) -> None:
    client.set("ann", BLOCK, {}, if_revision=revision)


def _same_score(client: XBlockUserStateClient, revision: int) -> None:
    client.set_score("ann", BLOCK, None, None, if_revision=revision)


def _one_of_many_changes(client: XBlockUserStateClient, revision: int) -> None:
    client.set_many("ann", {OTHER: {"a": "mine"}, BLOCK: {"a": 1}}, if_revisions={BLOCK: revision})


CHANGES = [_set, _set_many, _delete, _delete_fields, _delete_many, _set_score, _batch]
NO_CHANGES = [_no_change, _no_field, _same_score, _one_of_many_changes]
each_write = pytest.mark.parametrize("write", [*CHANGES, *NO_CHANGES], ids=lambda write: write.__name__.strip("_"))


def _everything(client: XBlockUserStateClient) -> Mapping[Any, Any]:
    found = {key: client.get_encoded("ann", [BLOCK, OTHER], key) for key in (STATE, SUMMARY)}
    return {
        **found,
        Scope.preferences: client.get_encoded("ann", ["problem"], Scope.preferences),
        "scores": client.get_scores("ann", [BLOCK, OTHER]),
    }


@in_every_scope
def test_reads_return_the_revision(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    for revision in (1, 2, 3):
        client.set("ann", key, {"a": revision}, scope)
        assert client.get("ann", key, scope).revision == revision
        assert [found.revision for found in client.get_many("ann", [key], scope)] == [revision]
        assert [found.revision for found in client.get_encoded("ann", [key], scope).values()] == [revision]


@pytest.mark.not_for_visitors
@in_every_scope
def test_iterations_return_the_revision(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    for revision in (1, 2, 3):
        client.set("ann", key, {"a": revision}, scope)
        assert [found.revision for found in client.iter_all_for_block(key, scope)] == [revision]
        if scope in (STATE, SUMMARY):
            assert [found.revision for found in client.iter_all_for_course(COURSE, None, scope)] == [revision]


def test_a_score_and_a_deletion_are_revisions_too(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set_score("ann", BLOCK, 1, 2)
    assert client.get("ann", BLOCK).revision == 2
    client.delete("ann", BLOCK)
    client.set("ann", BLOCK, {"a": 1})
    assert client.get("ann", BLOCK).revision == 4


def test_the_error_of_get_has_the_revision_of_a_row_without_a_state(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    client.set("ann", OTHER, {"a": 1})
    client.delete("ann", OTHER)
    for key, revision in {BLOCK: 1, OTHER: 2, THIRD: 0}.items():
        with pytest.raises(DoesNotExist) as raised:
            client.get("ann", key)
        assert raised.value.revision == revision
        client.set("ann", key, {"a": 2}, if_revision=revision)
    assert [found.state for found in client.get_many("ann", [BLOCK, OTHER, THIRD])] == [{"a": 2}] * 3


@in_every_scope
def test_a_write_with_the_revision_that_was_read_is_done(
    client: XBlockUserStateClient, scope: Scope, key: BlockKey
) -> None:
    client.set("ann", key, {"a": 1}, scope, if_revision=0)
    client.set("ann", key, {"a": 2}, scope, if_revision=1)
    client.set_many("ann", {key: {"b": 3}}, scope, if_revisions={key: 2})
    assert client.get("ann", key, scope).state == {"a": 2, "b": 3}
    client.delete("ann", key, scope, ["a"], if_revision=3)
    client.delete_many("ann", [key], scope, if_revisions={key: 4})
    with client.batch("ann", if_revisions={(scope, key): 5}) as batch:
        batch.set(key, {"c": 1}, scope)
    found = client.get("ann", key, scope)
    assert (found.state, found.revision) == ({"c": 1}, 6)


@in_every_scope
@pytest.mark.parametrize("revision", [0, 1, 3, 10**12])
def test_another_revision_is_a_conflict_in_every_scope(
    client: XBlockUserStateClient, scope: Scope, key: BlockKey, revision: int
) -> None:
    client.set("ann", key, {"a": 1}, scope)
    client.set("ann", key, {"a": 2}, scope)
    with pytest.raises(Conflict) as raised:
        client.set("ann", key, {"a": "mine"}, scope, if_revision=revision)
    assert [*raised.value.rows] == [ConflictingRow(scope, key, revision, 2)]
    found = client.get("ann", key, scope)
    assert (found.state, found.revision) == ({"a": 2}, 2)


@each_write
def test_each_write_is_a_conflict_with_another_revision(
    client: XBlockUserStateClient, write: Callable[[XBlockUserStateClient, int], None]
) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set("ann", BLOCK, {"b": 1})
    before = _everything(client)
    for revision in (0, 1, 3):
        with pytest.raises(Conflict, match="nothing was written") as raised:
            write(client, revision)
        assert [*raised.value.rows] == [ConflictingRow(STATE, BLOCK, revision, 2)]
        assert str(BLOCK) in str(raised.value)
        assert "user_state" in str(raised.value)
        assert _everything(client) == before
    write(client, 2)
    assert [found.revision for found in client.get_encoded("ann", [BLOCK]).values()] == [
        2 if write in NO_CHANGES else 3
    ]


@each_write
def test_each_write_is_a_conflict_with_a_row_that_is_gone(
    client: XBlockUserStateClient, write: Callable[[XBlockUserStateClient, int], None]
) -> None:
    before = _everything(client)
    with pytest.raises(Conflict, match="should be at revision 1 and is absent") as raised:
        write(client, 1)
    assert [*raised.value.rows] == [ConflictingRow(STATE, BLOCK, 1, 0)]
    assert _everything(client) == before
    write(client, 0)


@pytest.mark.parametrize("prepare", ["score", "deleted"])
def test_a_row_without_a_state_is_not_new(client: XBlockUserStateClient, prepare: str) -> None:
    if prepare == "score":
        client.set_score("ann", BLOCK, 1, 2)
    else:
        client.set("ann", BLOCK, {"a": 1})
        client.delete("ann", BLOCK)
    [revision] = [found.revision for found in client.get_encoded("ann", [BLOCK]).values()]
    with pytest.raises(Conflict, match="should be absent and is at revision") as raised:
        client.set("ann", BLOCK, {"a": 2}, if_revision=0)
    assert [row.actual for row in raised.value.rows] == [revision]
    client.set("ann", BLOCK, {"a": 2}, if_revision=revision)
    assert client.get("ann", BLOCK).state == {"a": 2}


def test_the_error_names_all_rows_in_conflict_and_no_others(client: XBlockUserStateClient) -> None:
    client.set_many("ann", {BLOCK: {"a": 1}, OTHER: {"a": 1}})
    client.set("ann", BLOCK, {"a": 2})
    client.set("ann", "problem", {"a": 1}, Scope.preferences)
    revisions = {(STATE, BLOCK): 1, (STATE, OTHER): 1, (STATE, THIRD): 4, (Scope.preferences, "problem"): 0}

    def write() -> None:
        with client.batch("ann", if_revisions=revisions) as batch:
            for key in (BLOCK, OTHER, THIRD):
                batch.set(key, {"a": "mine"})
            batch.set("problem", {"a": "mine"}, Scope.preferences)
            batch.set(None, {"a": "mine"}, Scope.user_info)

    with pytest.raises(Conflict) as raised:
        write()
    assert {*raised.value.rows} == {
        ConflictingRow(STATE, BLOCK, 1, 2),
        ConflictingRow(STATE, THIRD, 4, 0),
        ConflictingRow(Scope.preferences, "problem", 0, 1),
    }
    assert [found.state for found in client.get_many("ann", [BLOCK, OTHER, THIRD])] == [{"a": 2}, {"a": 1}]
    assert client.get("ann", "problem", Scope.preferences).state == {"a": 1}
    assert list(client.get_many("ann", [None], Scope.user_info)) == []


def test_rows_without_a_condition_are_written_whatever_their_revision(client: XBlockUserStateClient) -> None:
    client.set_many("ann", {BLOCK: {"a": 1}, OTHER: {"a": 1}})
    client.set("ann", OTHER, {"a": 2})
    client.set_many("ann", {BLOCK: {"b": 1}, OTHER: {"b": 1}}, if_revisions={BLOCK: 1})
    client.set_many("ann", {BLOCK: {"c": 1}, OTHER: {"c": 1}}, if_revisions={})
    assert [found.revision for found in client.get_many("ann", [BLOCK, OTHER])] == [3, 4]


def test_a_key_of_a_branch_names_the_same_row(client: XBlockUserStateClient) -> None:
    draft = make_block("block0", course=COURSE.for_branch("draft"))
    client.set("ann", BLOCK, {"a": 1})
    client.set_many("ann", {BLOCK: {"a": 2}}, if_revisions={draft: 1})
    client.set_many("ann", {BLOCK: {"a": 3}, draft: {"b": 3}}, if_revisions={draft: 2, BLOCK: 2})
    assert client.get("ann", BLOCK).state == {"a": 3, "b": 3}
    with pytest.raises(Conflict) as raised:
        client.set("ann", draft, {"a": 4}, if_revision=1)
    assert [row.block_key for row in raised.value.rows] == [draft]


def test_a_batch_that_raises_is_no_conflict(client: XBlockUserStateClient) -> None:
    def write() -> None:
        with client.batch("ann", if_revisions={(STATE, BLOCK): 7}) as batch:
            batch.set(BLOCK, {"a": 1})
            raise LookupError

    with pytest.raises(LookupError):
        write()


def test_counting_by_reading_and_writing_again_after_each_conflict(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"count": 0})
    stale = client.get("ann", BLOCK)
    client.set("ann", BLOCK, {"count": 1}, if_revision=stale.revision)
    with pytest.raises(Conflict):
        client.set("ann", BLOCK, {"count": 1}, if_revision=stale.revision)
    again = client.get("ann", BLOCK)
    assert again.state == {"count": 1}
    client.set("ann", BLOCK, {"count": 2}, if_revision=again.revision)
    assert client.get("ann", BLOCK).state == {"count": 2}


def _batched(client: Any, revisions: Any, **options: Any) -> None:
    with client.batch("ann", if_revisions=revisions, **options) as batch:
        batch.set(BLOCK, {"a": 1})


@parametrize_refusals(
    {
        "a bool": Refusal(lambda client: client.set("ann", BLOCK, {}, if_revision=True), TypeError, ("True", "bool")),
        "false": Refusal(lambda client: client.set("ann", BLOCK, {}, if_revision=False), TypeError, ("False", "bool")),
        "a float": Refusal(lambda client: client.set("ann", BLOCK, {}, if_revision=1.0), TypeError, ("1.0", "float")),
        "a text": Refusal(lambda client: client.delete("ann", BLOCK, if_revision="1"), TypeError, ("'1'", "str")),
        "a negative": Refusal(
            lambda client: client.delete("ann", BLOCK, if_revision=-1), ValueError, ("-1", "if_revision", str(BLOCK))
        ),
        "of a score": Refusal(
            lambda client: client.set_score("ann", BLOCK, 1, 2, if_revision=-1), ValueError, ("-1", "if_revision")
        ),
        "none in a dict": Refusal(
            lambda client: client.set_many("ann", {BLOCK: {}}, if_revisions={BLOCK: None}), TypeError, ("None",)
        ),
        "no dict": Refusal(
            lambda client: client.set_many("ann", {BLOCK: {}}, if_revisions=3), TypeError, ("if_revisions", "int")
        ),
        "a list": Refusal(
            lambda client: client.delete_many("ann", [BLOCK], if_revisions=[3]), TypeError, ("if_revisions", "list")
        ),
        "another block": Refusal(
            lambda client: client.set_many("ann", {BLOCK: {}}, if_revisions={OTHER: 1}),
            ValueError,
            ("if_revisions", str(OTHER), "does not change"),
        ),
        "another block of a deletion": Refusal(
            lambda client: client.delete_many("ann", [BLOCK], if_revisions={OTHER: 1}), ValueError, (str(OTHER),)
        ),
        "a key of another scope": Refusal(
            lambda client: client.set_many("ann", {BLOCK: {}}, if_revisions={"problem": 1}), TypeError, ("problem",)
        ),
        "two revisions": Refusal(
            lambda client: client.set_many(
                "ann", {BLOCK: {}}, if_revisions={BLOCK: 1, make_block("block0", course=COURSE.for_branch("draft")): 2}
            ),
            ValueError,
            ("two revisions", "1", "2"),
        ),
        "no pairs": Refusal(lambda client: _batched(client, {BLOCK: 1}), TypeError, ("pairs of scope and key",)),
        "pairs the wrong way round": Refusal(lambda client: _batched(client, {(BLOCK, STATE): 1}), ValueError),
        "a scope that no learner has": Refusal(
            lambda client: _batched(client, {(Scope.settings, BLOCK): 1}), ValueError, ("settings",)
        ),
        "a scope that the batch does not change": Refusal(
            lambda client: _batched(client, {(STATE, BLOCK): 0, (SUMMARY, BLOCK): 0}),
            ValueError,
            (str(BLOCK), "user_state_summary", "does not change"),
        ),
        "a block that the batch does not change": Refusal(
            lambda client: _batched(client, {(STATE, OTHER): 0}), ValueError, (str(OTHER), "does not change")
        ),
        "a bad revision in a batch": Refusal(lambda client: _batched(client, {(STATE, BLOCK): True}), TypeError),
        "only_new": Refusal(
            lambda client: _batched(client, {(STATE, BLOCK): 0}, only_new=True), ValueError, ("only_new",)
        ),
    }
)
def test_bad_revisions_get_a_clear_error(
    client: XBlockUserStateClient, statements: Statements, refusal: Refusal
) -> None:
    refusal.check(client, statements)
