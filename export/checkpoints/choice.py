"""Which of the networks in a checkpoint is taken, and what is said where there is none."""

import re
from pathlib import Path
from typing import Any

from msdk_export.checkpoints.nesting import (
    MODEL_KEYS,
    Network,
    find_networks,
    holds_weights,
    network_at,
    summary,
)
from msdk_export.notes import note
from msdk_export.wording import listed
from msdk_rt.errors import CheckpointError

_DEEPSPEED = ("ds_version", "ds_config", "zero_stage", "partition_count")
_PART_OF = re.compile(r"-(\d{5})-of-(\d{5})\.")


def choose_network(path: Path, content: object, wanted: str | None) -> Network:
    """The network that `wanted` names: "model", "ema" (a moving average), or keys joined by dots.

    None takes the model before an average, the more usual key before others, and notes what else there is.
    Raises CheckpointError where there is no such network.
    """
    networks = find_networks(content)
    _check_shard(path, content, networks)
    if wanted is None:
        candidates = networks
    elif wanted in ("model", "ema"):
        candidates = [network for network in networks if network.is_average == (wanted == "ema")]
    else:
        exact = [network for network in networks if network.label == wanted]
        candidates = exact or network_at(content, wanted)
    if not candidates:
        raise CheckpointError(f"{path}: {_refusal(content, networks, wanted)}")
    chosen, *others = candidates
    if others:
        kind = " (a moving average)" if chosen.is_average else ""
        note(
            f"{path.name} holds the weights of {len(candidates)} networks, under "
            f"{', '.join(network.label for network in candidates)}: those under {chosen.label}{kind} were "
            f"taken; pass weights='model', 'ema' or one of these names to choose"
        )
    if outside := [name for name in chosen.outside if name != "msdk"]:
        note(
            f"{path.name} holds {len(outside)} entries beside the network that were left out: "
            f"{listed(outside)}"
        )
    return chosen


def check_part(path: Path) -> None:
    """Raise CheckpointError for a file whose name says that it is one of several."""
    part = _PART_OF.search(path.name)
    if part and int(part[2]) > 1:
        raise CheckpointError(
            f"{path}: part {int(part[1])} of {int(part[2])} of a checkpoint, expected all weights in one "
            "file: load the parts together and save one state dict"
        )


def _check_shard(path: Path, content: object, networks: list[Network]) -> None:
    """Raise CheckpointError for DeepSpeed's file of one process, where it holds a part of the weights."""
    if not isinstance(content, dict):
        return
    optimizer = content.get("optimizer_state_dict")
    keys = {*content, *(optimizer if isinstance(optimizer, dict) else ())}
    marked = [key for key in _DEEPSPEED if key in keys]
    parallel = content.get("mp_world_size", 1)
    partial = isinstance(parallel, int) and parallel > 1
    empty = any(tensor.numel() == 0 for network in networks for tensor in network.weights.values())
    if marked and (partial or empty or not networks):
        raise CheckpointError(
            f"{path}: one process's part of a DeepSpeed checkpoint (it has {', '.join(marked)}), expected "
            "whole weights: run zero_to_fp32.py, which DeepSpeed puts into the checkpoint's folder"
        )


def _refusal(content: object, networks: list[Network], wanted: str | None) -> str:
    if wanted is not None:
        there = ", ".join(network.label or "the file itself" for network in networks) or summary(content)
        return f"no weights {wanted!r} in it, expected one of: {there}"
    if _is_optimizer(content) or (isinstance(content, dict) and any(map(_is_optimizer, content.values()))):
        return (
            f"it holds an optimizer's state and no weights, got {summary(content)}: give the file that the "
            "trainer saved of the model"
        )
    hint = ""
    if isinstance(content, dict) and (keys := [key for key in content if holds_weights(content[key])]):
        hint = f"; to take the tensors under {keys[0]!r}, pass weights={keys[0]!r}"
    return (
        f"expected a dict of named tensors, or one under a key {' or '.join(map(repr, MODEL_KEYS))}, got "
        f"{summary(content)}{hint}"
    )


def _is_optimizer(content: Any) -> bool:
    return isinstance(content, dict) and {"state", "param_groups"} <= content.keys()
