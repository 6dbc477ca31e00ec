"""The description of a model for its artifact, from a checkpoint and from export's arguments."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any

from msdk_rt.artifact.manifest import DEFAULT_BLENDING, Manifest
from msdk_rt.artifact.manifest_rules import complaints
from msdk_rt.artifact.recipe_rules import NEW_ENTRIES
from msdk_rt.errors import ExportError
from msdk_rt.inference.recipe import Recipe

_NO_DEFAULT = {
    "window": "the (D, H, W) the network sees at once; it is fixed in the graph and chosen at training",
    "channels": "the modalities in input order; releases of one data set order them differently",
    "labels": "{logit channel: voxel value}; releases of one data set number them differently",
}
_RECIPE = (
    "orientation",
    "blending",
    *NEW_ENTRIES,
)  # told by nnU-Net's plans, or by a checkpoint's own description


@dataclass(frozen=True)
class ModelDescription:
    """The manifest's entries about a model, checked by the manifest's rules.

    Any sequence does for window and channels, and any whole numbers, NumPy's among them. Raises ExportError
    naming every field that is wrong.
    """

    family: str
    config: dict[str, Any]
    window: tuple[int, int, int]
    channels: tuple[str, ...]
    labels: dict[str, int]
    activation: str
    normalization: str | list[dict[str, Any]]
    spacing: dict[str, Any] | None = None
    orientation: str = "RAS"
    blending: dict[str, Any] = field(default_factory=DEFAULT_BLENDING.copy)
    brain_mask: dict[str, Any] | None = None
    crop: str | None = None
    resampling: dict[str, Any] | None = None
    sums: str | None = None
    folds: int | None = None
    mirror_axes: tuple[int, ...] = ()
    regions: dict[str, Any] | None = None
    file_ending: str | None = None
    plausible_ml: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("window", "channels", "labels", "mirror_axes"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        if complaints(vars(self), 1) and (wrong := complaints(vars(self), 2)):
            raise ExportError(f"{wrong}. Correct the argument of export, or the checkpoint's own description")

    def entries(self) -> dict[str, Any]:
        """By the manifest's names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def recipe(self) -> Recipe:
        """How volumes go through the network."""
        described = Manifest(**self.entries(), parity={}, sha256="0" * 64, created_by="the export that runs")
        return Recipe(described)


def describe(entries: Mapping[str, Any]) -> ModelDescription:
    """A ModelDescription from a checkpoint's description updated with export's arguments.

    activation and normalization default to "softmax" and "nonzero_zscore". Raises ExportError when window,
    channels or labels are missing, which have no default.
    """
    for name, why in _NO_DEFAULT.items():
        if name not in entries:
            raise ExportError(f"{name} is missing and has no default: it is {why}. Pass {name}= to export")
    return ModelDescription(
        family=entries["family"],
        config=_plain_json(entries["config"]),
        activation=entries.get("activation", "softmax"),
        normalization=entries.get("normalization", "nonzero_zscore"),
        spacing=None if entries.get("spacing") is None else _plain_json(entries["spacing"], "spacing"),
        **{name: entries[name] for name in (*_NO_DEFAULT, *_RECIPE) if name in entries},
    )


def _plain(value: object) -> object:
    """Tuples for sequences, dicts for mappings, Python's int for whole numbers; anything else as it is."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(_plain, value))
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def _plain_json(entry: Mapping[str, Any], name: str = "config") -> dict[str, Any]:
    """An entry as it will be read back from the manifest: lists for tuples."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(entry)))
    except (TypeError, ValueError) as error:
        raise ExportError(f"{name} must be a dict that JSON can hold, got {entry!r}") from error
    return plain
