"""The style of figures, and their files. matplotlib is imported by figures only, and only to draw.

Figures are plain objects, made without pyplot and without its global state: any thread may draw, and nothing stays.
They look the same whatever the user's matplotlibrc says, and need none of the backends that draw on screens.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands.core.errors import ManyhandsError, SettingsError
from manyhands.core.extras import install
from manyhands.reports.figures.text import FONT, inches, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, PALE = "#222222", "#6e6e6e", "#e4e4e4"
# Okabe and Ito 2008: told apart by the colour-blind; their yellow is left out, it is too light for white paper.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES: tuple[Any, ...] = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)), (0, (7, 2)))
_PNG_DPI, _LEGEND_SIZE = 150, 10.0


@dataclass(frozen=True)
class Picture:
    """A figure of the report: the name of its files, its caption with the finding, and a description in words."""

    name: str
    caption: str
    alt: str
    figure: Figure


@dataclass(frozen=True)
class Draft:
    """A figure that is still to be drawn: the name of its files, and a function; None if it has nothing to draw."""

    name: str
    draw: Callable[[], Picture | None]


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of one series: each of the three distinguishes series."""

    colour: str
    marker: str
    dashes: Any


@dataclass(frozen=True)
class Mark:
    """A measured point, with the 95 % interval of y, if it has one; hollow if there were more workers than cores."""

    x: float
    y: float
    interval: Sequence[float] | None = None
    hollow: bool = False


REFERENCE = Look(INK, "X", (0, (4, 2)))


_DRAWING = threading.RLock()
"""The lock of matplotlib's settings, which are global and are changed while a figure is drawn."""


def require_matplotlib() -> None:
    """Import matplotlib, if need be without the user's settings for it; raise SettingsError if that fails."""
    with _DRAWING:
        try:
            _import_matplotlib()
        except ImportError as error:
            raise SettingsError(
                f"a report needs matplotlib, which cannot be loaded ({error}): {install('report')}"
            ) from error
        except Exception as error:
            raise SettingsError(
                f"a report needs matplotlib, which cannot be loaded ({reason(error)}): check MPLBACKEND, MPLCONFIGDIR "
                "and matplotlibrc, also in the current folder"
            ) from error


def _import_matplotlib() -> None:
    try:
        import matplotlib.figure
    except ImportError:
        raise
    except Exception:  # an unknown MPLBACKEND, or a matplotlibrc that cannot be read
        if "matplotlib" in sys.modules:
            raise
        for name in [each for each in sys.modules if each.startswith("matplotlib.")]:
            del sys.modules[name]  # parts of a package that was not imported
        spec = importlib.util.find_spec("matplotlib")
        own = "" if spec is None or spec.origin is None else str(Path(spec.origin).parent / "mpl-data")
        before = dict(os.environ)
        os.environ.pop("MPLBACKEND", None)
        os.environ["MATPLOTLIBRC"] = own
        try:
            import matplotlib.figure  # noqa: F401
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextlib.contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's own settings instead of the user's, which are restored; errors as require_matplotlib."""
    require_matplotlib()
    import matplotlib

    own = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
    # A name with a $ is no formula, and an axis has whole numbers instead of distances to one that stands elsewhere.
    own |= {"text.color": INK, "axes.edgecolor": INK, "text.parse_math": False, "axes.formatter.useoffset": False}
    with _DRAWING, matplotlib.rc_context(own):
        yield


def reason(error: BaseException) -> str:
    """Return in a line why something could not be drawn."""
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, ManyhandsError):
        return text
    return f"{type(error).__name__}: {text:.200}" if text else type(error).__name__


def looks(names: Iterable[str], reference: str = "sequential") -> dict[str, Look]:
    """Return a look for each name; that of the reference is its own."""
    found: dict[str, Look] = {}
    for name in names:
        position = len(found) - (reference in found)
        dashes = _DASHES[(position + position // len(_DASHES)) % len(_DASHES)]
        own = Look(_COLOURS[position % len(_COLOURS)], _MARKERS[position % len(_MARKERS)], dashes)
        found[name] = REFERENCE if name == reference else own
    return found


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 9.0, height: float = 3.7, **sharing: Any
) -> tuple[Figure, list[Axes]]:
    """Return a white figure of the given inches, and its panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False, **sharing)
    return figure, list(panels.flat)


def new_sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a white figure and one panel all over it, whose coordinates are inches from the top left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    return figure, axes


def end_sheet(figure: Figure, axes: Axes) -> None:
    """Make the panel fill the whole sheet again after everything was drawn."""
    width, height = figure.get_size_inches()
    axes.set_aspect("auto")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def dress(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Label a panel, and remove the parts of its frame that show nothing."""
    axes.set_facecolor("white")
    axes.set_xlabel(x, fontsize=10.5, color=INK, fontfamily=FONT)
    axes.set_ylabel(y, fontsize=10.5, color=INK, fontfamily=FONT)
    if title:
        axes.set_title(title, fontsize=10.5, color=INK, fontfamily=FONT, loc="left")
    axes.tick_params(labelsize=10, colors=INK, labelcolor=INK)
    axes.grid(True, color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def log_axis(axis: Any) -> None:
    """Make an axis, such as ``panel.xaxis``, logarithmic, with few and plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def worker_axis(axes: Axes, workers: Sequence[int], crowded: set[int]) -> None:
    """Put the numbers of workers on the x axis at equal distances, with an asterisk where cores were too few."""
    names = [f"{number}*" if number in crowded else str(number) for number in workers]
    axes.set_xticks(range(len(workers)), names)
    axes.set_xlim(-0.45, len(workers) - 0.55)


def dodged(position: int, series: int, of: int) -> float:
    """Return an x beside a tick, so that series which agree do not hide each other."""
    return position + (series - (of - 1) / 2) * min(0.12, 0.5 / max(of, 1))


def draw_series(axes: Axes, marks: Sequence[Mark], look: Look, name: str, *, line: bool = True) -> None:
    """Draw points with their intervals, joined by a line; hollow where there were more workers than cores."""
    colour = look.colour
    if line:
        axes.plot([m.x for m in marks], [m.y for m in marks], color=colour, linestyle=look.dashes, linewidth=1.5)
    for mark in marks:
        if mark.interval is not None:
            low, high = mark.interval
            axes.plot([mark.x, mark.x], [low, high], color=colour, linewidth=1.5, marker="_", markersize=6)
        face = "white" if mark.hollow else colour
        axes.plot([mark.x], [mark.y], color=colour, marker=look.marker, markersize=7, markerfacecolor=face, zorder=3)
    style = look.dashes if line else "none"
    axes.plot([], [], color=colour, linestyle=style, marker=look.marker, markersize=7, label=label(name))


def from_zero(panels: Sequence[Axes]) -> None:
    """Make the y axes start at 0 and end above everything that was drawn."""
    tops = [panel.get_ylim()[1] for panel in panels]
    for panel, top in zip(panels, tops, strict=True):
        panel.set_ylim(0, 1.03 * top)


def legend_above(figure: Figure, axes: Sequence[Axes], columns: int = 4) -> None:
    """Put one legend for all panels above them, where it can hide nothing."""
    entries: dict[str, Any] = {}
    for panel in axes:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    if not entries:
        return
    legend = figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside upper center",
        ncols=_columns_that_fit(list(entries), min(columns, len(entries)), float(figure.get_figwidth())),
        frameon=False,
        fontsize=_LEGEND_SIZE,
        handlelength=3.2,
    )
    for text in legend.get_texts():
        text.set_fontfamily(FONT)


def _columns_that_fit(names: Sequence[str], most: int, width: float) -> int:
    """Return the largest number of a legend's columns that is no wider than the figure, in inches."""
    beside = 6.2 * _LEGEND_SIZE / 72  # line, its distance to the text, and the distance to the next column
    for columns in range(most, 1, -1):
        more, rest = divmod(len(names), columns)  # as a legend divides them: the first columns have one more
        parts = [names[k * more + min(k, rest) :][: more + (k < rest)] for k in range(columns)]
        if sum(beside + max(inches(name, _LEGEND_SIZE) for name in part) for part in parts) < width - 0.1:
            return columns
    return 1


def within_percent(*axes: Any) -> None:
    """End axes of percentages, such as ``panel.yaxis``, at 0 and 100; points that lie on the end are drawn whole."""
    for axis in axes:
        low, high = sorted(axis.get_view_interval())
        axis.axes.set(**{f"{axis.axis_name}lim": (max(low, 0.0), min(high, 100.0))})
        for line in axis.axes.lines:
            values = line.get_xdata() if axis.axis_name == "x" else line.get_ydata()
            if len(values) == 1 and values[0] in (0, 100):
                line.set_clip_on(False)


def in_percent(interval: Sequence[float] | None) -> list[float] | None:
    """Return an interval of percentages without what lies beyond 0 and 100; None for None."""
    return None if interval is None else [min(max(end, 0.0), 100.0) for end in interval]


def annotate_inside(axes: Axes, text: str, point: tuple[float, float], height: float) -> None:
    """Write a small text beside a point, on the side where there is more room; set the limits of the axes first."""
    place = axes.transAxes.inverted().transform(axes.transData.transform(point))
    side, shift = ("left", 6) if place[0] < 0.5 else ("right", -6)
    annotate(axes, text, point, (shift, height), ha=side)


def annotate(
    axes: Axes, text: str, point: tuple[float, float], shift: tuple[float, float], colour: str = INK, **alignment: Any
) -> None:
    """Write a small text beside a point; ``shift`` is in typographic points."""
    axes.annotate(text, point, xytext=shift, textcoords="offset points", fontsize=8, color=colour, **alignment)


def png(picture: Picture) -> bytes:
    """Return the picture as PNG; the same picture gives the same bytes."""
    buffer = io.BytesIO()
    with plain_style():
        picture.figure.savefig(buffer, format="png", backend="agg", dpi=_PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


def svg(picture: Picture) -> bytes:
    """Return the picture as SVG; the same picture gives the same bytes."""
    import matplotlib

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with plain_style(), matplotlib.rc_context({"svg.hashsalt": picture.name}):  # without it, ids are random
        picture.figure.savefig(buffer, format="svg", backend="svg", metadata=nothing)
    return buffer.getvalue().encode()
