"""Finds the cases in the command line's inputs: their files, and where each result goes."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msdk_rt.artifact.files import check_writable
from msdk_rt.errors import InputError, OutputError
from msdk_rt.imaging.formats import SUFFIXES, stem, writer_for


@dataclass(frozen=True)
class Case:
    """name: of the result. inputs: one file per channel, in order. output: where the labels go."""

    name: str
    inputs: tuple[Path, ...]
    output: Path

    @property
    def probabilities(self) -> Path:
        """`brain_probabilities.nii.gz` for `brain.nii.gz`."""
        suffix = self.output.name[len(stem(self.output)) :]
        return self.output.with_name(f"{stem(self.output)}_probabilities{suffix}")


def find_cases(inputs: Sequence[Path], channels: Sequence[str], output: Path) -> list[Case]:
    """Find the cases that `inputs` hold; their results go under `output`, which must be writable.

    inputs: one folder; or for a model with one channel any number of files, one case each; or one file per
    channel. In a folder, every NIfTI file is a case for a model with one channel, otherwise files are named
    <case>_<channel index, 4 digits>.nii.gz as nnU-Net names them.
    output: a .nii or .nii.gz file for one case, otherwise a folder.
    Raises InputError, OutputError.
    """
    if missing := [str(path) for path in inputs if not path.exists()]:
        raise InputError(f"no file at {', '.join(missing)}: expected NIfTI volumes or a folder of them")
    if len(inputs) == 1 and inputs[0].is_dir():
        found = _cases_in(inputs[0], channels)
    elif len(channels) == 1:
        found = [(stem(path), (path,)) for path in inputs]
    elif len(inputs) == len(channels):
        found = [(stem(inputs[0]), tuple(inputs))]
    else:
        raise InputError(
            f"got {len(inputs)} file(s), the model takes {len(channels)} per case ({', '.join(channels)}): "
            "give those in this order, or a folder of cases"
        )
    cases = [
        Case(name, files, path) for (name, files), path in zip(found, _outputs(found, output), strict=True)
    ]
    _check_distinct(cases)
    return cases


def _cases_in(folder: Path, channels: Sequence[str]) -> list[tuple[str, tuple[Path, ...]]]:
    files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES) and path.is_file())
    if not files:
        raise InputError(f"{folder} holds no .nii or .nii.gz file")
    if len(channels) == 1:
        return [(stem(path), (path,)) for path in files]
    cases: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in files:
        match = re.fullmatch(r"(.+)_(\d{4})", stem(path))
        if match is None:
            raise InputError(
                f"{path.name} does not say its channel: expected <case>_<channel index, 4 digits>.nii.gz, "
                f"such as {stem(path)}_0000.nii.gz for {channels[0]}"
            )
        cases[match[1]][int(match[2])] = path
    for name, found in cases.items():
        if found.keys() != set(range(len(channels))):
            raise InputError(
                f"case {name} in {folder} has channel(s) {sorted(found)}, expected "
                f"{', '.join(f'{index} = {channel}' for index, channel in enumerate(channels))}"
            )
    return [(name, tuple(found[index] for index in sorted(found))) for name, found in cases.items()]


def _outputs(found: Sequence[tuple[str, tuple[Path, ...]]], output: Path) -> list[Path]:
    """One path per case, in a folder that can be written to."""
    if not output.name.endswith(SUFFIXES):
        if output.is_file():
            raise OutputError(
                f"{output} is a file, expected a folder or a name ending in {' or '.join(SUFFIXES)}"
            )
        check_writable(output)
        return [output / f"{name}.nii.gz" for name, _ in found]
    if len(found) > 1:
        raise OutputError(f"{output} is one file for {len(found)} cases: give a folder")
    if output.is_dir():
        raise OutputError(f"{output} is a folder: give a file name that is free")
    writer_for(output)
    check_writable(output.parent)
    return [output]


def _check_distinct(cases: Sequence[Case]) -> None:
    """Raise OutputError where two results share a file, or one lands on an input."""
    inputs = {path.resolve() for case in cases for path in case.inputs}
    taken: dict[Path, Case] = {}
    for case in cases:
        for path in (case.output.resolve(), case.probabilities.resolve()):
            if path in inputs:
                raise OutputError(f"the result {path} would replace an input: give another output")
            if path in taken:
                raise OutputError(
                    f"the results of {taken[path].inputs[0]} and {case.inputs[0]} would both be {path}"
                )
            taken[path] = case
