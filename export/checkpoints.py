"""Checkpoints: weights in a file, and a description that says which network they belong to.

A .safetensors file carries the description as JSON under the metadata key "msdk"; a .pt or .pth file is a
dict {"state_dict": {...}, "msdk": {...}}, or a bare state dict, which has no description. Other names that
trainers give the state dict in such a dict are WRAPPERS; prefixes that wrapped networks give to all their
keys, PREFIXES, are taken off. The description's keys, all optional:

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
import struct
import zipfile
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from msdk_export.models import FAMILIES
from msdk_export.recognition import identify, listed
from msdk_rt.artifact.files import atomic_write
from msdk_rt.errors import CheckpointError, InputError, one_line, shown

METADATA_KEY = "msdk"
WRAPPERS = ("state_dict", "model_state_dict", "network_weights", "model")
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
ZIP_MAGIC = b"PK"
MOST_BLOCKS = 1000
MOST_MISSING = 100  # times the weights that are there
SMALL = 50_000_000  # parameters, which any machine can hold
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
    _check_tensors(path, state_dict)
    return _without_prefix(state_dict), description


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
    """The network that these weights belong to, with them, in evaluation mode.

    What the description leaves out, family or sizes, is read from the names and shapes of the weights, as far
    as they tell (see msdk_export.recognition.identify).

    Raises CheckpointError when the family is unknown or unrecognisable, when no network has the config, or
    when the weights are not exactly the network's (missing, unexpected and misshapen keys are listed).
    """
    family, config = identify(description, state_dict)
    model_type, config_type = FAMILIES[family]
    try:
        sizes = config_type(**config)
        _check_size(model_type, sizes, state_dict)
        model = model_type(sizes)
    except (TypeError, InputError) as error:
        raise CheckpointError(
            f"the checkpoint's config does not describe a {family} network: {error}"
        ) from error

    if problems := _load_weights(model, state_dict):
        source = "of the checkpoint's config" if "config" in description else "that they resemble most"
        raise CheckpointError(
            f"the weights do not fit the {family} network {source} ({'; '.join(problems)}): give the "
            "checkpoint that belongs to it, whole, or correct the config"
        )
    return model.eval()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state_dict = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no iterator
        _check_header(path)
    except (safetensors.SafetensorError, OSError, MemoryError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: truncated, damaged or not a safetensors file ({error}); fetch or save it again"
        ) from error
    try:
        return state_dict, json.loads(metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its {METADATA_KEY!r} metadata is not JSON ({error})") from error


def _check_header(path: Path) -> None:
    """Raise ValueError when a name comes twice, so that two readers could see two files."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        pairs = json.loads(file.read(size), object_pairs_hook=list)
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name comes twice in its header")


def _check_zip(path: Path) -> None:
    """Raise ValueError when a zip file's members are compressed: torch.save compresses none, and a few bytes
    could become gigabytes.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"its members unpack to {unpacked} bytes, torch.save compresses none")


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], dict]:
    try:
        _check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if path.read_bytes()[:2] == ZIP_MAGIC:
            raise CheckpointError(
                f"{path}: it pickles Python objects, and loading those would run whatever code they bring; "
                "save the state dict alone, with torch.save(model.state_dict(), path)"
            ) from error
        raise CheckpointError(f"{path}: not a PyTorch checkpoint; fetch or save it again") from error
    except Exception as error:  # garbage makes torch's unpickler raise whatever the bytes lead it to
        raise CheckpointError(f"{path}: truncated or damaged ({error!r}); fetch or save it again") from error

    wrappers = [key for key in WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)]
    state_dict = content[wrappers[0]] if wrappers else content
    description = content.get(METADATA_KEY, {}) if wrappers else {}
    if not isinstance(state_dict, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state_dict.items()
    ):
        raise CheckpointError(
            f"{path}: expected a dict of named tensors, or one under a key "
            f"{' or '.join(map(repr, WRAPPERS))}, got {_summary(state_dict)}"
        )
    return dict(state_dict), description


def _without_prefix(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, without what a wrapper of the network put before all their names."""
    for prefix in PREFIXES:
        if state_dict and all(name.startswith(prefix) for name in state_dict):
            return _without_prefix({name.removeprefix(prefix): t for name, t in state_dict.items()})
    return state_dict


def _summary(content: object) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    return "a dict with " + ", ".join(
        f"{key}: {type(value).__name__}" for key, value in list(content.items())[:5]
    )


def _check_tensors(path: Path, state_dict: dict[str, Tensor]) -> None:
    """Each is what a weight can be, no larger than its file, and finite."""
    size = path.stat().st_size
    for name, tensor in state_dict.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.is_complex():
            raise CheckpointError(
                f"{path}: {shown(name)} is {tensor.dtype}, {tensor.layout} on {tensor.device}, expected real "
                "numbers, dense, on the CPU: save the state dict of the plain network"
            )
        if tensor.numel() * tensor.element_size() > size:
            raise CheckpointError(
                f"{path}: {shown(name)} says that it is {tuple(tensor.shape)}, more than its file of {size} "
                "bytes holds; fetch or save it again"
            )
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise CheckpointError(
                f"{path}: {name} has {bad} NaN or infinite values of {tensor.numel()}; take an earlier "
                "checkpoint"
            )


def _check_size(model_type: type[nn.Module], sizes, state_dict: dict[str, Tensor]) -> None:
    """Raise InputError when the network would be far larger than the weights there are for it."""
    if sum(sizes.depths) > MOST_BLOCKS:
        raise InputError(f"it has {sum(sizes.depths):,} blocks, expected at most {MOST_BLOCKS}")
    try:
        with torch.device("meta"):  # shapes without memory
            parameters = sum(tensor.numel() for tensor in model_type(sizes).parameters())
    except (RuntimeError, OverflowError) as error:
        raise InputError(f"no network can be that large ({one_line(error)})") from error
    most = MOST_MISSING * sum(tensor.numel() for tensor in state_dict.values()) + SMALL
    if parameters > most:
        raise InputError(f"it has {parameters:,} parameters, far more than the checkpoint")


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
    return [f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds.items() if names]
