"""TensorRT with the msdk plugins. Each thread has its own execution context, stream and buffers."""

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from msdk_rt.artifact.engine_entry import check_device, check_engine_entry, check_library
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.backends import cuda
from msdk_rt.backends.base import Floats, Network, Stream
from msdk_rt.backends.libraries import plugin_library
from msdk_rt.errors import ArtifactError, BackendError, InputError

try:
    import tensorrt as trt

    VERSION: str = trt.__version__
except (ImportError, AttributeError) as error:  # an empty namespace package is an AttributeError
    raise BackendError(
        f"TensorRT cannot be imported ({error}): pip install tensorrt, or on a Jetson install JetPack's "
        "python3-libnvinfer. A model.onnx of the same checkpoint runs without it"
    ) from error


class TensorRtBackend:
    """An engine over `artifact`, checked against its manifest. Implements msdk_rt.backends.base.Backend.

    batch_size: the most windows that `infer` will be given. Raises BackendError (another TensorRT, GPU or
    plugin than the engine was built for, no GPU, TensorRT refuses the file), ArtifactError (its input and
    output are not those of the manifest) or InputError (a batch_size beyond the engine's).
    """

    def __init__(self, artifact: str | Path, manifest: Manifest, batch_size: int):
        self.library: Mapping[str, str] = {"tensorrt": VERSION}
        self.threads: int | None = None
        built = check_engine_entry(manifest.engine, Path(artifact).suffix)
        if batch_size > built["max_batch"]:
            raise InputError(
                f"batch_size must be at most {built['max_batch']}, for which the engine was built, got "
                f"{batch_size}: export with a larger max_batch"
            )
        check_library(built, VERSION)
        cuda.check_driver()
        check_device(built, cuda.compute_capability())
        self._device = cuda.current_device()
        self._engine = _deserialize(Path(artifact), built["version_compatible"])
        self._shapes = _shapes(artifact, manifest, self._engine)
        self._batch_size = batch_size
        self._local = threading.local()
        self._making_contexts = threading.Lock()  # TensorRT makes them one at a time

    @property
    def providers(self) -> list[str]:
        return ["TensorRT"]

    def infer(self, windows: Floats) -> Floats:
        """windows (B, C, D, H, W) float32 -> logits (B, K, D, H, W) float32, a new array."""
        network = self.network()
        with cuda.on_device(self._device):
            if not hasattr(self._local, "copies"):
                self._local.copies = _Copies(self._shapes, self._batch_size)
            copies: _Copies = self._local.copies
            return copies.infer(network, windows)

    def network(self) -> Network:
        """This thread's network."""
        if not hasattr(self._local, "network"):
            with cuda.on_device(self._device):
                self._local.network = EngineOnDevice(
                    self._engine, self._shapes["image"], self._device, self._making_contexts
                )
        network: EngineOnDevice = self._local.network
        return network


class EngineOnDevice:
    """An engine on its own stream. Implements msdk_rt.backends.base.Network.

    A captured CUDA graph needs an execution context that keeps its shapes, so every batch size has its own;
    they share one block of work memory, which they can use in turn because they run on one stream.
    """

    graphs = True

    def __init__(self, engine: trt.ICudaEngine, window: tuple[int, ...], device: int, lock: threading.Lock):
        self._contexts: dict[int, trt.IExecutionContext] = {}
        self._engine, self._window, self._lock = engine, window, lock
        needed: int = engine.device_memory_size_v2
        self.memory: int | None = needed
        self._scratch = cuda.DeviceMemory(max(needed, 1))
        self.stream: Stream = cuda.Stream()
        self.device = device

    def enqueue(self, image: int, logits: int, count: int) -> None:
        context = self._contexts.get(count) or self._context(count)
        context.set_tensor_address("image", image)
        context.set_tensor_address("logits", logits)
        if not context.execute_async_v3(self.stream.handle):
            raise BackendError(f"TensorRT {VERSION} failed on windows of shape {(count, *self._window)}")

    def _context(self, count: int) -> trt.IExecutionContext:
        with self._lock:
            context = self._engine.create_execution_context(
                trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
        if context is None:
            raise BackendError(
                "TensorRT made no execution context: the GPU's memory is most likely full; free it of other "
                "programs"
            )
        context.set_device_memory(self._scratch.address, self._scratch.size)
        if not context.set_input_shape("image", (count, *self._window)):
            raise BackendError(f"TensorRT {VERSION} refused windows of shape {(count, *self._window)}")
        self._contexts[count] = context
        return context


class _Copies:
    """Memory on both sides for up to batch_size windows from the host, and for their logits."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], batch_size: int):
        self._host = {name: cuda.pinned((batch_size, *shape), np.float32) for name, shape in shapes.items()}
        self._device = {name: cuda.DeviceMemory(array.nbytes) for name, array in self._host.items()}

    def infer(self, network: Network, windows: Floats) -> Floats:
        count, stream = len(windows), network.stream
        image, logits = self._host["image"][:count], self._host["logits"][:count]
        image[...] = windows
        stream.upload(image, self._device["image"].address)
        network.enqueue(self._device["image"].address, self._device["logits"].address, count)
        stream.download(self._device["logits"].address, logits)
        stream.synchronize()
        result: Floats = logits.copy()
        return result


def _deserialize(path: Path, host_code: bool) -> trt.ICudaEngine:
    """The engine. host_code: whether a version-compatible one may bring its own runtime, which is code."""
    log = trt.Logger(trt.Logger.ERROR)
    runtime = trt.Runtime(log)
    runtime.engine_host_code_allowed = host_code
    registry = runtime.get_plugin_registry()
    if registry.load_library(str(plugin_library())) is None:
        raise BackendError(
            f"TensorRT {VERSION} cannot load the plugins {plugin_library()}: reinstall msdk_rt"
        )
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise BackendError(f"TensorRT {VERSION} refused {path}, and says why above: export it again here")
    return engine


def _shapes(artifact: str | Path, manifest: Manifest, engine: trt.ICudaEngine) -> dict[str, tuple[int, ...]]:
    """{tensor: its shape without the batch}, of image and logits. Raises ArtifactError for other tensors."""
    expected: dict[str, tuple[int, ...]] = {
        "image": (len(manifest.channels), *manifest.window),
        "logits": (manifest.logit_channels, *manifest.window),
    }
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    shapes = {name: engine.get_tensor_shape(name) for name in names}
    found = {name: tuple(shape[axis] for axis in range(1, len(shape))) for name, shape in shapes.items()}
    floats = all(engine.get_tensor_dtype(name) == trt.DataType.FLOAT for name in names)
    if found != expected or not floats:
        raise ArtifactError(
            f"{artifact} has tensors {found}, expected {expected} in float32: it was not written by "
            "msdk_rt.export, or its manifest belongs to another model"
        )
    return expected
