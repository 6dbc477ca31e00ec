"""The state of a run on disk: everything that a resumed run needs to continue exactly."""

import io
import json
from pathlib import Path
from typing import Any

import torch

from msdk_rt.artifact.files import atomic_write
from msdk_rt.errors import CheckpointError, InputError, one_line

FORMAT = 1


def save_state(path: Path, state: dict[str, Any], identity: dict[str, Any]) -> None:
    """Write state (tensors and plain values) atomically, with the identity of its run. Raises OutputError."""
    write_tensors(path, {"format": FORMAT, "identity": json.dumps(identity), "state": state})


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values atomically, as torch.save does. Raises OutputError."""
    written = io.BytesIO()  # not the file itself: on a full disk torch.save raises its own RuntimeError
    torch.save(content, written)
    with atomic_write(path, "wb") as file:
        file.write(written.getbuffer())


def load_state(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The state of this run, its tensors on the CPU; pickled code is never run.

    Raises CheckpointError on a damaged file and InputError when the state belongs to a run of other settings
    or another dataset, naming what differs.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, saved = content["format"], json.loads(content["identity"])
        state: dict[str, Any] = content["state"]
    except Exception as error:  # PyTorch's unpickler raises whatever the bytes lead it to
        raise CheckpointError(
            f"{path}: damaged or foreign ({one_line(error)}); begin again with --restart"
        ) from error
    if found != FORMAT:
        raise CheckpointError(
            f"{path} has format {found}, expected {FORMAT}: go on with the version that wrote it, or begin "
            "again with --restart"
        )
    if differing := differences(saved, identity):
        raise InputError(
            f"{path.parent} holds a run with other settings ({'; '.join(differing)}): repeat its settings to "
            "resume it, choose another folder, or begin again with --restart"
        )
    return state


def differences(saved: dict[str, Any], given: dict[str, Any], prefix: str = "") -> list[str]:
    """The differences of two nested dicts of JSON values, a line each."""
    lines = []
    for name in sorted(saved.keys() | given.keys()):
        was, now = saved.get(name), given.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            lines += differences(was, now, f"{prefix}{name}.")
        elif was != now:
            lines.append(f"{prefix}{name} was {was!r}, now {now!r}")
    return lines
