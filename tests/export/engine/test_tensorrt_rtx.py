"""Every exported graph, cut at the msdk ops, parsed and built by TensorRT-RTX for three GPUs, without one."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch

from msdk_export.checkpoints import build_model, load_checkpoint
from msdk_export.demo_network import OWN_WEIGHTS
from msdk_export.description import describe
from msdk_export.graph.functions import attach_functions
from msdk_export.graph.trace import to_onnx
from msdk_export.models import MSDKMamba, MSDKMambaConfig, SegMamba, SegMambaConfig
from tests.support import rtx_build
from tests.support.around_ops import cut, rejoin

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="TensorRT-RTX is for x86-64 Linux"
)

TARGETS = ("SM86", "SM89", "SM120")


DESCRIPTION = {
    "family": "any",
    "config": {},
    "channels": ["flair", "t1"],
    "labels": {"background": 0, "edema": 2, "core": 4},
}


def small_msd_kmamba():
    network = MSDKMamba(MSDKMambaConfig(in_channels=2, num_classes=3, dims=(8, 16), depths=(1, 1)))
    return network, DESCRIPTION | {"window": (16, 16, 16)}


def small_segmamba():
    network = SegMamba(SegMambaConfig(2, 3, (8, 16, 24, 32), (1, 1, 1, 1), 48))
    return network, DESCRIPTION | {"window": (32, 32, 32)}


def demo():
    weights, description = load_checkpoint(OWN_WEIGHTS)
    return build_model(description, weights), description


NETWORKS = {make.__name__: make for make in (small_msd_kmamba, small_segmamba, demo)}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    torch.manual_seed(9)
    module, description = NETWORKS[request.param]()
    return request.param, module.eval().requires_grad_(False), describe(description)


@pytest.fixture(scope="module", params=["float32", "float16"])
def named_graph(request, network):
    name, module, description = network
    return f"{name} {request.param}", to_onnx(module, description, request.param)


def run_builder(path, *targets):
    """(exit code, what each target came to, what else was said)"""
    command = [sys.executable, str(Path(rtx_build.__file__)), str(path), *targets]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def cut_graph(named_graph, tmp_path):
    name, model = named_graph
    path = tmp_path / "cut.onnx"
    path.write_bytes(cut(model).SerializeToString())
    return name, path


def test_the_cut_leaves_out_the_msdk_nodes_and_nothing_else(named_graph):
    _, model = named_graph
    around = cut(model)
    onnx.checker.check_model(around, full_check=True)
    left = [node.name for node in model.graph.node if node.domain != "msdk"]
    assert [node.name for node in around.graph.node] == left
    assert len(left) < len(model.graph.node)
    assert len(around.graph.input) > 1
    assert len(around.graph.output) > 1
    again = rejoin(around, model)
    onnx.checker.check_model(attach_functions(again), full_check=True)
    assert sorted(node.name for node in again.graph.node) == sorted(node.name for node in model.graph.node)
    assert [list(again.graph.input), list(again.graph.output)] == [
        list(model.graph.input),
        list(model.graph.output),
    ]


def test_tensorrt_rtx_builds_the_graph(cut_graph):
    name, path = cut_graph
    code, built, said = run_builder(path, *TARGETS)
    assert code == 0, said[-2000:]
    assert [entry["target"] for entry in built] == list(TARGETS)
    for entry in built:
        print(f"{name} {entry['target']}: {entry['layers']} layers, {entry['seconds']:.1f} s", end=", ")
        print(f"{entry['bytes']} bytes")
        assert entry["bytes"] > 10_000
        assert not entry["tf32"], "TF32 is on by default, and float32 engines would not agree with PyTorch"
    assert "TensorRT: " in said, "the progress bar names TensorRT's phases"


def test_ctrl_c_stops_a_build(cut_graph):
    _, path = cut_graph
    code, (stopped,), said = run_builder(path, "interrupt")
    assert code == 0, said[-2000:]
    assert "BuildCanceled" in stopped["said"]


def test_a_graph_that_tensorrt_refuses_is_an_error_that_names_the_node(tmp_path):
    text = """<ir_version: 8, opset_import: ["": 20]>
        odd (float[N,3] image) => (float[N,3] logits) { [culprit] logits = NoSuchOp (image) }"""
    model = onnx.parser.parse_model(text)
    (tmp_path / "cut.onnx").write_bytes(model.SerializeToString())
    code, built, said = run_builder(tmp_path / "cut.onnx", "SM86")
    assert (code, built) == (1, [])
    assert "ExportError: TensorRT" in said
    assert "NoSuchOp culprit" in said
