"""Files and folders that are no whole checkpoint: told as what they are, with what to give instead."""

import pathlib

import pytest
import torch

from msdk_export.checkpoints import load_checkpoint
from msdk_rt.errors import CheckpointError
from tests.support.checkpoint_files import assert_same, saved


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(1, 2, 1)

    def forward(self, x):
        return self.conv(x)


def torchscript(path):
    torch.jit.save(torch.jit.trace(Net(), torch.zeros(1, 1, 2, 2, 2)), path)


def torch_export(path):
    torch.export.save(torch.export.export(Net(), (torch.zeros(1, 1, 2, 2, 2),)), path)


def renamed_torch_export(path):
    torch_export(f"{path}2")
    pathlib.Path(f"{path}2").rename(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*pt2")
@pytest.mark.parametrize(
    ("write", "name", "message"),
    [
        (torchscript, "net.pt", "TorchScript file, which is a network's code.*save the weights alone"),
        (torchscript, "net.ts", "TorchScript file"),
        (torch_export, "net.pt2", "program of torch.export.*save the weights alone"),
        (renamed_torch_export, "net.pt", "program of torch.export"),
        (lambda path: pathlib.Path(path).touch(), "net.onnx", "an ONNX graph and no checkpoint"),
        (lambda path: pathlib.Path(path).touch(), "__0_0.distcp", "distributed checkpoint.*dcp_to_torch"),
        (
            lambda path: pathlib.Path(path).touch(),
            "model-00001-of-00003.safetensors",
            "part 1 of 3 of a checkpoint",
        ),
        (lambda path: pathlib.Path(path).mkdir(), "folder.pt", "a folder, expected .*there are none"),
    ],
)
def test_what_is_no_checkpoint_is_told_as_what_it_is(tmp_path, write, name, message):
    write(str(tmp_path / name))

    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["fold_0.pth", "plans.json"], r"give one of those in it \(fold_0\.pth\)"),
        ([".metadata", "__0_0.distcp"], "dcp_to_torch"),
        (["latest", "zero_to_fp32.py"], "DeepSpeed's, expected one file: give what the zero_to_fp32.py"),
    ],
)
def test_a_folder_says_which_file_to_give(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path)


def empty(weights):
    return {name: torch.empty(0) for name in weights}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda w: torch.optim.Adam(Net().parameters()).state_dict(), "an optimizer's state and no weights"),
        (
            lambda w: {"optimizer": torch.optim.Adam(Net().parameters()).state_dict(), "epoch": 1},
            "optimizer's",
        ),
        (lambda w: {"module": empty(w), "ds_version": "0.14"}, "DeepSpeed checkpoint .*zero_to_fp32"),
        (lambda w: {"module": w, "ds_version": "0.14", "mp_world_size": 2}, "DeepSpeed checkpoint"),
        (lambda w: {"optimizer_state_dict": {"zero_stage": 2, "partition_count": 2}}, "DeepSpeed checkpoint"),
        (lambda w: {"model": empty(w)}, "no values, which is how ZeRO-3 and FSDP"),
        (lambda w: {"_flat_param": torch.ones(3), "a._flat_param": torch.ones(3)}, "part of a tensor .FSDP."),
        (lambda w: {}, "got an empty dict"),
        (
            lambda w: {"state_dict": {}},
            r"expected a dict of named tensors, .*got a dict with state_dict: dict$",
        ),
        (lambda w: {"model": {"model": {"model": w}}}, r"model: dict \(model: dict\)"),
        (lambda w: torch.ones(3), "got Tensor"),
        (lambda w: {"a": torch.ones(1, dtype=torch.float8_e4m3fn)}, "a.* is torch.float8_e4m3fn"),
        (lambda w: {"a": torch.full((1,), 1e300, dtype=torch.float64)}, "1 NaN or infinite values"),
    ],
)
def test_files_without_whole_weights_are_told(weights, tmp_path, content, message):
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved(tmp_path, content(weights)))


def test_deepspeeds_file_with_whole_weights_is_read(weights, tmp_path):
    half = {name: tensor.half() for name, tensor in weights.items()}

    found, _ = load_checkpoint(saved(tmp_path, {"module": half, "ds_version": "0.14", "mp_world_size": 1}))

    assert_same(found, half)
