"""Each statement on learners' state or history pins one learner, except in the rooms of law 7.

`pinning` watches all integration tests. Here each call of the client is made, and the watch itself is tested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from opaque_keys.edx.asides import AsideUsageKeyV2
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.pinning import MODELS, OWNED
from tests.integration.rows import rows_of
from tests.integration.statements import captured
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.interface import XBlockUserStateClient
from xblock_user_state.models import HistoryOutbox, Preferences, StudentModule, StudentModuleHistory, UserInfo

QUOTE = '[`"]'
ASSIGNMENTS = r"(?:UPDATE .*?SET|ON DUPLICATE KEY UPDATE) (.*?)(?: FROM | WHERE |; |$)"


@pytest.fixture
def learners(transactional_db: None) -> list[User]:
    return make_learners("ann", "bob")


def on_owned_tables(statements: list[str]) -> list[str]:
    """Return the statements on tables whose rows belong to learners."""
    return [text for text in statements if any(re.search(f"{QUOTE}{table}{QUOTE}", text) for table in OWNED)]


def is_pinned(statement: str, student_id: int) -> bool:
    """Tell whether each part of a statement selects, changes or adds rows of this learner only."""
    table, column = f"{QUOTE}(?:{'|'.join(OWNED)}){QUOTE}", rf"{QUOTE}student_id{QUOTE}"
    insertions = re.findall(rf"INSERT INTO {table}", statement)
    rows = re.findall(
        rf"INSERT INTO {table}(?: AS old)? \({column},[^)]*\) (?:VALUES \(|SELECT ){student_id},", statement
    )
    others = len(re.findall(rf"(?:FROM|JOIN|UPDATE) {table}", statement))
    # On PostgreSQL the value stands in a query of its own, which hides it from the planner.
    pins = re.findall(rf"{column} = (?:\(SELECT )?{student_id}\b", statement)
    return len(rows) == len(insertions) and len(pins) >= others


def each_operation(client: XBlockUserStateClient) -> Iterator[str]:
    """Call each operation of a client for one learner; yield the name of each step."""
    blocks = [*make_blocks(3), AsideUsageKeyV2(make_block(), "notes"), make_block("film", "video")]
    places = {
        Scope.user_state: blocks,
        Scope.preferences: ["problem", "video"],
        Scope.user_info: [None],
        Scope.user_state_summary: blocks,
    }
    for scope, keys in places.items():
        for value in (1, 2):
            client.set_many("ann", {key: {"a": value, "b": 1} for key in keys}, scope)
            yield f"set_many {scope.name} {value}"
        list(client.get_many("ann", keys, scope, ["a"]))
        yield f"get_many {scope.name}"
        client.delete_many("ann", keys, scope, ["b"])
        client.delete("ann", keys[0], scope)
        yield f"delete {scope.name}"
    for grade in (1, 2, None):
        client.set_score("ann", blocks[0], grade, grade)
        yield f"set_score {grade}"
    client.get_scores("ann", blocks)
    yield "get_scores"
    client.get_latest("ann", 3)
    yield "get_latest"
    client.replace("ann", blocks[0], None)
    yield "replace"
    list(client.get_history("ann", blocks[0]))
    yield "get_history"
    with client.batch("ann") as batch:
        for scope, keys in places.items():
            for key in keys:
                batch.set(key, {"batch": 1}, scope)
        batch.set_score(blocks[1], 3, 4)
        batch.delete(blocks[2], ["a"])
    yield "batch"


def test_every_statement_pins_the_learner(learners: list[User]) -> None:
    client = DjangoXBlockUserStateClient()
    client.set_many("bob", {key: {"a": 1} for key in make_blocks(3)})
    steps = each_operation(client)
    while True:
        with captured() as statements:
            step = next(steps, None)
        found = on_owned_tables(statements)
        assert [text for text in found if not is_pinned(text, learners[0].pk)] == [], step
        if step is None:
            break
        assert found or "summary" in step, step


def test_no_update_sets_the_learner_or_the_block(learners: list[User]) -> None:
    with captured() as statements:
        list(each_operation(DjangoXBlockUserStateClient()))
    updates = [found for text in statements for found in re.findall(ASSIGNMENTS, text)]
    assert len(updates) >= 4
    for assignments in updates:
        targets = re.findall(rf"(?:^|, )(?:old\.)?{QUOTE}(\w+){QUOTE} = ", assignments)
        assert {"revision", "state", "modified"} <= {*targets}
        assert not {"student_id", "block_id", "block_type"} & {*targets}


def test_deleting_a_learner_pins_the_learner(learners: list[User]) -> None:
    client = DjangoXBlockUserStateClient()
    list(each_operation(client))
    ann = learners[0].pk
    with captured() as statements:
        learners[0].delete()
    found = on_owned_tables(statements)
    tables = {model._meta.db_table for model in MODELS}
    assert {table for table in tables for text in found if f"{table}" in text} == tables
    assert [text for text in found if not is_pinned(text, ann)] == []


def test_the_iterations_alone_ask_for_all_learners(learners: list[User]) -> None:
    client = DjangoXBlockUserStateClient()
    client.set("ann", make_block(), {"a": 1})
    with captured() as statements:
        list(client.iter_all_for_block(make_block()))
        list(client.iter_all_for_course(COURSE))
    found = on_owned_tables(statements)
    assert len(found) == 2
    assert not any(is_pinned(text, learners[0].pk) for text in found)


def test_no_statement_joins_users_to_state_and_only_the_lookup_before_a_write_joins_keys(learners: list[User]) -> None:
    with captured() as statements:
        list(each_operation(DjangoXBlockUserStateClient()))
    users, blocks = User._meta.db_table, f"xblock_user_state_block{QUOTE}"
    found = on_owned_tables(statements)
    assert [text for text in found if users in text] == []
    lookups = [text for text in found if re.search(blocks, text)]
    assert lookups
    assert [
        text for text in lookups if not re.match(r"SELECT asked\.id, block\.context_id, block\.usage_key", text)
    ] == []


def test_no_read_joins_anything(learners: list[User]) -> None:
    client = DjangoXBlockUserStateClient()
    keys = make_blocks(3)
    client.set_many("ann", {key: {"a": 1} for key in keys})
    with captured() as statements:
        list(client.get_many("ann", keys))
        list(client.get_history("ann", keys[0]))
        client.get_scores("ann", keys)
    assert len(on_owned_tables(statements)) >= 3
    assert [text for text in statements if " JOIN " in text] == []


def test_learner_rows_of_others_are_never_touched(learners: list[User]) -> None:
    client = DjangoXBlockUserStateClient()
    client.set_many("bob", {key: {"bob": 1} for key in [*make_blocks(3), make_block("film", "video")]})
    for name in ("problem", "video"):
        client.set("bob", name, {"bob": 1}, Scope.preferences)
    client.set("bob", None, {"bob": 1}, Scope.user_info)

    def of_bob() -> list[list[dict[str, object]]]:
        models = (StudentModule, StudentModuleHistory, Preferences, UserInfo)
        return [rows_of(model, student_id=learners[1].pk) for model in models]

    before = of_bob()
    assert all(before)
    list(each_operation(client))
    learners[0].delete()
    assert of_bob() == before


QUERIES = {
    "all": "StudentModule.objects.count()",
    "second of two": "StudentModule.objects.filter(student_id=1).count() or Outbox.objects.filter(block_id=1).count()",
    "two learners": "StudentModule.objects.filter(pk__in=[(1, 5), (2, 5)]).exists()",
    "update": "StudentModule._base_manager.update(grade=1)",
    "delete": "Outbox.objects.all()._raw_delete('default')",
}


def send_from(module: str, query: str) -> None:
    """Send a statement as the package's `module` would."""
    exec(query, {"__name__": module, "StudentModule": StudentModule, "Outbox": HistoryOutbox})  # noqa: S102


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("module", ["client", "store.reader", "history.reading", "history.outbox.shipping", "checks"])
def test_a_module_elsewhere_is_found(learners: list[User], law_7_offences: list[str], module: str, query: str) -> None:
    send_from(f"xblock_user_state.{module}", query)
    assert [offence.partition(": ")[0] for offence in law_7_offences] == [f"xblock_user_state.{module}"]
    law_7_offences.clear()


@pytest.mark.parametrize(
    "module", ["maintenance.orphans", "archive.selection", "store.iteration", "history.outbox.relay"]
)
def test_the_rooms_of_law_7_may(learners: list[User], law_7_offences: list[str], module: str) -> None:
    for query in QUERIES.values():
        send_from(f"xblock_user_state.{module}", query)
    assert law_7_offences == []


def test_one_learner_is_no_offence(learners: list[User], law_7_offences: list[str]) -> None:
    send_from("xblock_user_state.client", "StudentModule.objects.filter(student_id=1, block_id__in=[1, 2]).exists()")
    send_from("xblock_user_state.client", "StudentModule.objects.filter(pk=(1, 2)).exists()")
    assert law_7_offences == []


@pytest.mark.extended_history
def test_the_extended_history_is_watched() -> None:
    assert extended_model()._meta.db_table in OWNED
