"""The page in a real browser, with a real server."""

import itertools
import json
import re
import time

import numpy as np
import pytest

from manyhands.data.catalog import DataRequest, load

SEVEN = [[(0.3, 0.25), (0.7, 0.25), (0.48, 0.8)]]
FOUR = [[(0.35, 0.2), (0.3, 0.55), (0.7, 0.55)], [(0.62, 0.2), (0.6, 0.85)]]


def draw(page, strokes, *, steps=6):
    """Draw with the mouse, as a hand does: point by point."""
    box = page.locator("#pad").bounding_box()

    def at(point):
        return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

    for first, *others in strokes:
        page.mouse.move(*at(first))
        page.mouse.down()
        for point in others:
            page.mouse.move(*at(point), steps=steps)
        page.mouse.up()


def wait(page, condition, seconds=30):
    """Wait until a condition in JavaScript is met; Playwright's own way evaluates texts, which the page forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def answer(page):
    """What the page says when the pen is lifted."""
    wait(page, "/sure$/.test(document.getElementById('best-text').textContent)")
    page.wait_for_timeout(150)  # should a newer answer be on its way
    return page.locator("#best-text").inner_text()


def scrolls_sideways(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def choose(page, **values):
    for name, value in values.items():
        page.select_option(f"#train-form [name={name}]", str(value))


def start(page, press=None):
    """Start a training, and wait until the page shows it and not the last one."""
    before = page.get_attribute("body", "data-training")
    page.click("#start") if press is None else page.keyboard.press(press)
    wait(page, f"document.body.dataset.training !== {json.dumps(before)} && document.body.dataset.training")


def wait_for_end(page):
    page.wait_for_selector("#verdict:not([hidden])", timeout=120_000)
    return page.locator("#verdict-text").inner_text()


class TestAShortVisit:
    def test_drawing_and_training(self, server, visit):
        page = visit(server)
        draw(page, SEVEN)
        assert answer(page).startswith("7, ")
        assert page.locator("#bars li").count() == 10
        page.click("nav a[href='#train']")
        choose(page, data="digits", hidden=25, epochs=10)
        start(page)
        assert re.search(r"on 360 test samples", wait_for_end(page))
        assert page.locator("#loss-chart polyline").count() >= 1
        assert not scrolls_sideways(page)


@pytest.mark.slow
class TestDrawing:
    def test_the_answer_comes_while_one_draws(self, server, visit):
        page = visit(server)
        (stroke,) = SEVEN
        box = page.locator("#pad").bounding_box()
        page.mouse.move(box["x"] + stroke[0][0] * box["width"], box["y"] + stroke[0][1] * box["height"])
        page.mouse.down()
        for x, y in stroke[1:]:
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        page.wait_for_selector("#pad[data-answer]")
        assert page.locator("#best-text").inner_text() == "Nothing drawn yet."  # read out when it is done
        page.mouse.up()
        assert answer(page).startswith("7, ")

    def test_what_the_network_sees_is_shown(self, server, visit):
        page = visit(server)
        draw(page, SEVEN)
        answer(page)
        seen = page.evaluate("[...document.getElementById('seen').getContext('2d').getImageData(0, 0, 28, 28).data]")
        image = np.array(seen).reshape(28, 28, 4)[:, :, 0]
        assert image.max() > 200
        assert (image == 0).mean() > 0.5

    def test_undo_and_clear(self, server, visit):
        page = visit(server)
        draw(page, SEVEN)
        answer(page)
        draw(page, [[(0.1, 0.9), (0.9, 0.9)]])
        page.click("#undo")
        page.wait_for_timeout(300)
        assert page.locator("#pad").get_attribute("data-answer") == "7"
        page.click("#clear")
        page.wait_for_timeout(300)
        assert page.locator("#pad").get_attribute("data-answer") is None
        assert page.locator("#best-text").inner_text() == "Nothing drawn yet."
        assert page.locator("#undo").is_disabled()

    def test_another_alphabet_reads_the_same_drawing_again(self, server, visit):
        page = visit(server)
        draw(page, SEVEN)
        answer(page)
        page.select_option("#draw-alphabet", "letters")
        wait(page, "/^[A-Z]$/i.test(document.getElementById('pad').dataset.answer)")

    def test_a_finger_draws_and_does_not_scroll(self, server, visit):
        page = visit(server, width=400, height=800, has_touch=True, is_mobile=True)
        box = page.locator("#pad").bounding_box()
        tap = page.context.new_cdp_session(page)

        def touch(kind, *points):
            found = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points]
            tap.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": found})

        corners = SEVEN[0]
        touch("touchStart", corners[0])
        for one, other in itertools.pairwise(corners):
            for share in np.linspace(0.1, 1, 10):
                touch("touchMove", tuple(np.array(one) * (1 - share) + np.array(other) * share))
        touch("touchEnd")
        assert answer(page).startswith("7, ")
        assert page.evaluate("window.scrollY") == 0

    def test_by_keyboard_alone(self, server, visit):
        page = visit(server)
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "pad":
                break
        assert page.evaluate("document.activeElement.id") == "pad"
        page.keyboard.press("Space")
        for key, times in (("Shift+ArrowRight", 5), ("ArrowDown", 1)):
            for _ in range(times):
                page.keyboard.press(key)
        for _ in range(13):
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("Space")
        assert answer(page).startswith("7, ")
        page.keyboard.press("Delete")
        page.wait_for_timeout(200)
        assert page.locator("#best-text").inner_text() == "Nothing drawn yet."


@pytest.fixture
def photo(data_folder):
    path = data_folder / "photos" / "exam-boxes.png"
    if not path.exists():
        pytest.skip(f"needs {path}")
    return path


@pytest.mark.slow
class TestPhotographs:
    @pytest.fixture
    def page(self, server, visit, photo):
        page = visit(server, "photo")
        page.set_input_files("#file", str(photo))
        page.wait_for_selector(".char", timeout=120_000)
        return page

    def test_text_and_boxes_are_shown(self, page):
        assert "0123456789" in page.locator("#text").inner_text().replace(" ", "")
        sheet, box = page.locator("#sheet").bounding_box(), page.locator(".char").first.bounding_box()
        assert sheet["x"] <= box["x"] <= sheet["x"] + sheet["width"]
        assert sheet["y"] <= box["y"] <= sheet["y"] + sheet["height"]

    def test_a_correction_by_click_changes_the_text(self, page):
        page.locator(".char").first.click()
        before = page.locator("#text").inner_text()
        page.locator("#candidates button[aria-pressed=false]").first.click()
        assert page.locator("#text").inner_text() != before
        assert page.locator(".char.corrected").count() == 1

    def test_corrections_by_keyboard_go_from_one_to_the_next(self, page):
        page.locator(".char").first.focus()
        page.keyboard.type("98")
        labels = [page.locator(".char").nth(number).get_attribute("data-label") for number in range(2)]
        assert labels == ["9", "8"]
        page.keyboard.press("ArrowLeft")
        assert page.locator(".char[aria-pressed=true]").get_attribute("data-label") == "8"

    def test_nothing_is_stored_unless_the_user_wants_it(self, page, server):
        before = set(server.folder.glob("*/*.png"))
        page.locator(".char").first.focus()
        page.keyboard.type("3")
        assert page.locator("#store").is_disabled()
        page.check("#keep")
        page.click("#store")
        wait(page, "/stored/.test(document.getElementById('store-status').textContent)")
        (new,) = set(server.folder.glob("*/*.png")) - before
        assert new.parent.name == "3"

    def test_what_is_no_picture_is_said(self, server, visit, tmp_path):
        (tmp_path / "no.png").write_bytes(b"no picture")
        page = visit(server, "photo", offline=True)  # the browser's console calls every answer of 400 an error
        page.set_input_files("#file", str(tmp_path / "no.png"))
        page.wait_for_selector("#photo-status.error")
        assert "no picture" in page.locator("#photo-status").inner_text().lower()


@pytest.mark.slow
class TestTrainings:
    def test_two_browsers_see_the_same(self, server, visit):
        first, second = visit(server, "train"), visit(server, "train")
        choose(first, data="digits", hidden=75, epochs=200)
        start(first)
        assert wait_for_end(first) == wait_for_end(second)
        late = visit(server, "train", width=400)
        assert wait_for_end(late) == wait_for_end(first)
        rows = [page.locator("#runs").text_content() for page in (first, second, late)]
        assert len(set(rows)) == 1
        assert not scrolls_sideways(late)

    def test_one_is_stopped(self, server, visit):
        page = visit(server, "train")
        choose(page, data="digits", hidden=512, epochs=200, batch=50, seeds=5)
        start(page)
        page.wait_for_selector("#progress:not([hidden])")
        page.click("#stop")
        assert wait_for_end(page) == "The training was stopped."
        assert page.locator("#start").is_enabled()

    def test_by_keyboard_alone(self, server, visit):
        page = visit(server, "train")
        page.locator("#train-form [name=data]").focus()
        page.keyboard.type("digits")
        page.locator("#train-form [name=epochs]").focus()
        page.keyboard.type("10")
        page.locator("#start").focus()
        start(page, "Enter")
        assert "test samples" in wait_for_end(page)

    def test_the_page_goes_on_with_a_server_that_was_started_anew(self, serving, visit):
        with serving() as server:
            page = visit(server, "train", offline=True)
            boot = page.get_attribute("body", "data-boot")
            port = server.port
        page.wait_for_selector("#banner:not([hidden])")
        assert "lost" in page.locator("#banner").inner_text()
        with serving(port=port):
            wait(page, f"document.body.dataset.boot !== {json.dumps(boot)}")
            assert page.locator("#banner").is_hidden()
            assert "started anew" in page.locator("#train-status").inner_text()
            choose(page, data="digits", hidden=25, epochs=10)
            start(page)
            assert "test samples" in wait_for_end(page)


@pytest.mark.slow
class TestWidths:
    @pytest.mark.parametrize("width", [320, 400, 768, 1200])
    @pytest.mark.parametrize("part", ["draw", "photo", "train"])
    def test_nothing_sticks_out(self, server, visit, part, width):
        page = visit(server, part, width=width)
        assert not scrolls_sideways(page)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_is_readable(self, server, visit, scheme):
        """Contrast of the lead's text by WCAG, at least 4.5."""
        page = visit(server, color_scheme=scheme)
        colours = page.evaluate(
            "['.lead', 'body'].map((name) => getComputedStyle(document.querySelector(name)))"
            ".map((style, number) => number ? style.backgroundColor : style.color)"
        )
        one, other = (luminance(colour) for colour in colours)
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5


def luminance(colour):
    values = np.array([int(number) / 255 for number in re.findall(r"\d+", colour)[:3]])
    linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.slow
def test_drawn_test_images_are_read_as_what_they_are(server, mnist):
    """Images of MNIST, as large as a drawing, through the whole way of one."""
    test = load(DataRequest("mnist")).test
    right = 0
    for image, label in zip(test.features[:50].reshape(-1, 28, 28), test.labels[:50], strict=True):
        body = np.kron(image, np.ones((4, 4), np.uint8)).astype(np.uint8).tobytes()
        found = server.post("api/draw?alphabet=digits", body).json()
        right += found["candidates"][0][0] == str(label)
    assert right >= 45
