"""A derivative dataset of segmentations: where results go and what describes them."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msdk_rt
from msdk_rt.artifact.files import atomic_write, check_writable, read_object, remove_leftovers
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.cohort.bids.dataset import DESCRIPTION, BidsCase, find_in_dataset
from msdk_rt.cohort.bids.query import queries_for
from msdk_rt.cohort.cases import Case, picture_of
from msdk_rt.cohort.plan import Plan
from msdk_rt.errors import OutputError

BIDS_VERSION = "1.10.0"
GENERATOR = "msdk_rt"
IGNORED = ("report*.json", "volumes.tsv", "qc.html", "qc", "qc/**")
README = """Segmentations made by msdk-rt bids.

Each `*_dseg.nii.gz` has the voxels of its source; `*_dseg.tsv` names its values, `*_dseg.json` says which
model, settings, input and versions made it. `volumes.tsv` has the volumes of all, `qc.html` a picture of
each, and `report.json` what could not be segmented and why.
"""


def plan_dataset(
    dataset: Path,
    manifest: Manifest,
    output: Path,
    *,
    participants: Collection[str] = (),
    channels: Mapping[str, str] | None = None,
    source: str = "",
) -> Plan:
    """The cases of a BIDS dataset, their results in a derivative dataset, which is described already.

    participants: labels, all where there are none. channels: {channel: suffix with entities} where the names
    of the model's channels do not say it. source: URL of the dataset, where its path leads nowhere from the
    output. Raises InputError, OutputError.
    """
    if output.resolve() == dataset.resolve():
        raise OutputError(f"the output {output} is the dataset: give {dataset / 'derivatives' / GENERATOR}")
    queries = queries_for(manifest.channels, channels or {})
    labels = {label.removeprefix("sub-") for label in participants}
    found, left_out = find_in_dataset(dataset, manifest.channels, queries, sorted(labels))
    about = read_object(dataset / DESCRIPTION)
    check_writable(output)
    _describe(source or os.path.relpath(dataset.resolve(), output.resolve()), output, about)
    cases = [_case(case, dataset, manifest.labels, output) for case in found]
    for case in cases:
        remove_leftovers(case.output.parent)
    return Plan(tuple(cases), tuple(left_out), folder=output)


def _case(found: BidsCase, dataset: Path, labels: Mapping[str, int], output: Path) -> Case:
    base = output / found.place / "anat" / found.name
    sources = [f"bids:raw:{path.relative_to(dataset).as_posix()}" for path in found.files]
    described: dict[str, Any] = {
        "Description": "Labels of every voxel, by a network",
        "Sources": sources,
        "SpatialReference": sources[0],
        "Manual": False,
    }
    rows = sorted((value, name) for name, value in labels.items())
    table = "index\tname\n" + "".join(f"{value}\t{name}\n" for value, name in rows)
    return Case(
        found.name,
        found.files,
        output=base.with_name(f"{found.name}_dseg.nii.gz"),
        probabilities=base.with_name(f"{found.name}_probseg.nii.gz"),
        record=base.with_name(f"{found.name}_dseg.json"),
        picture=picture_of(output, found.name),
        described=described,
        companions={base.with_name(f"{found.name}_dseg.tsv"): table},
    )


def _describe(raw: str, output: Path, source: Mapping[str, Any]) -> None:
    """Write dataset_description.json, README and .bidsignore. Raises OutputError over another's dataset."""
    if (output / DESCRIPTION).exists():
        generators: Sequence[Any] = read_object(output / DESCRIPTION).get("GeneratedBy") or [{}]
        if not isinstance(generators[0], dict) or generators[0].get("Name") != GENERATOR:
            raise OutputError(f"{output} is a dataset that {GENERATOR} did not make: give another output")
    entries: dict[str, Any] = {
        "Name": f"Segmentations of {source.get('Name', 'a dataset')}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": GENERATOR, "Version": msdk_rt.__version__}],
        "DatasetLinks": {"raw": raw},
    }
    entries |= {key: source[key] for key in ("Authors", "License") if key in source}
    texts = {
        DESCRIPTION: json.dumps(entries, indent=2) + "\n",
        "README.md": README,
        ".bidsignore": "".join(f"{pattern}\n" for pattern in IGNORED),
    }
    for name, text in texts.items():
        if name == DESCRIPTION or not (output / name).exists():
            with atomic_write(output / name, "w") as file:
                file.write(text)
