"""The page is valid, self-contained, and shows whatever names a record holds as text."""

import html.parser
import re
import shutil
import subprocess

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
        linked = {attributes["href"] for attributes in outline.all("a")}
        beside = {path.name for path in full_report.parent.iterdir()} - {"report.html"}
        assert linked == beside

    def test_browser_shows_it_without_errors_or_requests(self, full_report, tmp_path):
        chromium = shutil.which("chromium")
        if chromium is None:
            pytest.skip("no chromium")
        log = tmp_path / "net.json"
        done = subprocess.run(
            [
                chromium,
                *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
                *("--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0", "--dump-dom"),
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--log-net-log={log}",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                full_report.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert "CONSOLE" not in done.stderr
        assert "</figcaption>" in done.stdout
        asked = set(re.findall(r'"url":"https?://([^/":]+)', log.read_text()))
        assert {host for host in asked if not host.endswith(BROWSERS_OWN)} == set()


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
