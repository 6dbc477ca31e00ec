"""NIfTI files around a sound header: padding, gzip streams, names of other kinds, all channels in one."""

import gzip

import nibabel
import numpy as np
import pytest

from msdk_rt import InputError, Segmenter
from msdk_rt.commands.main import main
from msdk_rt.imaging.volumes import read_volume
from tests.support.nifti_files import AFFINE, VOXELS, read, write
from tests.support.small_model import write_artifact

ZEROS, NOISE = bytes(400), bytes(range(1, 201))


@pytest.mark.parametrize(
    ("tail", "fault"),
    [
        (b"\0", "goes on after"),
        (b"\1", "goes on after"),
        (ZEROS, "goes on after"),
        (bytes(1 << 20), "goes on after"),
        (NOISE * 4, "refused"),
        (VOXELS.tobytes(), "refused"),
    ],
    ids=["a zero", "a byte", "zeros", "a megabyte of zeros", "more than a slice", "as much again"],
)
def test_bytes_after_the_last_voxel(path, sound, tail, fault):
    """Padding is said and ignored; a slice of them that is not all zero would be voxels that went missing."""
    write(path)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + tail))
    else:
        path.write_bytes(path.read_bytes() + tail)
    if fault == "refused":
        with pytest.raises(InputError, match="holds more voxels than the shape"):
            read(path)
        return
    volume, said = read(path)
    np.testing.assert_array_equal(volume.data, sound.data)
    assert [fault in sentence for sentence in said] == [True]


STREAMS = {
    "one": (lambda content: gzip.compress(content), ""),
    "two, cut in the header": (
        lambda content: gzip.compress(content[:100]) + gzip.compress(content[100:]),
        "",
    ),
    "two, cut in the voxels": (
        lambda content: gzip.compress(content[:999]) + gzip.compress(content[999:]),
        "",
    ),
    "a hundred": (
        lambda content: b"".join(gzip.compress(content[at : at + 200]) for at in range(0, len(content), 200)),
        "",
    ),
    "and an empty one": (lambda content: gzip.compress(content) + gzip.compress(b""), ""),
    "and zeros": (lambda content: gzip.compress(content) + bytes(100), ""),
    "and rubbish": (lambda content: gzip.compress(content) + b"rubbish", "goes on after"),
    "and a byte": (lambda content: gzip.compress(content) + b"\1", "goes on after"),
    "and a signature": (lambda content: gzip.compress(content) + NOISE * 99, "goes on after"),
    "and another scan": (lambda content: gzip.compress(content) * 2, "refused"),
    "a wrong checksum": (lambda content: gzip.compress(content)[:-8] + bytes(8), "refused"),
    "a wrong length": (lambda content: gzip.compress(content)[:-4] + bytes(4), "refused"),
    "no checksum": (lambda content: gzip.compress(content)[:-8], "refused"),
    "half of a second": (lambda content: gzip.compress(content) + gzip.compress(content)[:200], "refused"),
}


@pytest.mark.parametrize(("compress", "fault"), STREAMS.values(), ids=STREAMS)
def test_gzip_streams(tmp_path, sound, compress, fault):
    content = write(tmp_path / "plain.nii").read_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(compress(content))
    if fault == "refused":
        with pytest.raises(InputError):
            read(tmp_path / "scan.nii.gz")
        return
    volume, said = read(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(volume.data, sound.data)
    assert [fault in sentence for sentence in said] == [True] * bool(fault)


def pair(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(VOXELS, AFFINE), tmp_path / "scan.img")


def analyze(tmp_path):
    nibabel.save(nibabel.AnalyzeImage(VOXELS, np.eye(4)), tmp_path / "scan.img")


NAMES = {
    "img": (pair, "scan.img", "half of a pair of files.*`nib-convert scan.img scan.nii.gz` does"),
    "hdr": (pair, "scan.hdr", "half of a pair of files.*`nib-convert scan.hdr scan.nii.gz` does"),
    "Analyze": (analyze, "scan.hdr", "half of a pair of files"),
    "capitals": (lambda folder: write(folder / "s.nii").rename(folder / "S.IMG"), "S.IMG", "half of a pair"),
    "AppleDouble": (
        lambda folder: (folder / "._a.nii.gz").write_bytes(b"\0\5\x16\7" + bytes(200)),
        "._a.nii.gz",
        "._a.nii.gz is metadata of macOS and no image: give a.nii.gz",
    ),
    "compressed under another name": (
        lambda folder: write(folder / "a.nii.gz").rename(folder / "b.nii"),
        "b.nii",
        "It is compressed: if it is a NIfTI file, rename it to .nii.gz",
    ),
    "not compressed": (
        lambda folder: write(folder / "a.nii").rename(folder / "b.nii.gz"),
        "b.nii.gz",
        "It is not compressed: if it is a NIfTI file, rename it to .nii",
    ),
}


@pytest.mark.parametrize(("make", "name", "message"), NAMES.values(), ids=NAMES)
def test_files_of_other_kinds_say_what_to_do(tmp_path, capsys, make, name, message):
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        read(tmp_path / name)
    model = write_artifact(tmp_path / "model.onnx")
    (tmp_path / "out").mkdir()
    assert main(["run", str(model), str(tmp_path / name), "-o", str(tmp_path / "out" / "labels.nii.gz")]) == 1
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(InputError, match=message):
        raise InputError(capsys.readouterr().err.replace("\n", " "))


def test_a_4d_file_of_all_channels(path, tmp_path):
    channels = [VOXELS, VOXELS[::-1], VOXELS + 7]
    files = [write(tmp_path / f"{index}.nii", channel) for index, channel in enumerate(channels)]
    write(path, np.stack(channels, -1))
    names = ["a", "b", "c"]
    apart, together = read_volume(files, names), read_volume([path], names)
    np.testing.assert_array_equal(apart.data, together.data)
    np.testing.assert_array_equal(apart.space.affine, together.space.affine)
    with Segmenter(write_artifact(tmp_path / "model.onnx", channels=3)) as segmenter:
        labels = segmenter.run(files).labels
        for given in (path, str(path), [path]):
            np.testing.assert_array_equal(segmenter.run(given).labels, labels)
        np.testing.assert_array_equal(segmenter.run([[path], files])[0].labels, labels)
    arguments = [
        "run",
        str(tmp_path / "model.onnx"),
        str(path),
        "-o",
        str(tmp_path / "out.nii.gz"),
        "--quiet",
    ]
    for _ in range(2):  # the second time the result is kept
        assert main(arguments) == 0
        np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii.gz").get_fdata(), labels)


@pytest.mark.parametrize("volumes", [1, 2, 4])
def test_a_4d_file_of_other_channels(path, volumes):
    write(path, np.stack([VOXELS] * volumes, -1))
    with pytest.raises(InputError, match=r"expected 3 file\(s\), one per channel \(a, b, c\), got 1"):
        read_volume([path], ["a", "b", "c"])
