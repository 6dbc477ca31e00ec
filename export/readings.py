"""Weights that fit several networks: picks the reading of them that agrees with a reference."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdk_export.checkpoints.model import network_of
from msdk_export.description import ModelDescription, describe
from msdk_export.families import Ambiguity, family_named, identify
from msdk_export.notes import note, record
from msdk_export.parity import mean_of_folds
from msdk_export.samples import LabelMap, Sample, labelled_window
from msdk_rt.errors import InputError
from msdk_rt.inference.labels import dice, label_voxels

CLEARLY = 0.05  # of mean Dice that one reading must be above another
LEAST = 0.3  # of mean Dice, below which the reference is hardly this network's

Reading = tuple[Any, ...]  # a value for each ambiguity


def settled_by_reference(
    entries: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    sample: Sample,
    reference: LabelMap,
) -> dict[str, Any]:
    """The entries of export, with what the reference tells of the config and the entries do not say.

    Every reading of the weights labels the window around the reference's foreground. An entry of the config
    that is given stays, and a note says so where another value agrees clearly better; one that is not given
    gets the value that agrees clearly best, if one does. Raises CheckpointError and InputError.
    """
    name, config = identify(entries, state_dict)
    family, given = family_named(name), entries.get("config", {})
    description = describe({**entries, "family": name, "config": config})
    window, expected = labelled_window(sample, reference, description)
    agreement: dict[Reading, float] = {}
    choices = [_choices(ambiguity, given, description.window) for ambiguity in family.ambiguities]
    for reading in itertools.product(*choices):
        values = zip((ambiguity.entry for ambiguity in family.ambiguities), reading, strict=True)
        network = network_of(name, config | dict(values), state_dict)
        try:
            with torch.inference_mode():
                logits = network(torch.from_numpy(window)).numpy()
        except InputError:  # the window does not fit this reading
            continue
        agreement[reading] = _agreement(logits, expected, description)
    if not agreement:
        return dict(entries)
    settled = {}
    for index, ambiguity in enumerate(family.ambiguities):
        best = _best_by_value(agreement, index)
        if ambiguity.entry in given:
            _compare_given(ambiguity, given[ambiguity.entry], best)
        elif (value := _clear_winner(ambiguity, best)) is not None:
            settled[ambiguity.entry] = value
    return {**entries, "config": {**given, **settled}}


def record_agreement(logits: np.ndarray, expected: np.ndarray, description: ModelDescription) -> None:
    """Keep in the manifest how well the network agrees with the reference on labelled_window.

    logits: (1, K, D, H, W), the network's, of all folds. expected: (D, H, W), the reference's voxel values.
    """
    found = _agreement(logits, expected, description)
    record(f"on a window of the sample the network agrees with the reference: mean Dice {found:.3f}")


def _choices(ambiguity: Ambiguity, given: Mapping[str, Any], window: tuple[int, int, int]) -> list[Any]:
    """The values to try, a given one among them."""
    values = [_plain(value) for value in ambiguity.readings(window)]
    if ambiguity.entry in given and (own := _plain(given[ambiguity.entry])) not in values:
        values.append(own)
    return values


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _best_by_value(agreement: Mapping[Reading, float], index: int) -> dict[Any, float]:
    """For each value of one ambiguity the best agreement of the readings that have it."""
    best: dict[Any, float] = {}
    for reading, found in agreement.items():
        best[reading[index]] = max(found, best.get(reading[index], 0.0))
    return best


def _clear_winner(ambiguity: Ambiguity, best: Mapping[Any, float]) -> Any:
    """The value that agrees clearly best, None where none does; says which in a note."""
    if len(best) < 2:
        return None
    first, second = sorted(best, key=lambda value: best[value], reverse=True)[:2]
    if best[first] - best[second] < CLEARLY or best[first] < LEAST:
        record(f"the reference does not tell {ambiguity.entry}: {_listed(ambiguity, best)}")
        return None
    note(
        f"{_shown(ambiguity, first)} was taken, which the weights do not tell ({ambiguity.why}): it agrees "
        f"best with the reference ({_listed(ambiguity, best)})"
    )
    return first


def _compare_given(ambiguity: Ambiguity, value: Any, best: Mapping[Any, float]) -> None:
    """Note that another value than the given one agrees clearly better, if one does."""
    own = best.get(_plain(value), 0.0)
    other = max(best, key=lambda value: best[value])
    if best[other] - own >= CLEARLY and best[other] >= LEAST:
        note(
            f"{_shown(ambiguity, value)} was taken as given, and {_shown(ambiguity, other)} agrees better "
            f"with the reference ({_listed(ambiguity, best)}): check which code the network was trained with"
        )


def _shown(ambiguity: Ambiguity, value: Any) -> str:
    return f"{ambiguity.entry}={value!r}"


def _listed(ambiguity: Ambiguity, best: Mapping[Any, float]) -> str:
    return "mean Dice " + ", ".join(f"{found:.3f} for {_shown(ambiguity, v)}" for v, found in best.items())


def _agreement(logits: np.ndarray, expected: np.ndarray, description: ModelDescription) -> float:
    """Mean Dice over the labels other than 0 that the network finds or the reference has."""
    logits = mean_of_folds(logits, description.folds)
    labels = label_voxels(logits[0], list(description.labels.values()), description.activation)
    foreground = {name: value for name, value in description.labels.items() if value != 0}
    return float(np.nanmean(list(dice(labels, expected, foreground).values())))
