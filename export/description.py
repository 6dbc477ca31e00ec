"""What an artifact must say of the model in it, gathered from a checkpoint and from export's arguments."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

from msdk_rt.errors import ExportError

ACTIVATIONS = ("softmax", "sigmoid")
NORMALIZATIONS = ("nonzero_zscore", "none")

_NO_DEFAULT = {
    "window": "the (D, H, W) the network sees at once; it is fixed in the graph and chosen at training",
    "channels": "the modalities in input order; releases of one data set order them differently",
    "labels": "{logit channel: voxel value}; releases of one data set number them differently",
}


@dataclass(frozen=True)
class ModelDescription:
    """The manifest's account of a model, checked. Raises ExportError naming the field that is wrong."""

    family: str
    config: dict
    window: tuple[int, int, int]
    channels: tuple[str, ...]
    labels: dict[str, int]
    activation: str
    normalization: str

    def __post_init__(self):
        if not _is_list_of(Integral, self.window) or len(self.window) != 3 or min(self.window) < 1:
            raise ExportError(
                f"window must be three whole numbers of at least 1 (D, H, W), got {self.window!r}"
            )
        if not _is_list_of(str, self.channels) or not self.channels:
            raise ExportError(f"channels must be a list of names, one per modality, got {self.channels!r}")
        if len(set(self.channels)) < len(self.channels):
            raise ExportError(f"channels must be different names, got {self.channels!r}")
        labels = self.labels
        if not isinstance(labels, Mapping) or not labels or not _is_list_of(Integral, list(labels.values())):
            raise ExportError(f"labels must map each logit channel's name to a voxel value, got {labels!r}")
        for name, known in (("activation", ACTIVATIONS), ("normalization", NORMALIZATIONS)):
            if getattr(self, name) not in known:
                raise ExportError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        object.__setattr__(self, "window", tuple(int(side) for side in self.window))
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "labels", {name: int(value) for name, value in labels.items()})


def describe(entries: Mapping) -> ModelDescription:
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
        **{name: entries[name] for name in _NO_DEFAULT},
    )


def _is_list_of(kind: type, values: object) -> bool:
    return (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and all(isinstance(value, kind) and not isinstance(value, bool) for value in values)
    )


def _plain_json(config: Mapping) -> dict:
    """The config as it will be read back from the manifest: lists for tuples."""
    try:
        return json.loads(json.dumps(dict(config)))
    except (TypeError, ValueError) as error:
        raise ExportError(f"config must be a dict that JSON can hold, got {config!r}") from error
