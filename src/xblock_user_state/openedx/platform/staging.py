"""Changes a model of the platform in place, so that at each call it works on the platform's table or on this store.

In place, because other modules have its name, and models of other packages refer to it by foreign keys. Its table is a
view of this store where this store serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Field
from django.db.models.deletion import CASCADE
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull
from django.db.models.options import Options

from xblock_user_state.openedx.platform.served_table import models_read_this_store

_Field: Any = Field if TYPE_CHECKING else object


class StagedOptions(Options):  # type: ignore[type-arg]
    """Options of a model whose table depends on the stage."""

    @property
    def db_table(self) -> str:
        """The view of this store's rows, or the platform's table."""
        name: str = self.__dict__["view" if models_read_this_store() else "db_table"]
        return name

    @db_table.setter
    def db_table(self, name: str) -> None:
        self.__dict__["db_table"] = name


class StagedField(_Field):  # type: ignore[misc]  # the class of the field is known at run time
    """A field whose columns are those of the table of the stage. For migrations it is unchanged."""

    @property
    def cached_col(self: Any) -> Col:
        """The column. Django's own keeps the name of the table in which it was first used."""
        return Col(self.model._meta.db_table, self)

    def deconstruct(self) -> Any:
        """Return what migrations compare."""
        *named, arguments = super().deconstruct()
        if arguments.get("on_delete") is cascade:
            arguments["on_delete"] = CASCADE
        return *named, arguments


class NoNumber(IsNull):
    """``id IS NULL``, which finds no row: it is Django's statement for ``filter(pk=None)``.

    Rows of this store may lack an id. A caller that filters by the id of such a row would reach all of them.
    """

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return the condition."""
        if self.rhs and self.lhs.alias == compiler.query.base_table:
            raise EmptyResultSet
        return super().as_sql(compiler, connection)


def change(model: Any, row: type[Any], queryset: type[Any], view: str) -> bool:
    """Give the platform's class a base, a queryset and a view; return whether it had none of them yet."""
    if issubclass(model, row):
        return False
    model.__bases__ = (row, *model.__bases__)
    model._meta.__class__ = StagedOptions
    model._meta.view = view
    # A manager may be that of an abstract base.
    for base in model.mro():
        for manager in base._meta.local_managers if hasattr(base, "_meta") else ():
            manager._queryset_class = queryset  # noqa: SLF001 (Django has no other way)
    # Managers that were asked for before are kept with their classes.
    model._meta._expire_cache()  # noqa: SLF001
    for field in model._meta.concrete_fields:
        _make_staged(field)
        if field.primary_key:
            type(field).register_lookup(NoNumber)
        if field.name == "student":
            field.remote_field.on_delete = cascade
    return True


def _make_staged(field: Any) -> None:
    of_django = type(field)
    staged = type(of_django.__name__, (StagedField, of_django), {"__module__": of_django.__module__})
    # Migrations name the class of a field.
    staged.__qualname__ = of_django.__qualname__
    field.__dict__.pop("cached_col", None)
    field.__class__ = staged


def cascade(collector: Any, field: Any, sub_objs: Any, using: str) -> None:
    """Delete the rows of a deleted user. This store does that by itself (`history.deletion`), and `mirror`."""
    if not models_read_this_store():
        CASCADE(collector, field, sub_objs, using)
