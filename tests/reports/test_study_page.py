"""The page is valid, self-contained, and shows whatever names a record holds as text."""

import html.parser
import re
import shutil
import subprocess
import zlib

import pytest

from manyhands.reports.schema import complete
from manyhands.reports.study_page import make_page
from manyhands.reports.tables.registry import make_tables

EVIL = "<script>alert(1)</script>"
BROWSERS_OWN = (".google.com", ".googleapis.com", ".gvt1.com")  # which it asks for updates, and does not find here
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Outline(html.parser.HTMLParser):
    """All elements with their attributes, and whether every one is closed in its place."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.faults = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def all(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]


def page(record):
    return make_page(complete(record), [], ["results.json"])


@pytest.fixture(scope="module")
def outline(full_report):
    return Outline(full_report.read_text())


class TestForm:
    def test_elements_are_closed_in_their_places(self, outline):
        assert (outline.open, outline.faults) == ([], [])

    def test_document(self, full_report, outline):
        assert full_report.read_text().startswith("<!DOCTYPE html>\n")
        assert outline.all("html") == [{"lang": "en"}]
        assert len(outline.all("title")) == len(outline.all("h1")) == 1

    def test_ids_are_unique(self, outline):
        ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
        assert len(ids) == len(set(ids)) > 0

    def test_images_have_texts_and_sizes(self, outline):
        assert len(outline.all("img")) == 11
        for image in outline.all("img"):
            assert image["alt"]
            assert int(image["width"]) > 0 < int(image["height"])

    def test_headings_of_tables_have_a_scope(self, outline):
        assert outline.all("th")
        assert {attributes["scope"] for attributes in outline.all("th")} == {"col", "row", "colgroup"}

    def test_every_row_fills_its_table(self, records):
        for table in make_tables(complete(records.w1())):
            assert {len(row) for row in table.rows} == {len(table.columns)}
            if table.groups:
                assert sum(span for _, span in table.groups) == len(table.columns)


class TestSelfContained:
    def test_nothing_is_fetched_or_run(self, full_report, outline):
        text = full_report.read_text()
        assert "<script" not in text
        assert "@import" not in text
        assert "url(" not in text
        assert not outline.all("link")
        assert not outline.all("iframe")
        assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in outline.all("img"))
        assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", text)

    def test_links_lead_to_the_files_beside_it(self, full_report, outline):
        linked = {attributes["href"] for attributes in outline.all("a") if not attributes["href"].startswith("#")}
        beside = {path.name for path in full_report.parent.iterdir()} - {"report.html"}
        assert linked == beside

    def test_browser_shows_it_without_errors_or_requests(self, full_report, tmp_path):
        log = tmp_path / "net.json"
        done = browse(full_report, tmp_path, "--dump-dom", f"--log-net-log={log}")
        assert "CONSOLE" not in done.stderr
        assert "</figcaption>" in done.stdout
        asked = set(re.findall(r'"url":"https?://([^/":]+)', log.read_text()))
        assert {host for host in asked if not host.endswith(BROWSERS_OWN)} == set()


def browse(page, folder, *options):
    """Show a page in a browser without a network."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    return subprocess.run(
        [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0", "--hide-scrollbars"),
            f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


class TestInABrowser:
    @pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (400, "light"), (400, "dark")])
    def test_page_and_figures_have_the_scheme_of_the_reader(self, full_report, tmp_path, width, scheme):
        """Paper, text and the colours of the figures' text: all light or all dark."""
        image = pytest.importorskip("PIL.Image")
        shot, dark = tmp_path / "shot.png", scheme == "dark"
        options = [f"--screenshot={shot}", f"--window-size={width},6000"]
        browse(full_report, tmp_path, *options, *(["--blink-settings=preferredColorScheme=0"] if dark else []))
        pixels = image.open(shot).convert("RGB")
        assert pixels.size == (width, 6000)
        assert pixels.getpixel((1, 1)) == ((22, 25, 29) if dark else (255, 255, 255))
        counts = {colour: number for number, colour in pixels.getcolors(1 << 24)}
        ink, blue = ((232, 232, 232), (79, 163, 227)) if dark else ((34, 34, 34), (0, 114, 178))
        assert counts[ink] > 1000  # text
        assert counts[blue] > 100  # series
        assert counts.get((0, 114, 178) if dark else (79, 163, 227), 0) == 0
        assert counts.get((255, 255, 255), 0) < 1000 or not dark  # no figure is a white card

    def test_print_is_light(self, full_report, tmp_path):
        sheet = tmp_path / "page.pdf"
        browse(full_report, tmp_path, f"--print-to-pdf={sheet}", "--blink-settings=preferredColorScheme=0")
        streams = re.findall(rb"stream\r?\n(.*?)endstream", sheet.read_bytes(), re.DOTALL)
        drawn = b"".join(map(inflated, streams))
        assert drawn.count(b".1333 .1333 .1333 rg") > 100  # ink
        assert b".9098 .9098 .9098 rg" not in drawn
        assert b".0863 .098 .1137 rg" not in drawn


def inflated(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


class TestOrder:
    def test_the_answer_and_the_deciding_table_come_first(self, full_report):
        text = full_report.read_text()
        marks = ('class="answer"', "<nav", "<caption>Comparison<", 'id="questions"', 'id="figures"', 'id="tables"')
        places = [text.index(each) for each in (*marks, 'id="words"', 'id="machine"', 'id="files"')]
        assert places == sorted(places)
        assert text.count("<caption>Comparison<") == 1

    def test_every_section_figure_and_table_is_in_the_contents(self, outline):
        inside = [each["href"][1:] for each in outline.all("a") if each["href"].startswith("#")]
        ids = {each["id"] for _, each in outline.elements if "id" in each}
        assert set(inside) == ids
        assert len(inside) == len(set(inside))
        assert {"result", "figures", "speedup", "tables", "table-2", "words", "files"} <= ids

    @pytest.mark.parametrize(
        "make",
        ["nothing_finished", "published", "sweep", "compare", "networks", "speculative", "levels", "classifiers"],
    )
    def test_links_lead_somewhere_on_any_page(self, records, make):
        outline = Outline(page(getattr(records, make)()))
        assert (outline.open, outline.faults) == ([], [])
        inside = {each["href"][1:] for each in outline.all("a") if each["href"].startswith("#")}
        assert inside == {each["id"] for _, each in outline.elements if "id" in each}


class TestPairedSpeedups:
    def test_a_speedup_that_the_times_do_not_give_has_a_footnote(self, records):
        record = records.compare()
        row = next(row for row in record["summary"] if (row["strategy"], row["workers"]) == ("gradient", 2))
        base = next(row for row in record["summary"] if row["strategy"] == "sequential")
        for seconds, mark in ((base["train_s"] / row["speedup"], ""), (base["train_s"] / row["speedup"] * 1.05, "†")):
            row["train_s"] = seconds
            table = make_tables(complete(record))[0]
            cells = next(cells for cells in table.rows if tuple(cells[:2]) == ("gradient", "2"))
            assert cells[table.columns.index("speedup")].partition("\n")[0] == f"{row['speedup']:.2f}{mark}"
        assert "† This is the median over the pairs of runs with the same seed" in table.note

    def test_without_such_a_speedup_there_is_none(self, records):
        record = records.compare(seeds=1)
        assert "†" not in page(record)

    def test_intervals_of_accuracies_stay_within_100(self, records):
        record = records.compare()
        record["summary"][0].update(accuracy_mean=0.995, accuracy_ci95=[0.985, 1.005])
        assert make_tables(complete(record))[0].rows[0][-1] != ""
        assert "98.50 to 100.00" in page(record)


class TestContents:
    def test_a_full_study(self, full_report):
        text = full_report.read_text()
        for words in (
            "Can we increase the speed, keeping the same accuracy?",
            "Yes: use periodic:1epoch with 2 workers.",
            "Figure 1 (figure 3 of Todorov et al. 2021).",
            "Table I: ",
            "Table II: without communication",
            "Table III: with communication",
            "What the words mean",
            "manyhands study w1 --as-published",
            "A Processor",
            "OpenBLAS",
        ):
            assert words in text

    def test_verdicts(self, records):
        table = make_tables(complete(records.compare()))[0]
        place = table.columns.index("verdict")
        assert {row[0]: row[place] for row in table.rows if row[1] == "2"} == {
            "one-shot": "lower",
            "periodic:1epoch": "same",
            "gradient": "same",
        }

    def test_only_parallel_rows_that_are_faster_and_no_worse_stand_out(self, records):
        table = make_tables(complete(records.compare()))[0]
        marked = [tuple(table.rows[place][:2]) for place in sorted(table.marked)]
        assert marked == [("periodic:1epoch", "2"), ("gradient", "2")]

    def test_a_study_of_the_paper_has_its_tables_for_both_strategies(self, records):
        tables = {table.title: table for table in make_tables(complete({**records.w1(), "published": None}))}
        kinds = ("II: without communication", "III: with communication")
        ours = [f"Table {kind}, {name}" for name in ("one-shot", "periodic:1epoch") for kind in kinds]
        assert [title for title in tables if title.startswith(("Table II:", "Table III:"))] == ours
        first = tables[ours[0]].rows[1]
        times = [
            run["seconds"]["compute"]
            for run in records.compare()["runs"]
            if (run["strategy"], run["workers"]) == ("one-shot", 2)
        ]
        assert (first[0], first[1], first[4]) == ("2", f"{sorted(times)[2]:.3f}", "2.67")

    def test_runs_without_times_have_no_such_tables(self, records):
        record = {**records.w1(), "published": None}
        for run in record["compare"]["runs"]:
            del run["seconds"]["compute"]
        assert not [table for table in make_tables(complete(record)) if table.title.startswith("Table II")]

    def test_undecided_tells_how_many_seeds_are_missing(self, records):
        record = records.compare()
        record["summary"][2].update(verdict="undecided", more_seeds=7)
        assert 'undecided<br><span class="interval">7 more seeds</span>' in page(record)

    def test_published_columns_stand_only_beside_rows_that_have_them(self, records):
        (table,) = make_tables(complete(records.sweep(epochs=(10, 20))))
        assert not table.groups
        assert {len(row) for row in table.rows} == {len(table.columns)} == {6}

    def test_falsified_times_are_marked(self, records):
        record = records.sweep()
        record["table"][0]["time_falsified"] = True
        assert "0.250†" in page(record)

    def test_columns_without_a_value_are_left_out(self, records):
        columns = make_tables(complete(records.compare(seeds=1)))[0].columns
        assert "scaled speedup" not in columns
        assert "to target, s" not in columns

    @pytest.mark.parametrize("make", ["nothing_finished", "w4", "published", "sweep", "compare"])
    def test_any_record_has_a_page(self, records, make):
        text = page(getattr(records, make)())
        outline = Outline(text)
        assert (outline.open, outline.faults) == ([], [])
        assert "None" not in re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL)

    def test_interruption_is_said(self, records):
        assert "interrupted: only finished runs are counted" in page(records.interrupted(records.compare()))

    def test_resumption_is_said_also_of_a_part(self, records):
        said, study = "resumed from a checkpoint: times come from more than one session", records.w4()
        assert said in page({**records.compare(), "resumed": True})
        assert said in page({**study, "compare": {**study["compare"], "resumed": True}})
        assert said not in page(study)


class TestEscaping:
    def test_names_are_text(self, records):
        record = records.compare(seeds=1, strategies={EVIL: (0.1, 0.1)})
        record["settings"]["data"].update(name=EVIL, note=f'"{EVIL}')
        record["environment"].update(command=EVIL, cpu=EVIL, packages={EVIL: EVIL}, variables={"A": [EVIL, {EVIL: 1}]})
        text = page(record)
        assert "<script" not in text
        assert text.count("&lt;script&gt;") >= 8

    def test_reason_of_a_sweep(self, records):
        record = records.sweep()
        record["best"]["reason"] = EVIL
        assert "<script" not in page(record)

    def test_names_of_files_and_alternative_texts(self, records):
        assert "<script" not in make_page(complete(records.sweep()), [], [f'"><{EVIL}'])

    def test_letters_that_no_text_can_hold(self, records):
        record = records.compare(seeds=1)
        record["settings"]["data"]["name"] = "a\x00b\ud800c\x1b[31m"
        assert "a�b�c�[31m" in page(record)
