"""How much memory there is: what the machine says, and the smaller limit of a cgroup around this process."""

import nibabel
import numpy as np
import pytest

from msdk_rt.backends.memory import available_memory
from msdk_rt.errors import InputError
from msdk_rt.imaging.volumes import read_volume
from tests.support.cgroups import HYBRID, V1, V2, machine


def test_this_machine_says_it():
    assert available_memory() > 1 << 20


MEMINFO = "MemTotal: 9 kB\nMemAvailable:   7 kB\nBuffers: 3 kB\n"


@pytest.mark.parametrize(
    ("limit", "meminfo", "expected"),
    [
        ("max\n", MEMINFO, 7 * 1024),
        ("4096\n", "MemAvailable: 7 kB\n", 4096),
        ("99999\n", "MemAvailable: 7 kB\n", 7 * 1024),
        (None, None, None),
        ("", "", None),
    ],
)
def test_the_smaller_limit_counts(tmp_path, limit, meminfo, expected):
    root = machine(tmp_path, "0::/\n", V2, **({} if limit is None else {"memory.max": limit}))
    if meminfo is not None:
        (root / "proc/meminfo").write_text(meminfo)
    assert available_memory(root) == expected


UNLIMITED = "9223372036854771712\n"  # as version 1 says it
TREES = {
    "v2, nested": ("0::/job\n", V2, {"job/memory.max": "4096\n"}, 4096),
    "v2, the limit is outside": (
        "0::/kube/pod/c\n",
        V2,
        {"kube/memory.max": "5000\n", "kube/pod/memory.max": "max\n", "kube/pod/c/memory.max": "max\n"},
        5000,
    ),
    "v2, the least of three": (
        "0::/a/b/c\n",
        V2,
        {"a/memory.max": "3000\n", "a/b/memory.max": "1000\n", "a/b/c/memory.max": "2000\n"},
        1000,
    ),
    "v2, a sibling's limit": ("0::/a\n", V2, {"b/memory.max": "1000\n"}, 7 * 1024),
    "v1": (
        "9:memory:/job\n",
        V1.format(root="/"),
        {"memory/memory.limit_in_bytes": UNLIMITED, "memory/job/memory.limit_in_bytes": "2048\n"},
        2048,
    ),
    "v1, no limit": (
        "9:memory:/job\n",
        V1.format(root="/"),
        {"memory/memory.limit_in_bytes": UNLIMITED, "memory/job/memory.limit_in_bytes": UNLIMITED},
        7 * 1024,
    ),
    "v1, Docker's path, mounted at its own folder": (
        "9:memory:/docker/abc\n",
        V1.format(root="/docker/abc"),
        {"memory/memory.limit_in_bytes": "2048\n"},
        2048,
    ),
    "v1, another controller's cgroup": (
        "4:cpu,cpuacct:/job\n",
        V1.format(root="/"),
        {"memory/job/memory.limit_in_bytes": "2048\n"},
        7 * 1024,
    ),
    "v1 for memory, v2 for the rest": (
        "9:memory:/job\n0::/job\n",
        HYBRID,
        {"memory/job/memory.limit_in_bytes": "2048\n"},
        2048,
    ),
}


@pytest.mark.parametrize(("cgroup", "mountinfo", "files", "expected"), TREES.values(), ids=TREES)
def test_limit_of_every_cgroup_around(tmp_path, cgroup, mountinfo, files, expected):
    root = machine(tmp_path, cgroup, mountinfo, **files)
    (root / "proc/meminfo").write_text(MEMINFO)
    assert available_memory(root) == expected


def test_a_volume_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    nibabel.save(nibabel.Nifti1Image(np.zeros((50, 40, 30), np.int16), np.eye(4)), tmp_path / "a.nii")
    assert read_volume([tmp_path / "a.nii"]).data.shape == (1, 50, 40, 30)
    monkeypatch.setattr("msdk_rt.imaging.voxels.available_memory", lambda: 300_000)
    with pytest.raises(InputError, match=r"takes 0.00036 GB of memory, 0.0003 GB are free.*crop or resample"):
        read_volume([tmp_path / "a.nii"])
