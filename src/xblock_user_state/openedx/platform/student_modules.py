"""The platform's `StudentModule`, changed in place (`staging`).

The class gets `StagedRow` as a base, its managers get `StagedQuerySet`, and its table is the compatible model's view
where this store serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.signals import post_delete

from xblock_user_state.openedx.compatible.lookups import RowNumberIn, RowNumberIs
from xblock_user_state.openedx.compatible.querysets import CompatibleQuerySet
from xblock_user_state.openedx.compatible.rows import CompatibleRow
from xblock_user_state.openedx.platform import mirror, staging
from xblock_user_state.openedx.platform.mirror import address_of_block
from xblock_user_state.openedx.platform.old_rows import Address
from xblock_user_state.openedx.platform.served_table import models_read_this_store
from xblock_user_state.openedx.platform.stages import Stage, site_stage
from xblock_user_state.openedx.views.own import STUDENT_MODULE

_UID = "xblock_user_state.openedx.platform"


class StagedRow(CompatibleRow):
    """Saves and deletes an instance where the stage says, and notes it for the other store."""

    @classmethod
    def from_db(cls, *args: Any, **options: Any) -> Any:
        """Return a loaded instance."""
        if models_read_this_store():
            return super().from_db(*args, **options)
        # Django's own, past the compatible one.
        return super(CompatibleRow, cls).from_db(*args, **options)

    def refresh_from_db(self, *args: Any, **options: Any) -> None:
        """Load values again."""
        if models_read_this_store():
            super().refresh_from_db(*args, **options)
        else:
            super(CompatibleRow, self).refresh_from_db(*args, **options)

    def save(self, *args: Any, **options: Any) -> None:
        """Save the instance."""
        if models_read_this_store():
            super().save(*args, **options)
        else:
            super(CompatibleRow, self).save(*args, **options)

    def save_base(self, *args: Any, **options: Any) -> None:
        """Save the instance, between Django's two signals."""
        if models_read_this_store():
            super().save_base(*args, **options)
        else:
            super(CompatibleRow, self).save_base(*args, **options)

    def _save_table(self, *args: Any, **options: Any) -> bool:
        """Write the row; return whether there was one. Bulk calls come here too."""
        if models_read_this_store():
            updated = super()._save_table(*args, **options)
        else:
            # Django's own, past the compatible one.
            updated = super(CompatibleRow, self)._save_table(*args, **options)
        _note(self)
        return updated

    def _number(self, using: str) -> Any:
        """Return the new row's number: at `lead` the id that its copy has in the platform's table.

        So the copy is made at once. The caller may refer to the row by a foreign key next, in the same transaction.
        """
        if site_stage() is Stage.LEAD:
            mirror.copy_there_now(_address(self))
        return super()._number(using)

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        """Delete the row."""
        if models_read_this_store():
            return super().delete(*args, **options)
        deleted: tuple[int, dict[str, int]] = super(CompatibleRow, self).delete(*args, **options)
        return deleted

    def __getstate__(self) -> Any:
        return super().__getstate__() if self._stored is not None else super(CompatibleRow, self).__getstate__()


class StagedQuerySet(CompatibleQuerySet):
    """Reads and writes rows where the stage says, and notes the written ones for the other store."""

    @property
    def db(self) -> str:
        """The database of the rows."""
        return super().db if models_read_this_store() else super(CompatibleQuerySet, self).db

    def get_or_create(self, *args: Any, **conditions: Any) -> tuple[Any, bool]:
        """Return the row and whether it was created."""
        place: Any = super() if models_read_this_store() else super(CompatibleQuerySet, self)
        found: tuple[Any, bool] = place.get_or_create(*args, **conditions)
        return found

    get_or_create.alters_data = True  # type: ignore[attr-defined]

    def update_or_create(self, *args: Any, **conditions: Any) -> tuple[Any, bool]:
        """Set values of the row, or create it; return it and whether it was created."""
        place: Any = super() if models_read_this_store() else super(CompatibleQuerySet, self)
        updated: tuple[Any, bool] = place.update_or_create(*args, **conditions)
        return updated

    update_or_create.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows."""
        return super().delete() if models_read_this_store() else super(CompatibleQuerySet, self).delete()

    delete.alters_data = True  # type: ignore[attr-defined]

    def update(self, **values: Any) -> int:
        """Set values in each row."""
        if models_read_this_store():
            return super().update(**values)
        rows = list(self._chain().order_by()) if site_stage().has_copies else []
        updated: int = super(CompatibleQuerySet, self).update(**values)
        for row in rows:
            _note(row)
        return updated

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        """Create rows."""
        if models_read_this_store():
            return super().bulk_create(objs, *args, **options)
        created: list[Any] = super(CompatibleQuerySet, self).bulk_create(objs, *args, **options)
        for row in created:
            _note(row)
        return created

    def bulk_update(self, objs: Iterable[Any], *args: Any, **options: Any) -> int:
        """Save fields of each row."""
        if models_read_this_store():
            return super().bulk_update(objs, *args, **options)
        # Django calls `update`, which notes the rows.
        updated: int = super(CompatibleQuerySet, self).bulk_update(objs, *args, **options)
        return updated

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def select_for_update(self, *args: Any, **options: Any) -> Any:
        """Lock the rows when they are read."""
        if models_read_this_store():
            return super().select_for_update(*args, **options)
        return super(CompatibleQuerySet, self).select_for_update(*args, **options)


class StagedRowNumberIs(RowNumberIs):
    """Finds the row of an id."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return the condition of a row's number, or of the platform's id."""
        if models_read_this_store():
            return super().as_sql(compiler, connection)
        return super(RowNumberIs, self).as_sql(compiler, connection)


class StagedRowNumberIn(RowNumberIn):
    """Finds the rows of ids."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return the condition of rows' numbers, or of the platform's ids."""
        if models_read_this_store():
            return super().as_sql(compiler, connection)
        return super(RowNumberIn, self).as_sql(compiler, connection)


def transform(model: Any) -> None:
    """Change the platform's class in place. A second call changes nothing."""
    if not staging.change(model, StagedRow, StagedQuerySet, STUDENT_MODULE):
        return
    for lookup in (StagedRowNumberIs, StagedRowNumberIn):
        model._meta.pk.register_lookup(lookup)
    post_delete.connect(_deleted, sender=model, dispatch_uid=_UID)
    post_delete.connect(_user_deleted, sender=get_user_model(), dispatch_uid=_UID)


def _user_deleted(instance: Any, using: str, **_: Any) -> None:
    """Delete the rows of a user in the platform's tables, where the models read this store."""
    if site_stage() is Stage.LEAD and models_read_this_store():
        transaction.on_commit(partial(mirror.learner_deleted, instance.pk), using=using)


def _deleted(instance: Any, **_: Any) -> None:
    _note(instance)


def _note(module: Any) -> None:
    if models_read_this_store():
        mirror.written_here(partial(_address, module))
    else:
        mirror.written_by_the_platform(partial(_address, module))


def _address(module: Any) -> Address:
    return address_of_block(module.module_state_key.map_into_course(module.course_id), module.student_id)
