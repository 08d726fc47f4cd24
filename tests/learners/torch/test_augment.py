"""Random changes of batches: what they move, and that they depend on seed, worker and step alone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from manyhands.core.choices import AUGMENTATIONS  # noqa: E402
from manyhands.core.errors import SettingsError  # noqa: E402
from manyhands.learners.torch.augment import CROP_PIXELS, SHIFT_PIXELS, Augmentation  # noqa: E402

CPU = torch.device("cpu")


def images(rows=40, channels=1, height=16, width=20):
    """A bright block on black, off the middle, so that every change shows."""
    found = torch.zeros(rows, channels, height, width)
    found[:, :, 5:9, 6:13] = 1
    return found


def middle(batch):
    """The mean place of the light in each image, (rows, 2), in pixels."""
    light = batch.sum(1)
    total = light.sum((1, 2))
    down = (light.sum(2) * torch.arange(batch.shape[2])).sum(1) / total
    right = (light.sum(1) * torch.arange(batch.shape[3])).sum(1) / total
    return torch.stack([down, right], 1)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_it_changes_images_by_what_seed_worker_and_step_say(name):
    batch, found = images(), {}
    for seed, rank, step in [(1, 0, 0), (1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]:
        changed = Augmentation([name], seed, rank, CPU)(batch, step)
        assert changed.shape == batch.shape
        assert changed.is_contiguous(memory_format=torch.channels_last)
        found.setdefault((seed, rank, step), set()).add(changed.numpy().tobytes())
    assert [len(each) for each in found.values()] == [1, 1, 1, 1]
    assert len(set.union(*found.values())) == 4
    assert (batch == images()).all()


def test_none_is_none():
    batch = images()
    assert Augmentation([], 0, 0, CPU)(batch, 0) is batch


def test_a_shift_moves_by_some_pixels_and_keeps_the_light():
    batch = images()
    changed = Augmentation(["shift"], 3, 0, CPU)(batch, 0)
    moved = middle(changed) - middle(batch)
    assert moved.abs().max() <= SHIFT_PIXELS + 1e-4
    assert moved.std(0).min() > SHIFT_PIXELS / 4
    np.testing.assert_allclose(changed.sum((1, 2, 3)), batch.sum((1, 2, 3)), rtol=1e-4)


def test_a_rotation_keeps_lengths_though_the_image_is_no_square():
    batch = torch.zeros(30, 1, 16, 20)
    batch[:, :, 8, 16] = 1  # a dot on the right
    place = torch.tensor([8 - 7.5, 16 - 9.5])
    found = middle(Augmentation(["rotate"], 3, 0, CPU)(batch, 0)) - torch.tensor([7.5, 9.5])
    np.testing.assert_allclose(found.norm(dim=1), float(place.norm()), atol=0.2)
    assert found[:, 0].std() > 0.5


def test_a_scale_makes_larger_and_smaller():
    light = Augmentation(["scale"], 3, 0, CPU)(images(), 0).sum((1, 2, 3)) / images().sum((1, 2, 3))
    assert light.min() < 0.95
    assert light.max() > 1.05


def test_a_flip_mirrors_some_and_leaves_others():
    batch = images()
    changed = Augmentation(["flip"], 3, 0, CPU)(batch, 0)
    mirrored = (changed == batch.flip(3)).all(dim=3).all(dim=2).all(dim=1)
    assert 0 < int(mirrored.sum()) < len(batch)
    assert ((changed == batch).all(dim=3).all(dim=2).all(dim=1) | mirrored).all()


def test_a_crop_moves_by_whole_pixels():
    batch = images(200, channels=3)
    moved = middle(Augmentation(["crop"], 3, 0, CPU)(batch, 0)) - middle(batch)
    assert set(moved.round(decimals=3).flatten().tolist()) == {float(n) for n in range(-CROP_PIXELS, CROP_PIXELS + 1)}


def test_rows_are_refused():
    with pytest.raises(SettingsError, match="augment"):
        Augmentation(["shift"], 0, 0, CPU)(torch.zeros(3, 7), 0)


def test_a_shear_moves_rows_aside_and_keeps_them():
    sheared = Augmentation(["shear"], 0, 0, CPU)(images(), 3)
    assert (sheared != images()).any()
    assert abs(float(middle(sheared)[:, 1].mean()) - float(middle(images())[:, 1].mean())) < 1.0


def test_thickness_changes_how_much_light_there_is():
    before, after = (
        batch.sum(dim=(1, 2, 3)) for batch in (images(), Augmentation(["thickness"], 0, 0, CPU)(images(), 3))
    )
    assert (after > 1.02 * before).any()
    assert (after < 0.98 * before).any()
    assert (after == before).any()


def test_handwriting_is_all_of_hand_and_pen():
    one = Augmentation(["handwriting"], 0, 0, CPU)(images(), 3)
    other = Augmentation(["shift", "rotate", "scale", "shear", "elastic", "thickness"], 0, 0, CPU)(images(), 3)
    assert (one == other).all()
