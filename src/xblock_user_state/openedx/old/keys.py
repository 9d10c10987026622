"""Maps the key columns of the old tables to blocks and block types."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, cast

from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import AsideUsageKey, CourseKey, LearningContextKey, UsageKey

from xblock_user_state.openedx.old.reasons import Reason
from xblock_user_state.state.keys import MAX_KEY_LENGTH, BlockId, identify_block, identify_block_type

Note = tuple[Reason, str]
"""A reason and its detail."""


class Mapped(NamedTuple):
    """A block, and the reasons why its key is not the old one."""

    block: BlockId
    notes: tuple[Note, ...]


class Unmapped(NamedTuple):
    """The reason why the key columns name no block."""

    reason: Reason
    detail: str


class _NoKey(Exception):
    """The texts are not keys."""


# The blocks of a large course are some thousand, and each learner's rows name them again.
@lru_cache(100_000)
def block_of(course_id: str, module_id: str) -> Mapped | Unmapped:
    """Return the block of a row, from the texts of its columns ``course_id`` and ``module_id``.

    The key is mapped into the course of the row, as all readers of the old tables do: keys of the kind ``i4x`` lack
    their run.
    """
    try:
        course = _bare(_parse(LearningContextKey, course_id))
        usage = _parse(UsageKey, module_id)
        block = identify_block(_in_context(usage, course))
    # Classes of keys check their parts in different ways.
    except (InvalidKeyError, ValueError, TypeError, AttributeError, NotImplementedError, _NoKey) as error:
        is_ccx = "ccx-" in course_id[:30] + module_id[:30] and not _knows_ccx()
        detail = f"course_id {course_id!r}, module_id {module_id!r}: {error}"
        return Unmapped(Reason.CCX_KEYS_MISSING if is_ccx else Reason.NOT_A_KEY, detail)
    return Mapped(block, tuple(_notes(course_id, module_id, usage, course)))


def block_type_of(module_type: str) -> str | Unmapped:
    """Return the text of our block type for the column ``module_type`` of a preference."""
    try:
        return identify_block_type(module_type.strip())
    except (ValueError, TypeError) as error:
        return Unmapped(Reason.NOT_A_KEY, f"module_type {module_type!r}: {error}")


def lacks_run(usage_id: str) -> bool:
    """Tell whether a text is an old-style usage key, which has no run."""
    try:
        return _lacks_run(_innermost(UsageKey.from_string(usage_id.strip())).context_key)
    except InvalidKeyError:
        return False


def course_of(usage_id: str) -> str | None:
    """Return the text of the context that a usage key names; ``None`` if it is no key, or has no run."""
    if lacks_run(usage_id):
        return None
    try:
        return str(_bare(_innermost(UsageKey.from_string(usage_id.strip())).context_key))
    except (InvalidKeyError, AttributeError):
        return None


def context_of(course_id: str) -> LearningContextKey | None:
    """Return the context that a ``course_id`` names; ``None`` if the text is no key."""
    try:
        return cast("LearningContextKey", _bare(_parse(LearningContextKey, course_id)))
    except (InvalidKeyError, ValueError, TypeError, AttributeError):
        return None


def _parse(kind: Any, text: str) -> Any:
    # `lib:` keys take a newline into the key; other kinds refuse it.
    return kind.from_string(text.strip())


def _in_context(usage: UsageKey, course: LearningContextKey) -> UsageKey:
    """Return the key in the context of its row."""
    if isinstance(usage, AsideUsageKey):
        # An aside's own method leaves the block inside as it is.
        return cast("UsageKey", usage.replace(usage_key=_in_context(usage.usage_key, course)))
    if _bare(usage.context_key) == course:
        return usage
    if not isinstance(course, CourseKey):
        raise _NoKey(f"the block is in another context than {course}")
    if hasattr(course, "ccx"):
        # `map_into_course` would give a key of the master course whose text has the CCX in it.
        return course.make_usage_key(usage.block_type, usage.block_id)
    return usage.map_into_course(course)


def _notes(course_id: str, module_id: str, usage: UsageKey, course: LearningContextKey) -> list[Note]:
    notes = []
    inner: Any = _bare(_innermost(usage).context_key)
    # A key without its run, and a key of the course that a CCX is made from, belong to the course of the row.
    named = _parts(inner)
    if inner != course and named != _parts(course)[: len(named)]:
        notes.append((Reason.MAPPED_KEY, f"module_id {module_id!r} in {course_id!r}"))
    for name, text in (("course_id", course_id), ("module_id", module_id)):
        if text != text.strip():
            notes.append((Reason.WHITE_SPACE, f"{name} {text!r}"))
        if len(text) >= MAX_KEY_LENGTH:
            notes.append((Reason.CUT_KEY, f"{name} {text!r}"))
    return notes


def _parts(context: Any) -> list[str]:
    """Return organization, course and run of a context, as far as it has them."""
    return [part for name in ("org", "course", "run") if (part := getattr(context, name, None)) is not None]


def _innermost(usage: UsageKey) -> UsageKey:
    return _innermost(usage.usage_key) if isinstance(usage, AsideUsageKey) else usage


def _bare(context: Any) -> Any:
    """Return a context without branch and version."""
    return context.for_branch(None).version_agnostic() if hasattr(context, "version_agnostic") else context


def _lacks_run(context: Any) -> bool:
    return hasattr(context, "run") and context.run is None and hasattr(context, "course")


@lru_cache(1)
def _knows_ccx() -> bool:
    try:
        LearningContextKey.from_string("ccx-v1:o+c+r+ccx@1")
    except InvalidKeyError:
        return False
    return True
