"""Builds plugins/ with CMake into msdk_rt/lib and packs a py3-none-<platform> wheel.

The libraries are plain C++ that ONNX Runtime and TensorRT load by path: they know nothing of Python, so
one wheel serves every Python version. All other metadata is in pyproject.toml.
"""

import os
import subprocess
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def build_plugins(package_dir: Path) -> None:
    """Compile plugins/ and install the shared libraries into package_dir/lib."""
    build_dir = ROOT / "build" / "plugins"
    jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    for command in (
        ["cmake", "-S", str(ROOT / "plugins"), "-B", str(build_dir), "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", str(build_dir), "--parallel", jobs],
        ["cmake", "--install", str(build_dir), "--prefix", str(package_dir)],
    ):
        subprocess.run(command, check=True)


class BuildWithPlugins(build_py):
    """build_py that also builds the native libraries, in place for an editable install."""

    def run(self):
        super().run()
        build_plugins(ROOT / "msdk_rt" if self.editable_mode else Path(self.build_lib) / "msdk_rt")


class PlatformWheel(bdist_wheel):
    """Tags the wheel py3-none-<platform>: native code inside, but no Python ABI."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class NativeDistribution(Distribution):
    """Says that the package is not pure Python, so that it is installed under platlib."""

    def has_ext_modules(self):
        return True


setup(
    distclass=NativeDistribution,
    cmdclass={"build_py": BuildWithPlugins, "bdist_wheel": PlatformWheel},
    package_dir={"msdk_rt": "msdk_rt", "msdk_export": "export"},
    packages=[
        *find_packages(include=["msdk_rt", "msdk_rt.*"]),
        "msdk_export",
        *(f"msdk_export.{name}" for name in find_packages("export")),
    ],
    package_data={
        "msdk_rt": [
            "py.typed",
            *(f"lib/*.{suffix}" for suffix in ("so", "dylib", "dll")),
            "viewer/*.js",
            "viewer/*.css",
        ],
        "msdk_export": ["weights/*"],
    },
)
