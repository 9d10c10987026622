"""Charts of the documentation, as PNG and SVG, legible on light and on dark pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from bench.contenders import OURS, OURS_WARM, PGHISTORY, RAW, RAW_WARM, REFERENCE, SIMPLE_HISTORY
from bench.page.report import DOCS

FOLDER = DOCS / "images" / "performance"
CALLS = ("set_many, update", "get_many")
"""Operations of the charts that have one panel each."""

Points = Sequence[tuple[float, float]]
Lines = Mapping[str, Points]

# A grey that is legible on white and on black.
_INK = "#7d8590"


class Look(NamedTuple):
    """Colour, marker and dashes of a contender: three ways to tell the lines apart, for readers who see few colours."""

    colour: str
    marker: str
    dashes: str = "-"


# The colours are Okabe and Ito's, which people with the common kinds of colour blindness can tell apart.
LOOKS = {
    OURS: Look("#0072b2", "o"),
    OURS_WARM: Look("#56b4e9", "o", "--"),
    REFERENCE: Look("#d55e00", "s"),
    SIMPLE_HISTORY: Look("#e69f00", "^"),
    PGHISTORY: Look("#cc79a7", "v"),
    RAW: Look("#009e73", "D"),
    RAW_WARM: Look("#66c2a5", "D", "--"),
}


class Panel(NamedTuple):
    """A diagram of one operation: a line per contender, both axes with the same scale."""

    title: str
    x_label: str
    lines: Lines
    scale: str


class Bars(NamedTuple):
    """A diagram of bars in groups: a value per contender and group, ``None`` where it was not measured."""

    title: str
    label: str
    groups: Sequence[str]
    values: Mapping[str, Sequence[float | None]]
    form: Callable[[float], str]


def draw_calls(name: str, database: str, x_label: str, lines_of: Callable[[str], Lines], scale: str = "log") -> None:
    """Draw the median times of updates and reads side by side."""
    panels = [Panel(f"{operation}: {database}", x_label, lines_of(operation), scale) for operation in CALLS]
    with _figure(name, 1, len(panels)) as axes:
        for one, panel in zip(axes, panels, strict=True):
            _draw_lines(one, panel)


def draw_bars(name: str, panels: Sequence[Bars]) -> None:
    """Draw two panels in a row, with a logarithmic axis, the value on each bar, and one legend for all.

    Panels without values are left out.
    """
    panels = [panel for panel in panels if panel.values]
    with _figure(name, -(-len(panels) // 2), 2) as axes:
        for one, panel in zip(axes, panels, strict=False):
            _draw_bars(one, panel)
        for empty in axes[len(panels) :]:
            empty.remove()
        _add_legend(axes[: len(panels)])


def draw_shares(name: str, panels: Mapping[str, Sequence[tuple[str, float]]]) -> None:
    """Draw a panel of bars for each database: the reached part of each target, with a line where it is met."""
    if not panels:
        return
    most = max(map(len, panels.values()))
    with _figure(name, len(panels), 1, size=(9.0, 0.24 * most + 1.0)) as axes:
        for one, (database, shares) in zip(axes, panels.items(), strict=True):
            _draw_shares(one, database, shares)


def image(name: str, subject: str) -> str:
    """Return the Markdown that shows a chart."""
    return f"![Chart: {subject}](images/performance/{name}.svg)"


def slug(database: str) -> str:
    """Return the part of a file name that stands for a database, ``postgresql`` for ``PostgreSQL 15.20``."""
    return re.sub(r"[^a-z]+", "", database.lower())


@contextmanager
def _figure(name: str, rows: int, columns: int, size: tuple[float, float] = (4.8, 3.6)) -> Iterator[Any]:
    """Give the axes of a new figure, and save it as ``NAME.png`` and ``NAME.svg``. A panel has a `size` in inches."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and is missing where only tests run
    from matplotlib.figure import Figure  # noqa: PLC0415 - see above

    style: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
    )
    # Inches between the rows of panels, so that a title keeps its distance from the labels above.
    style |= {"font.size": 9, "figure.constrained_layout.h_pad": 0.12}
    # With a fixed salt, and without a date below, the same figures give the same file.
    style |= {"svg.hashsalt": name, "svg.fonttype": "none"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        yield figure.subplots(rows, columns, squeeze=False).flatten()
        FOLDER.mkdir(parents=True, exist_ok=True)
        figure.savefig(FOLDER / f"{name}.png", dpi=160, transparent=True, metadata={"Software": None})
        figure.savefig(FOLDER / f"{name}.svg", transparent=True, metadata={"Date": None})


def _draw_lines(axes: Any, panel: Panel) -> None:
    for name, points in panel.lines.items():
        x_values, y_values = zip(*points, strict=True)
        look = LOOKS[name]
        axes.plot(x_values, y_values, look.dashes, marker=look.marker, markersize=4, label=name, color=look.colour)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel="milliseconds", xscale=panel.scale, yscale=panel.scale)
    if panel.scale == "log":
        _label_plainly(axes.xaxis, 1)
        _label_plainly(axes.yaxis, 1, 2, 5)
    axes.grid(visible=True, color=_INK, alpha=0.25)
    axes.legend(frameon=False, fontsize=7.5)


def _draw_bars(axes: Any, panel: Bars) -> None:
    width = 0.8 / len(panel.values)
    for place, (name, values) in enumerate(panel.values.items()):
        measured = [(group + place * width, value) for group, value in enumerate(values) if value]
        drawn = axes.bar(*zip(*measured, strict=True), width * 0.92, label=name, color=LOOKS[name].colour)
        axes.bar_label(drawn, [panel.form(value) for _, value in measured], padding=2, fontsize=7.5, color=_INK)
    axes.set(title=panel.title, ylabel=f"{panel.label} (logarithmic)", yscale="log")
    _label_plainly(axes.yaxis, 1)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(panel.groups))], panel.groups)
    axes.margins(y=0.15)
    axes.grid(visible=True, axis="y", color=_INK, alpha=0.25)
    axes.set_axisbelow(True)


def _draw_shares(axes: Any, database: str, shares: Sequence[tuple[str, float]]) -> None:
    figures, values = zip(*shares, strict=True)
    colours = [LOOKS[RAW].colour if value >= 1 else LOOKS[REFERENCE].colour for value in values]
    drawn = axes.barh(range(len(values)), values, 0.8, color=colours)
    axes.bar_label(drawn, [f"{value:.0%}" for value in values], padding=2, fontsize=7.5, color=_INK)
    axes.axvline(1, color=_INK)
    axes.set(title=database, xlabel="reached part of the target (logarithmic); met from 1 on", xscale="log")
    axes.set_yticks(range(len(values)), figures, fontsize=7.5)
    axes.invert_yaxis()
    _label_plainly(axes.xaxis, 1, 2, 5)
    axes.margins(x=0.12, y=0.01)


def _label_plainly(axis: Any, *digits: int) -> None:
    """Label a logarithmic axis with plain numbers that start with one of the digits, instead of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415 - see above

    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _add_legend(axes: Sequence[Any]) -> None:
    found = {label: handle for one in axes for handle, label in zip(*one.get_legend_handles_labels(), strict=True)}
    axes[0].figure.legend(found.values(), found, loc="outside lower center", ncols=len(found), frameon=False)
