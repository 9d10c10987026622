"""All contenders store the same states, and an entry for each change."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from django.contrib.auth import get_user_model

from bench import contenders
from bench.contenders.base import Contender
from bench.contenders.tables import drop_tables
from bench.site import data
from bench.site.data import Learner

BLOCKS = data.blocks_of(3, 5)
CREATED, UPDATED, TWICE, DELETED, DELETED_AGAIN = BLOCKS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def all_contenders() -> Iterator[dict[str, tuple[Contender, Learner]]]:
    """All contenders, each with a separate learner."""
    found = contenders.named([*contenders.CORE, *contenders.WARM])
    learners = [data.learner(number) for number, _ in enumerate(found)]
    get_user_model().objects.bulk_create([get_user_model()(**learner._asdict()) for learner in learners])
    theirs = [contender for name, contender in found.items() if name != contenders.OURS]
    for contender in theirs:
        contender.create()
    yield dict(zip(found, zip(found.values(), learners, strict=True), strict=True))
    for contender in theirs:
        contender.disconnect()
    drop_tables()


def _write(contender: Contender, learner: Learner) -> None:
    random = Random(1)
    contender.set_many(learner, {block: data.state(random) for block in (CREATED, UPDATED)})()
    # A mix of new and existing blocks.
    contender.set_many(learner, {block: data.attempt(random, 2) for block in BLOCKS[1:]})()
    contender.set_many(learner, {TWICE: {"big": 2**70, "none": None, "infinite": float("inf"), "text": "ä"}})()
    contender.set_many(learner, {TWICE: {"attempts": 3}, DELETED: {"attempts": 3}})()
    contender.delete_many(learner, (DELETED, DELETED_AGAIN))()
    contender.set_many(learner, {DELETED_AGAIN: {"attempts": 4}})()


def test_all_hold_the_same_states_and_entries(all_contenders: dict[str, tuple[Contender, Learner]]) -> None:
    states, entries = {}, {}
    for name, (contender, learner) in all_contenders.items():
        _write(contender, learner)
        states[name] = contender.states(learner, BLOCKS)
        entries[name] = [contender.entries(learner, block) for block in BLOCKS]
    ours = contenders.OURS
    assert states[ours].keys() == {block.usage_key for block in BLOCKS} - {DELETED.usage_key}
    assert [len(found) for found in entries[ours]] == [1, 2, 3, 3, 3]
    assert states == dict.fromkeys(all_contenders, states[ours])
    assert entries == dict.fromkeys(all_contenders, entries[ours])


def test_what_changes_nothing_has_no_entry(all_contenders: dict[str, tuple[Contender, Learner]]) -> None:
    for name, (contender, learner) in all_contenders.items():
        fields = {"attempts": 1, "ratio": 0.1}
        for _ in range(2):
            contender.set_many(learner, {CREATED: fields})()
        # The reference records every save, changed or not.
        assert len(contender.entries(learner, CREATED)) == (2 if name == contenders.REFERENCE else 1)


def test_the_raw_contender_loses_no_update_to_a_stale_read(
    all_contenders: dict[str, tuple[Contender, Learner]],
) -> None:
    if contenders.RAW_WARM not in all_contenders:
        pytest.skip("there is no raw contender for this database")
    warm, learner = all_contenders[contenders.RAW_WARM]
    raw, _ = all_contenders[contenders.RAW]
    raw.set_many(learner, {CREATED: {"a": 1}})()
    stale = warm.set_many(learner, {CREATED: {"b": 1}, UPDATED: {"b": 1}})
    raw.set_many(learner, {CREATED: {"a": 2}, UPDATED: {"a": 2}})()
    stale()
    assert [*raw.states(learner, BLOCKS).values()] == [{"a": 2, "b": 1}] * 2
    assert [len(raw.entries(learner, block)) for block in (CREATED, UPDATED)] == [3, 2]
