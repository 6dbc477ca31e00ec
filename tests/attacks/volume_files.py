"""Files around a sound header: W01 and on. Compression, links, what is no volume at all, other formats."""

import gzip
import os
import zlib

import numpy as np

from tests.attacks.corpus import SEGMENT, Series
from tests.attacks.volumes import OFFSET, compress, edit

SERIES = Series("W", SEGMENT, "model.onnx", "scan.nii")
attack = SERIES.attack


@attack(
    "A gzip bomb: 64 MB of zeros follow a volume of 1 kB: what follows is not read.",
    "",
    "model.onnx",
    "scan.nii.gz",
)
def _(folder):
    content = (folder / "scan.nii").read_bytes()
    (folder / "scan.nii.gz").write_bytes(gzip.compress(content + bytes(64 << 20)))


@attack(
    "A gzip bomb: 4 MB that unpack to the 4 TB that their header promises.",
    "InputError",
    "model.onnx",
    "scan.nii.gz",
)
def _(folder):
    edit(folder / "scan.nii", dim=[3, 16384, 16384, 8192, 1, 1, 1, 1])
    zeros = gzip.compress(bytes(64 << 20))
    header = gzip.compress((folder / "scan.nii").read_bytes()[:OFFSET])
    (folder / "scan.nii.gz").write_bytes(header + zeros * 64)


@attack("Compressed data are cut short.", "InputError", "model.onnx", "scan.nii.gz")
def _(folder):
    compress(folder / "scan.nii")
    content = (folder / "scan.nii.gz").read_bytes()
    (folder / "scan.nii.gz").write_bytes(content[: len(content) // 2])


@attack("Compressed data are cut within the trailing checksum.", "InputError", "model.onnx", "scan.nii.gz")
def _(folder):
    compress(folder / "scan.nii")
    content = (folder / "scan.nii.gz").read_bytes()
    (folder / "scan.nii.gz").write_bytes(content[:-3])


@attack("A raw deflate stream calls itself gzip.", "InputError", "model.onnx", "scan.nii.gz")
def _(folder):
    (folder / "scan.nii.gz").write_bytes(zlib.compress((folder / "scan.nii").read_bytes()))


@attack("An uncompressed volume calls itself .nii.gz.", "InputError", "model.onnx", "scan.nii.gz")
def _(folder):
    (folder / "scan.nii").rename(folder / "scan.nii.gz")


@attack("The file is a link to itself.", "InputError")
def _(folder):
    (folder / "scan.nii").unlink()
    (folder / "scan.nii").symlink_to("scan.nii")


@attack("The file is a link to an endless device.", "InputError")
def _(folder):
    (folder / "scan.nii").unlink()
    (folder / "scan.nii").symlink_to("/dev/zero")


@attack("The file is a pipe that nobody writes to.", "InputError")
def _(folder):
    (folder / "scan.nii").unlink()
    os.mkfifo(folder / "scan.nii")


@attack("The file is a folder.", "InputError")
def _(folder):
    (folder / "scan.nii").unlink()
    (folder / "scan.nii").mkdir()


@attack("The file is a sparse hole of 1 TB without a header.", "InputError")
def _(folder):
    with open(folder / "scan.nii", "wb") as file:
        file.truncate(1 << 40)


@attack("The file is a pickle that would run code.", "InputError")
def _(folder):
    (folder / "scan.nii").write_bytes(b"cos\nsystem\n(S'touch harm'\ntR." * 30)


def itk_file(folder, name: str, packed: bool = False, edit: tuple[bytes, bytes] = (b"", b"")) -> None:
    """A sound file of SimpleITK's, in which one place is then changed."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.arange(504, dtype=np.int16).reshape(7, 8, 9))
    SimpleITK.WriteImage(image, str(folder / name), packed)
    content = (folder / name).read_bytes()
    assert edit[0] in content
    (folder / name).write_bytes(content.replace(*edit, 1))


@attack("A MetaImage takes its voxels from a file of the system.", "InputError", "model.onnx", "scan.mha")
def _(folder):
    itk_file(folder, "scan.mha", edit=(b"= LOCAL", b"= /etc/passwd"))


@attack("An NRRD file takes its voxels from another file.", "InputError", "model.onnx", "scan.nrrd")
def _(folder):
    itk_file(folder, "scan.nrrd", edit=(b"encoding: ", b"data file: scan.nii\nencoding: "))


@attack("A MetaImage promises 5 TB.", "InputError", "model.onnx", "scan.mha")
def _(folder):
    itk_file(folder, "scan.mha", edit=(b"DimSize = 9 8 7", b"DimSize = 16384 16384 9999"))


@attack("Packed voxels of a MetaImage unpack to 64 MB, of 1 kB.", "InputError", "model.onnx", "scan.mha")
def _(folder):
    itk_file(folder, "scan.mha", packed=True)
    header = (folder / "scan.mha").read_bytes().split(b"= LOCAL\n")[0]
    (folder / "scan.mha").write_bytes(header + b"= LOCAL\n" + zlib.compress(bytes(64 << 20)))


@attack("A MetaImage is called .nrrd.", "InputError", "model.onnx", "scan.nrrd")
def _(folder):
    itk_file(folder, "scan.mha")
    (folder / "scan.mha").rename(folder / "scan.nrrd")
