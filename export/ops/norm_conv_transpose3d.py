"""msdk::NormConvTranspose3d is msdk::ConvTranspose3d that normalises its skip or both as it reads."""

from collections.abc import Collection

from msdk_export.ops.instance_norm import norm_text
from msdk_export.ops.spec import FLOAT, INTS, STRING, OpSpec

_OPTIONAL = ("skip_moments", "x_norm_weight", "x_norm_bias", "x_moments")


def _body(selected: str, given: Collection[str]) -> str:
    optional = [name for name in _OPTIONAL if name in given]
    inputs = ", ".join(("x", "weight", "bias", "skip", "norm_weight", "norm_bias", *optional))
    is_normed = "x_norm_weight" in given
    read = norm_text(selected, "x", "x_norm_weight", "x_norm_bias") if is_normed else "Identity (x)"
    return f"""
    <strides, epsilon: float = 1e-5, slope: float = 0.01, activation: string = "{selected}">
    ({inputs}) => (y)
    {{
        read = {read}
        larger = ConvTranspose <strides: ints = @strides> (read, weight, bias)
        behind = {norm_text(selected, "skip", "norm_weight", "norm_bias")}
        y = Concat <axis = 1> (larger, behind)
    }}"""


SPEC = OpSpec(
    name="NormConvTranspose3d",
    inputs=[
        *("x", "weight", "bias", "skip", "norm_weight:float", "norm_bias:float", "skip_moments:double?"),
        *("x_norm_weight:float?", "x_norm_bias:float?", "x_moments:double?"),
    ],
    attributes={"strides": INTS, "epsilon": FLOAT, "activation": STRING, "slope": FLOAT},
    body=_body,
    selector="activation",
    effects={"skip_moments": "informed", "x_norm_weight": "normed", "x_moments": "of_both"},
    plugin=False,
)
