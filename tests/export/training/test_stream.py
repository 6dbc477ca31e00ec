"""The stream of samples: what a window holds, and that it depends on seed, step and sample alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_export.training.augmentation import WindowSampler
from msdk_export.training.cases import CaseArrays
from msdk_export.training.settings import TrainingSettings
from msdk_export.training.stream import BatchStream


def case(shape, classes=None, name="case", channels=2):
    """Voxels that say where they are: the flat index plus one; in the second channel, its negative."""
    index = np.arange(1, np.prod(shape) + 1).reshape(shape)
    image = np.stack([index, -index][:channels]).astype(np.float32)
    classes = np.zeros(shape, np.uint8) if classes is None else classes
    voxels = tuple(np.flatnonzero(classes == k).astype(np.uint32) for k in range(4))
    return CaseArrays(name, image, classes, (1.0, 1.0, 1.0), voxels)


def cases(count=5):
    random = np.random.default_rng(3)
    return [case((13, 17, 11), random.integers(0, 3, (13, 17, 11), np.uint8), str(n)) for n in range(count)]


def batches(first, stop, data=None, **fields):
    given = {"window": (8, 10, 12), "augmentation": "strong", "seed": 9} | fields
    with BatchStream(data or cases(), TrainingSettings(**given)) as stream:
        return [(image.numpy(), classes.numpy()) for image, classes in stream.batches(first, stop)]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(3, 14)] * 3),
    window=st.tuples(*[st.integers(2, 9)] * 3),
    seed=st.integers(0, 99),
)
def test_a_window_is_cut_from_the_case_and_padded_as_the_runtime_pads(shape, window, seed):
    volume = case(shape)
    sampler = WindowSampler(TrainingSettings(window=window, augmentation="none"))
    image, classes = sampler.draw(volume, np.random.RandomState(seed))
    assert image.shape == (2, *window)
    assert image.dtype == np.float32
    assert (classes.shape, classes.dtype) == ((1, *window), np.uint8)
    inside = image[0] != 0
    kept = [min(pair) for pair in zip(shape, window, strict=True)]
    assert inside.sum() == np.prod(kept)
    corner = np.unravel_index(int(image[0][inside].min()) - 1, shape)
    box = tuple(slice(c, c + k) for c, k in zip(corner, kept, strict=True))
    target = tuple(slice((w - k) // 2, (w - k) // 2 + k) for w, k in zip(window, kept, strict=True))
    np.testing.assert_array_equal(image[(slice(None), *target)], volume.image[(slice(None), *box)])


def test_windows_hold_a_label_as_often_as_asked():
    classes = np.zeros((40, 40, 40), np.uint8)
    classes[3, 35, 20] = 2
    volume = case(classes.shape, classes)

    def share(foreground):
        sampler = WindowSampler(
            TrainingSettings(window=(8, 8, 8), augmentation="none", foreground=foreground)
        )
        states = (np.random.RandomState(seed) for seed in range(200))
        return np.mean([sampler.draw(volume, state)[1].any() for state in states])

    assert share(1.0) == 1
    assert share(0.0) < 0.1
    assert 0.4 < share(0.5) < 0.65


def test_every_axis_flips_only_if_it_may():
    volume = case((8, 8, 8), channels=1)

    def seen(axes):
        sampler = WindowSampler(
            TrainingSettings(window=(8, 8, 8), augmentation="light", mirror_axes=axes, foreground=0)
        )
        orders = set()
        for seed in range(60):
            image = sampler.draw(volume, np.random.RandomState(seed))[0][0]
            ends = (image[-1, 0, 0], image[0, -1, 0], image[0, 0, -1])
            orders.add(tuple(bool(image[0, 0, 0] > end) for end in ends))
        return orders

    assert len(seen(())) == 1
    assert {flips[1:] for flips in seen((0,))} == {(False, False)}
    assert len(seen((0,))) == 2
    assert len(seen((0, 1, 2))) == 8


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_depend_on_seed_step_and_sample_alone(workers):
    whole = batches(0, 6)
    for first in (0, 1, 4):
        for (image, classes), (again, same) in zip(
            whole[first:], batches(first, 6, workers=workers), strict=True
        ):
            np.testing.assert_array_equal(image, again)
            np.testing.assert_array_equal(classes, same)
    (image, classes) = whole[0]
    assert image.shape == (2, 2, 8, 10, 12)
    assert classes.dtype == np.int64
    assert not np.array_equal(image[0], image[1])
    assert not np.array_equal(batches(0, 1, seed=10)[0][0], image)


def test_an_epoch_visits_every_case_once():
    data = [case((9, 9, 9), np.full((9, 9, 9), n, np.uint8), str(n)) for n in range(4)]
    drawn = batches(0, 12, data, window=(4, 4, 4), batch_size=1, augmentation="none")
    order = [int(classes[0, 0, 0, 0, 0]) for _, classes in drawn]
    epochs = [order[start : start + 4] for start in (0, 4, 8)]
    assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_augmented_windows_are_finite_and_keep_zero_and_label_values():
    random = np.random.default_rng(0)
    volume = case((20, 20, 20), random.integers(0, 3, (20, 20, 20), np.uint8))
    volume.image[:, :, :, 10:] = 0
    sampler = WindowSampler(TrainingSettings(window=(16, 16, 16), augmentation="strong"))
    empty = case((20, 20, 20))
    empty.image[:] = 0
    changed = 0
    for seed in range(60):
        image, classes = sampler.draw(volume, np.random.RandomState(seed))
        assert np.isfinite(image).all()
        assert set(np.unique(classes)) <= {0, 1, 2}
        plain, _ = WindowSampler(TrainingSettings(window=(16, 16, 16), augmentation="none")).draw(
            volume, np.random.RandomState(seed)
        )
        changed += not np.array_equal(image, plain)
        assert not sampler.draw(empty, np.random.RandomState(seed))[0].any()
    assert changed > 40


def test_the_affine_turns_image_and_label_together():
    """A ball's image is its label. The nearest voxel is 1/8 or more of a trilinear mean: they stay near."""
    grid = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"))
    ball = (((grid - np.array([14, 11, 10])[:, None, None, None]) ** 2).sum(0) < 36).astype(np.uint8)
    volume = CaseArrays(
        "ball", ball[None].astype(np.float16), ball, (1, 1, 1), (np.array([0]), np.array([0]))
    )
    sampler = WindowSampler(TrainingSettings(window=(24, 24, 24), augmentation="strong", mirror_axes=()))
    sampler.intensity = None
    sizes = set()
    for seed in range(20):
        image, classes = sampler.draw(volume, np.random.RandomState(seed))
        assert np.abs(image - classes).max() <= 0.876
        sizes.add(int(classes.sum()))
    assert len(sizes) > 5


def test_the_caller_keeps_its_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with BatchStream(cases(), TrainingSettings(workers=2, window=(4, 4, 4))) as stream:
            list(stream.batches(0, 3))
            assert torch.get_num_threads() == 2
            assert {stream._pool.submit(torch.get_num_threads).result() for _ in range(8)} == {1}
    finally:
        torch.set_num_threads(before)
