"""Cases in memory: normalised as the runtime normalises, in the compact types that training reads from."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from monai.data import CacheDataset
from monai.transforms import Transform

from msdk_export.training.dataset import CaseFiles
from msdk_rt.errors import InputError, MsdkError
from msdk_rt.imaging.space import check_same_space
from msdk_rt.imaging.volumes import read_series, read_volume
from msdk_rt.inference.normalisation import normalize

VOXELS_PER_CLASS = 20_000


@dataclass(frozen=True, eq=False)
class CaseArrays:
    """One case in RAS order.

    image: (C, D, H, W) float16, normalised; its rounding is a thousandth of a standard deviation and less.
    classes: (D, H, W) uint8, indices of Dataset.labels. spacing: of voxels along D, H, W in millimetres.
    voxels: for every class up to VOXELS_PER_CLASS evenly chosen flat indices of its voxels.
    """

    name: str
    image: np.ndarray
    classes: np.ndarray
    spacing: tuple[float, float, float]
    voxels: tuple[np.ndarray, ...]


class ReadCase(Transform):
    """CaseFiles -> CaseArrays, a MONAI transform without randomness, so that CacheDataset keeps its results.

    Raises InputError when files do not fit each other, or a label value is not in `labels`.
    """

    def __init__(self, channels: Sequence[str], labels: dict[str, int]):
        self.channels = tuple(channels)
        self.labels = dict(labels)

    def __call__(self, files: CaseFiles) -> CaseArrays:
        volume = (
            read_series(files.images[0], self.channels)
            if len(files.images) == 1
            else read_volume(files.images, self.channels)
        )
        label = read_volume([files.label], ["label"])
        check_same_space(volume.space, label.space, files.images[0], files.label)
        classes = self._classes(label.data[0], files)
        return CaseArrays(
            files.name,
            normalize(volume.data).astype(np.float16),
            classes,
            volume.space.spacing,
            tuple(_spread(np.flatnonzero(classes == k)) for k in range(len(self.labels))),
        )

    def _classes(self, label: np.ndarray, files: CaseFiles) -> np.ndarray:
        """Voxel values (D, H, W) as class indices."""
        values = np.array(list(self.labels.values()), np.float32)
        indices = np.searchsorted(values, label).clip(max=len(values) - 1)
        wrong = values[indices] != label
        if wrong.any():
            raise InputError(
                f"{files.label} has voxels of value {label[wrong][0]:g}, which dataset.json does not list: "
                f"it has {', '.join(f'{name} = {value}' for name, value in self.labels.items())}"
            )
        return indices.astype(np.uint8)


class CasesByIndex(Protocol):
    """Cases as training reads them: how many, and each by its index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> CaseArrays: ...


class Cases:
    """The cases by index, `share` of them read now and kept, the others read each time they are asked for.

    Raises what ReadCase raises, when it reads.
    """

    def __init__(
        self,
        files: Sequence[CaseFiles],
        channels: Sequence[str],
        labels: dict[str, int],
        share: float,
        progress: bool,
    ):
        read = ReadCase(channels, labels)
        with _own_errors():
            self._cases = CacheDataset(list(files), read, cache_rate=share, num_workers=1, progress=progress)

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> CaseArrays:
        with _own_errors():
            case: CaseArrays = self._cases[index]
            return case


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    """Take our errors out of the RuntimeError in which MONAI wraps whatever a transform raises."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, MsdkError):
            raise error.__cause__ from None
        raise


def _spread(indices: np.ndarray) -> np.ndarray:
    if len(indices) > VOXELS_PER_CLASS:
        indices = indices[np.linspace(0, len(indices) - 1, VOXELS_PER_CLASS).astype(np.int64)]
    return indices.astype(np.uint32)
