"""What plugins/cuda/launch.cuh refuses when a kernel's launch is compiled."""

import os
import subprocess

import pytest

from tests.support.emulator_build import EMULATOR, ROOT

SOURCE = """
#include "cuda/launch.cuh"
struct Sizes { char bytes[BYTES]; };
__global__ void kernel(const Sizes, int*) {}
using namespace msdk::cuda;
const char* enqueue(int* out) { return launch(kernel, dim3(1), dim3(32), 0, nullptr, Sizes{}, out); }
"""


@pytest.mark.parametrize(("size", "refused"), [(4088, False), (4089, True)])
def test_parameters_that_no_launch_takes_do_not_compile(size, refused):
    command = [
        os.environ.get("CXX", "c++"),
        "-std=c++17",
        f"-DBYTES={size}",
        "-fsyntax-only",
        "-x",
        "c++",
        "-",
    ]
    command += [f"-I{EMULATOR}", f"-I{ROOT / 'plugins'}"]
    done = subprocess.run(command, input=SOURCE, capture_output=True, text=True)
    assert (done.returncode != 0) == refused, done.stderr
    assert ("a kernel's parameters are 4096 bytes at most" in done.stderr) == refused
