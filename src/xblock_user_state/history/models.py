"""Tables of history: the default history, the outbox, and the base class that the extended history shares.

Only `history.recording` and the outbox's modules write these rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models

from xblock_user_state.history.encoding import Stored, decode_alone
from xblock_user_state.interface import BlockScore, DamagedHistory
from xblock_user_state.store.models import StudentModule

# No constraints in the database: users, and the extended history, may live in another one.
_BY_STUDENT: dict[str, Any] = {
    "to": settings.AUTH_USER_MODEL,
    "on_delete": models.DO_NOTHING,
    "db_constraint": False,
    "db_index": False,
    "related_name": "+",
}


class BaseStudentModuleHistory(models.Model):
    """What state and score were after one revision of one `StudentModule`. The largest table of a site.

    Exactly one entry for each revision of a block whose type is recorded (law 3 in docs/concepts).
    ``created`` is the row's ``modified`` at that revision. ``encoding`` says how ``body`` is stored.
    ``actor`` is the user who made the change, where the client knew; ``version`` is free for the version of
    the block's content. Blocks are referred to by id alone: the table may live in a database of its own.
    """

    pk = models.CompositePrimaryKey("student_id", "block_id", "revision")
    student = models.ForeignKey(**_BY_STUDENT)
    block_id = models.BigIntegerField()
    revision = models.BigIntegerField()
    created = models.DateTimeField()
    encoding = models.PositiveSmallIntegerField()
    body = models.BinaryField(null=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)
    version = models.CharField(max_length=255, null=True)
    actor = models.ForeignKey(null=True, **_BY_STUDENT)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"learner {self.student_id}, block {self.block_id}, revision {self.revision}"

    @property
    def state(self) -> str | None:
        """The JSON text of the state; ``None`` where there never was state.

        Of an entry that `get_history` returned. One that was queried by itself may be stored as what has changed since
        the revision before, and says so by `DamagedHistory`.
        """
        if not hasattr(self, "_text"):
            body = None if self.body is None else bytes(self.body)
            self._text = decode_alone(Stored(self.revision, self.encoding, body))
        if isinstance(self._text, DamagedHistory):
            raise DamagedHistory(f"learner {self.student_id}, block {self.block_id}: {self._text}")
        return self._text

    @state.setter
    def state(self, text: str | DamagedHistory | None) -> None:
        self._text = text

    @property
    def score(self) -> BlockScore | None:
        """The score at that moment, if there was one."""
        return None if self.grade is None else BlockScore(self.grade, self.max_grade, self.created)

    @staticmethod
    def get_history(student_modules: Iterable[StudentModule]) -> list[BaseStudentModuleHistory]:
        """Return the entries of these modules from all stores that are read, newest first, each revision once."""
        # Through the app, which stands above all rooms: the reader of the stores imports these models.
        app: Any = apps.get_app_config("xblock_user_state")
        found: list[BaseStudentModuleHistory] = app.history_of(student_modules)
        return found


class StudentModuleHistory(BaseStudentModuleHistory):
    """The default history: beside the state, in the same database and the same transaction."""


class HistoryOutbox(BaseStudentModuleHistory):
    """Entries that were committed with the state and wait to be shipped to the extended history.

    Part of every read. Small: a row lives from the commit to the next shipping. Revision 0 is a tombstone: what the
    extended history has of this learner and block is gone. It is shipped before later revisions, and readers honour it
    at once.
    """
