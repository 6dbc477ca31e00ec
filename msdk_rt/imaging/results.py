"""The result for one volume."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msdk_rt.errors import InputError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.formats import save
from msdk_rt.imaging.space import Space
from msdk_rt.inference.device.arrays import on_host
from msdk_rt.inference.pipeline import Labels, Probabilities


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One segmented volume.

    labels: voxel values, uint8 (uint16 where the label map needs it). probabilities: float32, one map per
    logit channel, or None where they were not asked for. space: the input file's, or None for an array.
    described: names of the labels and the model, for formats that carry them.

    An array's labels are (D, H, W) and its probabilities (K, D, H, W), as the array was; those of an array on
    a GPU are DeviceArrays there. A file's labels are (X, Y, Z) and its probabilities (K, X, Y, Z), in the
    file's own voxel space.
    """

    labels: Labels
    probabilities: Probabilities | None = None
    space: Space | None = None
    described: Described | None = None

    def voxels_of(self, values: Mapping[str, int]) -> dict[str, int]:
        """How many voxels have each of these values, by the names that they are given here."""
        labels = on_host(self.labels)
        return {name: int(np.count_nonzero(labels == value)) for name, value in values.items()}

    def save(self, path: str | Path) -> None:
        """Write the labels in the space of the input: .nii, .nii.gz, .mha, .nrrd, .gipl, or, where that was
        a DICOM series, .seg.dcm and .rtstruct.dcm. Raises OutputError, InputError, BackendError.
        """
        save(on_host(self.labels), self._require_space(), path, self.described)

    def save_probabilities(self, path: str | Path) -> None:
        """Write the probabilities as a 4D float32 NIfTI (X, Y, Z, K). Raises OutputError, InputError."""
        if self.probabilities is None:
            raise InputError("there are no probabilities: run with return_probabilities=True")
        save(np.moveaxis(on_host(self.probabilities), 0, -1), self._require_space(), path)

    def _require_space(self) -> Space:
        if self.space is None:
            raise InputError(
                "an array has no voxel space to be saved in: run on NIfTI files, or save it yourself"
            )
        return self.space


def in_space_of_file(
    labels: Labels, probabilities: Probabilities | None, space: Space, described: Described | None = None
) -> Segmentation:
    """Results in the model's axes as the Segmentation of the file that the volume came from."""
    maps = None
    if probabilities is not None:
        maps = np.stack([space.from_model(channel) for channel in on_host(probabilities)])
    return Segmentation(np.ascontiguousarray(space.from_model(on_host(labels))), maps, space, described)
