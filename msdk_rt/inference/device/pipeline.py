"""Runs a volume on a GPU; only its results come back to the host."""

import ctypes
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from msdk_rt.backends.base import Device, Graph, Network
from msdk_rt.backends.volume_kernels import FLOAT32, VolumeKernels, windows_of
from msdk_rt.errors import BackendError
from msdk_rt.inference.arrays import Floats, not_finite_input
from msdk_rt.inference.device.arrays import DeviceArray, DeviceVolume, device_volume
from msdk_rt.inference.device.workspace import STARTS_BYTES, DeviceBytes, Workspace, layout
from msdk_rt.inference.labels import label_type
from msdk_rt.inference.normalisation import DeviceWork
from msdk_rt.inference.pipeline import Labels, Probabilities, Watch
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.stages import Stages
from msdk_rt.inference.windows import batches_of, not_finite_logits


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
    ) -> "Pending":
        """Enqueue a checked volume (C, D, H, W) float32. The results of a DeviceVolume stay on the device.

        watch: wraps the list of batches for iteration; each is then waited for. stages: takes the times of
        "upload", "normalise", "windows" (cut, infer, blend), "label", "download"; each is then waited for.

        Raises BackendError.
        """
        with self.cuda.on_device(self.network.device):
            workspace = self._workspace_of(tuple(volume.shape[1:]))
            pending = Pending(self, workspace, volume, probabilities)
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
        for name in ("total", "weight_sum"):
            stream.zero(workspace[name], workspace.bytes_of(name))
        batches = batches_of(range(len(workspace.starts)), workspace.batch_size)
        for batch in watch(batches) if watch else batches:
            self._infer(workspace, batch[0], len(batch))
            if watch:
                stream.synchronize()
        classes, voxels = len(self.recipe.manifest.labels), int(np.prod(workspace.shape, dtype=np.int64))
        self.kernels.divide(workspace["total"], workspace["weight_sum"], classes, voxels, stream.handle)

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
        plans = (len(manifest.channels), len(manifest.labels))
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
        sums = workspace["weights"], workspace["total"], workspace["weight_sum"], workspace["batch_flags"]
        kernels.accumulate(blend, summed, FLOAT32, len(views), *sums, stream)


class Pending:
    """A volume that was started; `result` waits for it."""

    def __init__(
        self,
        pipeline: DevicePipeline,
        workspace: Workspace,
        volume: Floats | DeviceVolume,
        probabilities: bool,
    ):
        self._pipeline = pipeline
        self._workspace: Workspace | None = workspace
        self._slot = workspace.next_slot()
        self._volume = volume if isinstance(volume, DeviceVolume) else None
        self._labels: Labels | None = None
        self._probabilities: Probabilities | None = None
        self._wants_probabilities = probabilities

    def result(self) -> tuple[Labels, Probabilities | None]:
        """(labels (D, H, W), probabilities (K, D, H, W) or None): new arrays, or DeviceArrays.

        Raises BackendError for NaN or Inf from the network, InputError for those of an array on the device.
        """
        self.collect()
        assert self._labels is not None
        return self._labels, self._probabilities

    def collect(self) -> None:
        """Wait for the results and let go of the workspace."""
        if self._workspace is None:
            return
        workspace, self._workspace = self._workspace, None
        self._slot.arrived.synchronize()
        self._check(workspace)
        if self._volume is None:
            self._labels = self._slot.labels.copy()
            if self._slot.probabilities is not None and self._wants_probabilities:
                self._probabilities = self._slot.probabilities.copy()

    def enqueue_labels(self, workspace: Workspace) -> None:
        pipeline = self._pipeline
        manifest, stream = pipeline.recipe.manifest, pipeline.work.handle
        sizes = len(manifest.labels), int(np.prod(workspace.shape, dtype=np.int64))
        sigmoid, dtype = manifest.activation == "sigmoid", label_type(pipeline.recipe.label_values())
        total, labels = workspace["total"], workspace["labels"]
        if self._volume is not None:
            on_device = self._left_on_device(workspace.shape, dtype)
            self._labels, labels = on_device, on_device.address
        pipeline.kernels.labels(total, workspace["values"], *sizes, sigmoid, labels, dtype.itemsize, stream)
        if self._wants_probabilities:
            pipeline.kernels.probabilities(total, *sizes, sigmoid, stream)
            if self._volume is not None:
                maps = self._left_on_device((sizes[0], *workspace.shape), np.float32)
                pipeline.work.copy(total, maps.address, maps.nbytes)
                self._probabilities = maps
        pipeline.work.record(workspace.labelled)

    def enqueue_downloads(self, workspace: Workspace) -> None:
        slot, stream = self._slot, self._pipeline.downloads
        stream.wait(workspace.labelled)
        stream.download(workspace["flags"], slot.flags)
        if self._volume is not None:
            stream.download(workspace["counts"], slot.counts)
        else:
            stream.download(workspace["labels"], slot.labels)
            if self._wants_probabilities:
                stream.download(workspace["total"], slot.room_for_probabilities())
        stream.record(slot.arrived)
        workspace.read = slot.arrived

    def _left_on_device(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> DeviceArray:
        return DeviceArray(self._pipeline.cuda, self._pipeline.network.device, shape, dtype)

    def _check(self, workspace: Workspace) -> None:
        if self._volume is not None:
            voxels = int(np.prod(workspace.shape, dtype=np.int64))
            channels = self._pipeline.recipe.manifest.channels
            for name, (nans, infinities) in zip(channels, self._slot.counts.tolist(), strict=True):
                if nans + infinities:
                    raise not_finite_input(name, nans, infinities, voxels)
        flagged = np.flatnonzero(self._slot.flags)
        if flagged.size:
            batch = flagged // workspace.batch_size
            raise not_finite_logits([workspace.starts[window] for window in flagged[batch == batch[0]]])
