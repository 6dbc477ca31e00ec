"""Reading what torch.save wrote, without running any code that is in it."""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from msdk_export.checkpoints.stand_ins import stand_ins
from msdk_export.wording import listed
from msdk_rt.errors import CheckpointError

ZIP_MAGIC = b"PK"
TORCHSCRIPT = (
    "a TorchScript file, which is a network's code and not a checkpoint: save the weights alone, "
    "torch.save(torch.jit.load(path).state_dict(), 'weights.pt'), or export the network that was scripted"
)
TORCH_EXPORT = (
    "a program of torch.export, which is a traced network and not a checkpoint: save the weights alone, "
    "torch.save(torch.export.load(path).state_dict, 'weights.pt'), or export the network that was traced"
)


def read_pickle(path: Path) -> Any:
    """The content of a .pt file; tensors on the CPU. Raises CheckpointError."""
    try:
        _check_zip(path)
        with stand_ins():
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        with open(path, "rb") as file:
            zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        if not zipped and not _global_of(error):
            raise CheckpointError(f"{path}: not a PyTorch checkpoint; fetch or save it again") from error
        raise CheckpointError(f"{path}: {_refusal(path, error)}") from error
    except Exception as error:  # garbage makes torch's unpickler raise whatever the bytes lead it to
        raise CheckpointError(f"{path}: truncated or damaged ({error!r}); fetch or save it again") from error


def _check_zip(path: Path) -> None:
    """Raise CheckpointError for an archive of another kind, ValueError when its members are compressed:
    torch.save compresses none, and a few bytes could become gigabytes.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = [member.filename.partition("/")[2] for member in members]
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        raise CheckpointError(f"{path}: {TORCHSCRIPT}")
    if "archive_format" in names or "serialized_exported_program.json" in {m.filename for m in members}:
        raise CheckpointError(f"{path}: {TORCH_EXPORT}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > path.stat().st_size:
        raise ValueError(f"its members unpack to {unpacked} bytes, torch.save compresses none")


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    """Why weights_only does not take the file, and what to do."""
    objects = sorted({*_unsafe_globals(path), *_global_of(error)})
    if any("torch.distributed" in name for name in objects) or "DTensor" in str(error):
        return (
            "a shard of weights that several processes held (FSDP or DTensor), expected whole weights: save "
            "the full state dict, with torch.distributed.checkpoint.state_dict.get_model_state_dict and "
            "StateDictOptions(full_state_dict=True)"
        )
    if not objects and "Unsupported operand" in str(error):
        return (
            "damaged, or pickled with another protocol than torch.save's default, 2, expected that one: "
            "save it again without pickle_protocol"
        )
    found = f" ({listed(objects)})" if objects else f" ({error})"
    return (
        f"it pickles Python objects{found}, and loading those would run whatever code they bring; save the "
        "state dict alone, with torch.save(model.state_dict(), path)"
    )


def _unsafe_globals(path: Path) -> list[str]:
    """The classes and functions in the pickle that weights_only does not take."""
    try:
        with stand_ins():
            return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # the old format, or opcodes that this does not read: the error itself names one
        return []


def _global_of(error: pickle.UnpicklingError) -> list[str]:
    return re.findall(r"GLOBAL (\S+) was not", str(error))
