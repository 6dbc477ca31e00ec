"""Every call of TensorRT held against two versions of it: the types of 10.13, the names of 11.4.

TensorRT itself is not to be had without NVIDIA's own index. tensorrt-stubs has the signatures of 10.13;
tensorrt_cu13_bindings is 11.4's extension module, which cannot be imported alone but holds its names.
"""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = (ROOT / "export" / "engine" / "builder.py", ROOT / "msdk_rt" / "backends" / "tensorrt.py")
# Repairs the stubs: their generator wrote lines that are no Python (a keyword as a name, a default before
# none) or that mean another type (their module has a data type of the name bool).
REPAIRS = (
    (r"\bin: ", "in_: "),
    (r"channel_axis: int\)", "channel_axis: int = 0)"),
    (r"(->|:) bool\b", r"\1 builtins.bool"),
    (r"\Afrom __future__ import annotations\n", "\\g<0>import builtins\n"),
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TensorRT's bindings are for Linux")


def installed(package, suffix):
    (path,) = (file for file in distribution(package).files if str(file).endswith(suffix))
    return Path(path.locate())


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """The stubs as mypy can read them."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("tensorrt/__init__.pyi", "tensorrt_bindings/__init__.pyi", "tensorrt_bindings/tensorrt.pyi"):
        text = installed("tensorrt-stubs", name).read_text()
        for wrong, right in REPAIRS:
            text = re.sub(wrong, right, text)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def complaints(modules, stubs):
    """Return mypy's messages about these modules, one a line; others are about the stubs."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        f"--config-file={os.devnull}",
        "--no-site-packages",
        "--ignore-missing-imports",
    ]
    command += ["--check-untyped-defs", "--follow-imports=silent", f"--cache-dir={stubs / 'cache'}", *modules]
    environment = os.environ | {"MYPYPATH": f"{stubs}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    names = {module.name for module in modules}
    return [line for line in done.stdout.splitlines() if Path(line.split(":")[0]).name in names]


def test_calls_have_the_types_of_tensorrt_10(stubs):
    assert complaints(MODULES, stubs) == []


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (
            "USER_MANAGED",
            "USER",
            '"type[ExecutionContextAllocationStrategy]" has no attribute "USER"',
        ),
        ("self._scratch.size)", "'all')", 'Argument 2 to "set_device_memory"'),
        ("parser.num_errors", "parser.errors", '"OnnxParser" has no attribute "errors"'),
        ("config.set_flag(trt", "config.set_flag(1 + trt", "Unsupported operand types"),
        (
            "profile.set_shape(tensor.name, least",
            "profile.set_shape(least",
            'Missing positional argument "input"',
        ),
        ("AMPERE_PLUS", "AMPERE", '"type[HardwareCompatibilityLevel]" has no attribute "AMPERE"'),
    ],
)
def test_a_wrong_call_would_be_found(stubs, tmp_path, right, wrong, said):
    (module,) = (module for module in MODULES if right in module.read_text())
    text = module.read_text()
    changed = tmp_path / f"changed_{module.name}"  # tensorrt.py would be found in place of TensorRT
    changed.write_text(text.replace(right, wrong))
    assert any(said in line for line in complaints([changed], stubs))


def test_names_are_those_of_tensorrt_11_too(stubs):
    known = set(re.findall(r"\w+", (stubs / "tensorrt_bindings" / "tensorrt.pyi").read_text()))
    eleven = set(
        re.findall(rb"[A-Za-z_]\w+", installed("tensorrt_cu13_bindings", "tensorrt.so").read_bytes())
    )
    used = {
        node.attr
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in known
    }
    print(f"{len(used)} names")
    assert {"build_serialized_network", "execute_async_v3", "progress_monitor"} <= used
    assert {"device_memory_size_v2", "set_device_memory", "USER_MANAGED"} <= used
    assert [name for name in sorted(used) if name.encode() not in eleven | PYTHONS] == []


PYTHONS = {b"append", b"copy", b"get", b"join", b"pop", b"split", b"update", b"__version__", b"__init__"}
