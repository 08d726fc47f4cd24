"""Data sets of characters as one: labels mapped, images upright and alike, generated characters and fragments."""

import numpy as np
import pytest

from manyhands.core.choices import NO_CHARACTER
from manyhands.core.errors import DataError, MissingDataError
from manyhands.data import fragments, glyphs, joined
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Examples
from manyhands.data.found import Found
from manyhands.data.pen_strokes import STYLES, varied


def bars(rows, label, *, upright=True):
    """Return images of a bar that stands, or lies."""
    images = np.zeros((rows, 28, 28), np.uint8)
    if upright:
        images[:, 4:24, 12:16] = 255
    else:
        images[:, 12:16, 4:24] = 255
    return images, np.full(rows, label)


def found(name, images, labels, source=None):
    examples = Examples(images, labels, source=source)
    return Found(name, examples, examples, f"{name} from here", 0.0)


@pytest.fixture
def few_glyphs(monkeypatch):
    """Make three fonts and a few drawn digits be all that is generated."""
    fonts = glyphs.usable_fonts()
    if not fonts:
        pytest.skip("there are no fonts")
    monkeypatch.setattr(glyphs, "usable_fonts", lambda: (fonts[:1] * 12)[:12])
    monkeypatch.setattr(glyphs, "_DRAWN_OF_EACH", 24)


class TestNames:
    def test_names_are_parted_and_unknown_ones_refused(self):
        assert joined.parts_of("mnist+letters") == ["mnist", "letters"]
        assert joined.parts_of("mnist") is None
        assert joined.parts_of("a+b.csv") is None
        with pytest.raises(MissingDataError, match="cannot be joined"):
            joined.parts_of("mnist+letter")
        with pytest.raises(MissingDataError, match="twice"):
            joined.parts_of("mnist+mnist")
        with pytest.raises(MissingDataError, match="made for other data"):
            joined.parts_of("glyphs+fragments")


class TestJoined:
    def read(self, name, tmp_path):
        if name == "mnist":
            return found("mnist", *bars(6, 1))
        images, labels = bars(6, 9, upright=False)  # stored on its side
        return found("letters", images, labels, tmp_path / "emnist-letters-train-images-idx3-ubyte")

    def test_labels_are_characters_and_letters_stand_upright(self, tmp_path):
        both = joined.read_joined(["mnist", "letters"], lambda name: self.read(name, tmp_path))
        assert sorted(set(both.train.labels.tolist())) == ["1", "I"]
        tall = [np.flatnonzero(image.any(axis=1)) for image in both.train.features]
        assert all(rows[-1] - rows[0] + 1 == 20 for rows in tall)
        assert not both.train.is_transposed

    def test_the_same_rows_in_the_same_order_each_time(self, tmp_path):
        one, other = (
            joined.read_joined(["mnist", "letters"], lambda name: self.read(name, tmp_path)) for _ in range(2)
        )
        assert np.array_equal(one.train.labels, other.train.labels)

    def test_other_images_are_refused(self):
        with pytest.raises(DataError, match="28 x 28"):
            joined.read_joined(
                ["mnist", "letters"], lambda name: found(name, np.zeros((2, 8, 8), np.uint8), np.ones(2))
            )

    def test_only_glyphs_of_known_classes_come_in(self, few_glyphs, tmp_path):
        both = joined.read_joined(["mnist", "glyphs"], lambda name: self.read(name, tmp_path))
        assert set(both.train.labels.tolist()) == {"1"}
        assert len(both.train) > 6

    def test_fragments_are_a_class_of_their_own(self, tmp_path):
        all_of = joined.read_joined(["mnist", "letters", "fragments"], lambda name: self.read(name, tmp_path))
        assert NO_CHARACTER in all_of.train.labels.tolist()

    def test_they_are_trained_with_like_any_other(self, few_glyphs):
        import os

        if not os.environ.get("MANYHANDS_DATA"):
            pytest.skip("needs real data: set MANYHANDS_DATA")
        dataset = load(DataRequest("mnist+glyphs", train_size=500))
        assert dataset.classes.tolist() == list("0123456789")
        assert dataset.origin.request == {"data": "mnist+glyphs"}
        assert dataset.train.sample_shape == (1, 28, 28)


def test_glyphs_have_all_characters_and_other_fonts_for_testing(few_glyphs):
    made = glyphs.read_glyphs()
    assert len(set(made.train.labels.tolist())) == 36
    assert set(made.test.labels.tolist()) <= set(made.train.labels.tolist())
    assert made.train.features.shape[1:] == (28, 28)
    assert (made.train.features.reshape(len(made.train), -1).max(axis=1) > 200).all()


def test_drawn_digits_differ_each_time_and_repeat_with_their_seed():
    styles = STYLES["7"][0]
    one, same, other = (glyphs.drawn(varied(styles, np.random.default_rng(seed)), 0.1) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_fragments_are_what_cuts_leave():
    images, _ = bars(40, "1")
    images[20:, 4:24, 6:22] = 200
    made = fragments.made_from(Examples(images, np.array(["1"] * 20 + ["0"] * 20)), "test")
    none = made.labels == NO_CHARACTER
    assert none.any()
    assert (~none).any()
    assert set(made.labels[~none].tolist()) <= {"0", "1"}
    assert made.features.shape[1:] == (28, 28)
