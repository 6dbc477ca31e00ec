"""msdk::AveragePool3d stands for ONNX's AveragePool over boxes of 1 or 2 voxels a side, side by side.

The residual encoders of nnU-Net have it before the convolution of a skip.
"""

from collections.abc import Collection
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, node_of, rule_of
from msdk_export.ops.spec import INTS, OpSpec

_LONGEST_KERNEL = 2


class Pooling(pattern.RewriteRuleClassBase):
    """AveragePool -> AveragePool3d."""

    def pattern(self, op: Any, x: Any) -> Any:
        return op.AveragePool(x, _outputs=["pooled"])

    def check(self, context: object, x: ir.Value, pooled: ir.Value) -> bool:
        given = node_of(pooled).attributes
        kernel = list(given.get_ints("kernel_shape", []))
        return (
            x.dtype == ir.DataType.FLOAT
            and len(kernel) == 3
            and max(kernel) == _LONGEST_KERNEL
            and list(given.get_ints("strides", [1] * 3)) == kernel
            and not any(given.get_ints("pads", [0]))
            and set(given.get_ints("dilations", [1])) == {1}
            and given.get_int("ceil_mode", 0) == 0
            and given.get_string("auto_pad", "NOTSET") == "NOTSET"
        )

    def rewrite(self, op: Any, x: ir.Value, pooled: ir.Value) -> Any:
        kernel = node_of(pooled).attributes.get_ints("kernel_shape")
        return op.AveragePool3d(x, kernel=kernel, **OURS)


def _body(selected: str, given: Collection[str]) -> str:
    return """
    <kernel> (x) => (y)
    { y = AveragePool <kernel_shape: ints = @kernel, strides: ints = @kernel> (x) }"""


SPEC = OpSpec(
    name="AveragePool3d",
    inputs=["x"],
    attributes={"kernel": INTS},
    body=_body,
    plugin=False,
)
RULES = ((rule_of(Pooling),),)
