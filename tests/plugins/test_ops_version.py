"""The version of the ops is one number in Python and one in C++, and they are the same."""

import re
from pathlib import Path

from msdk_rt.artifact.engine_entry import PLUGIN_VERSION
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.artifact.ops_version import OPS_VERSION

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def test_python_and_cpp_have_one_version():
    (number,) = re.findall(
        r"constexpr int kOpsVersion = (\d+);", (PLUGINS / "ops" / "contract.h").read_text()
    )
    (plugin,) = re.findall(r'kVersion = "(\d+)"', (PLUGINS / "tensorrt" / "plugin.h").read_text())
    assert int(number) == int(plugin) == OPS_VERSION == int(PLUGIN_VERSION)
    assert Manifest.__dataclass_fields__["ops_version"].default == OPS_VERSION
