"""Instances that are saved and deleted as the platform's ``StudentModule``, by our write path.

A mixin, so that the platform's own class can have it. It expects the fields ``id``, ``student``, ``module_state_key``,
``course_id``, ``module_type``, ``state``, ``grade``, ``max_grade``, ``done``, ``created`` and ``modified``.

Each instance has a *stored* instance of our model at its side, with the values that it was loaded with. ``save`` gives
it the new values, and hands it to the write path (docs/decisions/0019), which writes those that differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from typing import Any, Self

from xblock_user_state import saving
from xblock_user_state.openedx.compatible.deleting import delete_instances
from xblock_user_state.openedx.compatible.keys import block_of
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule

_KEYS = ("student_id", "module_state_key", "course_id")
_WRITTEN = ("state", "grade", "max_grade", "done")
_TIMES = ("created", "modified")

# The platform's class, or ours, comes after the mixin: it has the fields, and Django's methods.
_Model: Any = object


class CompatibleRow(_Model):
    """Saves and deletes an instance as Django would, but for what the write path keeps: revision, history, times.

    A save of a loaded instance writes the fields of the state that differ from the loaded ones, and the score if it
    differs. ``created`` and ``modified`` are the row's, whatever was assigned. ``module_type`` follows from the key. A
    new instance gets its number as ``id``.

    Raises ``IntegrityError`` for a new instance whose row exists, and ``DatabaseError`` for a loaded one whose row was
    deleted. Raises ``TypeError`` or ``ValueError`` for values that the store can't keep.
    """

    # The values that the instance was loaded with. The stored instance is made of them when it is needed, because a
    # report loads many instances and saves none.
    _loaded: Mapping[str, Any] | None = None
    _stored: StudentModule | None = None

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any, **options: Any) -> Self:
        """Return a loaded instance."""
        instance: Self = super().from_db(db, field_names, values, **options)
        instance._loaded = _values(instance)
        return instance

    def refresh_from_db(self, using: str | None = None, fields: Any = None, from_queryset: Any = None) -> None:
        """Load values again, as Django does, and remember them."""
        super().refresh_from_db(using=using or state_database(), fields=fields, from_queryset=from_queryset)
        if fields is None:
            self._loaded, self._stored = _values(self), None
            return
        # The others keep the value to compare with, because another may have been assigned.
        asked = {*fields, *(f"{name}_id" for name in fields)}
        loaded = {name: value for name, value in _values(self).items() if name in asked}
        if self._stored is not None:
            _take_loaded(self._stored, loaded)
        elif self._loaded is not None:
            self._loaded = {**self._loaded, **loaded}

    def save(self, *args: Any, **options: Any) -> None:
        """Save the instance in the database of learner state."""
        if not args:
            options["using"] = options.get("using") or state_database()
        super().save(*args, **options)

    def save_base(
        self,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        """Save the instance, between Django's two signals."""
        if raw:
            super().save_base(raw, force_insert, force_update, using, update_fields)
            return
        using = using or state_database()
        # Before Django opens a block in which an error would break a caller's transaction.
        stored, block = self._with_new_values()
        saving.check(stored, _arguments(using, force_insert, force_update, update_fields))
        super().save_base(raw, force_insert, force_update, using, update_fields)
        self.module_type = block.block_type

    def _save_table(
        self,
        raw: bool = False,
        cls: Any = None,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> bool:
        """Write the row; return whether there was one. With `raw` do nothing: fixtures have our table's rows."""
        if raw:
            return True
        # Again, because a receiver of pre_save may have changed them.
        stored, block = self._with_new_values()
        arguments = _arguments(str(using), force_insert, force_update, update_fields)
        is_new = saving.save(stored, arguments, block)
        for name in (*_WRITTEN, *_TIMES):
            if name in stored.__dict__:
                setattr(self, name, stored.__dict__[name])
        if is_new:
            self.pk = self._number(str(using))
        return not is_new

    def save_silently(self, using: str, fields: Collection[str] | None) -> None:
        """Save these fields, or a new row, without signals, as a bulk call does."""
        self._save_table(using=using, force_insert=fields is None, update_fields=fields)
        self._state.db, self._state.adding = using, False

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the row for good, with its history and what refers to it; return the numbers, as Django does."""
        if self._stored is None and self._loaded is None:
            raise ValueError(f"{self} can't be deleted: it was neither loaded nor saved")
        deleted = delete_instances(type(self), [self], using or state_database())
        # A save creates the row again.
        self.pk = self._loaded = self._stored = None
        return deleted

    def take_locked(self, values: Mapping[str, Any]) -> None:
        """Take the values of the row, which is locked. A read before the lock may have shown older ones."""
        names = {name: values[name] for name in (*_WRITTEN, *_TIMES) if name in values and name in self.__dict__}
        for name, value in names.items():
            setattr(self, name, value)
        stored = self._stored_instance()
        if stored is not None:
            _take_loaded(stored, names)

    def block_id_of_key(self) -> BlockId:
        """Return the block that the instance's keys name. Raises ``TypeError`` or ``ValueError`` as `block_of`."""
        # Fields of keys don't load themselves when they are deferred.
        deferred = {*_KEYS} & self.get_deferred_fields()
        if deferred:
            self.refresh_from_db(fields=deferred)
        return block_of(self.module_state_key, self.course_id)

    def __getstate__(self) -> Any:
        # A copy must not share what a save changes.
        return {**super().__getstate__(), "_stored": copy(self._stored)}

    def _stored_instance(self) -> StudentModule | None:
        """Return the stored instance, ``None`` if this one was neither loaded nor saved."""
        if self._stored is None and self._loaded is not None:
            values = dict(self._loaded)
            if {*_KEYS} <= values.keys():
                values["block_id"] = block_of(values.pop("module_state_key"), values.pop("course_id")).id
            names = [field.attname for field in StudentModule._meta.concrete_fields if field.attname in values]
            self._stored = StudentModule.from_db(self._state.db, names, [values[name] for name in names])
        return self._stored

    def _with_new_values(self) -> tuple[StudentModule, BlockId]:
        """Return the stored instance with the values of this one, and its block."""
        # Before the stored instance is made, because it loads deferred keys.
        block = self.block_id_of_key()
        stored = self._stored_instance()
        if stored is None:
            if self.pk is not None:
                raise ValueError(f"the id of a row can't be chosen: {self.pk} was given; load the row to change it")
            self._stored = stored = StudentModule()
        stored.student_id, stored.block_id = self.student_id, block.id
        for name in _WRITTEN:
            if name in self.__dict__:
                setattr(stored, name, self.__dict__[name])
        return stored, block

    def _number(self, using: str) -> Any:
        """Return the row's number, ``None`` if it has none. One statement."""
        rows = type(self)._base_manager.using(using)
        keys = {"student_id": self.student_id, "module_state_key": self.module_state_key, "course_id": self.course_id}
        return rows.filter(**keys).values_list("pk", flat=True).get()


def _values(instance: Any) -> dict[str, Any]:
    return {name: instance.__dict__[name] for name in (*_KEYS, *_WRITTEN, *_TIMES) if name in instance.__dict__}


def _take_loaded(stored: StudentModule, values: Mapping[str, Any]) -> None:
    """Give the stored instance values that were loaded just now."""
    known = {name: value for name, value in values.items() if name not in _KEYS}
    stored.take_over(known, {**(stored.loaded_values() or {}), **known})


def _arguments(using: str, insert: Any, update: bool, fields: Any) -> saving.Saving:
    names = None if fields is None else [name for name in _WRITTEN if name in fields]
    return saving.Saving(using, bool(insert), update, names)
