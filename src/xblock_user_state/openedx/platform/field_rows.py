"""Instances and querysets of the platform's models of single fields, where this store serves.

A field has no number, so ``id`` is ``None`` and nothing can be found by it. Reads are Django's, over a view of this
store's rows, which shows the times of a whole row. A save is a change of the row by the client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any, Self

from django.db import DatabaseError, IntegrityError, NotSupportedError, models, transaction
from django.db.models.signals import post_delete, pre_delete
from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from xblock_user_state.openedx.platform import mirror, old_rows
from xblock_user_state.openedx.platform.copying import learner_of, row_here
from xblock_user_state.openedx.platform.mirror import MirroringClient
from xblock_user_state.openedx.platform.old_rows import Address
from xblock_user_state.openedx.platform.served_table import models_read_this_store
from xblock_user_state.openedx.platform.stages import site_stage
from xblock_user_state.state.change import Row
from xblock_user_state.state.codec import decode, decode_state
from xblock_user_state.state.keys import canonical_key, row_key
from xblock_user_state.store.databases import state_database

# The platform's class comes after the mixin: it has the fields, and Django's methods.
_Model: Any = object
# Untyped: the stubs hide what a queryset must override here.
_QuerySet: Any = models.QuerySet

_KEYS = {Scope.preferences: "module_type", Scope.user_info: None, Scope.user_state_summary: "usage_id"}
_KEY_COLUMNS = {"student_id", "module_type", "usage_id", "field_name"}


class StagedFieldRow(_Model):
    """Saves and deletes an instance where the stage says.

    In this store ``created`` and ``modified`` are the row's, whatever was assigned. Raises ``IntegrityError`` for a new
    instance whose field exists, ``DatabaseError`` for a field that must exist and does not, and ``ValueError`` for a
    text that is no JSON, for a loaded instance under another key, and for an old-style key of several runs of a course.
    """

    _loaded_key: tuple[Any, ...] | None = None

    @classmethod
    def from_db(cls, *args: Any, **options: Any) -> Self:
        """Return a loaded instance."""
        instance: Self = super().from_db(*args, **options)
        if models_read_this_store() and not instance.get_deferred_fields():
            instance._loaded_key = _key(instance)
        return instance

    def _is_pk_set(self, meta: Any = None) -> bool:
        # Fields have no id here, and Django from 6.1 on loads no deferred column of an instance without one.
        is_loaded = models_read_this_store() and not self._state.adding
        return is_loaded or bool(super()._is_pk_set(meta))

    def refresh_from_db(self, using: str | None = None, fields: Any = None, from_queryset: Any = None) -> None:
        """Load values again."""
        if not models_read_this_store():
            super().refresh_from_db(using=using, fields=fields, from_queryset=from_queryset)
            return
        if missing := _KEY_COLUMNS & self.get_deferred_fields():
            raise NotSupportedError(f"a field can't be found without {', '.join(sorted(missing))}: do not defer them")
        rows = type(self)._base_manager.using(using or state_database()) if from_queryset is None else from_queryset
        found = rows.get(**old_rows.identity(address_of(self)), field_name=self.field_name)
        for name in fields or ("value", "created", "modified"):
            setattr(self, name, getattr(found, name))

    def save(self, *args: Any, **options: Any) -> None:
        """Save the instance."""
        if models_read_this_store() and not args:
            options["using"] = options.get("using") or state_database()
        super().save(*args, **options)

    def _save_table(
        self,
        raw: bool = False,
        cls: Any = None,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> bool:
        """Write the field; return whether there was one."""
        if raw or not models_read_this_store():
            return bool(super()._save_table(raw, cls, force_insert, force_update, using, update_fields))
        if "value" not in (["value"] if update_fields is None else update_fields):
            # Django names all loaded columns for an instance whose value is deferred.
            return True
        is_new = bool(force_insert) or (self._state.adding and not force_update and update_fields is None)
        _store([self], is_new=is_new)
        return not is_new

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the field."""
        if not models_read_this_store():
            of_django: tuple[int, dict[str, int]] = super().delete(using, keep_parents)
            return of_django
        deleted = _delete(type(self), [self])
        # A save creates the field again.
        self._state.adding, self._loaded_key = True, None
        return deleted

    def check_key(self) -> None:
        """Raise ``ValueError`` if the instance was loaded under another key."""
        if self._loaded_key not in (None, _key(self)):
            raise ValueError(f"{self.field_name} was loaded under another key; delete it and make a new instance")

    def take_stored(self, row: Row, database: str) -> None:
        """Take the times of the row that has the field now."""
        self.created, self.modified = row.created, row.modified
        self._state.db, self._state.adding = database, False
        self._loaded_key = _key(self)


class StagedFieldQuerySet(_QuerySet):
    """Reads and writes fields where the stage says. In this store ``update`` sets values only, not keys."""

    @property
    def db(self) -> str:
        """The database of the fields."""
        return self._db or state_database() if models_read_this_store() else super().db

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the fields, all or none."""
        if not models_read_this_store():
            # Together, because a copy of the first of several fields would differ in the others.
            with mirror.flushed_at_the_end():
                of_django: tuple[int, dict[str, int]] = super().delete()
            return of_django
        self._result_cache = None
        return _delete(self.model, self._whole())

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def update(self, **values: Any) -> int:
        """Set values in each field, all or none."""
        if not models_read_this_store():
            changed = list(self._chain().order_by()) if site_stage().has_copies else []
            updated: int = super().update(**values)
            _note(changed)
            return updated
        if values.keys() - {"value"} or hasattr(values.get("value"), "resolve_expression"):
            raise NotSupportedError("only value can be set in many fields, and not by an expression")
        rows = self._whole()
        for row in rows:
            row.value = values["value"]
        _store(rows, is_new=False)
        self._result_cache = None
        return len(rows)

    update.alters_data = True  # type: ignore[attr-defined]

    def _whole(self) -> list[Any]:
        """Return the fields with all columns, whatever `only` and `defer` say. Raises ``TypeError`` after `values`."""
        if self._fields is not None:
            raise TypeError("Cannot change fields after values() or values_list()")
        return list(self._chain().order_by().defer(None))

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        """Create fields, all or none, without signals."""
        if not models_read_this_store():
            created: list[Any] = super().bulk_create(objs, *args, **options)
            _note(created)
            return created
        if args[1:] or any(value for name, value in options.items() if name != "batch_size"):
            raise NotSupportedError("bulk_create() takes no other options than batch_size here")
        rows = list(objs)
        _store(rows, is_new=True)
        return rows


def _note(instances: Iterable[Any]) -> None:
    """Note that the platform has written fields without Django's signals. Their rows are copied as they are."""
    for each in instances:
        mirror.written_by_the_platform(partial(address_of, each))


def address_of(instance: Any) -> Address:
    """Return the row of a field. Raises ``ValueError`` if no row has such a key."""
    scope = next(scope for scope, name in old_rows.MODELS.items() if name == type(instance).__name__)
    column = _KEYS[scope]
    key = getattr(instance, column) if column else None
    # The platform's column has no course, so an old-style key that was loaded lacks its run.
    if isinstance(key, UsageKey) and getattr(key.context_key, "run", "") is None and models_read_this_store():
        found = MirroringClient().find_blocks(key)
        if len(found) > 1:
            raise ValueError(
                f"{key} names blocks of several courses: {', '.join(str(one.course_key) for one in found)}"
            )
        key = found[0] if found else key
    return Address(scope, row_key(key, scope), getattr(instance, "student_id", None))


def _key(instance: Any) -> tuple[Any, ...]:
    columns = _KEY_COLUMNS & instance.__dict__.keys()
    return tuple((name, instance.__dict__[name]) for name in sorted(columns))


def _by_row(instances: Iterable[Any]) -> dict[Address, list[Any]]:
    rows: dict[Address, list[Any]] = defaultdict(list)
    for each in instances:
        if each.field_name is None:
            raise ValueError(f"a state that the database can't split into fields can't be changed here: {each.value!r}")
        rows[address_of(each)].append(each)
    return rows


def _store(instances: Collection[Any], *, is_new: bool) -> None:
    """Store the values of fields: one change a row, all or none.

    The first fields of a row can't be locked. If two processes create the same field at that moment, the later one
    replaces the value.
    """
    client, database = MirroringClient(), state_database()
    if not is_new:
        for each in instances:
            each.check_key()
    with transaction.atomic(using=database):
        for address, of_row in _by_row(instances).items():
            values = {each.field_name: _decoded(each) for each in of_row}
            learner, key = learner_of(address), canonical_key(address.row)
            with client.locked(learner, {address.scope: [key]}):
                _check(of_row, _fields(row_here(address)), is_new=is_new)
                client.set(learner, key, values, address.scope)
                row = row_here(address)
            for each in of_row if row else ():
                each.take_stored(row, database)


def _decoded(instance: Any) -> Any:
    try:
        return decode(instance.value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the value of {instance.field_name} must be a JSON text, not {instance.value!r}") from error


def _check(instances: Collection[Any], stored: Collection[str], *, is_new: bool) -> None:
    names = [each.field_name for each in instances]
    twice = {name for name in names if name in stored or names.count(name) > 1}
    if is_new and twice:
        raise IntegrityError(f"fields exist: {', '.join(sorted(twice))}")
    missing = set(names).difference(stored)
    if missing and not is_new:
        [model] = {type(each) for each in instances}
        # From Django 6.0 on.
        error = getattr(model, "NotUpdated", DatabaseError)
        raise error(f"fields do not exist, and were not saved: {', '.join(sorted(missing))}")


def _fields(row: Row | None) -> set[str]:
    return set() if row is None or row.text is None else {*decode_state(row.text)}


def _delete(model: Any, instances: Collection[Any]) -> tuple[int, dict[str, int]]:
    """Delete fields, all or none; return the numbers as Django does. Sends its two signals."""
    client, database, number = MirroringClient(), state_database(), 0
    with transaction.atomic(using=database):
        for each in instances:
            pre_delete.send(sender=model, instance=each, using=database, origin=each)
        for address, of_row in _by_row(instances).items():
            learner, key, names = learner_of(address), canonical_key(address.row), {each.field_name for each in of_row}
            with client.locked(learner, {address.scope: [key]}):
                number += len(names & _fields(row_here(address)))
                client.delete(learner, key, address.scope, names)
        for each in instances:
            post_delete.send(sender=model, instance=each, using=database, origin=each)
    return number, {model._meta.label: number}
