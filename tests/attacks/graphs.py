"""Graphs of our ops that come with a valid manifest: G01 and on. ONNX Runtime and the ops see them, since an
attacker can compute a SHA-256 as well as we.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.attacks.corpus import SEGMENT, Series
from tests.support.small_model import WINDOW, describe

SERIES = Series("G", SEGMENT, "model.onnx", "scan.nii")
attack = SERIES.attack
LENGTH = int(np.prod(WINDOW))
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("msdk", 1)]


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def parameters(K=2, D=1, N=2, R=1, W=4) -> dict[str, np.ndarray]:
    """Initialisers of a convolution and a scan over one channel."""
    return {
        "weight": zeros(K, D, W),
        "bias": zeros(K, D),
        "dt_weight": zeros(K, D, R),
        "dt_bias": zeros(K, D),
        "A": zeros(K, D, N) - 1,
        "D_skip": zeros(K, D),
    }


def save(
    folder: Path, nodes, initialisers: dict, *, window=WINDOW, opsets=OPSETS, functions=(), extra=()
) -> None:
    """Write the graph image -> logits and the manifest of it."""
    graph = helper.make_graph(
        nodes,
        "attack",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 1, *window])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 2, *window])],
        [*(numpy_helper.from_array(array, name) for name, array in initialisers.items()), *extra],
    )
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    describe(folder / "model.onnx")


def network(
    folder: Path, *, rows=5, conv=None, scan=None, scan_inputs=None, domain="msdk", **changed
) -> None:
    """image as tokens, convolved, scanned, twice: as an exported network does it.

    rows: R + 2N of x_dbl. conv, scan: attributes. changed: initialisers.
    """
    inputs = scan_inputs or ["u", "x_dbl", "dt_weight", "dt_bias", "A", "D_skip"]
    nodes = [
        helper.make_node("Reshape", ["image", "tokens"], ["x"]),
        helper.make_node("DirectionalConv1d", ["x", "weight", "bias"], ["u"], domain=domain, **(conv or {})),
        helper.make_node("Concat", ["u"] * rows, ["x_dbl"], axis=2),
        helper.make_node("BidirectionalSelectiveScan", inputs, ["y"], domain=domain, **(scan or {})),
        helper.make_node("Concat", ["y", "y"], ["twice"], axis=1),
        helper.make_node("Reshape", ["twice", "planes"], ["logits"]),
    ]
    shapes = {"tokens": np.array([0, 1, -1]), "planes": np.array([0, 2, *WINDOW])}
    save(folder, nodes, shapes | parameters() | changed)


def kan(folder: Path, base=(2, 1), spline=(2, 1, 8), **attributes) -> None:
    nodes = [
        helper.make_node("Reshape", ["image", "tokens"], ["x"]),
        helper.make_node("KanLinear", ["x", "base", "spline"], ["y"], domain="msdk", **attributes),
        helper.make_node("Reshape", ["y", "planes"], ["logits"]),
    ]
    shapes = {"tokens": np.array([0, 1, -1]), "planes": np.array([0, 2, *WINDOW])}
    save(folder, nodes, shapes | {"base": zeros(*base), "spline": zeros(*spline)})


def both(directions: str) -> dict:
    return {"conv": {"directions": directions}, "scan": {"directions": directions}}


@attack("Nothing is wrong with this one: the attacks below reach the ops.", "")
def _(folder):
    network(folder)


@attack("The file is cut short, its hash that of what is left.", "ArtifactError")
def _(folder):
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[: len(content) * 2 // 3])
    describe(folder / "model.onnx")


@attack("The file is empty, its hash that of nothing.", "ArtifactError")
def _(folder):
    (folder / "model.onnx").write_bytes(b"")
    describe(folder / "model.onnx")


@attack("A direction has a name that no one knows.", "BackendError")
def _(folder):
    network(folder, **both("forward,sideways"))


@attack("There are no directions.", "BackendError")
def _(folder):
    network(folder, **both(""))


@attack("There are nine directions, eight is most.", "BackendError")
def _(folder):
    names = both(",".join(["forward"] * 9))
    network(folder, **names, **parameters(K=9))


@attack("The directions are text of 1 MB.", "BackendError")
def _(folder):
    network(folder, **both("forward," * (1 << 17)))


@attack("A direction has 2^63 slices.", "BackendError")
def _(folder):
    network(folder, **both(f"forward,slices:{1 << 63}"))


@attack("A direction has 2^64 + 1 slices, 1 modulo 2^64.", "BackendError")
def _(folder):
    network(folder, **both(f"forward,slices:{(1 << 64) + 1}"))


@attack("A direction has 0 slices.", "BackendError")
def _(folder):
    network(folder, **both("forward,slices:0"))


@attack("A direction has -1 slices.", "BackendError")
def _(folder):
    network(folder, **both("forward,slices:-1"))


@attack("A direction has slices that do not divide the tokens.", "BackendError")
def _(folder):
    network(folder, **both("forward,slices:5"))


@attack("The directions end in a NUL and more text.", "BackendError")
def _(folder):
    network(folder, **both("forward,backward\0,slices:7"))


@attack("directions is a number.", "BackendError")
def _(folder):
    network(folder, scan={"directions": 2})


@attack("directions is a list of strings.", "BackendError")
def _(folder):
    network(folder, scan={"directions": ["forward", "backward"]})


@attack("The convolution has two directions, its weight three.", "BackendError")
def _(folder):
    network(folder, weight=zeros(3, 1, 4))


@attack("The scan has three directions, u two.", "BackendError")
def _(folder):
    network(folder, scan={"directions": "forward,backward,forward"})


@attack("N is 0.", "BackendError")
def _(folder):
    network(folder, rows=1, A=zeros(2, 1, 0))


@attack("N is 65, 64 is most.", "BackendError")
def _(folder):
    network(folder, rows=131, A=zeros(2, 1, 65) - 1)


@attack("R is 0.", "BackendError")
def _(folder):
    network(folder, rows=4, dt_weight=zeros(2, 1, 0))


@attack("R is 65, 64 is most.", "BackendError")
def _(folder):
    network(folder, rows=69, dt_weight=zeros(2, 1, 65))


@attack("x_dbl has a row less than R + 2N.", "BackendError")
def _(folder):
    network(folder, rows=4)


@attack("x_dbl has more rows than R + 2N.", "BackendError")
def _(folder):
    network(folder, rows=500)


@attack("The convolution is 0 wide.", "BackendError")
def _(folder):
    network(folder, weight=zeros(2, 1, 0))


@attack("The convolution is a million wide.", "BackendError")
def _(folder):
    network(folder, weight=zeros(2, 1, 1_000_000))


@attack("dt_bias is a scalar.", "BackendError")
def _(folder):
    network(folder, dt_bias=np.zeros((), np.float32))


@attack("A parameter is float64.", "BackendError")
def _(folder):
    network(folder, A=np.zeros((2, 1, 2)))


@attack("A is positive, so that the state grows without bound.", "BackendError")
def _(folder):
    network(
        folder, A=zeros(2, 1, 2) + 3e38, dt_bias=zeros(2, 1) + 80, D_skip=zeros(2, 1) + np.float32(np.inf)
    )


@attack("A is NaN.", "BackendError")
def _(folder):
    network(folder, A=zeros(2, 1, 2) + np.float32(np.nan), bias=zeros(2, 1) + 1)


@attack("scale is NaN.", "BackendError")
def _(folder):
    network(folder, scan={"scale": float("nan")})


@attack("scale is text.", "BackendError")
def _(folder):
    network(folder, scan={"scale": "half"})


@attack("z is not there, though a ninth input is.", "BackendError")
def _(folder):
    network(folder, scan_inputs=["u", "x_dbl", "dt_weight", "dt_bias", "A", "D_skip", "", "u", "u"])


@attack("A required input in the middle has no name.", "BackendError")
def _(folder):
    network(folder, scan_inputs=["u", "x_dbl", "", "dt_bias", "A", "D_skip"])


@attack("The scan has one input.", "BackendError")
def _(folder):
    network(folder, scan_inputs=["u"])


@attack("z has another shape than u.", "BackendError")
def _(folder):
    network(folder, scan_inputs=["u", "x_dbl", "dt_weight", "dt_bias", "A", "D_skip", "dt_weight"])


@attack("The ops are of a domain that nobody registered.", "BackendError")
def _(folder):
    network(folder, domain="evil")


@attack("The ops are of version 1000 of the domain; what counts is the manifest's version: legal.", "")
def _(folder):
    network(folder)
    model = onnx.load(folder / "model.onnx")
    model.opset_import[1].version = 1000
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    describe(folder / "model.onnx")


@attack("The KAN layer has a grid that ends where it begins.", "BackendError")
def _(folder):
    kan(folder, grid_min=1.0, grid_max=1.0)


@attack("The KAN layer has a grid of NaN.", "BackendError")
def _(folder):
    kan(folder, grid_min=float("nan"))


@attack("The KAN layer has three bases, a cubic needs four.", "BackendError")
def _(folder):
    kan(folder, spline=(2, 1, 3))


@attack("The KAN layer has 10,000 bases.", "BackendError")
def _(folder):
    kan(folder, spline=(2, 1, 10_000))


@attack("The KAN layer's weights disagree on the outputs.", "BackendError")
def _(folder):
    kan(folder, spline=(3, 1, 8))
