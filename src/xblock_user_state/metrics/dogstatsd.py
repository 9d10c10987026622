"""Sink for DogStatsD: the agent of Datadog, or another server of its protocol. Needs the extra ``dogstatsd``."""

from __future__ import annotations

from collections.abc import Iterable

from datadog.dogstatsd.base import DogStatsd

from xblock_user_state.metrics.names import METRICS
from xblock_user_state.metrics.sink import Tags

__all__ = ["DogStatsDSink"]


class DogStatsDSink:
    """Sends each measurement as a UDP packet, without waiting; packets that no agent receives are lost."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8125,
        *,
        socket_path: str | None = None,
        prefix: str | None = None,
        tags: Iterable[str] = (),
        sample_rate: float = 1.0,
    ) -> None:
        """`socket_path` names a Unix socket to use instead of `host` and `port`.

        `tags` (``name:value``) are added to every metric. `sample_rate` is the share of measurements to send; gauges
        are always sent, and the server scales counters up again.
        """
        if not 0 < sample_rate <= 1:
            raise ValueError(f"sample_rate must be above 0 and at most 1, not {sample_rate!r}")
        self._sample_rate = sample_rate
        self._statsd = DogStatsd(
            host=host,
            port=port,
            socket_path=socket_path,
            namespace=prefix,
            constant_tags=list(tags),
            # Telemetry: metrics that the client library would send about itself.
            disable_telemetry=True,
        )

    def count(self, name: str, value: int, tags: Tags) -> None:
        """Add to a counter."""
        self._statsd.increment(name, value, _listed(tags), self._sample_rate)

    def record(self, name: str, value: float, tags: Tags) -> None:
        """Add to a histogram, or set a gauge."""
        if METRICS[name].kind == "gauge":
            # Not sampled: a gauge that is not sent would keep its old value.
            self._statsd.gauge(name, value, _listed(tags))
        else:
            self._statsd.histogram(name, value, _listed(tags), self._sample_rate)


def _listed(tags: Tags) -> list[str]:
    return [f"{name}:{value}" for name, value in tags.items()]
