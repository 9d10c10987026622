"""The views under the platform's names, as one set that is created and dropped together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.openedx.views import fields, statements
from xblock_user_state.openedx.views.definitions import student_module
from xblock_user_state.openedx.views.statements import Place

STUDENT_MODULE = "courseware_studentmodule"


@dataclass(frozen=True)
class ViewSet:
    """The views of a site, for analytics and reports.

    A prefix or a schema sets them apart from the platform's tables of the same names, where these are still there.
    """

    connection: BaseDatabaseWrapper
    prefix: str = ""
    schema: str | None = None

    NAMES: ClassVar = (STUDENT_MODULE, *fields.FIELD_TABLES)

    def places(self) -> list[Place]:
        """Return the names of all views."""
        return [self._place(name) for name in self.NAMES]

    def create(self) -> list[Place]:
        """Create the views, or replace their definitions; return their names.

        Raises `NotOurView` before anything is changed.
        """
        self._check()
        function = self._place(fields.FUNCTION)
        with transaction.atomic(using=self.connection.alias):
            fields.create_function(self.connection, function)
            for name, place in zip(self.NAMES, self.places(), strict=True):
                statements.create(self.connection, place, self._select(name, function))
        return self.places()

    def drop(self) -> list[Place]:
        """Drop the views that are there; return their names. Raises `NotOurView` before anything is changed."""
        self._check()
        with transaction.atomic(using=self.connection.alias):
            dropped = [place for place in self.places() if statements.drop(self.connection, place)]
            fields.drop_function(self.connection, self._place(fields.FUNCTION))
        return dropped

    def _check(self) -> None:
        for place in self.places():
            statements.exists(self.connection, place)

    def _place(self, name: str) -> Place:
        return Place(f"{self.prefix}{name}", self.schema)

    def _select(self, name: str, function: Place) -> str:
        if name == STUDENT_MODULE:
            return student_module(self.connection)
        return fields.FIELD_TABLES[name].select(self.connection, function)
