"""msdk::InstanceNorm stands for ONNX's InstanceNormalization, an addition and an activation after it.

ONNX Runtime's own adds up a channel in float32 without care: it is off by 1e-5 relative at 128^3 voxels.
"""

from collections.abc import Callable, Collection
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, have_same_shape, node_of, rule_of
from msdk_export.ops.spec import FLOAT, STRING, OpSpec
from msdk_rt.artifact.ops_version import OPS_DOMAIN


class Norm(pattern.RewriteRuleClassBase):
    """InstanceNormalization -> InstanceNorm."""

    dtype = ir.DataType.FLOAT

    def normalised(self, op: Any, x: Any, weight: Any, bias: Any) -> Any:
        return op.InstanceNormalization(x, weight, bias, _outputs=["norm"])

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any) -> Any:
        return self.normalised(op, x, weight, bias)

    def check(self, context: object, x: ir.Value, norm: ir.Value, **others: ir.Value) -> bool:
        return x.dtype == self.dtype and x.shape is not None and len(x.shape) > 2

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
        return op.Add(self.normalised(op, x, weight, bias), addend)


class AddedReluNorm(_Added, ReluNorm):
    """InstanceNormalization, Add and Relu -> InstanceNorm."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any, addend: Any) -> Any:
        return op.Relu(op.Add(self.normalised(op, x, weight, bias), addend))


class AddedLeakyReluNorm(_Added, LeakyReluNorm):
    """InstanceNormalization, Add and LeakyRelu -> InstanceNorm."""

    def pattern(self, op: Any, x: Any, weight: Any, bias: Any, addend: Any) -> Any:
        return op.LeakyRelu(op.Add(self.normalised(op, x, weight, bias), addend), _outputs=["y"])


def in_half(kind: type[Norm]) -> type[Norm]:
    """The same for float16, whose norm stands between a cast from there and one back."""

    class InHalf(kind):  # type: ignore[misc, valid-type]
        dtype = ir.DataType.FLOAT16

        def normalised(self, op: Any, x: Any, weight: Any, bias: Any) -> Any:
            single = op.Cast(x, to=ir.DataType.FLOAT)
            return op.Cast(super().normalised(op, single, weight, bias), to=ir.DataType.FLOAT16)

    InHalf.__name__ = f"{kind.__name__}InHalf"
    return InHalf


_ACTIVATIONS = {
    "none": "Identity (sum)",
    "relu": "Relu (sum)",
    "leaky_relu": "LeakyRelu <alpha: float = @slope> (sum)",
}


def norm_text(selected: str, *inputs: str) -> str:
    """This op, without an addend, as a node in the body of another one that has its attributes."""
    slope = {"none": " = 1.0", "relu": " = 0.0", "leaky_relu": ": float = @slope"}[selected]
    attributes = f'epsilon: float = @epsilon, activation = "leaky_relu", slope{slope}'
    return f"{OPS_DOMAIN}.InstanceNorm <{attributes}> ({', '.join(inputs)})"


def _body(selected: str, given: Collection[str]) -> str:
    return f"""
    <epsilon: float = 1e-5, slope: float = 0.01, activation: string = "{selected}">
    (x, weight, bias{", addend" if "addend" in given else ""}) => (y)
    {{
        x32 = Cast <to = 1> (x)
        norm = InstanceNormalization <epsilon: float = @epsilon> (x32, weight, bias)
        {"addend32 = Cast <to = 1> (addend)" if "addend" in given else ""}
        sum = {"Add (norm, addend32)" if "addend" in given else "Identity (norm)"}
        y32 = {_ACTIVATIONS[selected]}
        y = CastLike (y32, x)
    }}"""


SPEC = OpSpec(
    name="InstanceNorm",
    inputs=["x", "weight:float", "bias:float", "addend?"],
    attributes={"epsilon": FLOAT, "activation": STRING, "slope": FLOAT},
    body=_body,
    selector="activation",
    effects={"addend": "added"},
    plugin=False,
)


def _rules(variant: Callable[[type[Norm]], type[Norm]]) -> tuple[tuple[pattern.RewriteRule, ...], ...]:
    """What takes more ops away comes first."""
    added = (rule_of(variant(kind)).commute() for kind in (AddedReluNorm, AddedLeakyReluNorm))
    return (
        tuple(rule for rules in added for rule in rules),
        (rule_of(variant(ReluNorm)), rule_of(variant(LeakyReluNorm))),
        tuple(rule_of(variant(AddedNorm)).commute()),
        (rule_of(variant(Norm)),),
    )


RULES = _rules(lambda kind: kind)
CUDA_RULES = _rules(in_half)
