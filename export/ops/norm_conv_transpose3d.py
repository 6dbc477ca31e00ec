"""msdk::NormConvTranspose3d is msdk::ConvTranspose3d that normalises its skip or both as it reads."""

from collections.abc import Collection

from msdk_export.ops.instance_norm import ACTIVATIONS
from msdk_export.ops.spec import FLOAT, INTS, STRING, OpSpec

_OPTIONAL = ("skip_moments", "x_norm_weight", "x_norm_bias", "x_moments")


def _body(selected: str, given: Collection[str]) -> str:
    optional = [name for name in _OPTIONAL if name in given]
    inputs = ", ".join(("x", "weight", "bias", "skip", "norm_weight", "norm_bias", *optional))
    activation = ACTIVATIONS[selected]
    read = "read = Identity (x)"
    if "x_norm_weight" in given:
        read = f"""norm = InstanceNormalization <epsilon: float = @epsilon> (x, x_norm_weight, x_norm_bias)
        read = {activation.format("norm")}"""
    return f"""
    <strides, epsilon: float = 1e-5, slope: float = 0.01, activation: string = "{selected}">
    ({inputs}) => (y)
    {{
        {read}
        larger = ConvTranspose <strides: ints = @strides> (read, weight, bias)
        skip_norm = InstanceNormalization <epsilon: float = @epsilon> (skip, norm_weight, norm_bias)
        behind = {activation.format("skip_norm")}
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
