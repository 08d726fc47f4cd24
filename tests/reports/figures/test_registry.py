"""Every record gives the figures its fields allow, labelled; none makes drawing fail."""

import os
import subprocess
import sys
import threading

import pytest

from manyhands.core.errors import SettingsError
from manyhands.reports.figures.registry import make_figures
from manyhands.reports.figures.style import looks, png, svg

SPEED = ["training_time", "speedup", "accuracy", "accuracies", "impact"]
REPETITION = ["published_time", "published_speedup", "published_accuracy", "published_impact"]
SURFACES = ["time_surface", "accuracy_surface"]
CURVES = ["convergence_accuracy", "convergence_loss"]

CASES = {
    "w1": (lambda r: r.w1(), [*SURFACES, *SPEED, *REPETITION]),
    "w4": (lambda r: r.w4(), [*SPEED[:-1], *CURVES, "impact"]),
    "one seed": (lambda r: r.compare(seeds=1, curves=True), [*SPEED[:3], *CURVES, "impact"]),
    "no parallel rows": (
        lambda r: r.compare(workers=(1,), curves=True),
        ["training_time", *SPEED[2:4], *CURVES, "impact"],
    ),
    "sequential only": (lambda r: r.compare(strategies={}), ["training_time", *SPEED[2:]]),
    "interrupted": (lambda r: r.interrupted(r.compare()), [*SPEED[:3], "impact"]),
    "nothing finished": (lambda r: r.nothing_finished(), []),
    "no summary": (lambda r: {**r.compare(), "runs": [], "summary": [], "laws": []}, []),
    "scaled": (lambda r: r.compare(scaled=True), ["training_time", "scaled_speedup", *SPEED[2:]]),
    "sweep": (lambda r: r.sweep(), SURFACES),
    "sweep of other data": (lambda r: r.sweep(name="letters"), SURFACES),
    "sweep of deep networks": (lambda r: r.sweep(hidden=(50, (128, 64)), epochs=(10, 20)), ["sweep"]),
    "sweep of one number of epochs": (lambda r: r.sweep(hidden=(50, 75), epochs=(10,)), ["sweep"]),
    "sweep of one network": (lambda r: r.sweep(hidden=(50,), seeds=1), ["sweep"]),
    "sweep with a gap": (lambda r: {**r.sweep(), "table": r.sweep()["table"][:-1]}, ["sweep"]),
    "empty sweep": (lambda r: {**r.sweep(), "table": [], "best": None}, []),
    "published": (lambda r: r.published(), REPETITION),
    "many": (
        lambda r: r.compare(2, (2, 4, 8, 16, 32), {f"s{k}": (0.1, 0.01) for k in range(8)}, curves=True),
        [*SPEED[:-1], *CURVES, "impact"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_figures_of(records, case):
    make, names = CASES[case]
    pictures = make_figures(make(records))
    assert [picture.name for picture in pictures] == names
    for picture in pictures:
        assert picture.caption.endswith(".")
        assert picture.alt.endswith(".")
        assert "None" not in picture.caption + picture.alt
        assert "nan" not in picture.caption
        assert any(axes.get_xlabel() for axes in picture.figure.axes)
        assert any(axes.get_ylabel() or picture.name == "accuracies" for axes in picture.figure.axes)
        assert all(axes.get_zlabel() for axes in picture.figure.axes if hasattr(axes, "get_zlabel"))
        assert all(axes.lines or axes.collections for axes in picture.figure.axes)


@pytest.mark.parametrize(
    "case",
    [
        *("one seed", "sweep of one network"),
        *(pytest.param(case, marks=pytest.mark.slow) for case in ("interrupted", "no parallel rows")),
    ],
)
def test_small_ones_can_be_rendered(records, case):
    for picture in make_figures(CASES[case][0](records))[:3]:
        assert png(picture).startswith(b"\x89PNG")


def find(pictures, name):
    return next(picture for picture in pictures if picture.name == name)


def texts(axes):
    return [line.get_label() for line in axes.lines]


class TestWhatIsDrawn:
    def test_surfaces_have_the_published_ones_beside_them(self, records):
        time, accuracy = make_figures(records.sweep())
        for picture in (time, accuracy):
            assert [axes.get_title() for axes in picture.figure.axes] == ["here", "published (MIPRO 2021)"]
        assert "0.250 s (50 neurons, 50 epochs) to 0.800 s (100 neurons, 100 epochs)" in time.caption
        assert "on the validation rows" in accuracy.caption

    def test_surfaces_of_other_data_stand_alone(self, records):
        time, _ = make_figures(records.sweep(name="letters"))
        assert len(time.figure.axes) == 1
        assert "published" not in time.caption

    def test_falsified_times_are_said(self, records):
        record = records.sweep()
        record["table"][0]["time_falsified"] = True
        time, accuracy = make_figures(record)
        assert "side by side" in time.caption
        assert "side by side" not in accuracy.caption

    def test_speedup_has_the_ideal_and_both_laws(self, records):
        picture = find(make_figures(records.compare()), "speedup")
        assert len(picture.figure.axes) == 3
        for axes in picture.figure.axes:
            assert {"ideal", "measured, 95 % interval", "Amdahl's law", "universal scalability law"} <= set(texts(axes))
        assert "with the same accuracy periodic:1epoch with 2 workers" in picture.caption

    def test_law_that_needed_points_beyond_the_cores_is_starred(self, records):
        picture = find(make_figures(records.compare()), "speedup")
        assert picture.figure.axes[0].get_title(loc="left") == "one-shot\nserial part 36 %, best n 4.2*"
        assert "Laws with * were fitted to such points" in picture.caption

    def test_law_without_a_best_number_of_workers(self, records):
        record = records.compare()
        record["laws"][0]["usl"].update(coherency=0.0, best_workers=None, peak_speedup=None)
        picture = find(make_figures(record), "speedup")
        assert picture.figure.axes[0].get_title(loc="left").endswith("no best n*")

    def test_oversubscribed_points_are_hollow_and_starred(self, records):
        (axes,) = find(make_figures(records.compare()), "training_time").figure.axes
        assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "4*", "6*"]
        points = [line for line in axes.lines if len(line.get_xdata()) == 1]
        assert {line.get_markerfacecolor() for line in points if line.get_xdata()[0] > 1.5} == {"white"}
        assert "white" not in {line.get_markerfacecolor() for line in points if line.get_xdata()[0] < 1.5}

    def test_curves_of_a_strategy_without_summary(self, records):
        record = records.compare(seeds=2, curves=True)
        del record["summary"][0]
        assert find(make_figures(record), "convergence_loss")

    def test_gustafson(self, records):
        picture = find(make_figures(records.compare(scaled=True)), "scaled_speedup")
        assert "Gustafson's law" in texts(picture.figure.axes[0])

    def test_margin_is_a_band(self, records):
        _, change = find(make_figures(records.compare()), "accuracy").figure.axes
        (band,) = change.patches
        assert (band.get_y(), band.get_height()) == (-0.25, 0.5)

    def test_published_accuracies_are_named_for_their_data_only(self, records):
        assert "80.97 %" in find(make_figures(records.compare()), "accuracy").caption
        other = records.compare()
        other["settings"]["data"]["name"] = "letters"
        assert "80.97" not in find(make_figures(other), "accuracy").caption

    def test_every_accuracy_is_a_dot(self, records):
        record = records.w4()
        (axes,) = find(make_figures(record), "accuracies").figure.axes
        dots = [line for line in axes.lines if line.get_marker() not in ("None", None, "")]
        assert sum(len(line.get_xdata()) for line in dots) == len(record["compare"]["runs"])

    def test_convergence_is_against_epochs_and_seconds(self, records):
        picture = find(make_figures(records.w4()), "convergence_accuracy")
        assert len(picture.figure.axes) == 4
        assert [axes.get_xlabel() for axes in picture.figure.axes[2:]] == ["epochs", "training time, s"]
        for axes in picture.figure.axes:
            assert {"sequential", "minibatch:5epochs", "target 93 %"} <= set(texts(axes))

    def test_curves_of_different_lengths_end_with_the_shortest(self, records):
        record = records.compare(seeds=2, curves=True)
        for run in record["runs"]:
            if run["seed"] == 1:
                run["curve"] = run["curve"][:5]
        axes = find(make_figures(record), "convergence_loss").figure.axes[0]
        assert {len(line.get_xdata()) for line in axes.lines} == {5}

    def test_time_to_the_target_is_a_second_panel(self, records):
        picture = find(make_figures(records.w4()), "training_time")
        assert [axes.get_title(loc="left") for axes in picture.figure.axes][1] == "until 93 % was first measured"

    def test_target_that_nobody_reached(self, records):
        record = records.compare(target=0.999)
        for row in record["summary"]:
            row["target_s"] = None
        assert len(find(make_figures(record), "training_time").figure.axes) == 1

    def test_shared_axes_show_all_of_both_tables(self, records):
        picture = find(make_figures(records.published()), "published_time")
        assert all(axes.get_ylim()[0] == 0 and axes.get_ylim()[1] > 13.67 for axes in picture.figure.axes)


class TestFiles:
    def test_names_that_matplotlib_would_typeset_or_refuse(self, records):
        record = records.compare(seeds=1, strategies={"$\\frac{$ \x00 中 & <b>": (0.1, 0.1)})
        for picture in make_figures(record):
            assert b"\x00" not in svg(picture)

    def test_any_thread_may_draw(self, records):
        found = []
        thread = threading.Thread(target=lambda: found.extend(map(svg, make_figures(records.sweep(name="letters")))))
        thread.start()
        thread.join()
        assert found == [svg(picture) for picture in make_figures(records.sweep(name="letters"))]


class TestStyle:
    """Figures are the same whatever the user has set, and the user's settings stay."""

    def test_settings_of_this_process(self, records):
        import matplotlib

        record = records.compare(seeds=1, workers=(2,), strategies={"gradient": (0, 0.1)})
        before = [(svg(picture), png(picture)) for picture in make_figures(record)[:2]]
        odd = {"text.usetex": True, "font.size": 40, "figure.facecolor": "red", "svg.fonttype": "none"}
        with matplotlib.rc_context(odd):
            assert [(svg(picture), png(picture)) for picture in make_figures(record)[:2]] == before
            assert {name: matplotlib.rcParams[name] for name in odd} == odd

    @pytest.mark.parametrize(
        ("variables", "here", "there"),
        [
            ({"MPLBACKEND": "nothing"}, b"", b""),
            ({"MPLBACKEND": "module://nothing.there"}, b"text.usetex: True\n", b""),
            ({"MATPLOTLIBRC": "there"}, b"", b"\xff\n"),
        ],
        ids=["backend", "inline", "named folder"],
    )
    def test_settings_of_the_environment(self, tmp_path, variables, here, there):
        (tmp_path / "there").mkdir()
        for folder, content in ((tmp_path, here), (tmp_path / "there", there)):
            if content:
                (folder / "matplotlibrc").write_bytes(content)
        code = (
            "import os; from manyhands.reports.figures.style import *\n"
            "before = dict(os.environ); require_matplotlib()\n"
            "with plain_style(): figure, (axes,) = new_figure(); axes.set_title('$x$')\n"
            "picture = Picture('p', '', '', figure); assert len(png(picture)) > 999 and len(svg(picture)) > 999\n"
            "assert os.environ == before and os.path.isdir('there')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()


def test_looks_tell_series_apart_without_colour():
    found = looks(["sequential", *map(str, range(12))])
    assert len({(look.marker, str(look.dashes)) for look in found.values()}) == 13
    assert len({look.colour for look in found.values()}) == 7


def test_matplotlib_missing(records, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(SettingsError, match=r"pip install matplotlib"):
        make_figures(records.sweep())
