"""msdk::InstanceNorm stands for ONNX's InstanceNormalization, an addition and an activation after it.

ONNX Runtime's own adds up a channel in float32 without care: it is off by 1e-5 relative at 128^3 voxels.
"""

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, have_same_shape, node_of, rule_of
from msdk_export.ops.spec import FLOAT, STRING, OpSpec


class Norm(pattern.RewriteRuleClassBase):
    """InstanceNormalization -> InstanceNorm."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any) -> Any:
        return op.InstanceNormalization(x, weight, bias, _outputs=["norm"])

    def check(self, context: object, x: ir.Value, norm: ir.Value, **others: ir.Value) -> bool:
        return x.dtype == ir.DataType.FLOAT and x.shape is not None and len(x.shape) > 2

    def rewrite(
        self,
        op: Any,
        x: ir.Value,
        weight: ir.Value,
        bias: ir.Value,
        norm: ir.Value,
        addend: ir.Value | None = None,
        activation: str = "none",
        slope: float = 0.01,
    ) -> Any:
        return op.InstanceNorm(
            *(x, weight, bias) if addend is None else (x, weight, bias, addend),
            epsilon=node_of(norm).attributes.get_float("epsilon", 1e-5),
            activation=activation,
            slope=slope,
            **OURS,
        )


class ReluNorm(Norm):
    """InstanceNormalization and Relu -> InstanceNorm."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any) -> Any:
        return op.Relu(super().pattern(op, x, weight, bias))

    def rewrite(self, op: Any, **values: Any) -> Any:
        return super().rewrite(op, **values, activation="relu")


class LeakyReluNorm(Norm):
    """InstanceNormalization and LeakyRelu -> InstanceNorm."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any) -> Any:
        return op.LeakyRelu(super().pattern(op, x, weight, bias), _outputs=["y"])

    def rewrite(self, op: Any, y: ir.Value, **values: Any) -> Any:
        slope = node_of(y).attributes.get_float("alpha", 0.01)
        return super().rewrite(op, **values, activation="leaky_relu", slope=slope)


class _Added(Norm):
    """For a rule whose norm is followed by the addition of a tensor of the same shape."""

    def check(
        self, context: object, x: ir.Value, norm: ir.Value, addend: ir.Value, **others: ir.Value
    ) -> bool:
        alike = have_same_shape(norm, addend) and addend is not norm
        return alike and super().check(context, x, norm, **others)


class AddedNorm(_Added):
    """InstanceNormalization and Add -> InstanceNorm."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any, addend: Any) -> Any:
        return op.Add(op.InstanceNormalization(x, weight, bias, _outputs=["norm"]), addend)


class AddedReluNorm(_Added, ReluNorm):
    """InstanceNormalization, Add and Relu -> InstanceNorm."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any, addend: Any) -> Any:
        return op.Relu(op.Add(op.InstanceNormalization(x, weight, bias, _outputs=["norm"]), addend))


class AddedLeakyReluNorm(_Added, LeakyReluNorm):
    """InstanceNormalization, Add and LeakyRelu -> InstanceNorm."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any, addend: Any) -> Any:
        norm = op.InstanceNormalization(x, weight, bias, _outputs=["norm"])
        return op.LeakyRelu(op.Add(norm, addend), _outputs=["y"])


_ACTIVATIONS = {
    "none": "Identity (sum)",
    "relu": "Relu (sum)",
    "leaky_relu": "LeakyRelu <alpha: float = @slope> (sum)",
}


def _body(selected: str, complete: bool) -> str:
    return f"""
    <epsilon: float = 1e-5, slope: float = 0.01, activation: string = "{selected}">
    (x, weight, bias{", addend" if complete else ""}) => (y)
    {{
        norm = InstanceNormalization <epsilon: float = @epsilon> (x, weight, bias)
        sum = {"Add (norm, addend)" if complete else "Identity (norm)"}
        y = {_ACTIVATIONS[selected]}
    }}"""


SPEC = OpSpec(
    name="InstanceNorm",
    inputs=["x", "weight", "bias", "addend?"],
    attributes={"epsilon": FLOAT, "activation": STRING, "slope": FLOAT},
    body=_body,
    selector="activation",
    effect="added",
    plugin=False,
)
# What takes more ops away comes first.
RULES = (
    (*rule_of(AddedReluNorm).commute(), *rule_of(AddedLeakyReluNorm).commute()),
    (rule_of(ReluNorm), rule_of(LeakyReluNorm)),
    tuple(rule_of(AddedNorm).commute()),
    (rule_of(Norm),),
)
