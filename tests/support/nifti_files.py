"""NIfTI files whose headers hold what nibabel would not write, and what reading them gives."""

import gzip
import warnings
from pathlib import Path

import nibabel
import numpy as np

from msdk_rt import InputWarning
from msdk_rt.imaging.volumes import Volume, read_volume

SHAPE = (24, 20, 17)  # no face of fewer than 512 bytes
AFFINE = np.array([[0, -1.5, 0, 10], [2, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
VOXELS = np.random.default_rng(3).integers(1, 900, SHAPE).astype(np.int16)
KINDS = {1: nibabel.Nifti1Image, 2: nibabel.Nifti2Image}
FIRST = {1: 352, 2: 544}


def write(path: Path, voxels=VOXELS, affine=AFFINE, version=1, **fields) -> Path:
    """A file whose header holds what nibabel would not write; fields: entries, or {entry: {index: value}}."""
    image = KINDS[version](voxels, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    content = (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes())
    size = image.header.template_dtype.itemsize
    header = type(image.header)(content[:size], check=False)
    for name, value in fields.items():
        if isinstance(value, dict):
            for index, entry in value.items():
                header[name][index] = entry
        else:
            header[name] = value
    content = header.binaryblock + content[size:]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path: Path, channels=("t1",)) -> tuple[Volume, list[str]]:
    """(volume, sentences of the warnings)"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        volume = read_volume([path], channels)
    assert all(warned.category is InputWarning for warned in caught), [str(w.message) for w in caught]
    return volume, [str(warned.message) for warned in caught]
