"""msdk::NormConv3d is msdk::Conv3d between instance norms.

It takes the norm and the activation before it, which it applies as it reads x, and gives the moments of y to
the norm behind it. What is normalised is never in memory.
"""

from collections.abc import Collection

from msdk_export.ops.instance_norm import norm_text
from msdk_export.ops.spec import FLOAT, INT, INTS, STRING, OpSpec


def _body(selected: str, given: Collection[str]) -> str:
    optional = ("norm_weight", "norm_bias", "x_moments")
    inputs = ", ".join(("x", "weight", "bias", *(name for name in optional if name in given)))
    is_normed = "norm_weight" in given
    read = norm_text(selected, "x", "norm_weight", "norm_bias") if is_normed else "Identity (x)"
    activation = f'activation: string = "{selected or "none"}"'
    return f"""
    <strides, pads, group, epsilon: float = 1e-5, slope: float = 0.01, {activation}>
    ({inputs}) => ({"y, moments" if "moments" in given else "y"})
    {{
        read = {read}
        y = Conv <strides: ints = @strides, pads: ints = @pads, group: int = @group> (read, weight, bias)
        {"moments = Constant <value = double[0] {}> ()" if "moments" in given else ""}
    }}"""


SPEC = OpSpec(
    name="NormConv3d",
    inputs=["x", "weight", "bias", "norm_weight:float?", "norm_bias:float?", "x_moments:double?"],
    outputs=["y", "moments:double?"],
    attributes={
        "strides": INTS,
        "pads": INTS,
        "group": INT,
        "epsilon": FLOAT,
        "activation": STRING,
        "slope": FLOAT,
    },
    body=_body,
    selector="activation",
    effects={"norm_weight": "normed", "x_moments": "informed", "moments": "informing"},
    plugin=False,
)
