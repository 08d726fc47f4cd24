"""The model file: what is saved comes back, and damage of any kind is one clear error."""

import dataclasses
import json
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import manyhands
from manyhands.core.errors import DataError, ManyhandsError, ModelFileError, OutputError
from manyhands.data.dataset import Examples, make_dataset
from manyhands.training.model import TrainedModel, load_model

QUICK = settings(deadline=None, max_examples=150)
HIDDEN = (4, 3)


@pytest.fixture(scope="module")
def model(blobs):
    return manyhands.train(blobs, hidden=HIDDEN, epochs=30, batch=20, learning_rate=0.01).model


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    """A good model file, which no test may change."""
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A place for damaged files; of the module, because Hypothesis runs many examples in one test."""
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def rewrite(path, folder):
    """Write the good file with other texts or tensors (None: without them), and as older files are: no checksum."""
    with safe_open(path, framework="numpy") as file:
        texts = {name: text for name, text in file.metadata().items() if name != "sha256"}
    tensors = load_tensors(path.read_bytes())

    def write(changed_texts=(), changed_tensors=()):
        kept = [
            {name: value for name, value in {**whole, **dict(changed)}.items() if value is not None}
            for whole, changed in ((texts, changed_texts), (tensors, changed_tensors))
        ]
        target = folder / "rewritten.safetensors"
        target.write_bytes(save_tensors(kept[1], metadata=kept[0]))
        return target

    write.texts, write.tensors = texts, tensors
    return write


def with_settings(rewrite, **changes):
    return rewrite({"settings": json.dumps({**json.loads(rewrite.texts["settings"]), **changes})})


def with_classes(rewrite, labels, kind="int"):
    return rewrite({"classes": json.dumps({"kind": kind, "labels": labels})})


class TestRoundTrip:
    def test_predictions_are_the_same_bits(self, model, path, blobs):
        features = blobs.test.features
        np.testing.assert_array_equal(load_model(path).predict_proba(features), model.predict_proba(features))

    def test_description_is_the_same(self, model, path):
        loaded = load_model(path)
        assert loaded.settings == model.settings
        assert loaded.classes.tolist() == model.classes.tolist() == [10, 20, 30]
        assert loaded.name == "blobs"
        assert loaded.scaling.name == model.scaling.name

    def test_a_model_of_scikit_learns_learner_comes_back_as_one(self, blobs, tmp_path):
        """And those of older files, which call it mlp, predict the same."""
        even = dataclasses.replace(blobs, train=blobs.train.take(slice(102)))
        model = manyhands.train(even, learner="published", epochs=2, hidden=(4,), dtype="float64").model
        model.save(tmp_path / "m")
        loaded = load_model(tmp_path / "m")
        assert (loaded.kind, type(loaded.learner)) == ("published", type(model.learner))
        assert loaded.learner.parameters.tobytes() == model.learner.parameters.tobytes()
        dataclasses.replace(model, kind="mlp").save(tmp_path / "older")
        older, features = load_model(tmp_path / "older"), blobs.test.features
        np.testing.assert_allclose(older.predict_proba(features), loaded.predict_proba(features), rtol=1e-9)

    def test_loaded_model_saves_the_same_file(self, path, tmp_path):
        load_model(path).save(tmp_path / "again.safetensors")
        with safe_open(tmp_path / "again.safetensors", framework="numpy") as file:
            again = file.metadata(), {name: file.get_tensor(name).tolist() for name in file.keys()}  # noqa: SIM118
        with safe_open(path, framework="numpy") as file:
            first = file.metadata(), {name: file.get_tensor(name).tolist() for name in file.keys()}  # noqa: SIM118
        assert again == first

    @pytest.mark.parametrize(
        "network",
        [
            {"hidden": ()},
            {"hidden": (5,), "dtype": "float64"},
            {"hidden": (17, 2, 5), "activation": "tanh", "optimizer": "momentum"},
        ],
        ids=str,
    )
    def test_every_kind_of_network_comes_back(self, blobs, tmp_path, network):
        model = manyhands.train(blobs, epochs=2, **network).model
        model.save(tmp_path / "m")
        loaded = load_model(tmp_path / "m")
        assert loaded.settings == model.settings
        features = blobs.test.features
        np.testing.assert_array_equal(loaded.predict_proba(features), model.predict_proba(features))

    @pytest.mark.parametrize(
        "names",
        [
            np.array([-7, 0, 9_000_000_000]),
            np.array(["Å", "zebra", '10 nm, "q"']),
            np.array(["Å", "zebra", "a\0b"], object),
            np.array([0.5, -1.0, 2e300]),
            np.array([1, 2**63, 2**64 - 1], np.uint64),
            np.array([True, False, True]),
        ],
        ids=["int", "str", "object", "float", "uint64", "bool"],
    )
    @pytest.mark.parametrize("scale", ["255", "standard", "none"])
    def test_classes_and_scaling_come_back(self, blobs, tmp_path, names, scale):
        def examples(table):
            return Examples(table.features.astype(np.float64), names[table.labels])

        test = examples(blobs.test)
        result = manyhands.train(make_dataset("named", examples(blobs.train), test, scale=scale), hidden=(4,), epochs=3)
        result.save(tmp_path / "m")
        loaded = load_model(tmp_path / "m")
        assert loaded.classes.tolist() == result.model.classes.tolist() == sorted(set(names.tolist()))
        assert loaded.classes.dtype == result.model.classes.dtype
        assert loaded.accuracy(test) == result.accuracy

    @pytest.mark.parametrize("threshold", [128, 0.1, -1e-300])
    def test_a_threshold_comes_back(self, blobs, tmp_path, threshold):
        def examples(table):
            return Examples(table.features.astype(np.float64) - (128 if threshold < 1 else 0), table.labels)

        test = examples(blobs.test)
        result = manyhands.train(make_dataset("b", examples(blobs.train), test, binarize=threshold), epochs=2)
        result.save(tmp_path / "m")
        loaded = load_model(tmp_path / "m")
        assert loaded.scaling.threshold == threshold
        assert loaded.scaling.name == result.model.scaling.name
        assert loaded.accuracy(test) == result.accuracy
        np.testing.assert_array_equal(loaded.predict_proba(test.features), result.model.predict_proba(test.features))

    def test_file_without_a_threshold_has_none(self, path):
        assert load_model(path).scaling.threshold is None

    def test_file_does_not_depend_on_the_way_it_is_named(self, path):
        assert load_model(str(path)).settings == load_model(path).settings

    def test_a_name_that_is_no_unicode_is_spelled_out(self, model, tmp_path):
        """As of a CSV file whose name has bytes of another encoding."""
        dataclasses.replace(model, name="caf\udce9.csv").save(tmp_path / "m")
        assert load_model(tmp_path / "m").name == "caf\\udce9.csv"

    def test_saving_into_a_missing_folder_is_an_output_error(self, model, tmp_path):
        with pytest.raises(OutputError, match="cannot write"):
            model.save(tmp_path / "nowhere" / "m.safetensors")


class TestPrediction:
    def test_labels_are_those_of_the_data(self, model, blobs):
        truth = blobs.classes[blobs.test.labels]
        assert np.mean(model.predict(blobs.test.features) == truth) > 0.9

    def test_probabilities_sum_to_one(self, model, blobs):
        found = model.predict_proba(blobs.test.features)
        assert found.shape == (60, 3)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)

    def test_label_is_the_most_probable_class(self, model, blobs):
        features = blobs.test.features
        expected = model.classes[model.predict_proba(features).argmax(axis=1)]
        assert model.predict(features).tolist() == expected.tolist()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16])
    def test_same_values_give_the_same_probabilities_in_any_dtype(self, model, blobs, dtype):
        features = blobs.test.features
        found = model.predict_proba(features.astype(dtype))
        np.testing.assert_allclose(found, model.predict_proba(features), atol=1e-5)

    def test_images_are_taken_as_they_are(self, digits):
        model = manyhands.train(digits, hidden=(5,), epochs=1).model
        rows = digits.test.features
        np.testing.assert_array_equal(model.predict_proba(rows.reshape(-1, 8, 8)), model.predict_proba(rows))

    def test_columns_in_any_memory_order(self, model, blobs):
        features = blobs.test.features
        np.testing.assert_array_equal(model.predict_proba(np.asfortranarray(features)), model.predict_proba(features))

    @pytest.mark.parametrize("shape", [(2, 6), (2, 8), (2, 7, 7), (0, 7), (7,)])
    def test_wrong_shape_is_a_data_error(self, model, shape):
        with pytest.raises(DataError, match="features"):
            model.predict(np.zeros(shape))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_value_that_is_not_finite_is_a_data_error(self, model, value):
        features = np.zeros((2, 7))
        features[1, 3] = value
        with pytest.raises(DataError, match="not finite"):
            model.predict_proba(features)

    def test_value_too_large_for_the_network_is_no_nan(self, model):
        """1e300 is finite, but not as a float32."""
        try:
            found = model.predict_proba(np.full((1, 7), 1e300))
        except DataError:
            return
        assert np.isfinite(found).all()

    @pytest.mark.parametrize("features", [5, None, [1] * 7, [[1], [1, 2]], np.ma.masked_equal(np.ones((2, 7)), 1)])
    def test_no_table_is_a_data_error(self, model, features):
        with pytest.raises(DataError, match="features"):
            model.predict(features)

    @pytest.mark.parametrize(("name", "value"), [("scale", 3e38), ("scale", -1e38)])
    def test_probabilities_that_are_not_finite_are_a_data_error(self, rewrite, blobs, name, value):
        """The file is sound, but what it holds is too large to compute with."""
        loaded = load_model(rewrite({}, {name: np.full_like(rewrite.tensors[name], value)}))
        with pytest.raises(DataError, match="row 1: the probabilities are not finite numbers"):
            loaded.predict(blobs.test.features)

    def test_words_for_features_are_a_data_error(self, model):
        with pytest.raises(DataError):
            model.predict(np.array([["a"] * 7]))

    def test_accuracy_names_a_class_the_model_does_not_know(self, model, blobs):
        with pytest.raises(DataError, match="'99'"):
            model.accuracy(Examples(blobs.test.features[:2], np.array([10, 99])))

    def test_accuracy_is_the_share_of_right_labels(self, model, blobs):
        features = blobs.test.features[:4]
        right = model.predict(features)
        wrong = np.where(right == 10, 20, 10)
        assert model.accuracy(Examples(features, np.array([*right[:3], wrong[3]]))) == 0.75


class Frame:
    """Stands for a pandas DataFrame."""

    def __init__(self, columns, values):
        self.columns, self.values, self.shape, self.ndim = columns, values, values.shape, 2

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __len__(self):
        return len(self.values)


@pytest.fixture(scope="module")
def named(blobs, tmp_path_factory):
    def examples(table):
        return Examples(Frame([*"abcdefg"], table.features), blobs.classes[table.labels], label_name="kind")

    path = tmp_path_factory.mktemp("named") / "m"
    data = make_dataset("named", examples(blobs.train), examples(blobs.test))
    manyhands.train(data, hidden=(4,), epochs=20, batch=20).save(path)
    return load_model(path)


class TestNames:
    """Columns with names may stand in any order."""

    def test_names_come_back(self, named):
        assert (named.feature_names, named.label_name) == (tuple("abcdefg"), "kind")

    def test_another_order_gives_the_same_predictions(self, named, blobs):
        features, labels = blobs.test.features, blobs.classes[blobs.test.labels]
        turned = Frame([*"gfedcba"], features[:, ::-1])
        np.testing.assert_array_equal(named.predict_proba(turned), named.predict_proba(features))
        assert named.accuracy(Examples(turned, labels)) == named.accuracy(Examples(features, labels))
        np.testing.assert_array_equal(named.in_order(Examples(turned, labels)).features, features)

    @pytest.mark.parametrize("columns", ["abcdefG", "abcdef", "abcdefgh", "aabcdef"])
    def test_other_columns_are_refused(self, named, columns):
        with pytest.raises(DataError, match="feature names should match"):
            named.predict(Frame([*columns], np.zeros((2, len(columns)))))

    def test_a_data_set_puts_test_columns_in_order(self, blobs):
        labels = blobs.classes[blobs.test.labels]
        train = Examples(Frame([*"abcdefg"], blobs.test.features), labels)
        test = Examples(Frame([*"gfedcba"], blobs.test.features[:, ::-1]), labels)
        np.testing.assert_array_equal(make_dataset("d", train, test).test.features, blobs.test.features)


class TestDamage:
    @pytest.mark.parametrize(
        ("content", "words"),
        [(b"", "damaged"), (b"five,two\n5,2\n" * 99, "damaged"), (b"\xff" * 64, "damaged"), (bytes(64), "model")],
        ids=["empty", "text", "ones", "zeros"],
    )
    def test_other_files(self, folder, content, words):
        target = folder / "other"
        target.write_bytes(content)
        with pytest.raises(ModelFileError, match=words):
            load_model(target)

    def test_missing_file(self, folder):
        with pytest.raises(ModelFileError, match=r"nothing\.safetensors: there is no such file"):
            load_model(folder / "nothing.safetensors")

    @pytest.mark.parametrize("path", ["a\0b", "\ud800", "", "n" * 300, "~/none"])
    def test_path_that_no_model_can_have(self, path):
        with pytest.raises(ModelFileError) as caught:
            load_model(path)
        assert str(caught.value).isprintable()

    def test_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ModelFileError, match="it is no ordinary file"):
            load_model(tmp_path / "pipe")

    def test_folder(self, folder):
        with pytest.raises(ModelFileError, match=folder.name):
            load_model(folder)

    def test_a_pipe_is_not_waited_for(self, folder):
        os.mkfifo(folder / "pipe")
        with pytest.raises(ModelFileError, match="no ordinary file"):
            load_model(folder / "pipe")

    @pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
    def test_names_that_no_file_can_have(self, name):
        with pytest.raises(ModelFileError):
            load_model(name)

    def test_message_names_the_file(self, rewrite):
        with pytest.raises(ModelFileError, match=r"rewritten\.safetensors: "):
            load_model(with_settings(rewrite, hidden=[5]))

    @QUICK
    @given(data=st.data())
    def test_truncated_anywhere(self, path, folder, data):
        content = path.read_bytes()
        target = folder / "short"
        target.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(ModelFileError):
            load_model(target)

    def test_a_learner_that_is_not_known(self, rewrite):
        with pytest.raises(ModelFileError, match=r"of the learner 'mine', which is not known here .*register first"):
            load_model(rewrite({"learner": "mine"}))

    def test_something_appended(self, path, folder):
        target = folder / "long"
        target.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(ModelFileError):
            load_model(target)

    def test_a_flipped_bit_is_never_another_model(self, path, folder):
        """With a checksum over all that is in it; 300 places and bits."""
        content, target = path.read_bytes(), folder / "bit"
        for bit in np.random.default_rng(12).integers(0, 8 * len(content), 300):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << (bit % 8)
            target.write_bytes(flipped)
            with pytest.raises(ModelFileError):
                load_model(target)

    def test_another_weight_has_another_checksum(self, rewrite, path):
        with safe_open(path, framework="numpy") as file:
            checksum = file.metadata()["sha256"]
        load_model(rewrite({"sha256": checksum}))
        changed = rewrite.tensors["weights.0"].copy()
        changed[0, 0] = np.nextafter(changed[0, 0], 1)
        with pytest.raises(ModelFileError, match="do not have the checksum"):
            load_model(rewrite({"sha256": checksum}, {"weights.0": changed}))
        with pytest.raises(ModelFileError, match="do not have the checksum"):
            load_model(rewrite({"sha256": checksum, "name": "other"}))

    def test_a_file_of_before_checksums_and_names_loads(self, rewrite, model, blobs):
        loaded = load_model(rewrite())
        assert loaded.feature_names is None
        assert (loaded.predict(blobs.test.features) == model.predict(blobs.test.features)).all()

    def test_a_part_that_is_not_known_is_refused(self, rewrite):
        with pytest.raises(ModelFileError, match="has a part 'sha257'"):
            load_model(rewrite({"sha257": ""}))

    @pytest.mark.parametrize("length", [0, 1, 2**40, 2**63, 2**64 - 1])
    def test_headers_of_absurd_lengths(self, path, folder, length):
        target = folder / "header"
        target.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
        with pytest.raises(ModelFileError):
            load_model(target)

    @QUICK
    @given(data=st.data())
    def test_flipped_bytes(self, path, folder, data):
        """A flip may leave a file that is good in itself (another weight); any other end is the one error."""
        content = bytearray(path.read_bytes())
        places = st.integers(0, len(content) - 1)
        for place, bits in data.draw(st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4)):
            content[place] ^= bits
        target = folder / "flipped"
        target.write_bytes(content)
        assert_loads_or_refuses(target)

    @pytest.mark.parametrize("text", [None, "manyhands.model/2", ""])
    def test_unknown_format(self, rewrite, text):
        with pytest.raises(ModelFileError, match="not a manyhands model"):
            load_model(rewrite({"format": text}))

    def test_tensors_of_another_program(self, folder):
        target = folder / "other.safetensors"
        target.write_bytes(save_tensors({"x": np.zeros(3)}))
        with pytest.raises(ModelFileError, match="not a manyhands model"):
            load_model(target)

    @pytest.mark.parametrize("name", ["scale", "shift", "weights.0", "biases.2"])
    def test_missing_tensor(self, rewrite, name):
        with pytest.raises(ModelFileError, match=name):
            load_model(rewrite(changed_tensors={name: None}))

    @pytest.mark.parametrize("name", ["settings", "classes"])
    def test_missing_text(self, rewrite, name):
        with pytest.raises(ModelFileError, match=name):
            load_model(rewrite({name: None}))

    def test_tensor_too_many(self, rewrite):
        with pytest.raises(ModelFileError, match="more arrays"):
            load_model(rewrite(changed_tensors={"weights.3": np.zeros((3, 3), np.float32)}))

    @pytest.mark.parametrize("name", ["scale", "shift", "weights.0", "biases.0", "weights.2", "biases.2"])
    @pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: x[None], lambda x: x[:0], lambda x: x.ravel()[0]])
    def test_wrong_shape(self, rewrite, name, change):
        changed = np.array(change(rewrite.tensors[name]))
        with pytest.raises(ModelFileError):
            load_model(rewrite(changed_tensors={name: changed}))

    @pytest.mark.parametrize("dtype", [np.float16, np.int32, np.uint8, np.complex64])
    @pytest.mark.parametrize("name", ["scale", "weights.1", "biases.1"])
    def test_wrong_dtype(self, rewrite, name, dtype):
        with pytest.raises(ModelFileError, match="float"):
            load_model(rewrite(changed_tensors={name: rewrite.tensors[name].astype(dtype)}))

    @pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "F8_E8M0", "F4", "F6_E2M3", "BOOL"])
    def test_dtype_that_numpy_lacks(self, folder, rewrite, kind):
        """The format knows more dtypes than NumPy; written by hand, as safetensors.numpy cannot."""
        bits = {"BF16": 16, "F4": 4, "F6_E2M3": 6}.get(kind, 8)
        scale = {"dtype": kind, "shape": [8], "data_offsets": [0, bits]}
        header = json.dumps({"__metadata__": rewrite.texts, "scale": scale}).encode()
        target = folder / kind
        target.write_bytes(len(header).to_bytes(8, "little") + header + bytes(bits))
        with pytest.raises(ModelFileError):
            load_model(target)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("name", ["scale", "shift", "weights.1", "biases.2"])
    def test_values_that_are_not_finite(self, rewrite, name, value):
        changed = rewrite.tensors[name].copy()
        changed.flat[-1] = value
        with pytest.raises(ModelFileError, match=f"{name} has values that are not finite"):
            load_model(rewrite(changed_tensors={name: changed}))

    @pytest.mark.parametrize("name", ["scale", "shift"])
    def test_scaling_too_large_for_the_network(self, rewrite, name):
        """Finite as float64, as the file has it, but not as the float32 that the network computes with."""
        with pytest.raises(ModelFileError, match=name):
            load_model(rewrite(changed_tensors={name: np.full(7, 1e300)}))


class TestDescription:
    """What stands in the texts of the file contradicts itself or the arrays."""

    @pytest.mark.parametrize(
        "text",
        ["", "no JSON", "null", "[]", "{}", '{"hidden": [4, 3]', "[" * 100_000, '{"hidden": [4, 3], "magic": 1}'],
        ids=lambda text: text[:20],
    )
    @pytest.mark.parametrize("name", ["settings", "classes"])
    def test_texts_that_are_no_description(self, rewrite, name, text):
        with pytest.raises(ModelFileError):
            load_model(rewrite({name: text}))

    @pytest.mark.parametrize(
        "text", ["NaN", "Infinity", "1e999", '"128"', "true", "null", "[1]", "", "1" * 400, "0x80", "12 8"]
    )
    def test_thresholds_that_cannot_be(self, rewrite, text):
        with pytest.raises(ModelFileError, match=r"rewritten\.safetensors: "):
            load_model(rewrite({"threshold": text}))

    @pytest.mark.parametrize(
        "text",
        [
            *("", "null", "[]", "{}", '{"features": "abcdefg", "label": null}', '{"features": ["a"], "label": null}'),
            *('{"features": [1, 2, 3, 4, 5, 6, 7], "label": null}', '{"features": ["a","b","c","d","e","f","g"]}'),
            '{"features": ["a","b","c","d","e","f","g"], "label": 3}',
        ],
    )
    def test_columns_that_cannot_be(self, rewrite, text):
        with pytest.raises(ModelFileError, match=r"rewritten\.safetensors: "):
            load_model(rewrite({"columns": text}))

    def test_unknown_setting_is_named(self, rewrite):
        with pytest.raises(ModelFileError, match="depth"):
            load_model(with_settings(rewrite, depth=3))

    @pytest.mark.parametrize(
        "changes",
        [
            {"hidden": [4, -3]},
            {"hidden": [4, 0]},
            {"hidden": [4]},
            {"hidden": [4, 3, 3]},
            {"hidden": []},
            {"hidden": [[4], 3]},
            {"hidden": None},
            {"hidden": 4},
            {"hidden": [4, float("nan")]},
            {"hidden": [4, float("inf")]},
            {"hidden": "43"},
            {"hidden": [4.7, 3]},
            {"activation": "cubic"},
            {"activation": ["relu"]},
            {"optimizer": "lbfgs"},
            {"dtype": "float16"},
            {"dtype": "float64"},
            {"dtype": None},
            {"learning_rate": -1},
            {"learning_rate": "fast"},
            {"learning_rate": float("nan")},
            {"learning_rate": 10**400},
            {"l2": 10**400},
            {"momentum": None},
            {"beta_2": 1.0},
            {"epsilon": 0},
            {"nesterov": "no"},
        ],
        ids=lambda changes: str(changes)[:40],
    )
    def test_settings_that_cannot_be(self, rewrite, changes):
        with pytest.raises(ModelFileError):
            load_model(with_settings(rewrite, **changes))

    @pytest.mark.parametrize("hidden", [[10**9], [10**30], [4, 10**12], [1] * 50_000], ids=lambda h: str(h)[:20])
    def test_absurd_widths_reserve_no_memory(self, rewrite, hidden):
        target = with_settings(rewrite, hidden=hidden)
        assert peak_of_refusal(target) < 20_000_000

    def test_absurd_label_reserves_no_memory(self, rewrite):
        """NumPy gives every word the room of the longest: 100 kB of file would become 160 MB, and 10 MB a terabyte."""
        target = with_classes(rewrite, ["x" * 100_000, *map(str, range(400))], "str")
        assert peak_of_refusal(target) < 20_000_000

    @pytest.mark.parametrize(
        ("labels", "kind"),
        [
            ([10, 20, 20], "int"),
            (["a", "b", "a"], "str"),
            (["a", "b", "b\0"], "str"),  # NumPy drops the NUL, and then they are the same
            ([10, 20], "int"),
            ([10, 20, 30, 40], "int"),
            ([], "int"),
            ([10, 20, 30], "str"),
            (["a", "b", "c"], "int"),
            ([10, 20, 30], "float"),
            ([10, 20, 30], None),
            ([10, 20, 30], []),
            ([10, 20, 3.5], "int"),
            ([10, 20, True], "int"),
            ([10, 20, None], "int"),
            ([10, 20, [30]], "int"),
            ([10, 20, 10**30], "int"),
            ("abc", "str"),
            (None, "str"),
            ({"a": 1}, "str"),
        ],
        ids=str,
    )
    def test_classes_that_cannot_be(self, rewrite, labels, kind):
        with pytest.raises(ModelFileError):
            load_model(with_classes(rewrite, labels, kind))

    @QUICK
    @given(data=st.data())
    def test_any_json_for_any_setting(self, rewrite, data):
        values = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=4,
        )
        name = data.draw(st.sampled_from(sorted(json.loads(rewrite.texts["settings"]))))
        assert_loads_or_refuses(with_settings(rewrite, **{name: data.draw(values)}))


def assert_loads_or_refuses(target):
    """Whatever is in the file: a model that works, or the one error."""
    try:
        model = load_model(target)
    except ModelFileError:
        return
    assert isinstance(model, TrainedModel)
    try:
        found = model.predict_proba(np.zeros((1, len(model.scaling.scale)), np.uint8))
    except ManyhandsError:
        return
    assert found.shape == (1, len(model.classes))


def peak_of_refusal(target):
    """Bytes reserved at most while the file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            load_model(target)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
