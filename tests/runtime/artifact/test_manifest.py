"""Manifests: what is written is read back, and everything else is refused with a sentence."""

import base64
import json
import os

import pytest

from msdk_rt.artifact.manifest import manifest_path, read_manifest, sha256_of, write_manifest
from msdk_rt.errors import ArtifactError, OutputError
from tests.support.small_model import describe

WRONG_FIELDS = [
    ("format_version", 3, "manifest format 3, this msdk_rt reads up to 2: upgrade"),
    ("format_version", "1", "format_version must be 1 or 2, found '1'"),
    ("format_version", True, "format_version must be 1 or 2, found True"),
    ("format_version", None, "format_version must be 1 or 2, found None"),
    ("ops_version", 7, "ops_version must be 1, found 7"),
    ("family", "", "family must be the name"),
    ("config", [], "config must be a mapping"),
    ("window", [0, 6, 7], "window must be three whole numbers from 1 to 4096"),
    ("window", [8, 6], "window must be three"),
    ("window", [8, 6, 4097], "window must be three"),
    ("window", [8.0, 6, 7], "window must be three"),
    ("window", None, "window must be three"),
    ("channels", [], "channels must be a list of different names"),
    ("channels", ["t1", "t1"], "channels must be a list of different names"),
    ("channels", "t1", "channels must be a list of different names"),
    ("channels", ["t1\nt2"], "channels must be a list of different names"),
    ("labels", {}, "labels must be a mapping"),
    ("labels", {"a": 1, "b": 1}, "labels must be a mapping"),
    ("labels", {"a": -1}, "labels must be a mapping"),
    ("labels", {"a": 65536}, "labels must be a mapping"),
    ("labels", {"a": 1.0}, "labels must be a mapping"),
    ("labels", ["a"], "labels must be a mapping"),
    ("activation", "relu", "activation must be softmax or sigmoid, found 'relu'"),
    ("activation", ["softmax"], "activation must be softmax or sigmoid"),
    ("normalization", "minmax", "normalization must be nonzero_zscore or none"),
    ("orientation", "RAP", "orientation must be axis codes"),
    ("orientation", "ras", "orientation must be axis codes"),
    ("blending", {}, "blending must be"),
    ("blending", {"scheme": "nnunet", "mode": "gaussian", "sigma_scale": 0.125}, "blending must be"),
    ("blending", {"scheme": "monai", "mode": "gaussian", "sigma_scale": float("nan")}, "NaN is no number"),
    ("blending", {"scheme": "monai", "mode": "gaussian", "sigma_scale": True}, "blending must be"),
    ("window", [1024, 1024, 1024], "of at most 512^3 voxels"),
    ("blending", {"scheme": "monai", "mode": "gaussian", "sigma_scale": "wide"}, "blending must be"),
    ("precision", "int3", "precision must be float32"),
    ("spacing", {}, "spacing must be null, or {low, high: three millimetres each"),
    ("spacing", [1, 1, 1], "spacing must be"),
    ("spacing", {"low": [1, 1, 1]}, "spacing must be"),
    ("spacing", {"low": [1, 1], "high": [1, 1]}, "spacing must be"),
    ("spacing", {"low": [1, 1, 0], "high": [1, 1, 1]}, "spacing must be"),
    ("spacing", {"low": [1, 1, -1], "high": [1, 1, 1]}, "spacing must be"),
    ("spacing", {"low": [2, 1, 1], "high": [1, 1, 1]}, "spacing must be"),
    ("spacing", {"low": [1, 1, "1"], "high": [1, 1, 1]}, "spacing must be"),
    ("spacing", {"low": [1, 1, True], "high": [1, 1, 1]}, "spacing must be"),
    ("spacing", {"low": [1, 1, 1], "high": [1, 1, 1e300]}, "spacing must be"),
    ("spacing", {"low": [1, 1, 1], "high": [1, 1, 1], "middle": [1, 1, 1]}, "spacing must be"),
    ("parity", None, "parity must be a mapping"),
    ("sha256", "ABC", "sha256 must be 64 lower-case hexadecimal digits"),
    ("created_by", 3, "created_by must be a line of text"),
]


def rewrite(artifact, **changes):
    path = manifest_path(artifact)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(artifact):
    manifest = describe(artifact, labels={"a": 3, "b": 300}, orientation="LPS", config={"dims": [1, 2]})
    assert read_manifest(artifact) == manifest
    assert manifest.window == (8, 6, 7)
    assert list(manifest.labels) == ["a", "b"]


@pytest.mark.parametrize(("field", "value", "message"), WRONG_FIELDS)
def test_a_wrong_field_is_named(artifact, field, value, message):
    rewrite(artifact, **{field: value})
    with pytest.raises(ArtifactError) as caught:
        read_manifest(artifact)
    assert message in str(caught.value)
    assert str(manifest_path(artifact)) in str(caught.value)


LINEAR = {"order": 1, "separate_z": "auto", "order_z": 0}
RESAMPLING = {"spacing": [None, 1.0, 0.5], "image": LINEAR | {"order": 3}, "logits": LINEAR}
# One level of one channel: 2 * (27 + 2) numbers of the blocks, 2 of the head.
BRAIN_MASK = {
    "spacing": 3.0,
    "threshold": 0.5,
    "widths": [1],
    "weights": base64.b64encode(bytes(120)).decode(),
}
EDGE = {"threshold": 0.3, "reach": 3, "darkest": 0.7, "brightest": 1.2, "depth": 5.5, "axes": [0, 2]}
NOT_A_NUMBER = base64.b64encode(b"\xff" * 120).decode()
FORMAT_2 = {
    "normalization": [{"scheme": "ct", "mean": 1.5, "std": 2.0, "low": -1, "high": 4}],
    "orientation": "ZYX",
    "blending": {"scheme": "nnunet", "mode": "gaussian", "sigma_scale": 0.125},
    "brain_mask": BRAIN_MASK | {"edge": EDGE},
    "plausible_ml": {"class1": [0, 12.5]},
    "crop": "nonzero",
    "resampling": RESAMPLING,
    "sums": "float16",
    "folds": 3,
    "mirror_axes": [0, 2],
    "file_ending": ".nii",
}
WRONG_IN_FORMAT_2 = [
    (
        "normalization",
        [{"scheme": "mine"}],
        "normalization must be nonzero_zscore or none, or for each channel",
    ),
    ("normalization", [{"scheme": "ct"}], "normalization must be"),
    ("normalization", [{"scheme": "zscore", "mean": 1}], "normalization must be"),
    ("normalization", [FORMAT_2["normalization"][0] | {"std": -1}], "normalization must be"),
    ("normalization", [FORMAT_2["normalization"][0] | {"low": 9}], "normalization must be"),
    ("normalization", [], "normalization must be"),
    ("normalization", [{"scheme": "none"}] * 2, "one entry for each of the 1 channels"),
    ("orientation", "ZZX", "orientation must be axis codes such as RAS, or the file's own axes"),
    ("orientation", ["Z", "Y", "X"], "orientation must be"),
    ("blending", FORMAT_2["blending"] | {"scheme": "mine"}, "blending must be {scheme: monai or nnunet"),
    ("brain_mask", {}, "brain_mask must be null, or {spacing"),
    ("brain_mask", BRAIN_MASK | {"spacing": 0}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"spacing": True}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"threshold": 1}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"widths": []}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"widths": [2]}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"widths": [10**6]}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"widths": [1] * 7}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"weights": "?" * 160}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"weights": "AAAA"}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"weights": NOT_A_NUMBER}, "brain_mask must be"),
    ("brain_mask", BRAIN_MASK | {"rim": EDGE}, "brain_mask must be"),
    *(
        ("brain_mask", BRAIN_MASK | {"edge": edge}, "brain_mask must be null, or {spacing")
        for edge in (
            None,
            {},
            EDGE | {"threshold": 0},
            EDGE | {"threshold": 0.6},
            EDGE | {"reach": -1},
            EDGE | {"reach": 1e9},
            EDGE | {"depth": None},
            EDGE | {"darkest": "0.7"},
            EDGE | {"brightest": 11},
            EDGE | {"axes": 0},
            EDGE | {"axes": [0, 0]},
            EDGE | {"axes": [3]},
            EDGE | {"axes": [True]},
            EDGE | {"more": 1},
        )
    ),
    ("plausible_ml", [1, 2], "plausible_ml must be null, or for some labels"),
    ("plausible_ml", {"class1": [2, 1]}, "plausible_ml must be"),
    ("plausible_ml", {"class1": [-1, 1]}, "plausible_ml must be"),
    ("plausible_ml", {"class1": 3}, "plausible_ml must be"),
    ("plausible_ml", {"class9": [0, 1]}, "plausible_ml must name labels of the model, found 'class9'"),
    ("crop", "all", "crop must be null or nonzero"),
    ("resampling", {}, "resampling must be null, or {spacing"),
    ("resampling", RESAMPLING | {"spacing": [1, None, 1]}, "resampling must be"),
    ("resampling", RESAMPLING | {"spacing": [1, 0, 1]}, "resampling must be"),
    ("resampling", RESAMPLING | {"logits": LINEAR | {"order": 3}}, "resampling must be"),
    ("resampling", RESAMPLING | {"image": LINEAR | {"separate_z": "often"}}, "resampling must be"),
    ("resampling", RESAMPLING | {"image": LINEAR | {"order_z": True}}, "resampling must be"),
    ("sums", "float64", "sums must be null or float32 or float16"),
    ("sums", ["float16"], "sums must be"),
    ("folds", 1, "folds must be null or a whole number from 2 to 100"),
    ("folds", 101, "folds must be"),
    ("folds", 2.0, "folds must be"),
    ("folds", True, "folds must be"),
    ("mirror_axes", [3], "mirror_axes must be different axes among 0, 1, 2"),
    ("mirror_axes", [0, 0], "mirror_axes must be"),
    ("mirror_axes", 1, "mirror_axes must be"),
    ("regions", {"class0": [1], "class1": [2]}, "regions must have the names of labels, of a sigmoid model"),
    ("regions", {"class0": []}, "regions must be null, or for each sigmoid channel"),
    ("file_ending", ".mhd", "file_ending must be null or .nii.gz or .nii or .mha or .nrrd or .gipl"),
]


def test_format_2_is_written_where_format_1_cannot_say_it(artifact):
    for name, value in FORMAT_2.items():
        manifest = describe(artifact, **{name: value})
        assert (
            manifest.format_version == json.loads(manifest_path(artifact).read_text())["format_version"] == 2
        )
        assert read_manifest(artifact) == manifest
    manifest = describe(artifact, **FORMAT_2)
    assert read_manifest(artifact) == manifest
    assert manifest.mirror_axes == (0, 2)


def test_format_1_is_still_written_where_it_can(artifact):
    manifest = describe(artifact)
    entries = json.loads(manifest_path(artifact).read_text())
    assert manifest.format_version == entries["format_version"] == 1
    assert not {*FORMAT_2, "regions"} - {"normalization", "orientation", "blending"} & entries.keys()


@pytest.mark.parametrize("name", FORMAT_2)
def test_entries_of_format_2_are_refused_in_format_1(name, artifact):
    describe(artifact, **FORMAT_2)
    rewrite(artifact, format_version=1)
    with pytest.raises(ArtifactError, match=f"{name} must be "):
        read_manifest(artifact)


@pytest.mark.parametrize(("field", "value", "message"), WRONG_IN_FORMAT_2)
def test_a_wrong_field_of_format_2_is_named(artifact, field, value, message):
    describe(artifact, **FORMAT_2)
    rewrite(artifact, **{field: value})
    with pytest.raises(ArtifactError) as caught:
        read_manifest(artifact)
    assert message in str(caught.value)


def test_every_wrong_field_has_its_sentence(artifact):
    rewrite(artifact, window=[1], parity=3)
    with pytest.raises(ArtifactError, match=r"window must be .*; parity must be .*Export the model again"):
        read_manifest(artifact)


def test_an_edited_value_is_noticed(artifact):
    rewrite(artifact, labels={"class0": 1, "class1": 0})
    with pytest.raises(ArtifactError, match=r"was edited: expected the seal [0-9a-f]{64}.*Export the model"):
        read_manifest(artifact)


@pytest.mark.parametrize("seal", [None, "", 3, ["a"]])
def test_a_damaged_seal(artifact, seal):
    rewrite(artifact, seal=seal)
    with pytest.raises(ArtifactError, match="was edited"):
        read_manifest(artifact)


def test_spacing_is_no_edit(artifact):
    path = manifest_path(artifact)
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert read_manifest(artifact).window == (8, 6, 7)


def test_missing_and_unknown_fields(artifact):
    path = manifest_path(artifact)
    entries = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in entries.items() if k not in ("labels", "blending")}))
    with pytest.raises(ArtifactError, match="lacks blending, labels"):
        read_manifest(artifact)
    path.write_text(json.dumps(entries | {"windows": 1}))
    with pytest.raises(ArtifactError, match="unknown fields 'windows'"):
        read_manifest(artifact)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds a list, expected a JSON object"),
        (b"3", "holds a int, expected a JSON object"),
    ],
)
def test_what_is_no_manifest(artifact, content, message):
    manifest_path(artifact).write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_manifest(artifact)


def test_missing_files(artifact):
    manifest_path(artifact).unlink()
    with pytest.raises(ArtifactError, match=r"no manifest at .*keep the two files together"):
        read_manifest(artifact)
    artifact.unlink()
    with pytest.raises(ArtifactError, match="no model at"):
        read_manifest(artifact)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content[:-1] + b"\0"])
def test_an_edited_artifact_shows_both_hashes(artifact, change):
    recorded = sha256_of(artifact)
    artifact.write_bytes(change(artifact.read_bytes()))
    with pytest.raises(ArtifactError, match=f"expected SHA-256 {recorded}, found {sha256_of(artifact)}"):
        read_manifest(artifact)


def test_a_manifest_that_is_not_json_is_not_written(artifact):
    before = manifest_path(artifact).read_bytes()
    manifest = read_manifest(artifact)
    manifest.parity["random"] = float("inf")
    with pytest.raises(OutputError, match="must be plain JSON"):
        write_manifest(artifact, manifest)
    assert manifest_path(artifact).read_bytes() == before
    assert sorted(os.listdir(artifact.parent)) == ["model.onnx", "model.onnx.json"]
