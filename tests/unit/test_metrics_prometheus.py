"""Prometheus: the real client library, scraped over HTTP as a server does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from tests.documentation import ROOT
from xblock_user_state.metrics.names import METRICS
from xblock_user_state.metrics.prometheus import PrometheusSink

LOST_RACES = "DjangoXBlockUserStateClient.transaction.lost_races"
RESPONSE_TIME = "DjangoXBlockUserStateClient.get_many.response_time"
DEPTH = "DjangoXBlockUserStateClient.outbox.depth"
SCOPE = {"scope": "user_state"}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Scrape = Callable[[], Samples]

# Code of each worker of a site, and of the metrics page in the how-to.
WORKER = f"""
import sys
from xblock_user_state.metrics.prometheus import PrometheusSink
sink = PrometheusSink()
sink.count({LOST_RACES!r}, int(sys.argv[1]), {{"cause": "revision"}})
sink.record({RESPONSE_TIME!r}, 3, {SCOPE!r})
sink.record({DEPTH!r}, int(sys.argv[1]), {{}})
"""
PAGE = """
from django.conf import settings
from tests.documentation import run_page
settings.configure()
page = run_page("docs/how-to/watch-it.md", "memory")["metrics_of_all_processes"]
print(page(None).content.decode())
"""


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def scrape(registry: CollectorRegistry) -> Iterator[Scrape]:
    server, thread = start_http_server(0, "127.0.0.1", registry)

    def get() -> Samples:
        with urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=5) as page:
            return samples(page.read().decode())

    yield get
    server.shutdown()
    server.server_close()
    thread.join()


def samples(page: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def test_counters_histograms_and_gauges(registry: CollectorRegistry, scrape: Scrape) -> None:
    sink = PrometheusSink(registry=registry)
    for number in (1, 2):
        sink.count(LOST_RACES, number, {"cause": "revision"})
        sink.record(RESPONSE_TIME, number, SCOPE)
        sink.record(DEPTH, number, {})
    found = scrape()
    assert value(found, "DjangoXBlockUserStateClient_transaction_lost_races_total", cause="revision") == 3
    name = "DjangoXBlockUserStateClient_get_many_response_time"
    assert value(found, f"{name}_count", **SCOPE) == 2
    assert value(found, f"{name}_sum", **SCOPE) == 3
    assert value(found, f"{name}_bucket", **SCOPE, le="1.0") == 1
    assert value(found, "DjangoXBlockUserStateClient_outbox_depth") == 2


def test_every_metric_is_taken(registry: CollectorRegistry, scrape: Scrape) -> None:
    sink = PrometheusSink(registry=registry)
    for metric in METRICS.values():
        tags = dict.fromkeys(metric.tags, "some")
        if metric.kind == "counter":
            sink.count(metric.name, 1, tags)
        else:
            sink.record(metric.name, 1, tags)
    shown = {name for name, _ in scrape()}
    endings = {"counter": "_total", "histogram": "_sum", "gauge": ""}
    assert shown >= {metric.name.replace(".", "_") + endings[metric.kind] for metric in METRICS.values()}


def test_a_prefix(registry: CollectorRegistry, scrape: Scrape) -> None:
    PrometheusSink(registry=registry, prefix="campus").record(DEPTH, 4, {})
    assert value(scrape(), "campus_DjangoXBlockUserStateClient_outbox_depth") == 4


def test_a_second_sink_goes_on_with_what_the_registry_has(registry: CollectorRegistry, scrape: Scrape) -> None:
    for number in (1, 2):
        PrometheusSink(registry=registry).count(LOST_RACES, number, {"cause": "revision"})
    name = "DjangoXBlockUserStateClient_transaction_lost_races_total"
    assert value(scrape(), name, cause="revision") == 3


def test_several_processes_add_up_and_a_gauge_has_the_newest_value(tmp_path: Path) -> None:
    """One folder for all of them, including processes that have ended."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    for number in ("2", "1"):
        run(WORKER, number)
    found = samples(run(PAGE))
    assert value(found, "DjangoXBlockUserStateClient_transaction_lost_races_total", cause="revision") == 3
    assert value(found, "DjangoXBlockUserStateClient_get_many_response_time_count", **SCOPE) == 2
    assert value(found, "DjangoXBlockUserStateClient_outbox_depth") == 1
