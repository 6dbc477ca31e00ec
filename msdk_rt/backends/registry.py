"""The inference library for each suffix of an artifact. To add one: a module and a loader here."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from msdk_rt.artifact.engine_entry import ENGINE_SUFFIX
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.backends.base import Backend, Provider
from msdk_rt.errors import BackendError, InputError, shown


@dataclass(frozen=True)
class Settings:
    """A Segmenter's settings for its backend. batch_size: the most windows of one inference."""

    providers: Sequence[Provider] | None = None
    threads: int | None = None
    batch_size: int = 1


def providers_of(given: object) -> list[Provider] | None:
    """Execution providers as ONNX Runtime takes them: names or (name, options), or one of these alone.

    Raises InputError for anything else, and for none at all.
    """
    if given is None:
        return None
    alone = isinstance(given, str) or _is_provider(given)
    listed = [given] if alone or not isinstance(given, Iterable) else list(given)
    providers: list[Provider] = [entry for entry in listed if _is_provider(entry)]
    if not providers or len(providers) < len(listed):
        raise InputError(
            "providers must be names such as 'CPUExecutionProvider', or (name, {option: value}), got "
            f"{shown(given)}"
        )
    return providers


def _is_provider(value: object) -> TypeGuard[Provider]:
    if isinstance(value, tuple) and len(value) == 2:
        return isinstance(value[0], str) and isinstance(value[1], dict)
    return isinstance(value, str) and value != ""


def open_backend(path: Path, manifest: Manifest, settings: Settings) -> Backend:
    """The network of an artifact, loaded. A library is imported when an artifact asks for it.

    Raises BackendError for a suffix that no library here runs, InputError for a setting that the library does
    not have, and what the backend raises.
    """
    loader = LOADERS.get(path.suffix)
    if loader is None:
        raise BackendError(
            f"no backend runs {path.suffix or 'a file without a suffix'}, expected one of "
            f"{', '.join(LOADERS)}: keep the name that msdk_rt.export gave {path}"
        )
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


LOADERS: dict[str, Callable[[Path, Manifest, Settings], Backend]] = {
    ".onnx": _onnxruntime,
    ENGINE_SUFFIX: _tensorrt,
}
