"""Convolutions that normalise what they read, in ONNX Runtime: the oracle's norm, then its convolution."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest

import msdk_rt
from msdk_export.graph.functions import attach_functions
from tests.support import oracle
from tests.support.cases import Conv3dCase, ConvTranspose3dCase
from tests.support.grids import conv3d_grid, conv_transpose3d_grid
from tests.support.nodes import node_model, session

THREADS = (1, 2, 3, 5)
ACTIVATIONS = ("none", "relu", "leaky_relu")
CONVOLUTIONS = conv3d_grid(seed=21)[::2]
TRANSPOSED = [case for case in conv_transpose3d_grid(seed=22) if case.skip_channels]
BEYOND_CACHES = 6 << 20  # floats, kFloatsOfCaches of plugins/cpu/simd.h
PLAIN = Conv3dCase(2, 3, 4, (5, 6, 7), (3, 3, 3), (1, 1, 1), (1,) * 6, 1, has_bias=True, seed=23)
DOUBLED = ConvTranspose3dCase(2, 3, 4, (3, 4, 5), (2, 2, 2), skip_channels=2, seed=24)


def norm_of(index, channels):
    """A norm of so many channels, and the mean of what it normalises in deviations."""
    rng = np.random.default_rng(index)
    weight, bias = (rng.standard_normal(channels).astype(np.float32) for _ in range(2))
    attributes = {"epsilon": 1e-3, "activation": ACTIVATIONS[index % 3], "slope": 0.2}
    return {"norm_weight": weight, "norm_bias": bias}, attributes, (0, 5, 300)[index // 3 % 3]


def moments_of(x):
    axes = (2, 3, 4)
    return np.stack([x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64)], axis=-1)


def normalised(x, norm, attributes):
    return oracle.instance_norm(x, *norm.values(), **attributes)


def assert_close(actual, expected, mean=0):
    """float32 sums of as many terms; a norm's input is as precise as its mean."""
    assert actual.shape == expected.shape
    limit = (4e-6 + 1e-7 * mean) * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=limit)


def conv_inputs(case, norm, mean=0):
    inputs = case.inputs()
    bias = np.zeros(case.O, np.float32) if inputs["bias"] is None else inputs["bias"]
    x = (inputs["x"] + mean).astype(np.float32)
    return {"x": x, "weight": inputs["weight"], "bias": bias, **norm}


@pytest.mark.parametrize(("index", "case"), list(enumerate(CONVOLUTIONS)))
def test_a_convolution_of_what_a_norm_gives(index, case):
    """With moments as an input and without; the moments of y are exact."""
    print(case)
    norm, attributes, mean = norm_of(index, case.C)
    inputs = conv_inputs(case, norm, mean)
    x = inputs["x"]
    expected = oracle.conv3d(
        normalised(x, norm, attributes), inputs["weight"], inputs["bias"], **case.attributes
    )
    given = inputs | {"x_moments": moments_of(x) if index % 2 else None}
    node = session(
        node_model("NormConv3d", given, moments=True, **case.attributes, **attributes),
        THREADS[index % len(THREADS)],
    )
    feeds = {name: array for name, array in given.items() if array is not None}
    y, moments = node.run(None, feeds)
    assert_close(y, expected, mean)
    np.testing.assert_allclose(moments, moments_of(y), rtol=1e-9, atol=1e-12)
    for once, again in zip((y, moments), node.run(None, feeds), strict=True):
        np.testing.assert_array_equal(again, once, err_msg="a second run differs")


@pytest.mark.parametrize("case", CONVOLUTIONS[::5], ids=str)
def test_without_a_norm_it_is_conv3d_bit_for_bit(case):
    inputs = conv_inputs(case, {})
    (expected,) = session(node_model("Conv3d", inputs, **case.attributes)).run(None, inputs)
    (actual,) = session(node_model("NormConv3d", inputs, **case.attributes)).run(None, inputs)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(("index", "case"), list(enumerate(TRANSPOSED)))
def test_a_skip_that_a_norm_gives(index, case):
    norm, attributes, mean = norm_of(index, case.skip_channels)
    inputs = case.inputs()
    inputs["skip"] = (inputs["skip"] + mean).astype(np.float32)
    given = inputs | norm | {"skip_moments": moments_of(inputs["skip"]) if index % 2 else None}
    feeds = {name: array for name, array in given.items() if array is not None}
    node = session(
        node_model("NormConvTranspose3d", given, **case.attributes, **attributes),
        THREADS[index % len(THREADS)],
    )
    normed = {"skip": normalised(inputs["skip"], norm, attributes)}
    assert_close(
        node.run(None, feeds)[0], oracle.conv_transpose3d(**inputs | normed, **case.attributes), mean
    )


@pytest.mark.parametrize(("index", "case"), list(enumerate(TRANSPOSED[::2])))
def test_a_skip_and_what_is_doubled_that_norms_give(index, case):
    inputs = case.inputs()
    norm, attributes, _ = norm_of(index, case.skip_channels)
    of_x = norm_of(index + 100, case.C)[0]
    given = inputs | norm | {"skip_moments": moments_of(inputs["skip"])}
    given |= {f"x_{name}": array for name, array in of_x.items()}
    if index % 2:
        given["x_moments"] = moments_of(inputs["x"])
    normed = {
        "skip": normalised(inputs["skip"], norm, attributes),
        "x": normalised(inputs["x"], of_x, attributes),
    }
    expected = oracle.conv_transpose3d(**inputs | normed, **case.attributes)
    model = attach_functions(node_model("NormConvTranspose3d", given, **case.attributes, **attributes))
    for options in ({"threads": THREADS[index % len(THREADS)]}, {"cpu_ops": False}, {"library": False}):
        assert_close(session(model, **options).run(None, given)[0], expected)


@pytest.mark.parametrize(("channels", "stride"), [(1, 1), (3, 1), (16, 1), (2, 2)])
@pytest.mark.parametrize("outputs", [9, 40])
def test_any_number_of_threads_gives_the_same_bits(channels, stride, outputs):
    case = Conv3dCase(2, channels, outputs, (9, 14, 21), (3,) * 3, (stride,) * 3, (1,) * 6, 1, True, seed=25)
    norm, attributes, _ = norm_of(2, channels)
    inputs = conv_inputs(case, norm)
    model = node_model("NormConv3d", inputs, moments=True, **case.attributes, **attributes)
    first, *others = (session(model, threads).run(None, inputs) for threads in (1, 2, 3, 8))
    for other in others:
        for one, another in zip(first, other, strict=True):
            np.testing.assert_array_equal(another, one)


@pytest.mark.parametrize("width", [128, 125])
@pytest.mark.parametrize(("channels", "stride"), [(1, 1), (2, 1), (16, 1), (2, 2)])
def test_moments_of_a_result_beyond_the_caches(width, channels, stride):
    sides = 40, 50, stride * width
    case = Conv3dCase(1, channels, 27 * stride**2, sides, (3,) * 3, (stride,) * 3, (1,) * 6, 1, True, seed=7)
    inputs = conv_inputs(case, {})
    node = session(node_model("NormConv3d", inputs, moments=True, **case.attributes), 2)
    y, moments = node.run(None, inputs)
    assert y.size > BEYOND_CACHES
    np.testing.assert_allclose(moments, moments_of(y), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("index", range(3))
def test_their_bodies_are_the_oracle_where_nobody_asked_for_cpu_ops(library, index):
    norm, attributes, _ = norm_of(index, PLAIN.C)
    inputs = conv_inputs(PLAIN, norm)
    given = inputs | ({"x_moments": moments_of(inputs["x"])} if index else {})
    model = attach_functions(
        node_model("NormConv3d", given, moments=index > 0, **PLAIN.attributes, **attributes)
    )
    x = normalised(inputs["x"], norm, attributes)
    expected = oracle.conv3d(x, inputs["weight"], inputs["bias"], **PLAIN.attributes)
    actual, *moments = session(model, library=library, cpu_ops=False).run(None, given)
    assert_close(actual, expected)
    assert [array.size for array in moments] == ([0] if index else [])

    norm, attributes, _ = norm_of(index, DOUBLED.skip_channels)
    inputs = DOUBLED.inputs()
    given = inputs | norm | ({"skip_moments": moments_of(inputs["skip"])} if index else {})
    model = attach_functions(node_model("NormConvTranspose3d", given, **DOUBLED.attributes, **attributes))
    skip = normalised(inputs["skip"], norm, attributes)
    (actual,) = session(model, library=library, cpu_ops=False).run(None, given)
    assert_close(actual, oracle.conv_transpose3d(**inputs | {"skip": skip}, **DOUBLED.attributes))


def test_a_session_with_norms_but_without_these_ops_runs_the_norms(tmp_path):
    """As a GPU's does: their bodies have the norm as an op."""
    norm, attributes, _ = norm_of(1, PLAIN.C)
    inputs = conv_inputs(PLAIN, norm)
    model = attach_functions(node_model("NormConv3d", inputs, **PLAIN.attributes, **attributes))
    body = next(function for function in model.functions if function.name == "NormConv3d")
    body.name = model.graph.node[0].op_type = "Unknown"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.add_session_config_entry("msdk.cpu_ops", "1")
    options.register_custom_ops_library(str(msdk_rt.ops_library()))
    node = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    assert [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node] == [
        "InstanceNorm",
        "Conv",
    ]
    x = normalised(inputs["x"], norm, attributes)
    expected = oracle.conv3d(x, inputs["weight"], inputs["bias"], **PLAIN.attributes)
    assert_close(node.run(None, inputs)[0], expected)


def test_a_channel_that_is_not_finite_stays_alone():
    norm, attributes, _ = norm_of(0, 3)
    inputs = conv_inputs(PLAIN, norm)
    inputs["x"][1, 2, 0, 0, 0] = np.inf
    y, moments = session(
        node_model("NormConv3d", inputs, moments=True, **PLAIN.attributes, **attributes)
    ).run(None, inputs)
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1]).all()
    assert np.isfinite(moments[0]).all()
    assert np.isnan(moments[1]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_weight": (4,)}, "norm_weight: expected shape (3), got (4)"),
        ({"norm_bias": (3, 1)}, "norm_bias: expected shape (3), got (3, 1)"),
        ({"norm_bias": None}, "norm_bias: expected a tensor, got none"),
        ({"x_moments": (2, 3)}, "moments: expected shape (2, 3, 2), got (2, 3)"),
        ({"x_moments": (0,)}, "moments: expected shape (2, 3, 2), got (0)"),
        ({"x": (2, 3, 5, 0, 7)}, "x along height: expected"),
        ({"epsilon": -1.0}, "epsilon: expected a number of at least 0, got -1"),
        ({"activation": "gelu"}, "activation: expected none, relu or leaky_relu, got 'gelu'"),
        ({"x": (2, 4, 5, 6, 7)}, "x: expected shape (any, 3, any, any, any), got (2, 4, 5, 6, 7)"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    norm, attributes, _ = norm_of(0, 3)
    inputs = conv_inputs(PLAIN, norm)
    attributes |= {name: value for name, value in changes.items() if name in attributes}
    for name, shape in changes.items():
        if name not in attributes:
            dtype = np.float64 if name == "x_moments" else np.float32
            inputs[name] = None if shape is None else np.zeros(shape, dtype)
    feeds = {name: array for name, array in inputs.items() if array is not None}
    with pytest.raises(Exception, match=re.escape(message)):
        session(node_model("NormConv3d", inputs, **PLAIN.attributes, **attributes)).run(None, feeds)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_weight": (3,)}, "norm_weight: expected shape (2), got (3)"),
        ({"skip_moments": (1, 2, 2)}, "moments: expected shape (2, 2, 2), got (1, 2, 2)"),
        ({"skip": (2, 2, 6, 8, 9)}, "skip: expected shape (2, any, 6, 8, 10), got (2, 2, 6, 8, 9)"),
    ],
)
def test_what_does_not_fit_a_skip_is_named(changes, message):
    norm, attributes, _ = norm_of(0, DOUBLED.skip_channels)
    inputs = DOUBLED.inputs() | norm
    for name, shape in changes.items():
        inputs[name] = np.zeros(shape, np.float64 if name == "skip_moments" else np.float32)
    with pytest.raises(Exception, match=re.escape(message)):
        session(node_model("NormConvTranspose3d", inputs, **DOUBLED.attributes, **attributes)).run(
            None, inputs
        )
