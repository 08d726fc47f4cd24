"""Real photos and synthetic pages, from the picture to the text."""

import numpy as np
import pytest
from PIL import Image

import manyhands
from manyhands.data.catalog import DataRequest, load_test
from manyhands.recognition.scoring import NOTHING, detection, score_lines


def filled(truth: str) -> list[str]:
    """Return the rows of a table without its empty cells."""
    rows = [line for line in truth.split("# cells")[0].splitlines() if line and not line.startswith("#")]
    return [row.replace("0", "") for row in rows]


def errors_of(path, truth: list[str], **settings):
    page = manyhands.recognize(path, **settings)
    return score_lines(truth, [line for line in str(page).split("\n") if line.strip()]), page


@pytest.mark.parametrize("name", ["grid-a", "grid-b", "grid-c"])
def test_cells_of_a_sudoku_are_read_whatever_way_the_photo_lies(photos, name):
    score, page = errors_of(photos / f"{name}.jpg", filled((photos / f"{name}.txt").read_text()))
    assert score.error_rate <= 0.04
    cells = {each.cell for each in page.characters}
    assert len(cells) == len(page.characters)  # each in a cell of its own
    assert max(row for row, _ in cells) <= 8


def test_boxes_of_a_form_are_read_and_the_print_beside_them_is_not(photos):
    _, page = errors_of(photos / "exam-boxes.png", ["0123456789"])
    assert str(page) == "0123456789"
    assert any("outside" in note for note in page.notes)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_page_on_its_side_is_turned_upright_and_says_so(page_of, quarters):
    made = page_of(lines=3, characters=8)
    page = manyhands.recognize(np.ascontiguousarray(np.rot90(made.picture, quarters)))
    assert score_lines(made.text.split("\n"), str(page).split("\n")).error_rate <= 0.05
    assert "turned" in page.notes[0]


PAGES = {
    "clean": ({}, 0.01),
    "rotated": ({"rotation": 5.0}, 0.02),
    "rotated the other way, ruled, uneven light": ({"rotation": -4.0, "ruled": True, "shade": 0.5}, 0.02),
    "ruled": ({"ruled": True}, 0.02),
    "uneven light": ({"shade": 0.6}, 0.02),
    "noise in dim light": ({"light": 0.2, "noise": 0.02}, 0.03),
    "small": ({"height": 24}, 0.02),
}


@pytest.mark.parametrize("kind", PAGES)
def test_synthetic_pages_are_read(page_of, kind):
    settings, bar = PAGES[kind]
    total = NOTHING
    for seed in range(2):
        made = page_of(seed, **settings)
        page = manyhands.recognize(made.picture)
        total += score_lines(made.text.split("\n"), str(page).split("\n"))
    assert total.error_rate <= bar
    assert total.recall >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings", "bar"),
    [
        ("clean", {}, 0.01),
        ("rotated, ruled, uneven", {"rotation": 5.0, "ruled": True, "shade": 0.5}, 0.02),
        ("touching", {"gap": -0.05}, 0.08),
    ],
)
def test_many_pages_keep_the_bars(page_of, kind, settings, bar):
    total = NOTHING
    for seed in range(20):
        made = page_of(100 + seed, **settings)
        total += score_lines(made.text.split("\n"), str(manyhands.recognize(made.picture)).split("\n"))
    assert total.error_rate <= bar


def test_words_lines_and_boxes_are_those_of_the_page(page_of):
    made = page_of(3, lines=4, characters=8)
    page = manyhands.recognize(made.picture)
    assert [len(line.words) for line in page.lines] == [2] * 4
    precision, recall = detection(made.boxes, [each.box for each in page.characters])
    assert precision >= 0.96
    assert recall == 1.0
    assert page.size == (page.picture.shape[1], page.picture.shape[0])


def test_letters_are_read_and_a_list_of_words_helps(page_of):
    made = page_of(1, data="letters", lines=4, characters=6, word=6)
    page = manyhands.recognize(made.picture, alphabet="letters")
    words = made.text.split()
    helped = manyhands.recognize(made.picture, alphabet="letters", words=[*words, "OTHERS", "NOBODY"])
    plain = score_lines(words, str(page).split("\n")).errors
    assert plain <= 6
    assert score_lines(words, str(helped).split("\n")).errors <= plain
    assert str(helped).split("\n").count(words[0]) == 1


def test_bright_writing_on_a_dark_ground_is_ink(page_of):
    made = page_of(2, lines=2, characters=6)
    page = manyhands.recognize(255 - made.picture)
    assert score_lines(made.text.split("\n"), str(page).split("\n")).errors <= 1
    assert "dark ground" in page.notes[0]


def test_a_sheet_on_a_dark_table_is_cut_out(page_of):
    made = page_of(4, lines=3, characters=8, word=0)
    height, width = made.picture.shape[:2]
    table = Image.new("RGB", (width * 2, height * 2), (70, 60, 50))
    sheet = Image.fromarray(made.picture).rotate(6, Image.Resampling.BICUBIC, expand=True, fillcolor=(70, 60, 50))
    table.paste(sheet, (width // 2 - 30, height // 2 - 30))
    page = manyhands.recognize(table)
    assert score_lines(made.text.split("\n"), str(page).split("\n")).errors <= 1
    assert any("sheet of paper" in note for note in page.notes)


def test_a_digit_alone_and_an_image_of_mnist_itself(page_of):
    made = page_of(5, lines=1, characters=1, height=160)
    assert str(manyhands.recognize(made.picture)) == made.text
    test = load_test(DataRequest("mnist"))
    read = [str(manyhands.recognize(image)) for image in test.features[:12]]
    assert sum(text == str(label) for text, label in zip(read, test.labels[:12], strict=True)) >= 11


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_boxes_are_in_pixels_of_the_file_whatever_size_was_worked_with(page_of, factor):
    made = page_of(6, lines=3, characters=6)
    size = tuple(round(side * factor) for side in made.picture.shape[1::-1])
    page = manyhands.recognize(Image.fromarray(made.picture).resize(size))
    assert page.size == size
    boxes = [each.scaled(factor) for each in made.boxes]
    precision, recall = detection(boxes, [each.box for each in page.characters])
    assert precision == recall == 1.0


def test_all_pages_of_a_pdf_are_read(page_of, tmp_path):
    pytest.importorskip("pypdfium2")
    made = [page_of(seed, lines=2, characters=6) for seed in (0, 1)]
    path = tmp_path / "pages.pdf"
    first, second = (Image.fromarray(each.picture) for each in made)
    first.save(path, save_all=True, append_images=[second])
    pages = manyhands.recognize_pages(path)
    assert len(pages) == 2
    for page, each in zip(pages, made, strict=True):
        assert score_lines(each.text.split("\n"), str(page).split("\n")).errors <= 1
