"""TensorRT with the msdk plugins. Each thread has an execution context, a stream and buffers of its own."""

import threading
from pathlib import Path

import numpy as np

from msdk_rt import cuda
from msdk_rt.engines import check_device, check_engine_entry, check_library
from msdk_rt.errors import ArtifactError, BackendError, InputError
from msdk_rt.manifest import Manifest
from msdk_rt.ops import plugin_library

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
        self.library = {"tensorrt": VERSION}
        built = check_engine_entry(manifest.engine, Path(artifact).suffix)
        if batch_size > built["max_batch"]:
            raise InputError(
                f"batch_size must be at most {built['max_batch']}, for which the engine was built, got "
                f"{batch_size}: export with a larger max_batch"
            )
        check_library(built, VERSION)
        check_device(built, cuda.compute_capability())
        self._engine = _deserialize(Path(artifact), built["version_compatible"])
        self._shapes = _shapes(artifact, manifest, self._engine)
        self._batch_size = batch_size
        self._local = threading.local()

    @property
    def providers(self) -> list[str]:
        return ["TensorRT"]

    def infer(self, windows: np.ndarray) -> np.ndarray:
        """windows (B, C, D, H, W) float32 -> logits (B, K, D, H, W) float32, a new array."""
        if not hasattr(self._local, "execution"):
            self._local.execution = _Execution(self._engine, self._shapes, self._batch_size)
        return self._local.execution.infer(windows)


class _Execution:
    """One execution context with all it needs for up to batch_size windows, allocated once."""

    def __init__(self, engine: trt.ICudaEngine, shapes: dict[str, tuple[int, ...]], batch_size: int):
        self._context = engine.create_execution_context()
        if self._context is None:
            raise BackendError(
                "TensorRT made no execution context: the GPU's memory is most likely full; free it of other "
                "programs"
            )
        self._stream = cuda.Stream()
        self._host, self._device = {}, {}
        for name, shape in shapes.items():
            self._host[name] = cuda.pinned((batch_size, *shape), np.float32)
            self._device[name] = cuda.DeviceMemory(self._host[name].nbytes)
            self._context.set_tensor_address(name, self._device[name].address)

    def infer(self, windows: np.ndarray) -> np.ndarray:
        count = len(windows)
        image, logits = self._host["image"][:count], self._host["logits"][:count]
        image[...] = windows
        accepted = self._context.set_input_shape("image", windows.shape)
        self._stream.upload(image, self._device["image"])
        if not accepted or not self._context.execute_async_v3(self._stream.handle):
            raise BackendError(f"TensorRT {VERSION} failed on windows of shape {windows.shape}")
        self._stream.download(self._device["logits"], logits)
        self._stream.synchronize()
        return logits.copy()


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
        "logits": (len(manifest.labels), *manifest.window),
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
