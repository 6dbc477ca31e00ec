"""DICOM series written by SimpleITK (GDCM), whose voxels and geometry share no code with pydicom."""

import locale
from pathlib import Path

import numpy as np

HEADER = {
    "0008|0060": "MR",
    "0008|0008": "ORIGINAL\\PRIMARY\\M\\ND",
    "0008|0020": "20200102",
    "0008|0030": "101112",
    "0008|0050": "ACC77",
    "0008|0070": "A scanner",
    "0008|0080": "SECRETHOSPITAL",
    "0008|0090": "SECRETDOCTOR^A",
    "0010|0010": "SECRETNAME^JANE",
    "0010|0020": "SECRETID42",
    "0010|0030": "19500607",
    "0010|0040": "F",
    "0018|0020": "GR",
    "0018|0021": "NONE",
    "0018|0022": "PFP",
    "0018|0023": "3D",
    "0018|0080": "8",
    "0018|0081": "3",
    "0018|0091": "1",
    "0018|5100": "HFS",
    "0020|0010": "S1",
    "0020|0060": "",
    "0020|1040": "",
}


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """(3, 3), by degrees about x, then y, then z."""
    turned = np.eye(3)
    for axis, degrees in enumerate((x, y, z)):
        one, cosine, sine = np.eye(3), np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[a, a] = one[b, b] = cosine
        one[a, b], one[b, a] = -sine, sine
        turned = one @ turned
    return turned


def write_series(
    folder: Path,
    voxels: np.ndarray,
    affine: np.ndarray,
    *,
    number: int = 3,
    description: str = "T1 MPRAGE",
    series_uid: str = "1.2.826.0.1.3680043.8.498.1",
    study_uid: str = "1.2.826.0.1.3680043.8.498.9",
    order: str = "up",
    rescale=None,
    compression: str = "",
    tags: dict[str, str] | None = None,
    prefix: str = "IM",
) -> Path:
    """Write (X, Y, Z) integers as one file a slice; affine: voxel to LPS millimetres.

    order: of the names and instance numbers along Z, "up", "down" or "shuffled". rescale: (slope, intercept)
    of slice z, default none. compression: "", "jpeg" (lossless), "j2k" (lossless).
    """
    import SimpleITK as sitk

    folder.mkdir(parents=True, exist_ok=True)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / sides
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetUseCompression(bool(compression))
    if compression:
        writer.SetCompressor({"jpeg": "JPEG", "j2k": "JPEG2000"}[compression])
    slices = voxels.shape[2]
    names = {"up": np.arange(slices), "down": np.arange(slices)[::-1]}.get(order)
    if names is None:
        names = np.random.default_rng(3).permutation(slices)
    for z in range(slices):
        image = sitk.GetImageFromArray(np.ascontiguousarray(voxels[:, :, z].T))
        image.SetSpacing([float(sides[0]), float(sides[1])])
        position = affine[:3, 3] + affine[:3, 2] * z
        own = {
            "0020|0032": "\\".join(f"{value:.6f}" for value in position),
            "0020|0037": "\\".join(f"{value:.9f}" for value in direction[:, :2].T.ravel()),
            "0018|0050": f"{sides[2]:.6f}",
            "0020|0013": str(int(names[z]) + 1),
            "0020|000d": study_uid,
            "0020|000e": series_uid,
            "0020|0011": str(number),
            "0020|0052": f"{study_uid}.5",
            "0008|103e": description,
            "0008|0018": f"{series_uid}.{z + 1}",
        }
        for tag, value in {**HEADER, **own, **(tags or {})}.items():
            image.SetMetaData(tag, value)
        path = folder / f"{prefix}{int(names[z]) + 1:05d}.dcm"
        writer.SetFileName(str(path))
        before = locale.setlocale(locale.LC_ALL)
        writer.Execute(image)  # sets the locale of the process to C
        locale.setlocale(locale.LC_ALL, before)
        edit(path, SpacingBetweenSlices=None)  # GDCM writes 1, whatever the slices are
        if rescale:
            slope, intercept = rescale(z)
            edit(path, RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")
    return folder


def edit(path: Path, **entries) -> None:
    """Set entries of a file's header, or remove those that are None."""
    import pydicom

    dataset = pydicom.dcmread(path)
    for name, value in entries.items():
        if value is not None:
            setattr(dataset, name, value)
        elif name in dataset:
            delattr(dataset, name)
    dataset.save_as(path)


def enhance(folder: Path, path: Path) -> Path:
    """Write the series of a folder as one enhanced multi-frame file, frames in the order of names.

    highdicom writes it.
    """
    import highdicom
    import pydicom

    path.parent.mkdir(parents=True, exist_ok=True)
    slices = [pydicom.dcmread(name) for name in sorted(folder.glob("*.dcm"))]
    for one in slices:
        one.Laterality = one.PositionReferenceIndicator = ""
        one.ContentDate, one.ContentTime = one.StudyDate, one.StudyTime
        one.ResonantNucleus = "1H"
    highdicom.legacy.LegacyConvertedEnhancedMRImage(
        legacy_datasets=slices,
        series_instance_uid="1.2.826.0.1.3680043.8.498.1.77",
        series_number=77,
        sop_instance_uid="1.2.826.0.1.3680043.8.498.1.77.1",
        instance_number=1,
    ).save_as(path)
    return path
