"""What a wheel says it holds of others, against what is in its libraries: bill of materials and licences."""

import ctypes
import hashlib
import json
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

# Words that a library has exactly if the component is linked into it.
TRACES = {
    "CUDA runtime": b"CUDA-capable",
    "libcxxabi": b"libc++abi",
    "libunwind": b"libunwind",
    "libstdc++": b"terminate called",
}
# Their licence's exception asks for no text beside a program.
WITHOUT_TEXT = {"libstdc++", "libgcc"}


def best_kernels() -> str:
    """The fastest kernels that this processor has, as Linux tells what it has."""
    flags = set(
        Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split()
    )
    sets = {"avx512": {"avx512f", "avx512dq", "avx2", "fma"}, "avx2": {"avx2", "fma"}}
    return next((name for name, needed in sets.items() if needed <= flags), "baseline")


def kernels_of(library: Path) -> str:
    """The kernels that a library of the ops runs on in this process."""
    asked = ctypes.CDLL(str(library)).msdk_cpu_kernels
    asked.restype = ctypes.c_char_p
    return asked().decode()


class Refused(Exception):
    """A wheel that must not be published."""


def check_contents(wheel: Path) -> dict[str, Any]:
    """A wheel's bill of materials, which agrees with its libraries and its licences. Raises Refused."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    carried = check_licences(wheel)
    info = next(name for name in files if name.endswith(".dist-info/METADATA")).removesuffix("METADATA")
    bills = [name for name in files if name.startswith(f"{info}sboms/")]
    if bills != [f"{info}sboms/msdk_rt.cdx.json"]:
        raise Refused(f"expected sboms/msdk_rt.cdx.json, got {bills}")
    bill = json.loads(files[bills[0]])
    check_libraries(bill, {Path(name).name: data for name, data in files.items() if "/lib/" in name})
    components = [one for one in bill["components"] if one["type"] == "library"]
    if len(carried) - 1 != len([one for one in components if one["name"] not in WITHOUT_TEXT]):
        raise Refused(f"{[one['name'] for one in components]} have the licences {sorted(carried)}")
    return bill


def check_licences(wheel: Path) -> list[str]:
    """The licences in a wheel, which are those that its METADATA names. Raises Refused."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        listed = HeaderParser().parsestr(archive.read(metadata).decode()).get_all("License-File", [])
    place = metadata.replace("METADATA", "licenses/")
    carried = sorted(name.removeprefix(place) for name in names if name.startswith(place))
    if sorted(listed) != carried:
        raise Refused(f"METADATA names the licences {sorted(listed)}, the wheel has {carried}")
    return carried


def check_libraries(bill: dict[str, Any], libraries: dict[str, bytes]) -> None:
    """Raise Refused unless the bill lists these libraries, and each with what is in it."""
    hashes = {one["name"]: one["hashes"][0]["content"] for one in bill["components"] if one["type"] == "file"}
    if hashes != {name: hashlib.sha256(data).hexdigest() for name, data in libraries.items()}:
        raise Refused(f"the bill of materials lists {sorted(hashes)}, the wheel has {sorted(libraries)}")
    held = {edge["ref"]: set(edge["dependsOn"]) for edge in bill["dependencies"]}
    for name, data in libraries.items():
        found = {component for component, word in TRACES.items() if word in data}
        if found != held[name] & set(TRACES):
            raise Refused(f"{name} holds {sorted(found)}, its bill of materials says {sorted(held[name])}")
