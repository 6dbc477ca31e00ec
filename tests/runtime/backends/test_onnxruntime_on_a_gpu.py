"""ONNX Runtime's CUDA provider on our stream: what it does where there is no emulator for it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import pytest

from msdk_rt import Segmenter
from tests.support.gpu import has_gpu
from tests.support.small_model import WINDOW, describe

PARTS = [1, 4, 3]  # of the first axis: joined again, unequal, the join copies their sizes to the GPU
OPEN_RUN_CLOSE = """
import sys
import numpy as np
from msdk_rt import Segmenter
volume = np.load(sys.argv[2])
for _ in range(3):
    with Segmenter(sys.argv[1], providers=["CUDAExecutionProvider", "CPUExecutionProvider"]) as segmenter:
        segmenter.device_memory(volume.shape[1:])  # an error where the CPU works on volumes
        labels = segmenter.run(volume)
np.save(sys.argv[3], labels)
"""


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="no GPU: `make gpu-check` runs it where there is one")
def test_a_session_that_ends_leaves_the_process_alive(tmp_path):
    """ONNX Runtime frees the page-locked memory of such a join in a callback, where CUDA allows no call."""
    model = join_of_parts(tmp_path / "model.onnx")
    volume = np.random.default_rng(5).standard_normal((1, 19, 15, 16)).astype(np.float32)
    np.save(tmp_path / "volume.npy", volume)
    command = [sys.executable, "-c", OPEN_RUN_CLOSE, model, tmp_path / "volume.npy", tmp_path / "labels.npy"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    normalised = (volume[0] - volume[0].mean()) / volume[0].std()
    sure = np.abs(normalised) > 1e-3
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy")[sure], (normalised > 0)[sure])


def join_of_parts(path: Path) -> Path:
    """An artifact whose logits are 0 and the image, cut into PARTS along the first axis and joined."""
    names = [f"part{index}" for index in range(len(PARTS))]
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node("Split", ["image", "sizes"], names, axis=2),
            node("Concat", names, ["joined"], axis=2),
            node("Sub", ["image", "image"], ["nothing"]),
            node("Concat", ["nothing", "joined"], ["logits"], axis=1),
        ],
        "join",
        [info("image", onnx.TensorProto.FLOAT, ["B", 1, *WINDOW])],
        [info("logits", onnx.TensorProto.FLOAT, ["B", 2, *WINDOW])],
        [onnx.helper.make_tensor("sizes", onnx.TensorProto.INT64, [len(PARTS)], PARTS)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    describe(path)
    return path


def test_the_join_labels_what_is_above_the_mean(tmp_path):
    """What the test above expects, by the CPU provider."""
    volume = np.random.default_rng(5).standard_normal((1, 19, 15, 16)).astype(np.float32)
    model = join_of_parts(tmp_path / "model.onnx")
    with Segmenter(model, providers=["CPUExecutionProvider"]) as segmenter:
        labels = segmenter.run(volume)
    normalised = (volume[0] - volume[0].mean()) / volume[0].std()
    np.testing.assert_array_equal(labels, normalised > 0)
