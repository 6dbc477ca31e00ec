"""Standard ops that have a faster kernel of ours on the CPU, under the names of msdk ops.

Their bodies are the very ops they stand for: a runtime without our kernels, or on another device, runs what
it always did. Engines are built from the graph without these names.
"""

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
from onnxscript.rewriter import pattern, rewrite

from msdk_export.functions import attach_functions, strip_functions
from msdk_export.onnx_translation import DOMAIN, OPSET_VERSION

_LEAST_TAPS = 27  # smaller convolutions are bound by memory, or as fast in ONNX Runtime
_LONGEST_KERNEL = 16
_OURS = {"_domain": DOMAIN, "_version": OPSET_VERSION}


def with_cpu_ops(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which msdk ops, with bodies, stand for what they compute faster on a CPU.

    All in float32: convolutions in 3D of 27 taps and more, dense or depthwise; trilinear upsampling by two,
    with the addition of a tensor of the same shape where one follows; layer norms over the channels of
    tokens, as msdk_export.layers.TokenNorm writes them.
    """
    named = strip_functions(model)
    # In two passes: nodes are visited in order, and a Resize comes before its Add.
    for rules in (_AddedUpsampling.rule().commute(), [rule.rule() for rule in _RULES]):
        named = rewrite(named, pattern_rewrite_rules=rules)
    return attach_functions(named)


def standard_ops(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model`, an artifact's, with what the CPU ops stand for in their place."""
    ours = [(DOMAIN, name) for name in ("Conv3d", "TrilinearUpsample", "TokenNorm")]
    return onnx.inliner.inline_selected_functions(model, ours, exclude=False)


class _Convolution(pattern.RewriteRuleClassBase):
    """Conv -> Conv3d."""

    def pattern(self, op, x, weight):
        return op.Conv(x, weight, _allow_other_inputs=True, _outputs=["y"])

    def check(self, context, x, weight, y):
        if not _is_constant(weight):
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
            **_OURS,
        )


class _Upsampling(pattern.RewriteRuleClassBase):
    """Resize -> TrilinearUpsample."""

    def pattern(self, op, x, scales):
        return op.Resize(x, None, scales, _outputs=["doubled"])

    def check(self, context, x, scales, doubled):
        given = doubled.producer().attributes
        return (
            x.dtype == ir.DataType.FLOAT
            and scales.const_value is not None
            and scales.const_value.numpy().tolist() == [1, 1, 2, 2, 2]
            and given.get_string("mode", "nearest") == "linear"
            and given.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel"
            and "axes" not in given
        )

    def rewrite(self, op, x, scales, doubled):
        return op.TrilinearUpsample(x, **_OURS)


class _AddedUpsampling(_Upsampling):
    """Resize and Add -> TrilinearUpsample."""

    def pattern(self, op, x, scales, addend):
        return op.Add(op.Resize(x, None, scales, _outputs=["doubled"]), addend)

    def check(self, context, x, scales, doubled, addend):
        shapes = [value.shape for value in (doubled, addend)]
        known = all(shape is not None and not shape.has_unknown_dim() for shape in shapes)
        alike = known and shapes[0] == shapes[1] and addend is not doubled
        return alike and super().check(context, x, scales, doubled)

    def rewrite(self, op, x, scales, doubled, addend):
        return op.TrilinearUpsample(x, addend, **_OURS)


class _TokenNorm(pattern.RewriteRuleClassBase):
    """Products with a row of 1/C and what follows -> TokenNorm."""

    def pattern(self, op, x, average, epsilon, weight, bias):
        centred = op.Sub(x, op.MatMul(average, x))
        variance = op.MatMul(average, op.Mul(centred, centred))
        scale = op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)))
        return op.Add(op.Mul(op.Mul(centred, scale), weight), bias, _outputs=["y"])

    def check(self, context, x, average, epsilon, weight, bias, y):
        if not all(map(_is_constant, (average, epsilon, weight, bias))) or x.dtype != ir.DataType.FLOAT:
            return False
        row, weights, biases = (value.const_value.numpy() for value in (average, weight, bias))
        channels = len(weights)
        return (
            row.shape == (1, channels)
            and np.all(row == np.float32(1 / channels))
            and weights.shape == biases.shape == (channels, 1)
            and epsilon.const_value.size == 1
        )

    def rewrite(self, op, x, average, epsilon, weight, bias, y):
        rows = (
            op.initializer(ir.tensor(column.const_value.numpy().reshape(-1), name=f"{y.name}_{role}"))
            for role, column in (("weight", weight), ("bias", bias))
        )
        return op.TokenNorm(x, *rows, epsilon=epsilon.const_value.numpy().item(), **_OURS)


_RULES = (_Convolution, _Upsampling, _TokenNorm)


def _is_constant(value: ir.Value) -> bool:
    return value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT
