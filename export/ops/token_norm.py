"""msdk::TokenNorm stands for a layer norm over the channels of tokens, as layers.TokenNorm writes it."""

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, constant_of, is_float_constant, node_of, rule_of
from msdk_export.ops.spec import FLOAT, OpSpec
from msdk_rt.artifact.ops_version import OPS_DOMAIN


class Norm(pattern.RewriteRuleClassBase):
    """Products with a row of 1/C and what follows -> TokenNorm."""

    def pattern(self, op: Any, x: Any, average: Any, epsilon: Any, weight: Any, bias: Any) -> Any:
        centred = op.Sub(x, op.MatMul(average, x))
        variance = op.MatMul(average, op.Mul(centred, centred))
        scale = op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)))
        return op.Add(op.Mul(op.Mul(centred, scale), weight), bias, _outputs=["y"])

    def check(
        self,
        context: object,
        x: ir.Value,
        average: ir.Value,
        epsilon: ir.Value,
        weight: ir.Value,
        bias: ir.Value,
        y: ir.Value,
    ) -> bool:
        if not all(map(is_float_constant, (average, epsilon, weight, bias))) or x.dtype != ir.DataType.FLOAT:
            return False
        row, weights, biases = (constant_of(value) for value in (average, weight, bias))
        channels = len(weights)
        return (
            row.shape == (1, channels)
            and bool(np.all(row == np.float32(1 / channels)))
            and weights.shape == biases.shape == (channels, 1)
            and constant_of(epsilon).size == 1
        )

    def rewrite(
        self,
        op: Any,
        x: ir.Value,
        average: ir.Value,
        epsilon: ir.Value,
        weight: ir.Value,
        bias: ir.Value,
        y: ir.Value,
    ) -> Any:
        rows = (
            op.initializer(ir.tensor(constant_of(column).reshape(-1), name=f"{y.name}_{role}"))
            for role, column in (("weight", weight), ("bias", bias))
        )
        return op.TokenNorm(x, *rows, epsilon=constant_of(epsilon).item(), **OURS)


class HalfNorm(pattern.RewriteRuleClassBase):
    """A TokenNorm between a cast from float16 and one back -> the float16 one, which casts by itself."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any) -> Any:
        single = op.Cast(x, to=ir.DataType.FLOAT)
        norm = op.TokenNorm(single, weight, bias, _domain=OPS_DOMAIN, _outputs=["norm"])
        return op.Cast(norm, to=ir.DataType.FLOAT16)

    def check(self, context: object, x: ir.Value, **matched: object) -> bool:
        return x.dtype == ir.DataType.FLOAT16

    def rewrite(self, op: Any, x: ir.Value, weight: ir.Value, bias: ir.Value, norm: ir.Value) -> Any:
        epsilon = node_of(norm).attributes.get_float("epsilon", 1e-5)
        return op.TokenNorm(x, weight, bias, epsilon=epsilon, **OURS)


def _body(selected: str, given: Collection[str]) -> str:
    """The norm as msdk_export.layers.TokenNorm writes it: means over channels are products with a row."""
    return """
    <epsilon: float = 1e-5> (x, weight, bias) => (y)
    {
        x32 = Cast <to = 1> (x)
        channels = Shape <start = 1, end = 2> (x)
        one = Constant <value_ints = [1]> ()
        row = Concat <axis = 0> (one, channels)
        ones = ConstantOfShape <value = float[1] {1.0}> (row)
        count = Cast <to = 1> (channels)
        average = Div (ones, count)
        mean = MatMul (average, x32)
        centred = Sub (x32, mean)
        square = Mul (centred, centred)
        variance = MatMul (average, square)
        least = Constant <value_float: float = @epsilon> ()
        positive = Add (variance, least)
        deviation = Sqrt (positive)
        scale = Reciprocal (deviation)
        normalised = Mul (centred, scale)
        weight_column = Unsqueeze (weight, one)
        bias_column = Unsqueeze (bias, one)
        weighted = Mul (normalised, weight_column)
        y32 = Add (weighted, bias_column)
        y = CastLike (y32, x)
    }"""


SPEC = OpSpec(
    name="TokenNorm",
    inputs=["x", "weight:float", "bias:float"],
    attributes={"epsilon": FLOAT},
    body=_body,
    plugin=False,
)
RULES = ((rule_of(Norm),),)
CUDA_RULES = ((rule_of(Norm),), (rule_of(HalfNorm),))
