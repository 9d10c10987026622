"""The platform's models of single fields, changed in place (`staging`). See `old_rows.MODELS`.

Where the platform's tables serve, their writes are noted for this store.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db.models.signals import post_delete, post_save
from xblock.fields import Scope

from xblock_user_state.openedx.platform import copying, mirror, old_rows, staging
from xblock_user_state.openedx.platform.copying import Step
from xblock_user_state.openedx.platform.field_rows import StagedFieldQuerySet, StagedFieldRow, address_of
from xblock_user_state.openedx.platform.served_table import models_read_this_store
from xblock_user_state.openedx.views.own import FIELDS
from xblock_user_state.state.codec import decode

_UID = "xblock_user_state.openedx.platform"


def transform() -> None:
    """Change the platform's classes in place. A second call changes nothing."""
    for model in models():
        if staging.change(model, StagedFieldRow, StagedFieldQuerySet, FIELDS[model._meta.db_table]):
            post_save.connect(_saved, sender=model, dispatch_uid=_UID)
            post_delete.connect(_deleted, sender=model, dispatch_uid=_UID)


def models() -> Sequence[Any]:
    """Return the models. Raises ``LookupError`` if the platform lacks one."""
    return [old_rows.model_of(scope) for scope in old_rows.MODELS if scope != Scope.user_state]


def _saved(instance: Any, **_: Any) -> None:
    if not models_read_this_store():
        mirror.written_by_the_platform(partial(address_of, instance), *_steps(instance))


def _deleted(instance: Any, **_: Any) -> None:
    if not models_read_this_store():
        mirror.written_by_the_platform(partial(address_of, instance), copying.remove_fields([instance.field_name]))


def _steps(instance: Any) -> Sequence[Step]:
    try:
        return [copying.set_fields({instance.field_name: decode(instance.value)})]
    except ValueError:
        # Without a step the whole row is copied, which names what can't be read.
        return []
