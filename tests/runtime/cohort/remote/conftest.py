"""An S3 store with scans in it, and a folder for temporary files that must be empty in the end."""

import tempfile

import pytest

from tests.runtime.cohort.folders import write_scan
from tests.support.object_store import object_store

COUNT = 5


@pytest.fixture
def store():
    with object_store() as opened:
        yield opened


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for index in range(COUNT):
        write_scan(folder / f"{index}.nii.gz", index)
    return folder


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
