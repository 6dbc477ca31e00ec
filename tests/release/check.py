"""`make release-check`: a release as its users will meet it, rehearsed on this machine.

Looks at the version and the CHANGELOG. Uploads what lies in dist/ to a local index and installs it from there
into fresh environments: every Python from 3.10 on that is here, with the lowest and with the newest versions
of its dependencies; once with pip and nothing cached; and the source distribution once, without npm. Each
segments a volume, which must get the labels that this checkout gives it; seconds and megabytes are told.
Wheels are installed with a PATH that has neither compiler nor npm.

exit codes: 0 all in order, 1 not. A Python that is not here is told; with --complete that is a failure.
"""

import argparse
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import tomllib

from tests.release.index import released_to_an_index
from tests.release.wheels import DIST, ROOT, TOOLS, megabytes

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
RESOLUTIONS = {"newest": "highest", "lowest": "lowest-direct"}
VERSION = r"\d+\.\d+\.\d+"


class Refused(Exception):
    """Something that must not be released."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.release.check", description=__doc__)
    parser.add_argument(
        "--pythons", nargs="+", default=PYTHONS, help=f"versions (default: {' '.join(PYTHONS)})"
    )
    parser.add_argument("--no-source", action="store_true", help="leave the source distribution out")
    parser.add_argument("--complete", action="store_true", help="fail where anything was not checked")
    options = parser.parse_args(arguments)
    failed, unchecked = [], []
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as opened:
        folder = Path(place)
        version = told(failed, "version and CHANGELOG", check_words)
        if version is None:
            return 1
        files = released(version)
        index = opened.enter_context(released_to_an_index(folder / "index", files))
        print(f"uploaded to a local index: {', '.join(file.name for file in files)}", flush=True)
        model, scan, expected = example(folder)
        for python in options.pythons:
            if (interpreter := find_python(python)) is None:
                unchecked.append(python)
                print(f"Python {python:5}  not on this machine: NOT CHECKED", flush=True)
                continue
            for name, resolution in RESOLUTIONS.items():
                check = functools.partial(
                    install_and_run, folder, interpreter, index, version, resolution, model, scan, expected
                )
                told(failed, f"Python {python:5} {name} versions", check)
        check = functools.partial(install_by_pip, folder, index, version, model, scan, expected)
        told(failed, "pip, nothing cached", check)
        [source] = [file for file in files if file.name.endswith(".tar.gz")] or [None]
        if options.no_source or source is None:
            unchecked.append("the source distribution")
            print("source distribution: NOT CHECKED" + ("" if source else ", none in dist/"))
        else:
            told(failed, "source distribution", lambda: build_source(folder, source, model, scan, expected))
    return int(bool(failed or (options.complete and unchecked)))


def told(failed: list[str], what: str, check):
    """The check's answer, printed; None where it failed."""
    try:
        answer = check()
    except (Refused, subprocess.CalledProcessError, TimeoutError) as error:
        failed.append(what)
        print(f"{what}: FAILED: {error}", flush=True)
        return None
    print(f"{what}: {answer}", flush=True)
    return answer


def check_words() -> str:
    """The version, which is the same everywhere; CHANGELOG has entries for it. Raises Refused."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(rf'^version = "({VERSION})"$', project, re.M)
    cited = re.findall(rf"^version: ({VERSION})$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    if cited != [version]:
        raise Refused(f"pyproject.toml says {version}, CITATION.cff {cited}")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, entries = re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", changes, re.M | re.S)[0]
    if first not in ("Unreleased", version) and not re.fullmatch(rf"{version} - \d{{4}}-\d\d-\d\d", first):
        raise Refused(f"CHANGELOG's first heading is {first!r}, expected Unreleased or '{version} - <date>'")
    if not re.search(r"^- ", entries, re.M):
        raise Refused(f"CHANGELOG has no entry below {first!r}")
    return version


def released(version: str) -> list[Path]:
    """This version's wheels and source distribution in dist/."""
    files = sorted([*DIST.glob(f"msdk_rt-{version}[-.]*"), *DIST.glob(f"msdk_rt_viewer-{version}-*")])
    if not any(file.name.endswith(f"_{os.uname().machine}.whl") for file in files):
        raise SystemExit(f"dist/ has no wheel of {version} for this machine: make wheels, or make wheel")
    return files


def example(folder: Path) -> tuple[Path, Path, bytes]:
    """A model with the project's ops, a volume, and the labels file that this checkout makes of them."""
    from tests.test_wheel import export_model, write_scan

    model, scan = export_model(folder / "model.onnx"), write_scan(folder / "scan.nii.gz")
    return model, scan, segment(Path(sys.executable).with_name("msdk-rt"), model, scan, folder / "expected")


def find_python(version: str) -> Path | None:
    found = subprocess.run(
        [TOOLS / "uv", "python", "find", "--no-python-downloads", "--no-project", version],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if found.returncode == 0:
        return Path(found.stdout.strip())
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next(iter(sorted(versions.glob(f"{version}.*/bin/python"))), None)


def requirements(version: str) -> list[str]:
    """The release and its dependencies, which count as direct ones this way."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [f"msdk_rt=={version}", *project["dependencies"], *project["optional-dependencies"]["cpu"]]


def install_and_run(folder, interpreter, index, version, resolution, model, scan, expected) -> str:
    """Install the release from the index and segment. Returns what it took. Raises Refused."""
    place = Path(tempfile.mkdtemp(dir=folder))
    environment = place / "environment"
    run(TOOLS / "uv", "venv", "--quiet", "--python", interpreter, environment)
    start = time.perf_counter()
    run(
        *(TOOLS / "uv", "pip", "install", "--quiet", "--python", environment / "bin" / "python"),
        *("--index", index, "--resolution", resolution, "--only-binary", ":all:", *requirements(version)),
        PATH=str(environment / "bin"),
    )
    installed = time.perf_counter() - start
    check_installed(environment, version, model, scan, expected)
    seconds = time.perf_counter() - start
    size = megabytes(sum(path.lstat().st_size for path in environment.rglob("*") if path.is_file()))
    versions = ", ".join(
        line.replace("==", " ")
        for line in run(
            TOOLS / "uv", "pip", "freeze", "--python", environment / "bin" / "python"
        ).splitlines()
        if line.startswith(("numpy==", "nibabel==", "onnxruntime==", "tqdm=="))
    )
    shutil.rmtree(place)
    return f"{seconds:.0f} s from install to labels ({installed:.0f} s of installing), {size}; {versions}"


def install_by_pip(folder, index, version, model, scan, expected) -> str:
    """As a user does it who never installed anything before. Returns what it took. Raises Refused."""
    place = Path(tempfile.mkdtemp(dir=folder))
    environment = place / "environment"
    run(TOOLS / "uv", "venv", "--quiet", "--seed", "--python", sys.executable, environment)
    pip = [environment / "bin" / "python", "-m", "pip"]
    options = ["--quiet", "--no-cache-dir", "--only-binary", ":all:", "--extra-index-url", index]
    start = time.perf_counter()
    run(*pip, "install", *options, f"msdk_rt[cpu,view]=={version}", PATH=str(environment / "bin"))
    installed = time.perf_counter() - start
    check_installed(environment, version, model, scan, expected)
    seconds = time.perf_counter() - start
    downloaded = place / "downloaded"
    run(*pip, "download", *options, "--dest", downloaded, f"msdk_rt[cpu,view]=={version}")
    size = megabytes(sum(file.stat().st_size for file in downloaded.iterdir()))
    shutil.rmtree(place)
    return f"{seconds:.0f} s from install to labels ({installed:.0f} s of installing), {size} downloaded"


def check_installed(environment, version, model, scan, expected) -> None:
    """Ask the installed program for its version and for labels. Raises Refused."""
    program = environment / "bin" / "msdk-rt"
    if (said := run(program, "--version").split()[-1]) != version:
        raise Refused(f"msdk-rt --version says {said}, expected {version}")
    compare(segment(program, model, scan, environment / "out"), expected)


def build_source(folder, source, model, scan, expected) -> str:
    """Build and install the source distribution where there is no npm, and segment. Raises Refused."""
    place = Path(tempfile.mkdtemp(dir=folder))
    environment, tools = place / "environment", place / "tools"
    tools.mkdir()
    for name in ("cc", "c++", "gcc", "g++", "ld", "as", "ar", "ranlib", "make", "cmake", "ninja", "ccache"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    run(TOOLS / "uv", "venv", "--quiet", "--seed", "--python", sys.executable, environment)
    start = time.perf_counter()
    run(
        *(
            environment / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            f"msdk_rt[cpu] @ {source.as_uri()}",
        ),
        PATH=str(tools),
        MSDK_CUDA="OFF",
        HOME=str(place),  # without headers that were downloaded before
        XDG_CACHE_HOME=str(place),
    )
    installed = time.perf_counter() - start
    compare(segment(environment / "bin" / "msdk-rt", model, scan, place / "out"), expected)
    return f"built and installed without npm in {installed:.0f} s, the same labels"


def segment(program: Path, model: Path, scan: Path, folder: Path) -> bytes:
    folder.mkdir(parents=True)
    run(program, "run", model, scan, "-o", folder / "labels.nii.gz", "--threads", "1", "--quiet", cwd=folder)
    return (folder / "labels.nii.gz").read_bytes()


def compare(found: bytes, expected: bytes) -> None:
    """Raise Refused unless the voxels are the same."""
    import gzip

    offset = 352  # of the voxels: a NIfTI header names the program that wrote it
    if gzip.decompress(found)[offset:] != gzip.decompress(expected)[offset:]:
        raise Refused("its labels are not those of this checkout")


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """What a program printed. Raises Refused with its last lines."""
    given = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=given | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last = " | ".join(done.stdout.strip().splitlines()[-8:])
        raise Refused(f"{' '.join(map(str, command[:4]))} ... ended with {done.returncode}: {last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
