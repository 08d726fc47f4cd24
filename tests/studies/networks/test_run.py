"""The study of networks: rates chosen on validation rows alone, no run done twice, and what averaging changes."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import manyhands.studies.networks.run as module
from manyhands.core.errors import DivergedError, SettingsError
from manyhands.evaluation.calibration import calibration_error, confidence
from manyhands.runtime.terminal import Detail
from manyhands.studies.networks.request import AXES, NetworksRequest, networks_of
from manyhands.studies.networks.run import NetworksStudy, networks
from manyhands.training.api import train
from manyhands.training.spec import RunSpec

WHOLE = Detail(wide=True, explain=True)


AXES_HERE = {"activation": ("relu", "tanh"), "optimizer": ("adam", "sgd"), "hidden": ((8,),)}
SMALL = NetworksRequest(
    lr_multipliers=(0.25, 1.0, 4.0),
    axes=AXES_HERE,
    workers=(1, 2),
    strategies=("periodic:1epoch",),
    seeds=3,
    targets=(0.2, 0.3, 1.0),
    spec=RunSpec(epochs=3),
)
NETWORKS = ["relu adam", "relu sgd", "tanh adam", "tanh sgd"]
RUNS = 4 * (3 + 3 * 2)
"""For each network, one run per multiple, and three seeds with one worker and with two."""
WORDS = {"hidden": (8,), "epochs": 3}


def timeless(runs):
    """Return runs without what is different every time."""
    curves = [[{**point, "train_s": 0} for point in run["curve"] or []] for run in runs]
    return [{**run, "seconds": {}, "curve": curve} for run, curve in zip(runs, curves, strict=True)]


def rates_of(outcome):
    """Return the learning rate of every network; all of its runs have the same."""
    found = {}
    for run in outcome.runs:
        found.setdefault(outcome.networks[run["network"]]["name"], set()).add(run["learning_rate"])
    assert {len(rates) for rates in found.values()} == {1}
    return {name: rate for name, (rate,) in found.items()}


@pytest.fixture(scope="module")
def done(rows):
    """The study, finished."""
    return NetworksStudy(rows, SMALL).run()


@pytest.fixture(scope="module")
def alike(rows):
    """A study of starts."""
    axes = {"weight_init": ("ones", "zeros", "auto"), "bias_init": ("zeros", "auto"), "hidden": ((9, 7),)}
    request = NetworksRequest(axes, workers=(1, 2), strategies=("one-shot",), seeds=1, spec=RunSpec(epochs=4))
    return NetworksStudy(rows, request).run()


class TestSpace:
    def test_given_axes_are_crossed(self, done):
        assert [network["name"] for network in done.networks] == NETWORKS
        assert [(n["activation"], n["optimizer"], list(n["hidden"]), n["batch"]) for n in done.networks] == [
            (activation, optimizer, [8], 200) for activation in ("relu", "tanh") for optimizer in ("adam", "sgd")
        ]

    def test_one_at_a_time_around_the_first_values(self):
        axes = {"dropout": (0.5, 0.0), "batch": (50, "all", 7), "hidden": ((8,), (), (9, 5))}
        found = networks_of(NetworksRequest(axes, one_at_a_time=True), 1000)
        assert [(network.axis, network.name) for network in found] == [
            ("", "base"),
            ("dropout", "dropout 0"),
            ("batch", "batch all"),
            ("batch", "batch 7"),
            ("hidden", "hidden none"),
            ("hidden", "hidden 9-5"),
        ]
        assert [(n.batch, n.settings.dropout, n.settings.hidden) for n in found] == [
            *((50, 0.5, (8,)), (50, 0.0, (8,)), (1000, 0.5, (8,)), (7, 0.5, (8,)), (50, 0.5, ()), (50, 0.5, (9, 5))),
        ]

    def test_the_default_plan_has_every_value_of_every_axis(self):
        found = networks_of(NetworksRequest(), 6000)
        assert len(found) == 1 + sum(len(values) - 1 for values in AXES.values()) + 3 == 50
        assert (found[0].name, found[0].settings.hidden, found[0].batch, found[0].tuned) == ("base", (75,), 200, True)
        assert len({(network.settings, network.batch, network.tuned) for network in found}) == 50

    @pytest.mark.parametrize("number", [3, 120])
    def test_the_default_plan_fits_few_rows(self, number):
        assert {network.batch for network in networks_of(NetworksRequest(), number)} == {
            *(batch for batch in (50, 10, 1) if batch <= number),
            number,
        }

    def test_rates_that_are_not_tuned(self):
        axes = {"optimizer": ("adam", "sgd"), "learning_rate": ("own", "tuned", 0.5)}
        found = networks_of(NetworksRequest(axes), 1000)
        assert [(network.name, network.rates((0.5, 2, 2))) for network in found] == [
            ("adam rate own", [0.001]),
            ("adam rate tuned", [0.0005, 0.002]),
            ("adam rate 0.5", [0.5]),
            ("sgd rate own", [0.1]),
            ("sgd rate tuned", [0.05, 0.2]),
            ("sgd rate 0.5", [0.5]),
        ]

    def test_every_optimizer_has_its_own_constants(self):
        """Not those of another optimizer, resolved earlier."""
        found = networks_of(NetworksRequest({"optimizer": ("adam", "lars", "adagrad")}), 1000)
        assert [(n.settings.weight_decay, n.settings.epsilon) for n in found] == [(0, 1e-8), (1e-4, 1e-8), (0, 1e-10)]

    def test_two_names_of_one_value_are_one_network(self):
        found = networks_of(
            NetworksRequest({"weight_init": ("xavier_normal", "glorot_normal"), "batch": ("all", 9)}), 9
        )
        assert [network.name for network in found] == ["batch all weights xavier_normal"]


class TestChoice:
    def test_the_rate_is_the_best_on_the_validation_rows(self, rows, done):
        """Everything trained again, and predictions counted here."""
        for number, network in enumerate(done.networks):
            words = {**WORDS, "activation": network["activation"], "optimizer": network["optimizer"], "seed": 1000}
            own, found = {"adam": 0.001, "sgd": 0.1}[network["optimizer"]], {}
            for rate in (own / 4, own, 4 * own):
                model = train(rows, learning_rate=rate, **words).model
                right = model.learner.predict_proba(rows.validation).argmax(axis=1) == rows.validation.labels
                found[rate] = right.mean()
            assert rates_of(done)[network["name"]] == max(found, key=found.get)
            tried = {
                each["learning_rate"]: each["validation_accuracy"] for each in done.tried if each["network"] == number
            }
            assert tried == pytest.approx(found)

    def test_test_rows_have_no_influence(self, rows, done):
        """Such labels say that networks with the smallest rate are never wrong, and all others often."""
        words = {**WORDS, "activation": "relu", "optimizer": "adam", "learning_rate": 0.00025, "seed": 1000}
        flattering = train(rows, **words).model.learner.predict_proba(rows.test).argmax(axis=1).astype(np.int32)
        other = replace(rows, test=replace(rows.test, labels=flattering))
        outcome = NetworksStudy(other, SMALL).run()
        assert (outcome.tried, rates_of(outcome)) == (done.tried, rates_of(done))
        assert [run["loss"] for run in outcome.runs] == [run["loss"] for run in done.runs]
        assert [run["validation_accuracy"] for run in outcome.runs] == [r["validation_accuracy"] for r in done.runs]
        assert outcome.best.network == done.best.network
        assert [run["accuracy"] for run in outcome.runs] != [run["accuracy"] for run in done.runs]

    def test_rates_that_are_given_need_no_runs(self, rows, carried_out, changed):
        axes = {**AXES_HERE, "learning_rate": ("own",)}
        outcome = NetworksStudy(rows, changed(SMALL, axes=axes, seeds=1)).run()
        assert set(rates_of(outcome).values()) == {0.001, 0.1}
        assert (len(carried_out), outcome.tried) == (8, [])

    def test_a_rate_that_diverges_is_not_chosen(self, rows, changed):
        request = changed(SMALL, axes={"optimizer": ("sgd",), "hidden": ((8,),)}, lr_multipliers=(1e33, 1.0), seeds=1)
        outcome = NetworksStudy(rows, request).run()
        assert set(rates_of(outcome).values()) == {0.1}
        assert [each["validation_accuracy"] is None for each in outcome.tried] == [False, True]
        assert outcome.diverged == []


class TestWhatIsReported:
    def test_runs_are_ordinary_trainings(self, rows, done):
        assert len(done.runs) == 4 * 3 * 2
        for run in done.runs[:4]:
            network = done.networks[run["network"]]
            words = {name: network[name] for name in ("activation", "optimizer")}
            result = train(
                rows,
                strategy=run["strategy"],
                workers=run["workers"],
                learning_rate=run["learning_rate"],
                seed=run["seed"],
                **words,
                **WORDS,
            )
            probabilities = result.model.learner.predict_proba(rows.test)
            assert run["accuracy"] == result.accuracy
            assert run["confidence"] == confidence(probabilities) == pytest.approx(probabilities.max(axis=1).mean())
            assert run["calibration_error"] == calibration_error(probabilities, rows.test.labels)
            right = result.model.learner.predict_proba(rows.validation).argmax(axis=1) == rows.validation.labels
            assert run["validation_accuracy"] == right.mean()

    def test_pairs_are_measured_after_each_other(self, done):
        first = [(run["seed"], run["strategy"], run["workers"]) for run in done.runs[:4]]
        assert first == [
            (0, "sequential", 1),
            (0, "periodic:1epoch", 2),
            (1, "sequential", 1),
            (1, "periodic:1epoch", 2),
        ]

    def test_differences_are_to_the_same_network(self, done):
        for row in done.summary:
            mine = [run for run in done.runs if run["network"] == row.network]
            alone = {run["seed"]: run["accuracy"] for run in mine if run["workers"] == 1}
            if row.row.workers == 1:
                assert (row.row.delta, row.row.verdict) == (None, None)
                continue
            changes = [100 * (run["accuracy"] - alone[run["seed"]]) for run in mine if run["workers"] == 2]
            assert row.row.delta.mean == pytest.approx(np.mean(changes))
            assert row.row.verdict.margin == 0.25

    def test_learning_speed(self, done):
        for row in done.summary:
            runs = [r for r in done.runs if (r["network"], r["workers"]) == (row.network, row.row.workers)]
            for reached in row.reached:
                firsts = [[p for p in run["curve"] if p["accuracy"] >= reached.target][:1] for run in runs]
                points = [first[0] for first in firsts if first]
                assert reached.runs == len(points)
                if points:
                    assert reached.epochs == np.median([point["epoch"] for point in points])
                    assert reached.seconds == np.median([point["train_s"] for point in points])
                else:
                    assert (reached.epochs, reached.seconds) == (None, None)
        assert any(row.reached[0].runs for row in done.summary)
        assert not any(row.reached[2].runs for row in done.summary)

    def test_without_targets_nothing_is_measured(self, rows, changed):
        outcome = NetworksStudy(rows, changed(SMALL, targets=(), seeds=1)).run()
        assert {run["curve"] for run in outcome.runs} == {None}
        assert {row.reached for row in outcome.summary} == {()}
        assert "epochs to" not in module.networks_text(outcome, WHOLE)

    def test_the_file_is_strict_json(self, done, tmp_path):
        done.save(tmp_path / "f.json")
        record = json.loads((tmp_path / "f.json").read_text(), parse_constant=pytest.fail)
        assert (record["schema"], record["best"]) == ("manyhands.networks/1", done.best.network)
        assert record["runs"] == json.loads(json.dumps(done.runs))
        assert [(row["network"], row["workers"]) for row in record["summary"]] == [
            (n, w) for n in range(4) for w in (1, 2)
        ]
        assert record["settings"]["axes"] == ["activation", "optimizer", "hidden"]

    def test_the_best_is_the_best_on_validation_rows(self, done):
        means = {row.network: row.validation.mean for row in done.summary if row.row.workers == 1}
        assert done.best.network == max(means, key=means.get)


class TestSymmetry:
    """Neurons that start alike and see the same stay alike, whatever the width; with drawn biases they do not."""

    def test_of_nine_and_seven_neurons_one_is_left(self, alike):
        found = {}
        for row in alike.summary:
            found.setdefault(alike.networks[row.network]["name"], []).append(row.distinct)
        assert found["weights ones biases zeros"] == [[1, 1]] * 2
        assert found["weights zeros biases zeros"] == [[1, 1]] * 2
        assert found["weights auto biases zeros"] == found["weights auto biases auto"] == [[9, 7]] * 2

    def test_it_is_said(self, alike):
        assert "weights ones biases zeros: of 9 neurons, 1 differed at the end." in module.networks_text(alike, WHOLE)

    def test_dropout_tells_them_apart(self, rows):
        axes = {"weight_init": ("constant:0.1",), "bias_init": ("zeros",), "hidden": ((9,),), "dropout": (0.0, 0.5)}
        request = NetworksRequest({**axes, "activation": ("tanh",)}, workers=(1,), seeds=1, spec=RunSpec(epochs=4))
        assert [row.distinct for row in NetworksStudy(rows, request).run().summary] == [[1], [9]]


class TestDivergence:
    REQUEST = replace(
        SMALL, axes={"learning_rate": (1e30, 0.001), "optimizer": ("sgd",), "hidden": ((8,),)}, seeds=2, targets=()
    )

    def test_it_is_named_in_no_mean_and_does_not_end_the_study(self, rows, tmp_path, carried_out):
        outcome = NetworksStudy(rows, self.REQUEST, tmp_path / "checkpoint").run()
        assert [(each["network"], each["workers"], each["seed"]) for each in outcome.diverged] == [
            *((0, 1, 0), (0, 2, 0), (0, 1, 1), (0, 2, 1)),
        ]
        assert {row.network for row in outcome.summary} == {1}
        assert "diverged: rate 1e+30: one worker (2 of 2), periodic:1epoch n=2 (2 of 2)" in " ".join(
            module.networks_text(outcome, WHOLE).split()
        )
        carried_out.clear()
        again = NetworksStudy(rows, self.REQUEST, tmp_path / "checkpoint").run()
        assert (carried_out, again.diverged) == ([], outcome.diverged)

    def test_one_of_several(self, rows, monkeypatch):
        real = module.run

        def run(plan, dataset):
            if (plan.workers, plan.seed, plan.network.activation) == (1, 1, "tanh"):
                raise DivergedError(7, 0, float("nan"))
            return real(plan, dataset)

        monkeypatch.setattr(module, "run", run)
        outcome = NetworksStudy(rows, SMALL).run()
        assert [(each["workers"], each["seed"], each["step"]) for each in outcome.diverged] == [(1, 1, 7)] * 2
        # Two workers' run of that seed has nothing to be compared with.
        assert [row.row.seeds for row in outcome.summary] == [3, 3, 3, 3, 2, 2, 2, 2]

    def test_nothing_but_divergence(self, rows, changed):
        request = changed(self.REQUEST, axes={**self.REQUEST.axes, "learning_rate": (1e30,)})
        study = NetworksStudy(rows, request)
        study.run()
        assert study.text().startswith("No run was finished.\ndiverged: sgd rate 1e+30 hidden 8: one worker (2 of 2)")


class TestPossible:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"axes": {"colour": ("red",)}}, "there is no axis 'colour'; choose one of activation, optimizer"),
            ({"axes": {"activation": ()}}, "the axis activation has no value"),
            ({"axes": {"activation": ("relu", "step")}}, "unknown activation 'step'"),
            ({"axes": {"optimizer": ("magic",)}}, "unknown optimizer 'magic'"),
            ({"axes": {"loss": ("hinge",)}}, "unknown loss 'hinge'"),
            ({"axes": {"learning_rate": ("fast",)}}, "unknown learning rate 'fast'; give a number, own or tuned"),
            ({"axes": {"learning_rate": (-1.0,)}}, "learning_rate must be a number above 0"),
            ({"axes": {"batch": ("some",)}}, "unknown batch 'some'; give a number or all"),
            ({"axes": {"batch": (200, 1199)}}, "batch 1199, one worker: the global batch must lie between 1 and"),
            ({"axes": {"batch": (200, 1)}}, "batch 1, periodic:1epoch n=2: "),
            ({"axes": {"bias_init": ("orthogonal",)}}, "they cannot start orthogonal"),
            ({"axes": {"dropout": (1.0,)}}, "dropout must be at least 0 and below 1"),
            ({"axes": {"hidden": ((0,),)}}, "at least one neuron"),
            (
                {"axes": {"hidden": tuple((n,) for n in range(1, 999)), "batch": tuple(range(2, 199))}},
                "196606 networks",
            ),
            ({"workers": ()}, "at least one number of workers"),
            ({"workers": (0,)}, "at least one number of workers"),
            ({"strategies": ("telepathy",)}, "unknown strategy 'telepathy'"),
            ({"strategies": ("auto",)}, "auto chooses the learning rate itself"),
            ({"strategies": ("sequential",)}, "several workers need a strategy"),
            ({"strategies": ("hogwild",)}, "convergence is not possible with hogwild"),
            ({"targets": (92.0,)}, "such as 0.93, not 92"),
            ({"lr_multipliers": ()}, "at least one multiple"),
            ({"epochs": 0}, "epochs must be at least 1"),
            ({"schedule": "sine"}, "unknown schedule 'sine'"),
            ({"seeds": 0}, "at least one seed"),
            ({"seed": 999}, "seeds from 1000 on"),
            ({"margin": 0.0}, "margin"),
        ],
        ids=lambda each: str(each)[:50],
    )
    def test_what_cannot_work_before_the_first_run(self, rows, tmp_path, no_training, changes, message, changed):
        with pytest.raises(SettingsError, match=re.escape(message)):
            NetworksStudy(rows, changed(SMALL, **changes), tmp_path / "checkpoint")
        assert list(tmp_path.iterdir()) == []

    def test_without_validation_rows_there_is_no_choice(self, digits, no_training):
        with pytest.raises(SettingsError, match="learning rates on validation rows, and the data set has none"):
            NetworksStudy(digits, SMALL)

    def test_without_validation_rows_given_rates_are_possible(self, digits, changed):
        axes = {"learning_rate": (0.01,), "hidden": ((8,),)}
        outcome = NetworksStudy(digits, changed(SMALL, axes=axes, seeds=1)).run()
        assert (outcome.best, outcome.runs[0]["validation_accuracy"]) == (None, None)

    def test_what_is_not_possible_is_skipped_on_demand(self, rows, changed):
        axes = {"batch": (200, 3, 1), "learning_rate": ("own",), "hidden": ((8,),)}
        request = changed(SMALL, axes=axes, workers=(1, 2, 4), seeds=1, epochs=1, skip=True)
        outcome = NetworksStudy(rows, request).run()
        assert [(run["batch"], run["workers"]) for run in outcome.runs] == [
            *((200, 1), (200, 2), (200, 4), (3, 1), (3, 2), (1, 1)),
        ]
        assert outcome.settings["skipped"] == ["batch 3", "batch 1"]
        assert "as every worker needs a sample of each batch: batch 3, batch 1." in " ".join(
            module.networks_text(outcome, WHOLE).split()
        )

    def test_the_default_plan_skips_them(self, rows, no_training):
        study = NetworksStudy(rows, NetworksRequest())
        assert study.outcome.settings["skipped"] == ["batch 1"]
        assert study.size == 47 * (4 + 5 * 5) + 3 * 5 * 5 - 4 * 5  # three rates are given; batch 1 has one worker

    def test_what_is_asked_for_twice_runs_once(self, rows, carried_out, changed):
        axes = {"activation": ("relu", "relu"), "learning_rate": ("own", 0.001), "hidden": ((8,),)}
        request = changed(SMALL, axes=axes, workers=(1, 2, 2), strategies=("periodic:1epoch", "sequential"), seeds=1)
        outcome = NetworksStudy(rows, request).run()
        assert len(outcome.networks) == 1
        assert len(carried_out) == 2

    def test_two_networks_that_become_one_by_the_choice_share_their_runs(self, rows, carried_out, changed):
        axes = {"learning_rate": ("tuned", "own"), "hidden": ((8,),)}
        outcome = NetworksStudy(rows, changed(SMALL, axes=axes, lr_multipliers=(1.0,), seeds=1)).run()
        assert len(carried_out) == 1 + 2
        assert [(run["network"], run["workers"]) for run in outcome.runs] == [(0, 1), (0, 2), (1, 1), (1, 2)]


class TestCheckpoint:
    def test_what_is_finished_needs_no_runs(self, rows, done, tmp_path, carried_out):
        first = NetworksStudy(rows, SMALL, tmp_path / "checkpoint").run()
        carried_out.clear()
        second = NetworksStudy(rows, SMALL, tmp_path / "checkpoint").run()
        assert carried_out == []
        assert second.runs == json.loads(json.dumps(first.runs))  # with the times that were measured
        assert timeless(second.runs) == json.loads(json.dumps(timeless(done.runs)))
        assert (second.tried, second.interrupted, second.resumed) == (done.tried, False, True)

    def test_a_study_can_grow(self, rows, tmp_path, carried_out, changed):
        """Another value, another seed: only what is new is done."""
        small = changed(SMALL, axes={**AXES_HERE, "activation": ("relu",)}, seeds=2)
        NetworksStudy(rows, small, tmp_path / "checkpoint").run()
        carried_out.clear()
        outcome = NetworksStudy(rows, SMALL, tmp_path / "checkpoint").run()
        assert len(carried_out) == RUNS // 2 + 2 * 2
        assert {plan.seed for plan in carried_out if plan.network.activation == "relu"} == {2}
        assert [network["name"] for network in outcome.networks] == NETWORKS

    def test_the_checkpoint_is_another_studys(self, rows, tmp_path, no_training, changed):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "run", lambda *_: (_ for _ in ()).throw(DivergedError(1, 0, float("nan"))))
            NetworksStudy(rows, SMALL, tmp_path / "checkpoint").run()
        for changes, message in (({"epochs": 5}, "epochs: 3 there, 5 now"), ({"targets": ()}, "measured: True there")):
            with pytest.raises(SettingsError, match=re.escape(message)):
                NetworksStudy(rows, changed(SMALL, **changes), tmp_path / "checkpoint")

    @pytest.mark.parametrize(
        ("changes", "place"),
        [
            ({"accuracy": 4.13}, {}),
            ({"confidence": -1}, {}),
            ({"calibration_error": 2}, {}),
            ({"validation_accuracy": 7.12}, {}),
            ({"validation_accuracy": None}, {}),
            ({"distinct_neurons": [1, 2, 3]}, {}),
            ({"distinct_neurons": "many"}, {}),
            ({"curve": None}, {}),
            ({"seconds": {"train": 1}}, {}),
            ({"batch": 3}, {}),
            ({}, {"network": {"hidden": [4, 4]}}),
            ({}, {"network": None}),
            ({}, {"seed": 5}),
            ({}, {"strategy": "gradient"}),
        ],
        ids=str,
    )
    def test_a_run_is_believed_only_if_all_of_it_can_be(self, rows, done, changes, place):
        study, run = NetworksStudy(rows, SMALL), json.loads(json.dumps(done.runs[0]))
        network = {name: value for name, value in done.networks[0].items() if name not in ("axis", "name", "batch")}
        network["learning_rate"] = run["learning_rate"]
        key = {"network": network, **{name: run[name] for name in ("batch", "strategy", "workers", "seed")}}
        study.check(key, run)
        with pytest.raises((ValueError, KeyError, TypeError)):
            study.check({**key, **place}, {**run, **changes})


class TestText:
    def test_it_fits_80_columns(self, done):
        assert max(map(len, module.networks_text(done, WHOLE).splitlines())) <= 80

    def test_the_numbers(self, done):
        lines = module.networks_text(done, WHOLE).splitlines()
        for row, name in zip(done.summary[::2], NETWORKS, strict=True):
            line = next(line for line in lines if line.startswith(name))
            assert line.split()[2:5] == [
                f"{row.learning_rate:g}",
                f"{row.row.train_s:.3f}",
                f"{100 * row.row.accuracy.mean:.2f}",
            ]
        for row, name in zip(done.summary[1::2], NETWORKS, strict=True):
            line = [line for line in lines if line.startswith(name)][1]
            assert line.split()[2] == f"{row.row.delta.mean:+.2f}"
            assert line.split()[-1] == f"{row.row.speedup:.2f}"

    def test_long_names_have_a_line_of_their_own(self, rows, changed):
        axes = {"weight_init": ("glorot_uniform",), "bias_init": ("normal:0.001",), "activation": ("leaky_relu",)}
        axes |= {"loss": ("squared_error",), "hidden": ((8, 8),), "learning_rate": (0.001,)}
        text = module.networks_text(NetworksStudy(rows, changed(SMALL, axes=axes, seeds=1)).run(), WHOLE)
        assert "leaky_relu rate 0.001 weights glorot_uniform biases normal:0.001" in text
        assert max(map(len, text.splitlines())) <= 80


def test_from_python(rows, tmp_path):
    found = networks(rows, axes={"hidden": ((8,), ())}, seeds=1, epochs=2, workers=(1,), checkpoint=tmp_path / "j")
    assert [found.networks[row.network]["name"] for row in found.summary] == ["hidden 8", "hidden none"]
    assert networks("digits", axes={"hidden": ((4,),)}, train_size=100, seeds=1, epochs=1, workers=(1,)).runs
