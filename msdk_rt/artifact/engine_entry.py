"""Checks that an engine was built for this GPU and this TensorRT. Needs neither of them.

An engine is machine code for one TensorRT and one kind of GPU; the manifest's entry `engine` holds which:

    tensorrt               version that built it, such as "10.13.2.6"
    compute_capability     of the GPU that it was tuned on, such as "8.9"
    plugin_version         of the msdk plugins
    max_batch              windows per inference, at most
    version_compatible     whether later TensorRTs of the same major version run it too
    hardware_compatible    whether other GPUs of compute capability 8.0 and above run it too
"""

import re
from typing import Any

from msdk_rt.artifact.ops_version import OPS_VERSION
from msdk_rt.errors import ArtifactError, BackendError, shown

PLUGIN_VERSION = str(OPS_VERSION)
ENGINE_SUFFIX = ".engine"
LEAST_COMPATIBLE = (8, 0)
_RELEASE = re.compile(r"\d{1,6}(\.\d{1,6}){0,4}")
AGAIN = "export the checkpoint again on this machine, or use model.onnx"


def release_of(version: str) -> str:
    """The release in a version that a library states of itself: "10.14.1.48" of "10.14.1.48.post1".

    Raises BackendError for text that does not begin with a release.
    """
    match = _RELEASE.match(version)
    if match is None:
        raise BackendError(
            f"TensorRT states the version {shown(version)}, expected numbers such as 10.14.1.48: reinstall it"
        )
    return match[0]


def check_library(engine: dict[str, Any], tensorrt: str) -> None:
    """Raise BackendError unless this TensorRT can read the engine and has its plugins."""
    if engine["plugin_version"] != PLUGIN_VERSION:
        raise BackendError(
            f"the engine needs version {engine['plugin_version']} of the msdk plugins, this msdk_rt has "
            f"{PLUGIN_VERSION}: {AGAIN}"
        )
    built, here = _numbers(engine["tensorrt"]), _numbers(release_of(tensorrt))
    if engine["version_compatible"]:
        fits, wanted = here[0] == built[0] and here >= built, f"{built[0]}.x from {engine['tensorrt']} on"
    else:
        fits, wanted = here == built, f"exactly {engine['tensorrt']}"
    if not fits:
        raise BackendError(f"the engine needs TensorRT {wanted}, this is {tensorrt}: {AGAIN}")


def check_device(engine: dict[str, Any], compute_capability: str) -> None:
    """Raise BackendError unless a GPU of this compute capability can run the engine."""
    built, here = engine["compute_capability"], compute_capability
    if engine["hardware_compatible"]:
        fits, wanted = _numbers(here) >= LEAST_COMPATIBLE, "8.0 or above"
    else:
        fits, wanted = here == built, built
    if not fits:
        raise BackendError(
            f"the engine was built for a GPU of compute capability {wanted}, this one has {here}: {AGAIN}"
        )


def check_engine_entry(engine: dict[str, Any] | None, suffix: str) -> dict[str, Any]:
    """Return the manifest's entry `engine`.

    Raises ArtifactError unless an .engine file, and no other, has one.
    """
    if engine is None or suffix != ENGINE_SUFFIX:
        raise ArtifactError(
            f"the manifest {'lacks' if engine is None else 'has'} an entry engine, and the file's suffix is "
            f"{suffix!r}: it was renamed; keep the name that msdk_rt.export gave it"
        )
    return engine


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
