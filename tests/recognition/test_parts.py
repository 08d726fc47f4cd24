"""The steps one by one, on small made pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import ModelFileError, SettingsError
from manyhands.data.normalized import normalized, resized
from manyhands.recognition import context, geometry, page
from manyhands.recognition.binarization import binarized
from manyhands.recognition.cells import find_tables
from manyhands.recognition.components import Piece, pieces_of
from manyhands.recognition.light import denoised, flattened, grey, noise_of
from manyhands.recognition.lines import lines_of, spaces_before
from manyhands.recognition.paper import corners_of_paper
from manyhands.recognition.reader import CHARACTERS, load_reader, reader_for
from manyhands.recognition.ruling import without_lines
from manyhands.recognition.scoring import aligned, detection, score
from manyhands.recognition.segmentation import Usual, characters_of
from manyhands.recognition.skew import skew_of


def table(rows=3, columns=4, side=40, thick=2):
    """Return the ink of an empty table."""
    ink = np.zeros((rows * side + 60, columns * side + 60), bool)
    for row in range(rows + 1):
        ink[30 + row * side : 30 + row * side + thick, 30 : 30 + columns * side + thick] = True
    for column in range(columns + 1):
        ink[30 : 30 + rows * side + thick, 30 + column * side : 30 + column * side + thick] = True
    return ink


class TestNormalized:
    def test_a_character_fills_twenty_pixels_and_its_mass_is_in_the_middle(self):
        ink = np.zeros((100, 60), np.uint8)
        ink[10:90, 20:30] = 255
        image = normalized(ink)
        rows = np.flatnonzero(image.any(axis=1))
        assert rows[-1] - rows[0] + 1 == 20
        mass = image.astype(float)
        centre = (mass.sum(axis=1) @ np.arange(28)) / mass.sum()
        assert abs(centre - 14) <= 0.5
        assert image.max() == 255

    def test_nothing_stays_nothing(self):
        assert not normalized(np.zeros((5, 5), np.uint8)).any()

    @given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
    def test_sizes_keep_the_mean_of_an_even_image(self, rows, columns, height, width):
        assert np.allclose(resized(np.full((rows, columns), 0.5, np.float32), height, width), 0.5, atol=1e-5)


class TestLight:
    def test_a_shadow_is_taken_away_and_ink_stays(self):
        paper = np.linspace(0.9, 0.3, 400)[None, :] * np.ones((300, 1))
        paper[100:140, 50:350:30] *= 0.3
        flat = flattened(paper.astype(np.float32))
        ink = binarized(flat)
        assert ink[110, 50:350:30].all()
        assert ink.mean() < 0.02

    def test_coloured_ink_is_darker_than_its_luminance(self):
        red = np.zeros((2, 2, 3), np.uint8)
        red[..., 0] = 230
        assert grey(red).max() < 0.2

    def test_noise_is_measured_and_softened(self):
        rng = np.random.default_rng(0)
        noisy = (0.8 + rng.normal(0, 0.08, (200, 200))).astype(np.float32)
        assert noise_of(noisy) == pytest.approx(0.08, rel=0.15)
        assert denoised(noisy).std() < 0.04
        clean = np.full((50, 50), 0.8, np.float32)
        assert denoised(clean) is clean


class TestGeometry:
    @given(st.lists(st.floats(-20, 20), min_size=8, max_size=8))
    def test_a_homography_takes_corners_to_corners(self, moved):
        square = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], float)
        target = square + np.array(moved).reshape(4, 2)
        assert np.allclose(geometry.mapped(geometry.homography(square, target), square), target, atol=1e-6)

    def test_corners_come_clockwise_from_the_top_left(self):
        points = np.array([[90, 80], [10, 12], [12, 95], [88, 5], [50, 50]], float)
        corners = geometry.corners_of(geometry.hull_of(points))
        assert corners.tolist() == [[10, 12], [88, 5], [90, 80], [12, 95]]

    def test_turning_there_and_back(self):
        picture = np.zeros((80, 120), np.float32)
        picture[30:50, 40:80] = 1
        turned = geometry.rotated(geometry.rotated(picture, 20), -20)
        top, left = (big - small for big, small in zip(turned.shape, picture.shape, strict=True))
        inner = turned[top // 2 : top // 2 + 80, left // 2 : left // 2 + 120]
        assert np.abs(inner - picture).mean() < 0.03


def test_paper_is_found_by_its_edges():
    picture = np.full((300, 400), 0.2, np.float32)
    picture[60:240, 80:330] = 0.85
    corners = corners_of_paper(picture)
    assert np.abs(corners - [[80, 60], [330, 60], [330, 240], [80, 240]]).max() < 8
    assert corners_of_paper(np.full((300, 400), 0.8, np.float32)) is None


@pytest.mark.parametrize("degrees", [-7.0, -2.0, 0.0, 3.0, 9.0])
def test_skew_is_measured(degrees):
    ink = np.zeros((200, 500), np.float32)
    ink[40:55, 40:460:3] = 1
    ink[120:135, 40:460:3] = 1
    turned = geometry.rotated(ink, degrees) > 0.5
    assert skew_of(turned) == pytest.approx(degrees, abs=0.6)


class TestCells:
    def test_rows_and_columns(self):
        (found,) = find_tables(table())
        assert [(cell.row, cell.column) for cell in found] == [(row, column) for row in range(3) for column in range(4)]

    def test_a_missing_line_is_filled_in(self):
        ink = table(5, 5)
        ink[32 + 2 * 40 : 30 + 3 * 40, 30 + 3 * 40 : 32 + 3 * 40] = False  # two cells are one
        (found,) = find_tables(ink)
        assert len({(cell.row, cell.column) for cell in found}) == 25

    def test_writing_is_no_table(self):
        ink = np.zeros((200, 300), bool)
        ink[50:100, 50:60] = ink[50:60, 50:90] = ink[90:100, 50:90] = ink[50:100, 80:90] = True
        assert all(len(found) == 1 for found in find_tables(ink))


def test_ruled_lines_go_and_strokes_across_them_stay():
    ink = np.zeros((100, 400), bool)
    ink[60:62, 10:390] = True
    ink[30:80, 100:105] = True
    cleaned, lines = without_lines(ink)
    assert not cleaned[60:62, 200:390].any()
    assert cleaned[30:80, 100:105].all()
    assert lines[60, 300]


def test_a_single_long_stroke_is_no_line():
    ink = np.zeros((300, 100), bool)
    ink[20:280, 50:54] = True
    cleaned, lines = without_lines(ink)
    assert cleaned.sum() == ink.sum()
    assert not lines.any()


class TestLines:
    def boxes(self, *places):
        return [Piece(page.Box(x, y, x + w, y + h), np.ones((h, w), bool)) for x, y, w, h in places]

    def test_two_lines_in_order_and_a_dot_joins_its_line(self):
        pieces = self.boxes((100, 100, 20, 40), (10, 105, 20, 40), (60, 20, 20, 40), (10, 22, 20, 40), (36, 88, 6, 6))
        lines = lines_of(pieces)
        assert [[each.box.left for each in line] for line in lines] == [[10, 60], [10, 36, 100]]

    def test_a_wide_gap_is_a_space(self):
        assert spaces_before(self.boxes((0, 0, 20, 40), (26, 0, 20, 40), (86, 0, 20, 40))) == [0, 0, 1]
        assert spaces_before([]) == []


class TestSegmentation:
    def blocks(self, *columns):
        ink = np.zeros((40, 200), bool)
        for left, right in columns:
            ink[:, left:right] = True
        return ink

    def test_touching_blocks_are_cut_where_the_reader_says_so(self):
        ink = self.blocks((0, 20), (24, 44))
        ink[20:22, 18:26] = True  # they touch

        def score(pieces):  # narrow ones are characters
            return np.array([-0.01 if piece.box.width <= 25 else -6.0 for piece in pieces])

        found = characters_of(pieces_of(ink), Usual(40.0, 0.85), score)
        assert len(found) == 2
        assert found[0].box.right == pytest.approx(22, abs=3)

    def test_a_broken_stroke_is_one_character(self):
        ink = np.zeros((40, 60), bool)
        ink[0:12, 0:24] = True
        ink[14:40, 2:24] = True

        def score(pieces):
            return np.array([-0.01 if piece.box.height > 35 else -4.0 for piece in pieces])

        assert len(characters_of(pieces_of(ink), Usual(40.0, 0.85), score)) == 1


class TestContext:
    def test_a_pattern_says_what_each_place_can_be(self):
        pattern = context.parse_pattern("dd-l")
        assert context.fits(pattern, 3)
        assert context.fits(pattern, 4)
        assert not context.fits(pattern, 5)
        assert context.literals_before(pattern, 3) == ["", "", "-"]
        assert [len(slot) for slot in context.slots_for(pattern, 3)] == [10, 10, 26]
        with pytest.raises(SettingsError, match="nothing to read"):
            context.parse_pattern("--")

    def test_the_nearest_word_of_a_list(self):
        logs = np.log(np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]))
        assert context.nearest_word(logs, "ABC", ["BC", "AB"]) == "BC"
        assert context.nearest_word(logs, "ABC", ["ABC"]) is None
        with pytest.raises(SettingsError, match="not read"):
            context.check_words(["B4"], CHARACTERS["letters"])


class TestScoring:
    @given(st.text("ab1", max_size=8), st.text("ab1", max_size=8))
    def test_an_alignment_is_of_both_texts(self, one, other):
        pairs = aligned(one, other)
        assert "".join(first for first, _ in pairs) == one
        assert "".join(second for _, second in pairs) == other
        errors = score(one, other).errors
        assert abs(len(one) - len(other)) <= errors <= max(len(one), len(other))
        assert (errors == 0) == (one == other)

    def test_a_known_case(self):
        found = score("12 34", "1 345")
        assert (found.characters, found.errors) == (4, 2)
        assert found.confusion == {("2", ""): 1, ("", "5"): 1}

    def test_boxes_match_once(self):
        box = page.Box(0, 0, 10, 10)
        assert detection([box], [box, box]) == (0.5, 1.0)


class TestReaders:
    @pytest.mark.parametrize("alphabet", ["digits", "letters", "all"])
    def test_what_comes_along_is_calibrated_and_small(self, alphabet):
        reader = reader_for(alphabet)
        assert set(CHARACTERS[alphabet]) <= set(reader.characters)
        assert reader.made["test_accuracy"] > 0.88
        assert reader.made["validation_error_of_calibration"] < 0.02
        assert reader.made["command"].startswith("manyhands reader")

    def test_a_reader_survives_its_file_and_a_damaged_one_is_refused(self, tmp_path):
        reader = reader_for("digits")
        path = tmp_path / "reader.safetensors"
        reader.save(path)
        again = load_reader(path)
        images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
        assert np.array_equal(reader.probabilities(images, "0123"), again.probabilities(images, "0123"))
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match="damaged"):
            load_reader(path)

    def test_numpy_computes_what_pytorch_computes(self):
        torch = pytest.importorskip("torch")
        from manyhands.learners.torch.networks import NETWORKS
        from manyhands.recognition.network import PADDING, network_of

        images = np.random.default_rng(1).integers(0, 256, (7, 28, 28), np.uint8)
        for name, padding in PADDING.items():
            torch.manual_seed(0)
            module = NETWORKS[name]((1, 28, 28), 10)
            network = network_of({key: value.numpy() for key, value in module.state_dict().items()}, padding)
            expected = module(torch.from_numpy(images[:, None] / np.float32(255))).detach().numpy()
            assert np.abs(network.logits(images) - expected).max() < 1e-4

    def test_no_such_alphabet(self):
        with pytest.raises(SettingsError, match="digits"):
            reader_for("digit")
