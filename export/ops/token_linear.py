"""msdk::TokenLinear stands for ONNX's MatMul of a weight with channels-first tokens, and an Add after it."""

from collections.abc import Collection
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, constant_of, have_same_shape, is_float_constant, rule_of
from msdk_export.ops.spec import OpSpec

_LEAST_OUTPUTS = 2  # a row alone is a mean or the like


class Linear(pattern.RewriteRuleClassBase):
    """MatMul -> TokenLinear."""

    def pattern(self, op: Any, x: Any, weight: Any) -> Any:
        return op.MatMul(weight, x, _outputs=["product"])

    def check(
        self, context: object, x: ir.Value, weight: ir.Value, product: ir.Value, **others: ir.Value
    ) -> bool:
        if not is_float_constant(weight) or x.dtype != ir.DataType.FLOAT or x.shape is None:
            return False
        shape = constant_of(weight).shape
        if len(shape) not in (2, 3) or shape[-2] < _LEAST_OUTPUTS or len(x.shape) != len(shape) + 1:
            return False
        return len(shape) == 2 or x.shape[1] == shape[0]

    def rewrite(self, op: Any, x: ir.Value, weight: ir.Value, product: ir.Value) -> Any:
        return op.TokenLinear(x, weight, **OURS)


class AddedLinear(Linear):
    """MatMul and Add -> TokenLinear."""

    def pattern(self, op: Any, x: Any, weight: Any, addend: Any) -> Any:
        return op.Add(op.MatMul(weight, x, _outputs=["product"]), addend)

    def check(
        self,
        context: object,
        x: ir.Value,
        weight: ir.Value,
        product: ir.Value,
        addend: ir.Value,
        **others: ir.Value,
    ) -> bool:
        alike = have_same_shape(product, addend) and addend is not product
        return alike and super().check(context, x, weight, product)

    def rewrite(self, op: Any, x: ir.Value, weight: ir.Value, product: ir.Value, addend: ir.Value) -> Any:
        return op.TokenLinear(x, weight, addend, **OURS)


def _body(selected: str, given: Collection[str]) -> str:
    return f"""
    ({"x, weight, addend" if "addend" in given else "x, weight"}) => (y)
    {{
        product = MatMul (weight, x)
        y = {"Add (product, addend)" if "addend" in given else "Identity (product)"}
    }}"""


SPEC = OpSpec(
    name="TokenLinear",
    inputs=["x", "weight", "addend?"],
    attributes={},
    body=_body,
    effects={"addend": "added"},
    plugin=False,
)
# Behind the norm of tokens, whose means are products. In two passes: nodes are visited in order, and a MatMul
# comes before its Add.
RULES = ((), tuple(rule_of(AddedLinear).commute()), (rule_of(Linear),))
