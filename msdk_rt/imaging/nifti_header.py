"""Headers of NIfTI files that say what cannot be, or may not be meant: nibabel mends or passes over both."""

from pathlib import Path

import nibabel
import numpy as np
from nibabel.openers import ImageOpener

from msdk_rt.artifact.spacing import in_words
from msdk_rt.errors import InputError
from msdk_rt.imaging.space import sides_of
from msdk_rt.inference.arrays import Array

UNITS = {0: "no unit", 1: "metre", 2: "millimetre", 3: "micron"}  # NIfTI's codes of spatial units
MILLIMETRES = {1: 1000.0, 3: 0.001}
SPATIAL = 7  # the bits of xyzt_units that are the spatial code
USUAL_SIDES = (0.01, 100.0)  # millimetres of a voxel
SAME_SIDE = 0.01  # relative, of sform and pixdim
STATISTICS = range(2, 25)
INTENTS = {1002: "a label map", 1003: "a map of names", 1006: "displacements", 1007: "vectors"}


def read_header(image: nibabel.Nifti1Image, path: Path) -> nibabel.Nifti1Header:
    """The header of the file that `image` was opened from, before nibabel mended it.

    Raises InputError where the voxels would begin inside the header, and where the two halves of a header are
    of different byte orders.
    """
    kind = type(image.header)
    with ImageOpener(str(path)) as file:
        raw = kind(file.read(kind.template_dtype.itemsize), check=False)
    first, offset = kind.single_vox_offset, float(raw["vox_offset"])
    if offset < first or offset != int(offset):
        raise InputError(
            f"{path} says that its voxels begin at byte {offset:g}, expected a whole number of at least "
            f"{first}: its header is damaged, convert the original again"
        )
    size = raw["sizeof_hdr"]
    if int(size.byteswap()) == kind.sizeof_hdr:
        raise InputError(
            f"{path} has a header in two byte orders, so that no number in it can be trusted: convert the "
            "original again"
        )
    return raw


def unit_mm(header: nibabel.Nifti1Header) -> float:
    """Millimetres of the header's spatial unit; 1 where it names none."""
    return MILLIMETRES.get(int(header["xyzt_units"]) & SPATIAL, 1.0)


def sides_mm(raw: nibabel.Nifti1Header, affine: Array) -> tuple[float, float, float] | None:
    """Millimetres of a voxel along X, Y, Z by pixdim, which other programs go by.

    None where the affine, voxel to millimetres, says something else.
    """
    pixdim = np.abs(np.asarray(raw["pixdim"][1:4], np.float64)) * unit_mm(raw)
    x, y, z = map(float, pixdim)
    by_affine = np.linalg.norm(affine[:3, :3], axis=0)
    return (x, y, z) if np.all(np.abs(by_affine - pixdim) <= SAME_SIDE * by_affine) else None


def doubts(raw: nibabel.Nifti1Header, affine: Array, path: Path) -> list[str]:
    """A sentence for each entry of the header that may not be meant. affine: voxel to millimetres."""
    said = [
        *_units(raw, affine),
        *_orientation(raw, affine),
        *_sides(raw),
        *_intensities(raw),
    ]
    return [f"{path} {sentence}" for sentence in said]


def _units(raw: nibabel.Nifti1Header, affine: Array) -> list[str]:
    code = int(raw["xyzt_units"]) & SPATIAL
    sides = in_words(sides_of(affine))
    if code in MILLIMETRES:
        return [f"is in the unit {UNITS[code]}: its voxels were taken for {sides} mm"]
    if code not in UNITS:
        return [f"has the unit {code}, which NIfTI does not know: its voxels were taken for {sides} mm"]
    return []


def _orientation(raw: nibabel.Nifti1Header, affine: Array) -> list[str]:
    by_qform, by_sform = int(raw["qform_code"]), int(raw["sform_code"])
    codes = "".join(code or "?" for code in nibabel.aff2axcodes(affine))
    if by_qform <= 0 and by_sform <= 0:
        return [
            f"does not say its orientation (qform and sform codes are 0): it was taken for {codes}, a guess. "
            "Where that is wrong, left and right are exchanged: convert the original again"
        ]
    said = []
    if by_sform <= 0 and raw["pixdim"][0] not in (-1, 0, 1):
        said.append(f"has the qfac {raw['pixdim'][0]:g}, expected 1 or -1: it was taken for {codes}")
    if by_qform > 0 and by_sform > 0 and (other := _qform(raw)) is not None:
        other_codes = "".join(code or "?" for code in nibabel.aff2axcodes(other))
        if other_codes != codes:
            said.append(
                f"has a qform that runs {other_codes} and an sform that runs {codes}, and programs differ in "
                "which they take: the sform was taken"
            )
    return said


def _sides(raw: nibabel.Nifti1Header) -> list[str]:
    """Of voxels: unusual ones, and sform and pixdim that differ."""
    unit = unit_mm(raw)
    pixdim = np.abs(np.asarray(raw["pixdim"][1:4], np.float64)) * unit
    has_sform = int(raw["sform_code"]) > 0
    sides = sides_of(raw.get_sform()) * unit if has_sform else pixdim
    said = []
    if not has_sform and not pixdim.all():
        return ["says that a side of its voxels is 0: it was taken for 1 mm"]
    with np.errstate(invalid="ignore", over="ignore"):
        if not np.all((sides >= USUAL_SIDES[0]) & (sides <= USUAL_SIDES[1])):
            said.append(
                f"has voxels of {in_words(sides)} mm, and no scan of a body has: check its unit and its "
                "affine"
            )
        if not np.all(np.abs(sides - pixdim) <= SAME_SIDE * sides):
            said.append(
                f"has an sform with voxels of {in_words(sides)} mm and pixdim says {in_words(pixdim)} mm: "
                "the sform was taken"
            )
    return said


def _intensities(raw: nibabel.Nifti1Header) -> list[str]:
    said = []
    if np.isinf(raw["scl_slope"]):
        said.append("has an infinite scl_slope: its voxels were taken as they are stored")
    intent = int(raw["intent_code"])
    if intent in INTENTS or intent in STATISTICS:
        what = INTENTS.get(intent, "a statistic")
        said.append(f"is {what} by its intent code {intent}, expected intensities as a scanner gives them")
    return said


def _qform(raw: nibabel.Nifti1Header) -> Array | None:
    """The affine of the qform; None where its quaternion is none."""
    try:
        affine: Array = raw.get_qform()
    except (ValueError, nibabel.spatialimages.HeaderDataError):
        return None
    return affine if np.isfinite(affine).all() and np.linalg.det(affine[:3, :3]) else None
