"""NIfTI in and out: every orientation, every header field that must survive, every file to be refused."""

import gzip
import itertools
import os

import nibabel
import numpy as np
import pytest
from nibabel.orientations import aff2axcodes, apply_orientation, axcodes2ornt, ornt_transform

from msdk_rt.errors import InputError, OutputError
from msdk_rt.imaging.formats import save, stem
from msdk_rt.imaging.volumes import read_volume

SHAPE = (5, 6, 7)
ALL_CODES = [
    "".join(codes)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for codes in itertools.product(*axes)
]
AFFINE = np.array([[1.5, 0.1, 0, -20], [-0.1, 2, 0, 30], [0, 0, 3, 4], [0, 0, 0, 1]])


def asymmetric(shape=SHAPE, dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write(path, array, affine=AFFINE, image_type=nibabel.Nifti1Image):
    nibabel.save(image_type(array, affine), path)
    return path


@pytest.fixture
def t1(tmp_path):
    return write(tmp_path / "t1.nii.gz", asymmetric())


def test_there_are_48_orientations():
    assert len(set(ALL_CODES)) == 48


@pytest.mark.parametrize("codes", ALL_CODES)
def test_every_orientation_and_back(tmp_path, codes):
    """The same brain stored in `codes` reads as the same RAS array, and what is written lies on the input."""
    reference = asymmetric()
    ras = nibabel.Nifti1Image(reference, AFFINE)
    stored = ras.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
    assert "".join(aff2axcodes(stored.affine)) == codes
    path = tmp_path / "stored.nii"
    nibabel.save(stored, path)

    volume = read_volume([path])
    np.testing.assert_array_equal(volume.data[0], reference)

    labels = volume.space.from_model(reference.astype(np.uint8))
    save(labels, volume.space, tmp_path / "labels.nii.gz")
    labels = nibabel.load(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(labels.affine, nibabel.load(path).affine)
    np.testing.assert_array_equal(np.asarray(labels.dataobj), np.asarray(stored.dataobj).astype(np.uint8))


@pytest.mark.parametrize("codes", ["LPS", "SAR", "IPL"])
def test_a_model_of_another_orientation(t1, codes):
    volume = read_volume([t1], orientation=codes)
    ornt = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    expected = apply_orientation(asymmetric(), ornt)
    np.testing.assert_array_equal(volume.data[0], expected)
    np.testing.assert_array_equal(volume.space.from_model(volume.data[0]), asymmetric())


@pytest.mark.parametrize("image_type", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_header_survives(tmp_path, image_type, suffix):
    image = image_type(asymmetric(dtype=np.float32) * 0.5, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a scan of phantom 7"
    image.header["cal_max"] = 104
    image.set_sform(AFFINE, 4)
    rigid = np.diag([1.5, 2, 3, 1.0])
    image.set_qform(rigid, 1)
    image.header.set_slope_inter(2, -5)
    source = tmp_path / f"in{suffix}"
    nibabel.save(image, source)

    volume = read_volume([source])
    save(np.full(SHAPE, 3, np.uint8), volume.space, tmp_path / f"out{suffix}")

    written = nibabel.load(tmp_path / f"out{suffix}")
    assert type(written) is image_type
    assert written.get_data_dtype() == np.uint8
    assert written.header["sform_code"] == 4
    assert written.header["qform_code"] == 1
    np.testing.assert_allclose(written.get_qform(), rigid, atol=1e-6)
    np.testing.assert_array_equal(written.get_sform(), nibabel.load(source).get_sform())
    assert written.header.get_zooms() == nibabel.load(source).header.get_zooms()
    assert written.header.get_xyzt_units() == ("mm", "sec")
    assert written.header["descrip"] == b"a scan of phantom 7"
    assert written.header["cal_max"] == 0
    np.testing.assert_array_equal(written.get_fdata(), 3)


@pytest.mark.parametrize("codes", [(0, 0), (0, 1), (2, 0)])
def test_absent_codes_stay_absent(tmp_path, codes):
    image = nibabel.Nifti1Image(asymmetric(), None)
    image.header.set_zooms((1, 2, 3))
    image.set_sform(np.diag([1, 2, 3, 1]), codes[0])
    image.set_qform(np.diag([1, 2, 3, 1]), codes[1])
    nibabel.save(image, tmp_path / "in.nii")
    save(np.zeros(SHAPE, np.uint8), read_volume([tmp_path / "in.nii"]).space, tmp_path / "out.nii")
    written = nibabel.load(tmp_path / "out.nii")
    assert (written.header["sform_code"], written.header["qform_code"]) == codes
    np.testing.assert_array_equal(written.affine, nibabel.load(tmp_path / "in.nii").affine)


def test_big_endian_and_scaling(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    image = nibabel.Nifti1Image(asymmetric().astype(np.float32) / 4, AFFINE, header)
    nibabel.save(image, tmp_path / "in.nii.gz")
    volume = read_volume([tmp_path / "in.nii.gz"])
    np.testing.assert_allclose(volume.data[0], asymmetric() / 4, atol=1e-3)
    save(asymmetric(dtype=np.uint8), volume.space, tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(
        nibabel.load(tmp_path / "out.nii.gz").get_fdata(), asymmetric(dtype=np.uint8)
    )


def test_wide_values_and_probabilities(tmp_path, t1):
    space = read_volume([t1]).space
    save(np.full(SHAPE, 300, np.uint16), space, tmp_path / "wide.nii.gz")
    assert nibabel.load(tmp_path / "wide.nii.gz").get_fdata().max() == 300
    maps = np.random.default_rng(0).random((*SHAPE, 3), np.float32)
    save(maps, space, tmp_path / "maps.nii.gz")
    image = nibabel.load(tmp_path / "maps.nii.gz")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), maps)


def test_the_same_labels_are_the_same_bytes(tmp_path, t1):
    space = read_volume([t1]).space
    for name in ("a.nii.gz", "b.nii.gz"):
        save(asymmetric(dtype=np.uint8), space, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_series_of_one_is_a_volume(tmp_path):
    path = write(tmp_path / "in.nii", asymmetric()[..., None])
    volume = read_volume([path])
    assert volume.data.shape == (1, *SHAPE)
    save(np.zeros(SHAPE, np.uint8), volume.space, tmp_path / "out.nii")
    assert nibabel.load(tmp_path / "out.nii").shape == SHAPE


def test_voxel_volume(t1):
    assert read_volume([t1]).space.voxel_ml == pytest.approx((1.5 * 2 + 0.1 * 0.1) * 3 / 1000)


def with_bad_values(path):
    array = asymmetric(dtype=np.float32)
    array[0, 0, :3] = np.nan
    array[1, 1, 1] = -np.inf
    return write(path, array)


def with_header(path, **fields):
    """A file whose header holds what nibabel would not write."""
    write(path, asymmetric())
    content = path.read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "no file at"),
        (lambda path: path.write_bytes(b"") and path, "cannot read"),
        (lambda path: path.write_bytes(b"not an image" * 90) and path, "cannot read"),
        (lambda path: write(path, asymmetric((5, 6))), r"shape \(5, 6\), expected one 3D volume"),
        (lambda path: write(path, asymmetric((5, 6, 7, 2))), r"shape \(5, 6, 7, 2\), expected one 3D"),
        (lambda path: write(path, np.zeros(SHAPE, np.complex64)), "complex64 voxels"),
        (lambda path: write(path, np.zeros(SHAPE, [(c, "u1") for c in "RGB"])), "expected integers or real"),
        (with_bad_values, "channel t1 has 3 NaN and 1 infinite of 210 voxels"),
        (lambda path: with_header(path, sform_code=1, srow_x=[np.nan] * 4), "not finite and invertible"),
        (lambda path: with_header(path, sform_code=1, srow_x=[0] * 4), "not finite and invertible"),
    ],
)
def test_refused(tmp_path, make, message):
    path = tmp_path / "in.nii"
    make(path)
    with pytest.raises(InputError, match=message):
        read_volume([path], ["t1"])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0, 100, 348, 360, -1, -40])
def test_truncated(tmp_path, suffix, kept):
    path = write(tmp_path / f"in{suffix}", np.random.default_rng(1).integers(0, 999, SHAPE, np.int16))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="cannot read"):
        read_volume([path])


def test_a_damaged_gzip_stream(tmp_path):
    path = write(tmp_path / "in.nii.gz", np.random.default_rng(1).integers(0, 999, SHAPE, np.int16))
    content = bytearray(path.read_bytes())
    content[-8] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot read"):
        read_volume([path])


def test_another_format(tmp_path):
    path = tmp_path / "in.mgz"
    nibabel.save(nibabel.MGHImage(asymmetric(dtype=np.float32), AFFINE), path)
    with pytest.raises(InputError, match="is a MGHImage, expected a NIfTI file"):
        read_volume([path])


def test_modalities_must_match(tmp_path, t1):
    other = write(tmp_path / "other.nii.gz", asymmetric((5, 7, 6)))
    with pytest.raises(
        InputError, match=r"other.nii.gz has shape \(5, 7, 6\), and .*t1.nii.gz has \(5, 6, 7\)"
    ):
        read_volume([t1, other])
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    write(other, asymmetric(), shifted)
    with pytest.raises(InputError, match=r"lies up to 1 mm away from .*t1.nii.gz \(limit 0.15 mm\)"):
        read_volume([t1, other])
    shifted[0, 3] -= 0.99
    write(other, asymmetric() + 1, shifted)
    np.testing.assert_array_equal(read_volume([t1, other]).data, [asymmetric(), asymmetric() + 1])


def test_number_of_files(t1):
    with pytest.raises(InputError, match=r"expected 2 file\(s\), one per channel \(t1, t2\), got 1"):
        read_volume([t1], ["t1", "t2"])


def test_where_labels_cannot_go(tmp_path, t1):
    space = read_volume([t1]).space
    with pytest.raises(OutputError, match=r"ends in \.nii\.gz or \.nii"):
        save(np.zeros(SHAPE, np.uint8), space, tmp_path / "labels.png")
    with pytest.raises(OutputError, match="cannot write"):
        save(np.zeros(SHAPE, np.uint8), space, tmp_path / "missing" / "labels.nii.gz")
    assert os.listdir(tmp_path) == ["t1.nii.gz"]


def test_compressed_means_gzip(tmp_path, t1):
    save(np.zeros(SHAPE, np.uint8), read_volume([t1]).space, tmp_path / "labels.nii.gz")
    assert len(gzip.decompress((tmp_path / "labels.nii.gz").read_bytes())) == 352 + 210


@pytest.mark.parametrize(("name", "expected"), [("a/b.nii.gz", "b"), ("b.c.nii", "b.c"), ("b.mgz", "b.mgz")])
def test_stem(name, expected):
    assert stem(name) == expected
