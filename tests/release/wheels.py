"""`make wheels`: a source distribution, from it a wheel for each platform, and the viewer's wheel.

Each is checked and weighed. Zig compiles for all platforms; the wheels hold the CPU ops. auditwheel looks at
those for Linux: which glibc they need. macholib looks at those for macOS, delvewheel at those for Windows:
which libraries they need that the system does not have. With --twice each is built again, elsewhere, and the
bytes must be the same.

exit codes: 0 all built and in order, 1 not.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.release.contents import Refused, best_kernels, check_contents, check_licences

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "release" / "bin"
DIST = ROOT / "dist"
VIEWER = (
    "viewer"  # msdk_rt_viewer, which the extras [view] and [serve] name: a script for browsers, no library
)
# Parts of macOS and Windows; Linux's are auditwheel's business.
SYSTEM_LIBRARIES = re.compile(r"/usr/lib/lib(System\.B|c\+\+\.1|objc\.A)\.dylib")


# What is wrong with a bill of materials.
CYCLONEDX = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.argv[1]) or "")
"""

# The oldest macOS, the library's own name, and those that it loads.
MACHO = """
import sys
from macholib.MachO import MachO
[header] = MachO(sys.argv[1]).headers
of = {}
for kind, command, data in header.commands:
    of.setdefault(kind.get_cmd_name(), []).append((command, data))
[(build, _)] = of["LC_BUILD_VERSION"]
print(f"{build.minos >> 16}.{build.minos >> 8 & 255}")
for kind in ("LC_ID_DYLIB", "LC_LOAD_DYLIB"):
    for _, name in of[kind]:
        print(name.rstrip(b"\\0").decode())
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.release.wheels", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", help=f"setup.py's TARGETS, which Zig compiles for, or {VIEWER}; by default all"
    )
    parser.add_argument("--twice", action="store_true", help="build each a second time and compare the bytes")
    options = parser.parse_args(arguments)
    tags = known_targets() | {VIEWER: "any"}
    if unknown := set(options.targets) - set(tags):
        parser.error(f"expected targets among {', '.join(tags)}, got {', '.join(sorted(unknown))}")
    os.environ["SOURCE_DATE_EPOCH"] = run("git", "log", "-1", "--format=%ct").strip()
    source = build_source()
    print(f"{source.name:58} {megabytes(source.stat().st_size)}")
    failed = False
    for target in options.targets or tags:
        try:
            wheel = build_wheel(source, target, DIST)
            verdict = check(wheel, tags[target])
            if options.twice:
                verdict += ", " + compare(wheel, source, target)
        except (Refused, subprocess.CalledProcessError) as error:
            failed, verdict = True, f"FAILED: {error}"
            wheel = DIST / f"({target})"
        size = megabytes(wheel.stat().st_size) if wheel.is_file() else ""
        print(f"{wheel.name:58} {size:>8}  {library(wheel):>8}  {verdict}", flush=True)
    return int(failed)


def known_targets() -> dict[str, str]:
    """setup.py's TARGETS: what Zig compiles for -> tag of the wheel."""
    found = re.search(r"^TARGETS = (\{.*?^\})", (ROOT / "setup.py").read_text(encoding="utf-8"), re.M | re.S)
    assert found, "setup.py has a table TARGETS"
    return dict(re.findall(r'"([^"]+)": "([^"]+)"', found[1]))


def build_source() -> Path:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", DIST)
    return max(DIST.glob("msdk_rt-*.tar.gz"), key=lambda path: path.stat().st_mtime)


def build_wheel(source: Path, target: str, into: Path) -> Path:
    """From the source distribution, so that the wheel has nothing that lies about in a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
        what, environment = source, {"MSDK_TARGET": target}
        if target == VIEWER:
            what, environment = ROOT / "plugins" / "viewer", {}
        run(TOOLS / "python", *command, "--wheel-dir", folder, what, **environment)
        [built] = Path(folder).glob("*.whl")
        into.mkdir(exist_ok=True)
        return Path(shutil.copy(built, into))


def check(wheel: Path, tag: str) -> str:
    """What the platform's checker says. Raises Refused."""
    if not wheel.name.endswith(f"-py3-none-{tag}.whl"):
        raise Refused(f"expected tag {tag}, got {wheel.name}")
    if tag == "any":
        return f"licences: {', '.join(check_licences(wheel))}"
    check_contents(wheel)
    check_bill(wheel)
    if tag.startswith("manylinux"):
        said = run(TOOLS / "auditwheel", "show", wheel)
        found = re.search(r'consistent\s+with\s+the\s+following\s+platform\s+tag:\s+"([^"]+)"', said)
        if not found or glibc(found[1]) > glibc(tag):
            raise Refused(f"auditwheel finds {found[1] if found else said}, not {tag}")
        return f"auditwheel: {found[1]}" + (check_kernels(wheel) if tag.endswith(os.uname().machine) else "")
    if tag.startswith("macosx"):
        return check_macos(wheel, tag)
    said = run(TOOLS / "delvewheel", "show", wheel)
    if "The following DLLs will be copied into the wheel.\n    None" not in said:
        raise Refused(f"delvewheel finds libraries that Windows does not have: {said}")
    return "delvewheel: needs Windows alone"


def check_kernels(wheel: Path) -> str:
    """Have the library for this machine say which kernels it runs on. Raises Refused unless the fastest."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        library = archive.extract("msdk_rt/lib/libmsdk_onnxruntime.so", folder)
        script = "import sys; from tests.release.contents import *; print(kernels_of(sys.argv[1]))"
        found = run(sys.executable, "-c", script, library).strip()
    if found != best_kernels():
        raise Refused(f"its ops run on the kernels {found}, this processor has {best_kernels()}")
    return f", runs on {found}"


def check_bill(wheel: Path) -> None:
    """Have CycloneDX's own schema read the bill of materials. Raises Refused."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".cdx.json")]
        bill = archive.read(name).decode()
    if said := run(TOOLS / "python", "-c", CYCLONEDX, bill).strip():
        raise Refused(f"{name} is no CycloneDX 1.6: {said}")


def check_macos(wheel: Path, tag: str) -> str:
    """The libraries that macOS is asked for, and the macOS that they are for. Raises Refused."""
    wanted = tuple(map(int, re.findall(r"macosx_(\d+)_(\d+)", tag)[0]))
    needed = set()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith(".dylib"):
                continue
            words = run(TOOLS / "python", "-c", MACHO, archive.extract(name, folder)).split()
            minimum, own, libraries = tuple(map(int, words[0].split("."))), words[1], words[2:]
            if minimum > wanted:
                raise Refused(f"{name} needs macOS {words[0]}, the tag says {tag}")
            if not own.startswith("@rpath/"):
                raise Refused(f"{name} calls itself {own}: that place is on no other machine")
            needed.update(libraries)
    if foreign := [name for name in needed if not SYSTEM_LIBRARIES.fullmatch(name)]:
        raise Refused(f"needs {', '.join(foreign)}, which macOS does not have")
    return f"macholib: needs {', '.join(Path(name).name for name in needed)}, macOS {wanted[0]}.{wanted[1]}"


def glibc(tag: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"manylinux_(\d+)_(\d+)", tag)[0]))


def compare(wheel: Path, source: Path, target: str) -> str:
    with tempfile.TemporaryDirectory(dir=DIST) as folder:
        again = build_wheel(source, target, Path(folder))
        if digest(again) != digest(wheel):
            names = ", ".join(different(wheel, again)) or "their order or times"
            raise Refused(f"a second build differs in {names}")
    return f"built twice: SHA-256 {digest(wheel)[:12]}"


def different(one: Path, other: Path) -> list[str]:
    with zipfile.ZipFile(one) as left, zipfile.ZipFile(other) as right:
        contents = [{info.filename: info.CRC for info in archive.infolist()} for archive in (left, right)]
    return sorted(
        name for name in contents[0] | contents[1] if contents[0].get(name) != contents[1].get(name)
    )


def library(wheel: Path) -> str:
    """Size of the native libraries in a wheel, unpacked."""
    if not wheel.is_file():
        return ""
    with zipfile.ZipFile(wheel) as archive:
        return megabytes(sum(info.file_size for info in archive.infolist() if "/lib/" in info.filename))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def run(*command: str | Path, **environment: str) -> str:
    """What a program printed on stdout and stderr. Raises CalledProcessError, and prints what it said."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
