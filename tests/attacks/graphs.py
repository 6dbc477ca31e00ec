"""Graphs that come with a valid manifest: G01 and on. ONNX Runtime and our ops see them, since an attacker
can compute a SHA-256 as well as we.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from small_model import WINDOW, describe

from attacks.corpus import SEGMENT, Series

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


def external(folder: Path, location: str, length: int = 8) -> None:
    """A bias whose values lie in another file."""
    tensor = TensorProto(
        name="bias", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("Concat", ["image", "image"], ["twice"], axis=1),
        helper.make_node("Reshape", ["bias", "planes"], ["column"]),
        helper.make_node("Add", ["twice", "column"], ["logits"]),
    ]
    save(folder, nodes, {"planes": np.array([1, 2, 1, 1, 1])}, extra=[tensor])


@attack("Weights lie in a file beside the model, which no hash covers.", "ArtifactError")
def _(folder):
    (folder / "weights.bin").write_bytes(bytes(8))
    external(folder, "weights.bin")


@attack("Weights lie in a file outside the folder, named by a relative path.", "ArtifactError")
def _(folder):
    external(folder, "../" * 12 + "etc/passwd")


@attack("Weights lie in a file outside the folder, named by an absolute path.", "ArtifactError")
def _(folder):
    external(folder, "/etc/passwd")


@attack("Weights lie behind a link in the folder that leads outside.", "ArtifactError")
def _(folder):
    (folder / "weights.bin").symlink_to("/etc/passwd")
    external(folder, "weights.bin")


@attack("Weights lie in the node's attribute, outside the folder.", "ArtifactError")
def _(folder):
    tensor = TensorProto(name="b", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    nodes = [
        helper.make_node("Constant", [], ["b"], value=tensor),
        helper.make_node("Concat", ["image", "image"], ["twice"], axis=1),
        helper.make_node("Add", ["twice", "b"], ["logits"]),
    ]
    save(folder, nodes, {})


@attack("Weights are said to lie in 2^62 bytes of a file.", "ArtifactError")
def _(folder):
    (folder / "weights.bin").write_bytes(bytes(8))
    external(folder, "weights.bin", 1 << 62)


def declared(folder: Path, dims: list[int], content: bytes = bytes(8)) -> None:
    """An initialiser whose shape is not what its bytes hold."""
    tensor = TensorProto(name="bias", data_type=TensorProto.FLOAT, dims=dims, raw_data=content)
    nodes = [
        helper.make_node("ReduceSum", ["bias"], ["sum"], keepdims=0),
        helper.make_node("Concat", ["image", "image"], ["twice"], axis=1),
        helper.make_node("Add", ["twice", "sum"], ["logits"]),
    ]
    save(folder, nodes, {}, extra=[tensor])


@attack("An initialiser says 2^62 elements.", "BackendError")
def _(folder):
    declared(folder, [1 << 62])


@attack("An initialiser's sides have the product 0 modulo 2^64.", "BackendError")
def _(folder):
    declared(folder, [1 << 32, 1 << 32])


@attack("An initialiser's sides have the product 2 modulo 2^64.", "BackendError")
def _(folder):
    declared(folder, [2, (1 << 62) + 1, 4, 1])


@attack("An initialiser's sides have the product 2 modulo 2^32.", "BackendError")
def _(folder):
    declared(folder, [(1 << 31) + 1, 2])


@attack("An initialiser has a negative side.", "BackendError")
def _(folder):
    declared(folder, [-2, -1])


@attack("An initialiser has a million sides.", "BackendError")
def _(folder):
    declared(folder, [1] * 1_000_000)


@attack("The graph says (B, 2, 8, 6, 7), and at run time the logits have another shape.", "BackendError")
def _(folder):
    nodes = [
        helper.make_node("ReduceSum", ["image", "all"], ["one"], keepdims=0),
        helper.make_node("Abs", ["one"], ["positive"]),
        helper.make_node("Min", ["positive", "four"], ["few"]),
        helper.make_node("Cast", ["few"], ["side"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["side", "axis"], ["sides"]),
        helper.make_node("Concat", ["ones", "sides"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["logits"]),
    ]
    values = {
        "all": np.arange(5),
        "four": np.array(4, np.float32),
        "axis": np.array([0]),
        "ones": np.array([1, 2, 8, 6]),
    }
    save(folder, nodes, values)


@attack("Logits of 1 TB are asked for at run time.", "BackendError")
def _(folder):
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "none"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["side"], to=TensorProto.INT64),
        helper.make_node("Add", ["side", "huge"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["logits"]),
    ]
    values = {"none": np.array(0, np.float32), "huge": np.array([1, 2, 1 << 13, 1 << 13, 1 << 12])}
    save(folder, nodes, values)


@attack("Logits have more bytes than a 64-bit number counts.", "BackendError")
def _(folder):
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Mul", ["shape", "huge"], ["sides"]),
        helper.make_node("ConstantOfShape", ["sides"], ["logits"]),
    ]
    save(folder, nodes, {"huge": np.array([1, 2, 1 << 30, 1 << 30, 1 << 30])})


@attack("A loop runs 2^62 times.", "ArtifactError")
def _(folder):
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["trips", "", "image"], ["looped"], body=body),
        helper.make_node("Concat", ["looped", "looped"], ["logits"], axis=1),
    ]
    save(folder, nodes, {"trips": np.array(1 << 62)})


@attack("A function calls itself.", "ArtifactError")
def _(folder):
    opsets = [*OPSETS, helper.make_opsetid("evil", 1)]
    again = helper.make_node("Again", ["a"], ["b"], domain="evil")
    function = helper.make_function("evil", "Again", ["a"], ["b"], [again], opsets)
    nodes = [
        helper.make_node("Again", ["image"], ["once"], domain="evil"),
        helper.make_node("Concat", ["once", "once"], ["logits"], axis=1),
    ]
    save(folder, nodes, {}, opsets=opsets, functions=[function])


@attack("Functions double one another 40 times: 2^40 nodes once they are inlined.", "ArtifactError")
def _(folder):
    opsets = [*OPSETS, helper.make_opsetid("evil", 1)]
    functions = [
        helper.make_function(
            "evil",
            f"F{level}",
            ["a"],
            ["c"],
            [
                helper.make_node(f"F{level + 1}" if level < 39 else "Identity", ["a"], ["b"], domain=here),
                helper.make_node(f"F{level + 1}" if level < 39 else "Identity", ["b"], ["c"], domain=here),
            ],
            opsets,
        )
        for level in range(40)
        for here in ["evil" if level < 39 else ""]
    ]
    nodes = [
        helper.make_node("F0", ["image"], ["once"], domain="evil"),
        helper.make_node("Concat", ["once", "once"], ["logits"], axis=1),
    ]
    save(folder, nodes, {}, opsets=opsets, functions=functions)


def field(number: int, content: bytes | str) -> bytes:
    """A field of a protobuf message; Python's protobuf nests no deeper than 100."""
    content = content.encode() if isinstance(content, str) else content
    key, size = number << 3 | 2, len(content)
    out = bytearray()
    for value in (key, size):
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out) + content


@attack("Graphs lie in graphs, 2,000 deep.", "ArtifactError")
def _(folder):
    network(folder)
    graph = field(1, field(1, "image") + field(2, "logits") + field(4, "Identity"))
    for _ in range(2000):
        branches = b"".join(
            field(5, field(1, name) + bytes([0xA0, 1, 5]) + field(6, graph if name == "then_branch" else b""))
            for name in ("then_branch", "else_branch")
        )
        graph = field(1, field(1, "yes") + field(2, "logits") + field(4, "If") + branches)
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content + field(7, graph))
    describe(folder / "model.onnx")


@attack("A node feeds itself.", "BackendError")
def _(folder):
    nodes = [
        helper.make_node("Add", ["image", "b"], ["a"]),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["logits"], axis=1),
    ]
    save(folder, nodes, {})


@attack("Two nodes write the same value.", "BackendError")
def _(folder):
    nodes = [helper.make_node("Concat", ["image", "image"], ["logits"], axis=1) for _ in range(2)]
    save(folder, nodes, {})


@attack("The opset is 2^31.", "BackendError")
def _(folder):
    opsets = [helper.make_opsetid("", (1 << 31) - 1)]
    save(folder, [helper.make_node("Concat", ["image", "image"], ["logits"], axis=1)], {}, opsets=opsets)


@attack("The graph asks for a Python operator.", "BackendError")
def _(folder):
    opsets = [*OPSETS, helper.make_opsetid("ai.onnx.contrib", 1)]
    nodes = [
        helper.make_node(
            "PyOp", ["image"], ["logits"], domain="ai.onnx.contrib", module="os", compute="system"
        )
    ]
    save(folder, nodes, {}, opsets=opsets)


@attack("The batch is fixed at 5 inside, so that one window does not fit.", "ArtifactError")
def _(folder):
    nodes = [
        helper.make_node("Reshape", ["image", "five"], ["x"]),
        helper.make_node("Concat", ["x", "x"], ["logits"], axis=1),
    ]
    save(folder, nodes, {"five": np.array([5, 1, *WINDOW])})


@attack("Indices of a gather lie far outside.", "BackendError")
def _(folder):
    nodes = [
        helper.make_node("Gather", ["image", "far"], ["x"], axis=2),
        helper.make_node("Concat", ["x", "x"], ["logits"], axis=1),
    ]
    save(folder, nodes, {"far": np.full(WINDOW[0], 1 << 40)})
