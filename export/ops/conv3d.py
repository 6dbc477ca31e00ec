"""msdk::Conv3d stands for ONNX's Conv in 3D; our kernel is several times as fast on a CPU."""

import math
from collections.abc import Collection
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, constant_of, is_float_constant, is_of_voxels, node_of, rule_of
from msdk_export.ops.spec import INT, INTS, OpSpec

_LEAST_TAPS = 27  # ONNX Runtime is as fast with fewer, but for one: bound by memory, in fewer passes over it
_LONGEST_KERNEL = 16


class Convolution(pattern.RewriteRuleClassBase):
    """Conv of 27 taps and more, dense or depthwise, or of single voxels -> Conv3d."""

    def pattern(self, op: Any, x: Any, weight: Any) -> Any:
        return op.Conv(x, weight, _allow_other_inputs=True, _outputs=["y"])

    def check(self, context: object, x: ir.Value, weight: ir.Value, y: ir.Value) -> bool:
        if not is_float_constant(weight):
            return False
        given = node_of(y).attributes
        outputs, _, *kernel = constant_of(weight).shape
        return (
            len(kernel) == 3
            and (math.prod(kernel) >= _LEAST_TAPS or is_of_voxels(node_of(y), kernel))
            and max(kernel) <= _LONGEST_KERNEL
            and given.get_int("group", 1) in (1, outputs)
            and given.get_string("auto_pad", "NOTSET") == "NOTSET"
            and set(given.get_ints("dilations", [1])) == {1}
        )

    def rewrite(self, op: Any, x: ir.Value, weight: ir.Value, y: ir.Value) -> Any:
        node = node_of(y)
        return op.Conv3d(
            *node.inputs,
            strides=node.attributes.get_ints("strides", [1] * 3),
            pads=node.attributes.get_ints("pads", [0] * 6),
            group=node.attributes.get_int("group", 1),
            **OURS,
        )


def _body(selected: str, given: Collection[str]) -> str:
    return """
    <strides, pads, group> (x, weight, bias) => (y)
    {
        y = Conv <strides: ints = @strides, pads: ints = @pads, group: int = @group> (x, weight, bias)
    }"""


SPEC = OpSpec(
    name="Conv3d",
    inputs=["x", "weight", "bias?"],
    attributes={"strides": INTS, "pads": INTS, "group": INT},
    body=_body,
    plugin=False,
)
RULES = ((rule_of(Convolution),),)
