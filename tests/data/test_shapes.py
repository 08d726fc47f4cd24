"""The shape that flat rows are given, and what keeps its own."""

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DataError, SettingsError
from manyhands.core.shapes import ImageShape, check_shape, read_shape
from manyhands.data.catalog import DataRequest, load, load_test
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.shapes import shaped

LABELS = np.arange(12) % 2


def table(*shape):
    return Examples(np.arange(12 * np.prod(shape), dtype=np.uint8).reshape(12, *shape), LABELS)


def test_csv_files_can_be_images(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{row % 2},{row},2,3,4,5,{row}\n" for row in range(20)))
    request = DataRequest(train_csv=path, test_csv=path, shape=[1, 2, 3])  # a list, as from JSON
    flat, found = load(DataRequest(train_csv=path, test_csv=path)), load(request)
    assert (flat.train.sample_shape, found.train.sample_shape, found.test.sample_shape) == ((6,), (1, 2, 3), (1, 2, 3))
    np.testing.assert_array_equal(found.train.features, flat.train.features)
    assert found.identity == flat.identity
    assert load_test(DataRequest(test_csv=path, shape=(1, 2, 3))).sample_shape == (1, 2, 3)
    result = manyhands.train(train_csv=path, test_csv=path, shape=(3, 2, 1), epochs=1)
    assert result.model.predict(found.test.features).shape == (20,)  # flat rows


@pytest.mark.parametrize("own", [(2, 3), (1, 2, 3)])
def test_images_keep_their_shape(own):
    assert shaped(table(*own), None).sample_shape == (1, 2, 3)
    assert shaped(table(*own), (1, 2, 3)).sample_shape == (1, 2, 3)
    with pytest.raises(SettingsError, match=r"shape=\(3, 2, 1\): the samples are 1 x 2 x 3 already"):
        shaped(table(*own), ImageShape(3, 2, 1))


def test_a_shape_of_another_size_is_refused():
    with pytest.raises(SettingsError, match=r"shape=\(1, 2, 4\): that is 8 features, and the samples have 6"):
        shaped(table(6), ImageShape(1, 2, 4))


def test_test_images_of_another_shape_are_refused():
    with pytest.raises(DataError, match="training samples have the shape 1 x 2 x 3, the test samples 1 x 3 x 2"):
        make_dataset("x", table(2, 3), table(3, 2))
    assert make_dataset("x", table(2, 3), table(6)).test.sample_shape == (1, 2, 3)


@pytest.mark.parametrize("value", [(28, 28), (1, 28, 0), (1, 2.0, 3), "1x2x3", 7, (1, True, 2)])
def test_what_is_no_shape(value):
    with pytest.raises(SettingsError, match=r"shape must be|each size of shape must be"):
        check_shape("shape", value)


@pytest.mark.parametrize("text", ["28x28", "1x2x3x4", "1x-2x3", "0x2x3", "1 x 2 x 3", "1,2,3", "", "1x2x99999999999"])
def test_what_is_no_text_of_a_shape(text):
    with pytest.raises(SettingsError, match=r"no shape; write|must be at least 1"):
        read_shape(text)
