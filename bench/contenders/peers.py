"""The part that the peers share: an equivalent model, and calls as a careful host would write them.

A call is one transaction. It reads the rows with a lock, overlays the fields and writes through the peer's bulk
functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import simplejson
from django.conf import settings
from django.db import models, transaction

from bench.contenders.base import Call, Contender
from bench.site.data import Block, Learner, State
from bench.site.filling import Rows

DELETED = "{}"


class PeerModel(models.Model):
    """State and score of one learner in one block."""

    id = models.BigAutoField(primary_key=True)
    student = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    student_id: int
    course_key = models.CharField(max_length=255)
    usage_key = models.CharField(max_length=255)
    state = models.TextField(null=True)
    grade = models.FloatField(null=True)
    max_grade = models.FloatField(null=True)
    created = models.DateTimeField()
    modified = models.DateTimeField()

    class Meta:
        abstract = True
        app_label = "bench"
        unique_together = (("student", "usage_key"),)

    def __str__(self) -> str:
        return f"learner {self.student_id}, {self.usage_key}"


class Peer(Contender):
    """Keeps states in `model`. Subclasses differ in the way they record changes."""

    model: type[PeerModel]

    @abstractmethod
    def insert(self, rows: Sequence[PeerModel]) -> None:
        """Insert rows and record them."""

    @abstractmethod
    def update(self, rows: Sequence[PeerModel]) -> None:
        """Write ``state`` and ``modified`` of the rows and record them."""

    @abstractmethod
    def recorded(self, learner: Learner, block: Block) -> list[str | None]:
        """Return the recorded texts, newest first."""

    def fill(self, rows: Rows) -> None:
        """Insert states. Triggers record them here too; without triggers a subclass adds the entries."""
        columns = {"student_id": "q.learner", "course_key": "b.course", "usage_key": "b.usage_key"}
        times = {"created": "now()", "modified": "now()"}
        rows.insert(self.model._meta.db_table, {**columns, "state": "s.compact", **times})

    def set_many(self, learner: Learner, states: Mapping[Block, State]) -> Call:
        return lambda: self._set_many(
            learner.id, {block.usage_key: (block, fields) for block, fields in states.items()}
        )

    def get_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys = {block.usage_key: block.key for block in blocks}
        return lambda: self._get_many(learner, keys)

    def delete_many(self, learner: Learner, blocks: Sequence[Block]) -> Call:
        keys = [block.usage_key for block in blocks]
        return lambda: self._delete_many(learner.id, keys)

    def entries(self, learner: Learner, block: Block) -> list[State | None]:
        return [None if text in (None, DELETED) else simplejson.loads(text) for text in self.recorded(learner, block)]

    @transaction.atomic
    def _set_many(self, learner_id: int, states: Mapping[str, tuple[Block, State]]) -> None:
        stored = {row.usage_key: row for row in self._rows(learner_id, states).select_for_update()}
        now = datetime.now(UTC)
        new, changed = [], []
        for usage_key, (block, fields) in states.items():
            row = stored.get(usage_key)
            if row is None:
                places = {"student_id": learner_id, "course_key": block.course_key, "usage_key": usage_key}
                new.append(self.model(**places, state=_text(fields), created=now, modified=now))
            elif (text := _text({**simplejson.loads(row.state or DELETED), **fields})) != row.state:
                row.state, row.modified = text, now
                changed.append(row)
        if new:
            self.insert(new)
        if changed:
            self.update(changed)

    def _get_many(self, learner: Learner, keys: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        found = self._rows(learner.id, keys).exclude(state=None).exclude(state=DELETED)
        return [
            (learner.username, keys[usage_key], simplejson.loads(text), modified)
            for usage_key, text, modified in found.values_list("usage_key", "state", "modified")
        ]

    @transaction.atomic
    def _delete_many(self, learner_id: int, keys: Sequence[str]) -> None:
        rows = [row for row in self._rows(learner_id, keys).select_for_update() if row.state not in (None, DELETED)]
        for row in rows:
            row.state, row.modified = DELETED, datetime.now(UTC)
        self.update(rows)

    def _rows(self, learner_id: int, keys: Any) -> models.QuerySet[PeerModel]:
        return self.model._base_manager.filter(student_id=learner_id, usage_key__in=list(keys))


def _text(state: State) -> str:
    return simplejson.dumps(state, allow_nan=True, separators=(",", ":"))
