"""NIfTI headers: V01 and on."""

import gzip
from pathlib import Path

import nibabel
import numpy as np

from tests.attacks.corpus import SEGMENT, Series

SERIES = Series("V", SEGMENT, "model.onnx", "scan.nii")
attack = SERIES.attack
HEADER = 348
OFFSET = 352


def scan(shape=(9, 8, 7), dtype=np.int16, seed=5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def write(folder: Path, array: np.ndarray, name="scan.nii", affine=None, kind=nibabel.Nifti1Image) -> Path:
    nibabel.save(kind(array, np.diag([1, 1, 2, 1]) if affine is None else affine), folder / name)
    return folder / name


def edit(path: Path, voxels: bytes | None = None, **fields) -> None:
    """Put values into the header that nibabel would not write; voxels replaces what follows it."""
    content = path.read_bytes()
    kind = type(nibabel.load(path).header)
    start = kind.template_dtype.itemsize
    header = kind(content[:start], check=False)  # nibabel's own has no vox_offset and no scaling left
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[start : start + 4] + (voxels or content[start + 4 :]))


def compress(path: Path) -> None:
    path.with_name("scan.nii.gz").write_bytes(gzip.compress(path.read_bytes()))


@attack("A dimension is negative.", "InputError")
def _(folder):
    edit(folder / "scan.nii", dim=[3, 9, -8, 7, 1, 1, 1, 1])


@attack("A dimension is zero.", "InputError")
def _(folder):
    edit(folder / "scan.nii", dim=[3, 9, 0, 7, 1, 1, 1, 1])


@attack("The number of dimensions is 0.", "InputError")
def _(folder):
    edit(folder / "scan.nii", dim=[0, 9, 8, 7, 1, 1, 1, 1])


@attack("The number of dimensions is negative.", "InputError")
def _(folder):
    edit(folder / "scan.nii", dim=[-3, 9, 8, 7, 1, 1, 1, 1])


@attack("The number of dimensions is 32767.", "InputError")
def _(folder):
    edit(folder / "scan.nii", dim=[32767, 9, 8, 7, 1, 1, 1, 1])


@attack("The number of dimensions is 7, of one voxel each beyond the third: legal.", "")
def _(folder):
    edit(folder / "scan.nii", dim=[7, 9, 8, 7, 1, 1, 1, 1])


@attack("A few bytes say float64 and 32767 voxels a side, 281 TB.", "InputError")
def _(folder):
    edit(folder / "scan.nii", dim=[3, *[32767] * 3, 1, 1, 1, 1], datatype=64, bitpix=64)


@attack("The same, compressed.", "InputError", "model.onnx", "scan.nii.gz")
def _(folder):
    edit(folder / "scan.nii", dim=[3, *[32767] * 3, 1, 1, 1, 1], datatype=64, bitpix=64)
    compress(folder / "scan.nii")


@attack("A few bytes say 2 GB, which most machines could allocate.", "InputError")
def _(folder):
    edit(folder / "scan.nii", dim=[3, 1024, 1024, 1024, 1, 1, 1, 1])


@attack("The same, compressed.", "InputError", "model.onnx", "scan.nii.gz")
def _(folder):
    edit(folder / "scan.nii", dim=[3, 1024, 1024, 1024, 1, 1, 1, 1])
    compress(folder / "scan.nii")


@attack("A NIfTI-2 header says 2^62 voxels along one axis.", "InputError")
def _(folder):
    path = write(folder, scan(), kind=nibabel.Nifti2Image)
    edit(path, dim=[3, 1 << 62, 8, 7, 1, 1, 1, 1])


@attack("A NIfTI-2 header has sides whose product is 0 modulo 2^64.", "InputError")
def _(folder):
    path = write(folder, scan(), kind=nibabel.Nifti2Image)
    edit(path, dim=[3, 1 << 32, 1 << 32, 7, 1, 1, 1, 1])


@attack("The affine holds NaN.", "InputError")
def _(folder):
    edit(folder / "scan.nii", sform_code=1, srow_y=[np.nan, 1, 0, 0])


@attack("The affine is singular.", "InputError")
def _(folder):
    edit(folder / "scan.nii", sform_code=1, srow_x=[1, 1, 0, 0], srow_y=[2, 2, 0, 0])


@attack("The affine holds infinity.", "InputError")
def _(folder):
    edit(folder / "scan.nii", sform_code=1, srow_z=[0, 0, np.inf, 0])


@attack("The affine reaches 3e38 mm: legal.", "")
def _(folder):
    edit(
        folder / "scan.nii",
        sform_code=1,
        srow_x=[3e38, 0, 0, 0],
        srow_y=[0, 3e38, 0, 0],
        srow_z=[0, 3e38, 3e38, 0],
    )


@attack("The quaternion of the qform is longer than 1.", "InputError")
def _(folder):
    edit(folder / "scan.nii", sform_code=0, qform_code=1, quatern_b=3.0, quatern_c=3.0, quatern_d=3.0)


@attack("The quaternion of the qform is NaN.", "InputError")
def _(folder):
    edit(folder / "scan.nii", sform_code=0, qform_code=1, quatern_b=np.nan)


@attack("The voxel sizes are 0 and there is neither qform nor sform: nibabel takes them as 1, legal.", "")
def _(folder):
    edit(folder / "scan.nii", sform_code=0, qform_code=0, pixdim=[1, 0, 0, 0, 1, 1, 1, 1])


@attack("The volume is a series of three.", "InputError")
def _(folder):
    write(folder, scan((9, 8, 7, 3)))


@attack("scl_slope is 0, which means no scaling: legal.", "")
def _(folder):
    edit(folder / "scan.nii", scl_slope=0, scl_inter=100)


@attack("scl_slope is NaN, which means no scaling: legal.", "")
def _(folder):
    edit(folder / "scan.nii", scl_slope=np.nan, scl_inter=np.nan)


@attack("scl_slope is infinite, which nibabel takes as no scaling: legal.", "")
def _(folder):
    edit(folder / "scan.nii", scl_slope=np.inf, scl_inter=0)


@attack("scl_inter is NaN beside a slope.", "InputError")
def _(folder):
    edit(folder / "scan.nii", scl_slope=1, scl_inter=np.nan)


@attack("scl_slope is 3e38, so that every voxel overflows float32.", "InputError")
def _(folder):
    edit(folder / "scan.nii", scl_slope=3e38, scl_inter=0)


@attack("A voxel is 1e300 in float64.", "InputError")
def _(folder):
    write(folder, np.full((9, 8, 7), 1e300))


@attack("Voxels are float32 at its limit, whose squares overflow: legal.", "")
def _(folder):
    write(folder, np.where(scan() > 100, 3e38, -3e38).astype(np.float32))


@attack("A single voxel: legal.", "")
def _(folder):
    write(folder, scan((1, 1, 1)))


@attack("10,000 x 1 x 1 voxels: legal.", "")
def _(folder):
    write(folder, scan((10_000, 1, 1)))


@attack("100,000 x 1 x 1 voxels, which takes NIfTI-2: legal.", "")
def _(folder):
    write(folder, scan((100_000, 1, 1)), kind=nibabel.Nifti2Image)


@attack("vox_offset lies beyond the end of the file.", "InputError")
def _(folder):
    edit(folder / "scan.nii", vox_offset=1e6)


@attack("vox_offset is 1e30, beyond any file.", "InputError")
def _(folder):
    edit(folder / "scan.nii", vox_offset=1e30)


@attack("vox_offset is negative.", "InputError")
def _(folder):
    edit(folder / "scan.nii", vox_offset=-352)


@attack("vox_offset is NaN.", "InputError")
def _(folder):
    edit(folder / "scan.nii", vox_offset=np.nan)


@attack("vox_offset lies inside the header, whose bytes would be voxels.", "InputError")
def _(folder):
    edit(folder / "scan.nii", vox_offset=16)


@attack("vox_offset is in the far end of a compressed stream.", "InputError", "model.onnx", "scan.nii.gz")
def _(folder):
    edit(folder / "scan.nii", vox_offset=1e12)
    compress(folder / "scan.nii")


@attack("The magic is that of no NIfTI.", "InputError")
def _(folder):
    edit(folder / "scan.nii", magic=b"n+9\0")


@attack("The magic says that the voxels lie in another file, but they are here: legal.", "")
def _(folder):
    edit(folder / "scan.nii", magic=b"ni1\0")


@attack("sizeof_hdr is 0, which nibabel mends: legal.", "")
def _(folder):
    edit(folder / "scan.nii", sizeof_hdr=0)


@attack("Voxels are RGB.", "InputError")
def _(folder):
    edit(folder / "scan.nii", datatype=128, bitpix=24)


@attack("Voxels are complex.", "InputError")
def _(folder):
    edit(folder / "scan.nii", datatype=32, bitpix=64)


@attack("The datatype is one that does not exist.", "InputError")
def _(folder):
    edit(folder / "scan.nii", datatype=9999)


@attack("The datatype is binary, a bit a voxel.", "InputError")
def _(folder):
    edit(folder / "scan.nii", datatype=1, bitpix=1)


@attack("bitpix contradicts the datatype: what counts is the datatype.", "")
def _(folder):
    edit(folder / "scan.nii", bitpix=64)


@attack("A header extension says that it is 2 GB long.", "InputError")
def _(folder):
    content = bytearray((folder / "scan.nii").read_bytes())
    content[HEADER : HEADER + 12] = (
        bytes([1, 0, 0, 0]) + (0x7FFFFFF0).to_bytes(4, "little") + bytes([6, 0, 0, 0])
    )
    (folder / "scan.nii").write_bytes(content)
    edit(folder / "scan.nii", vox_offset=368)


@attack("A header extension says that it is -16 bytes long, and the voxels begin before it: legal.", "")
def _(folder):
    content = bytearray((folder / "scan.nii").read_bytes() + bytes(64))
    content[HEADER : HEADER + 12] = (
        bytes([1, 0, 0, 0]) + (0xFFFFFFF0).to_bytes(4, "little") + bytes([6, 0, 0, 0])
    )
    (folder / "scan.nii").write_bytes(content)
