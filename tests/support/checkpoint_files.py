"""Small networks' weights, and checkpoints as trainers write them."""

import argparse
import pathlib

import numpy as np
import torch

from msdk_export.models import MSDKMamba, MSDKMambaConfig, SegMambaConfig

CONFIG = MSDKMambaConfig(in_channels=2, num_classes=3, dims=(4, 6), depths=(1, 1), d_state=2)
SEGMAMBA = SegMambaConfig(1, 2, (3, 4, 5, 6), (1, 1, 1, 1), 7, d_state=2, d_conv=2, expand=1)


def weights_of(seed=0, family=MSDKMamba, config=CONFIG):
    torch.manual_seed(seed)
    return family(config).state_dict()


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
