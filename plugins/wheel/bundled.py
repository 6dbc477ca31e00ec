"""What a wheel's libraries hold of others: the bill of materials (CycloneDX, PEP 770) and the licences.

CMake writes what it linked into bundled.json. Compiler and toolkit bring the texts of their licences.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LLVM = "Apache-2.0 WITH LLVM-exception"
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Component:
    """Something of others in the libraries whose names have one of the words `inside`; by default in all.

    `licence` is an SPDX expression, `text` its text where it has to go along.
    """

    name: str
    version: str
    licence: str
    text: Path | None
    purl: str | None = None
    copyright: str = ""
    inside: tuple[str, ...] = ("",)

    def is_in(self, library: str) -> bool:
        return any(word in library for word in self.inside)


def components(facts: dict[str, str]) -> list[Component]:
    """What CMake linked. Raises OSError, AssertionError where a header is not what was expected."""
    found = [*compilers(facts), onnxruntime(Path(facts["onnxruntime"]))]
    if "cuda_version" in facts:
        found.append(cuda(facts))
    if "tensorrt" in facts:
        found.append(tensorrt(Path(facts["tensorrt"])))
    return found


def compilers(facts: dict[str, str]) -> Iterator[Component]:
    """The C++ compiler's own libraries, as far as they are linked statically."""
    if not facts["zig"]:
        if facts["system"] == "Linux" and facts["compiler"] == "GNU":
            licence = "GPL-3.0-or-later WITH GCC-exception-3.1"
            for name in ("libstdc++", "libgcc"):
                yield Component(name, facts["compiler_version"], licence, None)
        return
    zig = Path(facts["zig"]).resolve().parent
    config = (zig / "lib" / "libcxx" / "include" / "__config").read_text(encoding="utf-8")
    number = int(match(r"_LIBCPP_VERSION +(\d+)", config))
    version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    names = ["libcxx", "libcxxabi", *(["libunwind"] if facts["system"] != "Darwin" else [])]
    for name in names:  # macOS has its own unwinder
        source = f"pkg:github/llvm/llvm-project@llvmorg-{version}"
        yield Component(name, version, LLVM, zig / "lib" / name / "LICENSE.TXT", source)
    own = (
        next(zig.parent.glob("ziglang-*.dist-info")).name.removesuffix(".dist-info").removeprefix("ziglang-")
    )
    source = f"pkg:pypi/ziglang@{own}"
    yield Component("zig compiler-rt", own, "MIT", zig / "LICENSE", source)
    libc = zig / "lib" / "libc"
    if facts["system"] == "Linux":  # what a library linked with glibc gets of it: a few lines of start code
        licence = "LGPL-2.1-or-later WITH GCC-exception-2.0"
        yield Component("glibc start code", own, licence, libc / "glibc" / "LICENSES", source)
    if facts["system"] == "Windows":
        licence = "ZPL-2.1 AND LicenseRef-mingw-w64-public-domain"
        yield Component("mingw-w64 runtime", own, licence, libc / "mingw" / "COPYING", source)


def onnxruntime(headers: Path) -> Component:
    text = (headers / "onnxruntime_c_api.h").read_text(encoding="utf-8")
    version = "1." + match(r"ORT_API_VERSION +(\d+)", text)
    licence = HERE / "onnxruntime.txt"
    source = "pkg:github/microsoft/onnxruntime"
    whose = "Copyright (c) Microsoft Corporation"
    name = "ONNX Runtime API headers"
    return Component(name, version, "MIT", licence, source, whose, ("onnxruntime",))


def tensorrt(headers: Path) -> Component:
    text = (headers / "NvInferVersion.h").read_text(encoding="utf-8")
    numbers = [
        match(rf"(?:NV_TENSORRT_{part}|TRT_{part}_ENTERPRISE) +(\d+)", text)
        for part in ("MAJOR", "MINOR", "PATCH", "BUILD")
    ]
    whose = match(r"SPDX-FileCopyrightText: (.*)", text)
    licence = HERE.parents[1] / "LICENSE"
    name = "TensorRT API headers"
    return Component(name, ".".join(numbers), "Apache-2.0", licence, None, whose, ("tensorrt",))


def cuda(facts: dict[str, str]) -> Component:
    """The CUDA runtime, which is linked statically, with the headers whose functions are inlined."""
    places = [folder for one in facts["cuda"].split(";") for folder in Path(one).resolve().parents]
    patterns = (
        "EULA.txt",
        "dist-info/nvidia_cuda_runtime*/licenses/*",
        "nvidia_cuda_runtime*.dist-info/**/License.*",
    )
    texts = (text for place in places for pattern in patterns for text in sorted(place.glob(pattern)))
    licence, inside = "LicenseRef-NVIDIA-CUDA-EULA", ("onnxruntime", "tensorrt", "volume")
    return Component("CUDA runtime", facts["cuda_version"], licence, next(texts, None), inside=inside)


def match(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, f"expected {pattern}"
    return found[1]


def write(wheel_info: Path, libraries: Iterable[Path], facts: Path, name: str, version: str) -> None:
    """Put the bill of materials and the licences into a wheel's .dist-info; METADATA names the licences."""
    given = json.loads(facts.read_text(encoding="utf-8"))
    found = components(given)
    bill = bill_of_materials(found, sorted(libraries), name, version)
    (wheel_info / "sboms").mkdir(exist_ok=True)
    place = wheel_info / "sboms" / f"{name}.cdx.json"
    place.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    lines = []
    for component in found:
        if component.text is not None:
            file = re.sub(r"[^a-z0-9]+", "-", component.name.lower()).strip("-") + ".txt"
            target = wheel_info / "licenses" / "bundled" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            text = component.text.read_text(encoding="utf-8")
            notice = "" if component.copyright in text else f"{component.copyright}\n\n"
            target.write_text(notice + text, encoding="utf-8")
            lines.append(f"License-File: bundled/{file}\n")
    metadata = wheel_info / "METADATA"
    head, own, rest = metadata.read_text(encoding="utf-8").partition("License-File: LICENSE\n")
    assert own, "METADATA names LICENSE"
    metadata.write_text(head + own + "".join(lines) + rest, encoding="utf-8")


def bill_of_materials(
    found: list[Component], libraries: list[Path], name: str, version: str
) -> dict[str, Any]:
    """CycloneDX 1.6: the wheel holds libraries, and each of these holds components."""
    whole = {
        "type": "library",
        "bom-ref": name,
        "name": name,
        "version": version,
        "licenses": licences("Apache-2.0"),
    }
    listed, edges = [], [{"ref": name, "dependsOn": [path.name for path in libraries]}]
    for path in libraries:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        hashes = [{"alg": "SHA-256", "content": digest}]
        listed.append({"type": "file", "bom-ref": path.name, "name": path.name, "hashes": hashes})
        held = [one.name for one in found if one.is_in(path.name)]
        edges.append({"ref": path.name, "dependsOn": held})
    for one in found:
        entry = {"type": "library", "bom-ref": one.name, "name": one.name, "version": one.version}
        entry |= {"licenses": licences(one.licence)}
        entry |= {"copyright": one.copyright} if one.copyright else {}
        entry |= {"purl": one.purl} if one.purl else {}
        listed.append(entry)
    body = {"metadata": {"component": whole}, "components": listed, "dependencies": edges}
    number = uuid.uuid5(
        uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True)
    )  # the same bytes for the same wheel
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        **body,
    }


def licences(expression: str) -> list[dict[str, Any]]:
    if " " in expression or expression.startswith("LicenseRef-"):
        return [{"expression": expression}]
    return [{"license": {"id": expression}}]
