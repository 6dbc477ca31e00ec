"""msdk::TrilinearUpsample stands for ONNX's Resize by two in 3D, and the addition of a skip after it."""

from collections.abc import Collection
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_export.ops.matching import OURS, constant_of, have_same_shape, node_of, rule_of
from msdk_export.ops.spec import OpSpec


class Upsampling(pattern.RewriteRuleClassBase):
    """Resize -> TrilinearUpsample."""

    def pattern(self, op: Any, x: Any, scales: Any) -> Any:
        return op.Resize(x, None, scales, _outputs=["doubled"])

    def check(self, context: object, x: ir.Value, scales: ir.Value, doubled: ir.Value) -> bool:
        given = node_of(doubled).attributes
        return (
            x.dtype == ir.DataType.FLOAT
            and scales.const_value is not None
            and constant_of(scales).tolist() == [1, 1, 2, 2, 2]
            and given.get_string("mode", "nearest") == "linear"
            and given.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel"
            and "axes" not in given
        )

    def rewrite(self, op: Any, x: ir.Value, scales: ir.Value, doubled: ir.Value) -> Any:
        return op.TrilinearUpsample(x, **OURS)


class AddedUpsampling(Upsampling):
    """Resize and Add -> TrilinearUpsample."""

    def pattern(self, op: Any, x: Any, scales: Any, addend: Any) -> Any:
        return op.Add(op.Resize(x, None, scales, _outputs=["doubled"]), addend)

    def check(
        self, context: object, x: ir.Value, scales: ir.Value, doubled: ir.Value, addend: ir.Value
    ) -> bool:
        alike = have_same_shape(doubled, addend) and addend is not doubled
        return alike and super().check(context, x, scales, doubled)

    def rewrite(self, op: Any, x: ir.Value, scales: ir.Value, doubled: ir.Value, addend: ir.Value) -> Any:
        return op.TrilinearUpsample(x, addend, **OURS)


def _body(selected: str, given: Collection[str]) -> str:
    doubled = """scales = Constant <value_floats = [1.0, 1.0, 2.0, 2.0, 2.0]> ()
        doubled = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (x, , scales)"""
    return f"""
    ({"x, addend" if "addend" in given else "x"}) => (y)
    {{
        {doubled}
        y = {"Add (doubled, addend)" if "addend" in given else "Identity (doubled)"}
    }}"""


SPEC = OpSpec(
    name="TrilinearUpsample",
    inputs=["x", "addend?"],
    attributes={},
    body=_body,
    effects={"addend": "added"},
    plugin=False,
)
# In two passes: nodes are visited in order, and a Resize comes before its Add.
RULES = (tuple(rule_of(AddedUpsampling).commute()), (rule_of(Upsampling),))
