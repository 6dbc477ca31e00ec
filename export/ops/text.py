"""Pieces of ONNX text that the bodies of the msdk ops are put together from.

Every body computes in float32 and returns the type of its first input; all sizes are read from shapes at run
time. A Scan walks over tokens, taps or bases, so no body makes a tensor with states, taps or bases beside the
axis of tokens. The K sequences are brought into step order first and scanned side by side: an ONNX runtime
pays for every node of every step.
"""

from msdk_export.ops.directions import Direction
from msdk_rt.artifact.ops_version import OPS_DOMAIN, OPS_VERSION

PLUGIN = f'plugin_version: string = "{OPS_VERSION}", plugin_namespace: string = "{OPS_DOMAIN}"'

AXES = "\n".join(
    f"{name} = Constant <value_ints = [{axis}]> ()"
    for name, axis in {"axis0": 0, "axis1": 1, "axis2": 2, "axis3": 3, "axis4": 4, "axis_last": -1}.items()
)


def names(prefix: str, paths: tuple[Direction, ...]) -> str:
    return ", ".join(f"{prefix}{k}" for k in range(len(paths)))


def split(source: str, prefix: str, paths: tuple[Direction, ...]) -> str:
    """(B, K, ...) -> K tensors (B, 1, ...)."""
    return f"{names(prefix, paths)} = Split <axis = 1, num_outputs = {len(paths)}> ({source})"


def silu(x: str, y: str) -> str:
    """x / (1 + exp(-x)): ONNX Runtime's Sigmoid is flat below -18, which a large gate would show."""
    return f"""{y}_one = Constant <value_float = 1.0> ()
        {y}_negative = Neg ({x})
        {y}_exp = Exp ({y}_negative)
        {y}_divisor = Add ({y}_one, {y}_exp)
        {y} = Div ({x}, {y}_divisor)"""


def counting(name: str, count: str) -> str:
    """0, 1, .. count - 1 as int64."""
    return f"""{name}_count = Squeeze ({count})
        {name}_start = Constant <value_int = 0> ()
        {name}_step = Constant <value_int = 1> ()
        {name} = Range ({name}_start, {name}_count, {name}_step)"""


def steps_first(source: str, target: str, new_axis: str) -> str:
    """(B, K, F, L) -> (L, B, K, F) with an axis of size 1 put in."""
    return f"""{target}_flat = Transpose <perm = [3, 0, 1, 2]> ({source})
        {target} = Unsqueeze ({target}_flat, {new_axis})"""


def steps_of(tokens: list[str], prefix: str, paths: tuple[Direction, ...]) -> str:
    """(B, 1, F, L) in token order -> `prefix`k (B, 1, F, L) in the order path k visits them."""
    return "\n".join(
        _interleaved(source, f"{prefix}{k}_sliced", [path.slices, -1])
        + _reversed(f"{prefix}{k}_sliced", f"{prefix}{k}", path.backward)
        for k, (source, path) in enumerate(zip(tokens, paths, strict=True))
    )


def tokens_of(source: str, prefix: str, paths: tuple[Direction, ...]) -> str:
    """The inverse of steps_of."""
    return "\n".join(
        _reversed(f"{source}{k}", f"{prefix}{k}_ahead", path.backward)
        + _interleaved(f"{prefix}{k}_ahead", f"{prefix}{k}", [-1, path.slices])
        for k, path in enumerate(paths)
    )


def _interleaved(source: str, target: str, sides: list[int]) -> str:
    """The last axis, seen as a matrix of these sides, transposed."""
    if 1 in sides:
        return f"{target} = Identity ({source})\n"
    return f"""{target}_sides = Constant <value_ints = [0, 0, 0, {sides[0]}, {sides[1]}]> ()
        {target}_matrix = Reshape ({source}, {target}_sides)
        {target}_transposed = Transpose <perm = [0, 1, 2, 4, 3]> ({target}_matrix)
        {target}_flat = Constant <value_ints = [0, 0, 0, -1]> ()
        {target} = Reshape ({target}_transposed, {target}_flat)
    """


def _reversed(source: str, target: str, backward: bool) -> str:
    if not backward:
        return f"{target} = Identity ({source})\n"
    return f"""{target}_end = Constant <value_ints = [{-(2**63) + 1}]> ()
        {target} = Slice ({source}, axis_last, {target}_end, axis3, axis_last)
    """
