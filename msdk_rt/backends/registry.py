"""The inference library for each kind of artifact. To add one: a module with a Backend, and a loader here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msdk_rt.artifact.manifest import Manifest
from msdk_rt.backends.base import Backend, Provider
from msdk_rt.errors import BackendError, InputError


@dataclass(frozen=True)
class Settings:
    """A Segmenter's settings for its backend. batch_size: the most windows of one inference."""

    providers: Sequence[Provider] | None = None
    threads: int | None = None
    batch_size: int = 1


def open_backend(path: Path, manifest: Manifest, settings: Settings) -> Backend:
    """The network of an artifact, loaded. A library is imported when an artifact asks for it.

    Raises BackendError for a kind that no library here runs, InputError for a setting that the library does
    not have, and what the backend raises.
    """
    kind = "onnx" if manifest.engine is None else "tensorrt"
    loader = _LOADERS.get(kind)
    if loader is None:
        raise BackendError(f"no backend runs {kind} artifacts, expected one of {', '.join(_LOADERS)}")
    return loader(path, manifest, settings)


def _onnxruntime(path: Path, manifest: Manifest, settings: Settings) -> Backend:
    from msdk_rt.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(path, manifest, settings.providers, settings.threads)


def _tensorrt(path: Path, manifest: Manifest, settings: Settings) -> Backend:
    for name, value in (("providers", settings.providers), ("threads", settings.threads)):
        if value is not None:
            raise InputError(f"{name} is for a .onnx, {path} runs on TensorRT: leave it out, got {value!r}")
    from msdk_rt.backends.tensorrt import TensorRtBackend

    return TensorRtBackend(path, manifest, settings.batch_size)


_LOADERS: dict[str, Callable[[Path, Manifest, Settings], Backend]] = {
    "onnx": _onnxruntime,
    "tensorrt": _tensorrt,
}
