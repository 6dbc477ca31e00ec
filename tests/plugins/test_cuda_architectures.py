"""For which architectures CMake compiles the CUDA kernels: plugins/cmake/CudaArchitectures.cmake."""

import shutil
import subprocess
from pathlib import Path

import pytest

ARCHITECTURES = Path(__file__).resolve().parents[2] / "plugins" / "cmake" / "CudaArchitectures.cmake"
NEWEST = "75-real;80-real;86-real;87-real;89-real;90-real;100-real;110-real;120"
# What `nvcc --list-gpu-arch` prints.
CUDA_13 = "".join(f"compute_{n}\n" for n in (75, 80, 86, 87, 88, 89, 90, 100, 110, 103, 120, 121))
CUDA_12_6 = "".join(f"compute_{n}\n" for n in (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90))


def result_of(function, text, folder):
    script = folder / "script.cmake"
    script.write_text(
        f'include("{ARCHITECTURES}")\n{function}(out [==[{text}]==])\nmessage(NOTICE "got ${{out}}")\n'
    )
    done = subprocess.run(["cmake", "-P", script], capture_output=True, text=True)
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (CUDA_13, f"got {NEWEST}"),
        (CUDA_12_6, "got 75-real;80-real;86-real;87-real;89-real;90"),
        ("compute_70\ncompute_72\n", "expected some of compute_75 to compute_120, got 'compute_70"),
        ("", "Install CUDA 11.8 or newer"),
    ],
)
def test_all_means_what_the_compiler_knows(listed, expected, tmp_path):
    assert expected in " ".join(result_of("msdk_all_architectures", listed, tmp_path).split())


@pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is not on PATH")
def test_the_compiler_here_knows_them(tmp_path):
    listed = subprocess.run(["nvcc", "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    assert result_of("msdk_all_architectures", listed, tmp_path).startswith("got 75-real;80-real;86-real;87")


@pytest.mark.parametrize(
    ("compatible", "expected"),
    [
        ("nvidia,p3737-0000+p3701-0005;nvidia,p3701-0005;nvidia,tegra234", "got 87"),
        ("nvidia,p3971-0089+p3834-0008;nvidia,tegra264", "got 110"),
        ("raspberrypi,5-model-b;brcm,bcm2712", "got"),
    ],
)
def test_a_jetson_is_known_by_its_chip(compatible, expected, tmp_path):
    assert result_of("msdk_tegra_architecture", compatible, tmp_path) == expected
