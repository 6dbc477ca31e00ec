"""Which transposed convolutions of a graph become ConvTranspose3d for the CPU, with the skip behind them."""

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from torch.nn import functional

from msdk_export.graph.trace import module_to_onnx
from tests.export.graph.test_cpu_op_rules import ops, with_cpu_ops
from tests.support.nodes import session

TRANSPOSED = """<ir_version: 10, opset_import: ["": 20]>
transposed ({type}[B,3,2,3,4] x, {type}[B,2,4,6,8] skip) => ({type}[B,s,t,u,v] y{outputs})
<{type}[3,4,2,2,2] weight, {type}[4] bias>
{{
    {inputs}
    {nodes}
}}"""


def transposed(nodes, type="float", outputs="", constant=True):
    """A ConvTranspose of constants, or of a weight that depends on x, and what follows it."""
    rng = np.random.default_rng(14)
    inputs = "" if constant else "first = ReduceSum (x)\nweight = Add (held, first)"
    model = onnx.parser.parse_model(TRANSPOSED.format(nodes=nodes, type=type, outputs=outputs, inputs=inputs))
    dtype = np.float32 if type == "float" else np.float16
    for name, shape in (("weight" if constant else "held", (3, 4, 2, 2, 2)), ("bias", (4,))):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(dtype), name)
        )
    return model


LARGER = "larger = ConvTranspose <strides = [2, 2, 2]> (x, weight, bias)\n"


@pytest.mark.parametrize(
    ("nodes", "inputs"),
    [
        ("y = ConvTranspose <strides = [2, 2, 2]> (x, weight, bias)", 3),
        ("y = ConvTranspose <strides = [2, 2, 2], kernel_shape = [2, 2, 2]> (x, weight)", 3),
        (LARGER + "y = Concat <axis = 1> (larger, skip)", 4),
        (LARGER + "y = Concat <axis = -4> (larger, skip)", 4),
        (LARGER.replace(", bias", "") + "y = Concat <axis = 1> (larger, skip)", 4),
    ],
)
def test_a_transposed_convolution_and_the_skip_behind_it_are_one_op(nodes, inputs):
    plain = transposed(nodes)
    named = with_cpu_ops(plain)
    assert ops(named) == {"ConvTranspose3d": 1}
    (node,) = named.graph.node
    assert len(node.input) == inputs
    onnx.checker.check_model(named, full_check=True)
    rng = np.random.default_rng(15)
    fed = {
        "x": rng.standard_normal((2, 3, 2, 3, 4), dtype=np.float32),
        "skip": rng.standard_normal((2, 2, 4, 6, 8), dtype=np.float32),
    }
    (expected,) = session(plain, library=False).run(None, fed)
    for options in ({}, {"cpu_ops": False}, {"library": False}):
        np.testing.assert_allclose(session(named, **options).run(None, fed)[0], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (
            {"nodes": LARGER + "y = Concat <axis = 1> (skip, larger)"},
            {"ConvTranspose3d": 1, "Concat": 1},
        ),
        (
            {"nodes": LARGER + "y = Concat <axis = 1> (larger, larger)"},
            {"ConvTranspose3d": 1, "Concat": 1},
        ),
        (
            {"nodes": LARGER + "y = Concat <axis = 1> (larger, skip, skip)"},
            {"ConvTranspose3d": 1, "Concat": 1},
        ),
        (
            {
                "nodes": LARGER + "y = Concat <axis = 1> (larger, skip)\nz = Neg (larger)",
                "outputs": ", float[B,s,t,u,v] z",
            },
            {"ConvTranspose3d": 1, "Concat": 1, "Neg": 1},
        ),
        ({"nodes": "y = ConvTranspose (x, weight, bias)"}, {"ConvTranspose": 1}),
        ({"nodes": "y = ConvTranspose <strides = [2, 2, 1]> (x, weight, bias)"}, {"ConvTranspose": 1}),
        (
            {"nodes": "y = ConvTranspose <strides = [2, 2, 2], pads = [1, 0, 0, 1, 0, 0]> (x, weight, bias)"},
            {"ConvTranspose": 1},
        ),
        (
            {"nodes": "y = ConvTranspose <strides = [2, 2, 2], output_padding = [1, 0, 0]> (x, weight)"},
            {"ConvTranspose": 1},
        ),
        (
            {"nodes": 'y = ConvTranspose <strides = [2, 2, 2], auto_pad = "SAME_UPPER"> (x, weight, bias)'},
            {"ConvTranspose": 1},
        ),
        (
            {"nodes": "y = ConvTranspose <strides = [2, 2, 2]> (x, weight, bias)", "constant": False},
            {"ReduceSum": 1, "Add": 1, "ConvTranspose": 1},
        ),
        (
            {"nodes": "y = ConvTranspose <strides = [2, 2, 2]> (x, weight, bias)", "type": "float16"},
            {"ConvTranspose": 1},
        ),
    ],
    ids=str,
)
def test_any_other_transposed_convolution_stays(options, found):
    assert ops(with_cpu_ops(transposed(**options))) == found


class Repeated(torch.nn.Module):
    """Voxels repeated, a convolution of single voxels, and a skip, as U-Mamba's decoder has them."""

    def __init__(self, scale, kernel=1, mode="nearest", bias=True, **options):
        super().__init__()
        self.scale, self.mode = scale, mode
        self.conv = torch.nn.Conv3d(3, 4, kernel, bias=bias, **options)

    def forward(self, x, skip):
        return torch.cat(
            (self.conv(functional.interpolate(x, scale_factor=self.scale, mode=self.mode)), skip), 1
        )


def exported(module, x, skip):
    return module_to_onnx(module.eval(), [x, skip], ["x", "skip"], ["y"], dynamic_batch=False)


@pytest.mark.parametrize("scale", [(2, 2, 2), (1, 2, 2), (2, 1, 1)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_repeated_voxels_is_a_transposed_one(scale, bias):
    torch.manual_seed(3)
    module, x = Repeated(scale, bias=bias), torch.randn(2, 3, 3, 4, 5)
    skip = torch.randn(2, 2, *(side * factor for side, factor in zip(x.shape[2:], scale, strict=True)))
    named = with_cpu_ops(exported(module, x, skip))
    assert ops(named) == {"ConvTranspose3d": 1}
    fed = {"x": x.numpy(), "skip": skip.numpy()}
    for options in ({}, {"cpu_ops": False, "library": False}):
        (y,) = session(named, **options).run(None, fed)
        np.testing.assert_allclose(y, module(x, skip).detach(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "module",
    [
        Repeated((3, 3, 3)),
        Repeated((2, 2, 2), kernel=3, padding=1),
        Repeated((2, 2, 2), mode="nearest-exact"),
        Repeated((2, 2, 2), mode="trilinear"),
    ],
    ids=["by three", "of more voxels", "from the nearest centre", "between voxels"],
)
def test_other_convolutions_of_larger_images_stay(module):
    x = torch.randn(1, 3, 2, 3, 4)
    skip = torch.randn(1, 2, *(module.scale[0] * side for side in x.shape[2:]))
    named = with_cpu_ops(exported(module, x, skip))
    assert not {"ConvTranspose3d", "ConvTranspose"} & set(ops(named))
    (y,) = session(named).run(None, {"x": x.numpy(), "skip": skip.numpy()})
    np.testing.assert_allclose(y, module(x, skip).detach(), rtol=0, atol=4e-6)
