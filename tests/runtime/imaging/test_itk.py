"""MetaImage, NRRD and GIPL files beside SimpleITK's own reading and writing of them; damaged and odd ones."""

import itertools
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from msdk_rt import BackendError, InputError, OutputError
from msdk_rt.imaging.formats import save
from msdk_rt.imaging.results import Segmentation
from msdk_rt.imaging.volumes import check_result, read_volume
from tests.support.nifti_files import read

SHAPE = (6, 9, 14)
VOXELS = np.random.default_rng(2).integers(-800, 900, SHAPE).astype(np.int16)
SPACING, ORIGIN = (0.7, 1.25, 4.0), (-31.5, 12.25, 7.0)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TEXT = (".mha", ".nrrd")
ENDINGS = (*TEXT, ".gipl")
TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64)
CODES = [
    "".join(codes)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for codes in itertools.product(*axes)
]


def direction(degrees):
    a = np.deg2rad(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return tuple((about_z @ about_x).ravel())


def itk_image(voxels=VOXELS, turned=None):
    """(X, Y, Z) as an image of SimpleITK's."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    if turned is not None:
        image.SetDirection(turned)
    return image


def write(path, voxels=VOXELS, turned=None, packed=False):
    SimpleITK.WriteImage(itk_image(voxels, turned), str(path), packed)
    return path


def edit(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


def flip_bit(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x41
    path.write_bytes(bytes(content))
    return path


def affine_of(path):
    """From a voxel to millimetres in RAS, by SimpleITK."""
    image = SimpleITK.ReadImage(str(path))
    corners = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    start, *ends = (np.array(image.TransformIndexToPhysicalPoint(at)) for at in corners)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.stack([end - start for end in ends], 1), start
    return LPS @ affine


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_voxels_and_places_are_simpleitks(tmp_path, ending, dtype, packed):
    if ending == ".gipl" and dtype in (np.int32, np.uint32):
        pytest.skip("GIPL has no such voxels")
    turned = None if ending == ".gipl" else direction(25)
    path = write(tmp_path / f"t1{ending}", np.clip(VOXELS, 0, 100).astype(dtype), turned, packed)
    volume, _ = read(path)
    expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T
    np.testing.assert_array_equal(volume.space.from_model(volume.data[0]), expected)
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.space.affine, affine_of(path), atol=1e-5)


@pytest.mark.parametrize("codes", CODES)
def test_every_orientation_and_back(tmp_path, codes):
    """The same brain stored in `codes` reads as the same RAS array, and what is written lies on the input."""
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    stored = nibabel.orientations.apply_orientation(VOXELS, turn)
    affine = LPS @ np.diag([1.5, 2.0, 3.0, 1.0]) @ inv_ornt_aff(turn, SHAPE)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(stored.T))
    image.SetSpacing(sides.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / sides).ravel().tolist())
    SimpleITK.WriteImage(image, str(tmp_path / "t1.nrrd"))

    volume = read_volume([tmp_path / "t1.nrrd"])
    np.testing.assert_array_equal(volume.data[0], VOXELS)
    labels = (VOXELS > 0).astype(np.uint8)
    save(volume.space.from_model(labels), volume.space, tmp_path / "labels.mha")
    written = SimpleITK.ReadImage(str(tmp_path / "labels.mha"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(written).T, (stored > 0).astype(np.uint8))
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(written, name)(), getattr(image, name)(), atol=1e-9)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_result_has_the_numbers_of_its_input(tmp_path, ending):
    turned = None if ending == ".gipl" else direction(17)
    path = write(tmp_path / f"t1{ending}", turned=turned)
    space = read(path)[0].space
    labels = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.uint16)
    Segmentation(labels, space=space).save(tmp_path / f"labels{ending}")
    source, written = (SimpleITK.ReadImage(str(tmp_path / f"{name}{ending}")) for name in ("t1", "labels"))
    for name in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
        assert getattr(written, name)() == getattr(source, name)()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(written).T, labels)
    check_result(tmp_path / f"labels{ending}", path, 1)
    with pytest.raises(InputError, match=r"expected 2 volume\(s\)"):
        check_result(tmp_path / f"labels{ending}", path, 2)


@pytest.mark.parametrize("ending", TEXT)
@pytest.mark.parametrize("other", [".nii.gz", ".nii"])
def test_results_of_another_format_lie_on_the_input(tmp_path, ending, other):
    labels = (VOXELS > 0).astype(np.uint8)
    path = write(tmp_path / f"t1{ending}", turned=direction(33))
    save(labels, read(path)[0].space, tmp_path / f"labels{other}")
    np.testing.assert_allclose(nibabel.load(tmp_path / f"labels{other}").affine, affine_of(path), atol=1e-5)
    save(labels, read_volume([tmp_path / f"labels{other}"]).space, tmp_path / f"again{ending}")
    np.testing.assert_allclose(affine_of(tmp_path / f"again{ending}"), affine_of(path), atol=1e-5)


def test_the_space_of_a_nifti_file_is_written(tmp_path):
    affine = LPS @ np.diag([2.0, 1.5, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(VOXELS, affine), tmp_path / "t1.nii.gz")
    save((VOXELS > 0).astype(np.uint8), read_volume([tmp_path / "t1.nii.gz"]).space, tmp_path / "labels.mha")
    np.testing.assert_allclose(affine_of(tmp_path / "labels.mha"), affine, atol=1e-6)


def test_channels_along_a_fourth_axis(tmp_path):
    channels = np.stack([VOXELS, VOXELS + 1], -1)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(channels.T), isVector=False)
    image.SetSpacing((*SPACING, 1.0))
    SimpleITK.WriteImage(image, str(tmp_path / "case.mha"))
    volume = read_volume([tmp_path / "case.mha"], ["t1", "t2"])
    np.testing.assert_array_equal(volume.data[1], volume.data[0] + 1)
    np.testing.assert_array_equal(np.sort(volume.space.spacing), np.sort(SPACING))


def test_spaces_of_nrrd_files_become_one(tmp_path):
    """The same place, said in RAS and in LPS."""
    path = write(tmp_path / "lps.nrrd", turned=direction(20))
    content = path.read_bytes()
    flipped = affine_of(path)
    vectors = " ".join(f"({','.join(f'{n:.17g}' for n in flipped[:3, axis])})" for axis in range(3))
    lines = []
    for line in content.split(b"\n\n", 1)[0].split(b"\n"):
        name = line.split(b":")[0]
        lines.append(
            {
                b"space": b"space: right-anterior-superior",
                b"space directions": f"space directions: {vectors}".encode(),
                b"space origin": f"space origin: ({','.join(f'{n:.17g}' for n in flipped[:3, 3])})".encode(),
            }.get(name, line)
        )
    (tmp_path / "ras.nrrd").write_bytes(b"\n".join(lines) + b"\n\n" + content.split(b"\n\n", 1)[1])
    one, other = (read_volume([tmp_path / f"{name}.nrrd"]) for name in ("lps", "ras"))
    np.testing.assert_allclose(one.space.affine, other.space.affine, atol=1e-9)
    np.testing.assert_array_equal(one.data, other.data)


def test_negative_spacing_is_a_turned_axis(tmp_path):
    path = edit(write(tmp_path / "t1.mha"), b"ElementSpacing = 0.", b"ElementSpacing = -0.")
    space = read(path)[0].space
    np.testing.assert_allclose(space.affine, affine_of(path), atol=1e-9)
    save((VOXELS > 0).astype(np.uint8), space, tmp_path / "labels.mha")
    np.testing.assert_allclose(affine_of(tmp_path / "labels.mha"), affine_of(path), atol=1e-9)
    assert min(space.spacing) > 0


@pytest.mark.parametrize(
    ("ending", "old", "new", "told"),
    [
        (".mha", b"ElementSpacing = ", b"SomethingElse = ", "does not say how large its voxels are"),
        (".mha", b"TransformMatrix = ", b"SomethingElse = ", "does not say its orientation"),
        (".nrrd", b"space: left-posterior-superior", b"space: scanner-xyz", "does not say its orientation"),
        (".gipl", b"", b"", r"does not say its orientation \(GIPL files never do\)"),
    ],
)
def test_what_a_header_leaves_open_is_a_warning(tmp_path, ending, old, new, told):
    path = edit(write(tmp_path / f"t1{ending}"), old, new)
    with pytest.warns(match=told):
        read_volume([path])


@pytest.mark.parametrize("ending", TEXT)
def test_a_whole_header_is_no_warning(tmp_path, ending):
    assert read(write(tmp_path / f"t1{ending}"))[1] == []


REFUSED = {
    "cut": (
        ENDINGS,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        "bytes of sound voxels|cannot read",
    ),
    "half": (ENDINGS, lambda path: path.write_bytes(path.read_bytes()[:300]), "cannot read|sound voxels"),
    "empty": (ENDINGS, lambda path: path.write_bytes(b""), "cannot read|sound voxels"),
    "NIfTI inside": (
        TEXT,
        lambda path: path.write_bytes(nibabel.Nifti1Image(VOXELS, np.eye(4)).to_bytes()),
        "cannot read .* it is damaged or of another format",
    ),
    "more voxels": (ENDINGS, lambda path: path.write_bytes(path.read_bytes() + b"x" * 600), "sound voxels"),
    "zero spacing": (
        (".mha",),
        lambda path: edit(path, b"ElementSpacing = 0.69999999999999996", b"ElementSpacing = 0"),
        "expected finite numbers, sides above 0",
    ),
    "flat axes": (
        (".mha",),
        lambda path: edit(path, b"TransformMatrix = 1 0 0 0 1 0", b"TransformMatrix = 1 0 0 1 0 0"),
        "three directions|cannot read",
    ),
    "voxels elsewhere": (
        (".mha",),
        lambda path: edit(path, b"ElementDataFile = LOCAL", b"ElementDataFile = a.raw"),
        "says that its voxels are in 'a.raw', expected one file",
    ),
    "a list of files": (
        (".mha",),
        lambda path: edit(path, b"ElementDataFile = LOCAL", b"ElementDataFile = LIST"),
        "says that its voxels are in 'LIST'",
    ),
    "a detached header": (
        (".nrrd",),
        lambda path: edit(path, b"encoding: raw", b"data file: a.raw\nencoding: raw"),
        "says that its voxels are in 'a.raw', expected one file",
    ),
    "colours": (
        TEXT,
        lambda path: SimpleITK.WriteImage(
            SimpleITK.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(path)
        ),
        "expected one integer or real number each",
    ),
    "a slice": (
        TEXT,
        lambda path: SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((5, 6), np.uint8)), str(path)),
        "expected one 3D volume",
    ),
    "NaN": (TEXT, lambda path: write(path, np.full(SHAPE, np.nan, np.float32)), "NaN"),
    "petabytes": (
        (".mha",),
        lambda path: edit(path, b"DimSize = 6 9 14", b"DimSize = 99999 99999 9999"),
        "to read it takes",
    ),
    "negative size": (
        (".mha",),
        lambda path: edit(path, b"DimSize = 6 9 14", b"DimSize = -6 9 14"),
        "cannot read|to read it takes|holds no voxels",
    ),
}


@pytest.mark.parametrize(
    ("name", "ending"), [(name, ending) for name, (endings, *_) in REFUSED.items() for ending in endings]
)
def test_damage_is_refused_in_a_sentence(tmp_path, name, ending):
    _, damage, told = REFUSED[name]
    path = write(tmp_path / f"t1{ending}")
    damage(path)
    with pytest.raises(InputError, match=told) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value) or "channel" in str(caught.value)


@pytest.mark.parametrize("ending", TEXT)
@pytest.mark.parametrize("place", [-1, -3, -40, -200])
def test_damage_in_packed_voxels_is_seen(tmp_path, ending, place):
    path = flip_bit(write(tmp_path / f"t1{ending}", packed=True), place)
    with pytest.raises(InputError, match=r"sound voxels|cannot read"):
        read(path)


def test_itk_itself_passes_over_damage(tmp_path):
    path = flip_bit(write(tmp_path / "t1.mha", packed=True), -200)
    found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T
    assert np.count_nonzero(found != VOXELS) > 0


def test_gipl_keeps_no_turned_axes(tmp_path):
    space = read(write(tmp_path / "t1.mha", turned=direction(10)))[0].space
    with pytest.raises(OutputError, match=r"GIPL keeps no directions.* Give a \.mha name"):
        save(np.zeros(SHAPE, np.uint8), space, tmp_path / "labels.gipl")
    assert not (tmp_path / "labels.gipl").exists()


def test_maps_are_not_written_so(tmp_path):
    space = read(write(tmp_path / "t1.mha"))[0].space
    with pytest.raises(OutputError, match=r"expected labels \(X, Y, Z\), got 4 axes"):
        save(np.zeros((*SHAPE, 2), np.float32), space, tmp_path / "maps.mha")


def test_a_folder_that_is_no_place_for_results(tmp_path):
    space = read(write(tmp_path / "t1.mha"))[0].space
    with pytest.raises(OutputError, match=r"cannot write .*labels\.mha"):
        save(np.zeros(SHAPE, np.uint8), space, tmp_path / "t1.mha" / "labels.mha")


def test_without_the_extra(tmp_path, monkeypatch):
    path = write(tmp_path / "t1.mha")
    space = read(path)[0].space
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(BackendError, match=r"not installed: pip install 'msdk_rt\[itk\]'"):
        read_volume([path])
    with pytest.raises(BackendError, match=r"not installed: pip install 'msdk_rt\[itk\]'"):
        save(np.zeros(SHAPE, np.uint8), space, tmp_path / "labels.mha")
