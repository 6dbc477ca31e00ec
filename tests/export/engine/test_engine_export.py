"""model.engine where there is no TensorRT: refused at once and in words. test_tensorrt_rtx.py builds."""

import contextlib
import threading

import onnx
import pytest
import torch

from msdk_export import EngineOptions, export
from msdk_export.description import ModelDescription
from msdk_export.graph.trace import to_onnx
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from msdk_export.ops.registry import SPECS
from msdk_rt.commands.main import main
from msdk_rt.errors import ExportError

SIZES = MSDKMambaConfig(in_channels=1, num_classes=2, dims=(4, 8), depths=(1, 1), d_state=4)
DESCRIPTION = ModelDescription(
    "msd_kmamba", {}, (8, 8, 8), ("t1",), {"background": 0, "tissue": 1}, "softmax", "none"
)

IDENTITY = """<ir_version: 10, opset_import: ["": 20]>
identity (float[B,2,3] x) => (float[B,2,3] y) { y = Relu (x) }"""


def network():
    torch.manual_seed(0)
    return MSDKMamba(SIZES).eval().requires_grad_(False)


def test_without_tensorrt_the_export_ends_before_it_reads_the_checkpoint(import_tensorrt, tmp_path, capsys):
    import_tensorrt(None)
    message = "pip install tensorrt, or on a Jetson install JetPack's .* Export model.onnx instead"
    with pytest.raises(ExportError, match=message):
        export("no such checkpoint.pt", tmp_path / "model.engine")
    assert main(["export", "absent.pt", str(tmp_path / "model.engine"), "--max-batch", "2"]) == 1
    assert "an .engine is built by TensorRT" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"best_batch": 5}, "best_batch must be from 1 to max_batch, got 5 with max_batch 4"),
        ({"best_batch": 0}, "got 0 with max_batch 4"),
        ({"optimization_level": 6}, "optimization_level must be from 0 to 5, got 6"),
        ({"workspace": 0}, "workspace must be a positive number of bytes, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(ExportError, match=said):
        EngineOptions(**options)


def test_engine_options_for_an_onnx_file_are_refused(tmp_path, capsys):
    assert main(["export", "absent.pt", str(tmp_path / "model.onnx"), "--version-compatible"]) == 1
    assert "engine options are for a .engine" in capsys.readouterr().err


def test_msdk_nodes_name_their_plugin_and_lose_their_bodies(import_tensorrt):
    import_tensorrt(pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux"))
    from msdk_export.engine.builder import with_plugins

    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 20, "msdk": 1]>
        graph (float[1,2,3] x, float[2,2] w, float[2,2,8] s) => (float[1,2,3] y)
            { y = msdk.KanLinear (x, w, s) }
        <domain: "msdk", opset_import: ["": 20]> KanLinear (x, w, s) => (y) { y = Identity (x) }""")
    named = with_plugins(model)
    (node,) = named.graph.node
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    assert attributes == {"plugin_version": b"1", "plugin_namespace": b"msdk"}
    assert not named.functions
    assert len(model.functions) == 1


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_what_the_builder_reads_is_valid_onnx(import_tensorrt, precision):
    """An exported graph's nodes name their plugin already: twice is not valid."""
    import_tensorrt(pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux"))
    from msdk_export.engine.builder import with_plugins

    graph = to_onnx(network(), DESCRIPTION, precision)
    named = with_plugins(with_plugins(graph))
    onnx.checker.check_model(named, full_check=True)
    plugins = [node for node in named.graph.node if node.domain == "msdk"]
    assert {node.op_type for node in plugins} == {op.name for op in SPECS.values() if op.plugin}
    for node in plugins:
        names = [entry.name for entry in node.attribute]
        assert len(set(names)) == len(names)
        assert {"plugin_version", "plugin_namespace", *SPECS[node.op_type].attributes} == set(names)


def test_a_graph_that_is_not_valid_never_reaches_the_builder(import_tensorrt):
    import_tensorrt(pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux"))
    from msdk_export.engine.builder import with_plugins

    graph = to_onnx(network(), DESCRIPTION)
    node = next(node for node in graph.graph.node if node.domain == "msdk")
    node.attribute.append(onnx.helper.make_attribute("directions", "forward"))
    node.attribute.append(onnx.helper.make_attribute("directions", "forward"))
    with pytest.raises(ExportError, match="appeared multiple times"):
        with_plugins(graph)


@pytest.mark.parametrize("content", [b"", b"not a timing cache at all" * 9])
def test_a_damaged_timing_cache_is_told_and_replaced(import_tensorrt, tmp_path, content, recwarn):
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux")
    import_tensorrt(rtx)
    from msdk_export.engine import builder

    path, taken = tmp_path / "timings", []

    class Config:
        """TensorRT's answers for a cache that it cannot read: None, and False of what is set."""

        def create_timing_cache(self, known):
            return None if known.startswith(b"not") else known

        def set_timing_cache(self, cache, ignore_mismatch):
            taken.append(cache)
            return cache is not None

    path.write_bytes(content)
    builder._load_timings(Config(), path)
    assert taken[-1] == b""
    said = [str(warning.message) for warning in recwarn]
    assert any("is damaged, or of another GPU or TensorRT" in line for line in said) == bool(content)


def test_a_build_runs_on_the_callers_gpu(import_tensorrt, monkeypatch):
    import_tensorrt(pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux"))
    from msdk_export.engine import builder

    entered = []

    @contextlib.contextmanager
    def on_device(number):
        entered.append((number, threading.get_ident()))
        yield

    monkeypatch.setattr(builder.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(builder.cuda, "on_device", on_device)
    log = builder.Log()
    trt_builder = builder.trt.Builder(log)
    empty = builder.parse(trt_builder, onnx.parser.parse_model(IDENTITY), log)
    config = builder.configure(trt_builder, empty, EngineOptions())
    assert builder.compile_network(trt_builder, empty, config, log)
    ((number, thread),) = entered
    assert number == 3
    assert thread != threading.get_ident()
