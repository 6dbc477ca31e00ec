"""ONNX Runtime with the msdk ops registered."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from msdk_rt.errors import ArtifactError, BackendError
from msdk_rt.manifest import Manifest
from msdk_rt.ops import ops_library

try:
    import onnxruntime
except ImportError as error:
    raise BackendError(
        f"ONNX Runtime cannot be imported ({error}): pip install 'msdk_rt[cpu]' or 'msdk_rt[gpu]'"
    ) from error

Provider = str | tuple[str, dict]
VERSION = onnxruntime.__version__
PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")
ERRORS_ONLY = 3


class OnnxRuntimeBackend:
    """A session over `artifact`, checked against its manifest. Implements msdk_rt.backends.base.Backend.

    providers: as ONNX Runtime takes them, names or (name, options). Default: CUDA where it is available, then
    the CPU. threads: of one inference; default: one per physical core.
    Raises BackendError (a provider or the op library is missing, ONNX Runtime refuses the file) or
    ArtifactError (the graph's input and output are not those of the manifest).
    """

    def __init__(
        self,
        artifact: str | Path,
        manifest: Manifest,
        providers: Sequence[Provider] | None = None,
        threads: int | None = None,
    ):
        self.library = {"onnxruntime": VERSION}
        chosen = choose_providers(providers)
        self._session = open_session(artifact, chosen, threads)
        self._check_started(chosen if providers is not None else [])
        _check_interface(self._session, artifact, manifest)

    @property
    def providers(self) -> list[str]:
        return self._session.get_providers()

    def infer(self, windows: np.ndarray) -> np.ndarray:
        return run_session(self._session, windows)

    def _check_started(self, asked: list[Provider]) -> None:
        """ONNX Runtime falls back to the CPU in silence when a provider's own libraries are missing."""
        if failed := [name for name in map(_name, asked) if name not in self.providers]:
            raise BackendError(
                f"{', '.join(failed)} did not start, only {', '.join(self.providers)} did: check that its "
                "driver and libraries are installed"
            )


def open_session(
    artifact: str | Path,
    providers: Sequence[Provider],
    threads: int | None = None,
    profile_prefix: str | None = None,
) -> onnxruntime.InferenceSession:
    """A session with the msdk ops; threads of one inference, by default one per physical core.

    profile_prefix: of the file that `session.end_profiling()` writes; default: no profile.

    Raises BackendError when the op library is missing or ONNX Runtime refuses the file.
    """
    library = ops_library()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    try:
        options.register_custom_ops_library(str(library))
        return onnxruntime.InferenceSession(str(artifact), options, providers=providers)
    except Exception as error:
        raise BackendError(f"ONNX Runtime {VERSION} refused {artifact}: {error}") from error


def run_session(session: onnxruntime.InferenceSession, windows: np.ndarray) -> np.ndarray:
    """windows (B, C, D, H, W) float32 -> logits (B, K, D, H, W) float32, a new array. Raises BackendError."""
    try:
        (logits,) = session.run(["logits"], {"image": windows})
    except Exception as error:
        raise BackendError(f"ONNX Runtime failed on windows of shape {windows.shape}: {error}") from error
    return logits


def choose_providers(asked: Sequence[Provider] | None) -> list[Provider]:
    """Those asked for, or what of PREFERRED there is. Raises BackendError for one that is missing."""
    available = onnxruntime.get_available_providers()
    if asked is None:
        return [name for name in PREFERRED if name in available]
    if missing := [name for name in map(_name, asked) if name not in available]:
        raise BackendError(
            f"{', '.join(missing)} is not in this ONNX Runtime {VERSION}, which has "
            f"{', '.join(available)}: choose among those or install another build of onnxruntime"
        )
    return list(asked)


def _name(provider: Provider) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _check_interface(session, artifact: str | Path, manifest: Manifest) -> None:
    """The graph must be image (B, C, *window) float -> logits (B, K, *window) float."""
    for role, nodes, name, planes in (
        ("input", session.get_inputs(), "image", len(manifest.channels)),
        ("output", session.get_outputs(), "logits", len(manifest.labels)),
    ):
        expected = ["B", planes, *manifest.window]
        found = [f"{node.name} {node.type} {node.shape}" for node in nodes]
        node = nodes[0]
        if (
            len(nodes) != 1
            or node.name != name
            or node.type != "tensor(float)"
            or not _fits(node.shape, expected)
        ):
            raise ArtifactError(
                f"{artifact} has {role} {'; '.join(found)}, expected {name} tensor(float) {expected}: it was "
                "not written by msdk_rt.export, or its manifest belongs to another model"
            )


def _fits(shape: list, expected: list) -> bool:
    """Batch size must be free; every other side is the expected number, or unknown."""
    return (
        len(shape) == len(expected)
        and not isinstance(shape[0], int)
        and all(not isinstance(n, int) or n == m for n, m in zip(shape[1:], expected[1:], strict=True))
    )
