"""Tables of keys and state. docs/decisions says why keys are hashes, why they are composite, and why state is text.

Only `store.writer` writes these rows. Other code reads them, or deletes them for good. ``student`` is the id of the
host's user, without a database constraint and without Django's cascade: state may live in another database than the
users. Deleting a user deletes all of that learner's rows (`history.deletion`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from xblock_user_state.fields import KeyField


class LearningContext(models.Model):
    """A course run or library. Some thousands on the largest sites.

    ``id`` is the hash of the key (`state.keys`).
    """

    id = models.BigIntegerField(primary_key=True)
    key = KeyField()

    class Meta:
        # Not unique=True, for which PostgreSQL would get a second index, for LIKE.
        constraints = (models.UniqueConstraint(fields=("key",), name="xus_context_key"),)

    def __str__(self) -> str:
        return self.key


class Block(models.Model):
    """One usage of an XBlock in a learning context; an aside is a block of its own. Millions on the largest sites.

    ``id`` is the hash of the context's key and the usage key; all else that is kept of a block is found by
    it. A block is registered at the first write of any learner and stays.
    """

    id = models.BigIntegerField(primary_key=True)
    # Without a constraint, which would lock the context's row: all who register blocks of a course would meet there.
    context = models.ForeignKey(
        LearningContext, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="blocks"
    )
    usage_key = KeyField()
    block_type = KeyField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("context", "usage_key"), name="xus_block_usage_key"),)

    def __str__(self) -> str:
        return self.usage_key


# No constraints in the database: PostgreSQL's would lock the block's row at each insert, and users may be
# elsewhere.
_LOOSE: dict[str, Any] = {"db_constraint": False, "db_index": False, "related_name": "+"}
_BY_STUDENT = {"to": settings.AUTH_USER_MODEL, "on_delete": models.DO_NOTHING, **_LOOSE}
_BY_BLOCK = {"to": Block, "on_delete": models.PROTECT, **_LOOSE}


class UserStateRow(models.Model):
    """What every scope keeps of one owner.

    ``revision`` is 1 at creation, plus one for each committed change. ``state`` is JSON text: NULL if there
    never was state, ``{}`` if all of it was deleted. ``modified`` is later at every revision. None of these
    columns is in an index, so that PostgreSQL can update rows in place (heap-only).
    """

    revision = models.BigIntegerField()
    state = models.TextField(null=True)
    created = models.DateTimeField()
    modified = models.DateTimeField()

    class Meta:
        abstract = True


class StudentModule(UserStateRow):
    """Scope ``user_state``: what one learner has in one block, and the score. Billions of rows on the largest sites.

    One learner's rows are neighbours (the primary key begins with the learner), and every statement but those
    of `store.iteration` pins ``student_id``. The second index is for iteration over all learners of a block.
    ``grade`` and ``max_grade`` are points; NULL is no score. ``done`` is kept for those who read the old
    table.
    """

    DONE: ClassVar = (("na", "not applicable"), ("f", "finished"), ("i", "incomplete"))

    pk = models.CompositePrimaryKey("student_id", "block_id")
    student = models.ForeignKey(**_BY_STUDENT)
    block = models.ForeignKey(**_BY_BLOCK)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)
    # The place of the newest history entry in its chain (`state.encoding`); 0 if there is none to build on.
    history_chain = models.SmallIntegerField(default=0, db_default=0)
    done = models.CharField(max_length=8, default="na", db_default="na", choices=DONE)

    class Meta:
        indexes = (models.Index(fields=("block", "student"), name="xus_module_block_student"),)

    def __str__(self) -> str:
        return f"learner {self.student_id}, block {self.block_id}, revision {self.revision}"


class Preferences(UserStateRow):
    """Scope ``preferences``: what one learner has for all blocks of one type. A few rows a learner.

    ``block_type`` is a plain name for XBlocks, and holds the family for any other (asides).
    """

    pk = models.CompositePrimaryKey("student_id", "block_type")
    student = models.ForeignKey(**_BY_STUDENT)
    block_type = KeyField()

    class Meta:
        indexes = (models.Index(fields=("block_type", "student"), name="xus_preferences_type_student"),)

    def __str__(self) -> str:
        return f"learner {self.student_id}, {self.block_type}, revision {self.revision}"


class UserInfo(UserStateRow):
    """Scope ``user_info``: what one learner has for all blocks. One row a learner at most."""

    student = models.OneToOneField(primary_key=True, **_BY_STUDENT)

    def __str__(self) -> str:
        return f"learner {self.student_id}, revision {self.revision}"


class UserStateSummary(UserStateRow):
    """Scope ``user_state_summary``: what all learners share in one block. One row a block, written by many."""

    block = models.OneToOneField(primary_key=True, **_BY_BLOCK)

    def __str__(self) -> str:
        return f"block {self.block_id}, revision {self.revision}"
