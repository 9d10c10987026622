"""The table of the action log."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import models

from xblock_user_state.fields import UtcDateTimeField
from xblock_user_state.store.models import Block, LearningContext

# As in the tables of state: no constraint, because users may live in another database, and blocks are never deleted.
_LOOSE: dict[str, Any] = {
    "on_delete": models.DO_NOTHING,
    "db_constraint": False,
    "db_index": False,
    "related_name": "+",
}


class LoggedAction(models.Model):
    """One act of staff on the state of one learner in one block, or one act on all learners. It holds no state.

    Committed with the change that it tells of. All rows of one call have the same ``run``. ``student`` is NULL for an
    act on all learners, ``block`` for an act on a course or on a learner's whole data, ``context`` for the latter. The
    revisions are the row's before and after the act; both are NULL for acts that leave no revisions.

    .. pii: Ids of the learner and of the actor, and a reason in the actor's words. `erase_learner` deletes the rows of
        the learner, and leaves one that tells of the erasure.
    .. pii_types: id, other
    .. pii_retirement: local_api
    """

    id = models.UUIDField(primary_key=True, default=uuid4)
    run = models.UUIDField()
    act = models.CharField(max_length=32)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, **_LOOSE)
    reason = models.TextField()
    student = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, **_LOOSE)
    block = models.ForeignKey(Block, null=True, **_LOOSE)
    context = models.ForeignKey(LearningContext, null=True, **_LOOSE)
    revision_before = models.BigIntegerField(null=True)
    revision_after = models.BigIntegerField(null=True)
    created = UtcDateTimeField(db_index=True)
    # The row of the act that has undone this one.
    undone_by = models.UUIDField(null=True)

    class Meta:
        indexes = (
            models.Index(fields=("student", "block", "created"), name="xus_action_student"),
            # Pages of a call in the order of its work, whatever its size.
            models.Index(fields=("run", "created", "id"), name="xus_action_run"),
        )

    def __str__(self) -> str:
        return f"{self.act} of learner {self.student_id}, block {self.block_id}, by {self.actor_id}"
