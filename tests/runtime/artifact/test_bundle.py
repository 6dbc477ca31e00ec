"""A model in one file: the same model as the pair, and refused where it is not what was written."""

import json
import struct
import tempfile
import zipfile

import numpy as np
import pytest

from msdk_rt import Segmenter
from msdk_rt.artifact.bundle import write_bundle
from msdk_rt.commands.main import main
from msdk_rt.errors import ArtifactError, MsdkError
from tests.runtime.cohort.folders import run, write_scan

TEXTS = {"CARD.md": "# Card\n\nTrained on noise.\n", "LICENSE": "CC0\n"}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Whatever happens, nothing unpacked is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def bundle(artifact, tmp_path):
    path = tmp_path / "one.msdk"
    write_bundle(artifact, path, TEXTS, [write_scan(tmp_path / "sample.nii.gz")])
    return path


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_it_is_the_same_model(bundle, artifact, tmp_path):
    assert list(members_of(bundle)) == [
        *("model.onnx", "model.onnx.json", "CARD.md", "LICENSE", "sample_0000.nii.gz", "SHA256SUMS")
    ]
    scan = write_scan(tmp_path / "scan.nii.gz", 3)
    with Segmenter(bundle, threads=1) as one, Segmenter(artifact, threads=1) as pair:
        assert one.manifest == pair.manifest
        np.testing.assert_array_equal(one.run(scan).labels, pair.run(scan).labels)


def test_the_same_content_gives_the_same_bytes(bundle, artifact, tmp_path):
    write_bundle(artifact, tmp_path / "again.msdk", TEXTS, [tmp_path / "sample.nii.gz"])
    assert (tmp_path / "again.msdk").read_bytes() == bundle.read_bytes()


def test_results_of_the_pair_are_kept(bundle, artifact, tmp_path, capsys):
    scan = write_scan(tmp_path / "scan.nii.gz")
    assert run(artifact, scan, "-o", tmp_path / "out.nii.gz") == 0
    assert run(bundle, scan, "-o", tmp_path / "out.nii.gz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cases"][0]["kept"]


def test_info_shows_card_and_licence(bundle, capsys):
    assert main(["info", str(bundle)]) == 0
    shown = capsys.readouterr().out
    assert str(bundle) in shown
    assert "family            small" in shown
    assert shown.endswith("# Card\n\nTrained on noise.\n\nCC0\n")


def test_bench_takes_it(bundle, capsys):
    assert (
        main(
            [
                "bench",
                str(bundle),
                "--volumes",
                "0",
                "--seconds",
                "0.1",
                "--warm-up",
                "0",
                "--limit",
                "1",
                "--quiet",
            ]
        )
        == 0
    )


def without(name):
    return lambda members: {key: value for key, value in members.items() if key != name}


def changed(name, content):
    return lambda members: members | {name: content}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (changed("../evil.py", b"1"), "holds '../evil.py', which no msdk-rt export put there"),
        (changed("/etc/cron.d/evil", b"1"), "holds '/etc/cron.d/evil', which no"),
        (changed("C:\\evil.py", b"1"), "which no msdk-rt export put there"),
        (changed("weights.bin", b"1"), "holds 'weights.bin', which no"),
        (changed("sample_0000.nii.gz/", b""), "which no msdk-rt export put there"),
        (changed("sample_0001.nii.gz", b"1"), "SHA256SUMS does not list what it holds"),
        (changed("model.onnx", b"other"), "model.onnx is not the file that SHA256SUMS lists"),
        (changed("CARD.md", b"other"), "CARD.md is not the file that SHA256SUMS lists"),
        (changed("LICENSE", b" " * (1 << 21)), "LICENSE has 2097152 bytes, expected at most"),
        (changed("SHA256SUMS", b""), "SHA256SUMS does not list what it holds"),
        (changed("SHA256SUMS", b"\xff" * 99), "SHA256SUMS does not list what it holds"),
        (without("SHA256SUMS"), "or lacks SHA256SUMS"),
        (without("LICENSE"), "SHA256SUMS does not list what it holds"),
    ],
)
def test_what_was_changed_is_refused(change, told, bundle, tmp_path):
    path = write(tmp_path / "bad.msdk", change(members_of(bundle)))
    with pytest.raises(ArtifactError) as refused:
        Segmenter(path)
    assert told in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_model_that_its_list_fits_but_its_manifest_does_not(bundle, tmp_path):
    """Whoever can write the list can fit it to any model; the manifest's own hash is checked too."""
    import hashlib

    members = members_of(bundle)
    old = hashlib.sha256(members["model.onnx"]).hexdigest()
    members["model.onnx"] = members["model.onnx"][:-1] + b"\0"
    new = hashlib.sha256(members["model.onnx"]).hexdigest()
    members["SHA256SUMS"] = members["SHA256SUMS"].replace(old.encode(), new.encode())
    with pytest.raises(ArtifactError, match="is not the file its manifest describes"):
        Segmenter(write(tmp_path / "bad.msdk", members))


def test_a_bomb_is_refused_before_it_is_unpacked(bundle, tmp_path):
    members = members_of(bundle) | {"LICENSE": bytes(64 << 20)}
    path = write(tmp_path / "bomb.msdk", members, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ArtifactError, match="compressed or encrypted, expected it stored"):
        Segmenter(path)


def test_a_size_that_is_not_true_is_refused(bundle, tmp_path):
    """The directory says that the model has 3 GB."""
    content = bytearray(bundle.read_bytes())
    entry = content.index(b"PK\x01\x02")
    for offset in (20, 24):
        content[entry + offset : entry + offset + 4] = struct.pack("<I", 3 << 30)
    (tmp_path / "bad.msdk").write_bytes(content)
    with pytest.raises(ArtifactError, match="says that it holds more than it is long"):
        Segmenter(tmp_path / "bad.msdk")


def test_wherever_it_is_cut_it_is_refused(bundle, tmp_path):
    content = bundle.read_bytes()
    path = tmp_path / "cut.msdk"
    for end in [*range(0, len(content), max(1, len(content) // 40)), len(content) - 1]:
        path.write_bytes(content[:end])
        with pytest.raises(ArtifactError, match=r"no whole \.msdk file"):
            Segmenter(path)


def test_wherever_a_byte_changes_it_is_the_same_model_or_refused(bundle, artifact, tmp_path):
    content = bundle.read_bytes()
    path = tmp_path / "flipped.msdk"
    random = np.random.default_rng(0)
    with Segmenter(artifact) as pair:
        manifest = pair.manifest
    refused = 0
    for place in random.integers(0, len(content), 120):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        try:
            with Segmenter(path) as found:
                assert found.manifest == manifest
        except MsdkError:
            refused += 1
    assert refused > 60


def test_a_missing_file_and_a_folder(tmp_path):
    (tmp_path / "folder.msdk").mkdir()
    for name in ("none.msdk", "folder.msdk"):
        with pytest.raises(ArtifactError, match="no model at"):
            Segmenter(tmp_path / name)
