"""The one library of CPU and CUDA ops on a machine without a GPU, and its float16 nodes there."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import msdk_rt
from tests.support import oracle
from tests.support.cases import ConvCase, KanCase, ScanCase
from tests.support.nodes import run_node

SCAN = ScanCase(B=2, K=3, D=5, L=33, N=7, R=2, directions="slices:3,backward,forward", has_z=True, scale=0.5,
                seed=11, extreme=False)  # fmt: skip
CONV = ConvCase(B=1, K=2, D=3, L=35, W=4, directions="forward,slices:7:backward", seed=12)
KAN = KanCase(B=1, C=3, O=5, L=17, G=8, grid_min=-1.0, grid_max=1.0, seed=13)


def dynamic_section(library):
    return subprocess.run(
        ["readelf", "--dynamic", "--dyn-syms", "--wide", library], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    "library", sorted(msdk_rt.ops_library().parent.glob("*.so")), ids=lambda path: path.name
)
def test_a_shipped_library_needs_no_gpu_to_load(library):
    ctypes.CDLL(str(library))
    section = dynamic_section(library)
    needed = re.findall(r"NEEDED.*\[(.+?)\]", section)
    assert needed
    assert [name for name in needed if re.search("cuda|nv|onnxruntime|stdc", name)] == []
    undefined = re.findall(r" UND (\w+)", section)
    assert "malloc" in undefined or "memcpy" in undefined
    assert [name for name in undefined if re.match(r"_*cu[A-Z]|_*cuda|nv|Ort", name)] == []


def test_the_library_exports_its_entry_points_alone():
    """Not even weak symbols of the C++ library inside, which would be merged with another library's."""
    listed = subprocess.run(
        ["nm", "--dynamic", "--defined-only", msdk_rt.ops_library()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == [
        "RegisterCustomOps",
        "msdk_cpu_kernels",
    ]


def half(inputs, names):
    return {name: array.astype(np.float16) if name in names else array for name, array in inputs.items()}


@pytest.mark.parametrize(
    ("op", "reference", "case", "names", "attributes"),
    [
        ("BidirectionalSelectiveScan", oracle.bidirectional_selective_scan, SCAN, ("u", "x_dbl", "z"),
         {"directions": SCAN.directions, "scale": SCAN.scale}),
        ("DirectionalConv1d", oracle.directional_conv1d, CONV, ("x",), {"directions": CONV.directions}),
        ("KanLinear", oracle.kan_linear, KAN, ("x",), {"grid_min": KAN.grid_min, "grid_max": KAN.grid_max}),
    ],
)  # fmt: skip
def test_float16_nodes_run_on_the_cpu_within_float16_rounding(op, reference, case, names, attributes):
    """ONNX Runtime casts around the float32 op, as it does around its own."""
    inputs = half(case.inputs(), names)
    y = run_node(op, inputs, **attributes)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, reference(**inputs, **attributes), rtol=1e-3, atol=1e-4)


def test_a_parameter_in_float16_is_refused():
    inputs = half(SCAN.inputs(), ("u", "x_dbl", "z", "A"))
    with pytest.raises(Exception, match="BidirectionalSelectiveScan"):
        run_node("BidirectionalSelectiveScan", inputs, directions=SCAN.directions)


RUN_THE_SCAN = """
import pathlib, sys, msdk_rt
msdk_rt.ops_library = lambda: pathlib.Path(sys.argv[1])
from tests.plugins.test_ort_library import SCAN, run_node
assert run_node("BidirectionalSelectiveScan", SCAN.inputs(), directions=SCAN.directions).shape == (2, 5, 33)
"""


def test_nothing_newer_than_the_oldest_api_is_called(tmp_path):
    """The headers' own conveniences call entries that the oldest ONNX Runtime taken does not have."""
    here, shim = Path(__file__).parent, tmp_path / "libold.so"
    compiler = os.environ.get("CXX", "g++")
    subprocess.run(
        [compiler, "-shared", "-fPIC", here / "old_onnxruntime.cpp", "-o", shim, "-ldl"], check=True
    )
    environment = {**os.environ, "MSDK_LIBRARY": str(msdk_rt.ops_library())}
    done = subprocess.run(
        [sys.executable, "-c", RUN_THE_SCAN, shim],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
