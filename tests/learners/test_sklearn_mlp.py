"""Learner `published`: the bits of a plain MLPClassifier, in the form that workers can average."""

import contextlib
import threading
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from manyhands.cli import main
from manyhands.core.errors import DataError, DivergedError, SettingsError
from manyhands.core.learner import FitLearner
from manyhands.core.samples import Control, Samples
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset, Examples, make_dataset
from manyhands.data.sampler import BatchSampler
from manyhands.learners import make_learner
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


@pytest.fixture(scope="module")
def ten() -> Dataset:
    """Ten classes, unscaled, and a number of rows that 2 and 3 divide."""
    return load(DataRequest("digits", train_size=1434, scale="none"))


@pytest.fixture(scope="module")
def two(ten) -> Dataset:
    """Two classes: even and odd digits."""
    parts = [Examples(table.features, np.array(["even", "odd"])[table.labels % 2]) for table in (ten.train, ten.test)]
    return make_dataset("parity", *parts, scale="none")


def controls() -> Control:
    return Control(np.zeros(1, np.int64), np.zeros(1, np.int64))


def order_of(dataset, rank=0, size=1, epoch=0):
    """What a worker is given: the rows of its share, as they are shuffled for one epoch."""
    share = dataset.rows // size
    return BatchSampler(dataset.rows, min(200, share) * size, rank, size, "fixed", 0).epoch(epoch)


def fitted(dataset, epochs=7, seed=3, rank=0, size=1, control=None, order=None, **network):
    """A learner after its run, and the losses."""
    settings = MLPSettings(**network)
    learner = make_learner("published", settings, dataset.features, len(dataset.classes), rank=rank, seed=seed)
    order = order or order_of(dataset, rank, size)
    with threadpool_limits(1):
        outcome = learner.fit(dataset.train, order, np.full(epochs * order.steps, np.nan), control or controls())
    return learner, outcome.losses


def plain(dataset, epochs=7, seed=3, rank=0, size=1, dtype="float32", **options):
    """A classifier that has never heard of this package."""
    share = slice(rank * dataset.rows // size, (rank + 1) * dataset.rows // size)
    classifier = MLPClassifier(**{"hidden_layer_sizes": (75,), "max_iter": epochs, "random_state": seed, **options})
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(dataset.train.features[share].astype(dtype), dataset.train.labels[share])
    return classifier


def assert_same_layers(blocks, coefs, intercepts, classes, compare=np.testing.assert_array_equal):
    """Two classes have one output z in scikit-learn, and here the two outputs -z/2 and z/2."""
    last = len(coefs) - 1
    assert len(blocks) == 2 * len(coefs)
    for number, theirs in enumerate(zip(coefs, intercepts, strict=True)):
        for kind, block in zip(("weights", "biases"), theirs, strict=True):
            ours = blocks[f"{kind}.{number}"]
            if classes == 2 and number == last:
                np.testing.assert_array_equal(ours[..., 0], -ours[..., 1])
                ours = 2 * ours[..., 1:]
            assert ours.dtype == block.dtype
            compare(ours, block)


# ---------------------------------------------------------------- one worker


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["ten", "two"])
def test_it_has_the_bits_of_a_plain_classifier(request, name, dtype):
    dataset = request.getfixturevalue(name)
    learner, losses = fitted(dataset, dtype=dtype)
    expected = plain(dataset, dtype=dtype)
    assert_same_layers(learner.weights(), expected.coefs_, expected.intercepts_, len(dataset.classes))
    assert expected.n_iter_ == 7
    assert learner.steps_taken == 7 * 8  # 1,434 rows in batches of 200
    np.testing.assert_array_equal(losses, np.repeat(expected.loss_curve_, 8))
    probabilities = learner.predict_proba(dataset.test)
    inputs = dataset.test.features.astype(dtype)
    assert probabilities.dtype == dtype
    np.testing.assert_array_equal(probabilities, expected.predict_proba(inputs))
    np.testing.assert_array_equal(probabilities.argmax(axis=1), expected.predict(inputs))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"hidden": ()}, {"hidden_layer_sizes": ()}),
        ({"hidden": (20, 10)}, {"hidden_layer_sizes": (20, 10)}),
        ({"activation": "tanh"}, {"activation": "tanh"}),
        ({"activation": "logistic"}, {"activation": "logistic"}),
        ({"activation": "identity", "l2": 0.5}, {"activation": "identity", "alpha": 0.5}),
        (
            {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
            {"learning_rate_init": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
        ),
        ({"optimizer": "nesterov", "momentum": 0.5}, {"solver": "sgd", "momentum": 0.5, "learning_rate_init": 0.01}),
        ({"optimizer": "momentum"}, {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.01}),
        ({"optimizer": "sgd"}, {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1}),
    ],
    ids=str,
)
def test_every_setting_reaches_the_classifier(ten, ours, theirs):
    learner, _ = fitted(ten, epochs=3, dtype="float64", **ours)
    expected = plain(ten, epochs=3, dtype="float64", **theirs)
    assert_same_layers(learner.weights(), expected.coefs_, expected.intercepts_, 10)


def test_inputs_are_scaled_as_the_table_says(ten):
    scaled = replace(ten, train=replace(ten.train, scale=np.linspace(0.05, 0.1, 64), shift=np.full(64, -0.5)))
    learner, _ = fitted(scaled, epochs=3, dtype="float64")
    inputs = ten.train.features * np.linspace(0.05, 0.1, 64) - 0.5
    expected = plain(replace(ten, train=replace(ten.train, features=inputs)), epochs=3, dtype="float64")
    assert_same_layers(learner.weights(), expected.coefs_, expected.intercepts_, 10)


def test_the_order_says_which_rows_and_not_when(ten):
    first, other = order_of(ten, 1, 3), order_of(ten, 1, 3, epoch=5)
    assert (first.rows != other.rows).any()
    ours, theirs = (fitted(ten, epochs=2, hidden=(3,), order=order)[0].parameters for order in (first, other))
    np.testing.assert_array_equal(ours, theirs)
    assert (ours != fitted(ten, epochs=2, hidden=(3,), rank=2, size=3)[0].parameters).mean() > 0.5


def test_it_stops_by_the_classifiers_own_rule(two):
    learner, losses = fitted(two, epochs=1000, hidden=(4,), learning_rate=0.05, dtype="float64")
    expected = plain(two, epochs=1000, hidden_layer_sizes=(4,), learning_rate_init=0.05, dtype="float64")
    assert 10 < expected.n_iter_ < 1000
    assert learner.steps_taken == len(losses) == 8 * expected.n_iter_
    assert_same_layers(learner.weights(), expected.coefs_, expected.intercepts_, 2)


def test_progress_counts_steps_and_goes_on_from_where_it_was(ten):
    control = controls()
    control.progress[0] = 1000
    fitted(ten, epochs=3, hidden=(2,), control=control)
    assert control.progress[0] == 1000 + 3 * 8


def test_numpys_global_random_numbers_are_left_alone(ten):
    np.random.seed(11)  # noqa: NPY002 - the generator that must not be touched
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(11)  # noqa: NPY002
    learner, _ = fitted(ten, epochs=2, hidden=(3,))
    learner.predict_proba(ten.test)
    np.testing.assert_array_equal(np.random.random(3), expected)  # noqa: NPY002


def test_the_seed_decides_and_nothing_else(ten):
    first, again, other = (fitted(ten, epochs=2, hidden=(3,), seed=seed)[0].parameters for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


# ---------------------------------------------------------------- told to stop, and warnings


class Meter:
    """Takes the place of the cell with the progress, and does something when it is written."""

    def __init__(self, told):
        self.told, self.seen = told, [0]

    def __getitem__(self, at):
        return self.seen[-1]

    def __setitem__(self, at, steps):
        self.seen.append(int(steps))
        self.told(int(steps))


def test_stop_ends_a_fit_within_an_epoch_and_changes_nothing(ten):
    stop = np.zeros(1, np.int64)

    def told(steps):
        if steps == 2 * 8:
            stop[0] = 1

    meter = Meter(told)
    learner, losses = fitted(ten, epochs=50, hidden=(2,), control=Control(stop, meter))
    assert len(losses) == 0
    assert max(meter.seen) in (2 * 8, 3 * 8)  # the third epoch is the last that may have begun
    assert not learner.parameters.any()
    assert learner.steps_taken == 0


def test_a_run_of_a_million_steps_ends_soon_after_stop():
    rng = np.random.default_rng(0)
    rows = Examples(rng.random((2000, 50)), rng.integers(0, 3, 2000))
    dataset = make_dataset("noise", rows, rows, scale="none")
    control, told = controls(), []

    def tell():
        until = time.monotonic() + 60
        while not control.progress[0] and time.monotonic() < until:
            time.sleep(0.01)
        told.append(time.monotonic())
        control.stop[0] = 1

    other = threading.Thread(target=tell, daemon=True)
    other.start()
    # A large penalty that shrinks slowly: the classifier's own rule sees an improvement for thousands of epochs.
    slow = {"optimizer": "sgd", "learning_rate": 1e-6, "l2": 1000.0}
    learner, losses = fitted(dataset, 100_000, control=control, hidden=(300, 300), dtype="float64", **slow)
    ended = time.monotonic()
    other.join(60)
    assert (len(losses), learner.steps_taken) == (0, 0)
    assert ended - told[0] < 5
    assert 10 <= control.progress[0] < 1_000_000


def test_neither_fit_nor_prediction_warns_of_anything(two):
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        learner, losses = fitted(two, epochs=2, hidden=(3,))
        learner.predict_proba(two.test)
    assert (len(losses), told) == (16, [])
    assert list(warnings.filters) == before


def test_more_classes_than_scikit_learn_believes_in_are_no_reason_for_a_warning():
    labels = np.arange(40) % 26  # it suspects a regression where more than half of the labels differ
    rows = Examples(np.eye(40, dtype=np.uint8), labels)
    learner, _ = fitted(make_dataset("letters", rows, rows, scale="none"), epochs=2, hidden=(3,))
    assert learner.predict_proba(Samples(np.eye(40), labels, np.ones(40), np.zeros(40))).shape == (40, 26)


def test_workers_in_threads_neither_warn_nor_change_the_filters(ten):
    """The first to begin is the first to end: what it had set it would take back while the second still needs it."""
    inside, ended = threading.Event(), threading.Event()
    failures = []

    def work(rank, told):
        try:
            fitted(ten, epochs=2, hidden=(2,), rank=rank, size=2, control=Control(np.zeros(1, np.int64), Meter(told)))
        except Warning as warning:
            failures.append(warning)

    def second_told(steps):
        inside.set()
        assert ended.wait(20)

    second = threading.Thread(target=work, args=(1, second_told), daemon=True)

    def first_told(steps):
        if steps and not inside.is_set():
            second.start()
            assert inside.wait(20)

    before = list(warnings.filters)
    work(0, first_told)
    ended.set()
    second.join(20)
    assert not second.is_alive()
    after = list(warnings.filters)
    warnings.filters[:] = before  # for the tests that follow
    assert (failures, after) == ([], before)


# ---------------------------------------------------------------- what goes wrong


def plan_for(dataset, **changes):
    chosen = {"network": MLPSettings(hidden=(8,), dtype="float64"), "learner": "published"}
    return resolve(RunSpec(**{**chosen, "strategy": "one-shot", "workers": 3, "epochs": 4, **changes}), dataset)


def test_a_share_without_a_class_is_named_with_its_worker(two):
    lacking = np.concatenate([np.flatnonzero(two.train.labels == 1)[:30], np.arange(60)])
    rows = Examples(two.train.features[lacking], two.train.labels[lacking])
    dataset = make_dataset("some", rows, rows, scale="none")
    with pytest.raises(DataError, match=r"share of worker 0 has 1 of 2 classes; .* use fewer workers or more rows"):
        run(plan_for(dataset), dataset)


def test_in_an_mpi_job_too(ten):
    order = np.argsort(ten.train.labels == 7, kind="stable")  # all sevens in the last share
    rows = Examples(ten.train.features[order], ten.train.labels[order])
    dataset = make_dataset("sevens last", rows, rows, scale="none")
    with pytest.raises(DataError, match=r"share of worker [01] has 9 of 10 classes"):
        run(plan_for(dataset, team="mpi"), dataset)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workers": 4}, "equal shards, and 1434 training rows do not divide by 4 workers"),
        ({"batch": 200}, "has its own batch, 200 rows per worker; leave batch out"),
        ({"sharding": "global"}, "fixed shards: every worker keeps its own"),
        ({"strategy": "periodic:1epoch"}, "cannot follow periodic:1epoch; choose one-shot or sequential"),
        ({"strategy": "periodic:7"}, "cannot follow periodic:7; choose one-shot or sequential"),
        ({"strategy": "gradient"}, "cannot follow gradient; choose one-shot or sequential"),
        ({"learner": "publish"}, "unknown learner 'publish'; did you mean 'published'. Choose one of mlp, published"),
    ],
    ids=str,
)
def test_what_the_paper_does_not_do_is_refused_before_training(ten, changes, words):
    with pytest.raises(SettingsError, match=words):
        plan_for(ten, **changes)


def test_a_seed_that_scikit_learn_cannot_have_is_refused_before_training(ten):
    run(plan_for(ten, epochs=1, seed=2**32 - 1), ten)
    with pytest.raises(SettingsError, match="the learner published takes seeds below 4294967296, not 4294967296"):
        plan_for(ten, workers=1, seed=2**32)
    assert plan_for(ten, learner="mlp", seed=2**32).seed == 2**32


def test_the_batch_is_200_for_every_worker_or_its_share(ten):
    assert [plan_for(ten, workers=workers).batch for workers in (1, 2, 3, 6)] == [200, 400, 600, 1200]
    assert plan_for(ten, workers=239).batch == 1434  # shares of 6 rows
    assert plan_for(ten, strategy="sequential", workers=1).sharding == "fixed"


@pytest.mark.parametrize(("features", "classes"), [(3, 1), (0, 2)])
def test_a_network_without_inputs_or_a_choice_is_refused(features, classes):
    with pytest.raises(SettingsError, match="at least 1 feature and 2 classes"):
        make_learner("published", MLPSettings(), features, classes)


OVERFLOWING = {"optimizer": "nesterov", "learning_rate": 1e20, "hidden": (8,)}


def losses_alone(dataset, epochs, dtype, rate):
    """The losses of a plain classifier, whose fit ends with an error if its weights are not finite."""
    options = {"hidden_layer_sizes": (8,), "solver": "sgd", "learning_rate_init": rate, "random_state": 3}
    classifier = MLPClassifier(max_iter=epochs, **options)
    with threadpool_limits(1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        with contextlib.suppress(ValueError):
            classifier.fit(dataset.train.features.astype(dtype), dataset.train.labels)
    return np.array(classifier.loss_curve_)


@pytest.mark.parametrize(("dtype", "rate"), [("float32", 1e5), ("float64", 1e10), ("float32", 1e20)])
def test_a_loss_that_is_not_finite_is_told_with_its_epoch_and_ends_the_fit(ten, dtype, rate):
    expected, control = losses_alone(ten, 7, dtype, rate), controls()
    epoch = 1 + int(np.argmin(np.isfinite(expected)))
    assert epoch < 6
    assert not np.isfinite(expected[epoch - 1])
    control.progress[0] = 1000
    with pytest.raises(DivergedError, match="training diverged") as caught:
        fitted(ten, control=control, **{**OVERFLOWING, "learning_rate": rate, "dtype": dtype})
    assert caught.value.step == 1000 + epoch * 8
    np.testing.assert_equal(caught.value.loss, float(expected[epoch - 1]))
    assert 1000 + epoch * 8 <= control.progress[0] <= 1000 + (epoch + 1) * 8


@pytest.mark.parametrize("epochs", [1, 7])
def test_weights_that_are_not_finite_are_a_divergence_on_that_worker(ten, epochs):
    with pytest.raises(DivergedError, match="on worker 1: training diverged") as caught:
        fitted(ten, epochs, rank=1, size=3, **OVERFLOWING)
    assert caught.value.rank == 1
    assert caught.value.step == 3  # the end of the first epoch: 478 rows in batches of 200


def test_a_loss_that_is_not_finite_is_a_divergence_in_the_last_epoch_too(ten):
    expected = losses_alone(ten, 7, "float32", 1e5)
    epoch = 1 + int(np.argmin(np.isfinite(expected)))
    with pytest.raises(DivergedError):
        fitted(ten, epoch, **{**OVERFLOWING, "learning_rate": 1e5})


def test_a_divergence_is_told_by_its_error_alone(ten):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(DivergedError):
            fitted(ten, **OVERFLOWING)
    assert told == []
    assert np.geterr() == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


# ---------------------------------------------------------------- several workers


def means_of(classifiers):
    """Coefficients and intercepts, each layer's mean."""
    return (
        [np.mean(layer, axis=0) for layer in zip(*(getattr(each, name) for each in classifiers), strict=True)]
        for name in ("coefs_", "intercepts_")
    )


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_the_result_is_the_mean_of_classifiers_fitted_apart_whatever_the_team(ten, workers):
    alone = [plain(ten, 4, 0, rank, workers, "float64", hidden_layer_sizes=(8,)) for rank in range(workers)]
    coefs, intercepts = means_of(alone)
    results = [run(plan_for(ten, workers=workers, team=team), ten) for team in ("threads", "mpi")]

    for result in results:
        assert_same_layers(result.model.learner.weights(), coefs, intercepts, 10, close)
        assert (result.rounds, result.steps) == (1, 4 * -(-(1434 // workers) // 200))
        assert result.examples == 4 * 1434 // workers
        np.testing.assert_allclose(result.losses, np.mean([each.loss_curve_ for each in alone], axis=0), rtol=1e-12)
        merged = alone[0]
        merged.coefs_, merged.intercepts_ = coefs, intercepts
        assert result.accuracy == merged.score(ten.test.features.astype(np.float64), ten.test.labels)
    first, second = (result.model.learner.parameters for result in results)
    np.testing.assert_array_equal(first, second)


def test_who_stops_early_counts_as_much_as_the_others():
    """Worker 0 has the same two rows over and over, and is content soon; worker 1 has what is harder to tell."""
    rng = np.random.default_rng(0)
    easy = np.tile([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]], (20, 1))
    features, labels = np.concatenate([easy, easy + rng.normal(0, 0.6, easy.shape)]), np.tile([0, 1, 2], 40)
    dataset = make_dataset("uneven", Examples(features, labels), Examples(features, labels), scale="none")
    network = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.1}
    alone = [plain(dataset, 900, 0, rank, 2, "float64", **network) for rank in (0, 1)]
    epochs = [each.n_iter_ for each in alone]
    assert epochs[0] + 20 < epochs[1] < 900
    settings = MLPSettings(hidden=(8,), learning_rate=0.1, dtype="float64")
    result = run(plan_for(dataset, workers=2, epochs=900, network=settings), dataset)
    assert_same_layers(result.model.learner.weights(), *means_of(alone), 3, close)
    assert (result.steps, len(result.losses)) == (epochs[1], epochs[1])  # one batch is an epoch of 60 rows
    assert result.examples == 60 * epochs[1]
    assert result.losses[-1] == pytest.approx(alone[1].loss_curve_[-1])
    assert result.losses[0] == pytest.approx(np.mean([each.loss_curve_[0] for each in alone]))


# ---------------------------------------------------------------- weights, state, files


@pytest.mark.parametrize("name", ["ten", "two"])
def test_weights_go_there_and_back_and_into_the_learner_mlp(request, name):
    dataset = request.getfixturevalue(name)
    classes = len(dataset.classes)
    learner, _ = fitted(dataset, epochs=20, dtype="float64", hidden=(12, 6))
    settings = MLPSettings(dtype="float64", hidden=(12, 6))
    other, mlp = (make_learner(kind, settings, dataset.features, classes) for kind in ("published", "mlp"))
    for each in (other, mlp):
        each.load_weights(learner.weights())
    np.testing.assert_array_equal(other.parameters, learner.parameters)
    expected = plain(dataset, epochs=20, dtype="float64", hidden_layer_sizes=(12, 6))
    inputs = dataset.test.features.astype(np.float64)
    np.testing.assert_array_equal(other.predict_proba(dataset.test), expected.predict_proba(inputs))
    ours = mlp.predict_proba(dataset.test)
    np.testing.assert_allclose(ours, expected.predict_proba(inputs), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(ours.argmax(axis=1), expected.predict(inputs))
    other.load_weights(mlp.weights())
    np.testing.assert_array_equal(other.parameters, learner.parameters)


def test_weights_are_copies(ten):
    learner, _ = fitted(ten, epochs=1, hidden=(3,))
    before = learner.parameters.copy()
    for block in learner.weights().values():
        block[:] = 7
    np.testing.assert_array_equal(learner.parameters, before)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("damage", ["missing", "narrow", "wide", "flat"])
def test_weights_of_another_network_are_refused(classes, damage):
    learner = make_learner("published", MLPSettings(hidden=(4,)), 5, classes)
    blocks = learner.weights()
    last = blocks.pop("weights.1")
    if damage != "missing":
        changed = {"narrow": last[:, :1], "wide": np.c_[last, last[:, :1]], "flat": last.ravel()}
        blocks["weights.1"] = changed[damage]
    with pytest.raises(ValueError, match=r"weights\.1 is missing or has the wrong shape"):
        learner.load_weights(blocks)


def test_state_goes_into_another_learner(ten):
    learner, _ = fitted(ten, epochs=2, hidden=(3,))
    state = learner.state()
    other = make_learner("published", MLPSettings(hidden=(3,)), ten.features, 10)
    learner.parameters[:] = 0
    other.load_state(state)
    assert other.steps_taken == 16
    assert other.parameters.any()
    again, _ = fitted(ten, epochs=2, hidden=(3,))
    np.testing.assert_array_equal(other.predict_proba(ten.test), again.predict_proba(ten.test))


def test_the_callers_vector_is_used_and_another_one_refused():
    learner = make_learner("published", MLPSettings(hidden=(4,), dtype="float64"), 5, 3)
    for wrong in (np.zeros(learner.size + 1), np.zeros(learner.size, np.float32)):
        with pytest.raises(ValueError, match=f"float64 vector of {learner.size}"):
            learner.bind(wrong)
    vector = np.arange(learner.size, dtype=np.float64)
    learner.bind(vector)
    assert learner.size == 6 * 4 + 5 * 3
    assert learner.weights()["weights.0"][0, 1] == 1
    learner.initialize(np.random.default_rng(0))
    assert not vector.any()


def test_a_model_file_says_what_the_classifier_says(two, tmp_path, capsys):
    paths = {name: tmp_path / f"{name}.csv" for name in ("train", "test")}
    for name, path in paths.items():
        table = getattr(two, name)
        labels = two.classes[table.labels]
        lines = (",".join([label, *map(str, row)]) for label, row in zip(labels, table.features.tolist(), strict=True))
        path.write_text("\n".join(lines) + "\n")
    model = tmp_path / "model.safetensors"
    options = f"--scale none --learner published --epochs 4 --hidden 8 --seed 3 --quiet --out {model}"
    assert main(["train", "--train-csv", str(paths["train"]), "--test-csv", str(paths["test"]), *options.split()]) == 0
    trained = capsys.readouterr().out
    assert main(["evaluate", str(model), "--test-csv", str(paths["test"]), "--quiet"]) == 0
    evaluated = capsys.readouterr().out
    expected = plain(two, epochs=4, hidden_layer_sizes=(8,))
    percent = 100 * expected.score(two.test.features.astype(np.float32), two.test.labels)
    assert 50 < percent < 100
    for text in (trained, evaluated):
        assert f"accuracy  {percent:.2f} % of 360 test samples" in text


def test_it_fits_in_one_call_and_the_mlp_takes_steps():
    settings = MLPSettings(hidden=(3,))
    assert isinstance(make_learner("published", settings, 5, 3), FitLearner)
    assert not isinstance(make_learner("mlp", settings, 5, 3), FitLearner)
