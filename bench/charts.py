"""Draws charts into the documentation, as PNG and SVG, for light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.contenders import OURS, OURS_WARM, PGHISTORY, RAW, RAW_WARM, REFERENCE, SIMPLE_HISTORY
from bench.report import DOCS

FOLDER = DOCS / "images" / "performance"
Points = Sequence[tuple[float, float]]

# Readable on white and on black.
_INK = "#7d8590"
_COLOURS = {
    OURS: "#2f81f7",
    OURS_WARM: "#79b8ff",
    REFERENCE: "#e5534b",
    SIMPLE_HISTORY: "#c69026",
    PGHISTORY: "#986ee2",
    RAW: "#46954a",
    RAW_WARM: "#8ddb8c",
}


class Panel(NamedTuple):
    """One diagram: a line for each name, both axes logarithmic unless told otherwise."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points]
    scale: str = "log"


def draw(name: str, panels: Sequence[Panel]) -> None:
    """Draw the panels side by side into ``NAME.png`` and ``NAME.svg``."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to import, and not there where only tests run
    from matplotlib.figure import Figure  # noqa: PLC0415 - see above

    style: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
    )
    # Without a date and with fixed names inside, the same figures give the same file.
    with mpl.rc_context({**style, "svg.hashsalt": name, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(4.8 * len(panels), 3.6), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axes, panel)
        FOLDER.mkdir(parents=True, exist_ok=True)
        figure.savefig(FOLDER / f"{name}.png", dpi=160, transparent=True, metadata={"Software": None})
        figure.savefig(FOLDER / f"{name}.svg", transparent=True, metadata={"Date": None})


def image(name: str, what: str) -> str:
    """Return the Markdown that shows a chart."""
    return f"![Chart: {what}](images/performance/{name}.svg)"


def slug(database: str) -> str:
    """Return what the files of a database's charts have in their names, from a name such as ``PostgreSQL 15.20``."""
    return re.sub(r"[^a-z]+", "", database.lower())


def _draw(axes: Any, panel: Panel) -> None:
    for name, points in panel.lines.items():
        x_values, y_values = zip(*points, strict=True)
        axes.plot(x_values, y_values, marker="o", markersize=3.5, label=name, color=_COLOURS.get(name))
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label, xscale=panel.scale, yscale=panel.scale)
    axes.grid(visible=True, color=_INK, alpha=0.25)
    axes.legend(frameon=False, fontsize=7.5)
