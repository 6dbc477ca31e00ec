"""ONNX Runtime with the msdk ops registered."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from msdk_rt.artifact.manifest import Manifest
from msdk_rt.artifact.onnx_file import check_onnx_file
from msdk_rt.backends.base import Floats, Network, Provider, Stream
from msdk_rt.backends.libraries import ops_library
from msdk_rt.backends.processors import threads_for
from msdk_rt.errors import ArtifactError, BackendError, InputError

try:
    import onnxruntime
except ImportError as error:
    raise BackendError(
        f"ONNX Runtime cannot be imported ({error}): pip install 'msdk_rt[cpu]' or 'msdk_rt[gpu]'"
    ) from error

VERSION = onnxruntime.__version__
PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")
ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
STREAM = "user_compute_stream"
GRAPHS = {"CUDAExecutionProvider": "enable_cuda_graph", "TensorrtExecutionProvider": "trt_cuda_graph_enable"}
# On by default, and TF32 has float16's 10 bits. A float16 model has no float32 convolution or product, and
# its own are on tensor cores only with it: without, a volume took 1.7 times as long on an H200.
EXACT = {"float32": {"CUDAExecutionProvider": {"use_tf32": "0"}}}
# The session's entry for kernels of ops that stand for standard ones, by the provider that has all or some of
# them; others run the bodies of these ops.
STAND_INS = {"CPUExecutionProvider": "msdk.cpu_ops", "CUDAExecutionProvider": "msdk.cuda_ops"}
SPIN_MICROSECONDS = 200  # bridges the gaps between ops; ONNX Runtime's own 45,000 outlast a small window
ERRORS_ONLY = 3


class OnnxRuntimeBackend:
    """A session over `artifact`, checked against its manifest. Implements msdk_rt.backends.base.Backend.

    providers: as ONNX Runtime takes them, names or (name, options). Default: CUDA where it is available, then
    the CPU. threads: of one inference, as in processors.threads_for.

    On a GPU all threads share one CUDA stream, ours or the option user_compute_stream's, since ONNX Runtime
    takes one for a session. Where it or the volume kernels cannot be had, a warning says why, and volumes
    stay on the CPU. No CUDA graph is captured around ONNX Runtime, which may allocate and wait while it runs,
    and the graphs of its CUDA and TensorRT providers are refused: they are for one batch size and one thread.
    TensorRT-RTX handles shapes in its graphs itself.

    Raises BackendError (a provider or the op library is missing or did not start, ONNX Runtime refuses the
    file), InputError (an option that cannot be used here) or ArtifactError (the graph's input and output are
    not those of the manifest).
    """

    def __init__(
        self,
        artifact: str | Path,
        manifest: Manifest,
        providers: Sequence[Provider] | None = None,
        threads: int | None = None,
    ):
        self.library: Mapping[str, str] = {"onnxruntime": VERSION}
        chosen = choose_providers(providers)
        stream, problem = _stream_for(chosen)
        self._session = open_session(artifact, with_options(chosen, stream, manifest.precision), threads)
        self.threads: int | None = self._session.get_session_options().intra_op_num_threads
        self._check_started(chosen if providers is not None else [])
        _check_interface(self._session, artifact, manifest)
        self._stream = stream if self._works_on(stream) else None
        if self._stream is None and self.providers[0] in ON_GPU:
            warnings.warn(
                f"{self.providers[0]} runs, but the CPU works on the volumes, and each window is copied "
                f"to the GPU and back: {problem or 'the provider did not take our stream'}",
                RuntimeWarning,
                stacklevel=5,
            )

    @property
    def providers(self) -> list[str]:
        names: list[str] = self._session.get_providers()
        return names

    def infer(self, windows: Floats) -> Floats:
        return run_session(self._session, windows)

    def network(self) -> Network | None:
        if self._stream is None:
            return None
        options = self._session.get_provider_options()[self.providers[0]]
        return SessionOnDevice(self._session, self._stream, int(options.get("device_id", 0)))

    def _works_on(self, stream: Stream | None) -> bool:
        """Whether the first provider is on a GPU and took the stream."""
        if stream is None or self.providers[0] not in ON_GPU:
            return False
        options = self._session.get_provider_options().get(self.providers[0], {})
        return bool(options.get(STREAM) == str(stream.handle))

    def _check_started(self, asked: list[Provider]) -> None:
        """Raise BackendError for a provider that did not start, where ONNX Runtime falls back in silence."""
        if failed := [name for name in map(_name, asked) if name not in self.providers]:
            raise BackendError(
                f"{', '.join(failed)} did not start, only {', '.join(self.providers)} did: check that its "
                "driver and libraries are installed"
            )


class SessionOnDevice:
    """A session between addresses on the device. Implements msdk_rt.backends.base.Network.

    stream: that of the session's first provider. place: what ONNX Runtime calls the kind of device.

    Every run waits for its end. Where it need not (disable_synchronize_execution_providers), ONNX Runtime
    1.31 keeps page-locked memory of every run until the session ends, and then frees it in a callback of the
    stream, where CUDA allows no call: that ends the process, as seen on an H200.
    """

    graphs = False
    memory: int | None = None

    def __init__(
        self, session: onnxruntime.InferenceSession, stream: Stream, device: int, place: str = "cuda"
    ):
        self._session, self._place = session, place
        self.stream, self.device = stream, device
        self._shapes = [node.shape[1:] for node in (*session.get_inputs(), *session.get_outputs())]

    def enqueue(self, image: int, logits: int, count: int) -> None:
        binding = self._session.io_binding()
        seen, said = ([count, *shape] for shape in self._shapes)
        try:
            binding.bind_input("image", self._place, self.device, np.float32, seen, image)
            binding.bind_output("logits", self._place, self.device, np.float32, said, logits)
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on windows of shape {seen}: {error}") from error


def open_session(
    artifact: str | Path,
    providers: Sequence[Provider],
    threads: int | None = None,
    profile_prefix: str | None = None,
) -> onnxruntime.InferenceSession:
    """A session with the msdk ops; threads of one inference, as in processors.threads_for.

    profile_prefix: of the file that `session.end_profiling()` writes; default: no profile.

    Raises BackendError when the op library is missing or ONNX Runtime refuses the file, ArtifactError when
    check_onnx_file does.
    """
    check_onnx_file(artifact)
    library = ops_library()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads_for(threads)
    options.add_session_config_entry(*spinning(VERSION))
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    if entry := stand_ins(providers):
        options.add_session_config_entry(entry, "1")
    try:
        options.register_custom_ops_library(str(library))
        return onnxruntime.InferenceSession(str(artifact), options, providers=providers)
    except Exception as error:
        raise BackendError(f"ONNX Runtime {VERSION} refused {artifact}: {error}") from error


def stand_ins(providers: Sequence[Provider]) -> str | None:
    """The entry of the providers' kernels: the CPU's where it is alone, CUDA's where the CPU follows it."""
    names = [_name(provider) for provider in providers]
    if names in (
        ["CPUExecutionProvider"],
        ["CUDAExecutionProvider"],
        ["CUDAExecutionProvider", "CPUExecutionProvider"],
    ):
        return STAND_INS[names[0]]
    return None


def spinning(version: str) -> tuple[str, str]:
    """The session's entry that bounds how long an idle thread of this ONNX Runtime spins, awake.

    A spinning thread takes the processor of one that works, of this process or another. A sleeping one has to
    be woken: with a shorter bound a small window after a rest takes half as long again, windows in a row do
    not. Before 1.26 there is no bound, and threads sleep at once.
    """
    major, minor = (int(number) for number in version.split(".")[:2])
    if (major, minor) >= (1, 26):
        return "session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS)
    return "session.intra_op.allow_spinning", "0"


def run_session(session: onnxruntime.InferenceSession, windows: Floats) -> Floats:
    """windows (B, C, D, H, W) float32 -> logits (B, K, D, H, W) float32, a new array. Raises BackendError."""
    try:
        logits: Floats
        (logits,) = session.run(["logits"], {"image": windows})
    except Exception as error:
        raise BackendError(f"ONNX Runtime failed on windows of shape {windows.shape}: {error}") from error
    return logits


def choose_providers(asked: Sequence[Provider] | None) -> list[Provider]:
    """The providers asked for, else those of PREFERRED that exist. Raises BackendError for a missing one."""
    available = onnxruntime.get_available_providers()
    if asked is None:
        return [name for name in PREFERRED if name in available]
    if missing := [name for name in map(_name, asked) if name not in available]:
        raise BackendError(
            f"{', '.join(missing)} is not in this ONNX Runtime {VERSION}, which has "
            f"{', '.join(available)}: choose among those or install another build of onnxruntime"
        )
    return list(asked)


def with_options(
    providers: Sequence[Provider], stream: Stream | None, precision: str = "float32"
) -> list[Provider]:
    """The providers with the options that they get here: float32 is float32 unless an option says otherwise.

    Providers on a GPU do all their work on `stream`, a msdk_rt.backends.cuda.Stream; None: on their own
    streams. precision: the model's, as in its manifest.

    Raises InputError for options that ask for ONNX Runtime's own CUDA graphs.
    """
    result: list[Provider] = []
    for provider in providers:
        name, given = (provider, {}) if isinstance(provider, str) else provider
        options = EXACT.get(precision, {}).get(name, {}) | given
        if str(options.get(GRAPHS.get(name), 0)).lower() not in ("0", "false"):
            raise InputError(
                f"{name} cannot have {GRAPHS[name]} here: its CUDA graphs are for one batch size and one "
                "thread. Leave it out; a model.engine runs with CUDA graphs"
            )
        if stream is not None and name in ON_GPU:
            options[STREAM] = str(stream.handle)
            if name == "NvTensorRTRTXExecutionProvider":
                options["has_user_compute_stream"] = "1"
        result.append((name, options) if options else name)
    return result


def _stream_for(providers: Sequence[Provider]) -> tuple[Stream | None, str]:
    """(a stream of the first provider's GPU, "") or (None, why there is none)."""
    first = providers[0] if providers else "CPUExecutionProvider"
    if _name(first) not in ON_GPU:
        return None, ""
    options = {} if isinstance(first, str) else first[1]
    try:
        from msdk_rt.backends import cuda
        from msdk_rt.backends.volume_kernels import VolumeKernels

        VolumeKernels()
        cuda.check_driver()
        with cuda.on_device(int(options.get("device_id", 0))):
            return cuda.Stream(int(options[STREAM]) if STREAM in options else None), ""
    except BackendError as error:
        return None, str(error)


def _name(provider: Provider) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _check_interface(session: onnxruntime.InferenceSession, artifact: str | Path, manifest: Manifest) -> None:
    """The graph must be image (B, C, *window) float -> logits (B, K, *window) float."""
    for role, nodes, name, planes in (
        ("input", session.get_inputs(), "image", len(manifest.channels)),
        ("output", session.get_outputs(), "logits", manifest.logit_channels),
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


def _fits(shape: list[object], expected: list[object]) -> bool:
    """Batch size must be free; every other side is the expected number, or unknown."""
    return (
        len(shape) == len(expected)
        and not isinstance(shape[0], int)
        and all(not isinstance(n, int) or n == m for n, m in zip(shape[1:], expected[1:], strict=True))
    )
