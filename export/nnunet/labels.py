"""dataset.json's labels as a manifest's: the voxel value of each logit channel, and the activation."""

from collections.abc import Mapping, Sequence
from typing import Any

from msdk_rt.errors import CheckpointError, shown

IGNORE = "ignore"


def labels_of(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's entries labels, activation and regions, by nnU-Net's LabelManager.

    With regions, which are lists of several labels, every entry other than background is a channel, and
    regions_class_order has their voxel values. Raises CheckpointError.
    """
    entries = dataset.get("labels")
    if not isinstance(entries, Mapping) or entries.get("background") not in (0, "0"):
        raise CheckpointError(
            f"dataset.json's labels must be names and values, background 0 among them, found {shown(entries)}"
        )
    values = {str(name): _values(name, entry) for name, entry in entries.items() if name != IGNORE}
    if any(len(value) > 1 for value in values.values()):
        labels = _regions(dataset, values)
        return {
            "labels": labels,
            "activation": "sigmoid",
            "regions": {name: list(values[name]) for name in labels},
        }
    by_value: dict[int, str] = {}
    for name, value in values.items():
        by_value.setdefault(value[0], name)
    if sorted(by_value) != list(range(len(by_value))):
        raise CheckpointError(
            f"dataset.json's labels have the values {sorted(by_value)}, and nnU-Net numbers them from 0 on "
            "without gaps: give the dataset.json of the training"
        )
    return {"labels": {by_value[value]: value for value in sorted(by_value)}, "activation": "softmax"}


def _regions(dataset: Mapping[str, Any], values: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    names = [name for name, labels in values.items() if set(labels) != {0}]
    order = dataset.get("regions_class_order")
    if (
        not isinstance(order, (list, tuple))
        or len(order) != len(names)
        or not all(isinstance(value, int) for value in order)
    ):
        raise CheckpointError(
            f"dataset.json has the regions {', '.join(names)}, and its regions_class_order must name a voxel "
            f"value for each of the {len(names)}, found {shown(order)}"
        )
    return dict(zip(names, order, strict=True))


def _values(name: object, entry: object) -> tuple[int, ...]:
    listed: Sequence[Any] = entry if isinstance(entry, (list, tuple)) else [entry]
    try:
        values = tuple(int(value) for value in listed)
    except (TypeError, ValueError):
        values = ()
    if not values:
        raise CheckpointError(
            f"dataset.json's label {shown(name)} must be a whole number or a list of them, found "
            f"{shown(entry)}"
        )
    return values
