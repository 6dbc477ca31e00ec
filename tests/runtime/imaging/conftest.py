"""A place for a scan, compressed and not, and a volume from a sound file."""

import pytest

from tests.support.nifti_files import read, write


@pytest.fixture(params=[".nii", ".nii.gz"])
def path(tmp_path, request):
    return tmp_path / f"scan{request.param}"


@pytest.fixture
def sound(tmp_path):
    volume, said = read(write(tmp_path / "sound.nii"))
    assert said == []
    return volume
