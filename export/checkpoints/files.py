"""Reading and writing checkpoint files."""

import json
import pickle
import struct
import zipfile
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from msdk_export.checkpoints.model import describe_model
from msdk_export.checkpoints.tensors import check_tensors
from msdk_rt.artifact.files import atomic_write
from msdk_rt.errors import CheckpointError

METADATA_KEY = "msdk"
WRAPPERS = ("state_dict", "model_state_dict", "network_weights", "model")
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
ZIP_MAGIC = b"PK"
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
    check_tensors(path, state_dict)
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
