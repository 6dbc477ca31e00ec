"""msdk::Conv3d stands for ONNX's Conv in 3D; our kernel is several times as fast on a CPU."""

import numpy as np
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, is_float_constant
from msdk_export.ops.spec import INT, INTS, OpSpec

_LEAST_TAPS = 27  # smaller convolutions are bound by memory, or as fast in ONNX Runtime
_LONGEST_KERNEL = 16


class Convolution(pattern.RewriteRuleClassBase):
    """Conv of 27 taps and more, dense or depthwise -> Conv3d."""

    def pattern(self, op, x, weight):
        return op.Conv(x, weight, _allow_other_inputs=True, _outputs=["y"])

    def check(self, context, x, weight, y):
        if not is_float_constant(weight):
            return False
        given = y.producer().attributes
        outputs, _, *kernel = weight.const_value.shape.numpy()
        return (
            len(kernel) == 3
            and np.prod(kernel) >= _LEAST_TAPS
            and max(kernel) <= _LONGEST_KERNEL
            and given.get_int("group", 1) in (1, outputs)
            and given.get_string("auto_pad", "NOTSET") == "NOTSET"
            and set(given.get_ints("dilations", [1])) == {1}
        )

    def rewrite(self, op, x, weight, y):
        node = y.producer()
        return op.Conv3d(
            *node.inputs,
            strides=node.attributes.get_ints("strides", [1] * 3),
            pads=node.attributes.get_ints("pads", [0] * 6),
            group=node.attributes.get_int("group", 1),
            **OURS,
        )


def _body(selected: str, complete: bool) -> str:
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
RULES = ((Convolution.rule(),),)
