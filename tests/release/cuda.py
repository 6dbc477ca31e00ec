"""`python -m tests.release.cuda`: wheels with the CUDA libraries, for x86-64 and for Jetsons, by nvcc.

Each is built from the source distribution, checked as the other wheels are, and tagged with the glibc that it
needs. For Arm it takes Debian's g++-aarch64-linux-gnu and NVIDIA's package of the CUDA runtime for Arm, of
nvcc's version, which pip fetches: a toolkit is laid out of links to this machine's, with that runtime in it.

Architectures: MSDK_CUDA_ARCHITECTURES, or all that nvcc knows on x86-64, and Orin's and Thor's on Arm.

exit codes: 0 all built and in order, 1 not, 2 something is missing.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.release.contents import Refused, check_contents
from tests.release.wheels import (
    DIST,
    TOOLS,
    build_source,
    build_wheel,
    check_bill,
    library,
    megabytes,
    run,
)

JETSONS = "87;110"  # Orin, Thor
ARCHITECTURES = {"x86_64-linux-cuda": "all", "aarch64-linux-cuda": JETSONS}


def main(targets: Sequence[str]) -> int:
    os.environ["SOURCE_DATE_EPOCH"] = run("git", "log", "-1", "--format=%ct").strip()
    if (nvcc := shutil.which("nvcc")) is None:
        print("needs nvcc", file=sys.stderr)
        return 2
    source, failed, wanted = build_source(), False, os.environ.get("MSDK_CUDA_ARCHITECTURES")
    for target in targets or ARCHITECTURES:
        os.environ["MSDK_CUDA_ARCHITECTURES"] = wanted or ARCHITECTURES[target]
        with tempfile.TemporaryDirectory() as folder:
            try:
                if target.startswith("aarch64"):
                    os.environ["CUDACXX"] = str(arm_toolkit(Path(nvcc), Path(folder)) / "bin" / "nvcc")
                wheel, said = tagged(build_wheel(source, target, DIST))
                check_contents(wheel)
                check_bill(wheel)
                print(f"{wheel.name:66} {megabytes(wheel.stat().st_size)}  {library(wheel):>8}  {said}")
            except (Refused, subprocess.CalledProcessError) as error:
                failed = True
                print(f"{target}: FAILED: {error}")
    return int(failed)


def tagged(wheel: Path) -> tuple[Path, str]:
    """The wheel under the tag that auditwheel finds for it, and what it found. Raises Refused."""
    said = run(TOOLS / "auditwheel", "show", wheel)
    found = re.search(r'following\s+platform\s+tag:\s+"(manylinux_\w+)"', said)
    if not found:
        raise Refused(f"auditwheel: {said}")
    run(TOOLS / "wheel", "tags", "--remove", "--platform-tag", found[1], wheel)
    [tagged_wheel] = wheel.parent.glob(f"{wheel.name.split('-py3')[0]}-*-{found[1]}.whl")
    return tagged_wheel, f"auditwheel: {found[1]}"


def arm_toolkit(nvcc: Path, folder: Path) -> Path:
    """A CUDA toolkit that compiles for Arm: this machine's nvcc, with headers and libraries for Arm."""
    said = run(nvcc, "--version")
    version = re.findall(r"V(\d+)\.(\d+)", said)[0]
    home = toolkit_of(nvcc)
    package = f"nvidia-cuda-runtime=={'.'.join(version)}.*"
    platforms = [f"--platform=manylinux{year}_aarch64" for year in ("2014", "_2_17", "_2_28")]
    pip = [TOOLS / "python", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    run(*pip, *platforms, "--dest", folder, package)
    [archive] = folder.glob("*.whl")
    shutil.unpack_archive(archive, folder / "arm", "zip")
    [runtime] = (folder / "arm" / "nvidia").iterdir()
    made = folder / "toolkit"
    shutil.copytree(home / "bin", made / "bin", symlinks=False, copy_function=os.symlink)
    for name in ("nvcc", "nvcc.profile"):  # which look for the rest beside themselves
        (made / "bin" / name).unlink()
        shutil.copy(home / "bin" / name, made / "bin")
    (made / "nvvm").symlink_to(home / "nvvm")
    place = made / "targets" / "aarch64-linux"
    shutil.copytree(home / "include", place / "include", copy_function=os.symlink)
    for file in (runtime / "include").rglob("*"):
        if file.is_file():
            own = place / "include" / file.relative_to(runtime / "include")
            own.parent.mkdir(parents=True, exist_ok=True)
            own.unlink(missing_ok=True)
            shutil.copy(file, own)
    shutil.copytree(runtime / "lib", place / "lib")
    [licence] = (folder / "arm").glob("*.dist-info/**/License.txt")
    shutil.copy(licence, made / "EULA.txt")
    return made


def toolkit_of(nvcc: Path) -> Path:
    """Where a toolkit lies whose nvcc may be a script that calls it."""
    said = run(nvcc, "--dryrun", "-c", "-x", "cu", os.devnull)
    return Path(re.findall(r"#\$ TOP=(.*)", said)[0]).resolve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
