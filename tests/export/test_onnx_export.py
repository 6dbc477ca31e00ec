"""Export: the artifact agrees with PyTorch, and whatever goes wrong leaves the folder as it was."""

import collections
import dataclasses
import os
import re

import nibabel
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import msdk_export.onnx_export
from msdk_export import export, save_checkpoint
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from msdk_export.samples import centre_window
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.backends.libraries import ops_library
from msdk_rt.errors import ArtifactError, BackendError, CheckpointError, ExportError, InputError, OutputError

CONFIG = MSDKMambaConfig(in_channels=2, num_classes=3, dims=(4, 6), depths=(1, 1), d_state=2)
WINDOW = (8, 12, 4)
DESCRIPTION = {
    "window": WINDOW,
    "channels": ["flair", "t1"],
    "labels": {"background": 0, "edema": 2, "core": 4},
}
SAMPLE = np.random.default_rng(3).gamma(2.0, 100.0, (2, 11, 9, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    return MSDKMamba(CONFIG)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    return path, export(model, path, sample=SAMPLE, **DESCRIPTION)


def run(path, image, library=True):
    options = onnxruntime.SessionOptions()
    if library:
        options.register_custom_ops_library(str(ops_library()))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": image})[0]


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def fail(error):
    def failing(*args, **kwargs):
        raise error

    return failing


@pytest.mark.parametrize("library", [True, False], ids=["kernels", "function bodies"])
@pytest.mark.parametrize("batch", [1, 3])
def test_artifact_gives_pytorchs_logits_at_any_batch(model, exported, library, batch):
    image = np.random.default_rng(batch).standard_normal((batch, 2, *WINDOW), dtype=np.float32)

    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(image)).numpy()

    np.testing.assert_allclose(run(exported[0], image, library), expected, rtol=1e-3, atol=1e-5)


def test_manifest_says_what_was_given_and_measured(exported):
    path, manifest = exported

    assert read_manifest(path) == manifest
    assert manifest.family == "msd_kmamba"
    assert manifest.config["dims"] == [4, 6]
    assert manifest.window == WINDOW
    assert manifest.channels == ("flair", "t1")
    assert list(manifest.labels.items()) == [("background", 0), ("edema", 2), ("core", 4)]
    assert (manifest.activation, manifest.normalization) == ("softmax", "nonzero_zscore")
    assert manifest.parity["real_source"] == "array"
    for window in ("random", "real"):
        assert manifest.parity[window]["relative_error"] < 1e-4
        assert manifest.parity[window]["label_agreement"] == 1
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx", "model.onnx.json"]


def test_graph_has_one_node_per_op_and_no_layout_or_shape_chains(exported):
    graph = onnx.load(exported[0]).graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    counts = collections.Counter(node.op_type for node in graph.node)

    ours = {node.op_type: counts[node.op_type] for node in graph.node if node.domain == "msdk"}
    assert ours == {
        "DirectionalConv1d": 2,
        "BidirectionalSelectiveScan": 2,
        "KanLinear": 4,
        "Conv3d": 6,
        "NormConv3d": 9,
        "InstanceNorm": 1,
        "TrilinearUpsample": 3,
        "TokenNorm": 4,
        "TokenLinear": 8,
    }
    allowed = {"Add", "Conv", "InstanceNormalization", "LeakyRelu", "Reshape"}
    assert {node.op_type for node in graph.node if node.domain == ""} <= allowed
    assert counts["Reshape"] == 4


def test_parameters_of_the_ops_are_plain_initialisers(model, exported):
    graph = onnx.load(exported[0]).graph
    weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    scan = next(node for node in graph.node if node.op_type == "BidirectionalSelectiveScan")
    block = model.stages[0][0].mamba

    assert set(scan.input[2:6]) <= weights.keys()
    A = -torch.stack([block.A_log, block.A_b_log]).exp()
    np.testing.assert_allclose(weights[scan.input[4]], A.detach(), rtol=1e-6)
    for node in graph.node:
        if node.op_type in ("DirectionalConv1d", "KanLinear"):
            assert set(node.input[1:]) <= weights.keys()


def test_artifact_names_no_file_of_the_machine_that_made_it(exported):
    assert not re.search(rb"site-packages|\.py\b", exported[0].read_bytes())


def test_export_leaves_the_module_as_it_was(tmp_path):
    torch.manual_seed(5)
    model = MSDKMamba(CONFIG).double().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    export(model, tmp_path / "model.onnx", sample=SAMPLE, **DESCRIPTION)

    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_checkpoint_describes_itself_and_arguments_override_it(model, tmp_path):
    stored = DESCRIPTION | {"activation": "sigmoid", "normalization": "none"}
    checkpoint = save_checkpoint(tmp_path / "model.safetensors", model, stored | {"window": [4, 4, 16]})
    paths = [tmp_path / f"{name}.nii.gz" for name in DESCRIPTION["channels"]]
    for path, volume in zip(paths, SAMPLE, strict=True):
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 1, 2, 1])), path)

    manifest = export(checkpoint, tmp_path / "model.onnx", window=WINDOW, sample=paths)

    assert manifest.window == WINDOW
    assert (manifest.activation, manifest.normalization) == ("sigmoid", "none")
    assert manifest.parity["real_source"] == "flair.nii.gz, t1.nii.gz"
    assert manifest.parity["real"]["relative_error"] < 1e-4
    assert manifest.spacing == {"low": [1, 1, 2], "high": [1, 1, 2]}
    window = centre_window(SAMPLE, WINDOW)
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(window)).numpy()
    np.testing.assert_allclose(run(tmp_path / "model.onnx", window), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("sides", "sample"), [([3, 3, 3], True), ([0.5, 0.5, 4], False)])
def test_a_checkpoint_that_knows_its_spacing_keeps_it(model, tmp_path, sides, sample):
    known = {"low": sides, "high": [8, 8, 8]}
    checkpoint = save_checkpoint(tmp_path / "model.safetensors", model, DESCRIPTION | {"spacing": known})
    file = tmp_path / "sample.nii"
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(SAMPLE, 0, -1), np.eye(4)), file)
    given = file if sample else SAMPLE
    assert export(checkpoint, tmp_path / "model.onnx", sample=given).spacing == known


def test_an_array_has_no_spacing(exported):
    assert exported[1].spacing is None


@pytest.mark.parametrize("name", ["window", "channels", "labels"])
def test_what_has_no_default_must_be_given(model, tmp_path, name):
    partial = {key: value for key, value in DESCRIPTION.items() if key != name}

    with pytest.raises(ExportError, match=rf"{name} is missing and has no default.*Pass {name}="):
        export(model, tmp_path / "model.onnx", **partial)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"window": (8, 12)}, ExportError, r"window must be three whole numbers .*found \(8, 12\)"),
        ({"window": (8, 12, 5000)}, ExportError, "from 1 to 4096"),
        ({"window": (8, 12, 6)}, InputError, r"window \(8, 12, 6\).*total stride 4"),
        ({"channels": "t1"}, ExportError, "list of different names"),
        ({"channels": ["t1", "t1"]}, ExportError, "different names"),
        ({"channels": ["t1"], "sample": SAMPLE[:1]}, InputError, r"expected an image \(B, 2, D, H, W\)"),
        ({"labels": {"background": 0}}, ExportError, r"\(B, 1, 8, 12, 4\).*\(B, 3, 8, 12, 4\)"),
        ({"labels": {"a": 0, "b": 1.5, "c": 2}}, ExportError, "its own voxel value from 0 to 65535, found"),
        ({"labels": {"a": 0, "b": 2, "c": 2}}, ExportError, "its own voxel value"),
        ({"labels": ["a", "b", "c"]}, ExportError, "labels must be a mapping"),
        ({"labels": {"a": 0}, "channels": []}, ExportError, "channels must be .*Correct the argument"),
        ({"activation": "relu"}, ExportError, "activation must be softmax or sigmoid, found 'relu'"),
        ({"normalization": "minmax"}, ExportError, "normalization must be nonzero_zscore or none"),
        ({"sample": np.where(SAMPLE > 900, np.nan, SAMPLE)}, InputError, "channel flair has [1-9].* NaN"),
        ({"sample": SAMPLE[:1]}, InputError, r"shape \(1, 11, 9, 7\), expected .* C = 2 \(flair, t1\)"),
    ],
)
def test_descriptions_that_do_not_fit_the_network_are_refused(model, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        export(model, tmp_path / "model.onnx", **({"sample": SAMPLE} | DESCRIPTION | change))
    assert contents(tmp_path) == {}


class BatchBound(torch.nn.Module):
    def forward(self, image):
        return image.reshape(2, 2, *WINDOW)


class VoxelBound(torch.nn.Module):
    def forward(self, image):
        return image if image.sum() > 0 else -image


class Faulty(torch.nn.Module):
    def forward(self, image):
        raise KeyError


class Pair(torch.nn.Module):
    def forward(self, image):
        return image, image


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (BatchBound(), "PyTorch cannot export this network"),
        (VoxelBound(), "PyTorch cannot export this network"),
        (Faulty(), "PyTorch cannot export this network: KeyError"),
        (Pair(), r"returns \(B, 2, 8, 12, 4\), \(B, 2, 8, 12, 4\)"),
    ],
)
def test_networks_that_are_no_segmenter_are_refused(tmp_path, network, message):
    labels = {"background": 0, "lesion": 1}
    with pytest.raises(ExportError, match=message):
        export(network, tmp_path / "model.onnx", sample=SAMPLE, **(DESCRIPTION | {"labels": labels}))
    assert contents(tmp_path) == {}


def test_network_beyond_the_kernels_limits_is_refused(tmp_path):
    network = MSDKMamba(dataclasses.replace(CONFIG, d_state=65))

    with pytest.raises(BackendError, match="64"):
        export(network, tmp_path / "model.onnx", sample=SAMPLE, **DESCRIPTION)
    assert contents(tmp_path) == {}


def test_any_module_exports_under_its_own_name(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv3d(2, 3, 3, padding=1), torch.nn.GELU())
    from_numpy = {"window": list(np.array(WINDOW)), "labels": dict(zip("abc", np.arange(3), strict=True))}

    manifest = export(network, tmp_path / "model.onnx", sample=SAMPLE, **DESCRIPTION | from_numpy)

    assert (manifest.family, manifest.config) == ("Sequential", {})
    assert (manifest.window, manifest.labels) == (WINDOW, {"a": 0, "b": 1, "c": 2})


def test_other_suffixes_are_refused(model, tmp_path):
    with pytest.raises(ExportError, match=r"'\.pt': expected \.onnx or \.engine"):
        export(model, tmp_path / "model.pt", **DESCRIPTION)


def test_unwritable_targets_are_refused_before_any_work(model, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    for name in ("absent/model.onnx", "folder.onnx"):
        with pytest.raises(OutputError, match="choose a writable folder"):
            export("no such checkpoint.pt", tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        export(tmp_path / "absent.pt", tmp_path / "model.onnx")


def test_graph_with_other_weights_than_the_model_is_refused(exported, model, tmp_path, monkeypatch):
    tampered = onnx.load(exported[0])
    bias = next(entry for entry in tampered.graph.initializer if entry.name == "heads.0.bias")
    shifted = onnx.numpy_helper.to_array(bias) + np.float32([0, 0.05, 0])
    bias.CopyFrom(onnx.numpy_helper.from_array(shifted, bias.name))
    monkeypatch.setattr(msdk_export.onnx_export, "to_onnx", lambda *_: tampered)

    with pytest.raises(ExportError, match="does not agree with the PyTorch model on the random window"):
        export(model, tmp_path / "model.onnx", sample=SAMPLE, **DESCRIPTION)
    assert contents(tmp_path) == {}


def test_graph_that_is_not_valid_onnx_is_refused(exported, model, tmp_path, monkeypatch):
    tampered = onnx.load(exported[0])
    tampered.graph.node[0].input[0] = "nowhere"
    monkeypatch.setattr(msdk_export.onnx_export, "to_onnx", lambda *_: tampered)

    with pytest.raises(ExportError, match=r"not valid ONNX .*nowhere"):
        export(model, tmp_path / "model.onnx", sample=SAMPLE, **DESCRIPTION)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("where", ["to_onnx", "measure_parity", "write_manifest"])
def test_interruption_leaves_the_earlier_pair_whole(exported, tmp_path, monkeypatch, model, where, error):
    for file in exported[0].parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = contents(tmp_path)
    proto = onnx.load(exported[0])
    monkeypatch.setattr(msdk_export.onnx_export, "to_onnx", lambda *_: proto)
    monkeypatch.setattr(msdk_export.onnx_export, where, fail(error))

    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        export(model, tmp_path / "model.onnx", sample=SAMPLE, **DESCRIPTION)
    assert contents(tmp_path) == before


def test_death_between_the_two_renames_is_detected(exported, tmp_path, monkeypatch, model):
    for file in exported[0].parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    proto = onnx.load(exported[0])
    proto.doc_string = "a later export"
    monkeypatch.setattr(msdk_export.onnx_export, "to_onnx", lambda *_: proto)
    replace, calls = os.replace, []

    def replace_once(source, target):
        if str(target) in calls:
            raise AssertionError(f"{target} is replaced twice")
        if str(target) == str(tmp_path / "model.onnx.json"):
            raise KeyboardInterrupt
        calls.append(str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_once)
    with pytest.raises(KeyboardInterrupt):
        export(model, tmp_path / "model.onnx", sample=SAMPLE, **DESCRIPTION)

    assert str(tmp_path / "model.onnx") in calls
    with pytest.raises(ArtifactError, match="SHA-256"):
        read_manifest(tmp_path / "model.onnx")


def test_centre_window_cuts_and_pads_each_side():
    volume = np.arange(1, 2 * 3 * 9 * 4 + 1, dtype=np.float32).reshape(2, 3, 9, 4)

    out = centre_window(volume, (6, 4, 4))

    assert out.shape == (1, 2, 6, 4, 4)
    np.testing.assert_array_equal(out[0, :, 1:4], volume[:, :, 2:6])
    assert not out[0, :, 0].any()
    assert not out[0, :, 4:].any()
