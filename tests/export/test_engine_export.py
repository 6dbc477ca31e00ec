"""model.engine where there is no TensorRT: refused at once and in words. test_tensorrt_rtx.py builds."""

import onnx
import pytest

from msdk_export import EngineOptions, export
from msdk_rt.commands.main import main
from msdk_rt.errors import ExportError


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
    from msdk_export.engine import with_plugins

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
