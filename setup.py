"""Builds plugins/ with CMake into msdk_rt/lib and packs a py3-none-<platform> wheel.

The libraries are plain C++ that ONNX Runtime and TensorRT load by path: they know nothing of Python, so
one wheel serves every Python version. All other metadata is in pyproject.toml.

Environment: MSDK_TARGET, one of TARGETS, compiles with Zig for that platform; one of CUDA_TARGETS compiles
with GCC and nvcc, and the wheel's version gets the local label +cuda. Without it the machine's own compiler
builds for this machine.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
PLUGINS = ROOT / "plugins"
sys.path.insert(0, str(PLUGINS / "wheel"))
import bundled  # noqa: E402

# What Zig compiles for, and the tag of the wheel for it. `make wheels` builds all of them.
TARGETS = {
    "x86_64-linux-gnu.2.17": "manylinux_2_17_x86_64",
    "aarch64-linux-gnu.2.28": "manylinux_2_28_aarch64",
    "x86_64-windows-gnu": "win_amd64",
    "aarch64-macos.11.0": "macosx_11_0_arm64",
    "x86_64-macos.10.15": "macosx_10_15_x86_64",
}
# With the CUDA libraries, for this machine's glibc: tests/release/cuda.py finds it and tags the wheel.
CUDA_TARGETS = {"x86_64-linux-cuda": "linux_x86_64", "aarch64-linux-cuda": "linux_aarch64"}


def target() -> str | None:
    """MSDK_TARGET; None for this machine."""
    wanted, known = os.environ.get("MSDK_TARGET") or None, TARGETS | CUDA_TARGETS
    if wanted is not None and wanted not in known:
        raise SystemExit(f"MSDK_TARGET: expected one of {', '.join(known)}, got {wanted}")
    return wanted


def build_folder() -> Path:
    wanted = target()
    return ROOT / "build" / (f"plugins-{wanted}" if wanted else "plugins")


def configure() -> Path:
    """Have CMake make a build folder for plugins/."""
    wanted, folder = target(), build_folder()
    command = ["cmake", "-S", str(PLUGINS), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release"]
    if wanted in CUDA_TARGETS:
        command += ["-DMSDK_CUDA=ON", "-DCMAKE_SHARED_LINKER_FLAGS=-s"]
        if wanted.startswith("aarch64"):
            command += ["--toolchain", str(PLUGINS / "cmake" / "toolchains" / "aarch64.cmake")]
    elif wanted:
        import ziglang

        zig = Path(ziglang.__file__).with_name("zig")
        command += ["--toolchain", str(PLUGINS / "cmake" / "toolchains" / "zig.cmake")]
        command += [f"-DMSDK_ZIG={zig}", f"-DMSDK_ZIG_TARGET={wanted}", "-DMSDK_CUDA=OFF"]
    subprocess.run(command, check=True)
    return folder


def build_plugins(package_dir: Path) -> None:
    """Compile plugins/ and install the shared libraries into package_dir/lib."""
    folder = configure()
    jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    subprocess.run(["cmake", "--build", str(folder), "--parallel", jobs], check=True)
    subprocess.run(["cmake", "--install", str(folder), "--prefix", str(package_dir)], check=True)


class BuildWithPlugins(build_py):
    """build_py that also builds the native libraries, in place for an editable install."""

    def run(self):
        super().run()
        try:
            build_plugins(ROOT / "msdk_rt" if self.editable_mode else Path(self.build_lib) / "msdk_rt")
        except (subprocess.CalledProcessError, OSError) as error:
            # Of an editable install setuptools turns any other exception into a warning that pip hides.
            raise SystemExit(f"the native libraries were not built: {error}") from error


class SourceWithHeaders(sdist):
    """sdist with ONNX Runtime's headers, so that whoever builds from it downloads nothing."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        headers = Path(base_dir) / "plugins" / "third_party" / "onnxruntime"
        install = ["cmake", "--install", str(configure()), "--component", "headers", "--prefix", str(headers)]
        subprocess.run(install, check=True)
        shutil.copy(PLUGINS / "wheel" / "onnxruntime.txt", headers / "LICENSE")


class LabelledVersion(egg_info):
    """The version, with a local label where the wheel is no one for PyPI."""

    def finalize_options(self):
        if target() in CUDA_TARGETS:
            self.tag_build = "+cuda"
        super().finalize_options()


class PlatformWheel(bdist_wheel):
    """Tags the wheel py3-none-<platform>: native code inside, but no Python ABI. Adds what is of others."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        wanted = target()
        return "py3", "none", (TARGETS | CUDA_TARGETS)[wanted] if wanted else super().get_tag()[2]

    def write_wheelfile(self, wheelfile_base, *arguments, **options):
        super().write_wheelfile(wheelfile_base, *arguments, **options)
        if Path(wheelfile_base).parent == Path(self.bdist_dir):  # not for an editable install
            libraries = (Path(self.bdist_dir) / "msdk_rt" / "lib").iterdir()
            name, version = self.distribution.get_name(), self.distribution.get_version()
            bundled.write(Path(wheelfile_base), libraries, build_folder() / "bundled.json", name, version)


class NativeDistribution(Distribution):
    """Says that the package is not pure Python, so that it is installed under platlib."""

    def has_ext_modules(self):
        return True


setup(
    distclass=NativeDistribution,
    cmdclass={
        "build_py": BuildWithPlugins,
        "sdist": SourceWithHeaders,
        "egg_info": LabelledVersion,
        "bdist_wheel": PlatformWheel,
    },
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
            "server/page.*",
        ],
        "msdk_export": ["weights/*"],
    },
)
