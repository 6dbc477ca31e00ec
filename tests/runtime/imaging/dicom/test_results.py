"""DICOM SEG and RT Structure Set: accepted by dicom3tools and dcmtk, read back by others as they were."""

import shutil
import subprocess

import numpy as np
import pytest

from msdk_rt.errors import InputError, OutputError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.dicom.codes import concept_of, known_concepts
from msdk_rt.imaging.dicom.structures import contours
from msdk_rt.imaging.formats import open_image, save
from msdk_rt.imaging.space import Space
from msdk_rt.imaging.volumes import check_result
from tests.runtime.imaging.dicom.small_series import AFFINE, SHAPE, at, write_small
from tests.support.dicom_series import edit, enhance

pytest.importorskip("SimpleITK")
DESCRIBED = Described(
    {"background": 0, "grey matter": 2, "left hippocampus": 5, "absent": 7}, "Small", "ab" * 32
)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:6, 1:5, 1:7] = 2
LABELS[2:4, 2:4, 2:5] = 5  # a hole in the other
LABELS[6, 5, 8] = 5  # one voxel in the last slice's corner
needs = {
    program: pytest.mark.skipif(
        shutil.which(program) is None, reason=f"no {program} here (Debian: {package})"
    )
    for program, package in (
        ("dciodvfy", "dicom3tools"),
        ("dcmdump", "dcmtk"),
        ("plastimatch", "plastimatch"),
    )
}


@pytest.fixture(params=["classic", "shuffled", "enhanced"])
def series(request, tmp_path):
    folder = write_small(tmp_path / "series", order="shuffled" if request.param == "shuffled" else "up")
    for path in folder.glob("*.dcm"):
        edit(path, Laterality=None, ImageType=["ORIGINAL", "PRIMARY", "M_SE"])
    if request.param == "enhanced":
        return enhance(folder, tmp_path / "enhanced" / "one.dcm").parent
    return folder


def written(series, tmp_path, name, labels=LABELS, described=DESCRIBED):
    save(labels, open_image(series).space("RAS"), tmp_path / name, described)
    return tmp_path / name


def run(*command):
    return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)


@needs["dciodvfy"]
@pytest.mark.parametrize("name", ["out.seg.dcm", "out.rtstruct.dcm"])
def test_dicom3tools_finds_no_fault(series, tmp_path, name):
    checked = run("dciodvfy", written(series, tmp_path, name))
    said = [line for line in checked.stderr.splitlines() if line.startswith(("Error", "Warning"))]
    assert (checked.returncode, said) == (0, [])


@needs["dcmdump"]
@pytest.mark.parametrize("name", ["out.seg.dcm", "out.rtstruct.dcm"])
def test_dcmtk_reads_every_element(series, tmp_path, name):
    dumped = run("dcmdump", "--stop-on-error", "+L", written(series, tmp_path, name))
    assert dumped.returncode == 0
    assert not dumped.stderr


def test_highdicom_reads_the_same_voxels_in_the_same_place(series, tmp_path):
    import highdicom

    found = highdicom.seg.segread(written(series, tmp_path, "out.seg.dcm"))
    numbers = {found.get_segment_description(n).segment_label: n for n in found.segment_numbers}
    assert numbers == {"grey matter": 1, "left hippocampus": 2, "absent": 3}
    for label, value in (("grey matter", 2), ("left hippocampus", 5), ("absent", 7)):
        volume = found.get_volume(segment_numbers=[numbers[label]], combine_segments=True)
        where = np.argwhere(volume.array > 0)
        points = volume.map_indices_to_reference(where) if len(where) else np.zeros((0, 3))
        voxels = np.argwhere(value == LABELS)
        expected = voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3]
        assert len(points) == len(expected)
        np.testing.assert_allclose(_sorted(points), _sorted(expected), atol=1e-4)


def test_names_colours_codes_and_references(series, tmp_path):
    import pydicom

    found = pydicom.dcmread(written(series, tmp_path, "out.seg.dcm"))
    sources = [pydicom.dcmread(path) for path in series.glob("*.dcm")]
    grey, hippocampus, absent = found.SegmentSequence
    assert grey.SegmentLabel == "grey matter"
    assert (grey.SegmentAlgorithmType, grey.SegmentAlgorithmName) == (
        "AUTOMATIC",
        "msdk_rt Small abababababab",
    )
    assert grey.SegmentedPropertyTypeCodeSequence[0].CodeValue == "389081007"
    kind = hippocampus.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("5366008", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    assert absent.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert len({tuple(segment.RecommendedDisplayCIELabValue) for segment in found.SegmentSequence}) == 3
    (identification,) = grey.SegmentationAlgorithmIdentificationSequence
    assert "ab" * 32 in identification.AlgorithmParameters
    assert identification.AlgorithmVersion == found.SoftwareVersions
    (referenced,) = found.ReferencedSeriesSequence
    instances = {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence}
    assert instances == {source.SOPInstanceUID for source in sources}
    for name in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert getattr(found, name) == getattr(sources[0], name)
    assert found.SeriesInstanceUID != sources[0].SeriesInstanceUID


def test_the_structure_set_names_its_images_and_model(series, tmp_path):
    import pydicom

    found = pydicom.dcmread(written(series, tmp_path, "out.rtstruct.dcm"))
    sources = {pydicom.dcmread(path).SOPInstanceUID for path in series.glob("*.dcm")}
    assert [roi.ROIName for roi in found.StructureSetROISequence] == [
        "grey matter",
        "left hippocampus",
        "absent",
    ]
    assert found.StructureSetDescription == f"model SHA-256 {'ab' * 32}"
    lines = [line for contour in found.ROIContourSequence for line in contour.get("ContourSequence", [])]
    assert {line.ContourImageSequence[0].ReferencedSOPInstanceUID for line in lines} <= sources
    assert all(len(line.ContourData) == 3 * line.NumberOfContourPoints for line in lines)


@needs["plastimatch"]
def test_plastimatch_fills_the_contours_with_the_same_voxels(tmp_path):
    import SimpleITK as sitk

    series = write_small(tmp_path / "series")
    path = written(series, tmp_path, "out.rtstruct.dcm")
    filled = tmp_path / "filled"
    done = run(
        "plastimatch",
        "convert",
        "--input",
        path,
        "--referenced-ct",
        series,
        "--output-prefix",
        filled,
        "--prefix-format",
        "nrrd",
    )
    assert done.returncode == 0, done.stdout
    for name, value in (("grey matter", 2), ("left hippocampus", 5)):
        image = sitk.ReadImage(str(filled / f"{name}.nrrd"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T > 0, value == LABELS)
        np.testing.assert_allclose(image.GetOrigin(), AFFINE[:3, 3], atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_the_centres_inside_a_contour_are_the_voxels(seed):
    """An even-odd count along rows, which is how scan conversion fills a polygon."""
    plane = np.random.default_rng(seed).random((17, 13)) < (0.2, 0.4, 0.5, 0.7, 0.9)[seed]
    plane[0, 0] = plane[-1, 3] = True
    inside = np.zeros(plane.shape, int)
    for line in contours(plane):
        assert len(line) >= 3
        for (x0, y0), (x1, y1) in zip(line, np.roll(line, -1, axis=0), strict=True):
            for y in range(plane.shape[1]):
                if (y0 <= y) != (y1 <= y):
                    crossing = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
                    inside[np.arange(plane.shape[0]) < crossing, y] += 1
    np.testing.assert_array_equal(inside % 2 == 1, plane)


def test_every_code_is_in_the_standard():
    from pydicom.sr._concepts_dict import concepts

    meanings = {(code, meaning) for entry in concepts["SCT"].values() for code, (meaning, _) in entry.items()}
    assert set(known_concepts()) <= meanings


@pytest.mark.parametrize(
    ("label", "kind", "side"),
    [
        ("Left-Hippocampus", "Hippocampus", "Left"),
        ("hippocampus_R", "Hippocampus", "Right"),
        ("rh.putamen", "Putamen", "Right"),
        ("CSF", "Cerebrospinal Fluid", None),
        ("enhancing", "Neoplasm", None),
        ("left", "Tissue", None),
        ("a thing", "Tissue", None),
    ],
)
def test_concepts_by_name(label, kind, side):
    concept = concept_of(label)
    assert (concept.kind[1], concept.side and concept.side[1]) == (kind, side)


@pytest.mark.parametrize("name", ["out.seg.dcm", "out.rtstruct.dcm"])
def test_what_cannot_be_written(tmp_path, name):
    series = write_small(tmp_path / "series")
    space = open_image(series).space("RAS")
    with pytest.raises(OutputError, match="refers to the DICOM images"):
        save(LABELS, Space(np.eye(4), SHAPE), tmp_path / name, DESCRIBED)
    with pytest.raises(OutputError, match="expected labels"):
        save(np.zeros((*SHAPE, 2), np.float32), space, tmp_path / name, DESCRIBED)
    with pytest.raises(InputError, match=r"values \[5\], which no label has"):
        save(LABELS, space, tmp_path / name, Described({"background": 0, "grey": 2}))
    edit(at(series, 3), FrameOfReferenceUID=None)
    with pytest.raises(InputError, match="lacks FrameOfReferenceUID"):
        save(LABELS, space, tmp_path / name, DESCRIBED)
    assert not (tmp_path / name).exists()


def test_an_empty_segmentation_is_written(tmp_path):
    series = write_small(tmp_path / "series")
    for name in ("out.seg.dcm", "out.rtstruct.dcm"):
        path = written(series, tmp_path, name, labels=np.zeros_like(LABELS))
        check_result(path, series, 1)


@pytest.mark.parametrize("name", ["out.seg.dcm", "out.rtstruct.dcm"])
def test_a_whole_result_is_told_from_a_cut_one(tmp_path, name):
    series = write_small(tmp_path / "series")
    path = written(series, tmp_path, name)
    check_result(path, series, 1)
    content = path.read_bytes()
    for kept in (len(content) - 2, len(content) // 2, 140, 0):
        path.write_bytes(content[:kept])
        with pytest.raises(InputError):
            check_result(path, series, 1)


def _sorted(points):
    return points[np.lexsort(np.round(points, 2).T)]
