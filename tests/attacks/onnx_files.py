"""ONNX files with a valid manifest: F01 and on. Weights elsewhere, sizes that overflow, work without end."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from tests.attacks.corpus import SEGMENT, Series
from tests.attacks.graphs import OPSETS, network, save
from tests.support.small_model import WINDOW, describe

SERIES = Series("F", SEGMENT, "model.onnx", "scan.nii")
attack = SERIES.attack


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
