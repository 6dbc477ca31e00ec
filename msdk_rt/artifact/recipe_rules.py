"""The rules of a manifest's recipe in format 2: how a volume becomes what the network saw, and back."""

from collections.abc import Callable, Mapping
from typing import Any

from msdk_rt.artifact import brain_mask_entry
from msdk_rt.artifact.values import is_int, is_number
from msdk_rt.artifact.vocabulary import (
    BLENDS,
    CHANNEL_NORMALIZATIONS,
    CROPS,
    CT_STATISTICS,
    FILE_ENDINGS,
    NORMALIZATIONS,
    SCHEMES,
    SEPARATE_Z,
    SUMS,
)
from msdk_rt.errors import shown

Rule = tuple[str, Callable[[Any], bool]]

LARGEST_SPACING = 1e6  # millimetres
AXIS_CODES = ("RL", "AP", "SI")
FILE_AXES = "XYZ"
IMAGE_ORDERS = (0, 1, 3)
LOGIT_ORDERS = (0, 1)
LARGEST_VOLUME = 1e9  # millilitres
MOST_FOLDS = 100
NEW_ENTRIES = (
    "brain_mask",
    "crop",
    "resampling",
    "sums",
    "folds",
    "mirror_axes",
    "regions",
    "file_ending",
    "plausible_ml",
)


def is_orientation(codes: object) -> bool:
    """True for three letters that name the three body axes once each, such as RAS or LPS."""
    return (
        isinstance(codes, str)
        and len(codes) == 3
        and all(any(code in axis for code in codes) for axis in AXIS_CODES)
    )


def is_file_axes(codes: object) -> bool:
    """True for the file's own axes X, Y and Z in some order, such as ZYX."""
    return isinstance(codes, str) and sorted(codes) == list(FILE_AXES)


def is_length(value: object) -> bool:
    return is_number(value) and 0 < value <= LARGEST_SPACING  # type: ignore[operator]


def _is_normalization(value: object) -> bool:
    if isinstance(value, str):
        return value in NORMALIZATIONS
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(_is_channel, value))


def _is_channel(value: object) -> bool:
    if not isinstance(value, dict) or value.get("scheme") not in CHANNEL_NORMALIZATIONS:
        return False
    if value["scheme"] != "ct":
        return value.keys() == {"scheme"}
    return (
        value.keys() == {"scheme", *CT_STATISTICS}
        and all(is_number(value[name]) for name in CT_STATISTICS)
        and value["std"] >= 0
        and value["low"] <= value["high"]
    )


def _is_blending(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"scheme", "mode", "sigma_scale"}
        and value["scheme"] in SCHEMES
        and value["mode"] in BLENDS
        and is_number(value["sigma_scale"])
        and 0 < value["sigma_scale"] <= 10
    )


def _is_resampling(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"spacing", "image", "logits"}
        and isinstance(value["spacing"], (list, tuple))
        and len(value["spacing"]) == 3
        and all(is_length(side) for side in value["spacing"][value["spacing"][0] is None :])
        and _is_interpolation(value["image"], IMAGE_ORDERS)
        and _is_interpolation(value["logits"], LOGIT_ORDERS)
    )


def _is_interpolation(value: object, orders: tuple[int, ...]) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"order", "separate_z", "order_z"}
        and is_int(value["order"])
        and value["order"] in orders
        and value["separate_z"] in SEPARATE_Z
        and is_int(value["order_z"])
        and value["order_z"] in LOGIT_ORDERS
    )


def _are_axes(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and all(is_int(axis) and 0 <= axis <= 2 for axis in value)
        and len(set(value)) == len(value)
    )


def _are_regions(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(values, (list, tuple)) and len(values) > 0 and all(is_int(number) for number in values)
        for values in value.values()
    )


def _are_volumes(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(limits, (list, tuple))
        and len(limits) == 2
        and all(is_number(limit) and 0 <= limit <= LARGEST_VOLUME for limit in limits)
        and limits[0] <= limits[1]
        for limits in value.values()
    )


# Of entries that are new in format 2, and of those that may say more than in format 1.
RECIPE_RULES: dict[str, Rule] = {
    "normalization": (
        f"{' or '.join(NORMALIZATIONS)}, or for each channel {{scheme: one of "
        f"{', '.join(CHANNEL_NORMALIZATIONS)}}}, for ct with its mean, std, low and high",
        _is_normalization,
    ),
    "orientation": (
        "axis codes such as RAS, or the file's own axes in the network's order such as ZYX",
        lambda value: is_orientation(value) or is_file_axes(value),
    ),
    "blending": (
        "{scheme: monai or nnunet, mode: gaussian or constant, sigma_scale: a positive number}",
        _is_blending,
    ),
    "brain_mask": (brain_mask_entry.RULE, brain_mask_entry.is_brain_mask),
    "crop": (f"null or {' or '.join(CROPS)}", lambda value: value is None or value in CROPS),
    "resampling": (
        "null, or {spacing: three millimetres along D, H, W, the first null for the image's own; image, "
        "logits: {order, separate_z: auto, always or never, order_z}} with orders 0, 1 or, for the image, 3",
        lambda value: value is None or _is_resampling(value),
    ),
    "sums": (
        f"null or {' or '.join(SUMS)}",
        lambda value: value is None or (isinstance(value, str) and value in SUMS),
    ),
    "folds": (
        f"null or a whole number from 2 to {MOST_FOLDS}",
        lambda value: value is None or (is_int(value) and 2 <= value <= MOST_FOLDS),
    ),
    "mirror_axes": ("different axes among 0, 1, 2", _are_axes),
    "regions": (
        "null, or for each sigmoid channel a list of the voxel values of training that it is made of",
        lambda value: value is None or _are_regions(value),
    ),
    "file_ending": (
        f"null or {' or '.join(FILE_ENDINGS)}",
        lambda value: value is None or value in FILE_ENDINGS,
    ),
    "plausible_ml": (
        "null, or for some labels the least and the most millilitres, the least first",
        lambda value: value is None or _are_volumes(value),
    ),
}


def contradictions(fields: Mapping[str, Any]) -> list[str]:
    """A clause for each pair of entries that cannot both be, where each is right by itself."""
    schemes, channels = fields.get("normalization"), fields.get("channels")
    if isinstance(schemes, (list, tuple)) and isinstance(channels, tuple) and len(schemes) != len(channels):
        return [
            f"normalization must have one entry for each of the {len(channels)} channels, found "
            f"{shown(schemes)}"
        ]
    regions, labels = fields.get("regions"), fields.get("labels")
    if regions is not None and (
        fields.get("activation") != "sigmoid" or not isinstance(labels, dict) or list(regions) != list(labels)
    ):
        return [f"regions must have the names of labels, of a sigmoid model, found {shown(list(regions))}"]
    foreign = sorted(set(fields.get("plausible_ml") or {}) - set(labels if isinstance(labels, dict) else {}))
    if foreign:
        return [f"plausible_ml must name labels of the model, found {shown(', '.join(foreign))}"]
    return []
