"""The built TensorRT plugin library in TensorRT's own plugin registry (the lean runtime's, on a CPU)."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import msdk_rt

LIBRARY = Path(msdk_rt.ops_library()).parent / "libmsdk_tensorrt.so"
HAS_NVCC = shutil.which("nvcc") is not None or Path("/usr/local/cuda/bin/nvcc").exists()

pytestmark = pytest.mark.skipif(
    not LIBRARY.exists() and not HAS_NVCC, reason="no CUDA compiler: the TensorRT plugins were not built"
)

# A separate process, since a library stays in the registry. No Runtime is made: without a GPU TensorRT
# crashes at exit after one.
REGISTRY = """
import json, sys
import numpy as np
import tensorrt_lean_bindings as trt

registry = trt.get_plugin_registry()
library, requests = sys.argv[1], json.loads(sys.argv[2])
before = {creator.name for creator in registry.all_creators}
assert registry.load_library(library) is not None
report = {"version": trt.__version__, "plugins": [], "creators": {}}
for creator in registry.all_creators:
    if creator.name not in before:
        key = creator.name, creator.plugin_version, creator.plugin_namespace
        assert registry.get_creator(*key) is not None
        report["creators"][creator.name] = {
            "version": creator.plugin_version,
            "namespace": creator.plugin_namespace,
            "fields": {field.name: field.type.name for field in creator.field_names},
        }
assert registry.get_creator("DirectionalConv1d", "1", "") is None
assert registry.get_creator("DirectionalConv1d", "2", "msdk") is None

TYPES = {"FLOAT32": np.float32, "FLOAT64": np.float64, "INT32": np.int32}
alive = []  # a PluginField points at its array and does not keep it


def field(name, type_name, value):
    if type_name == "CHAR":
        data = np.frombuffer(value.encode(), np.int8)
    else:
        data = np.array([value], TYPES[type_name])
    alive.append(data)
    return trt.PluginField(name, data, getattr(trt.PluginFieldType, type_name))


for op, phase, fields in requests:
    creator = registry.get_creator(op, "1", "msdk")
    collection = trt.PluginFieldCollection([field(*each) for each in fields])
    plugin = creator.create_plugin("node", collection, getattr(trt.TensorRTPhase, phase))
    if plugin is None:
        report["plugins"].append(None)
        continue
    kinds = trt.PluginCapabilityType
    core, build, runtime = map(plugin.get_capability_interface, (kinds.CORE, kinds.BUILD, kinds.RUNTIME))
    report["plugins"].append(
        {
            "name": [core.plugin_namespace, core.plugin_name, core.plugin_version],
            "outputs": build.num_outputs,
            "metadata": build.metadata_string,
            "cache": build.timing_cache_id,
            "interfaces": [c.interface_info.kind for c in (plugin, core, build, runtime)],
        }
    )
print(json.dumps(report))
"""

GOOD = [
    ("DirectionalConv1d", "BUILD", [], "directions=forward,backward"),
    (
        "DirectionalConv1d",
        "BUILD",
        [
            ("plugin_version", "CHAR", "1"),
            ("directions", "CHAR", "slices:37:backward"),
            ("plugin_namespace", "CHAR", "msdk"),
        ],
        "directions=slices:37:backward",
    ),
    ("BidirectionalSelectiveScan", "BUILD", [], "directions=forward,backward;scale=1"),
    (
        "BidirectionalSelectiveScan",
        "RUNTIME",
        [("inputs", "INT32", 6), ("scale", "FLOAT32", 0.5), ("directions", "CHAR", "backward\0")],
        "directions=backward;scale=0.5",
    ),
    ("KanLinear", "BUILD", [("grid_max", "FLOAT32", 2.5)], "grid_min=-1;grid_max=2.5"),
]
BAD = [
    (
        "DirectionalConv1d",
        "BUILD",
        [("directions", "CHAR", "sideways")],
        "expected forward, backward, .* got 'sideways'",
    ),
    (
        "DirectionalConv1d",
        "BUILD",
        [("direction", "CHAR", "forward")],
        "fields among directions, got 'direction'",
    ),
    (
        "BidirectionalSelectiveScan",
        "BUILD",
        [("scale", "FLOAT64", 0.5)],
        "scale: expected a field of type float32",
    ),
    (
        "BidirectionalSelectiveScan",
        "BUILD",
        [("inputs", "INT32", 7)],
        "fields among directions, scale, got 'inputs'",
    ),
    ("BidirectionalSelectiveScan", "RUNTIME", [("inputs", "INT32", 3)], "6 to 7, got 3"),
    ("KanLinear", "BUILD", [("grid_min", "FLOAT32", 1.0)], "grid_min below grid_max, got 1.0* and 1.0*"),
]


def test_the_registry_loads_the_library_and_creates_plugins():
    pytest.importorskip(
        "tensorrt_lean_bindings", reason="TensorRT's lean runtime has no wheel for this platform"
    )
    requests = [case[:3] for case in GOOD + BAD]
    done = subprocess.run(
        [sys.executable, "-c", REGISTRY, LIBRARY, json.dumps(requests)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    print(done.stderr)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    print("TensorRT", report["version"])
    assert report["creators"] == {
        "DirectionalConv1d": {"version": "1", "namespace": "msdk", "fields": {"directions": "CHAR"}},
        "BidirectionalSelectiveScan": {
            "version": "1",
            "namespace": "msdk",
            "fields": {"directions": "CHAR", "scale": "FLOAT32"},
        },
        "KanLinear": {
            "version": "1",
            "namespace": "msdk",
            "fields": {"grid_min": "FLOAT32", "grid_max": "FLOAT32"},
        },
    }
    for (op, _, _, attributes), plugin in zip(GOOD, report["plugins"][: len(GOOD)], strict=True):
        assert plugin["name"] == ["msdk", op, "1"]
        assert plugin["outputs"] == 1
        assert plugin["metadata"] == plugin["cache"] == f"msdk::{op} 1 {attributes}"
        assert plugin["interfaces"] == [
            "PLUGIN",
            "PLUGIN_V3ONE_CORE",
            "PLUGIN_V3ONE_BUILD",
            "PLUGIN_V3ONE_RUNTIME",
        ]
    assert report["plugins"][len(GOOD) :] == [None] * len(BAD)
    messages = [line for line in done.stderr.splitlines() if "msdk::" in line]
    for (op, _, _, sentence), message in zip(BAD, messages, strict=True):
        assert re.search(rf"msdk::{op}: .*{sentence}", message)


def symbols(*arguments):
    listed = subprocess.run(
        ["nm", "-D", *arguments, LIBRARY], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[-1].split("@")[0] for line in listed.splitlines()}


def test_the_library_stands_on_its_own():
    """It must load beside any TensorRT, and where there is no GPU driver at all."""
    dynamic = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[([^\]]+)\]", dynamic))
    system = {"libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0"}
    assert {name for name in needed if not name.startswith("ld-linux")} <= system
    assert symbols("--defined-only") == {"getCreators", "setLoggerFinder"}
    foreign = re.compile(
        r"^(cu[A-Z]|cuda[A-Z]|__cuda|nvinfer|createInfer|getPluginRegistry|getLogger)|nvinfer1"
    )
    assert not {name for name in symbols("--undefined-only") if foreign.search(name)}
