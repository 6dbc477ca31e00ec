"""Weights of other types than float32, and what counts as a weight of the network."""

import pytest
import torch

from msdk_export.checkpoints import build_model, load_checkpoint
from msdk_rt.errors import CheckpointError
from tests.support.checkpoint_files import CONFIG, assert_same, saved


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
