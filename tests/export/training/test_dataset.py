"""Dataset folders: both forms read alike, and what is wrong with one is said."""

import itertools
import json

import nibabel
import numpy as np
import pytest

from msdk_export.samples import spacing_range
from msdk_export.training.cases import VOXELS_PER_CLASS, Cases, ReadCase
from msdk_export.training.dataset import read_dataset
from msdk_rt.errors import InputError
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.inference.normalisation import normalize
from tests.support.spheres import AFFINE, LABELS, decathlon, describe, nnunet, save, spheres


def read(folder, validation=1.0, seed=0):
    return read_dataset(folder, validation, seed)


@pytest.mark.parametrize("channels", [1, 2])
def test_both_forms_read_alike(tmp_path, channels):
    datasets = [
        read(decathlon(tmp_path / "a", channels=channels)),
        read(nnunet(tmp_path / "b", channels=channels)),
    ]
    first, second = datasets
    assert first.labels == second.labels == LABELS
    assert first.channels == second.channels == tuple(f"m{index}" for index in range(channels))
    assert [case.name for case in first.training] == [case.name for case in second.training]
    read_case = ReadCase(first.channels, first.labels)
    for one, other in zip(first.training, second.training, strict=True):
        one, other = read_case(one), read_case(other)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.classes, other.classes)


def test_a_dataset_of_another_format_reads_alike(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    first = read(nnunet(tmp_path / "a"))
    folder = nnunet(tmp_path / "b", file_ending=".mha")
    for path in folder.rglob("*.nii.gz"):
        image = sitk.ReadImage(str(path))
        sitk.WriteImage(image, str(path).replace(".nii.gz", ".mha"), useCompression=True)
        path.unlink()
    second = read(folder)
    read_case = ReadCase(first.channels, first.labels)
    for one, other in zip(first.training, second.training, strict=True):
        one, other = read_case(one), read_case(other)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.classes, other.classes)
        assert other.spacing == pytest.approx(one.spacing)


def test_a_case_is_what_the_runtime_would_see(tmp_path):
    dataset = read(nnunet(tmp_path))
    files = dataset.training[0]
    case = ReadCase(dataset.channels, dataset.labels)(files)
    np.testing.assert_array_equal(case.image, normalize(read_volume(files.images).data).astype(np.float16))
    label = read_volume([files.label]).data[0]
    values = np.array(list(dataset.labels.values()))
    np.testing.assert_array_equal(values[case.classes], label)
    for index, voxels in enumerate(case.voxels):
        assert (case.classes.ravel()[voxels] == index).all()
        assert len(voxels) == min((case.classes == index).sum(), VOXELS_PER_CLASS)


def test_spacing_follows_the_axes(tmp_path):
    affine = np.array([[0, 0, 2.0, 0], [-0.5, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1]])
    decathlon(tmp_path, cases=2)
    for folder in ("imagesTr", "labelsTr"):
        image = nibabel.load(tmp_path / folder / "case_0.nii.gz")
        save(np.asarray(image.dataobj), tmp_path / folder / "case_0.nii.gz", affine)
    dataset = read(tmp_path)
    (case,) = (c for c in (*dataset.training, *dataset.validation) if c.name == "case_0")
    arrays = ReadCase(dataset.channels, dataset.labels)(case)
    assert arrays.spacing == pytest.approx((2.0, 0.5, 3.0))
    assert arrays.classes.shape == (30, 34, 32)
    images = [case.images[0] for case in (*dataset.training, *dataset.validation)]
    assert spacing_range(images) == {"low": [1.0, 0.5, 1.5], "high": [2.0, 1.0, 3.0]}
    assert spacing_range(images[:1])["low"] == spacing_range(images[:1])["high"]


def test_the_split_is_the_seed_s(tmp_path):
    decathlon(tmp_path, cases=9)

    def held_out(validation, seed):
        dataset = read_dataset(tmp_path, validation, seed)
        names = [[case.name for case in part] for part in (dataset.training, dataset.validation)]
        assert sorted(itertools.chain(*names)) == [f"case_{index}" for index in range(9)]
        return names[1], dataset.digest

    assert held_out(0.34, 5) == held_out(0.34, 5)
    assert len({held_out(3, seed)[1] for seed in range(5)}) > 1
    assert [len(held_out(v, 0)[0]) for v in (0, 0.05, 0.34, 1, 4)] == [1, 1, 3, 1, 4]
    with pytest.raises(InputError, match="9 of 9 case"):
        held_out(9, 0)


@pytest.mark.parametrize("form", ["names", "pairs"])
def test_an_explicit_validation_list(tmp_path, form):
    folder = decathlon(tmp_path)
    description = json.loads((folder / "dataset.json").read_text())
    pair = description["training"][2]
    if form == "pairs":
        description["training"].remove(pair)
    describe(folder, description | {"validation": [pair if form == "pairs" else "case_2"]})
    dataset = read(folder, validation=3)
    assert [case.name for case in dataset.validation] == ["case_2"]
    assert [case.name for case in dataset.training] == ["case_0", "case_1", "case_3"]


@pytest.mark.parametrize(
    ("write", "entries", "message"),
    [
        (decathlon, {"training": []}, "no training case"),
        (decathlon, {"training": {}}, "to be a list"),
        (decathlon, {"training": ["a.nii.gz"]}, "expected .*image.*label"),
        (decathlon, {"training": [{"image": "a.nii", "label": "b.nii"}] * 2}, "lists b twice"),
        (
            decathlon,
            {"training": [{"image": "a.nii", "label": f"{n}.nii"} for n in "bc"]},
            "no file at .*a.nii",
        ),
        (decathlon, {"modality": {"0": "t1", "2": "t2"}}, "modality"),
        (decathlon, {"modality": {}}, "names no channel"),
        (decathlon, {"labels": {}}, 'expected "labels"'),
        (decathlon, {"labels": {"1": "tumour", "2": "edema"}}, "background 0"),
        (decathlon, {"labels": {"0": "background"}}, "2 to 256"),
        (decathlon, {"validation": ["case_9"]}, "validation names 'case_9'"),
        (decathlon, {"validation": [f"case_{n}" for n in range(4)]}, "all 4 case"),
        (nnunet, {"labels": {"background": 0, "whole": [1, 4]}}, r"'whole' is \[1, 4\]"),
        (nnunet, {"labels": {"background": 0, "a": 1, "b": 1}}, "different values"),
        (nnunet, {"numTraining": 5}, "numTraining is 5, and labelsTr holds 4"),
        (nnunet, {"file_ending": ".png"}, "file_ending is '.png'"),
        (nnunet, {"file_ending": ".nii", "numTraining": 0}, "no training case"),
        (nnunet, {"channel_names": {"0": "t1", "1": "t2"}}, "no file at .*case_0_0001.nii.gz"),
    ],
)
def test_what_is_wrong_with_dataset_json(tmp_path, write, entries, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, **entries))


@pytest.mark.parametrize("content", ["", "[]", '{"modality"', "\xff"])
def test_unreadable_descriptions(tmp_path, content):
    with pytest.raises(InputError, match=r"dataset\.json"):
        read(tmp_path / "none")
    (tmp_path / "dataset.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"dataset\.json"):
        read(tmp_path)


def misshapen_label(folder):
    save(spheres(0, shape=(34, 32, 29))[1], folder / "labelsTr" / "case_0.nii.gz")


def label_elsewhere(folder):
    save(spheres(0)[1], folder / "labelsTr" / "case_0.nii.gz", np.diag([1.0, 1, 1.5, 1]))


def unknown_value(folder):
    label = spheres(0)[1]
    label[5, 6, 7] = 3
    save(label, folder / "labelsTr" / "case_0.nii.gz")


def fractional_value(folder):
    save(spheres(0)[1].astype(np.float32) + 0.25, folder / "labelsTr" / "case_0.nii.gz", AFFINE)


def too_many_channels(folder):
    save(spheres(0, channels=3)[0], folder / "imagesTr" / "case_0.nii.gz")


def truncated(folder):
    path = folder / "imagesTr" / "case_0.nii.gz"
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (misshapen_label, r"labelsTr.*\(34, 32, 29\)"),
        (label_elsewhere, "labelsTr.* mm away"),
        (
            unknown_value,
            "value 3, which dataset.json does not list: it has background = 0, bright = 1, dark = 4",
        ),
        (fractional_value, "value 0.25"),
        (too_many_channels, r"3 channel\(s\), expected 1 \(m0\)"),
        (truncated, "cannot read"),
    ],
)
@pytest.mark.parametrize("share", [1.0, 0.0])
def test_what_is_wrong_with_a_case(tmp_path, damage, message, share):
    damage(decathlon(tmp_path))
    dataset = read(tmp_path)
    files = (*dataset.training, *dataset.validation)

    def read_all():
        return list(Cases(files, dataset.channels, dataset.labels, share, progress=False))

    with pytest.raises(InputError, match=message):
        read_all()
