"""The volume kernels on the emulator, under AddressSanitizer and UBSan, against the runtime's NumPy path.

The checks are those that `make gpu-check` runs on a GPU (tests/gpu/volume_checks.py). They run in a
separate process, into which the sanitizer is loaded first.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EMULATOR, GPU, VOLUME = ROOT / "tests/cuda_emulator", ROOT / "tests/gpu", ROOT / "plugins/volume"
COMPILER = os.environ.get("CXX", "g++")
FLAGS = ["-std=gnu++17", "-O1", "-g1", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
         "-Wno-unknown-pragmas", f"-I{EMULATOR}", f"-I{VOLUME.parent}"]  # fmt: skip


def compiled(source, folder):
    made = folder / f"{source.name}.o"
    subprocess.run([COMPILER, *FLAGS, "-x", "c++", "-c", source, "-o", made], check=True)
    return made


def link(objects, library):
    subprocess.run([COMPILER, *FLAGS, "-shared", *objects, "-o", library], check=True)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Object files by the name of their source; the library of device memory beside them."""
    folder = tmp_path_factory.mktemp("emulated")
    sources = [EMULATOR / "emulator.cpp", GPU / "device.cu", *sorted(VOLUME.glob("*.cu"))]
    made = {source.name: compiled(source, folder) for source in sources}
    link([made["emulator.cpp"], made.pop("device.cu")], folder / "libcheck_device.so")
    return made


def run_checks(folder, seed=0):
    sanitizer = subprocess.check_output([COMPILER, "-print-file-name=libasan.so"], text=True).strip()
    environment = {**os.environ, "LD_PRELOAD": sanitizer, "ASAN_OPTIONS": "detect_leaks=0"}
    if seed:
        environment["CUDA_EMULATOR_SEED"] = str(seed)
    command = [sys.executable, "-m", "tests.gpu.emulated", folder]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def libraries(objects, folder):
    """`folder` with both libraries in it."""
    device = objects["emulator.cpp"].parent / "libcheck_device.so"
    (folder / device.name).symlink_to(device)
    link(objects.values(), folder / "libmsdk_volume.so")
    return folder


@pytest.mark.parametrize("seed", [0, 7])
def test_volume_kernels_do_what_numpy_does(objects, tmp_path, seed):
    done = run_checks(libraries(objects, tmp_path), seed)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 9


PLANTED_BUGS = {
    "mirrored off by one": (
        "windows.cu",
        "w = side[2] - 1 - w",
        "w = side[2] - w",
        "AddressSanitizer|AssertionError",
    ),
    "overflow": ("windows.cu", "w >= 0 && w < box.volume[2]", "w >= 0", "AddressSanitizer|AssertionError"),
    "index in 32 bits": (
        "windows.cu",
        "within ? (d * box.volume[1] + h) * box.volume[2] + w",
        "within ? static_cast<int>((d * box.volume[1] + h) * box.volume[2] + w)",
        "AddressSanitizer|AssertionError",
    ),
    "missing barrier": ("normalize.cu", "    }\n    __syncthreads();\n", "    }\n", "AssertionError"),
    "unwritten tail": ("normalize.cu", "i < voxels; i +=", "i + 1 < voxels; i +=", "AssertionError"),
    "tie goes to the last": (
        "labels.cu",
        "if (logit > best) value",
        "if (logit >= best) value",
        "AssertionError",
    ),
}


@pytest.mark.parametrize("bug", PLANTED_BUGS)
def test_a_planted_bug_is_caught(bug, objects, tmp_path):
    name, right, wrong, report = PLANTED_BUGS[bug]
    source = (VOLUME / name).read_text()
    assert right in source, "the planted bug's place is gone: plant it again"
    (tmp_path / name).write_text(source.replace(right, wrong))
    broken = {**objects, name: compiled(tmp_path / name, tmp_path)}
    done = run_checks(libraries(broken, tmp_path), seed=7)
    assert done.returncode != 0
    assert any(word in done.stderr for word in report.split("|")), done.stderr
