"""Checkpoints: weights in a file, and a description that says which network they belong to.

A .safetensors file carries the description as JSON under the metadata key "msdk"; a .pt or .pth file is a
dict {"state_dict": {...}, "msdk": {...}}, or a bare state dict, which has no description. The description's
keys:

    family          key of msdk_export.models.FAMILIES
    config          the family's configuration, a dict
    window          [D, H, W]
    channels        modalities in input order
    labels          {logit channel: voxel value}, in channel order
    activation      "softmax" or "sigmoid"
    normalization   "nonzero_zscore" or "none"
"""

import dataclasses
import json
import pickle
import zipfile
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from msdk_export.models import FAMILIES
from msdk_rt.errors import CheckpointError, InputError
from msdk_rt.files import atomic_write

METADATA_KEY = "msdk"
SUFFIXES = (".safetensors", ".pt", ".pth")


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """(state dict on the CPU, description) of a checkpoint; the description is {} where the file has none.

    Pickled code is never run. Raises CheckpointError when the file is missing, damaged, not a checkpoint, or
    has NaN or infinity among its weights.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path}: expected a checkpoint ending in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    read = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
    state_dict, description = read(path)
    if not isinstance(description, dict):
        raise CheckpointError(
            f"{path}: its {METADATA_KEY!r} entry must be an object, got {type(description).__name__}"
        )
    _check_finite(path, state_dict)
    return state_dict, description


def save_checkpoint(path: str | Path, model: nn.Module, description: dict | None = None) -> Path:
    """Write the model's weights with a description as .safetensors, atomically; returns the path.

    family and config are filled in from the model where it is of a known family.
    Raises CheckpointError on another suffix and OutputError when the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: checkpoints are written as .safetensors, so give the file that suffix"
        )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {METADATA_KEY: json.dumps(describe_model(model) | (description or {}))}
    with atomic_write(path, "wb") as file:
        file.write(safetensors.torch.save(tensors, metadata))
    return path


def describe_model(model: nn.Module) -> dict:
    """family and config of a model of a known family, {} for any other module."""
    for family, (model_type, _) in FAMILIES.items():
        if isinstance(model, model_type):
            return {"family": family, "config": dataclasses.asdict(model.config)}
    return {}


def build_model(description: dict, state_dict: dict[str, Tensor]) -> nn.Module:
    """The described network with these weights, in evaluation mode.

    Raises CheckpointError when the description lacks its family or config, names one that is unknown or
    invalid, or when the weights are not exactly the network's (missing, unexpected and misshapen keys are
    listed).
    """
    for key in ("family", "config"):
        if key not in description:
            raise CheckpointError(
                f"the checkpoint's description has no {key!r}: it decides the network's layers and cannot be "
                f"read from the weights, so save it with save_checkpoint or pass {key}= to export"
            )
    family, config = description["family"], description["config"]
    if family not in FAMILIES:
        raise CheckpointError(f"unknown model family {family!r}: expected one of {', '.join(FAMILIES)}")
    model_type, config_type = FAMILIES[family]
    try:
        model = model_type(config_type(**config))
    except (TypeError, InputError) as error:
        raise CheckpointError(
            f"the checkpoint's config does not describe a {family} network: {error}"
        ) from error

    if problems := _load_weights(model, state_dict):
        raise CheckpointError(
            f"the weights do not fit the {family} network of the checkpoint's config "
            f"({'; '.join(problems)}): correct the config or take the checkpoint that belongs to it"
        )
    return model.eval()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state_dict = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no iterator
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: truncated, damaged or not a safetensors file ({error}); fetch or save it again"
        ) from error
    try:
        return state_dict, json.loads(metadata.get(METADATA_KEY, "{}"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: its {METADATA_KEY!r} metadata is not JSON ({error})") from error


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], dict]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{path}: it pickles Python objects, and loading those would run whatever code they bring; "
                "save the state dict alone, with torch.save(model.state_dict(), path)"
            ) from error
        raise CheckpointError(f"{path}: not a PyTorch checkpoint; fetch or save it again") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or damaged ({error}); fetch or save it again") from error

    wrapped = isinstance(content, dict) and "state_dict" in content
    state_dict = content["state_dict"] if wrapped else content
    description = content.get(METADATA_KEY, {}) if wrapped else {}
    if not isinstance(state_dict, dict) or not all(isinstance(t, Tensor) for t in state_dict.values()):
        raise CheckpointError(
            f"{path}: expected a dict of tensors, or one under the key 'state_dict', got "
            f"{_summary(state_dict)}"
        )
    return dict(state_dict), description


def _summary(content: object) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    return "a dict with " + ", ".join(
        f"{key}: {type(value).__name__}" for key, value in list(content.items())[:5]
    )


def _check_finite(path: Path, state_dict: dict[str, Tensor]) -> None:
    for name, tensor in state_dict.items():
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise CheckpointError(
                f"{path}: {name} has {bad} NaN or infinite values of {tensor.numel()}; take an earlier "
                "checkpoint"
            )


def _load_weights(model: nn.Module, state_dict: dict[str, Tensor]) -> list[str]:
    """Load what fits; returns what does not. A layer may have its own say on a key that is missing."""
    expected = model.state_dict()
    misshapen = {
        name: f"{name} is {tuple(state_dict[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state_dict and state_dict[name].shape != tensor.shape
    }
    fitting = {name: tensor for name, tensor in state_dict.items() if name not in misshapen}
    missing, unexpected = model.load_state_dict(fitting, strict=False)
    kinds = {
        "missing": [name for name in missing if name not in misshapen],
        "unexpected": unexpected,
        "misshapen": list(misshapen.values()),
    }
    return [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]


def _listed(names: list[str], limit: int = 8) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
