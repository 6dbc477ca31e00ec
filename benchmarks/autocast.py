"""Our float16 graph against that of NVIDIA's AutoCast (nvidia-modelopt), of the demo's network and volume.

AutoCast asks TensorRT itself for the types of ops that ONNX does not know, so that without TensorRT it takes
no graph with msdk nodes. It gets the graph around them, with the nodes' outputs on a real window to judge
ranges by, and the nodes are put back in float16. nvidia-modelopt wants another onnx than this project:

    python -m venv modelopt && modelopt/bin/pip install "nvidia-modelopt[onnx]"
    python -m benchmarks.autocast --modelopt modelopt/bin/python
"""

import argparse
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from benchmarks import accuracy_report
from benchmarks.accuracy import TISSUES, template_itself
from benchmarks.measure import record
from benchmarks.precision import demo, write_simulated
from msdk_export.demo_network import export_demo
from msdk_export.graph.functions import attach_functions
from msdk_export.graph.trace import to_onnx
from msdk_export.samples import centre_window
from msdk_export.synthetic.template import load_template
from msdk_rt import Segmenter
from msdk_rt.backends.onnxruntime import open_session
from msdk_rt.inference.labels import dice
from msdk_rt.inference.normalisation import normalize
from tests.support.around_ops import cut, rejoin

QUESTION = "autocast"


def main(arguments: list[str] = ()) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.autocast",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--modelopt", required=True, help="a Python that has nvidia-modelopt[onnx]")
    python = parser.parse_args(arguments).modelopt
    volume = template_itself(load_template()).image[None]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exact = folder / "float32.onnx"
        window = centre_window(normalize(volume.astype(np.float32)), export_demo(exact).window)
        model = onnx.load(exact)
        graphs = {
            f"AutoCast, modelopt {_version(python)}": _autocast(python, model, window, folder),
            "msdk_rt": to_onnx(*demo(), "float16"),
        }
        with Segmenter(exact) as reference:
            expected = reference.run(volume, spacing=(1.0,) * 3)
        for case, graph in graphs.items():
            rounded = write_simulated(graph, exact, folder / "rounded.onnx")
            with Segmenter(rounded) as segmenter:
                found = segmenter.run(volume, spacing=(1.0,) * 3)
            scores = dice(found, expected, TISSUES)
            figures = {
                "labels alike": float(np.mean(found == expected)),
                "least Dice": min(scores.values()),
                "casts": sum(node.op_type == "Cast" for node in graph.graph.node),
                "file": len(graph.SerializeToString()) / 1e3,
            }
            record(QUESTION, case, figures, "")
            record(QUESTION, case, {f"float32 {op}": n for op, n in _float32_nodes(graph).items()}, "nodes")
            print(f"{case}: {figures}", flush=True)
    accuracy_report.write()


def _autocast(python: str, model: onnx.ModelProto, window: np.ndarray, folder: Path) -> onnx.ModelProto:
    """The model by `python -m modelopt.onnx.autocast`, without its msdk nodes."""
    around = cut(model)
    values = _inputs_of(around, model, window, folder)
    paths = {
        "--onnx_path": folder / "around.onnx",
        "--output_path": folder / "cast.onnx",
        "--calibration_data": folder / "values.npz",
    }
    onnx.save(around, paths["--onnx_path"])
    np.savez(paths["--calibration_data"], **values)
    options = [str(word) for pair in paths.items() for word in pair]
    subprocess.run([python, "-m", "modelopt.onnx.autocast", *options], check=True)
    return attach_functions(rejoin(onnx.load(paths["--output_path"]), model))


def _inputs_of(
    around: onnx.ModelProto, model: onnx.ModelProto, window: np.ndarray, folder: Path
) -> dict[str, np.ndarray]:
    """Return the msdk nodes' outputs on a window, by name, and the window itself."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    cuts = [info for info in around.graph.input if info.name != "image"]
    watched.graph.output.extend(cuts)
    path = folder / "watched.onnx"
    onnx.save(watched, path)
    names = [info.name for info in cuts]
    values = open_session(path, ["CPUExecutionProvider"]).run(names, {"image": window})
    return {"image": window, **dict(zip(names, values, strict=True))}


def _float32_nodes(model: onnx.ModelProto) -> Counter:
    """How many nodes of each op compute in float32, casts not counted."""
    graph = model.graph
    infos = (*graph.value_info, *graph.output)
    floats = {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT}
    return Counter(
        node.op_type for node in graph.node if node.op_type != "Cast" and floats.intersection(node.output)
    )


def _version(python: str) -> str:
    command = [python, "-c", "import importlib.metadata as m; print(m.version('nvidia-modelopt'))"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
