"""The volume kernels against the runtime's NumPy path, on a GPU or the emulator."""

import ctypes

import numpy as np

from msdk_rt.backends.volume_kernels import Windows, windows_of
from msdk_rt.inference import nnunet_windows
from msdk_rt.inference.labels import label_voxels, probabilities_of
from msdk_rt.inference.normalisation import normalize
from msdk_rt.inference.sums import SumsInFloat16
from msdk_rt.inference.windows import blend_windows, importance, plan_windows
from tests.gpu.device import Array, Device, DeviceError

TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}
SHAPES = ((1, 1, 1), (3, 5, 7), (17, 1, 33), (19, 23, 21))
i64, i32 = ctypes.c_int64, ctypes.c_int


def plan_of(channels: int, volume: tuple, window: tuple, starts: Array) -> Windows:
    return windows_of(channels, volume, window, starts.shape[0], starts._as_parameter_.value)


def normalized(device: Device, volume: np.ndarray) -> np.ndarray:
    library = device.library("msdk_volume")
    sizes = i64(len(volume)), i64(volume[0].size)
    size = library.size("msdk_volume_normalize_workspace", *sizes)
    workspace, result = device.empty((size,), np.uint8), device.empty(volume.shape)
    library.msdk_volume_normalize(device.put(volume), result, *sizes, workspace, None)
    return result.get()


def check_normalize(device: Device) -> int:
    """Channels like MRI, all zero, constant, and far from zero, where float32 sums fail."""
    rng = np.random.default_rng(21)
    for shape in (*SHAPES, (40, 41, 43)):
        scan = rng.gamma(2, 300, shape).astype(np.float32) * (rng.random(shape) < 0.6)
        far = (1e6 + rng.standard_normal(shape)).astype(np.float32)
        volume = np.stack([scan, np.zeros_like(scan), np.full_like(scan, 3.1), -scan, far])
        actual, expected = normalized(device, volume), normalize(volume)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6, err_msg=str(shape))
        np.testing.assert_array_equal(actual == 0, expected == 0, err_msg=str(shape))
        np.testing.assert_array_equal(normalized(device, volume), actual, err_msg="a second run differs")
    return len(SHAPES) + 1


def blended(
    device: Device, volume, window, predict, starts, weights, batch_size, dtype, sums=0, folds=1
) -> np.ndarray:
    """blend_windows with every step of it but the network on the device. sums: a value of TYPES."""
    library = device.library("msdk_volume")
    kind = TYPES[np.dtype(dtype)]
    missing = np.maximum(0, np.subtract(window, volume.shape[1:]))
    source, weights = device.put(volume), device.put(weights)
    total = weight_sum = None
    for first in range(0, len(starts), batch_size):
        batch = device.put(np.array(starts[first : first + batch_size], np.int64) - missing // 2)
        plan = plan_of(len(volume), volume.shape[1:], window, batch)
        cut = device.empty((batch.shape[0], len(volume), *window), dtype)
        library.msdk_volume_gather(ctypes.byref(plan), source, 0, cut, kind, None)
        logits = predict(cut.get().astype(np.float32)).astype(dtype)
        if total is None:
            total = device.put(np.zeros((logits.shape[1], *volume.shape[1:]), np.float32))
            weight_sum = device.put(np.zeros(volume.shape[1:], np.float32))
        plan.channels = logits.shape[1]
        not_finite = device.put(np.zeros(len(logits), np.int32))
        library.msdk_volume_accumulate(
            ctypes.byref(plan),
            device.put(logits),
            kind,
            1,
            weights,
            sums,
            total,
            weight_sum,
            not_finite,
            None,
        )
        expected = [int(not np.isfinite(window_logits).all()) for window_logits in logits]
        np.testing.assert_array_equal(not_finite.get(), expected)
    classes, too_large = total.shape[0] // folds, device.put(np.zeros(1, np.int32))
    sizes = i64(folds), i64(classes), i64(weight_sum.get().size)
    library.msdk_volume_divide(total, weight_sum, *sizes, sums, too_large, None)
    result = total.get()[:classes]
    assert too_large.get() == (not np.isfinite(result).all())
    return result


def network_of(rng: np.random.Generator, channels: int, classes: int):
    """Voxelwise classes that also depend on where in its window a voxel is, as a real network's do."""
    mix = rng.standard_normal((classes, channels)).astype(np.float32)

    def predict(windows: np.ndarray) -> np.ndarray:
        tilt = np.linspace(-1, 1, windows[0, 0].size, dtype=np.float32).reshape(windows.shape[2:])
        return np.einsum("kc,bcdhw->bkdhw", mix, windows) + tilt

    return predict


def check_blend(device: Device) -> int:
    """Volumes larger and smaller than the window, cut, blended and divided: float32 as NumPy rounds it."""
    rng = np.random.default_rng(22)
    cases = 0
    for shape, window, batch in (
        ((19, 23, 21), (8, 9, 10), 3),
        ((5, 12, 9), (8, 9, 10), 2),
        ((3, 4, 5), (4, 7, 6), 1),
        ((1, 1, 1), (1, 1, 1), 1),
        ((6, 6, 6), (6, 6, 6), 4),
    ):
        volume = rng.standard_normal((2, *shape)).astype(np.float32)
        starts = plan_windows(shape, window, 0.5)
        weights = importance(window, "gaussian", 0.125)
        predict = network_of(rng, 2, 3)
        expected = blend_windows(volume, window, predict, starts, weights, batch)
        actual = blended(device, volume, window, predict, starts, weights, batch, np.float32)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7, err_msg=f"{shape} {window}")
        rough = blended(device, volume, window, predict, starts, weights, batch, np.float16)
        np.testing.assert_allclose(rough, expected, rtol=3e-3, atol=5e-3, err_msg=f"{shape} {window}")
        arguments = volume, window, network_of(rng, 2, 9), starts, weights, batch
        expected, actual = (
            blend_windows(*arguments, folds=3),
            blended(device, *arguments, np.float32, folds=3),
        )
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7, err_msg=f"{shape} folds")
        cases += 3
    return cases


def check_sums_in_half(device: Device) -> int:
    """nnU-Net's sums: the host's bit for bit, with its weights down to float16's smallest; and too large."""
    rng = np.random.default_rng(26)
    for shape, window, batch, folds in (
        ((19, 23, 21), (8, 9, 10), 3, 1),
        ((3, 12, 9), (4, 9, 10), 2, 1),
        ((19, 23, 21), (8, 9, 10), 3, 5),
        ((3, 12, 9), (4, 9, 10), 2, 2),
    ):
        volume = (20 * rng.standard_normal((2, *shape))).astype(np.float32)
        starts = nnunet_windows.plan_windows(shape, window, 0.5)
        weights = nnunet_windows.importance(window, "gaussian", 0.125)
        predict = network_of(rng, 2, 3 * folds)
        arguments = volume, window, predict, starts, weights, batch
        expected = blend_windows(*arguments, sums=SumsInFloat16(), folds=folds)
        actual = blended(device, *arguments, np.float32, sums=TYPES[np.dtype(np.float16)], folds=folds)
        np.testing.assert_array_equal(actual, expected, err_msg=f"{shape} {window}")
        np.testing.assert_array_equal(actual.astype(np.float16), actual)
        large = 1e6 * volume, *arguments[1:]
        assert not np.isfinite(blended(device, *large, np.float32, sums=1, folds=folds)).all()
    return 8


def check_values_that_are_not_finite(device: Device) -> int:
    """Windows with a NaN or an infinity are reported, even where that lies beyond the volume; no others."""
    library = device.library("msdk_volume")
    volume, window = (4, 4, 4), (3, 3, 3)
    starts = device.put(np.array([[0, 0, 0], [1, 1, 1], [-2, 0, 0], [1, 0, 1]], np.int64))
    logits = np.ones((4, 2, *window), np.float16)
    logits[1, 1, 2, 2, 2], logits[2, 0, 0, 0, 0] = np.inf, np.nan
    total, weight_sum = (device.put(np.zeros(shape, np.float32)) for shape in ((2, *volume), volume))
    not_finite = device.put(np.zeros(4, np.int32))
    plan = plan_of(2, volume, window, starts)
    weights = device.put(np.ones(window, np.float32))
    library.msdk_volume_accumulate(
        ctypes.byref(plan), device.put(logits), 1, 1, weights, 0, total, weight_sum, not_finite, None
    )
    np.testing.assert_array_equal(not_finite.get(), [0, 1, 1, 0])
    assert not np.isnan(total.get()).any()
    return 1


def check_mirroring(device: Device) -> int:
    """Windows mirrored along every combination of axes, their logits mirrored back and averaged."""
    rng = np.random.default_rng(24)
    library = device.library("msdk_volume")
    volume, window, planes = rng.standard_normal((2, 5, 6, 7)).astype(np.float32), (3, 4, 5), 2
    starts = np.array([[0, 0, 0], [-1, 2, 1], [2, 2, 2]], np.int64)
    on_device = device.put(starts)
    plan = plan_of(planes, volume.shape[1:], window, on_device)
    cuts = {kind: device.empty((3, planes, *window), dtype) for dtype, kind in TYPES.items()}
    padded = np.pad(volume, [(0, 0), *[(1, 1)] * 3])
    boxes = [
        tuple(slice(s + 1, s + 1 + side) for s, side in zip(start, window, strict=True)) for start in starts
    ]
    windows = np.stack([padded[(slice(None), *box)] for box in boxes])
    total = device.put(np.zeros_like(windows))
    for mirror in range(8):
        axes = tuple(axis + 2 for axis in range(3) if mirror >> axis & 1)
        for dtype, kind in TYPES.items():
            arguments = device.put(volume), mirror, cuts[kind], kind, None
            library.msdk_volume_gather(ctypes.byref(plan), *arguments)
            np.testing.assert_array_equal(
                cuts[kind].get(), np.flip(windows, axes).astype(dtype), err_msg=str(axes)
            )
        library.msdk_volume_add_mirrored(ctypes.byref(plan), cuts[0], mirror, total, None)
    expected = np.zeros_like(windows)
    for _ in range(8):
        expected += windows
    np.testing.assert_array_equal(total.get(), expected)
    averaged, weight_sum = (
        device.put(np.zeros(shape, np.float32)) for shape in (volume.shape, volume.shape[1:])
    )
    weights, flags = device.put(np.ones(window, np.float32)), device.put(np.zeros(3, np.int32))
    library.msdk_volume_accumulate(
        ctypes.byref(plan), total, 0, 8, weights, 0, averaged, weight_sum, flags, None
    )
    covered = weight_sum.get() > 0
    np.testing.assert_allclose(
        averaged.get()[:, covered] / weight_sum.get()[covered], volume[:, covered], rtol=1e-5
    )
    return 8 * 3


def check_counting(device: Device) -> int:
    """NaN and infinities of every channel."""
    library = device.library("msdk_volume")
    for shape in SHAPES:
        volume = np.ones((3, *shape), np.float32)
        volume[1].flat[0], volume[2].flat[-1] = np.nan, -np.inf
        counts = device.put(np.zeros((3, 2), np.int64))
        sizes = i64(3), i64(volume[0].size)
        library.msdk_volume_count_not_finite(device.put(volume), *sizes, counts, None)
        np.testing.assert_array_equal(counts.get(), [[0, 0], [1, 0], [0, 1]], err_msg=str(shape))
    return len(SHAPES)


def check_labels(device: Device) -> int:
    """Ties, NaN, one class, values above 255; softmax and sigmoid, labels and probabilities."""
    rng = np.random.default_rng(23)
    library = device.library("msdk_volume")
    for shape in SHAPES:
        for values in ((7,), (0, 1, 2, 4), (0, 300, 5)):
            logits = rng.standard_normal((len(values), *shape)).astype(np.float32).round(1) * 8
            logits[rng.integers(len(values))].flat[0] = np.nan
            sizes, table = (i64(len(values)), i64(logits[0].size)), device.put(np.array(values, np.int32))
            for activation in ("softmax", "sigmoid"):
                expected = label_voxels(logits, values, activation)
                labels = device.put(np.full(shape, 99, expected.dtype))
                sigmoid = i32(activation == "sigmoid")
                library.msdk_volume_labels(
                    device.put(logits), table, *sizes, sigmoid, labels, expected.itemsize, None
                )
                np.testing.assert_array_equal(
                    labels.get(), expected, err_msg=f"{shape} {values} {activation}"
                )
                finite = np.nan_to_num(logits, nan=200)
                probabilities = device.put(finite)
                library.msdk_volume_probabilities(probabilities, *sizes, sigmoid, None)
                expected = probabilities_of(finite, activation)
                np.testing.assert_allclose(probabilities.get(), expected, rtol=1e-5, atol=1e-6)
    return len(SHAPES) * 3 * 2


def check_refusals(device: Device) -> int:
    """Sizes that make no sense are refused with a sentence, before anything is launched."""
    library = device.library("msdk_volume")
    starts = device.put(np.zeros((1, 3), np.int64))
    bad_side, good = (plan_of(1, (2, 2, 2), side, starts) for side in ((2, 0, 2), (2, 2, 2)))
    cases = (
        ("msdk_volume_gather", (ctypes.byref(bad_side), starts, 0, starts, 0, None), "at least 1"),
        ("msdk_volume_gather", (ctypes.byref(good), starts, 0, starts, 2, None), "MSDK_FLOAT16"),
        ("msdk_volume_gather", (ctypes.byref(good), starts, 8, starts, 0, None), "mirror of 0 to 7"),
        ("msdk_volume_add_mirrored", (ctypes.byref(good), starts, -1, starts, None), "mirror of 0 to 7"),
        (
            "msdk_volume_accumulate",
            (ctypes.byref(good), starts, 0, 0, starts, 0, *[starts] * 3, None),
            "at least 1 view",
        ),
        (
            "msdk_volume_accumulate",
            (ctypes.byref(good), starts, 0, 1, starts, 2, *[starts] * 3, None),
            "sums MSDK_FLOAT32 or",
        ),
        (
            "msdk_volume_divide",
            (starts, starts, *[i64(1)] * 3, -1, starts, None),
            "sums MSDK_FLOAT32 or",
        ),
        ("msdk_volume_divide", (starts, starts, i64(0), i64(1), i64(1), 0, starts, None), "at least 1 fold"),
        ("msdk_volume_labels", (starts, starts, i64(0), i64(1), 0, starts, 1, None), "at least 1 class"),
        ("msdk_volume_labels", (starts, starts, i64(1), i64(1), 0, starts, 3, None), "1 or 2 bytes"),
        ("msdk_volume_normalize", (starts, starts, i64(70000), i64(1), starts, None), "65535"),
        (
            "msdk_volume_divide",
            (starts, starts, i64(1), i64(1 << 20), i64(1 << 30), 0, starts, None),
            "2^31 blocks",
        ),
    )
    for name, arguments, words in cases:
        sentence = refusal(getattr(library, name), *arguments)
        assert words in sentence, f"{name}: {sentence}"
    return len(cases)


def refusal(call, *arguments) -> str:
    """The sentence that the call fails with, or nothing."""
    try:
        call(*arguments)
    except DeviceError as error:
        return str(error)
    return ""


CHECKS = (
    check_normalize,
    check_counting,
    check_blend,
    check_sums_in_half,
    check_mirroring,
    check_values_that_are_not_finite,
    check_labels,
    check_refusals,
)
