"""The CUDA ops on a GPU against the float64 oracle. `python -m tests.gpu.op_checks FOLDER`: a small grid."""

import ctypes
import sys
from pathlib import Path

import numpy as np

from tests.gpu.device import Array, Device
from tests.support import oracle
from tests.support.cases import ScanCase
from tests.support.emulated_ops import ACTIVATIONS
from tests.support.grids import conv_grid, instance_norm_grid, kan_grid, scan_grid, token_norm_grid

FLOAT16_OVERFLOW = 65000
SMALL_UPDATES = 100_000


class ScanSizes(ctypes.Structure):
    _fields_ = (
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("states", ctypes.c_int),
        ("dt_rank", ctypes.c_int),
        ("directions", ctypes.c_char_p),
        ("scale", ctypes.c_float),
    )


class InstanceNorm(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "channels", "voxels")),
        ("epsilon", ctypes.c_float),
        ("activation", ctypes.c_int),
        ("slope", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "addend", "y", "workspace")),
    )


class ScanTensors(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("u", "x_dbl", "dt_weight", "dt_bias", "A", "D_skip", "z", "y", "workspace")
    )


class Ops:
    """The ops on a device; each takes its inputs in the op's order and returns its output there."""

    def __init__(self, device: Device):
        self.device = device
        self.library = device.library("check_ops")

    def scan(self, inputs: dict[str, np.ndarray | None], directions: str, scale: float) -> "ScanCall":
        return ScanCall(self, inputs, directions, scale)

    def conv(self, x, weight, bias, directions: str) -> np.ndarray:
        call = ConvCall(self, x, weight, bias, directions)
        call.enqueue()
        return call.u.get()

    def kan(self, x, base_weight, spline_weight, grid_min: float, grid_max: float) -> np.ndarray:
        call = KanCall(self, x, base_weight, spline_weight, grid_min, grid_max)
        call.enqueue()
        return call.y.get()

    def token_norm(self, x, weight, bias, epsilon: float) -> np.ndarray:
        y = self.device.empty(x.shape, x.dtype)
        arrays = [self.device.put(array) for array in (x, weight, bias)]
        sizes = (ctypes.c_int64 * 3)(*x.shape)
        self.library.check_token_norm(is_half(x), sizes, ctypes.c_float(epsilon), *arrays, y, None)
        return y.get()

    def instance_norm(self, x, weight, bias, addend, epsilon: float, activation: str, slope: float):
        y = self.device.empty(x.shape, x.dtype)
        given = {"x": x, "weight": weight, "bias": bias, "addend": addend}
        arrays = {name: self.device.put(array) for name, array in given.items() if array is not None}
        kind = ACTIVATIONS.index(activation)
        norm = InstanceNorm(*x.shape[:2], x[0, 0].size, epsilon, kind, slope, y=pointer_of(y))
        for name, array in arrays.items():
            setattr(norm, name, pointer_of(array))
        needed = self.library.size("check_instance_norm_workspace", is_half(x), ctypes.byref(norm))
        workspace = self.device.empty((needed,), np.uint8)
        norm.workspace = pointer_of(workspace)
        self.library.check_instance_norm(is_half(x), ctypes.byref(norm), None)
        return y.get()


class ScanCall:
    """One scan with all its tensors on the device, to be enqueued as often as wanted."""

    def __init__(self, ops: Ops, inputs: dict[str, np.ndarray | None], directions: str, scale: float):
        u, A = inputs["u"], inputs["A"]
        self._ops, self._half = ops, is_half(u)
        self._arrays = {name: ops.device.put(array) for name, array in inputs.items() if array is not None}
        rank = inputs["dt_weight"].shape[2]
        batch, _, channels, length = u.shape
        self._sizes = ScanSizes(batch, channels, length, A.shape[2], rank, directions.encode(), scale)
        needed = ops.library.size("check_scan_workspace", self._half, ctypes.byref(self._sizes))
        self._workspace = ops.device.empty((needed,), np.uint8)
        self.y = ops.device.empty((batch, channels, length), u.dtype)
        pointers = {name: pointer_of(array) for name, array in self._arrays.items()}
        self._tensors = ScanTensors(**pointers, y=pointer_of(self.y), workspace=pointer_of(self._workspace))

    def enqueue(self, stream=None) -> None:
        sizes, tensors = ctypes.byref(self._sizes), ctypes.byref(self._tensors)
        self._ops.library.check_scan(self._half, sizes, tensors, stream)

    def poison(self) -> None:
        self.y.fill(0xFF)
        self._workspace.fill(0xFF)


class ConvCall:
    """One convolution with its tensors on the device, to be enqueued as often as wanted."""

    def __init__(self, ops: Ops, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, directions: str):
        self.u = ops.device.empty((x.shape[0], len(weight), *x.shape[1:]), x.dtype)
        sizes = (ctypes.c_int64 * 4)(*x.shape, weight.shape[2])
        arrays = [ops.device.put(array) for array in (x, weight, bias)]
        self._library = ops.library
        self._arguments = is_half(x), sizes, directions.encode(), *arrays, self.u

    def enqueue(self, stream=None) -> None:
        self._library.check_conv(*self._arguments, stream)


class KanCall:
    """One KAN layer with its tensors on the device, to be enqueued as often as wanted."""

    def __init__(self, ops: Ops, x, base_weight, spline_weight, grid_min: float, grid_max: float):
        out_channels, channels, bases = spline_weight.shape
        self.y = ops.device.empty((x.shape[0], out_channels, x.shape[2]), x.dtype)
        sizes = (ctypes.c_int64 * 5)(x.shape[0], channels, out_channels, x.shape[2], bases)
        grid = ctypes.c_float(grid_min), ctypes.c_float(grid_max)
        arrays = [ops.device.put(array) for array in (x, base_weight, spline_weight)]
        self._library = ops.library
        self._arguments = is_half(x), sizes, *grid, *arrays, self.y

    def enqueue(self, stream=None) -> None:
        self._library.check_kan(*self._arguments, stream)


def pointer_of(array: Array) -> int:
    return array._as_parameter_.value


def is_half(array: np.ndarray) -> int:
    return int(array.dtype == np.float16)


def rounded(inputs: dict, names: tuple[str, ...], dtype) -> dict:
    """The inputs of type T in `dtype`; the parameters stay float32."""
    return {
        name: array.astype(dtype) if name in names and array is not None else array
        for name, array in inputs.items()
    }


def check_close(actual: np.ndarray, expected: np.ndarray, relative_l2: float, case) -> None:
    """float32: relative error. float16: rtol 3e-3, atol 5e-3, which grows with y where y is large."""
    if actual.dtype == np.float16:
        finite = np.abs(expected) <= FLOAT16_OVERFLOW
        assert np.isinf(actual[np.abs(expected) > FLOAT16_OVERFLOW + 1000]).all(), case
        atol = 5e-3 * max(1.0, np.sqrt(np.mean(expected**2)))
        np.testing.assert_allclose(actual[finite], expected[finite], rtol=3e-3, atol=atol, err_msg=str(case))
        return
    error = np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)
    assert error <= relative_l2, f"{case}: relative error {error:.2e}, at most {relative_l2:.0e} expected"


def check_scan(ops: Ops, case: ScanCase, dtype) -> None:
    inputs = rounded(case.inputs(), ("u", "x_dbl", "z"), dtype)
    call = ops.scan(inputs, case.directions, case.scale)
    call.enqueue()
    actual = call.y.get()
    expected = oracle.bidirectional_selective_scan(**inputs, directions=case.directions, scale=case.scale)
    check_close(actual, expected, 2e-6, case)
    call.poison()
    call.enqueue()
    np.testing.assert_array_equal(call.y.get(), actual, err_msg=f"{case}: a second run differs")


def check_conv(ops: Ops, case, dtype) -> None:
    inputs = rounded(case.inputs(), ("x",), dtype)
    actual = ops.conv(**inputs, directions=case.directions)
    check_close(actual, oracle.directional_conv1d(**inputs, directions=case.directions), 1e-6, case)


def check_kan(ops: Ops, case, dtype) -> None:
    inputs = rounded(case.inputs(), ("x",), dtype)
    grid = {"grid_min": case.grid_min, "grid_max": case.grid_max}
    check_close(ops.kan(**inputs, **grid), oracle.kan_linear(**inputs, **grid), 2e-6, case)


def check_token_norm(ops: Ops, case, dtype) -> None:
    inputs = rounded(case.inputs(), ("x",), dtype)
    expected = oracle.token_norm(**inputs, epsilon=1e-3)
    check_close(ops.token_norm(**inputs, epsilon=1e-3), expected, 2e-6, case)


def check_instance_norm(ops: Ops, case, dtype) -> None:
    inputs = rounded(case.inputs(), ("x", "addend"), dtype)
    expected = oracle.instance_norm(**inputs, **case.attributes)
    check_close(ops.instance_norm(**inputs, **case.attributes), expected, 2e-6, case)


def check_grid(ops: Ops, dtype, max_updates: int) -> int:
    """Every op on its grid, against the oracle; the number of cases."""
    count = 0
    for check, cases in (
        (check_scan, scan_grid(max_updates, seed=1)),
        (check_conv, conv_grid(seed=1)),
        (check_kan, kan_grid(seed=1)),
        (check_token_norm, token_norm_grid(seed=1)),
        (check_instance_norm, instance_norm_grid(seed=1)),
    ):
        for case in cases:
            check(ops, case, dtype)
        count += len(cases)
    return count


def check_repeats(ops: Ops, case: ScanCase, repeats: int) -> int:
    """The same scan again and again, workspace and output poisoned each time: bit for bit the same y."""
    call = ops.scan(rounded(case.inputs(), ("u", "x_dbl", "z"), np.float16), case.directions, case.scale)
    call.enqueue()
    first = call.y.get().view(np.uint16)
    for repeat in range(repeats):
        call.poison()
        call.enqueue()
        again = call.y.get().view(np.uint16)
        assert np.array_equal(again, first), f"run {repeat + 2} of {repeats + 1} differs"
    return repeats


def check_graph(ops: Ops, case: ScanCase) -> int:
    """The scan captured in a CUDA graph gives, replayed, what it gives when enqueued."""
    runtime = ops.device.runtime
    call = ops.scan(rounded(case.inputs(), ("u", "x_dbl", "z"), np.float16), case.directions, case.scale)
    call.enqueue()
    expected = call.y.get()
    call.poison()
    stream = ctypes.c_void_p()
    runtime.check_stream(ctypes.byref(stream))
    runtime.check_capture(stream)
    call.enqueue(stream)
    runtime.check_replay(stream, 3)
    np.testing.assert_array_equal(call.y.get(), expected)
    return 3


if __name__ == "__main__":
    small = Ops(Device(Path(sys.argv[1])))
    for small_dtype in (np.float32, np.float16):
        print(f"{small_dtype.__name__}: {check_grid(small, small_dtype, SMALL_UPDATES)} cases", flush=True)
