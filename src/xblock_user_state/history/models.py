"""Tables of history: the default history, the outbox, and the base class that they share with the extended history.

Entries are inserted by the writer of the store (`history.recording` makes them), moved by `history.outbox` and the
back-fill, and deleted by `history.deletion` and the sweep. Nothing changes them: saving one raises, but for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models

from xblock_user_state.fields import UtcDateTimeField
from xblock_user_state.history.encoding import Encoded, Stored, decode_alone
from xblock_user_state.interface import BlockScore, DamagedHistory
from xblock_user_state.state.change import score_of
from xblock_user_state.store.instances import WrittenOnceModel
from xblock_user_state.store.models import StudentModule

# No constraints in the database: users, and the extended history, may live in another one.
_BY_STUDENT: dict[str, Any] = {
    "to": settings.AUTH_USER_MODEL,
    "on_delete": models.DO_NOTHING,
    "db_constraint": False,
    "db_index": False,
    "related_name": "+",
}


class BaseStudentModuleHistory(WrittenOnceModel):
    """A history entry: state and score after one revision of one `StudentModule`. The largest table of a site.

    A block whose type is recorded has exactly one entry for each revision (law 3 in docs/concepts). ``created`` is the
    row's ``modified`` at that revision. ``encoding`` names the format of ``body``. ``actor`` is the user who made the
    change, if the client knew it; ``version`` is free for the version of the block's content.

    An attempt at a problem takes about 70 bytes of body, and 140 to 210 bytes of table and index. There are no foreign
    keys and no index but the primary key: the table may live in a database without users and blocks.
    """

    pk = models.CompositePrimaryKey("student_id", "block_id", "revision")
    student = models.ForeignKey(**_BY_STUDENT)
    block_id = models.BigIntegerField()
    revision = models.BigIntegerField()
    created = UtcDateTimeField()
    encoding = models.PositiveSmallIntegerField()
    body = models.BinaryField(null=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)
    version = models.CharField(max_length=255, null=True)
    actor = models.ForeignKey(null=True, **_BY_STUDENT)

    pack: int | None = None
    """The revision of the pack that the entry was in (`history.unpacking`); ``None`` for a row of the table."""
    hidden: BaseStudentModuleHistory | None = None
    """Another entry of this revision, in a pack of the same store: of a life of the row before (decision 30)."""
    is_archived: bool = False
    """True for an entry from the archive, which is no row of a table any more (`history.archived`)."""

    class Meta(WrittenOnceModel.Meta):
        abstract = True

    def __str__(self) -> str:
        return f"learner {self.student_id}, block {self.block_id}, revision {self.revision}"

    @property
    def state(self) -> str | None:
        """The JSON text of the state; ``None`` if the row never had state.

        `get_history` returns decoded entries. An entry from a queryset may be a delta against the revision before; its
        text then raises `DamagedHistory`, as does the text of an entry that can't be decoded.
        """
        text = self._decoded()
        if isinstance(text, DamagedHistory):
            raise DamagedHistory(f"learner {self.student_id}, block {self.block_id}: {text}")
        return text

    @state.setter
    def state(self, text: str | DamagedHistory | None) -> None:
        self._text = text

    @property
    def damage(self) -> DamagedHistory | None:
        """The error of a text that can't be read, which names only the revision; ``None`` if it can be read."""
        text = self._decoded()
        return text if isinstance(text, DamagedHistory) else None

    def _decoded(self) -> str | DamagedHistory | None:
        if not hasattr(self, "_text"):
            self._text = decode_alone(stored(self))
        return self._text

    @property
    def score(self) -> BlockScore | None:
        """The score at that revision, if there was one."""
        return score_of(self.grade, self.max_grade, self.created)

    @staticmethod
    def get_history(student_modules: Iterable[StudentModule]) -> list[BaseStudentModuleHistory]:
        """Return the entries of these modules from all stores that readers see, newest first, each revision once."""
        # Through the AppConfig: `history.reading` imports these models, so importing it here would make a circle.
        app: Any = apps.get_app_config("xblock_user_state")
        found: list[BaseStudentModuleHistory] = app.history_of(student_modules)
        return found


def stored(entry: BaseStudentModuleHistory | Encoded) -> Stored:
    """Return the columns of an entry that decoding needs."""
    # Drivers return bytes or a memoryview.
    return Stored(entry.revision, entry.encoding, None if entry.body is None else bytes(entry.body))


class StudentModuleHistory(BaseStudentModuleHistory):
    """The default history: in the state's database, written in the transaction that writes the state.

    .. pii: A learner's answers, scores and the times of each change, under the id of the learner and of the actor
    .. pii_types: id, other
    .. pii_retirement: local_api
    """


class HistoryOutbox(BaseStudentModuleHistory):
    """Entries that were committed with the state and wait to be shipped to the extended history.

    Every read includes it. A row lives from its commit until it is shipped, so the table is small unless shipping has
    stopped. Revision 0 is a tombstone: everything that the extended history has of this learner and block is deleted.
    It is shipped before later revisions, and readers honour it at once.

    .. pii: A learner's answers, scores and the times of each change, under the id of the learner and of the actor
    .. pii_types: id, other
    .. pii_retirement: local_api
    """


class HistoryWatermark(models.Model):
    """The beginning of a history whose early entries `archive_history` has taken away: one learner in one block.

    ``first_kept`` is the first revision that must be in the tables. ``last_archived`` is the newest revision that may
    be in the archive, 0 if the early entries were dropped. It is written before a file of the archive has them, so that
    each learner in the archive has a row here. From ``first_archived`` on the archive must have each of these that is
    not in the tables.

    A ``first_kept`` of 0 is a tombstone: learner and block were deleted for good, and whatever the archive has of them
    is erased by the next `archive_history`. Readers honour it at once.

    In the state's database. Without a sequence, and with the key of the state row, so it lies beside that row wherever
    learners are distributed.

    .. pii: Ids of the learner and of the block, and numbers of revisions
    .. pii_types: id
    .. pii_retirement: local_api
    """

    student_id: Any
    pk = models.CompositePrimaryKey("student_id", "block_id")
    student = models.ForeignKey(**_BY_STUDENT)
    block_id = models.BigIntegerField()
    first_kept = models.BigIntegerField()
    last_archived = models.BigIntegerField()
    first_archived = models.BigIntegerField(default=0)

    class Meta:
        # Finds the tombstones. No write of a learner changes the column.
        indexes = (models.Index(fields=("first_kept",), name="xus_watermark_first_kept"),)

    def __str__(self) -> str:
        return f"learner {self.student_id}, block {self.block_id}, from revision {self.first_kept}"
