"""Every metric: its name, kind, unit and tags. docs/reference/metrics says when each is reported."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["count", "record", "level"]
"""A counter; a distribution of values; a value of which the newest counts. The last two are recorded."""


class Metric(NamedTuple):
    """One metric. `tags` are the names of its tags, always all of them."""

    name: str
    kind: Kind
    unit: str
    tags: tuple[str, ...]


METRICS: dict[str, Metric] = {}
"""All of them, by name."""


def of_kind(kind: Kind) -> list[Metric]:
    """Return the metrics of a kind."""
    return [metric for metric in METRICS.values() if metric.kind == kind]


def _metric(kind: Kind, name: str, unit: str, *tags: str) -> Metric:
    # The prefix of the store that we replace, whose dashboards go on working.
    metric = Metric(f"DjangoXBlockUserStateClient.{name}", kind, unit, tags)
    METRICS[metric.name] = metric
    return metric


GET_MANY_BLKS_REQUESTED = _metric("record", "get_many.blks_requested", "blocks", "scope")
GET_MANY_BLKS_OUT = _metric("record", "get_many.blks_out", "blocks", "scope")
GET_MANY_BLOCK_SIZE = _metric("record", "get_many.block_size", "bytes", "scope")
GET_MANY_EMPTY_STATE = _metric("count", "get_many.empty_state", "blocks", "scope")
GET_MANY_RESPONSE_TIME = _metric("record", "get_many.response_time", "ms", "scope")

SET_MANY_STATE_CREATED = _metric("count", "set_many.state_created", "blocks", "scope")
SET_MANY_STATE_UPDATED = _metric("count", "set_many.state_updated", "blocks", "scope")
SET_MANY_FIELDS_IN = _metric("record", "set_many.fields_in", "fields", "scope")
SET_MANY_FIELDS_SET = _metric("record", "set_many.fields_set", "fields", "scope")
SET_MANY_FIELDS_UPDATED = _metric("record", "set_many.fields_updated", "fields", "scope")
SET_MANY_BLKS_UPDATED = _metric("record", "set_many.blks_updated", "blocks", "scope")
SET_MANY_RESPONSE_TIME = _metric("record", "set_many.response_time", "ms", "scope")

DELETE_MANY_EMPTY_STATE = _metric("count", "delete_many.empty_state", "calls", "scope")
DELETE_MANY_FIELD_COUNT = _metric("record", "delete_many.field_count", "fields", "scope")
DELETE_MANY_BLOCK_COUNT = _metric("record", "delete_many.block_count", "blocks", "scope")
DELETE_MANY_BLKS_UPDATED = _metric("record", "delete_many.blks_updated", "blocks", "scope")
DELETE_MANY_RESPONSE_TIME = _metric("record", "delete_many.response_time", "ms", "scope")

SET_SCORE_BLKS_UPDATED = _metric("record", "set_score.blks_updated", "blocks")
SET_SCORE_RESPONSE_TIME = _metric("record", "set_score.response_time", "ms")

BATCH_BLKS_UPDATED = _metric("record", "batch.blks_updated", "blocks")
BATCH_RESPONSE_TIME = _metric("record", "batch.response_time", "ms")

STATE_BYTES = _metric("count", "write.state_bytes", "bytes", "operation", "scope")
HISTORY_BYTES = _metric("count", "write.history_bytes", "bytes", "store")

DROPPED_WRITES = _metric("count", "runtime.dropped_writes", "blocks", "scope")

LOST_RACES = _metric("count", "transaction.lost_races", "attempts", "cause")
RETRIES = _metric("count", "transaction.retries", "attempts")
LOCK_WAIT = _metric("record", "transaction.lock_wait", "ms", "lock")
UNAVAILABLE = _metric("count", "unavailable", "errors", "cause")

OUTBOX_DEPTH = _metric("level", "outbox.depth", "entries")
OUTBOX_AGE = _metric("level", "outbox.age", "s")
SHIPPED = _metric("count", "shipping.shipped", "entries", "by")
SHIPPING_FAILURES = _metric("count", "shipping.failures", "failures", "by", "outcome")
SHIPPING_SKIPPED = _metric("count", "shipping.skipped", "calls")
