"""Every metric: its name, kind, unit and tags. docs/reference/metrics says when the package reports it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "histogram", "gauge"]
"""A sink's `count` adds to counters; its `record` adds to histograms and sets gauges."""


class Metric(NamedTuple):
    """One metric. Each measurement has a value for each of the `tags`."""

    name: str
    kind: Kind
    unit: str
    tags: tuple[str, ...]


METRICS: dict[str, Metric] = {}
"""All metrics by name."""


def of_kind(kind: Kind) -> list[Metric]:
    """Return the metrics of a kind."""
    return [metric for metric in METRICS.values() if metric.kind == kind]


def _metric(kind: Kind, name: str, unit: str, *tags: str) -> Metric:
    # The prefix of the reference: dashboards made for it keep working.
    metric = Metric(f"DjangoXBlockUserStateClient.{name}", kind, unit, tags)
    METRICS[metric.name] = metric
    return metric


GET_MANY_BLKS_REQUESTED = _metric("histogram", "get_many.blks_requested", "blocks", "scope")
GET_MANY_BLKS_OUT = _metric("histogram", "get_many.blks_out", "blocks", "scope")
GET_MANY_BLOCK_SIZE = _metric("histogram", "get_many.block_size", "bytes", "scope")
GET_MANY_EMPTY_STATE = _metric("counter", "get_many.empty_state", "blocks", "scope")
GET_MANY_RESPONSE_TIME = _metric("histogram", "get_many.response_time", "ms", "scope")

SET_MANY_STATE_CREATED = _metric("counter", "set_many.state_created", "blocks", "scope")
SET_MANY_STATE_UPDATED = _metric("counter", "set_many.state_updated", "blocks", "scope")
SET_MANY_FIELDS_IN = _metric("histogram", "set_many.fields_in", "fields", "scope")
SET_MANY_FIELDS_SET = _metric("histogram", "set_many.fields_set", "fields", "scope")
SET_MANY_FIELDS_UPDATED = _metric("histogram", "set_many.fields_updated", "fields", "scope")
SET_MANY_BLKS_UPDATED = _metric("histogram", "set_many.blks_updated", "blocks", "scope")
SET_MANY_RESPONSE_TIME = _metric("histogram", "set_many.response_time", "ms", "scope")

DELETE_MANY_EMPTY_STATE = _metric("counter", "delete_many.empty_state", "calls", "scope")
DELETE_MANY_FIELD_COUNT = _metric("histogram", "delete_many.field_count", "fields", "scope")
DELETE_MANY_BLOCK_COUNT = _metric("histogram", "delete_many.block_count", "blocks", "scope")
DELETE_MANY_BLKS_UPDATED = _metric("histogram", "delete_many.blks_updated", "blocks", "scope")
DELETE_MANY_RESPONSE_TIME = _metric("histogram", "delete_many.response_time", "ms", "scope")

SET_SCORE_BLKS_UPDATED = _metric("histogram", "set_score.blks_updated", "blocks")
SET_SCORE_RESPONSE_TIME = _metric("histogram", "set_score.response_time", "ms")

REPLACE_BLKS_UPDATED = _metric("histogram", "replace.blks_updated", "blocks")
REPLACE_RESPONSE_TIME = _metric("histogram", "replace.response_time", "ms")

BATCH_BLKS_UPDATED = _metric("histogram", "batch.blks_updated", "blocks")
BATCH_RESPONSE_TIME = _metric("histogram", "batch.response_time", "ms")

SAVE_BLKS_UPDATED = _metric("histogram", "save.blks_updated", "blocks")
SAVE_RESPONSE_TIME = _metric("histogram", "save.response_time", "ms")

STATE_BYTES = _metric("counter", "write.state_bytes", "bytes", "operation", "scope")
HISTORY_BYTES = _metric("counter", "write.history_bytes", "bytes", "store")
CONFLICTS = _metric("counter", "write.conflicts", "calls", "operation")

ACCESS_REFUSED = _metric("counter", "access.refused", "questions", "action")
ACCESS_OF_OTHERS = _metric("counter", "access.of_others", "questions", "action")

SERVICE_REQUESTS = _metric("counter", "service.requests", "requests", "endpoint", "outcome")
SERVICE_RESPONSE_TIME = _metric("histogram", "service.response_time", "ms", "endpoint")

DROPPED_WRITES = _metric("counter", "runtime.dropped_writes", "blocks", "scope")

LOST_RACES = _metric("counter", "transaction.lost_races", "attempts", "cause")
RETRIES = _metric("counter", "transaction.retries", "attempts")
LOCK_WAIT = _metric("histogram", "transaction.lock_wait", "ms", "lock")
UNAVAILABLE = _metric("counter", "unavailable", "errors", "cause")

REMOTE_RESPONSE_TIME = _metric("histogram", "remote.response_time", "ms", "operation")
REMOTE_FAILURES = _metric("counter", "remote.failures", "attempts", "operation", "cause")
REMOTE_BREAKER = _metric("counter", "remote.breaker", "changes", "state")

OUTBOX_DEPTH = _metric("gauge", "outbox.depth", "entries")
OUTBOX_AGE = _metric("gauge", "outbox.age", "s")
RELAY_LAST_PASS = _metric("gauge", "relay.last_pass", "s")
SHIPPED = _metric("counter", "shipping.shipped", "entries", "by")
SHIPPING_FAILURES = _metric("counter", "shipping.failures", "failures", "by", "outcome")
SHIPPING_SKIPPED = _metric("counter", "shipping.skipped", "calls")

OPENEDX_DIFFERENCES = _metric("counter", "openedx.differences", "fields", "scope")
OPENEDX_COPIES_FAILED = _metric("counter", "openedx.copies_failed", "rows", "scope")
