"""msdk::ConvTranspose3d stands for ONNX's ConvTranspose whose kernel is its stride, and the Concat after it.

U-Nets double their maps in this way and put a skip behind them. ONNX Runtime multiplies into a matrix, moves
it to its place, and copies it again for the Concat. U-Mamba repeats voxels and has a 1x1x1 convolution behind
that, which is a transposed one whose taps are alike; ONNX Runtime's Resize takes longer than all else of it.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, constant_of, is_float_constant, is_of_voxels, node_of, rule_of
from msdk_export.ops.spec import INTS, OpSpec

_LONGEST_KERNEL = 2


class RepeatedVoxels(pattern.RewriteRuleClassBase):
    """Conv of single voxels after a nearest Resize by 1 and 2 -> ConvTranspose of like taps."""

    def pattern(self, op: Any, x: Any, scales: Any, weight: Any) -> Any:
        repeated = op.Resize(x, None, scales, _outputs=["repeated"])
        return op.Conv(repeated, weight, _allow_other_inputs=True, _outputs=["y"])

    def check(
        self,
        context: object,
        x: ir.Value,
        scales: ir.Value,
        weight: ir.Value,
        repeated: ir.Value,
        y: ir.Value,
    ) -> bool:
        if scales.const_value is None or not is_float_constant(weight):
            return False
        resize = node_of(repeated).attributes
        images, channels, *sides = constant_of(scales).tolist()
        return (
            resize.get_string("mode", "nearest") == "nearest"
            and resize.get_string("coordinate_transformation_mode", "half_pixel") == "asymmetric"
            and resize.get_string("nearest_mode", "round_prefer_floor") == "floor"
            and "axes" not in resize
            and images == channels == 1
            and len(sides) == 3
            and set(sides) <= set(range(1, _LONGEST_KERNEL + 1))
            and is_of_voxels(node_of(y), constant_of(weight).shape[2:])
        )

    def rewrite(
        self, op: Any, x: ir.Value, scales: ir.Value, weight: ir.Value, repeated: ir.Value, y: ir.Value
    ) -> Any:
        sides = [int(side) for side in constant_of(scales)[2:]]
        from_x = constant_of(weight).swapaxes(0, 1)
        taps = np.ascontiguousarray(np.broadcast_to(from_x, (*from_x.shape[:2], *sides)))
        bias = node_of(y).inputs[2:]
        return op.ConvTranspose(
            x, op.initializer(ir.tensor(taps), name=f"{y.name}_taps"), *bias, strides=sides
        )


class Transposed(pattern.RewriteRuleClassBase):
    """ConvTranspose -> ConvTranspose3d."""

    def transposed(self, op: Any, x: Any, weight: Any) -> Any:
        return op.ConvTranspose(x, weight, _allow_other_inputs=True, _outputs=["larger"])

    def pattern(self, op: Any, x: Any, weight: Any) -> Any:
        return self.transposed(op, x, weight)

    def check(
        self, context: object, x: ir.Value, weight: ir.Value, larger: ir.Value, **others: ir.Value
    ) -> bool:
        if not is_float_constant(weight):
            return False
        node = node_of(larger)
        given = node.attributes
        kernel = list(constant_of(weight).shape[2:])
        return (
            len(kernel) == 3
            and set(kernel) <= set(range(1, _LONGEST_KERNEL + 1))
            and list(given.get_ints("strides", [1] * 3)) == kernel
            and not any(given.get_ints("pads", [0]))
            and not any(given.get_ints("output_padding", [0]))
            and set(given.get_ints("dilations", [1])) == {1}
            and given.get_int("group", 1) == 1
            and given.get_string("auto_pad", "NOTSET") == "NOTSET"
            and "output_shape" not in given
        )

    def rewrite(
        self, op: Any, x: ir.Value, weight: ir.Value, larger: ir.Value, skip: ir.Value | None = None
    ) -> Any:
        node = node_of(larger)
        inputs, strides = node.inputs, node.attributes.get_ints("strides", [1] * 3)
        bias = inputs[2] if len(inputs) > 2 else None
        if bias is None:
            zeros = np.zeros(constant_of(weight).shape[1], np.float32)
            bias = op.initializer(ir.tensor(zeros), name=f"{larger.name}_no_bias")
        given = (x, weight, bias) if skip is None else (x, weight, bias, skip)
        return op.ConvTranspose3d(*given, strides=strides, **OURS)


class TransposedBeforeSkip(Transposed):
    """ConvTranspose and Concat -> ConvTranspose3d."""

    def pattern(self, op: Any, x: Any, weight: Any, skip: Any) -> Any:
        return op.Concat(self.transposed(op, x, weight), skip, _outputs=["y"])

    def check(
        self,
        context: object,
        x: ir.Value,
        weight: ir.Value,
        larger: ir.Value,
        skip: ir.Value,
        y: ir.Value,
        **others: ir.Value,
    ) -> bool:
        along_channels = node_of(y).attributes.get_int("axis", 0) in (1, -4)
        return along_channels and skip is not larger and super().check(context, x, weight, larger)

    def rewrite(self, op: Any, y: ir.Value, **values: Any) -> Any:
        return super().rewrite(op, **values)


def _body(selected: str, given: Collection[str]) -> str:
    return f"""
    <strides> (x, weight, bias{", skip" if "skip" in given else ""}) => (y)
    {{
        larger = ConvTranspose <strides: ints = @strides> (x, weight, bias)
        y = {"Concat <axis = 1> (larger, skip)" if "skip" in given else "Identity (larger)"}
    }}"""


SPEC = OpSpec(
    name="ConvTranspose3d",
    inputs=["x", "weight", "bias", "skip?"],
    attributes={"strides": INTS},
    body=_body,
    effects={"skip": "concatenated"},
    plugin=False,
)
# In passes: nodes are visited in order, and a ConvTranspose comes before its Concat.
RULES = ((rule_of(RepeatedVoxels),), (rule_of(TransposedBeforeSkip),), (rule_of(Transposed),))
