"""Networks built by others, as ONNX files: ONNX Runtime agrees with their own definition."""

import collections
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import msdk_export.graph_export
import msdk_rt
from msdk_export import export_graph
from msdk_export.graph.trace import module_to_onnx
from msdk_rt.errors import ExportError, InputError, OutputError
from tests.support.published_blocks import (
    FourWayMixer,
    SequenceMixer,
    UMambaBot,
    VimClassifier,
    VSSBlock,
    in_float64,
    randomised,
)


def run(path: Path, feed: dict, library: bool = True) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    if library:
        options.register_custom_ops_library(str(msdk_rt.ops_library()))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in feed.items()})


def noise(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def nodes(path: Path) -> collections.Counter:
    return collections.Counter(node.op_type for node in onnx.load(path).graph.node if node.domain == "msdk")


class Bench(nn.Module):
    """One block of every kind side by side: tokens (B, L, C) and maps (B, H, W, C) -> all their outputs."""

    def __init__(self):
        super().__init__()
        kinds = [
            {},
            {"bimamba_type": "v1", "bias": True},
            {"bimamba_type": "v2", "if_divide_out": False, "conv_bias": False, "d_state": 3},
            {"bimamba_type": "v2", "if_divide_out": True, "dt_rank": 1, "d_inner": 7},
            {"bimamba_type": "v3", "nslices": 7},
        ]
        self.mixers = nn.ModuleList(SequenceMixer(6, **kind) for kind in kinds)
        self.maps = nn.ModuleList([FourWayMixer(6), FourWayMixer(6, "act", attributes=False)])

    def forward(self, tokens, maps):
        return [mixer(tokens) for mixer in self.mixers], {"maps": tuple(mixer(maps) for mixer in self.maps)}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    network, path = randomised(Bench(), seed=7), tmp_path_factory.mktemp("bench") / "bench.onnx"
    inputs = noise(1, 35, 6), noise(1, 5, 7, 6)
    return network, path, export_graph(network, inputs, path, input_names=["tokens", "maps"])


@pytest.mark.parametrize("library", [True, False], ids=["kernels", "function bodies"])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_kind_of_block_agrees_with_its_definition_in_onnx_runtime(bench, library, batch):
    network, path, _ = bench
    feed = {"tokens": noise(batch, 35, 6, seed=11), "maps": noise(batch, 5, 7, 6, seed=12)}

    found = run(path, feed, library)

    mixed, maps = in_float64(network, *feed.values())
    expected = [*mixed, *maps["maps"]]
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5)


def test_graph_export_reports_every_output_and_leaves_one_file(bench):
    _, path, errors = bench

    assert list(errors) == [f"output_{index}" for index in range(7)]
    assert all(0 < error < 1e-5 for error in errors.values())
    assert [file.name for file in path.parent.iterdir()] == ["bench.onnx"]
    assert nodes(path) == {"DirectionalConv1d": 5, "BidirectionalSelectiveScan": 7, "TokenLinear": 20}
    graph = onnx.load(path).graph
    assert [entry.name for entry in graph.input] == ["tokens", "maps"]
    weights = {entry.name for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "BidirectionalSelectiveScan":
            assert set(node.input[2:6]) <= weights


def test_vim_classifier_as_a_graph(tmp_path):
    network = randomised(VimClassifier(), seed=8)

    export_graph(network, noise(1, 3, 20, 28), tmp_path / "vim.onnx", output_names=["classes"])

    image = noise(3, 3, 20, 28, seed=9)
    (found,) = run(tmp_path / "vim.onnx", {"input_0": image})
    np.testing.assert_allclose(found, in_float64(network, image), rtol=1e-5, atol=1e-5)
    assert nodes(tmp_path / "vim.onnx")["BidirectionalSelectiveScan"] == 2


def test_vmamba_block_as_a_graph_of_fixed_batch(tmp_path):
    network = randomised(VSSBlock(4), seed=8)

    errors = export_graph(network, noise(1, 5, 9, 4), tmp_path / "vss.onnx", dynamic_batch=False)

    x = noise(1, 5, 9, 4, seed=9)
    (found,) = run(tmp_path / "vss.onnx", {"input_0": x})
    np.testing.assert_allclose(found, in_float64(network, x), rtol=1e-5, atol=1e-5)
    assert max(errors.values()) < 1e-5
    assert onnx.load(tmp_path / "vss.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_umamba_network_from_module_to_label_map(tmp_path):
    network = randomised(UMambaBot(), seed=8)
    window = (6, 4, 10)
    volume = np.random.default_rng(5).gamma(2.0, 1.0, (2, 6, 4, 10)).astype(np.float32)

    manifest = msdk_rt.export(
        network,
        tmp_path / "model.onnx",
        window=window,
        channels=["t1", "t2"],
        labels={"background": 0, "organ": 5, "lesion": 2},
        normalization="none",
        sample=volume,
    )

    assert manifest.family == "UMambaBot"
    assert nodes(tmp_path / "model.onnx") == {
        "DirectionalConv1d": 1,
        "BidirectionalSelectiveScan": 1,
        "Conv3d": 3,
        "ConvTranspose3d": 1,
        "NormConv3d": 6,
        "InstanceNorm": 3,
        "TokenLinear": 4,
    }
    expected = in_float64(network, torch.from_numpy(volume[None])).numpy()
    (logits,) = run(tmp_path / "model.onnx", {"image": torch.from_numpy(volume[None])})
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    with msdk_rt.Segmenter(tmp_path / "model.onnx", threads=1) as segmenter:
        labels = segmenter.run(volume)
    np.testing.assert_array_equal(labels, np.array([0, 5, 2])[expected[0].argmax(0)])
    assert len(np.unique(labels)) == 3


def test_a_network_may_reach_into_its_block(tmp_path):
    class Reaching(nn.Module):
        def __init__(self):
            super().__init__()
            self.mixer = SequenceMixer(6)

        def forward(self, tokens):
            return self.mixer(tokens) + self.mixer.in_proj(tokens)[..., :6] * self.mixer.D.sum()

    network, tokens = randomised(Reaching()), noise(1, 5, 6)

    export_graph(network, tokens, tmp_path / "model.onnx")

    (found,) = run(tmp_path / "model.onnx", {"input_0": tokens})
    np.testing.assert_allclose(found, in_float64(network, tokens), rtol=1e-5, atol=1e-5)
    assert nodes(tmp_path / "model.onnx")["BidirectionalSelectiveScan"] == 1


class Guess(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([], {}, InputError, "got nothing"),
        ([np.zeros(3)], {}, InputError, "got ndarray"),
        ([noise(2, 3), noise(3, 3)], {}, InputError, r"\(2, 3\), \(3, 3\)"),
        (torch.tensor(1.0), {}, InputError, "batch"),
        (noise(0, 3), {}, InputError, "empty"),
        (noise(2, 3), {"input_names": ["a", "b"]}, InputError, "as many input_names, got 2"),
        (noise(2, 3), {}, ExportError, "second time"),
        (noise(2, 3) / 0, {}, ExportError, "inf of output_0"),
    ],
)
def test_graph_export_refuses_what_it_cannot_prove(inputs, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        export_graph(Guess(), inputs, tmp_path / "model.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_graph_export_wants_a_name_for_every_output(tmp_path):
    with pytest.raises(ExportError, match="returns 1 tensors"):
        export_graph(nn.Linear(3, 2), noise(2, 3), tmp_path / "model.onnx", output_names=[])


def test_graph_that_is_not_what_the_module_computes_is_refused(tmp_path, monkeypatch):
    other = nn.Linear(3, 2)
    monkeypatch.setattr(msdk_export.graph_export, "module_to_onnx", lambda _, *a: module_to_onnx(other, *a))

    with pytest.raises(ExportError, match="does not agree"):
        export_graph(nn.Linear(3, 2), noise(2, 3), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_graph_export_needs_a_folder_and_an_onnx_suffix(tmp_path):
    with pytest.raises(OutputError, match="none"):
        export_graph(Guess(), noise(1, 2), tmp_path / "none" / "model.onnx")
    with pytest.raises(ExportError, match="suffix"):
        export_graph(Guess(), noise(1, 2), tmp_path / "model.pt")


def test_export_of_a_2d_network_says_which_function_is_for_it(tmp_path):
    with pytest.raises(ExportError, match="export_graph"):
        msdk_rt.export(
            randomised(VimClassifier()),
            tmp_path / "model.onnx",
            window=(4, 20, 28),
            channels=["r", "g", "b"],
            labels={"cat": 0, "dog": 1},
        )
    assert not list(tmp_path.iterdir())
