"""A DICOM series as an image: header checked, voxels on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msdk_rt.backends.memory import available_memory
from msdk_rt.errors import InputError, one_line
from msdk_rt.imaging.dicom.container import Container, open_container
from msdk_rt.imaging.dicom.frames import frames_of
from msdk_rt.imaging.dicom.library import dicom, read_dataset
from msdk_rt.imaging.dicom.series import choose, series_in
from msdk_rt.imaging.dicom.stack import Stack, stack
from msdk_rt.imaging.space import Space, check_affine
from msdk_rt.inference.arrays import Array, Floats


@dataclass(frozen=True, eq=False)
class DicomHeader:
    """The source of a result: its files, and which frame each slice (Z) was."""

    container: Container
    stack: Stack


class DicomImage:
    """An opened series; implements msdk_rt.imaging.formats.Image."""

    def __init__(self, path: Path, choice: str):
        container = open_container(path)
        series = choose(series_in(container), choice, path)
        frames = []
        with container.opened() as files:
            for index in series.files:
                with files.file(index) as file:
                    header = read_dataset(file, container.says(index))
                frames += frames_of(header, index, container.says(index))
        named = f"{path}, series {series.number}" if series.number >= 0 else str(path)
        self._header = DicomHeader(container, stack(frames, named))
        self.shape: tuple[int, ...] = self._header.stack.shape
        self.affine: Array = self._header.stack.affine
        check_affine(self.affine, path)
        self.doubts = list(self._header.stack.doubts)

    def voxels(self) -> Floats:
        return read_voxels(self._header)

    def space(self, orientation: str) -> Space:
        x, y, z = self._header.stack.shape
        return Space(self.affine, (x, y, z), orientation, self._header)


def read_voxels(header: DicomHeader) -> Floats:
    """(X, Y, Z) float32, rescaled slice by slice. Raises InputError."""
    shape, container = header.stack.shape, header.container
    needed, available = int(np.prod(shape)) * 4, available_memory()
    if available is not None and needed > available:
        raise InputError(
            f"{container.path} holds {shape[0]} x {shape[1]} x {shape[2]} voxels: to read them takes "
            f"{needed / 1e9:.3g} GB of memory, {available / 1e9:.3g} GB are free. Crop or resample it"
        )
    voxels = np.empty(shape, np.float32)
    by_file: dict[int, list[int]] = {}
    for place, frame in enumerate(header.stack.frames):
        by_file.setdefault(frame.file, []).append(place)
    with container.opened() as files:
        for index, places in by_file.items():
            with files.file(index) as file:
                dataset = read_dataset(file, container.says(index), pixels=True)
                for place in places:
                    frame = header.stack.frames[place]
                    number = frame.number if int(dataset.get("NumberOfFrames") or 1) > 1 else None
                    stored = _stored(dataset, number, container.says(index))
                    if stored.shape != frame.size:
                        raise InputError(f"{container.says(index)} has voxels of another size than it says")
                    with np.errstate(over="ignore", invalid="ignore"):
                        voxels[:, :, place] = (stored * frame.slope + frame.intercept).T
    return voxels


def _stored(dataset: Any, number: int | None, what: str) -> Array:
    """(rows, columns) float64, as they are stored. Raises InputError."""
    with dicom():
        from pydicom.pixels.utils import pixel_array

        try:
            return np.asarray(pixel_array(dataset, index=number), np.float64)
        except Exception as error:  # decoders raise of every kind
            kind = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
            syntax = getattr(kind, "name", "none")
            raise InputError(
                f"the voxels of {what} cannot be decoded (transfer syntax {syntax}; "
                f"{one_line(error)[:200]}): export it uncompressed"
            ) from None
