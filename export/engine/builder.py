"""model.engine: a graph compiled by TensorRT for the GPU at hand.

Types come from the graph alone: TensorRT 11 has no other way, TensorRT 10 is told so. The msdk nodes become
our plugins. Building takes minutes, and a Ctrl-C ends it at TensorRT's next step.
"""

import contextlib
import warnings
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NoReturn

import onnx
from onnx import helper
from tqdm import tqdm

from msdk_export.engine.options import EngineOptions
from msdk_export.graph.check import check_graph
from msdk_export.graph.functions import strip_functions
from msdk_export.ops.spec import PLUGIN
from msdk_rt.artifact.engine_entry import PLUGIN_VERSION, release_of
from msdk_rt.artifact.files import atomic_write
from msdk_rt.artifact.ops_version import OPS_DOMAIN
from msdk_rt.backends import cuda
from msdk_rt.backends.libraries import plugin_library
from msdk_rt.errors import BackendError, ExportError

try:
    import tensorrt as trt

    VERSION: str = trt.__version__  # its wheels call themselves 10.14.1.48.post1
except (ImportError, AttributeError) as error:  # an empty namespace package is an AttributeError
    raise ExportError(
        f"an .engine is built by TensorRT, which cannot be imported here ({error}): pip install tensorrt, or "
        "on a Jetson install JetPack's python3-libnvinfer. Export model.onnx instead, it runs everywhere"
    ) from error

PATIENCE = 0.1  # seconds between looks at a build in progress


def build_engine(
    model: onnx.ModelProto, path: Path, options: EngineOptions, progress: bool = False
) -> dict[str, Any]:
    """Compile a model of msdk_export.graph.trace.to_onnx into `path`; the manifest's entry `engine`.

    Raises ExportError with TensorRT's own words, BackendError (no plugins, no GPU), KeyboardInterrupt.
    """
    release_of(VERSION)  # before the minutes of a build
    cuda.check_driver()
    capability = cuda.compute_capability()
    log = Log()
    builder = trt.Builder(log)
    library = str(plugin_library())
    if builder.get_plugin_registry().load_library(library) is None:
        raise ExportError(f"TensorRT {VERSION} cannot load the plugins {library}: {log}")
    network = parse(builder, with_plugins(model), log)
    config = configure(builder, network, options)
    plan = compile_network(builder, network, config, log, progress)
    with atomic_write(path, "wb") as file:
        file.write(plan)
    _save_timings(config, options.timing_cache)
    return {
        "tensorrt": release_of(VERSION),
        "compute_capability": capability,
        "plugin_version": PLUGIN_VERSION,
        "max_batch": options.max_batch,
        "version_compatible": options.version_compatible,
        "hardware_compatible": options.hardware_compatible,
    }


def with_plugins(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose msdk nodes name their plugin, without their bodies, which a parser might use instead.

    Raises ExportError unless it is valid ONNX.
    """
    named = strip_functions(model)
    for node in named.graph.node:
        if node.domain == OPS_DOMAIN:
            kept = [entry for entry in node.attribute if entry.name not in PLUGIN]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.extend(helper.make_attribute(*entry) for entry in PLUGIN.items())
    check_graph(named)
    return named


class Log(trt.ILogger):
    """TensorRT's errors, kept for the message of ours; str() is the last of them in a line."""

    KEPT = 3

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self._errors.append(" ".join(msg.split()))

    def __str__(self) -> str:
        return "; ".join(self._errors[-self.KEPT :]) or "it does not say why"


def parse(builder: trt.Builder, model: onnx.ModelProto, log: Log) -> trt.INetworkDefinition:
    """TensorRT's network of a model. Raises ExportError with the nodes that it refused."""
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        said = "; ".join(f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in errors)
        raise ExportError(f"TensorRT {VERSION} cannot parse the graph: {said or log}")
    return network


def configure(
    builder: trt.Builder, network: trt.INetworkDefinition, options: EngineOptions
) -> trt.IBuilderConfig:
    """The options as TensorRT takes them; the first axis of every input is the batch where it is free."""
    config = builder.create_builder_config()
    config.builder_optimization_level = options.optimization_level
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default, it makes float32 as coarse as float16
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *rest = [tensor.shape[axis] for axis in range(len(tensor.shape))]
        if batch == -1:
            least, best, most = (trt.Dims([n, *rest]) for n in (1, options.best_batch, options.max_batch))
            profile.set_shape(tensor.name, least, best, most)
    config.add_optimization_profile(profile)
    if options.timing_cache is not None:
        _load_timings(config, options.timing_cache)
    return config


def _load_timings(config: trt.IBuilderConfig, path: Path) -> None:
    """Give TensorRT the timings of earlier builds; none, with a warning, where they do not fit."""
    known = path.read_bytes() if path.exists() else b""
    cache = config.create_timing_cache(known)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return
    warnings.warn(
        f"the timing cache {path} is damaged, or of another GPU or TensorRT: every layer is timed again and "
        "the file is replaced",
        RuntimeWarning,
        stacklevel=2,
    )
    if not config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False):
        raise ExportError(f"TensorRT {VERSION} takes no timing cache: leave it out")


def compile_network(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    log: Log,
    progress: bool = False,
) -> bytes:
    """The serialised engine. The build runs in another thread, so that this one hears Ctrl-C.

    Raises ExportError with TensorRT's words; KeyboardInterrupt once TensorRT has stopped.
    """
    with (
        tqdm(desc="TensorRT", unit="step", disable=not progress, leave=False) as bar,
        ThreadPoolExecutor(1, thread_name_prefix="TensorRT build") as pool,
    ):
        device = _device()
        monitor = ProgressMonitor(bar)
        config.progress_monitor = monitor
        pool.submit(int).result()  # its thread runs: the pool would not wait for one interrupted as it starts
        try:
            build = pool.submit(_built_on, device, builder, network, config)
            while not build.done():
                wait([build], PATIENCE)
        except KeyboardInterrupt:
            monitor.stopped = True
            raise
    plan = build.result()
    if plan is None:
        raise ExportError(f"TensorRT {VERSION} built no engine: {log}")
    return bytes(plan)


def _device() -> int | None:
    """This thread's GPU; None where there is none, as for TensorRT-RTX, which builds without."""
    try:
        return cuda.current_device()
    except BackendError:
        return None


def _built_on(
    device: int | None, builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig
) -> trt.IHostMemory:
    """Build on the caller's GPU: in a new thread the current device is number 0 again."""
    with contextlib.nullcontext() if device is None else cuda.on_device(device):
        return builder.build_serialized_network(network, config)


class ProgressMonitor(trt.IProgressMonitor):
    """Shows TensorRT's phases on a bar; set `stopped` and the build ends at its next step."""

    def __init__(self, bar: "tqdm[NoReturn]") -> None:
        trt.IProgressMonitor.__init__(self)
        self.stopped = False
        self._bar = bar
        self._phases: dict[str, int] = {}  # steps done in each open phase
        self._bar.total = self._total = 0

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        self._phases[phase_name] = 0
        self._total += num_steps
        self._bar.total = self._total
        self._bar.set_description(f"TensorRT: {phase_name}")

    def step_complete(self, phase_name: str, step: int) -> bool:
        done = self._phases.get(phase_name, 0)
        self._phases[phase_name] = step + 1
        self._bar.update(step + 1 - done)
        return not self.stopped

    def phase_finish(self, phase_name: str) -> None:
        self._phases.pop(phase_name, None)


def _save_timings(config: trt.IBuilderConfig, path: Path | None) -> None:
    if path is not None:
        with atomic_write(path, "wb") as file:
            file.write(bytes(config.get_timing_cache().serialize()))
