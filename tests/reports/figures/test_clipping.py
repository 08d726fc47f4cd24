"""Nothing that is written in a figure is cut off at its edge, and no axis of percentages goes beyond 0 and 100."""

import numpy as np
import pytest

from manyhands.data.dataset import Examples
from manyhands.evaluation.diagnostics import diagnose
from manyhands.reports.figures import model
from manyhands.reports.figures.registry import make_figures
from manyhands.reports.figures.style import legend_above, new_figure, plain_style

LONG = "Barbera d'Asti é ñ Ø: quite a long name"
NAMES = [f"{LONG} {number}" for number in range(7)]

RECORDS = {
    "exemplar": lambda r: r.w1(),
    "minibatch": lambda r: r.w4(),
    "networks": lambda r: r.networks(),
    "speculative": lambda r: r.speculative(),
    "levels": lambda r: r.levels(),
    "classifiers": lambda r: r.classifiers(),
    "scaled": lambda r: r.compare(scaled=True),
    "deep": lambda r: r.sweep(hidden=(50, (128, 64)), epochs=(10, 20)),
    "one strategy": lambda r: r.compare(2, (1, 2), {LONG: (0.1, 0.01)}, curves=True),
    "long names": lambda r: r.compare(2, (2, 4), dict.fromkeys(NAMES, (0.1, 0.01)), curves=True),
    "all right": lambda r: perfect(r),
}


def perfect(records):
    """A comparison whose accuracies are close to 100 %, so that their intervals would go beyond."""
    found = records.compare(2, (1, 2), {"gradient": (0.0, 0.01)}, curves=True)
    for run in found["runs"]:
        run["accuracy"] = 1.0 if run["seed"] else 0.99
        run["curve"] = [{**point, "accuracy": min(1.0, point["accuracy"] + 0.07)} for point in run["curve"]]
    found["summary"] = records.summary(found["runs"])
    return found


def drawn(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with plain_style():
        canvas.draw()
    return canvas.get_renderer()


def axes_of(panel):
    return [panel.xaxis, panel.yaxis, *([panel.zaxis] if hasattr(panel, "zaxis") else ())]


def written(figure):
    """Return the texts of a drawn figure that are seen: ticks beyond the limits of their axis are not."""
    from matplotlib.text import Text

    unseen = set()
    for axes in figure.axes:
        for axis in axes_of(axes):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high or not axes.axison:
                    unseen |= {tick.label1, tick.label2}
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in unseen]


def clipped(figure):
    renderer = drawn(figure)
    width, height = figure.canvas.get_width_height()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in written(figure)}
    assert boxes
    return [
        name
        for name, box in boxes.items()
        if not (-1 <= box.x0 <= box.x1 <= width + 1 and -1 <= box.y0 <= box.y1 <= height + 1)
    ]


@pytest.mark.parametrize("kind", RECORDS)
def test_no_text_is_cut_off(records, kind):
    for picture in make_figures(RECORDS[kind](records)):
        assert clipped(picture.figure) == [], picture.name


@pytest.mark.parametrize("kind", ["exemplar", "networks", "speculative", "all right"])
def test_no_axis_of_percentages_goes_beyond_them(records, kind):
    found = 0
    for picture in make_figures(RECORDS[kind](records)):
        for axes in picture.figure.axes:
            for axis in axes_of(axes):
                if axis.get_label_text().endswith(", %") or (
                    axis is axes.yaxis and axes.get_title(loc="left") == "accuracy"
                ):
                    low, high = axis.get_view_interval()
                    assert low >= 0, picture.name
                    assert high <= 100, picture.name
                    found += 1
    assert found >= 2


def test_a_legend_that_is_too_wide_takes_fewer_columns():
    widths = []
    for names in (["a", "b", "c", "d"], NAMES[:4]):
        figure, (axes,) = new_figure(width=6.6)
        for name in names:
            axes.plot([0, 1], [0, 1], label=name)
        legend_above(figure, [axes])
        widths.append(figure.legends[0]._ncols)
        assert clipped(figure) == []
    assert widths[0] == 4 > widths[1]


@pytest.mark.parametrize("names", [["Barbera é", "Gewürztraminer", "中"], ["_a", "$x_1$", LONG]])
def test_classes_have_their_names(names):
    labels = np.array(names)

    class Guesser:
        classes = np.unique(labels)

        def predict_proba(self, features):
            return np.tile(np.array([0.5, 0.3, 0.2], np.float32), (len(features), 1))

    examples = Examples(np.arange(30.0 * 25).reshape(30, 25), labels[np.arange(30) % 3])
    found = diagnose(Guesser(), examples)
    with plain_style():
        pictures = [
            model.confusion_figure(found),
            model.calibration_figure(found),
            model.mistakes_figure(found, examples, (5, 5), transpose=False),
        ]
    for picture in pictures:
        assert clipped(picture.figure) == [], picture.name
    seen = {text.get_text() for text in written(pictures[0].figure)}
    if "Barbera é" in names:
        assert {"Barbera é", "?"} < seen
    else:
        assert {"_a", "$x_1$"} < seen
