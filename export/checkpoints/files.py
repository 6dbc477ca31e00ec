"""Reading and writing checkpoint files."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from msdk_export.checkpoints.choice import check_part, choose_network
from msdk_export.checkpoints.model import describe_model
from msdk_export.checkpoints.pickles import TORCH_EXPORT, TORCHSCRIPT, read_pickle
from msdk_export.checkpoints.tensors import check_tensors
from msdk_export.families.registry import completed
from msdk_export.wording import listed
from msdk_rt.artifact.files import atomic_write
from msdk_rt.errors import CheckpointError

METADATA_KEY = "msdk"
PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".model", ".tar")
SUFFIXES = (".safetensors", *PICKLES)
_OTHER_KINDS = {
    ".distcp": "one process's part of a distributed checkpoint: convert the folder, with python -m "
    "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pt",
    ".onnx": "an ONNX graph and no checkpoint: export from the PyTorch weights that it was made of",
    ".pt2": TORCH_EXPORT,
    ".ts": TORCHSCRIPT,
}


def load_checkpoint(path: str | Path, weights: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(state dict on the CPU, description) of a checkpoint; the description is {} where the file has none.

    weights: which of several networks in the file: "model", "ema" for the moving average of its weights, or
    the keys where it is, joined by dots ("state.net"). Default: the model; what else there is, is an
    ExportWarning.

    Pickled code is never run. Raises CheckpointError when the file is missing, damaged, not a checkpoint or a
    part of one, has no such weights, or has NaN or infinity among them.
    """
    path = Path(path)
    _check_kind(path)
    content, description = _reader(path)(path)
    if not isinstance(description, dict):
        raise CheckpointError(
            f"{path}: its {METADATA_KEY!r} entry must be an object, got {type(description).__name__}"
        )
    state_dict = choose_network(path, content, weights).weights
    check_tensors(path, state_dict)
    return state_dict, completed(description)


def save_checkpoint(path: str | Path, model: nn.Module, description: dict[str, Any] | None = None) -> Path:
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


def _check_kind(path: Path) -> None:
    """Raise CheckpointError unless there is a file with a checkpoint's suffix."""
    if path.is_dir():
        raise CheckpointError(f"{path}: {_folder(path)}")
    if path.suffix in _OTHER_KINDS:
        raise CheckpointError(f"{path}: {_OTHER_KINDS[path.suffix]}")
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path}: expected a checkpoint ending in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    check_part(path)


def _folder(path: Path) -> str:
    """Describe a folder, and name the file to give instead."""
    names = sorted(entry.name for entry in path.iterdir())
    if any(name.endswith(".distcp") for name in names):
        return f"a folder, with {_OTHER_KINDS['.distcp']}"
    if "zero_to_fp32.py" in names:
        return "a folder of DeepSpeed's, expected one file: give what the zero_to_fp32.py in it writes"
    found = listed([name for name in names if name.endswith(SUFFIXES)]) or "there are none"
    return f"a folder, expected a checkpoint file: give one of those in it ({found})"


def _reader(path: Path) -> Callable[[Path], tuple[Any, Any]]:
    return _read_safetensors if path.suffix == ".safetensors" else _read_pickle


def _read_pickle(path: Path) -> tuple[Any, Any]:
    content = read_pickle(path)
    return content, content.get(METADATA_KEY, {}) if isinstance(content, dict) else {}


def _read_safetensors(path: Path) -> tuple[Any, Any]:
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
