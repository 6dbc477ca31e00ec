"""NIfTI headers that are not the file's: the right volume, a refusal or a warning, never silence."""

import gzip
import json
import re
import warnings

import nibabel
import numpy as np
import pytest

from msdk_rt import InputError, InputWarning, Segmenter
from msdk_rt.commands.main import main
from msdk_rt.imaging.volumes import check_result, read_volume
from tests.support.nifti_files import AFFINE, FIRST, KINDS, VOXELS, read, write
from tests.support.small_model import write_artifact


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("offset", [0, 1, 16, 348, "one before the first", -352])
def test_voxels_that_begin_in_the_header(path, version, offset):
    offset = FIRST[version] - 1 if isinstance(offset, str) else offset
    write(path, version=version, vox_offset=offset)
    with pytest.raises(InputError, match=r"begin at byte|cannot read"):
        read(path)


def test_voxels_that_begin_between_two_bytes(path):
    with pytest.raises(InputError, match=r"begin at byte 352\.5, expected a whole number of at least 352"):
        read(write(path, vox_offset=352.5))


@pytest.mark.parametrize("version", [1, 2])
def test_voxels_that_begin_later_are_read_from_there(path, sound, version):
    write(path, version=version, vox_offset=FIRST[version] + 48)
    content = (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes())
    content = content[: FIRST[version]] + bytes(48) + content[FIRST[version] :]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    volume, said = read(path)
    np.testing.assert_array_equal(volume.data, sound.data)
    assert said == []


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("code", "unit"), [(1, 1000.0), (3, 0.001)])
@pytest.mark.parametrize("more", [0, 8, 16, 24], ids=["no time", "seconds", "ms", "us"])
def test_metre_and_micron_are_millimetres_in_a_space(path, sound, version, code, unit, more):
    affine = np.diag([1 / unit, 1 / unit, 1 / unit, 1]) @ AFFINE
    volume, said = read(write(path, affine=affine, version=version, xyzt_units=code + more))
    np.testing.assert_allclose(volume.space.affine, AFFINE, rtol=1e-6)
    np.testing.assert_array_equal(volume.data, sound.data)
    assert volume.space.voxel_ml == pytest.approx(0.009, rel=1e-6)
    assert len(said) == 1
    assert (
        f"is in the unit {'metre' if code == 1 else 'micron'}: its voxels were taken for 2 x 1.5 x 3 mm"
        in said[0]
    )


def test_a_file_in_metres_lies_on_the_same_one_in_millimetres(tmp_path):
    metres = write(tmp_path / "m.nii", affine=np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE, xyzt_units=1)
    millimetres = write(tmp_path / "mm.nii")
    with pytest.warns(InputWarning, match="metre"):
        assert read_volume([millimetres, metres], ["a", "b"]).data.shape == (2, 20, 24, 17)
    wrong = write(tmp_path / "wrong.nii", xyzt_units=1)
    with pytest.raises(InputError, match="lies up to"):
        read_volume([millimetres, wrong], ["a", "b"])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("code", "unit"), [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001)])
def test_a_result_is_in_the_unit_of_its_input(tmp_path, suffix, code, unit):
    """Programs that ignore units lay it on the input, those that heed them too."""
    affine = np.diag([1 / unit, 1 / unit, 1 / unit, 1]) @ AFFINE
    scan = write(tmp_path / "scan.nii", affine=affine, xyzt_units=code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        segmentation = Segmenter(write_artifact(tmp_path / "model.onnx")).run(scan)
    segmentation.save(tmp_path / f"labels{suffix}")
    saved, given = nibabel.load(tmp_path / f"labels{suffix}"), nibabel.load(scan)
    np.testing.assert_allclose(saved.affine, given.affine, rtol=1e-6)
    np.testing.assert_allclose(saved.header.get_zooms(), given.header.get_zooms(), rtol=1e-6)
    assert int(saved.header["xyzt_units"]) == code
    assert [int(saved.header[name]) for name in ("qform_code", "sform_code")] == [1, 2]
    check_result(tmp_path / f"labels{suffix}", scan, 1)


@pytest.mark.parametrize("code", [4, 5, 6, 7])
def test_a_unit_that_does_not_exist(path, code):
    assert "has the unit " in read(write(path, xyzt_units=code))[1][0]


@pytest.mark.parametrize(("qform", "sform"), [(0, 0), (-1, 0), (0, -3)])
def test_an_orientation_that_was_guessed_is_said(path, qform, sform):
    _, said = read(write(path, qform_code=qform, sform_code=sform))
    assert len(said) == 1
    assert "does not say its orientation" in said[0]
    assert "taken for LAS, a guess" in said[0]


APART = {"srow_x": [-2.0, 0, 0, 0], "srow_y": [0, 1.5, 0, 0], "srow_z": [0, 0, 3, 0]}
DOUBTS = {
    "a side of 0, by the qform": (
        {"sform_code": 0, "pixdim": {3: 0}},
        "a side of its voxels is 0: it was taken",
    ),
    "qform and sform run apart": (APART, "has a qform that runs ALS|and an sform that runs LAS"),
    "qfac of the qform is 5": ({"sform_code": 0, "pixdim": {0: 5}}, "has the qfac 5, expected 1 or -1"),
    "pixdim is another than the sform's": ({"pixdim": {1: 2.5}}, "pixdim says 2.5 x 1.5 x 3 mm"),
    "pixdim is 0": ({"pixdim": {1: 0}, "qform_code": 0}, "pixdim says 0 x 1.5 x 3 mm"),
    "pixdim is not a number": ({"pixdim": {2: np.nan}, "qform_code": 0}, "pixdim says 2 x nan x 3 mm"),
    "voxels of metres": (
        {"srow_x": [0, -1500, 0, 0], "srow_y": [2000, 0, 0, 0], "srow_z": [0, 0, 3000, 0], "qform_code": 0},
        "has voxels of 2e[+]03 x 1.5e[+]03 x 3e[+]03 mm, and no scan of a body has",
    ),
    "an infinite slope": ({"scl_slope": np.inf}, "infinite scl_slope"),
    "a label map": ({"intent_code": 1002}, "is a label map by its intent code 1002"),
    "a t statistic": ({"intent_code": 3}, "is a statistic by its intent code 3"),
    "p values": ({"intent_code": 22}, "is a statistic by its intent code 22"),
    "vectors": ({"intent_code": 1007}, "is vectors by its intent code"),
}


@pytest.mark.parametrize(("fields", "message"), DOUBTS.values(), ids=DOUBTS)
def test_what_may_not_be_meant_is_said(path, fields, message):
    _, said = read(write(path, **fields))
    for part in message.split("|"):
        assert any(re.search(part, sentence) for sentence in said), said
    assert all(str(path) in sentence for sentence in said)


LEGAL = {
    "4D of one volume": {"dim": {0: 4, 4: 1}},
    "7D of one volume": {"dim": {0: 7, 4: 1, 5: 1, 6: 1, 7: 1}},
    "sizes beyond the third are not counted": {"dim": {4: 5, 5: 9}},
    "a negative pixdim is a length": {"pixdim": {1: -2.0}},
    "slope 0 is none": {"scl_slope": 0, "scl_inter": 100},
    "slope that is not a number is none": {"scl_slope": np.nan, "scl_inter": np.nan},
    "bitpix is not what counts": {"bitpix": 64},
    "the magic of a pair, and the voxels are here": {"magic": b"ni1\0"},
    "sizeof_hdr is 0": {"sizeof_hdr": 0},
    "no unit": {"xyzt_units": 0},
    "the unit of time alone": {"xyzt_units": 8},
    "an intent that is none": {"intent_code": 0, "intent_name": b"T1"},
    "only an sform": {"qform_code": 0},
    "only a qform": {"sform_code": 0},
    "qfac 0 is 1": {"sform_code": 0, "pixdim": {0: 0}},
    "a quaternion that is none beside an sform": {"quatern_b": 3.0},
}


@pytest.mark.parametrize("fields", LEGAL.values(), ids=LEGAL)
def test_what_is_legal_is_taken_without_a_word(path, sound, fields):
    volume, said = read(write(path, **fields))
    np.testing.assert_array_equal(np.sort(volume.data, axis=None), np.sort(sound.data, axis=None))
    assert volume.space.voxel_ml == pytest.approx(0.009)
    assert said == []


REFUSED = {
    "one dimension fewer": {"dim": {0: 2}},
    "no dimension": {"dim": {0: 0}},
    "a slice fewer": {"dim": {3: 6}},
    "a row fewer": {"dim": {2: 7}},
    "a column fewer": {"dim": {1: 8}},
    "half of the slices": {"dim": {3: 4}},
    "one voxel": {"dim": {1: 1, 2: 1, 3: 1}},
    "a slice more": {"dim": {3: 8}},
    "an empty fourth dimension": {"dim": {0: 4, 4: 0}},
    "a series that is none": {"dim": {0: 4, 4: 2}},
    "bytes for 16-bit numbers": {"datatype": 2, "bitpix": 8},
    "64-bit numbers for 16-bit ones": {"datatype": 64, "bitpix": 64},
    "an inter that is not a number": {"scl_slope": 1, "scl_inter": np.nan},
    "an affine that is not a number": {"srow_y": {1: np.nan}},
    "a flat affine": {"srow_z": [0, 0, 0, 0]},
    "a quaternion longer than 1": {"sform_code": 0, "quatern_b": 3.0},
    "another magic": {"magic": b"n+2\0"},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(path, fields):
    with pytest.raises(InputError):
        read(write(path, **fields))


def test_a_series_called_one_volume(path):
    series = np.stack([VOXELS, VOXELS + 1, VOXELS + 2], -1)
    with pytest.raises(InputError, match="holds more voxels than the shape"):
        read(write(path, series, dim={0: 3}))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_both_byte_orders(path, sound, order, version):
    kind = KINDS[version]
    image = kind(VOXELS.astype(f"{order}i2"), AFFINE, kind.header_class(endianness=order))
    image.set_sform(AFFINE, 2)
    image.header.set_data_dtype(f"{order}i2")
    nibabel.save(image, path)
    volume, said = read(path)
    np.testing.assert_array_equal(volume.data, sound.data)
    assert said == []


def test_a_header_in_two_byte_orders(path):
    with pytest.raises(InputError, match=r"two byte orders|cannot read"):
        read(write(path, sizeof_hdr=np.int32(348).byteswap()))


def test_warnings_are_in_the_report_of_a_run(tmp_path, capsys):
    write(tmp_path / "scan.nii", sform_code=0, qform_code=0)
    model = write_artifact(tmp_path / "model.onnx")
    arguments = [
        "run",
        str(model),
        str(tmp_path / "scan.nii"),
        "-o",
        str(tmp_path / "out.nii"),
        "--json",
        "--quiet",
    ]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    (case,) = json.loads(out)["cases"]
    assert ["does not say its orientation" in sentence for sentence in case["warnings"]] == [True]
    assert "warning: " in err
    assert "does not say its orientation" in err
