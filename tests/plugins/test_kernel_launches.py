"""What is refused when a kernel and its launch are compiled."""

import os
import subprocess

import pytest

from tests.support.emulator_build import EMULATOR, ROOT

SOURCE = """
#include "cuda/launch.cuh"
struct Sizes { char bytes[BYTES]; };
template <class T>
__global__ void __launch_bounds__(THREADS, BLOCKS) kernel(const Sizes, T*) {}
using namespace msdk::cuda;
const char* enqueue(int* out) { return launch(kernel<int>, dim3(1), dim3(32), 0, nullptr, Sizes{}, out); }
"""


def errors_of(size=8, threads=256, blocks=4):
    """The compiler's, none where it compiles."""
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-fsyntax-only", "-x", "c++", "-"]
    command += [f"-DBYTES={size}", f"-DTHREADS={threads}", f"-DBLOCKS={blocks}"]
    command += [f"-I{EMULATOR}", f"-I{ROOT / 'plugins'}"]
    done = subprocess.run(command, input=SOURCE, capture_output=True, text=True)
    assert (done.returncode == 0) == ("error" not in done.stderr)
    return done.stderr


@pytest.mark.parametrize(("size", "refused"), [(4088, False), (4089, True)])
def test_parameters_that_no_launch_takes_do_not_compile(size, refused):
    errors = errors_of(size=size)
    assert ("a kernel's parameters are 4096 bytes at most" in errors) == bool(errors) == refused, errors


@pytest.mark.parametrize(
    ("threads", "blocks", "refused"),
    [
        (256, 4, ""),
        (1024, 1, ""),
        (100, 1, "launch bounds are of whole warps"),
        (0, 1, "launch bounds are of whole warps"),
        (1056, 1, "at most the 1024 threads of an SM"),
        (256, 5, "at most the 1024 threads of an SM"),
    ],
)
def test_launch_bounds_that_some_gpu_cannot_keep_do_not_compile(threads, blocks, refused):
    errors = errors_of(threads=threads, blocks=blocks)
    assert bool(errors) == bool(refused), errors
    assert refused in errors
