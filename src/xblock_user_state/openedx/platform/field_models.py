"""Notes the writes of the platform's models of single fields, for this store. See `old_rows.MODELS`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db.models.signals import post_delete, post_save
from xblock.fields import Scope

from xblock_user_state.openedx.platform import copying, mirror, old_rows
from xblock_user_state.openedx.platform.copying import Step
from xblock_user_state.openedx.platform.old_rows import Address
from xblock_user_state.state.codec import decode
from xblock_user_state.state.keys import row_key

_UID = "xblock_user_state.openedx.platform"


def connect() -> None:
    """Connect the receivers to the platform's models."""
    for scope in old_rows.MODELS:
        if scope != Scope.user_state:
            model = old_rows.model_of(scope)
            post_save.connect(_saved, sender=model, dispatch_uid=_UID)
            post_delete.connect(_deleted, sender=model, dispatch_uid=_UID)


def _saved(instance: Any, **_: Any) -> None:
    mirror.written_by_the_platform(partial(_address, instance), *_steps(instance))


def _deleted(instance: Any, **_: Any) -> None:
    mirror.written_by_the_platform(partial(_address, instance), copying.remove_fields([instance.field_name]))


def _steps(instance: Any) -> Sequence[Step]:
    try:
        return [copying.set_fields({instance.field_name: decode(instance.value)})]
    except ValueError:
        # Without a step the whole row is copied, which names what can't be read.
        return []


def _address(instance: Any) -> Address:
    scope = next(scope for scope, name in old_rows.MODELS.items() if name == type(instance).__name__)
    keys = {Scope.preferences: "module_type", Scope.user_state_summary: "usage_id"}
    key = getattr(instance, keys[scope]) if scope in keys else None
    return Address(scope, row_key(key, scope), getattr(instance, "student_id", None))
