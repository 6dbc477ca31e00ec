"""A wheel whose bill of materials or licences are not what its libraries hold is refused."""

import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

import pytest

from tests.release.contents import Refused, check_contents

ROOT = Path(__file__).resolve().parents[2]
INFO = "msdk_rt-9.dist-info"
LIBRARY = b"an ELF with libc++abi and libunwind inside"


@pytest.fixture
def bundled(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "plugins" / "wheel")
    import bundled

    yield bundled
    del sys.modules["bundled"]


def parts(bundled, folder, library=LIBRARY):
    """{name in the wheel: bytes} as setup.py makes them of one library that Zig linked."""
    ziglang = folder / "ziglang"
    for name in ("libcxx", "libcxxabi", "libunwind"):
        (ziglang / "lib" / name).mkdir(parents=True)
        (ziglang / "lib" / name / "LICENSE.TXT").write_text(f"licence of {name}")
    (ziglang / "lib" / "libcxx" / "include").mkdir()
    (ziglang / "lib" / "libcxx" / "include" / "__config").write_text("#  define _LIBCPP_VERSION 220108\n")
    (ziglang / "lib" / "libc" / "glibc").mkdir(parents=True)
    (ziglang / "lib" / "libc" / "glibc" / "LICENSES").write_text("licences of glibc")
    (ziglang / "LICENSE").write_text("licence of Zig")
    (ziglang / "zig").touch()
    (folder / "ziglang-0.17.1.dist-info").mkdir()
    (folder / "onnxruntime_c_api.h").write_text("#define ORT_API_VERSION 29\n")
    facts = {"zig": str(ziglang / "zig"), "system": "Linux", "onnxruntime": str(folder)}
    facts |= {"compiler": "Clang", "compiler_version": "22.1.8"}
    (folder / "bundled.json").write_text(json.dumps(facts))
    place, info = folder / "libmsdk_onnxruntime.so", folder / INFO
    place.write_bytes(library)
    (info / "licenses").mkdir(parents=True)
    (info / "licenses" / "LICENSE").write_text("ours")
    (info / "METADATA").write_text(
        "Name: msdk_rt\nLicense-File: LICENSE\nRequires-Dist: numpy\n\n# msdk_rt\n"
    )
    bundled.write(info, [place], folder / "bundled.json", "msdk_rt", "9")
    found = {
        f"{INFO}/{path.relative_to(info).as_posix()}": path.read_bytes()
        for path in info.rglob("*")
        if path.is_file()
    }
    return found | {"msdk_rt/lib/libmsdk_onnxruntime.so": library}


def packed(files, folder):
    wheel = folder / "wheel.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel


def test_a_wheel_says_what_zig_linked_into_it(bundled, tmp_path):
    files = parts(bundled, tmp_path)
    bill = check_contents(packed(files, tmp_path))
    found = {one["name"]: one.get("version") for one in bill["components"]}
    llvm = dict.fromkeys(("libcxx", "libcxxabi", "libunwind"), "22.1.8")
    others = {"zig compiler-rt": "0.17.1", "glibc start code": "0.17.1", "ONNX Runtime API headers": "1.29"}
    assert found == {"libmsdk_onnxruntime.so": None, **llvm, **others}
    assert files[f"{INFO}/licenses/bundled/libunwind.txt"] == b"licence of libunwind"
    assert files[f"{INFO}/METADATA"].endswith(b".txt\nRequires-Dist: numpy\n\n# msdk_rt\n")


def test_the_bill_of_materials_is_the_same_for_the_same_libraries(bundled, tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir(), (tmp_path / "c").mkdir()
    name = f"{INFO}/sboms/msdk_rt.cdx.json"
    first, again = parts(bundled, tmp_path / "a")[name], parts(bundled, tmp_path / "b")[name]
    assert first == again
    assert (
        json.loads(first)["serialNumber"]
        != json.loads(parts(bundled, tmp_path / "c", b"-")[name])["serialNumber"]
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"msdk_rt/lib/libmsdk_onnxruntime.so": b"another library"}, "the bill of materials lists"),
        ({"msdk_rt/lib/libmsdk_volume.so": b"not listed"}, "the bill of materials lists"),
        ({f"{INFO}/licenses/more.txt": b"not named"}, "METADATA names the licences"),
        ({f"{INFO}/sboms/msdk_rt.cdx.json": None}, "expected sboms/msdk_rt.cdx.json"),
        ({f"{INFO}/licenses/bundled/libcxx.txt": None}, "METADATA names the licences"),
    ],
)
def test_a_wheel_with_something_else_in_it_is_refused(bundled, tmp_path, change, words):
    files = {name: data for name, data in (parts(bundled, tmp_path) | change).items() if data is not None}
    with pytest.raises(Refused, match=words):
        check_contents(packed(files, tmp_path))


def test_a_library_with_the_cuda_runtime_inside_that_nobody_listed_is_refused(bundled, tmp_path):
    library = LIBRARY + b"no CUDA-capable device is detected"
    files = parts(bundled, tmp_path, library)
    listed = json.loads(files[f"{INFO}/sboms/msdk_rt.cdx.json"])["components"][0]
    assert listed["hashes"][0]["content"] == hashlib.sha256(library).hexdigest()
    words = "holds ['CUDA runtime', 'libcxxabi', 'libunwind'], its bill of materials says"
    with pytest.raises(Refused, match=re.escape(words)):
        check_contents(packed(files, tmp_path))
