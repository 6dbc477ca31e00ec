"""Folders of small scans for the tests of cohorts."""

import nibabel
import numpy as np

from msdk_rt.commands.main import main

SHAPE = (9, 10, 11)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def write_scan(path, seed=0, affine=AFFINE, shape=SHAPE, dtype=np.float32):
    voxels = np.random.default_rng(seed).gamma(2, 100, shape).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def run(*arguments):
    return main(["run", *map(str, arguments), "--quiet"])


def images_in(folder):
    return sorted(path.name for path in folder.glob("*.nii.gz"))
