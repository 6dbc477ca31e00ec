"""Checkpoints in and out, and a separate sentence for each way one can be wrong."""

import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from msdk_export.checkpoints import build_model, load_checkpoint, save_checkpoint
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from msdk_rt.errors import CheckpointError, OutputError

CONFIG = MSDKMambaConfig(in_channels=2, num_classes=3, dims=(4, 6), depths=(1, 1), d_state=2)
DESCRIPTION = {
    "channels": ["t1", "flair"],
    "labels": {"background": 0, "core": 1, "edema": 4},
    "window": [8, 8, 16],
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MSDKMamba(CONFIG).eval()


@pytest.fixture
def description(model, tmp_path):
    return load_checkpoint(save_checkpoint(tmp_path / "described.safetensors", model, DESCRIPTION))[1]


def assert_same_weights(state_dict, model):
    expected = model.state_dict()
    assert state_dict.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(state_dict[name], tensor, rtol=0, atol=0)


def test_safetensors_brings_back_network_and_description(model, tmp_path):
    path = save_checkpoint(tmp_path / "model.safetensors", model, DESCRIPTION)

    state_dict, description = load_checkpoint(path)
    rebuilt = build_model(description, state_dict)

    assert description["family"] == "msd_kmamba"
    assert {key: description[key] for key in DESCRIPTION} == DESCRIPTION
    assert rebuilt.config == CONFIG
    assert not rebuilt.training
    assert_same_weights(rebuilt.state_dict(), model)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_pickle_of_weights_brings_back_network_and_description(model, description, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    torch.save({"state_dict": model.state_dict(), "msdk": description, "epoch": 7}, path)

    state_dict, found = load_checkpoint(path)

    assert found == description
    assert_same_weights(build_model(found, state_dict).state_dict(), model)


def test_bare_state_dict_has_no_description_and_is_recognised(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "bare.pt")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "bare.safetensors")

    for name in ("bare.pt", "bare.safetensors"):
        state_dict, description = load_checkpoint(tmp_path / name)
        assert description == {}
        assert_same_weights(state_dict, model)
        assert build_model(description, state_dict).config == CONFIG


class Marker:
    """Leaves a file behind if anybody unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_code_is_refused_and_not_run(model, tmp_path):
    torch.save({"state_dict": model.state_dict(), "extra": Marker(tmp_path / "ran")}, tmp_path / "bad.pt")

    with pytest.raises(CheckpointError, match="pickles Python objects"):
        load_checkpoint(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


def test_whole_pickled_module_is_refused(model, tmp_path):
    torch.save(model, tmp_path / "module.pt")

    with pytest.raises(CheckpointError, match="save the state dict alone"):
        load_checkpoint(tmp_path / "module.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_truncated_file_is_refused(model, tmp_path, suffix, kept):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": model.state_dict()}, whole)
    else:
        save_checkpoint(whole, model)
    content = whole.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])

    with pytest.raises(CheckpointError, match=r"cut\.\w+: (truncated|not a PyTorch checkpoint)"):
        load_checkpoint(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_foreign_content_is_refused(tmp_path, suffix):
    path = tmp_path / f"text{suffix}"
    path.write_text("ceci n'est pas un checkpoint\n" * 40)

    with pytest.raises(CheckpointError, match="fetch or save it again"):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_pickles_are_refused_or_read(tmp_path, legacy):
    whole = tmp_path / "whole.pt"
    state = {"a.weight": torch.ones(3, 4), "b": torch.arange(5.0)}
    torch.save(state, whole, _use_new_zipfile_serialization=not legacy)
    content = np.frombuffer(whole.read_bytes(), np.uint8)
    refused = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        damaged = np.delete(content, random.integers(len(content), size=random.integers(4)))
        damaged[random.integers(len(damaged), size=3)] = random.integers(256, size=3)
        (tmp_path / "damaged.pt").write_bytes(damaged.tobytes())
        try:
            load_checkpoint(tmp_path / "damaged.pt")
        except CheckpointError:
            refused += 1
    assert refused > 200


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"\x80\x04.", b"\x80\x02K\x85h\x01."])
def test_pickle_that_ends_too_soon_is_refused(tmp_path, content):
    (tmp_path / "short.pt").write_bytes(content)

    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_checkpoint(tmp_path / "short.pt")


def test_missing_file_and_unknown_suffix_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pt: no such file"):
        load_checkpoint(tmp_path / "gone.pt")
    with pytest.raises(CheckpointError, match=r"model\.h5: expected a checkpoint ending in \.safetensors"):
        load_checkpoint(tmp_path / "model.h5")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(model, tmp_path, value):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["stem.weight"][1, 0, 2] = value
    safetensors.torch.save_file(state, tmp_path / "sick.safetensors")

    with pytest.raises(CheckpointError, match=r"stem\.weight has 49 NaN or infinite values of 2744"):
        load_checkpoint(tmp_path / "sick.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "got list"),
        ({1: torch.zeros(1)}, "expected a dict of named tensors.*1: Tensor"),
        ({"state_dict": {"a": 1}}, "a: int"),
        ({"epoch": 3, "weights": {"a": torch.zeros(1)}}, "epoch: int, weights: dict"),
        ({"state_dict": {"a": torch.zeros(1)}, "msdk": ["msd_kmamba"]}, "must be an object, got list"),
    ],
)
def test_pickle_of_another_structure_is_described(tmp_path, content, message):
    torch.save(content, tmp_path / "odd.pt")

    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "odd.pt")


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[]", "must be an object, got list")])
def test_safetensors_with_an_unreadable_description_is_refused(tmp_path, text, message):
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "odd.safetensors", {"msdk": text})

    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("key", ["family", "config"])
def test_what_the_description_leaves_out_is_read_from_the_weights(model, description, key):
    partial = {name: value for name, value in description.items() if name != key}

    assert build_model(partial, model.state_dict()).config == CONFIG


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "network_weights", "model"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_wrappers_of_the_state_dict_and_of_its_keys_are_taken_off(model, tmp_path, wrapper, prefix):
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, wrapper: state, "optimizer": {"lr": 0.1}}, tmp_path / "wrapped.pt")

    state_dict, description = load_checkpoint(tmp_path / "wrapped.pt")

    assert description == {}
    assert_same_weights(state_dict, model)


def test_a_prefix_that_only_some_keys_have_is_theirs(tmp_path):
    state = {"model.weight": torch.ones(2), "criterion.weight": torch.ones(3)}
    torch.save(state, tmp_path / "mixed.pt")

    assert load_checkpoint(tmp_path / "mixed.pt")[0].keys() == state.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "resnet"}, "unknown model family 'resnet': expected one of msd_kmamba"),
        ({"config": {"widths": 3}}, "widths"),
        ({"config": {"dims": [4, 6], "depths": [1]}}, "must name the same stages"),
        ({"family": ["segmamba"]}, "unknown model family"),
        ({"config": ["dims"]}, "does not describe a msd_kmamba network"),
    ],
)
def test_description_of_no_known_network_is_refused(model, description, change, message):
    with pytest.raises(CheckpointError, match=message):
        build_model(description | change, model.state_dict())


def test_weights_of_another_network_are_listed(model, description):
    state = dict(model.state_dict())
    del state["heads.0.bias"]
    state["teacher.weight"] = torch.zeros(2)
    state["stem.weight"] = torch.zeros(4, 1, 7, 7, 7)

    with pytest.raises(CheckpointError) as caught:
        build_model(description, state)

    message = str(caught.value)
    assert "1 missing: heads.0.bias" in message
    assert "1 unexpected: teacher.weight" in message
    assert "stem.weight is (4, 1, 7, 7, 7), expected (4, 2, 7, 7, 7)" in message


def test_layers_may_fill_in_what_a_checkpoint_of_kin_leaves_out(model, description):
    state = {name: tensor for name, tensor in model.state_dict().items() if "spline_scaler" not in name}

    rebuilt = build_model(description, state)

    assert rebuilt.stages[1][0].kan[0].spline_scaler.unique().tolist() == [1]
    for name, tensor in state.items():
        torch.testing.assert_close(rebuilt.state_dict()[name], tensor, rtol=0, atol=0)


def test_long_lists_of_keys_are_cut_short(description):
    with pytest.raises(CheckpointError, match=r"missing: .* and \d+ more"):
        build_model(description, {})


def test_saving_refuses_other_suffixes_and_unwritable_places(model, tmp_path):
    with pytest.raises(CheckpointError, match=r"written as \.safetensors"):
        save_checkpoint(tmp_path / "model.pt", model)
    with pytest.raises(OutputError):
        save_checkpoint(tmp_path / "absent" / "model.safetensors", model)


def test_description_is_plain_json_for_other_tools(model, tmp_path):
    path = save_checkpoint(tmp_path / "model.safetensors", model, DESCRIPTION)

    with safetensors.safe_open(path, framework="np") as file:
        found = json.loads(file.metadata()["msdk"])

    assert found["config"]["dims"] == [4, 6]
    assert found["labels"] == DESCRIPTION["labels"]
