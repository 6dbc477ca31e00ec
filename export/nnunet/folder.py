"""A results folder as nnUNetv2_train leaves it: plans.json, dataset.json, fold_0/checkpoint_final.pth, ..."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from msdk_export.checkpoints.pickles import read_pickle
from msdk_export.checkpoints.tensors import check_tensors
from msdk_export.nnunet.plans import configuration_of, difference
from msdk_export.wording import listed
from msdk_rt.errors import CheckpointError, shown

PLANS, DATASET = "plans.json", "dataset.json"
CHECKPOINT = "checkpoint_final.pth"
MOST_JSON_BYTES = 64 << 20
Fold = int | str


@dataclass(frozen=True)
class Results:
    """What a results folder says.

    plans: of the whole experiment. configuration: of the one that was trained, with what it inherits, named
    `name`. dataset: dataset.json. trainer: name of the trainer's class. mirror_axes: of the configuration's
    own axes, two of a 2d one. weights: a state dict for each of `folds`.
    """

    folder: Path
    plans: Mapping[str, Any]
    name: str
    configuration: Mapping[str, Any]
    dataset: Mapping[str, Any]
    trainer: str
    mirror_axes: tuple[int, ...]
    folds: tuple[Fold, ...]
    weights: tuple[dict[str, Tensor], ...]


def is_results_folder(path: object) -> bool:
    """Whether it is a folder with plans.json, or one that lies in such a folder as fold_0 does."""
    return isinstance(path, (str, Path)) and Path(path).is_dir() and _root(Path(path)) is not None


def read_results(
    path: str | Path, folds: Sequence[Fold] | Fold | None = None, checkpoint: str | None = None
) -> Results:
    """Read plans, dataset and the weights of the folds.

    folds: numbers, or "all". Default: every fold that has the checkpoint; "all" where no other has.
    checkpoint: name of the file in each fold's folder. Default: checkpoint_final.pth.

    Raises CheckpointError: a file missing or damaged, a pickle that would run code, folds of different
    plans, configurations or trainers.
    """
    folder = Path(path)
    if _root(folder) != folder:
        raise CheckpointError(
            f"{folder} is one fold of a results folder: give {folder.parent}, with "
            f"folds={_fold(folder.name)!r}"
        )
    plans, dataset = _read_json(folder / PLANS), _read_json(folder / DATASET)
    file = checkpoint or CHECKPOINT
    chosen = _chosen(folder, folds, file)
    first, *others = [_read_fold(folder / f"fold_{fold}" / file) for fold in chosen]
    name = first["init_args"]["configuration"]
    configuration = configuration_of(plans, name, folder / PLANS)
    for fold, content in zip(chosen, [first, *others], strict=True):
        where = folder / f"fold_{fold}" / file
        for entry, found, expected in (
            ("trainer", content["trainer_name"], first["trainer_name"]),
            ("configuration", content["init_args"]["configuration"], name),
        ):
            if found != expected:
                raise CheckpointError(
                    f"{where} has the {entry} {shown(found)}, and fold_{chosen[0]} has {shown(expected)}: "
                    "give "
                    "folds of one training"
                )
        own = content["init_args"].get("plans")
        if own and (differs := difference(configuration_of(own, name, where), configuration)):
            raise CheckpointError(
                f"{where} was trained with other plans than {folder / PLANS}: {differs}. Put the plans.json "
                "of "
                "the training beside its folds"
            )
    axes = first.get("inference_allowed_mirroring_axes")
    return Results(
        folder=folder,
        plans=plans,
        name=name,
        configuration=configuration,
        dataset=dataset,
        trainer=first["trainer_name"],
        mirror_axes=_axes(axes, folder / f"fold_{chosen[0]}" / file),
        folds=chosen,
        weights=tuple(content["network_weights"] for content in (first, *others)),
    )


def _root(path: Path) -> Path | None:
    return next((folder for folder in (path, path.parent) if (folder / PLANS).is_file()), None)


def _fold(name: str) -> Fold:
    text = name.removeprefix("fold_")
    return int(text) if text.isdecimal() else text


def _chosen(folder: Path, folds: Sequence[Fold] | Fold | None, file: str) -> tuple[Fold, ...]:
    """The folds to read, each of which has the checkpoint."""
    there = sorted((_fold(entry.parent.name) for entry in folder.glob(f"fold_*/{file}")), key=str)
    numbered = [fold for fold in there if fold != "all"]
    if folds is None:
        wanted: list[Fold] = list(numbered or there)
    else:
        wanted = [folds] if isinstance(folds, (int, str)) else list(folds)
        wanted = [_fold(fold) if isinstance(fold, str) else int(fold) for fold in wanted]
    missing = [fold for fold in wanted if fold not in there]
    if missing or not wanted:
        lacks = f"fold_{missing[0]} has no {file}" if missing else f"no fold has a {file}"
        found = ", ".join(f"fold_{fold}" for fold in there) or "none"
        raise CheckpointError(
            f"{folder}: {lacks}, folds with one: {found}. Finish that fold's training, choose others with "
            "folds=, or another checkpoint with weights='checkpoint_best.pth'"
        )
    if len(set(wanted)) < len(wanted):
        raise CheckpointError(f"folds must be different, got {shown(wanted)}")
    return tuple(wanted)


def _read_fold(path: Path) -> dict[str, Any]:
    """A checkpoint of nnU-Net's trainer, whose entries used here are of their types."""
    content = read_pickle(path)
    expected: dict[str, type] = {"network_weights": dict, "init_args": dict, "trainer_name": str}
    wrong = [
        name
        for name, kind in expected.items()
        if not isinstance(content, dict) or not isinstance(content.get(name), kind)
    ]
    if not wrong and not isinstance(content["init_args"].get("configuration"), str):
        wrong = ["init_args.configuration"]
    if wrong:
        raise CheckpointError(f"{path}: no checkpoint of nnU-Net's trainer, it lacks {listed(wrong)}")
    weights = content["network_weights"]
    if foreign := [name for name, value in weights.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path}: its network_weights hold more than tensors: {listed(foreign)}")
    check_tensors(path, weights)
    return dict(content)


def _axes(value: object, path: Path) -> tuple[int, ...]:
    if value is None:
        return ()
    if isinstance(value, (list, tuple)) and all(isinstance(axis, int) for axis in value):
        return tuple(value)
    raise CheckpointError(
        f"{path}: its inference_allowed_mirroring_axes must be axes such as (0, 1, 2), found {shown(value)}"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise CheckpointError(
                f"{path} has more than {MOST_JSON_BYTES} bytes, expected a file of nnU-Net's"
            )
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"no {path.name} in {path.parent}: copy the whole results folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot read {path} as JSON ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected an object of nnU-Net's")
    return content
