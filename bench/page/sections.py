"""All sections of the page, and the rendering of the whole page from stored results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

from bench.page import (
    at_a_glance,
    calls,
    console,
    growth,
    history_size,
    iteration,
    latency,
    maintenance,
    metrics,
    openedx_import,
    opening,
    page,
    plan,
    processes,
    profile,
    remote,
    report,
    startup,
    storage,
    targets,
    voting,
)
from bench.page.report import Known, Results

# Each module has ``section(results)``, which returns Markdown. Some have ``draw(results)``, which draws their charts.
OF_WORKLOADS: Mapping[str, ModuleType] = {
    "calls": calls,
    "latency": latency,
    "page": page,
    "processes": processes,
    "voting": voting,
    "iteration": iteration,
    "growth": growth,
    "storage": storage,
    "metrics": metrics,
    "startup": startup,
    "profile": profile,
    "history-size": history_size,
    "maintenance": maintenance,
    "console": console,
    "remote": remote,
    "openedx-import": openedx_import,
}
"""Sections from the results of one workload, by its name."""

OF_ALL: Mapping[str, ModuleType] = {"opening": opening, "at-a-glance": at_a_glance, "targets": targets}
"""Sections from the results of all workloads."""


PLAN = report.DOCS / "explanation" / "growth.md"
"""A page of its own, with one section."""


def text(workload: str, results: Mapping[str, Results]) -> str:
    """Return the section of a workload."""
    return str(OF_WORKLOADS[workload].section(results))


def rendered(page: str, known: Known) -> str:
    """Return the page with all sections made anew."""
    for name, results in known.items():
        page = report.replace_section(page, name, text(name, results))
    for name, module in OF_ALL.items():
        page = report.replace_section(page, name, module.section(known))
    return page


def planned(page: str, known: Known) -> str:
    """Return the page of the plan with its section made anew."""
    return report.replace_section(page, "plan", plan.section(known))


def publish() -> None:
    """Write the pages and draw their charts, from the stored results."""
    known = report.known()
    report.PAGE.write_text(rendered(report.PAGE.read_text(), known))
    PLAN.write_text(planned(PLAN.read_text(), known))
    for name, results in known.items():
        _draw(OF_WORKLOADS[name])(results)
    for module in OF_ALL.values():
        _draw(module)(known)


def _draw(module: ModuleType) -> Callable[..., None]:
    draw: Callable[..., None] = getattr(module, "draw", lambda _: None)
    return draw
