"""How many threads an inference gets: what the process may use, by affinity and by every cgroup around it."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest

import msdk_rt
from msdk_rt.backends import processors
from msdk_rt.backends.onnxruntime import VERSION, open_session, spinning
from msdk_rt.backends.processors import cgroup_quota, physical_cores, threads_for, usable_processors
from tests.support.cgroups import HYBRID, V1, V2, machine
from tests.support.terminal import OnTerminal


def quota_v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    base = f"cpu,cpuacct/{folder}".rstrip("/")
    return {f"{base}/cpu.cfs_quota_us": f"{quota}\n", f"{base}/cpu.cfs_period_us": f"{period}\n"}


TREES = {
    "no cgroups": ("", "", {}, None),
    "v2, no limit": ("0::/\n", V2, {"cpu.max": "max 100000\n"}, None),
    "v2": ("0::/job\n", V2, {"job/cpu.max": "150000 100000\n"}, 1.5),
    "v2, another period": ("0::/job\n", V2, {"job/cpu.max": "200000 50000\n"}, 4),
    "v2, the limit is outside": (
        "0::/kube/pod/c\n",
        V2,
        {
            "kube/cpu.max": "300000 100000",
            "kube/pod/cpu.max": "max 100000",
            "kube/pod/c/cpu.max": "max 100000",
        },
        3,
    ),
    "v2, the least of three": (
        "0::/a/b/c\n",
        V2,
        {"a/cpu.max": "400000 100000", "a/b/cpu.max": "200000 100000", "a/b/c/cpu.max": "300000 100000"},
        2,
    ),
    "v2, in a container's own namespace": ("0::/\n", V2, {"cpu.max": "50000 100000"}, 0.5),
    "v2, a path outside what is mounted": ("0::/../../x\n", V2, {"cpu.max": "100000 100000"}, 1),
    "v2, a sibling's limit": ("0::/a\n", V2, {"b/cpu.max": "100000 100000"}, None),
    "v1": ("4:cpu,cpuacct:/job\n", V1.format(root="/"), quota_v1("job", 250_000), 2.5),
    "v1, no limit": ("4:cpu,cpuacct:/job\n", V1.format(root="/"), quota_v1("job", -1), None),
    "v1, order of controllers": ("4:cpuacct,cpu:/job\n", V1.format(root="/"), quota_v1("job", 100_000), 1),
    "v1, nested": (
        "4:cpu,cpuacct:/slurm/job/step\n",
        V1.format(root="/"),
        quota_v1("slurm/job", 400_000) | quota_v1("slurm/job/step", -1) | quota_v1("slurm", -1),
        4,
    ),
    "v1, Docker's path, mounted at its own folder": (
        "4:cpu,cpuacct:/docker/abc\n",
        V1.format(root="/docker/abc"),
        quota_v1("", 200_000),
        2,
    ),
    "v1 for processors, v2 for the rest": (
        "4:cpu,cpuacct:/job\n0::/job\n",
        HYBRID,
        quota_v1("job", 300_000),
        3,
    ),
    "both limit": (
        "4:cpu,cpuacct:/job\n0::/job\n",
        HYBRID,
        quota_v1("job", 300_000) | {"unified/job/cpu.max": "100000 100000"},
        1,
    ),
    "another controller's cgroup": ("5:memory:/job\n", V1.format(root="/"), quota_v1("job", 100_000), None),
    "a name with cpu in it": ("5:cpuset:/job\n", V1.format(root="/"), quota_v1("job", 100_000), None),
    "a colon in a name": ("0::/a:b\n", V2, {"a:b/cpu.max": "200000 100000"}, 2),
    "damaged": ("0::/job\nrubbish\n:\n", "rubbish\n" + V2, {"job/cpu.max": "much\n"}, None),
    "a period of 0": ("0::/job\n", V2, {"job/cpu.max": "100000 0\n"}, None),
}


@pytest.mark.parametrize(("cgroup", "mountinfo", "files", "quota"), TREES.values(), ids=TREES)
def test_quota_of_every_cgroup_around(tmp_path, cgroup, mountinfo, files, quota):
    assert cgroup_quota(machine(tmp_path, cgroup, mountinfo, **files)) == quota


@pytest.mark.parametrize(
    ("allowed", "maximum", "expected"),
    [
        (range(8), "max 100000", 8),
        (range(8), "300000 100000", 3),
        (range(8), "150000 100000", 2),
        (range(8), "10000 100000", 1),
        (range(2), "800000 100000", 2),
        ([5], "max 100000", 1),
    ],
)
def test_usable_is_the_least_of_affinity_and_quota(monkeypatch, tmp_path, allowed, maximum, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(allowed))
    root = machine(tmp_path, "0::/job\n", V2, **{"job/cpu.max": maximum})
    assert usable_processors(root) == expected


@pytest.mark.parametrize(
    ("allowed", "siblings", "expected"),
    [
        (range(8), ["0,4", "1,5", "2,6", "3,7"] * 2, 4),
        ([0, 4], ["0,4", "1,5", "2,6", "3,7"] * 2, 1),
        ([0, 1, 6], ["0,4", "1,5", "2,6", "3,7"] * 2, 3),
        (range(4), [], 4),
    ],
)
def test_physical_cores(monkeypatch, tmp_path, allowed, siblings, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(allowed))
    for processor, cores in enumerate(siblings):
        topology = tmp_path / f"sys/devices/system/cpu/cpu{processor}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cores}\n")
    assert physical_cores(tmp_path) == expected


@pytest.mark.parametrize("asked", [3, 8, 32, 2720, 100_000, 10**12])
def test_more_than_may_be_used_is_lowered_with_a_warning(monkeypatch, asked):
    monkeypatch.setattr(processors, "usable_processors", lambda: 2)
    with pytest.warns(msdk_rt.InputWarning, match=f"{asked} threads were asked for.*may use 2 processor"):
        assert threads_for(asked) == 2


def test_as_many_as_may_be_used_are_taken_as_asked(monkeypatch):
    monkeypatch.setattr(processors, "usable_processors", lambda: 4)
    monkeypatch.setattr(processors, "physical_cores", lambda: 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [threads_for(count) for count in (1, 3, 4, None)] == [1, 3, 4, 4]


@pytest.mark.parametrize("asked", [None, 1, 100_000])
def test_a_session_gets_them(monkeypatch, artifact, asked):
    monkeypatch.setattr(processors, "usable_processors", lambda: 3)
    monkeypatch.setattr(processors, "physical_cores", lambda: 2)
    expected = {None: 2, 1: 1, 100_000: 3}[asked]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", msdk_rt.InputWarning)
        session = open_session(artifact, ["CPUExecutionProvider"], asked)
    options = session.get_session_options()
    assert options.intra_op_num_threads == expected
    name, value = spinning(VERSION)
    assert options.get_session_config_entry(name) == value


def test_spinning_is_bounded_or_off():
    assert spinning("1.32.0") == spinning("1.26.0+cu12") == ("session.intra_op.spin_duration_us", "200")
    assert spinning("2.0.1") == ("session.intra_op.spin_duration_us", "200")
    assert spinning("1.20.1") == spinning("1.25.0") == ("session.intra_op.allow_spinning", "0")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="threads are counted in /proc")
def test_sigterm_ends_a_run_that_asked_for_100_000(tmp_path, artifact):
    volume = np.random.default_rng(0).gamma(2, 100, (160, 160, 160)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "scan.nii")
    code = "from msdk_rt.commands.main import main; raise SystemExit(main())"
    arguments = ["run", artifact, tmp_path / "scan.nii", "-o", tmp_path / "out.nii.gz", "--overlap", "0.9"]
    running = OnTerminal([sys.executable, "-c", code, *arguments, "--threads", "100000"])
    running.wait_for("window/s")
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    threads = int(status.partition("Threads:")[2].split()[0])
    running.process.send_signal(signal.SIGTERM)
    began = time.perf_counter()
    assert running.ended() == 1
    print(f"{threads} threads, ended {time.perf_counter() - began:.1f} s after SIGTERM")
    assert threads < 40
    assert "100000 threads were asked for" in running.shown
    assert "interrupted" in running.shown
    assert not (tmp_path / "out.nii.gz").exists()
