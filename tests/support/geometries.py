"""The MNI152 head as DICOM series of many geometries."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from tests.support.dicom_series import enhance, rotation, write_series

DCM2NIIX = Path(sys.executable).with_name("dcm2niix")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Geometry:
    """axes: codes of (X, Y, Z) of the slices. turned: degrees about three axes. thick: slices left out."""

    axes: str
    turned: tuple[float, float, float] = (0, 0, 0)
    thick: int = 1
    writing: dict[str, Any] = field(default_factory=dict)
    enhanced: bool = False


def of_a_pet(z: int) -> tuple[float, float]:
    """The rescaling of slice z, as PET scanners have it; exact in float32."""
    return 0.5 + z / 64, -float(z)


GEOMETRIES = {
    "axial": Geometry("LPS"),
    "sagittal": Geometry("PIR"),
    "coronal": Geometry("LIP"),
    "oblique": Geometry("LPS", (10, 20, 30)),
    "steep": Geometry("PIL", (50, -35, 80)),
    "names reversed": Geometry("LPS", writing={"order": "down"}),
    "names shuffled": Geometry("PIR", (0, 0, 12), writing={"order": "shuffled"}),
    "upside down": Geometry("RAI", (180, 0, 5)),
    "thick slices": Geometry("LPS", (3, -4, 5), thick=4),
    "rescaled by slice": Geometry("LPS", writing={"rescale": of_a_pet}),
    "JPEG lossless": Geometry("LIP", writing={"compression": "jpeg"}),
    "JPEG 2000": Geometry("PIR", (7, 0, 0), writing={"compression": "j2k"}),
    "enhanced": Geometry("LPS", (10, 20, 30), enhanced=True),
    "enhanced, frames shuffled": Geometry("PIR", writing={"order": "shuffled"}, enhanced=True),
    "enhanced, rescaled by frame": Geometry("LPS", writing={"rescale": of_a_pet}, enhanced=True),
}


def write_geometry(folder: Path, head: nibabel.Nifti1Image, geometry: Geometry) -> nibabel.Nifti1Image:
    """Write the head as a series; returns what a right reader finds: float32 voxels, affine in RAS."""
    start = nibabel.io_orientation(head.affine)
    turn = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(geometry.axes))
    image = head.as_reoriented(turn)
    voxels = np.asarray(image.dataobj)[:, :, :: geometry.thick].astype(np.int16)
    rotated = np.eye(4)
    rotated[:3, :3] = rotation(*geometry.turned)
    affine = rotated @ LPS @ image.affine @ np.diag([1, 1, geometry.thick, 1])
    if geometry.enhanced:
        classic = write_series(folder.with_name(f"{folder.name} classic"), voxels, affine, **geometry.writing)
        enhance(classic, folder / "enhanced.dcm")
    else:
        write_series(folder, voxels, affine, **geometry.writing)
    rescale = geometry.writing.get("rescale", lambda z: (1, 0))
    scales = np.array([rescale(z) for z in range(voxels.shape[2])])
    expected = (voxels * scales[:, 0] + scales[:, 1]).astype(np.float32)
    return nibabel.Nifti1Image(expected, LPS @ affine)


def by_dcm2niix(folder: Path, out: Path) -> nibabel.Nifti1Image:
    """The series as dcm2niix reads it."""
    out.mkdir()
    command = [DCM2NIIX, "-z", "n", "-m", "y", "-f", "read", "-o", out, folder]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    (found,) = out.glob("*.nii")
    return nibabel.load(found)


def by_simpleitk(folder: Path) -> nibabel.Nifti1Image:
    """The series as SimpleITK's GDCM reads it."""
    import SimpleITK as sitk

    files = sorted(folder.glob("*.dcm"))
    if len(files) == 1:
        image = sitk.ReadImage(str(files[0]))
    else:
        reader = sitk.ImageSeriesReader()
        (series,) = reader.GetGDCMSeriesIDs(str(folder))
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
        image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    voxels = sitk.GetArrayFromImage(image).T.astype(np.float32)
    return nibabel.Nifti1Image(voxels, LPS @ affine)


def differences(first: nibabel.Nifti1Image, other: nibabel.Nifti1Image) -> tuple[float, float]:
    """(most millimetres between the places of a voxel, most between values), whatever the axis order."""
    first, other = nibabel.as_closest_canonical(first), nibabel.as_closest_canonical(other)
    if first.shape != other.shape:
        return float("inf"), float("inf")
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [
        *np.subtract(first.shape, 1),
        1,
    ]
    apart = np.linalg.norm((corners @ (first.affine - other.affine).T)[:, :3], axis=1).max()
    values = np.abs(np.asarray(first.dataobj, np.float64) - np.asarray(other.dataobj, np.float64)).max()
    return float(apart), float(values)
