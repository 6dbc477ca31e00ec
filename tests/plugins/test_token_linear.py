"""TokenLinear in ONNX Runtime against the float64 oracle."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_export.graph.functions import attach_functions
from tests.support import oracle
from tests.support.nodes import node_model, run_node, session


def inputs_of(batch, sets, channels, outputs, length, added, seed=4):
    """sets: 0 for tensors without that axis."""
    rng = np.random.default_rng(seed)
    over = (sets,) if sets else ()
    shapes = {
        "x": (batch, *over, channels, length),
        "weight": (*over, outputs, channels),
        "addend": (batch, *over, outputs, length),
    }
    inputs = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    return inputs if added else {name: inputs[name] for name in ("x", "weight")}


def check(actual, inputs):
    size = np.abs(inputs["weight"]).sum(-1).max() * np.abs(inputs["x"]).max()
    np.testing.assert_allclose(actual, oracle.token_linear(**inputs), rtol=0, atol=1e-6 * (1 + size))


SIZE = st.integers(1, 40)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 2), st.integers(0, 3), SIZE, SIZE, st.integers(1, 900), st.booleans(), st.booleans())
def test_agrees_with_the_oracle(batch, sets, channels, outputs, length, added, constant):
    inputs = inputs_of(batch, sets, channels, outputs, length, added)
    constants = ("weight",) if constant else ()
    fed = {name: array for name, array in inputs.items() if name not in constants}
    for threads in (1, 3):
        run = session(node_model("TokenLinear", inputs, constants), threads)
        check(run.run(None, fed)[0], inputs)


@pytest.mark.parametrize("sets", [0, 2])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("library", [True, False])
def test_its_body_is_the_oracle_where_nobody_asked_for_cpu_ops(library, added, sets):
    inputs = inputs_of(2, sets, 5, 7, 33, added)
    model = attach_functions(node_model("TokenLinear", inputs))
    check(session(model, library=library, cpu_ops=False).run(None, inputs)[0], inputs)


@pytest.mark.parametrize(
    ("changed", "shape", "sentence"),
    [
        ("x", (2, 4, 33), "x: expected shape (any, 5, any), got (2, 4, 33)"),
        ("x", (2, 1, 5, 33), "x: expected shape (any, 5, any), got (2, 1, 5, 33)"),
        ("weight", (7,), "weight: expected at least 2 axes, got 1"),
        ("weight", (1, 1, 7, 5), "weight: expected shape (any, any, any), got (1, 1, 7, 5)"),
        ("weight", (3, 7, 5), "x: expected shape (any, 3, 5, any), got (2, 5, 33)"),
        ("addend", (2, 7, 32), "addend: expected shape (2, 7, 33), got (2, 7, 32)"),
        ("weight", (0, 5), "output channels of weight: expected 1 to 2147483647, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(changed, shape, sentence):
    inputs = inputs_of(2, 0, 5, 7, 33, added=True) | {changed: np.zeros(shape, np.float32)}
    with pytest.raises(Exception, match=re.escape(sentence)):
        run_node("TokenLinear", inputs)
