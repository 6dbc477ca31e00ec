"""The rules a manifest's fields obey, each with its own sentence."""

import math
import re
from collections.abc import Mapping, Sequence

from msdk_rt.artifact.notes import LONGEST_NOTE, MOST_NOTES
from msdk_rt.artifact.recipe_rules import (
    LARGEST_SPACING,
    NEW_ENTRIES,
    RECIPE_RULES,
    Rule,
    contradictions,
    is_length,
    is_orientation,
)
from msdk_rt.artifact.values import is_int
from msdk_rt.artifact.vocabulary import ACTIVATIONS, BLENDS, NORMALIZATIONS, PRECISIONS
from msdk_rt.errors import shown

LARGEST_WINDOW = 4096
LARGEST_WINDOW_VOXELS = 512**3
LARGEST_LABEL = 65535
_VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){0,4}")
_NOT_IN_FORMAT_1: Rule = ("left out in format 1", lambda value: not value)


def _one_of(words: Sequence[str]) -> Rule:
    return " or ".join(words), lambda value: isinstance(value, str) and value in words


# The rule of each field of format 1, in words and as a predicate on its value.
_RULES: dict[str, Rule] = {
    "format_version": ("1 or 2", lambda value: is_int(value) and value in (1, 2)),
    "ops_version": ("1", lambda value: is_int(value) and value == 1),
    "family": ("the name of a network family", lambda value: _is_name(value)),
    "config": ("a mapping", lambda value: isinstance(value, dict)),
    "window": (
        f"three whole numbers from 1 to {LARGEST_WINDOW} (D, H, W) of at most 512^3 voxels",
        lambda value: (
            isinstance(value, tuple)
            and len(value) == 3
            and all(is_int(side) and 1 <= side <= LARGEST_WINDOW for side in value)
            and math.prod(value) <= LARGEST_WINDOW_VOXELS
        ),
    ),
    "channels": (
        "a list of different names, one per input modality",
        lambda value: (
            isinstance(value, tuple)
            and len(value) > 0
            and all(_is_name(name) for name in value)
            and len(set(value)) == len(value)
        ),
    ),
    "labels": (
        f"a mapping of each logit channel's name to its own voxel value from 0 to {LARGEST_LABEL}",
        lambda value: (
            isinstance(value, dict)
            and len(value) > 0
            and all(_is_name(name) for name in value)
            and all(is_int(number) and 0 <= number <= LARGEST_LABEL for number in value.values())
            and len(set(value.values())) == len(value)
        ),
    ),
    "activation": _one_of(ACTIVATIONS),
    "normalization": _one_of(NORMALIZATIONS),
    "orientation": ("axis codes such as RAS", lambda value: is_orientation(value)),
    "blending": (
        "{scheme: monai, mode: gaussian or constant, sigma_scale: a positive number}",
        lambda value: (
            isinstance(value, dict)
            and value.keys() == {"scheme", "mode", "sigma_scale"}
            and value["scheme"] == "monai"
            and value["mode"] in BLENDS
            and isinstance(value["sigma_scale"], (int, float))
            and not isinstance(value["sigma_scale"], bool)
            and 0 < value["sigma_scale"] <= 10
        ),
    ),
    "precision": _one_of(PRECISIONS),
    "engine": (
        "null, or {tensorrt, compute_capability, plugin_version: version numbers, max_batch: at least 1, "
        "version_compatible, hardware_compatible: true or false}",
        lambda value: value is None or _is_engine(value),
    ),
    "spacing": (
        "null, or {low, high: three millimetres each, along D, H, W}, from above 0 to at most "
        f"{LARGEST_SPACING}, low no larger than high",
        lambda value: value is None or _is_spacing(value),
    ),
    "notes": (
        f"a list of at most {MOST_NOTES} sentences of at most {LONGEST_NOTE} characters",
        lambda value: (
            isinstance(value, tuple)
            and len(value) <= MOST_NOTES
            and all(_is_name(note) and len(note) <= LONGEST_NOTE for note in value)
        ),
    ),
    "parity": ("a mapping", lambda value: isinstance(value, dict)),
    "sha256": (
        "64 lower-case hexadecimal digits",
        lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
    ),
    "created_by": ("a line of text", lambda value: _is_name(value)),
}


def complaints(fields: Mapping[str, object], version: object = 1) -> str:
    """Return a clause for each rule of a format that these fields of a manifest break; "" for none."""
    rules = _RULES | RECIPE_RULES if version == 2 else _RULES | dict.fromkeys(NEW_ENTRIES, _NOT_IN_FORMAT_1)
    wrong = [
        f"{name} must be {expected}, found {shown(fields[name])}"
        for name, (expected, holds) in rules.items()
        if name in fields and not holds(fields[name])
    ]
    return "; ".join(wrong or contradictions(fields))


def _is_engine(value: object) -> bool:
    versions = ("tensorrt", "compute_capability", "plugin_version")
    switches = ("version_compatible", "hardware_compatible")
    return (
        isinstance(value, dict)
        and value.keys() == {*versions, *switches, "max_batch"}
        and all(isinstance(value[name], str) and _VERSION.fullmatch(value[name]) for name in versions)
        and all(isinstance(value[name], bool) for name in switches)
        and is_int(value["max_batch"])
        and value["max_batch"] >= 1
    )


def _is_spacing(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"low", "high"}
        and all(isinstance(sides, (list, tuple)) and len(sides) == 3 for sides in value.values())
        and all(is_length(side) for sides in value.values() for side in sides)
        and all(low <= high for low, high in zip(value["low"], value["high"], strict=True))
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.strip() != "" and value.isprintable()
