"""The registry of blocks: documented ids, collisions, and recovery from lost rows."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.keys import CourseKey, UsageKey
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks, make_learners
from tests.integration.rows import assert_history_is_gapless, everything, everything_and_keys
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import BlockKeyCollision, UserStateError
from xblock_user_state.models import Block, LearningContext, StudentModule, UserStateSummary
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, tzinfo=UTC)
K1, K2, K3 = make_block("one"), make_block("two"), make_block("three")


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann", "bob")
    return DjangoXBlockUserStateClient()


def _id(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _collide(key: UsageKey = K2) -> None:
    """Register K1 under the id of `key`."""
    context, _ = LearningContext.objects.get_or_create(id=_id(str(COURSE)), defaults={"key": str(COURSE)})
    Block.objects.create(id=identify_block(key).id, context=context, usage_key=str(K1), block_type="problem")


def test_a_block_is_registered_as_documented(client: DjangoXBlockUserStateClient) -> None:
    old = UsageKey.from_string("i4x://Astro/A101/video/film").map_into_course(CourseKey.from_string("Astro/A101/2026"))
    aside = AsideUsageKeyV2(make_block(course=COURSE.for_branch("draft")), "notes")
    client.set_many("ann", {K1: {"a": 1}, old: {"a": 1}, aside: {"a": 1}})
    course, old_course = "course-v1:Astro+A101+2026", "Astro/A101/2026"
    expected = [
        (course, "block-v1:Astro+A101+2026+type@problem+block@one", "problem"),
        (old_course, "i4x://Astro/A101/video/film", "video"),
        (course, "aside-usage-v2:block-v1$:Astro+A101+2026+type@problem+block@stars::notes", "problem"),
    ]
    found = Block.objects.values_list("id", "context_id", "context__key", "usage_key", "block_type")
    assert {*found} == {
        (_id(f"{context}\n{usage}"), _id(context), context, usage, block_type)
        for context, usage, block_type in expected
    }
    assert {*LearningContext.objects.values_list("id", "key")} == {(_id(key), key) for key in (course, old_course)}
    assert {*StudentModule.objects.values_list("block_id", flat=True)} == {row[0] for row in found}


@pytest.mark.parametrize("scope", [Scope.user_state, Scope.user_state_summary], ids=lambda scope: scope.name)
def test_a_write_to_a_block_whose_id_is_anothers_is_refused(client: DjangoXBlockUserStateClient, scope: Scope) -> None:
    client.set("ann", K3, {"a": 0}, scope)
    _collide()
    before = everything_and_keys()
    with pytest.raises(BlockKeyCollision) as raised:
        client.set("ann", K2, {"a": 1}, scope)
    assert str(K1) in str(raised.value)
    assert str(K2) in str(raised.value)
    assert isinstance(raised.value, UserStateError)
    for keys in ([K3, K2], [K2, K3, make_block("never-seen")]):
        with pytest.raises(client.BlockKeyCollision):
            client.set_many("ann", {key: {"a": 1} for key in keys}, scope)
        with pytest.raises(BlockKeyCollision):
            client.delete_many("ann", keys, scope)
    assert everything_and_keys() == before


def _batch(client: DjangoXBlockUserStateClient) -> None:
    with client.batch("ann") as batch:
        batch.set("problem", {"a": 1}, Scope.preferences)
        batch.set(K3, {"a": 1})
        batch.set(K2, {"a": 1})


def test_a_score_or_batch_for_a_block_whose_id_is_anothers_is_refused(client: DjangoXBlockUserStateClient) -> None:
    _collide()
    with pytest.raises(BlockKeyCollision):
        client.set_score("ann", K2, 1, 2)
    with pytest.raises(BlockKeyCollision):
        _batch(client)
    assert not any(everything().values())


def test_a_block_of_a_course_whose_id_is_anothers_is_refused(client: DjangoXBlockUserStateClient) -> None:
    LearningContext.objects.create(id=_id(str(COURSE)), key="course-v1:Another+A1+2026")
    with pytest.raises(BlockKeyCollision, match="Another"):
        client.set("ann", K1, {"a": 1})
    assert not any(everything().values())
    assert Block.objects.count() == 0


def test_a_block_of_another_course_under_the_same_id_is_refused(client: DjangoXBlockUserStateClient) -> None:
    other = LearningContext.objects.create(id=5, key="course-v1:Another+A1+2026")
    Block.objects.create(id=identify_block(K1).id, context=other, usage_key=str(K1), block_type="problem")
    with pytest.raises(BlockKeyCollision):
        client.set("ann", K1, {"a": 1})


def test_the_learners_block_under_the_id_stays_as_it_was(client: DjangoXBlockUserStateClient) -> None:
    """K1 keeps its state when a write for K2, which has the same id, fails."""
    _collide()
    row = {"revision": 1, "state": '{"of":"K1"}', "created": NOW, "modified": NOW}
    StudentModule._base_manager.bulk_create([StudentModule(student_id=1, block_id=identify_block(K2).id, **row)])
    before = everything()
    for username in ("ann", "bob"):
        with pytest.raises(BlockKeyCollision):
            client.set(username, K2, {"of": "K2"})
        with pytest.raises(BlockKeyCollision):
            client.delete(username, K2)
    assert everything() == before


def _lose_registry() -> None:
    """Empty the registry, as a partial restore or a flush does."""
    Block.objects.all()._raw_delete("default")
    LearningContext.objects.all()._raw_delete("default")


def test_a_lost_block_is_registered_again_by_the_next_write_that_looks_it_up(
    client: DjangoXBlockUserStateClient,
) -> None:
    keys = make_blocks(3)
    client.set_many("ann", {key: {"a": 1} for key in keys})
    registry = everything_and_keys()["Block"]
    _lose_registry()
    assert [found.state for found in client.get_many("ann", keys)] == [{"a": 1}] * 3
    DjangoXBlockUserStateClient().set_many("ann", {key: {"b": 2} for key in keys})
    assert everything_and_keys()["Block"] == registry
    assert [found.state for found in client.get_many("ann", keys)] == [{"a": 1, "b": 2}] * 3
    assert len(list(client.iter_all_for_course(COURSE))) == 3
    assert_history_is_gapless()


def test_state_of_a_lost_block_is_deleted_and_not_left_in_silence(client: DjangoXBlockUserStateClient) -> None:
    client.set_many("ann", {K1: {"a": 1, "b": 1}, K2: {"a": 1}})
    client.set("ann", K1, {"a": 1}, Scope.user_state_summary)
    _lose_registry()
    # The client of the next request.
    client = DjangoXBlockUserStateClient()
    client.delete("ann", K1, fields=["b"])
    assert client.get("ann", K1).state == {"a": 1}
    assert [found.block_key for found in client.iter_all_for_course(COURSE)] == [K1]
    client.delete_many("ann", [K1, K2])
    assert list(client.get_many("ann", [K1, K2])) == []
    client.delete("ann", K1, Scope.user_state_summary)
    assert list(client.get_many("ann", [K1], Scope.user_state_summary)) == []


def test_a_score_on_a_lost_block_is_taken_away_and_not_left_in_silence(client: DjangoXBlockUserStateClient) -> None:
    client.set_score("ann", K1, 1, 2)
    _lose_registry()
    client.set_score("ann", K1, None, None)
    assert client.get_scores("ann", [K1]) == {}


def test_what_changes_nothing_registers_nothing(client: DjangoXBlockUserStateClient) -> None:
    client.set("ann", K1, {})
    client.delete("ann", K2)
    client.set_score("ann", K3, None, None)
    client.set("ann", K1, {}, Scope.user_state_summary)
    list(client.get_many("ann", [K1]))
    list(client.iter_all_for_block(K1))
    assert Block.objects.count() == LearningContext.objects.count() == 0
    assert StudentModule.objects.count() == UserStateSummary.objects.count() == 0


@pytest.mark.parametrize(
    "text",
    [
        "block-v1:Astro+A101+2026+type@prob+lem+block@two",
        "ccx-block-v1:Astro+A101+2026+type@problem+block@two",
        "block-v1:Astro+A101+2026+ccx@7+type@problem+block@two",
        "garbage",
        "i4x://Astro/A1/a",
    ],
)
def test_a_stored_key_that_cant_be_read_hides_no_other(
    client: DjangoXBlockUserStateClient, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """Restores and imports bring rows that no call of the client would write."""
    client.set_many("ann", {K1: {"a": 1}, K2: {"a": 2}})
    client.set("ann", K2, {"a": 2}, Scope.user_state_summary)
    Block.objects.filter(id=identify_block(K2).id).update(usage_key=text)
    assert [found.block_key for found in client.iter_all_for_course(COURSE)] == [K1]
    assert list(client.iter_all_for_course(COURSE, scope=Scope.user_state_summary)) == []
    assert [found.state for found in client.iter_all_for_block(K1)] == [{"a": 1}]
    assert all(text in record.getMessage() for record in caplog.records)
    assert [record.name for record in caplog.records] == ["xblock_user_state.client"] * 2
