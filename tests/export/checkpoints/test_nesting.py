"""Where the weights are in a checkpoint: under which keys, behind which prefix, beside what."""

import pytest
import torch

from msdk_export.checkpoints import build_model, load_checkpoint
from msdk_export.models import SegMamba
from msdk_rt.artifact.notes import ExportWarning
from msdk_rt.errors import CheckpointError
from tests.support.checkpoint_files import (
    CONFIG,
    SEGMAMBA,
    assert_same,
    lightning,
    prefixed,
    saved,
    weights_of,
)


def test_lightnings_checkpoint_is_read(weights, tmp_path):
    with pytest.warns(ExportWarning, match=r"1 entries beside the network .*: loss\.class_weights"):
        assert_same(load_checkpoint(saved(tmp_path, lightning(weights), "last.ckpt"))[0], weights)


def test_a_larger_network_with_blocks_like_a_familys_is_let_be(tmp_path):
    larger = {f"decoder.{index}.weight": torch.ones(2) for index in range(9)}
    larger |= {f"encoder.stages.0.0.mamba.{name}": torch.ones(2) for name in ("A_log", "D")}

    assert_same(load_checkpoint(saved(tmp_path, larger))[0], larger)


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


def test_random_numbers_beside_a_model_are_not_its_weights(weights, tmp_path):
    states = {"rng": torch.get_rng_state(), "cuda": torch.get_rng_state(), "model": weights}

    assert_same(load_checkpoint(saved(tmp_path, states))[0], weights)


def test_numbers_among_the_weights_are_left_out_and_told(weights, tmp_path):
    with pytest.warns(ExportWarning, match="2 entries beside the network that were left out: epoch, lr"):
        assert_same(load_checkpoint(saved(tmp_path, {**weights, "epoch": 3, "lr": 0.1}))[0], weights)
