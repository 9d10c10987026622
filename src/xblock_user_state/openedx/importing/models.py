"""Tables of the import: the old ids, and the revisions that the import left.

`ImportedFields` and `ImportProgress` can be emptied once the old tables are gone. `ImportedModule` stays: foreign keys
of other packages hold the old ids, and the views show them.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models

NOT_IMPORTED = 0
"""The revision of the old id of a row that began in this store, and was copied to the old table."""


class ImportedModule(models.Model):
    """The old id of a state row, for who points at it, such as a foreign key of ``bulk_grades``.

    ``revision`` is the row's revision when the import left it, and ``checksum`` that of its state and score
    (`storing.checksum_of`), because plain SQL leaves the revision as it is. If the row has others, something else has
    changed it since, and the import does not touch it again; `NOT_IMPORTED` never is the row's. A checksum of NULL fits
    every content. Two old rows may have become one row. About 45 bytes a row.

    .. pii: A learner's id.
    .. pii_types: id
    .. pii_retirement: local_api
    """

    id = models.BigIntegerField(primary_key=True)
    student = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    block_id = models.BigIntegerField()
    revision = models.BigIntegerField()
    checksum = models.IntegerField(null=True)

    class Meta:
        app_label = "xblock_user_state_openedx"
        indexes = (models.Index(fields=("student", "block_id"), name="xus_imported_student_block"),)

    def __str__(self) -> str:
        return f"old id {self.id}: learner {self.student_id}, block {self.block_id}, revision {self.revision}"


class ImportedFields(models.Model):
    """The revision at which the import left a row of another scope. The id is a hash of the scope and the row's key.

    .. no_pii: A hash of a key.
    """

    id = models.BigIntegerField(primary_key=True)
    revision = models.BigIntegerField()

    class Meta:
        app_label = "xblock_user_state_openedx"

    def __str__(self) -> str:
        return f"{self.id}, revision {self.revision}"


class ImportProgress(models.Model):
    """The progress of an import of a range of learners. One row a range.

    ``learner`` is the last learner whom the first pass has done; a pass that was killed goes on after this one.
    ``started`` and ``ended`` are of the newest first pass. ``covered`` is the start of the newest pass that has ended,
    catch-ups included: rows modified before that are taken, so the next catch-up begins there.

    .. pii: A learner's id.
    .. pii_types: id
    .. pii_retirement: local_api
    """

    name = models.CharField(max_length=200, primary_key=True)
    learner = models.BigIntegerField(null=True)
    started = models.DateTimeField()
    ended = models.DateTimeField(null=True)
    covered = models.DateTimeField(null=True)

    class Meta:
        app_label = "xblock_user_state_openedx"

    def __str__(self) -> str:
        return f"{self.name}, up to learner {self.learner}"
