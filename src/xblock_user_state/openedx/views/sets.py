"""The views under the platform's names, as one set that is created and dropped together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.openedx.views import fields, statements
from xblock_user_state.openedx.views.definitions import history, student_module
from xblock_user_state.openedx.views.statements import Place

STUDENT_MODULE = "courseware_studentmodule"
HISTORY = "courseware_studentmodulehistory"


@dataclass(frozen=True)
class ViewSet:
    """The views of a site, for analytics and reports.

    A prefix or a schema sets them apart from the platform's tables of the same names, where these are still there.
    """

    connection: BaseDatabaseWrapper
    prefix: str = ""
    schema: str | None = None

    def create(self, *, with_history: bool = False) -> list[Place]:
        """Create the views, or replace their definitions; return their names.

        Raises `NotOurView` before anything is changed.
        """
        places = self._places(with_history=with_history)
        self._check(places)
        function = self._place(fields.FUNCTION)
        with transaction.atomic(using=self.connection.alias):
            fields.create_function(self.connection, function)
            for name, place in places.items():
                statements.create(self.connection, place, self._select(name, function))
        return list(places.values())

    def drop(self) -> list[Place]:
        """Drop the views that are there; return their names. Raises `NotOurView` before anything is changed."""
        places = self._places(with_history=True)
        self._check(places)
        with transaction.atomic(using=self.connection.alias):
            dropped = [place for place in places.values() if statements.drop(self.connection, place)]
            fields.drop_function(self.connection, self._place(fields.FUNCTION))
        return dropped

    def _places(self, *, with_history: bool) -> dict[str, Place]:
        """Return the places of the views by their old names."""
        names = [STUDENT_MODULE, *fields.FIELD_TABLES, *([HISTORY] if with_history else [])]
        return {name: self._place(name) for name in names}

    def _check(self, places: Mapping[str, Place]) -> None:
        for place in places.values():
            statements.exists(self.connection, place)

    def _place(self, name: str) -> Place:
        return Place(f"{self.prefix}{name}", self.schema)

    def _select(self, name: str, function: Place) -> str:
        if name == STUDENT_MODULE:
            return student_module(self.connection)
        if name == HISTORY:
            return history(self.connection)
        return fields.FIELD_TABLES[name].select(self.connection, function)
