"""Writes a model repository: the network on its own backend, and whole volumes on the Python backend."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msdk_rt.artifact.bundle import unpacked
from msdk_rt.artifact.files import atomic_write, path_of
from msdk_rt.artifact.manifest import Manifest, manifest_path, read_manifest
from msdk_rt.artifact.served_name import served_name_of
from msdk_rt.backends.libraries import ops_library, plugin_library
from msdk_rt.errors import ArtifactError, OutputError
from msdk_rt.inference.labels import label_type
from msdk_rt.triton.config import Word, parameters, text_of

NETWORK = "_network"
VERSION = "1"
MODEL_FILE = "model.py"
VOLUME_MODEL = '''\
"""Whole volumes on Triton's Python backend; msdk_rt must be installed where Triton runs it."""

from msdk_rt.triton.volume_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class Plan:
    """What a repository is asked for. name: of the model that takes volumes; the network is NAME_network.
    seen_at: where Triton will see the repository. on_gpu: the network runs there. max_batch: windows of one
    request to the network. settings: of the Segmenter, as JSON values by name.
    """

    name: str
    seen_at: Path
    on_gpu: bool
    max_batch: int
    settings: Mapping[str, Any]


def write_repository(artifact: str | Path, repository: Path, plan: Plan) -> list[Path]:
    """Write the two models below `repository`; returns their folders, whole or not there.

    Models of these names are not replaced. Raises ArtifactError, InputError, OutputError, BackendError.
    """
    with unpacked(path_of(artifact, ArtifactError)) as whole:
        return _write_models(whole, read_manifest(whole), repository, plan)


def _write_models(artifact: Path, manifest: Manifest, repository: Path, plan: Plan) -> list[Path]:
    name = served_name_of(plan.name, "with --name")
    folders = [repository / f"{name}{NETWORK}", repository / name]
    if taken := [str(folder) for folder in folders if folder.exists()]:
        raise OutputError(f"{' and '.join(taken)} exist already: remove them, or give another --name")
    try:
        network = _write_network(folders[0], artifact, manifest, plan)
        (folders[1] / VERSION).mkdir(parents=True)
        for path in (artifact, manifest_path(artifact)):
            shutil.copyfile(path, folders[1] / VERSION / path.name)
        _write(folders[1] / VERSION / MODEL_FILE, VOLUME_MODEL)
        _write(folders[1] / "config.pbtxt", text_of(volume_config(manifest, artifact.name, plan)))
        _write(folders[0] / "config.pbtxt", text_of(network))
    except BaseException as error:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            raise OutputError(f"cannot write into {repository}: {error.strerror or error}") from error
        raise
    return folders


def _write_network(folder: Path, artifact: Path, manifest: Manifest, plan: Plan) -> dict[str, Any]:
    """Copy the network and its library; returns the configuration."""
    (folder / VERSION).mkdir(parents=True)
    library = plugin_library() if manifest.engine else ops_library()
    shutil.copyfile(library, folder / library.name)
    target = "model.plan" if manifest.engine else "model.onnx"
    shutil.copyfile(artifact, folder / VERSION / target)
    return network_config(manifest, plan, plan.seen_at / folder.name / library.name)


def network_config(manifest: Manifest, plan: Plan, library: Path) -> dict[str, Any]:
    """Windows in, logits out, of all folds. library: of the msdk ops, as Triton sees it.

    The TensorRT backend takes plugins from its command line alone: see the how-to page.
    """
    window, logits = list(manifest.window), manifest.logit_channels
    batch = min(plan.max_batch, manifest.engine["max_batch"]) if manifest.engine else plan.max_batch
    config: dict[str, Any] = {
        "name": f"{plan.name}{NETWORK}",
        "backend": "tensorrt" if manifest.engine else "onnxruntime",
        "max_batch_size": batch,
        "input": {"name": "image", "data_type": Word("TYPE_FP32"), "dims": [len(manifest.channels), *window]},
        "output": {"name": "logits", "data_type": Word("TYPE_FP32"), "dims": [logits, *window]},
        "instance_group": {"count": 1, "kind": _kind(manifest, plan)},
        "parameters": parameters(_description(manifest)),
    }
    if manifest.engine is None:
        config["model_operations"] = {"op_library_filename": str(library)}
    return config


def volume_config(manifest: Manifest, artifact: str, plan: Plan) -> dict[str, Any]:
    """A volume in, labels out. artifact: the name of the model's file."""
    settings = {"artifact": artifact, "settings": json.dumps(dict(plan.settings))}
    return {
        "name": plan.name,
        "backend": "python",
        "max_batch_size": 0,
        "input": [
            {"name": "VOLUME", "data_type": Word("TYPE_FP32"), "dims": [len(manifest.channels), -1, -1, -1]},
            {"name": "SPACING", "data_type": Word("TYPE_FP32"), "dims": [3], "optional": True},
        ],
        "output": {
            "name": "LABELS",
            "data_type": Word(triton_type(label_type(tuple(manifest.labels.values())))),
            "dims": [-1, -1, -1],
        },
        "instance_group": {"count": 1, "kind": Word("KIND_CPU")},  # the model finds its GPU itself
        "parameters": parameters(settings | _description(manifest)),
    }


def triton_type(dtype: np.dtype[Any]) -> str:
    """What Triton calls a type of NumPy's integers."""
    return f"TYPE_{dtype.name.upper()}"


def _kind(manifest: Manifest, plan: Plan) -> Word:
    return Word("KIND_GPU" if manifest.engine or plan.on_gpu else "KIND_CPU")


def _description(manifest: Manifest) -> dict[str, str]:
    """What a client must know of the model, which Triton gives with its configuration."""
    return {
        "family": manifest.family,
        "channels": json.dumps(list(manifest.channels)),
        "labels": json.dumps(manifest.labels),
        "folds": str(manifest.folds or 1),
        "orientation": manifest.orientation,
        "sha256": manifest.sha256,
    }


def _write(path: Path, text: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(text)
