"""A series of a few voxels for tests of what is refused."""

import numpy as np

from tests.support.dicom_series import rotation, write_series

SHAPE = (7, 6, 9)
AFFINE = np.eye(4)
AFFINE[:3, :3] = rotation(4, 5, 6) @ np.diag([1.0, 1.1, 2.0])
AFFINE[:3, 3] = -20, 10, 30
VOXELS = np.random.default_rng(1).integers(-50, 900, SHAPE).astype(np.int16)
STEP = AFFINE[:3, 2]


def write_small(folder, **options):
    """VOXELS at AFFINE; one file a slice, IM00001.dcm the lowest."""
    return write_series(folder, VOXELS, AFFINE, **options)


def at(folder, slice_):
    """The file of a slice, counted from 0."""
    return folder / f"IM{slice_ + 1:05d}.dcm"


def position(along):
    """An ImagePositionPatient so many slices from the first."""
    return [f"{value:.6f}" for value in AFFINE[:3, 3] + along * STEP]
