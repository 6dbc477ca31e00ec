"""What trainers pickle beside the weights: read without running it, or refused by its name."""

import argparse
import concurrent.futures
import datetime
import pathlib
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch

from msdk_export.checkpoints import load_checkpoint
from msdk_rt.errors import CheckpointError
from tests.attacks.checkpoints import Forged, forge
from tests.support.checkpoint_files import (
    assert_same,
    nnunet,
    saved,
)


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
