"""Fuzzed values from Python: arrays, settings, parameters of estimators. A typed error, or a result that is one."""

import numpy as np
import pytest

import manyhands

DTYPES = (
    "uint8",
    "int8",
    "uint16",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bool",
    ">f4",
    "object",
    "U3",
    "S3",
)
DTYPES += ("complex64", "datetime64[s]")
NUMBERS = ("uint8", "int64", "float32", "float64", ">f4", "float16")
NASTY = (
    0,
    1,
    2,
    3,
    -1,
    True,
    False,
    None,
    0.5,
    1.0,
    2.5,
    -0.0,
    float("nan"),
    float("inf"),
    1e-300,
    1e300,
    2**31,
    2**63,
)
NASTY += (
    10**30,
    "1",
    "",
    "auto",
    "relu",
    "adam",
    (),
    (3,),
    [2, 2],
    (0,),
    (True,),
    (1.5,),
    "\0",
    np.float32(2),
    np.int8(3),
)
NASTY += (np.array(2), np.nan, b"x", {}, object())
SETTINGS = (
    "strategy",
    "workers",
    "team",
    "batch",
    "epochs",
    "sharding",
    "seed",
    "learner",
    "schedule",
    "stop",
    "partition",
)
SETTINGS += ("hidden", "activation", "optimizer", "learning_rate", "l2", "momentum", "weight_decay", "loss", "dropout")
SETTINGS += ("weight_init", "bias_init", "dtype", "train_size", "scale", "validation", "binarize", "convergence", "pin")
SETTINGS += ("labels", "shape")
PARAMETERS = (
    "hidden_layer_sizes",
    "activation",
    "solver",
    "alpha",
    "batch_size",
    "learning_rate",
    "learning_rate_init",
)
PARAMETERS += ("power_t", "shuffle", "random_state", "tol", "verbose", "warm_start", "momentum", "early_stopping")
PARAMETERS += (
    "validation_fraction",
    "beta_1",
    "epsilon",
    "n_iter_no_change",
    "max_fun",
    "n_workers",
    "strategy",
    "team",
)
PARAMETERS += ("sharding", "dtype", "dropout", "weight_init", "bias_init", "weight_decay", "rho")


def pick(rng, values):
    return values[int(rng.integers(0, len(values)))]


def too_long(epochs):
    """Tell whether a number of epochs is possible, and would take for ever."""
    return isinstance(epochs, (int, float)) and 1e6 < epochs < float("inf")


def array(rng, rows):
    """Return features of a random dtype and shape."""
    shape = (rows, 3) if rng.random() < 0.7 else pick(rng, ((rows, 2, 2), (rows,), (rows, 0), (rows, 1)))
    values = rng.normal(0, 50, shape)
    if rng.random() < 0.2 and values.size:
        values.flat[int(rng.integers(0, values.size))] = pick(rng, (np.nan, np.inf, 1e38, 1e300, -1e20))
    with np.errstate(all="ignore"):
        found = values.astype(pick(rng, DTYPES if rng.random() < 0.5 else NUMBERS))
    return np.asfortranarray(found) if rng.random() < 0.2 else found


def labels_of(rng, rows):
    """Return labels of a random kind; ten rows of each at least."""
    codes = np.arange(rows) % int(pick(rng, (1, 2, 3)))
    kind = pick(
        rng, ("int", "str", "float", "bool", "object", "bytes", "uint64", "datetime", "nan", "long", "2-d", "big")
    )
    made = {
        "int": codes,
        "str": np.array(["a", "b", "ü"])[codes],
        "float": codes + 0.5,
        "bool": codes.astype(bool),
        "object": np.array(["x", 1, None], object)[codes],
        "bytes": np.array([b"a", b"b", b"c"])[codes],
        "uint64": codes.astype(np.uint64) + np.uint64(2**63 + 5),
        "datetime": codes.astype("datetime64[D]"),
        "nan": np.where(codes == 0, np.nan, codes),
        "long": np.array(["x" * 1200, "y", "z"])[codes],
        "2-d": codes[:, None],
        "big": codes.astype(np.int64) - 2**62,
    }
    return made[kind]


@pytest.fixture(scope="module")
def table():
    """Rows that can be told apart."""
    rng = np.random.default_rng(3)
    labels = np.arange(30) % 3
    return (labels[:, None] * 2 + rng.normal(0, 0.3, (30, 4))).astype(np.float32), labels


@pytest.fixture(scope="module")
def dataset(table):
    features, labels = table
    examples = manyhands.Examples(features, labels)
    return manyhands.make_dataset("table", examples, examples)


def test_arrays(campaign, tmp_path):
    path = tmp_path / "model"

    def case(rng):
        rows = int(pick(rng, (0, 1, 12, 12, 30, 30, 30)))
        labels = labels_of(rng, rows)
        train = manyhands.Examples(array(rng, rows), labels)
        test = train if rng.random() < 0.7 else manyhands.Examples(array(rng, rows), labels)
        options = {
            "train_size": pick(rng, (None, None, 5, 0, -1)),
            "scale": pick(rng, ("auto", "standard", "none", "255", "x")),
        }
        dataset = manyhands.make_dataset("fuzz", train, test, **options)
        result = manyhands.train(dataset, epochs=1, hidden=(2,), batch=4, learning_rate=1e-6)
        assert 0 <= result.accuracy <= 1
        try:
            check_model(result, dataset, test)
        except manyhands.ManyhandsError as error:
            raise AssertionError("what was trained on is refused afterwards") from error

    def check_model(result, dataset, test):
        result.save(path)
        loaded = manyhands.load_model(path)
        assert loaded.classes.dtype == dataset.classes.dtype
        assert loaded.classes.tolist() == dataset.classes.tolist()
        found = result.model.predict_proba(test.features)
        assert np.isfinite(found).all()
        assert np.array_equal(loaded.predict_proba(test.features), found)
        assert float(np.mean(loaded.predict(test.features) == test.labels)) == pytest.approx(result.accuracy)

    campaign.run(700, case)
    assert campaign.accepted > 30


def test_settings(campaign, dataset):
    def case(rng):
        chosen = {pick(rng, SETTINGS): pick(rng, NASTY) for _ in range(int(rng.integers(1, 3)))}
        chosen = {"epochs": 1, "batch": 10, **chosen}
        if too_long(chosen["epochs"]):
            chosen["epochs"] = -5
        if chosen.get("learner") == "published":
            del chosen["learner"]
        result = manyhands.train(dataset, **chosen)
        assert 0 <= result.accuracy <= 1
        assert all(np.isfinite(block).all() for block in result.model.learner.weights().values())

    campaign.run(1200, case)
    assert campaign.accepted > 50
    assert campaign.refused > 200


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_estimators(campaign, table, kind):
    features, labels = table
    make = manyhands.MLPClassifier if kind == "classifier" else manyhands.MLPRegressor

    def case(rng):
        chosen = {pick(rng, PARAMETERS): pick(rng, NASTY) for _ in range(int(rng.integers(1, 3)))}
        if rng.random() < 0.3:
            chosen["max_iter"] = pick(rng, [value for value in NASTY if not too_long(value)])
        model = make(**{"max_iter": 2, "hidden_layer_sizes": (3,), "random_state": 0, "verbose": False, **chosen})
        model.fit(features, labels)
        found = model.predict(features)
        assert found.shape == (30,)
        assert np.isfinite(found).all()
        if kind == "classifier":
            assert set(found.tolist()) <= {0, 1, 2}

    # scikit-learn's own words for a wrong parameter, or for training that diverged
    campaign.run(300, case, allowed=(ValueError, TypeError))
    assert campaign.accepted > 10
    assert campaign.refused > 50
