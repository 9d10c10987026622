"""The opening section: the targets of the present work, with their figures, and a chart of how far each is reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.page import charts, figures, report, targets
from bench.page.report import Known
from bench.page.targets import Verdict

CHART = "targets"
HEADS = ("database", "figure", "target", "measured", "met")


def section(known: Known) -> str:
    """Return the number of targets that are met, the chart, and the table."""
    found = targets.verdicts(known, targets.PRESENT)
    measured = [verdict for verdict in found if verdict.measured is not None]
    met = sum(bool(verdict.is_met) for verdict in measured)
    workloads = {verdict.target.workload for verdict in measured}
    parts = [
        report.kind_of_runs({name: of for name, of in known.items() if name in workloads}),
        f"Of {len(found)} targets, {len(measured)} are measured and {met} are met.",
    ]
    if measured:
        parts.append(charts.image(CHART, "the reached part of each target"))
    return "\n\n".join([*parts, report.table(HEADS, map(_row, found))])


def draw(known: Known) -> None:
    """Draw the reached part of each target that was measured, by database."""
    found = targets.verdicts(known, targets.PRESENT)
    panels = {name: list(_shares(found, name)) for name in targets.BOTH}
    charts.draw_shares(CHART, {name: shares for name, shares in panels.items() if shares})


def _row(verdict: Verdict) -> Sequence[str]:
    target, database, measured, is_met = verdict
    if measured is None:
        return database, target.figure, target.written(), figures.MISSING, "not measured"
    met = "yes" if is_met else f"**no**, {target.share(measured):.0%} of it"
    return database, target.figure, target.written(), target.form.format(measured), met


def _shares(found: Sequence[Verdict], database: str) -> Iterator[tuple[str, float]]:
    for verdict in found:
        if verdict.target.database == database and verdict.measured is not None:
            yield verdict.target.figure, verdict.target.share(verdict.measured)
