"""Runs a volume on a GPU; only its results come back to the host."""

import ctypes
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from msdk_rt.backends.base import Device, Graph, Network
from msdk_rt.backends.volume_kernels import FLOAT16, FLOAT32, VolumeKernels, windows_of
from msdk_rt.errors import BackendError
from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.device.arrays import DeviceVolume, device_volume
from msdk_rt.inference.device.pending import Pending
from msdk_rt.inference.device.workspace import STARTS_BYTES, DeviceBytes, Workspace, layout
from msdk_rt.inference.normalisation import DeviceWork
from msdk_rt.inference.pipeline import Logits, Watch
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.stages import Stages
from msdk_rt.inference.windows import Take, batches_of


class DevicePipeline:
    """Runs volumes on one GPU, for one thread. Every thread has its own pipeline.

    `start` enqueues a volume and returns; the Pending that it returns waits for the results. Start one volume
    more before asking for those, and its upload and their download run beside the inference: uploads, work
    and downloads have a stream each. Device memory is that of one volume, reused while the shape repeats, so
    no third volume may be started before the first one's results are asked for.

    A batch of windows is one sequence of work at fixed addresses: cut, infer, mirrored views, blend. Where
    network.graphs allows it, the sequence runs once as it is, then is captured in a CUDA graph, one for each
    batch size of a shape, and replayed: where the windows start is device memory that is written in between.
    """

    def __init__(self, network: Network, recipe: Recipe, cuda: Device, kernels: VolumeKernels):
        self.network, self.recipe, self.cuda, self.kernels = network, recipe, cuda, kernels
        self.work = network.stream
        self._sums = FLOAT16 if recipe.half_sums else FLOAT32
        with cuda.on_device(network.device):
            self._uploads, self.downloads = cuda.Stream(), cuda.Stream()
        self._graphs = network.graphs
        self._workspace: Workspace | None = None
        self._last: Callable[[], Pending | None] = lambda: None

    def take(self, array: object) -> DeviceVolume:
        """An array of another library on the device, as it lies there. Raises InputError."""
        with self.cuda.on_device(self.network.device):
            volume = device_volume(array, self.cuda, self.network.device, self.work.handle)
            if volume.stream is not None:
                self.work.follow(volume.stream)
        return volume

    def memory(self, shape: Sequence[int]) -> DeviceBytes:
        """Bytes that a volume (D, H, W) takes at the batch size that was asked for."""
        size = self.recipe.batch_size
        return DeviceBytes(size, self._bytes(shape, size), self.network.memory)

    def start(
        self,
        volume: Floats | DeviceVolume,
        probabilities: bool = False,
        watch: Watch | None = None,
        stages: Stages | None = None,
        spacing: Sequence[float] | None = None,
    ) -> "Pending":
        """Enqueue a checked volume (C, D, H, W) float32, whose spacing does not matter here.

        The results of a DeviceVolume stay on the device.

        watch: wraps the list of batches for iteration; each is then waited for. stages: takes the times of
        "upload", "normalise", "windows" (cut, infer, blend), "label", "download"; each is then waited for.

        Raises BackendError.
        """
        return self._start(volume, "probabilities" if probabilities else None, watch, stages)

    def start_logits(
        self, volume: Floats, watch: Watch | None = None, stages: Stages | None = None
    ) -> Logits:
        """Enqueue a checked volume and return a function that waits for its blended logits (K, D, H, W)."""
        return self._start(volume, "logits", watch, stages).logits

    def start_planes(
        self, volume: Floats, take: Take, watch: Watch | None = None, stages: Stages | None = None
    ) -> Callable[[], None]:
        """Enqueue a checked volume; its logits go to `take` at once when the function returned is called."""
        logits = self.start_logits(volume, watch, stages)
        return lambda: take(0, logits())

    def _start(
        self, volume: Floats | DeviceVolume, maps: str | None, watch: Watch | None, stages: Stages | None
    ) -> "Pending":
        with self.cuda.on_device(self.network.device):
            workspace = self._workspace_of(tuple(volume.shape[1:]))
            pending = Pending(self, workspace, volume, maps)
            with self._stage(stages, "upload"):
                source = self._upload(workspace, volume)
            with self._stage(stages, "normalise"):
                self._normalize(workspace, source, isinstance(volume, DeviceVolume))
            with self._stage(stages, "windows"):
                self._blend(workspace, watch)
            with self._stage(stages, "label"):
                pending.enqueue_labels(workspace)
            with self._stage(stages, "download"):
                pending.enqueue_downloads(workspace)
        self._last = weakref.ref(pending)
        return pending

    @contextmanager
    def _stage(self, stages: Stages | None, name: str) -> Iterator[None]:
        if stages is None:
            yield
            return
        with stages(name):
            yield
            for stream in (self._uploads, self.work, self.downloads):
                stream.synchronize()

    def _workspace_of(self, shape: tuple[int, ...]) -> Workspace:
        if self._workspace is None or self._workspace.shape != shape:
            if last := self._last():
                last.collect()  # and let go of the memory
            self._workspace = None
            size = self._fitting_batch_size(shape)
            self._workspace = Workspace(self.cuda, self.kernels, self.recipe, shape, size)
        return self._workspace

    def _fitting_batch_size(self, shape: tuple[int, ...]) -> int:
        """Windows per inference: as asked for, or as many as fit in the free memory, with a warning."""
        asked, free = self.recipe.batch_size, self.cuda.free_memory()
        sizes = (size for size in range(asked, 0, -1) if self._bytes(shape, size) <= free)
        size = next(sizes, 0)
        if size == 0:
            raise BackendError(
                f"a volume of {shape} voxels needs {self._bytes(shape, 1)} bytes of device memory, and "
                f"{free} are free: free the GPU of other programs, or run model.onnx on the CPU"
            )
        if size < asked:
            warnings.warn(
                f"batch_size {asked} needs {self._bytes(shape, asked)} bytes of device memory for a volume "
                f"of {shape} voxels, and {free} are free: it is {size} for this shape",
                RuntimeWarning,
                stacklevel=2,
            )
        return size

    def _bytes(self, shape: Sequence[int], batch_size: int) -> int:
        return layout(self.recipe, self.kernels, shape, batch_size).total

    def _upload(self, workspace: Workspace, volume: Floats | DeviceVolume) -> int:
        """Return the address where the volume is, or will be when the enqueued work reads it."""
        if isinstance(volume, DeviceVolume):
            return volume.address
        workspace.uploaded.synchronize()  # the one before has left the page-locked memory
        np.copyto(workspace.source, volume)
        self._uploads.wait(workspace.consumed)
        self._uploads.upload(workspace.source, workspace["upload"])
        self._uploads.record(workspace.uploaded)
        self.work.wait(workspace.uploaded)
        return workspace["upload"]

    def _normalize(self, workspace: Workspace, source: int, foreign: bool) -> None:
        """Normalise `source` into the workspace's volume. foreign: not yet checked for NaN and infinities."""
        stream, manifest = self.work, self.recipe.manifest
        channels, voxels = len(manifest.channels), int(np.prod(workspace.shape, dtype=np.int64))
        if foreign:
            stream.wait(workspace.read)
            stream.zero(workspace["counts"], workspace.bytes_of("counts"))
            self.kernels.count_not_finite(source, channels, voxels, workspace["counts"], stream.handle)
        scratch, target = workspace["normalize"], workspace["volume"]
        work = DeviceWork(self.kernels, stream, source, target, scratch, channels, voxels)
        self.recipe.normalisation().on_device(work)
        stream.record(workspace.consumed)

    def _blend(self, workspace: Workspace, watch: Watch | None) -> None:
        """Blend the logits of all windows into the workspace's total."""
        stream = self.work
        stream.wait(workspace.read)
        for name in ("total", "weight_sum", "too_large"):
            stream.zero(workspace[name], workspace.bytes_of(name))
        batches = batches_of(range(len(workspace.starts)), workspace.batch_size)
        for batch in watch(batches) if watch else batches:
            self._infer(workspace, batch[0], len(batch))
            if watch:
                stream.synchronize()
        classes, voxels = len(self.recipe.manifest.labels), int(np.prod(workspace.shape, dtype=np.int64))
        folds = self.recipe.manifest.folds or 1
        total, weight_sum = workspace["total"], workspace["weight_sum"]
        rest = self._sums, workspace["too_large"], stream.handle
        self.kernels.divide(total, weight_sum, folds, classes, voxels, *rest)

    def _infer(self, workspace: Workspace, first: int, count: int) -> None:
        """Run `count` windows from number `first` on."""
        stream, graphs = self.work, workspace.graphs
        starts = workspace["starts"] + STARTS_BYTES * first
        stream.copy(starts, workspace["batch_starts"], STARTS_BYTES * count)
        if self._graphs and count in graphs and graphs[count] is None:
            graphs[count] = self._captured(workspace, count)
        if graph := graphs.get(count):
            graph.launch(stream)
        else:
            self._enqueue_batch(workspace, count)
            graphs[count] = None
        stream.copy(workspace["batch_flags"], workspace["flags"] + 4 * first, 4 * count)

    def _captured(self, workspace: Workspace, count: int) -> Graph | None:
        """Return the graph of a batch; None, with one warning, where the network cannot be captured."""
        try:
            return self.work.capture(lambda: self._enqueue_batch(workspace, count))
        except BackendError as error:
            self._graphs = False
            warnings.warn(f"no CUDA graph could be captured: {error}", RuntimeWarning, stacklevel=2)
            return None

    def _enqueue_batch(self, workspace: Workspace, count: int) -> None:
        kernels, stream, manifest = self.kernels, self.work.handle, self.recipe.manifest
        plans = (len(manifest.channels), manifest.logit_channels)
        cut, blend = (
            ctypes.byref(
                windows_of(planes, workspace.shape, manifest.window, count, workspace["batch_starts"])
            )
            for planes in plans
        )
        image, logits, views = workspace["image"], workspace["logits"], self.recipe.views()
        self.work.zero(workspace["batch_flags"], 4 * count)
        summed = workspace["views"] if len(views) > 1 else logits
        if len(views) > 1:
            self.work.zero(summed, workspace.bytes_of("views"))
        for axes in views:
            mirror = sum(1 << axis for axis in axes)
            kernels.gather(cut, workspace["volume"], mirror, image, FLOAT32, stream)
            self.network.enqueue(image, logits, count)
            if len(views) > 1:
                kernels.add_mirrored(blend, logits, mirror, summed, stream)
        sums = workspace["total"], workspace["weight_sum"], workspace["batch_flags"]
        weights = workspace["weights"]
        kernels.accumulate(blend, summed, FLOAT32, len(views), weights, self._sums, *sums, stream)
