"""Tables of keys and state. ``docs/decisions`` explains hashed keys (2), composite keys (1) and state as text (3).

Only `store.writer` writes these rows, and `store.blocks` the registry. Other code reads rows, deletes them, or saves
instances, which `store.instances` hands to the write path.

``student`` is the id of the host's user. It has no database constraint and no cascade, because state may live in
another database than the users. Deleting a user deletes all rows of that learner (`history.deletion`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from xblock_user_state.fields import KeyField, UtcDateTimeField
from xblock_user_state.store.instances import LoadedModel


class LearningContext(models.Model):
    """A course run or library. Some thousands on the largest sites.

    ``id`` is the hash of the key (`state.keys`).

    .. no_pii: Keys of courses and libraries only.
    """

    id = models.BigIntegerField(primary_key=True)
    key = KeyField()

    class Meta:
        # Not unique=True: Django would give PostgreSQL a second index, for LIKE.
        constraints = (models.UniqueConstraint(fields=("key",), name="xus_context_key"),)

    def __str__(self) -> str:
        return self.key


class Block(models.Model):
    """A usage of an XBlock, or of an aside, in a learning context. Millions on the largest sites.

    ``id`` is the hash of the context's key and the usage key. State and history refer to it. The first write of any
    learner registers the block, and the row stays.

    .. no_pii: Keys of blocks only.
    """

    id = models.BigIntegerField(primary_key=True)
    # No constraint: its check would lock the context's row, where all registrations of a course would queue.
    context = models.ForeignKey(
        LearningContext, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="blocks"
    )
    usage_key = KeyField()
    block_type = KeyField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("context", "usage_key"), name="xus_block_usage_key"),)
        # For code that has a key without its course. Of an Index Django makes no second one for LIKE.
        indexes = (models.Index(fields=("usage_key",), name="xus_block_key_in_any_course"),)

    def __str__(self) -> str:
        return self.usage_key


# No constraints: PostgreSQL's check would lock the block's row at each insert, and users may live elsewhere.
_LOOSE: dict[str, Any] = {"db_constraint": False, "db_index": False, "related_name": "+"}
_BY_STUDENT = {"to": settings.AUTH_USER_MODEL, "on_delete": models.DO_NOTHING, **_LOOSE}
_BY_BLOCK = {"to": Block, "on_delete": models.PROTECT, **_LOOSE}


class UserStateRow(LoadedModel):
    """The columns that every scope has.

    ``revision`` is 1 at creation, plus one for each committed change. ``state`` is JSON text: NULL if there never was
    state, ``{}`` if all of it was deleted. ``modified`` grows with every revision, also when the clock goes back.

    No index has one of these columns, so that PostgreSQL's updates stay heap-only (HOT).
    """

    revision = models.BigIntegerField()
    state = models.TextField(null=True)
    created = UtcDateTimeField()
    modified = UtcDateTimeField()

    class Meta(LoadedModel.Meta):
        abstract = True


class StudentModule(UserStateRow):
    """Scope ``user_state``: state and score of one learner in one block. Billions of rows on the largest sites.

    The primary key begins with the learner, so one learner's rows are neighbours. Statements of clients pin
    ``student_id``; the second index is for iterations over all learners of a block. ``grade`` and ``max_grade`` are
    points, both NULL if there is no score. ``done`` exists for readers of the table that this one replaces.

    .. pii: A learner's id, answers in blocks, and scores. A deleted user's rows are deleted (`history.deletion`).
    .. pii_types: id, other
    .. pii_retirement: local_api
    """

    DONE: ClassVar = (("na", "not applicable"), ("f", "finished"), ("i", "incomplete"))

    pk = models.CompositePrimaryKey("student_id", "block_id")
    student = models.ForeignKey(**_BY_STUDENT)
    block = models.ForeignKey(**_BY_BLOCK)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)
    # The place of the newest history entry in its chain of deltas (`history.encoding`); 0 if no chain is open.
    history_chain = models.SmallIntegerField(default=0, db_default=0)
    # The checksum of that entry's revision and text. If the row has another one, something else than a client has
    # changed it, and the next entry is a full one. NULL for a row that no version with this column has written.
    history_checksum = models.IntegerField(null=True)
    done = models.CharField(max_length=8, default="na", db_default="na", choices=DONE)

    class Meta:
        indexes = (models.Index(fields=("block", "student"), name="xus_module_block_student"),)

    def __str__(self) -> str:
        return f"learner {self.student_id}, block {self.block_id}, revision {self.revision}"


class Preferences(UserStateRow):
    """Scope ``preferences``: state of one learner for all blocks of one type. A few rows a learner.

    ``block_type`` is a plain name for XBlocks; for asides and others it includes the family.

    .. pii: A learner's id and settings of blocks. A deleted user's rows are deleted (`history.deletion`).
    .. pii_types: id, other
    .. pii_retirement: local_api
    """

    pk = models.CompositePrimaryKey("student_id", "block_type")
    student = models.ForeignKey(**_BY_STUDENT)
    block_type = KeyField()

    class Meta:
        indexes = (models.Index(fields=("block_type", "student"), name="xus_preferences_type_student"),)

    def __str__(self) -> str:
        return f"learner {self.student_id}, {self.block_type}, revision {self.revision}"


class UserInfo(UserStateRow):
    """Scope ``user_info``: state of one learner for all blocks. One row a learner at most.

    .. pii: A learner's id, and information that blocks keep of the learner. A deleted user's row is deleted
        (`history.deletion`).
    .. pii_types: id, other
    .. pii_retirement: local_api
    """

    student = models.OneToOneField(primary_key=True, **_BY_STUDENT)

    def __str__(self) -> str:
        return f"learner {self.student_id}, revision {self.revision}"


class UserStateSummary(UserStateRow):
    """Scope ``user_state_summary``: state that all learners share in one block. One row a block, written by many.

    .. no_pii: Rows belong to blocks; no column names a learner.
    """

    block = models.OneToOneField(primary_key=True, **_BY_BLOCK)

    def __str__(self) -> str:
        return f"block {self.block_id}, revision {self.revision}"


class AnsweredWrite(models.Model):
    """A write that its caller named, with its answer: a repetition gets the answer, and writes nothing (`store.once`).

    Committed with the write, beside the state of the learner; a write of state that all share is beside the state of
    its caller. ``request`` is a hash of the request, so that no other request passes for a repetition. ``answer`` is
    JSON without states. Rows of about 300 bytes: `forget_answered_writes` deletes those that are a day old.

    .. pii: Ids of the learner, revisions and times of changes
    .. pii_types: id
    .. pii_retirement: local_api
    """

    student_id: Any
    pk = models.CompositePrimaryKey("student_id", "key")
    student = models.ForeignKey(**_BY_STUDENT)
    key = KeyField(max_length=64)
    request = models.CharField(max_length=32)
    answer = models.TextField()
    created = UtcDateTimeField()

    def __str__(self) -> str:
        return f"learner {self.student_id}, key {self.key}"
