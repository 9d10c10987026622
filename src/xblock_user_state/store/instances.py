"""Models whose instances and querysets do not write around the write path (docs/decisions/0019).

Django's ``save`` writes all columns as the instance has them, so a stale instance would take back the writes of others,
and the revision with them. Here an instance remembers the values that it was loaded with, and ``save`` hands it to the
write path, which writes the values that differ. Bulk writes have no loaded values, so they raise.

Fixtures (``save_base(raw=True)``), migrations and the base manager write as Django does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Self, TypeVar

from django.apps import apps
from django.db import NotSupportedError, connections, models, router, transaction

AnyModel = TypeVar("AnyModel", bound=models.Model)


class ReadingQuerySet(models.QuerySet[AnyModel]):
    """A queryset that reads, deletes, and saves single instances. Bulk writes raise ``NotSupportedError``."""

    def update(self, **_: Any) -> NoReturn:
        """Raise ``NotSupportedError``."""
        self._refuse("update")

    def bulk_create(self, *_: Any, **__: Any) -> NoReturn:
        """Raise ``NotSupportedError``."""
        self._refuse("bulk_create")

    def bulk_update(self, *_: Any, **__: Any) -> NoReturn:
        """Raise ``NotSupportedError``."""
        self._refuse("bulk_update")

    def _refuse(self, method: str) -> NoReturn:
        hint: str = getattr(self.model, "WRITTEN_BY", "")
        raise NotSupportedError(f"{method}() of {self.model.__name__} would write past revisions and history; {hint}")


# Made once: Django looks through all methods of a queryset for each class of managers.
ReadingManager = models.Manager.from_queryset(ReadingQuerySet)


@dataclass
class Uncommitted:
    """A save in a transaction that is still open, and the instance as it was before."""

    using: str
    stored: Mapping[str, Any]
    """The values that the instance took over, by column."""
    values: Mapping[str, Any]
    """The values that it had in these columns."""
    loaded: Mapping[str, Any] | None
    adding: bool
    previous: Uncommitted | None
    is_committed: bool = False

    def __reduce__(self) -> Any:
        # A pickled instance leaves its transaction; the copy takes the save for committed.
        return type(None), ()

    def commit(self) -> None:
        """Note that the transaction was committed."""
        self.is_committed = True

    def is_rolled_back(self) -> bool:
        """Tell whether the transaction was rolled back, or a savepoint in it."""
        # With a rollback Django forgets the functions that wait for the commit.
        waiting = (function for _, function, *_ in connections[self.using].run_on_commit)
        return not self.is_committed and not any(getattr(each, "__self__", None) is self for each in waiting)


class LoadedModel(models.Model):
    """A model whose instances remember the values that they were loaded with, and are saved by the write path."""

    WRITTEN_BY: ClassVar = (
        "use set_many, delete_many, set_score or batch of DjangoXBlockUserStateClient (xblock_user_state.client), "
        "or load each instance and save() it"
    )

    # By column; ``None`` if the instance was not loaded. Replaced as a whole, because copies of an instance share it.
    _loaded: Mapping[str, Any] | None = None
    _uncommitted: Uncommitted | None = None

    objects = ReadingManager()

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any, **options: Any) -> Self:
        """Return a loaded instance, which remembers its values."""
        # FETCH_PEERS of Django 6.1 sets deferred values past `refresh_from_db`, so `save` would take them for assigned.
        mode = options.get("fetch_mode")
        if mode is not None and mode.track_peers and len(values) < len(cls._meta.concrete_fields):
            del options["fetch_mode"]
        instance = super().from_db(db, field_names, values, **options)
        instance._loaded = dict(zip(field_names, values, strict=True))  # noqa: SLF001 (its own)
        return instance

    @property
    def is_new(self) -> bool:
        """True if the instance was neither loaded nor saved. A save that was rolled back does not count."""
        self.loaded_values()
        return self._state.adding

    def column_values(self) -> dict[str, Any]:
        """Return the values of all columns but deferred ones."""
        names = (field.attname for field in self._meta.concrete_fields)
        return {name: self.__dict__[name] for name in names if name in self.__dict__}

    def loaded_values(self) -> Mapping[str, Any] | None:
        """Return the values of columns as they were loaded or saved last; ``None`` for an instance that never was.

        A save that was rolled back does not count. Its values are assigned again, so that the next `save` writes them.
        """
        while (save := self._uncommitted) is not None and save.is_rolled_back():
            for name, stored in save.stored.items():
                # A value that was assigned after the save stays.
                if self.__dict__.get(name) is stored:
                    del self.__dict__[name]
                    self.__dict__.update({name: save.values[name]} if name in save.values else {})
            self._loaded, self._uncommitted, self._state.adding = save.loaded, save.previous, save.adding
        return self._loaded

    def take_over(self, stored: Mapping[str, Any], loaded: Mapping[str, Any] | None, using: str | None = None) -> None:
        """Take the values of a row. `loaded` are those with which the next `save` compares.

        With `using` the row was written in that database, perhaps in a transaction that will be rolled back.
        """
        save = None
        if using and connections[using].in_atomic_block:
            values = {name: self.__dict__[name] for name in stored if name in self.__dict__}
            save = Uncommitted(using, stored, values, self._loaded, self._state.adding, self._uncommitted)
            transaction.on_commit(save.commit, using=using)
        for name, value in stored.items():
            setattr(self, name, value)
        self._loaded, self._uncommitted = loaded, save

    def refresh_from_db(self, using: str | None = None, fields: Any = None, from_queryset: Any = None) -> None:
        """Load values again, as Django does, and remember them."""
        loaded, before = self.loaded_values(), self.column_values()
        super().refresh_from_db(using=using, fields=fields, from_queryset=from_queryset)
        now = self.column_values()
        if fields is None and from_queryset is None:
            self._loaded = now
        elif loaded is not None:
            # The others keep the value to compare with, because another may have been assigned. If the same object was
            # assigned and loaded, the next `save` writes the value that is there.
            anew = {name: value for name, value in now.items() if name not in before or value is not before[name]}
            self._loaded = {**loaded, **anew}

    def save_base(
        self,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        """Save as Django does, with its signals, but by the write path; with `raw`, for fixtures, past it.

        Raises ``TypeError`` or ``ValueError`` for values that can't be saved, before the signals.
        """
        using = using or router.db_for_write(type(self), instance=self)
        if not raw:
            # Not later, because Django marks a caller's transaction as broken after any error in `_save_table`.
            _app().check_instance(self, using, bool(force_insert), force_update, update_fields)
        super().save_base(
            raw=raw, force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields
        )
        if raw:
            self.take_over({}, self.column_values(), using)

    def _save_table(
        self,
        raw: bool = False,
        cls: Any = None,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> bool:
        """Write the row, between Django's two signals; return whether there was one."""
        updated: bool
        # A host's model that inherits from one of ours has a table of its own.
        if raw or cls._meta.parents:
            django: Any = super()
            updated = django._save_table(raw, cls, force_insert, force_update, using, update_fields)  # noqa: SLF001
        else:
            updated = not _app().save_instance(self, using, bool(force_insert), force_update, update_fields)
        return updated


class WrittenOnceModel(models.Model):
    """A model whose rows the package inserts, and nobody changes."""

    WRITTEN_BY: ClassVar = (
        "an entry is written by DjangoXBlockUserStateClient (xblock_user_state.client), together with the change that "
        "it records, and never changes"
    )

    objects = ReadingManager()

    class Meta:
        abstract = True

    def save_base(
        self,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        """Save a fixture (`raw`); else raise ``NotSupportedError``."""
        if not raw:
            raise NotSupportedError(f"{type(self).__name__} can't be saved: {self.WRITTEN_BY}")
        super().save_base(
            raw=raw, force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields
        )


def _app() -> Any:
    # Through the AppConfig: the write path imports the models, so importing it here would make a circle.
    return apps.get_app_config("xblock_user_state")
