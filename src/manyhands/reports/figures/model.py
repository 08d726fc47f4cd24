"""Figures of a diagnosis: confusions, calibration, the surest mistakes, and first-layer weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.data.dataset import Examples
from manyhands.evaluation.diagnostics import Diagnosis
from manyhands.evaluation.text import certainty
from manyhands.reports.figures.schemes import ON_DARK_FIELD, ON_LIGHT_FIELD
from manyhands.reports.figures.style import GREY, INK, PALE, REFERENCE, Picture, dress, end_sheet, new_figure, new_sheet
from manyhands.reports.figures.text import inches, label, shortened
from manyhands.reports.format import decimal
from manyhands.training.model import TrainedModel

MOST_MISTAKES, MOST_NEURONS = 32, 100
_NUMBERED, _NAMED = 30, 60
"""The largest numbers of classes with which the cells of a matrix show numbers, and every class shows its name."""
_SMALLEST_SIDE = 5
"""The shortest side of an image: four measurements of a flower are no image of 2 x 2 pixels."""
_ENOUGH_ROWS = 10
_FINEST = 128  # pixels of an image's longer side
_BLUE, _ORANGE = "#0072B2", "#E69F00"


def image_shape(examples: Examples) -> tuple[int, int] | None:
    """Return height and width if the rows are grey images, or may be; None if they are not.

    Rows of two dimensions are images; rows of one dimension may be if their length is a square number from 25 on.
    """
    _, *shape = examples.features.shape
    if len(shape) == 2:
        return shape[0], shape[1]
    side = math.isqrt(shape[0])
    return (side, side) if len(shape) == 1 and side * side == shape[0] and side >= _SMALLEST_SIDE else None


def confusion_figure(found: Diagnosis) -> Picture:
    """Draw the confusion matrix: shares of each class's rows as shades, numbers where there is room."""
    count, matrix = len(found.labels), found.confusion
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    places = range(0, count, -(-count // _NAMED))
    names = [label(str(found.labels[place]), 24 if count <= _NUMBERED else 12) for place in places]
    beside = max(inches(name, 10) for name in names) if count <= _NUMBERED else 0.0
    side = min(max(0.36 * count + 1.2, 4.6) + max(beside - 0.3, 0), 10.5)
    figure, (axes,) = new_figure(width=side, height=side)
    axes.imshow(
        np.sqrt(share), cmap="Blues", vmin=0, vmax=1
    )  # the root: or no error could be seen beside what is right
    if count <= _NUMBERED:
        size = min(9.0, 200 / count, 32 / len(str(matrix.max())))
        for truth, predicted in np.argwhere(matrix).tolist():
            number, dark = str(matrix[truth, predicted]), share[truth, predicted] > 0.36
            colour = ON_DARK_FIELD if dark else ON_LIGHT_FIELD
            axes.text(predicted, truth, number, ha="center", va="center", fontsize=size, color=colour)
    dress(axes, "predicted class", "true class")
    axes.grid(False)
    axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(places, names)
    axes.tick_params(labelsize=10 if count <= 20 else 8 if count <= _NUMBERED else 6)
    worst = "; ".join(
        f"{shortened(str(each.truth))} as {shortened(str(each.predicted))} {each.rows} ({100 * each.share:.1f} %)"
        for each in found.confusions(5)
    )
    finding = f"Most frequent: {worst}." if worst else "No row is taken for another class."
    caption = (
        "How many rows of each true class (line) were taken for each class (column). The darker a field, the larger "
        f"its share of the line. {finding}"
    )
    return Picture("confusion", caption, f"Confusion matrix of {count} classes. {finding}", figure)


def calibration_figure(found: Diagnosis) -> Picture:
    """Draw the accuracy by the probability of the predicted class, and how many rows have which probability."""
    figure, (left, right) = new_figure(1, 2, width=9.0, height=3.9)
    for each in found.bins:
        if each.accuracy is None or each.confidence is None:
            continue
        place: dict[str, Any] = {"align": "edge", "width": 100 * (each.high - each.low), "edgecolor": "white"}
        shade = _BLUE if each.rows >= _ENOUGH_ROWS else PALE
        left.bar(100 * each.low, 100 * each.accuracy, color=shade, **place)
        left.plot(2 * [100 * each.confidence], [100 * each.accuracy, 100 * each.confidence], color=_ORANGE, linewidth=2)
        right.bar(100 * each.low, 100 * each.rows / len(found.truth), color=GREY, **place)
    left.plot([0, 100], [0, 100], color=REFERENCE.colour, linestyle=REFERENCE.dashes, linewidth=1)
    sure = "probability of the predicted class, %"
    dress(left, sure, "accuracy of these rows, %", "as right as it is sure?")
    dress(right, sure, "share of the rows, %", "how sure it is")
    for axes in (left, right):
        axes.set_xlim(0, 100)
    left.set_ylim(0, 100)
    finding = (
        f"{certainty(found)}; expected calibration error {decimal(100 * found.calibration_error)} points "
        f"({len(found.bins)} bins)"
    )
    caption = (
        f"Calibration: {finding}. A bar that ends on the dashed line is as right as it is sure; the orange lines show "
        f"by how much the others are not. Pale bars have fewer than {_ENOUGH_ROWS} rows."
    )
    return Picture("calibration", caption, f"Accuracy by probability of the predicted class: {finding}.", figure)


def mistakes_figure(found: Diagnosis, examples: Examples, shape: tuple[int, int], *, transpose: bool) -> Picture | None:
    """Draw the wrongly classified rows that the model was surest of; None if there are none."""
    rows = found.mistakes[:MOST_MISTAKES]
    if not len(rows):
        return None
    images = _images(examples.flat()[rows], shape, transpose=transpose)
    low, high = float(images.min()), float(images.max())
    ink = "gray_r" if images.mean() < (low + high) / 2 else "gray"  # mostly low: bright ink, which is dark on paper
    columns = min(8, len(rows))
    size = _fitting(images, 0.94)
    names = [[label(str(found.label(each[row])), 14) for each in (found.truth, found.predicted)] for row in rows]
    between = "\n" if max(len(name) for pair in names for name in pair) > 4 else " "  # words get a line each
    above = 0.4 if between == " " else 0.52
    step = size[0] + 0.18, size[1] + above + 0.06
    figure, axes = new_sheet(columns * step[0] + 0.18, -(-len(rows) // columns) * step[1] + 0.1)
    for place, (row, image) in enumerate(zip(rows.tolist(), images, strict=True)):
        x, y = 0.18 + place % columns * step[0], above + place // columns * step[1]
        _put(axes, image, (x, y), size, cmap=ink, vmin=low, vmax=high)
        words = (
            f"{between.join([names[place][0], f'as {names[place][1]}'])}\n{100 * float(found.probability[row]):.2f} %"
        )
        axes.text(x + size[0] / 2, y - 0.04, words, ha="center", va="bottom", fontsize=8, color=INK, linespacing=1.1)
    end_sheet(figure, axes)
    turned = " Drawn transposed, as files of EMNIST need it." if transpose else ""
    caption = (
        f"The {len(rows)} of {len(found.mistakes)} wrongly classified rows that the model was surest of: true class, "
        f"what it was taken for, and the probability of that.{turned}"
    )
    return Picture("mistakes", caption, f"Images of the {len(rows)} surest mistakes.", figure)


def weights_figure(model: TrainedModel, shape: tuple[int, int], *, transpose: bool) -> Picture:
    """Draw each neuron's weights of the first layer as an image of the inputs."""
    weights = model.learner.weights()["weights.0"]
    shown = min(weights.shape[1], MOST_NEURONS)
    images = _images(weights[:, :shown].T, shape, transpose=transpose)
    # Not the largest: one weight by itself would make all others pale.
    limit = float(np.quantile(np.abs(images), 0.998)) or 1.0
    columns = min(10, shown)
    size = _fitting(images, 0.74)
    step = size[0] + 0.08, size[1] + 0.08
    height = max(-(-shown // columns) * step[1] + 0.16, 1.4)
    figure, axes = new_sheet(columns * step[0] + 1.0, height)
    for place, image in enumerate(images):
        corner = 0.12 + place % columns * step[0], 0.12 + place // columns * step[1]
        drawn = _put(axes, image, corner, size, cmap="RdBu_r", vmin=-limit, vmax=limit)
    end_sheet(figure, axes)
    wide = figure.get_figwidth()
    bar = figure.colorbar(drawn, cax=figure.add_axes((1 - 0.72 / wide, 0.12 / height, 0.14 / wide, 1 - 0.24 / height)))
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_edgecolor(PALE)
    what = "neurons of the first hidden layer" if model.settings.hidden else "classes"
    which = f"{shown}" if shown == weights.shape[1] else f"first {shown} of {weights.shape[1]}"
    turned = " Drawn transposed, as files of EMNIST need it." if transpose else ""
    caption = (
        f"Weights of the {which} {what}, line by line, each as an image of the inputs: red counts for the neuron, blue "
        f"against it, white is 0.{turned}"
    )
    return Picture("weights", caption, f"Weights of the {which} {what} as images.", figure)


def _images(rows: NDArray[Any], shape: tuple[int, int], *, transpose: bool) -> NDArray[np.float64]:
    """Return rows as images, upright, with fewer pixels where there are more than can be seen."""
    images = rows.reshape(len(rows), *shape).astype(np.float64)
    every = -(-max(shape) // _FINEST)
    images = images[:, ::every, ::every]
    return images.swapaxes(1, 2) if transpose else images


def _fitting(images: NDArray[Any], side: float) -> tuple[float, float]:
    """Return width and height in inches for images whose width shall be ``side``, if they are not too tall for that."""
    _, height, width = images.shape
    return side, side * min(max(height / width, 0.1), 3.0)


def _put(axes: Any, image: NDArray[Any], corner: tuple[float, float], size: tuple[float, float], **look: Any) -> Any:
    """Draw an image with its top left corner there, in inches."""
    (x, y), (width, height) = corner, size
    return axes.imshow(image, extent=(x, x + width, y + height, y), interpolation="none", **look)
