"""Manifests: M01 and on. Where the seal is valid, the attacker can compute SHA-256 as well as we."""

import json
from pathlib import Path

from msdk_rt.artifact.manifest import SEAL, _seal
from tests.attacks.corpus import SEGMENT, Series
from tests.support.small_model import ENGINE

SERIES = Series("M", SEGMENT, "model.onnx", "scan.nii")
attack = SERIES.attack


def entries(folder: Path) -> dict:
    return json.loads((folder / "model.onnx.json").read_text())


def seal(folder: Path, **changes) -> None:
    """Change entries and seal them again."""
    changed = {name: value for name, value in entries(folder).items() if name != SEAL} | changes
    (folder / "model.onnx.json").write_text(json.dumps(changed | {SEAL: _seal(changed)}))


def replace(folder: Path, old: str, new: str) -> None:
    text = (folder / "model.onnx.json").read_text()
    assert old in text
    (folder / "model.onnx.json").write_text(text.replace(old, new, 1))


@attack("Labels were swapped by hand.", "ArtifactError")
def _(folder):
    replace(folder, '"class0": 0', '"class0": 5')


@attack("The hash is that of another file, sealed.", "ArtifactError")
def _(folder):
    seal(folder, sha256="0" * 64)


@attack("The hash is a path, sealed.", "ArtifactError")
def _(folder):
    seal(folder, sha256="../../../etc/passwd")


@attack("The format is newer, sealed.", "ArtifactError")
def _(folder):
    seal(folder, format_version=3)


@attack("The format is a number of 4,000 digits.", "ArtifactError")
def _(folder):
    replace(folder, '"format_version": 1', f'"format_version": {"9" * 4000}')


@attack("The format is a number of 100,000 digits, quadratic to convert.", "ArtifactError")
def _(folder):
    replace(folder, '"format_version": 1', f'"format_version": {"9" * 100_000}')


@attack("The window is 4096 voxels a side, sealed: 275 GB of weights for the blend.", "ArtifactError")
def _(folder):
    seal(folder, window=[4096, 4096, 4096])


@attack("The window's sides are negative, sealed.", "ArtifactError")
def _(folder):
    seal(folder, window=[-8, -6, -7])


@attack("The window is not the graph's, sealed.", "ArtifactError")
def _(folder):
    seal(folder, window=[8, 6, 8])


@attack("There are 100,000 channels, sealed.", "ArtifactError")
def _(folder):
    seal(folder, channels=[f"m{index}" for index in range(100_000)])


@attack("A channel's name is a path out of the folder, sealed.", "ArtifactError")
def _(folder):
    seal(folder, channels=["../../etc/passwd", "m1"])


@attack("A label's name holds terminal control codes, sealed.", "ArtifactError")
def _(folder):
    seal(folder, labels={"\x1b[2J": 0, "class1": 1})


@attack("There are more labels than logits, sealed.", "ArtifactError")
def _(folder):
    seal(folder, labels={f"class{index}": index for index in range(3)})


@attack("JSON is nested 100,000 deep.", "ArtifactError")
def _(folder):
    replace(folder, '"config": {', '"config": {"a": ' + "[" * 100_000 + "]" * 100_000 + ", ")


@attack("A config is nested just below what the reader takes, sealed.", "")
def _(folder):
    deep: dict = {}
    for _ in range(400):
        deep = {"a": deep}
    seal(folder, config=deep)


@attack("A key comes twice, the second with other labels.", "ArtifactError")
def _(folder):
    replace(folder, '"seal":', '"labels": {"class0": 1, "class1": 0}, "seal":')


@attack("A key comes twice, the seal made for what the last one says.", "ArtifactError")
def _(folder):
    good = {name: value for name, value in entries(folder).items() if name != SEAL}
    text = json.dumps(good | {SEAL: _seal(good)})
    (folder / "model.onnx.json").write_text(text.replace('"labels"', '"labels": {"x": 9}, "labels"', 1))


@attack("The manifest is 128 MB of spaces.", "ArtifactError")
def _(folder):
    with open(folder / "model.onnx.json", "wb") as file:
        for _ in range(8):
            file.write(b" " * (16 << 20))


@attack("The manifest is a sparse file of 1 TB.", "ArtifactError")
def _(folder):
    with open(folder / "model.onnx.json", "wb") as file:
        file.truncate(1 << 40)


@attack("A number is NaN, which is not JSON.", "ArtifactError")
def _(folder):
    replace(folder, '"sigma_scale": 0.125', '"sigma_scale": NaN')


@attack("A number in a free field is NaN, sealed.", "ArtifactError")
def _(folder):
    seal(folder, parity={"random": float("nan")})


@attack("sigma_scale is 1e-300, so that the Gaussian's variance is 0, sealed: legal.", "")
def _(folder):
    seal(folder, blending={"scheme": "monai", "mode": "gaussian", "sigma_scale": 1e-300})


@attack("sigma_scale is a whole number of 300 digits, sealed.", "ArtifactError")
def _(folder):
    seal(folder, blending={"scheme": "monai", "mode": "gaussian", "sigma_scale": 10**300})


@attack("sigma_scale is true, sealed.", "ArtifactError")
def _(folder):
    seal(folder, blending={"scheme": "monai", "mode": "gaussian", "sigma_scale": True})


@attack("Text holds half of a surrogate pair.", "ArtifactError")
def _(folder):
    replace(folder, '"family": "', '"family": "\\ud800')


@attack("The manifest is UTF-16.", "ArtifactError")
def _(folder):
    text = (folder / "model.onnx.json").read_text()
    (folder / "model.onnx.json").write_text(text, encoding="utf-16")


@attack("The manifest is a link to a file that is no manifest.", "ArtifactError")
def _(folder):
    (folder / "model.onnx.json").unlink()
    (folder / "model.onnx.json").symlink_to("/etc/passwd")


@attack("The manifest is a link to itself.", "ArtifactError")
def _(folder):
    (folder / "model.onnx.json").unlink()
    (folder / "model.onnx.json").symlink_to("model.onnx.json")


@attack("The manifest is a link to an endless device.", "ArtifactError")
def _(folder):
    (folder / "model.onnx.json").unlink()
    (folder / "model.onnx.json").symlink_to("/dev/zero")


@attack("Pair and folder are links to where they really lie: legal.", "", "linked.onnx", "scan.nii")
def _(folder):
    (folder / "linked.onnx").symlink_to("model.onnx")
    (folder / "linked.onnx.json").symlink_to("model.onnx.json")


@attack(
    "The model is named by a path through folders that do not exist.",
    "ArtifactError",
    "a/../../b/model.onnx",
    "scan.nii",
)
def _(folder):
    pass


@attack("A manifest of an engine lies beside an .onnx, sealed.", "ArtifactError")
def _(folder):
    seal(folder, engine=ENGINE)
