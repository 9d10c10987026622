"""The table of the decoded copy."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from xblock_user_state.fields import UtcDateTimeField


class DecodedHistory(models.Model):
    """A history entry whose state is plain JSON text: a copy, made on request, that can be dropped at any time.

    The history's own bodies are packed, so SQL can't read them. A copy takes some ten times their room. It is deleted
    together with the history.

    .. pii: A learner's answers, scores and the times of each change, under the learner's id
    .. pii_types: id, other
    .. pii_retirement: local_api
    """

    id = models.BigAutoField(primary_key=True)
    student = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    block_id = models.BigIntegerField()
    revision = models.BigIntegerField()
    version = models.CharField(max_length=255, null=True)
    # Reports ask for ranges of time.
    created = UtcDateTimeField(db_index=True)
    state = models.TextField(null=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)

    objects: ClassVar[Any] = models.Manager()

    class Meta:
        app_label = "xblock_user_state_openedx"
        constraints = (models.UniqueConstraint(fields=("student", "block_id", "revision"), name="xus_decoded_entry"),)

    def __str__(self) -> str:
        return f"entry {self.id}, block {self.block_id}, revision {self.revision}"
