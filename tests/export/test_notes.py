"""Notes: said once, kept in the manifest, shown by info and by the command line."""

import json
import warnings

import pytest

import msdk_rt
from msdk_export.notes import collecting, note, record
from msdk_rt.artifact.manifest import manifest_path, read_manifest
from msdk_rt.artifact.notes import LONGEST_NOTE, MOST_NOTES, ExportWarning
from msdk_rt.commands import info, main
from msdk_rt.errors import ArtifactError
from tests.support.small_model import write_artifact


def test_a_note_is_a_warning_and_is_kept_once():
    with warnings.catch_warnings(record=True) as said, collecting() as notes:
        warnings.simplefilter("always")
        note("the weights do not tell\n their age")
        note("the weights do not tell their age")
        record("seen twice")
        assert not record("seen twice")

    assert notes == ["the weights do not tell their age", "seen twice"]
    assert [str(warning.message) for warning in said] == notes[:1]
    assert (said[0].category, said[0].filename) == (ExportWarning, __file__)


def test_exports_inside_one_another_keep_their_own_notes():
    with warnings.catch_warnings(record=True), collecting() as outer:
        with collecting() as inner:
            note("inner")
        note("outer")
    assert (outer, inner) == (["outer"], ["inner"])


def test_a_note_outside_an_export_is_a_warning_alone():
    with pytest.warns(ExportWarning, match="alone"):
        note("alone")


def test_what_a_hostile_file_says_fits_a_manifest(tmp_path):
    with warnings.catch_warnings(record=True), collecting() as notes:
        for index in range(MOST_NOTES + 5):
            note(f"{index} \x1b[2J" + "x" * LONGEST_NOTE)

    write_artifact(tmp_path / "model.onnx", notes=tuple(notes))
    assert read_manifest(tmp_path / "model.onnx").notes == tuple(notes)


def test_the_manifest_has_notes_only_where_there_are_some(tmp_path, capsys):
    """So that a runtime from before there were notes reads what has none."""
    plain, noted = tmp_path / "plain.onnx", tmp_path / "noted.onnx"
    write_artifact(plain)
    write_artifact(noted, notes=("one thing", "another"))

    assert "notes" not in json.loads(manifest_path(plain).read_text())
    assert read_manifest(plain).notes == ()
    assert "note " not in info.describe(plain, read_manifest(plain))
    assert read_manifest(noted).notes == ("one thing", "another")
    assert main.main(["info", str(noted)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines[-2:]] == [["note", "one thing"], ["note", "another"]]


@pytest.mark.parametrize("notes", ["text", [""], [1], ["two\nlines"], ["x" * 2001], ["x"] * 101])
def test_notes_that_no_export_wrote_are_refused(tmp_path, notes):
    write_artifact(tmp_path / "model.onnx")
    path = manifest_path(tmp_path / "model.onnx")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": notes}))

    with pytest.raises(ArtifactError, match="notes must be a list of at most 100 sentences"):
        read_manifest(tmp_path / "model.onnx")


def test_the_command_line_says_each_note_in_a_line(tmp_path, capsys, monkeypatch):
    def export(*args, **options):
        note("the weights do not tell nslices")
        warnings.warn("something else", UserWarning, stacklevel=1)
        raise msdk_rt.ExportError("enough")

    monkeypatch.setattr(msdk_rt, "export", export)

    with pytest.warns(UserWarning, match="something else"):
        assert main.main(["export", "weights.pt", str(tmp_path / "model.onnx"), "--quiet"]) == 1

    assert capsys.readouterr().err.splitlines() == [
        "msdk-rt: warning: the weights do not tell nslices",
        "msdk-rt: enough",
    ]
