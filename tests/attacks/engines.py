"""Engines: E01 and on. Nothing of them may reach TensorRT unless file, manifest and machine fit."""

import os

from tests.attacks.corpus import SEGMENT, Series
from tests.support.small_model import ENGINE, describe

SERIES = Series("E", SEGMENT, "model.engine", "scan.nii")
attack = SERIES.attack


def engine(folder, content=b"a plan" * 400, **entry):
    path = folder / "model.engine"
    path.write_bytes(content)
    describe(path, engine=ENGINE | entry)
    return path


@attack("The plan was cut short.", "ArtifactError")
def _(folder):
    path = engine(folder)
    os.truncate(path, 1000)


@attack("One bit of the plan was flipped.", "ArtifactError")
def _(folder):
    path = engine(folder)
    content = bytearray(path.read_bytes())
    content[77] ^= 4
    path.write_bytes(content)


@attack("The plan is empty, and its manifest says so.", "BackendError")
def _(folder):
    engine(folder, b"")


@attack("The plan was built by another TensorRT for another GPU.", "BackendError")
def _(folder):
    engine(folder, tensorrt="8.6.1", compute_capability="6.1")


@attack("The compute capability is no number.", "ArtifactError")
def _(folder):
    engine(folder)
    path = folder / "model.engine.json"
    path.write_text(path.read_text().replace('"8.9"', '"8.9; import os"'))


@attack("An .onnx was renamed to .engine.", "ArtifactError")
def _(folder):
    (folder / "model.onnx").rename(folder / "model.engine")
    (folder / "model.onnx.json").rename(folder / "model.engine.json")


@attack("An .engine was renamed to .onnx, with its manifest.", "ArtifactError", "model.onnx", "scan.nii")
def _(folder):
    engine(folder).rename(folder / "model.onnx")
    (folder / "model.engine.json").rename(folder / "model.onnx.json")


@attack("The manifest of an .onnx lies beside an .engine.", "ArtifactError")
def _(folder):
    path = folder / "model.engine"
    path.write_bytes(b"a plan" * 400)
    describe(path)
