"""The files that trainers write: where the weights are in them, what is beside them, and other files."""

import argparse
import concurrent.futures
import datetime
import pathlib
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch

import msdk_rt
from msdk_export.checkpoints import build_model, load_checkpoint
from msdk_export.models import MSDKMamba, MSDKMambaConfig, SegMamba, SegMambaConfig
from msdk_export.notes import collecting
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.artifact.notes import ExportWarning
from msdk_rt.errors import CheckpointError
from tests.attacks.checkpoints import Forged, forge

CONFIG = MSDKMambaConfig(in_channels=2, num_classes=3, dims=(4, 6), depths=(1, 1), d_state=2)
SEGMAMBA = SegMambaConfig(1, 2, (3, 4, 5, 6), (1, 1, 1, 1), 7, d_state=2, d_conv=2, expand=1)


def weights_of(seed=0, family=MSDKMamba, config=CONFIG):
    torch.manual_seed(seed)
    return family(config).state_dict()


@pytest.fixture(scope="module")
def weights():
    return weights_of()


@pytest.fixture(scope="module")
def average():
    return weights_of(1)


def saved(tmp_path, content, name="weights.pt", **options):
    torch.save(content, tmp_path / name, **options)
    return tmp_path / name


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def prefixed(prefix, weights):
    return {prefix + name: tensor for name, tensor in weights.items()}


def nnunet(weights):
    """The entries of nnU-Net v2's checkpoint, with the NumPy scalars that its logger leaves."""
    return {
        "network_weights": weights,
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5)], "dice_per_class_or_region": [[np.float32(0.1), 0.2]]},
        "_best_ema": np.float64(0.8125),
        "current_epoch": np.int64(1000),
        "init_args": {"plans": {"a": [1, None]}, "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }


@pytest.mark.parametrize(
    "name", ["model.pt", "checkpoint_final.pth", "last.ckpt", "pytorch_model.bin", "x.pth.tar"]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_nnunets_checkpoint_is_read(weights, tmp_path, name, zipped):
    path = saved(tmp_path, nnunet(weights), name, _use_new_zipfile_serialization=zipped)

    assert_same(load_checkpoint(path)[0], weights)


@pytest.mark.parametrize(
    "beside",
    [
        np.float64("nan"),
        np.bool_(True),
        np.int8(-3),
        np.dtype(">f4").type(2),
        np.str_("text"),
        np.datetime64("2024-06-05"),
        np.complex64(1j),
        np.arange(6.0).reshape(2, 3),
        np.array(["a", 1, None], dtype=object),
        np.zeros(0),
        np.dtype([("a", "f4"), ("b", "i8")]),
        np.zeros(2, [("a", "f4")]),
        argparse.Namespace(lr=0.1, out=pathlib.Path("out")),
        pathlib.PurePosixPath("a/b"),
        datetime.datetime(2024, 6, 5),
        torch.__version__,
        OrderedDict(a=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_harmless_objects_beside_the_weights_are_let_be(weights, tmp_path, beside):
    path = saved(tmp_path, {"state_dict": weights, "beside": [beside, beside], "more": {"inner": beside}})

    assert_same(load_checkpoint(path)[0], weights)


def test_numbers_of_numpys_in_the_description_are_numbers(weights, tmp_path):
    numbers = {"a": np.int64(0), "b": np.uint16(700), "c": np.array([-2], ">i4")[0]}
    content = {"state_dict": weights, "msdk": {"labels": numbers}}

    assert load_checkpoint(saved(tmp_path, content))[1] == {"labels": {"a": 0, "b": 700, "c": -2}}


def lightning(weights):
    """The entries of a Lightning checkpoint, of a module whose network is its attribute `net`."""
    return {
        "epoch": 9,
        "global_step": 1000,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed("net.", weights) | {"loss.class_weights": torch.ones(3)},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 10}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [{"last_epoch": 9}],
        "hyper_parameters": {"args": argparse.Namespace(data=pathlib.Path("data")), "lr": np.float64(0.1)},
    }


def test_lightnings_checkpoint_is_read(weights, tmp_path):
    with pytest.warns(ExportWarning, match=r"1 entries beside the network .*: loss\.class_weights"):
        assert_same(load_checkpoint(saved(tmp_path, lightning(weights), "last.ckpt"))[0], weights)


def test_a_larger_network_with_blocks_like_a_familys_is_let_be(tmp_path):
    larger = {f"decoder.{index}.weight": torch.ones(2) for index in range(9)}
    larger |= {f"encoder.stages.0.0.mamba.{name}": torch.ones(2) for name in ("A_log", "D")}

    assert_same(load_checkpoint(saved(tmp_path, larger))[0], larger)


def test_threads_that_load_at_once_do_not_get_in_each_others_way(weights, tmp_path):
    path = saved(tmp_path, nnunet(weights))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for found, _ in pool.map(load_checkpoint, [path] * 24):
            assert_same(found, weights)


SHARD = """
import sys
import torch
import torch.distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
sharded = distribute_tensor(torch.ones(4, 4), init_device_mesh("cpu", (1,)), [Shard(0)])
torch.save({"model": {"stem.weight": sharded}}, sys.argv[1])
"""
LOAD = """
import sys
import torch.distributed.tensor
from msdk_export.checkpoints import load_checkpoint

load_checkpoint(sys.argv[1])
"""


def test_fsdps_distributed_tensors_are_told_whether_torch_can_load_them_or_not(tmp_path):
    path = str(tmp_path / "shard.pt")
    subprocess.run([sys.executable, "-c", SHARD, path], check=True, capture_output=True)
    if "torch.distributed.tensor" not in sys.modules:
        with pytest.raises(CheckpointError, match="a shard of weights that several processes held"):
            load_checkpoint(path)

    able = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=False)

    assert "CheckpointError" in able.stderr
    assert "'stem.weight' is one process's part of a tensor (FSDP)" in able.stderr


def test_a_shard_of_fsdps_first_kind_is_told(weights, tmp_path):
    call = Forged("torch.distributed._shard.sharded_tensor.api.ShardedTensor")
    forge(tmp_path / "shard.pt", {"model": weights}, call)

    with pytest.raises(CheckpointError, match=r"a shard of weights that several processes held .*full_state"):
        load_checkpoint(tmp_path / "shard.pt")


@pytest.mark.parametrize(
    "call",
    [
        Forged("numpy.core.multiarray.scalar", "V1099511627776"),
        Forged("numpy._core.multiarray._reconstruct", None, (1 << 40,), "f8"),
        Forged("numpy.dtype", "V1099511627776"),
        Forged("builtins.bytes", 1 << 40),
        Forged("argparse.Namespace", 1, 2, 3),
    ],
    ids=lambda call: call.name,
)
def test_what_stands_in_for_numpys_functions_reserves_no_memory(weights, tmp_path, call):
    forge(tmp_path / "forged.pt", {"state_dict": weights}, call)

    assert_same(load_checkpoint(tmp_path / "forged.pt")[0], weights)


class Tool:
    pass


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("extra", [Tool(), torch.nn.Linear(1, 1), print, np.random.default_rng(0)])
def test_objects_that_bring_code_are_named_and_refused(weights, tmp_path, extra, zipped):
    path = saved(
        tmp_path,
        {"state_dict": weights, "best": np.float64(1), "extra": extra},
        _use_new_zipfile_serialization=zipped,
    )

    with pytest.raises(CheckpointError, match="pickles Python objects") as caught:
        load_checkpoint(path)
    named = {Tool: "Tool", torch.nn.Linear: "Linear", type(print): "print"}.get(type(extra), "random")
    assert named in str(caught.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_another_pickle_protocol_is_told(weights, tmp_path):
    with pytest.raises(CheckpointError, match=r"another protocol.*save it again"):
        load_checkpoint(saved(tmp_path, {"state_dict": weights}, pickle_protocol=4))


@pytest.mark.parametrize(
    "keys",
    [
        "state_dict",
        "model_state_dict",
        "network_weights",
        "model",
        "network",
        "net",
        "module",
        "params",
        "model.state_dict",
        "state.net",
        "state.model",
        "model_ema",
        "ema_state_dict",
        "ema.module",
        "params_ema",
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.", "model.net.", "segmenter.backbone."])
def test_nestings_and_prefixes_are_found(weights, tmp_path, keys, prefix):
    content = prefixed(prefix, weights)
    for key in reversed(keys.split(".")):
        content = {"epoch": 3, key: content}

    assert_same(load_checkpoint(saved(tmp_path, content))[0], weights)


@pytest.mark.parametrize("family", ["msd_kmamba", "segmamba"])
@pytest.mark.parametrize("prefix", ["module.", "model.", "net.module.", "lightning.inner."])
def test_foreign_keys_do_not_block_the_removal_of_a_prefix(tmp_path, prefix, family):
    weights = weights_of() if family == "msd_kmamba" else weights_of(0, SegMamba, SEGMAMBA)
    beside = {"criterion.weight": torch.ones(3), "metrics.dice.total": torch.zeros(1)}
    path = saved(tmp_path, {"state_dict": prefixed(prefix, weights) | beside})

    with pytest.warns(ExportWarning, match=r"2 entries beside the network .*: criterion\.weight, metrics\."):
        found, _ = load_checkpoint(path)
    assert_same(found, weights)


def test_most_names_decide_on_the_prefix_of_a_network_of_no_family(tmp_path):
    weights = {"block.weight": torch.ones(2), "block.bias": torch.ones(1)}
    content = prefixed("module.model.", weights) | {"loss.weight": torch.ones(3)}

    with pytest.warns(ExportWarning, match=r"1 entries beside the network .*: loss\.weight"):
        assert_same(load_checkpoint(saved(tmp_path, content))[0], weights)


def test_weights_of_the_network_outside_the_prefix_are_missed_and_not_made_up(weights, tmp_path):
    content = prefixed("module.", weights)
    content["stem.weight"] = content.pop("module.stem.weight")
    path = saved(tmp_path, content)

    with pytest.warns(ExportWarning, match=r"left out: stem\.weight"):
        found, description = load_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"1 missing: stem\.weight"):
        build_model(description, found)


def test_names_that_wrappers_put_inside_names_are_taken_out(weights, tmp_path):
    renamed = {
        name.replace("stages.0.", "stages._checkpoint_wrapped_module.0.").replace(
            "mamba.", "mamba._orig_mod."
        ): t
        for name, t in weights.items()
    }
    assert renamed.keys() != weights.keys()

    assert_same(load_checkpoint(saved(tmp_path, prefixed("_orig_mod.module.", renamed)))[0], weights)


def test_counters_of_thop_and_of_averaged_models_are_no_weights(weights, tmp_path):
    modules = {name.rpartition(".")[0] for name in weights}
    counters = {
        f"{module}.total_{kind}": torch.zeros(1, dtype=torch.float64)
        for module in modules
        for kind in ("ops", "params")
    }
    counters |= {"total_ops": torch.zeros(1), "n_averaged": torch.tensor(7)}
    path = saved(tmp_path, prefixed("module.", weights | counters) | {"n_averaged": torch.tensor(7)})

    found, description = load_checkpoint(path)

    assert_same(found, weights)
    assert build_model(description, found).config == CONFIG


def test_a_counter_of_batches_is_let_be_and_running_statistics_are_not(weights):
    norm = "stages.0.0.local.1."
    counted = weights | {f"{norm}num_batches_tracked": torch.tensor(9)}
    tracked = counted | {f"{norm}running_mean": torch.zeros(4), f"{norm}running_var": torch.ones(4)}

    assert build_model({}, counted).config == CONFIG
    with pytest.raises(CheckpointError, match=r"\(2 unexpected: .*running_mean, .*running_var\)"):
        build_model({}, tracked)


def test_integers_in_the_place_of_weights_are_refused(weights):
    name = "stem.weight"
    with pytest.raises(CheckpointError, match=r"1 not floating point: stem\.weight is torch\.int32"):
        build_model({}, weights | {name: weights[name].int()})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("widened", [False, True])
def test_weights_of_other_precisions_are_the_rounded_weights(weights, tmp_path, dtype, widened):
    """MSDKMamba's half-precision weights were refused: "not the uniform grid"."""
    kept = {name: tensor.to(dtype) for name, tensor in weights.items()}
    kept = {name: tensor.float() for name, tensor in kept.items()} if widened else kept

    found, description = load_checkpoint(saved(tmp_path, kept))
    model = build_model(description, found)

    grids = [name for name in weights if name.endswith("grid")]
    assert_same({name: model.state_dict()[name] for name in grids}, {name: weights[name] for name in grids})
    rest = [name for name in weights if name not in grids]
    assert_same(
        {name: model.state_dict()[name] for name in rest},
        {name: weights[name].to(dtype).float() for name in rest},
    )


@pytest.mark.parametrize(
    ("dtype", "shift"), [(torch.float32, 2e-3), (torch.float16, 5e-3), (torch.bfloat16, 0.05)]
)
def test_an_adapted_grid_is_refused_in_every_precision(weights, dtype, shift):
    name = next(name for name in weights if name.endswith("grid"))
    state = {key: tensor.to(dtype) for key, tensor in weights.items()}
    state[name] = (weights[name] + shift).to(dtype)

    with pytest.raises(CheckpointError, match="is not the uniform grid"):
        build_model({}, state)


AVERAGES = {
    "a key": (lambda w, a: {"state_dict": w, "state_dict_ema": a}, "state_dict", "state_dict_ema"),
    "two keys": (
        lambda w, a: {"model": {"state_dict": w}, "ema": {"module": a}},
        "model.state_dict",
        "ema.module",
    ),
    "the average first": (lambda w, a: {"model_ema": a, "epoch": 1, "model": w}, "model", "model_ema"),
    "prefixes": (
        lambda w, a: {"state_dict": prefixed("model.", w) | prefixed("ema_model.module.", a)},
        "state_dict.model",
        "state_dict.ema_model.module",
    ),
    "a bare dict": (
        lambda w, a: prefixed("online_model.", w) | prefixed("ema_model.", a),
        "online_model",
        "ema_model",
    ),
    "a copy inside": (lambda w, a: {"state_dict": w | prefixed("ema.", a)}, "state_dict", "state_dict.ema"),
}


@pytest.mark.parametrize("kind", AVERAGES)
def test_of_a_model_and_its_moving_average_the_user_chooses(weights, average, tmp_path, kind):
    content, model_label, average_label = AVERAGES[kind]
    path = saved(tmp_path, content(weights, average))

    with pytest.warns(ExportWarning, match=rf"2 networks.*those under {model_label} were taken.*'ema'"):
        assert_same(load_checkpoint(path)[0], weights)
    for wanted, expected in (
        ("model", weights),
        ("ema", average),
        (model_label, weights),
        (average_label, average),
    ):
        with collecting() as notes:
            assert_same(load_checkpoint(path, wanted)[0], expected)
        assert notes == []
    with pytest.raises(
        CheckpointError, match=rf"no weights 'teacher' in it, expected one of: .*{average_label}"
    ):
        load_checkpoint(path, "teacher")


def test_an_average_alone_is_taken(average, tmp_path):
    path = saved(tmp_path, {"ema_state_dict": average})

    assert_same(load_checkpoint(path)[0], average)
    with pytest.raises(CheckpointError, match="no weights 'model' in it, expected one of: ema_state_dict"):
        load_checkpoint(path, "model")


def test_teachers_and_unusual_keys_are_reached_by_name(weights, average, tmp_path):
    path = saved(
        tmp_path, {"trainer": {"student.net": {"weights": weights}, "teacher": prefixed("module.", average)}}
    )

    assert_same(load_checkpoint(path, "trainer.student.net.weights")[0], weights)
    assert_same(load_checkpoint(path, "trainer.teacher")[0], average)
    with pytest.raises(
        CheckpointError, match=r"got a dict with trainer: dict \(student\.net: dict, teacher: dict\)"
    ):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="pass weights='odd'"):
        load_checkpoint(saved(tmp_path, {"odd": weights}, "odd.pt"))


def test_safetensors_hold_averages_too(weights, average, tmp_path):
    safetensors.torch.save_file(
        prefixed("model.", weights) | prefixed("ema.", average), tmp_path / "w.safetensors"
    )

    assert_same(load_checkpoint(tmp_path / "w.safetensors", "ema")[0], average)


def test_the_manifest_keeps_which_weights_were_taken(weights, average, tmp_path):
    path = saved(tmp_path, {"model": weights, "model_ema": average})
    given = {
        "window": (8, 8, 8),
        "channels": ("a", "b"),
        "labels": {"x": 0, "y": 1, "z": 2},
        "config": {"scale": 1.0},
    }

    with pytest.warns(ExportWarning, match="those under model were taken"):
        msdk_rt.export(path, tmp_path / "model.onnx", **given)
    (note,) = read_manifest(tmp_path / "model.onnx").notes
    assert note.startswith("weights.pt holds the weights of 2 networks, under model, model_ema")

    msdk_rt.export(path, tmp_path / "ema.onnx", weights="ema", **given)
    assert read_manifest(tmp_path / "ema.onnx").notes == ()
    assert (tmp_path / "ema.onnx").read_bytes() != (tmp_path / "model.onnx").read_bytes()


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


def test_random_numbers_beside_a_model_are_not_its_weights(weights, tmp_path):
    states = {"rng": torch.get_rng_state(), "cuda": torch.get_rng_state(), "model": weights}

    assert_same(load_checkpoint(saved(tmp_path, states))[0], weights)


def test_numbers_among_the_weights_are_left_out_and_told(weights, tmp_path):
    with pytest.warns(ExportWarning, match="2 entries beside the network that were left out: epoch, lr"):
        assert_same(load_checkpoint(saved(tmp_path, {**weights, "epoch": 3, "lr": 0.1}))[0], weights)
