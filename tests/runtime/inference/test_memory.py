"""How much memory there is: what the machine says, and the smaller limit of a container."""

import nibabel
import numpy as np
import pytest

from msdk_rt.errors import InputError
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.inference import memory


def test_this_machine_says_it():
    assert memory.available_memory() > 1 << 20


@pytest.mark.parametrize(
    ("limit", "meminfo", "expected"),
    [
        ("max\n", "MemTotal: 9 kB\nMemAvailable:   7 kB\nBuffers: 3 kB\n", 7 * 1024),
        ("4096\n", "MemAvailable: 7 kB\n", 4096),
        ("99999\n", "MemAvailable: 7 kB\n", 7 * 1024),
        (None, None, None),
        ("", "", None),
    ],
)
def test_the_smaller_limit_counts(tmp_path, monkeypatch, limit, meminfo, expected):
    for name, text in (("CGROUP_LIMIT", limit), ("MEMINFO", meminfo)):
        monkeypatch.setattr(memory, name, tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    assert memory.available_memory() == expected


def test_a_volume_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    nibabel.save(nibabel.Nifti1Image(np.zeros((50, 40, 30), np.int16), np.eye(4)), tmp_path / "a.nii")
    assert read_volume([tmp_path / "a.nii"]).data.shape == (1, 50, 40, 30)
    monkeypatch.setattr("msdk_rt.imaging.voxels.available_memory", lambda: 300_000)
    with pytest.raises(InputError, match=r"takes 0.00036 GB of memory, 0.0003 GB are free.*crop or resample"):
        read_volume([tmp_path / "a.nii"])
