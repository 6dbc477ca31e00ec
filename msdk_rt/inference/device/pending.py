"""A volume that was started on a GPU, until its results are on the host."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from msdk_rt.inference.arrays import Floats, not_finite_input
from msdk_rt.inference.device.arrays import DeviceArray, DeviceVolume
from msdk_rt.inference.device.workspace import Workspace
from msdk_rt.inference.labels import label_type
from msdk_rt.inference.pipeline import Labels, Probabilities
from msdk_rt.inference.sums import too_large_logits
from msdk_rt.inference.windows import not_finite_logits

if TYPE_CHECKING:
    from msdk_rt.inference.device.pipeline import DevicePipeline


class Pending:
    """A volume that was started; `result` waits for it.

    maps: what comes beside the labels, "probabilities" or "logits", or None.
    """

    def __init__(
        self,
        pipeline: "DevicePipeline",
        workspace: Workspace,
        volume: Floats | DeviceVolume,
        maps: str | None,
    ):
        self._pipeline = pipeline
        self._workspace: Workspace | None = workspace
        self._slot = workspace.next_slot()
        self._volume = volume if isinstance(volume, DeviceVolume) else None
        self._labels: Labels | None = None
        self._probabilities: Probabilities | None = None
        self._wants = maps

    def result(self) -> tuple[Labels, Probabilities | None]:
        """(labels (D, H, W), probabilities (K, D, H, W) or None): new arrays, or DeviceArrays.

        Raises BackendError for NaN, Inf or too large logits from the network, InputError for NaN and Inf of
        an array on the device.
        """
        self.collect()
        assert self._labels is not None
        return self._labels, self._probabilities

    def logits(self) -> Floats:
        """Logits (K, D, H, W), of a volume that was started for them. Raises BackendError as `result`."""
        self.collect()
        assert isinstance(self._probabilities, np.ndarray)
        return self._probabilities

    def collect(self) -> None:
        """Wait for the results and let go of the workspace."""
        if self._workspace is None:
            return
        workspace, self._workspace = self._workspace, None
        self._slot.arrived.synchronize()
        self._check(workspace)
        if self._volume is None:
            self._labels = self._slot.labels.copy()
            if self._slot.probabilities is not None and self._wants:
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
        if self._wants:
            if self._wants == "probabilities":
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
        stream.download(workspace["too_large"], slot.too_large)
        if self._volume is not None:
            stream.download(workspace["counts"], slot.counts)
        else:
            stream.download(workspace["labels"], slot.labels)
            if self._wants:
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
        if self._slot.too_large.any():
            raise too_large_logits()
