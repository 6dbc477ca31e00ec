"""Plans a run from the command line's inputs and output: cases, where each result goes, entries left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from msdk_rt.artifact.files import check_writable
from msdk_rt.cohort.cases import SUFFIX, Case, LeftOut, case_at, file_fault, name_fault, picture_of
from msdk_rt.cohort.folder import FoundCase, case_name, find_in_folder
from msdk_rt.cohort.part import WHOLE, Part
from msdk_rt.cohort.series import Rules, is_dicom, parse_rules, spread
from msdk_rt.errors import InputError, OutputError
from msdk_rt.imaging.dicom.study import holds_one_study
from msdk_rt.imaging.formats import RESULTS, foreign_suffix, is_image_name, is_result_name, listed, writer_for
from msdk_rt.imaging.volumes import holds_channels

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """cases: to be segmented, by name. left_out: what was given and is no case. other_cases, other_left_out:
    those of other parts. folder: of the results, None where the one result is a file named by the user.
    """

    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...] = ()
    other_cases: tuple[Case, ...] = ()
    other_left_out: tuple[LeftOut, ...] = ()
    folder: Path | None = None
    part: Part = WHOLE


def plan(
    inputs: Sequence[Path],
    channels: Sequence[str],
    output: Path,
    series: Sequence[str] = (),
    suffix: str = SUFFIX,
    npz: bool = False,
) -> Plan:
    """The cases that `inputs` hold, their results under `output`, which is proved writable.

    inputs: one folder (msdk_rt.cohort.folder); or for a model with one channel any number of files, one case
    each; or one file per channel. A DICOM folder or zip counts as a file. output: a file that ends in one of
    the suffixes that are written for one case, otherwise a folder. series: rules (msdk_rt.cohort.series).
    suffix: of the results in a folder. npz: probabilities are nnU-Net's files. Raises InputError,
    OutputError, BackendError where the library that writes the results is missing.
    """
    _check_output(output)
    found, left_out = _find(inputs, channels, output, parse_rules(series, channels))
    if is_result_name(output):
        if len(found) > 1:
            raise OutputError(f"{output} is one file for {len(found)} cases: give a folder")
        cases = [case_at(case.name, case.files, output, choices=case.choices, npz=npz) for case in found]
        folder = None
    else:
        cases = [
            case_at(
                case.name,
                case.files,
                output / f"{case.name}{suffix}",
                picture_of(output, case.name),
                case.choices,
                npz,
            )
            for case in found
        ]
        folder = output
    cases, unfit = _without_unfit_results(cases)
    if unfit and not cases:
        raise OutputError(f"{unfit[0].path} {unfit[0].reason}")
    left_out += unfit
    if folder and inputs[0].is_dir():
        cases, taken = _without_shared_names(cases)
        left_out += taken
    check_distinct(cases)
    if cases:
        writer_for(cases[0].output).check_library()
    check_writable(folder or output.parent)
    return Plan(tuple(cases), tuple(left_out), folder=folder)


def part_of(whole: Plan, part: Part) -> Plan:
    """The plan of one of several jobs: every n-th case by name, every n-th entry of what is left out."""

    def split(entries: tuple[T, ...]) -> tuple[tuple[T, ...], tuple[T, ...]]:
        mine = range(part.index - 1, len(entries), part.count)
        others = tuple(entry for index, entry in enumerate(entries) if index not in mine)
        return tuple(entries[index] for index in mine), others

    cases, other_cases = split(whole.cases)
    left_out, other_left_out = split(whole.left_out)
    return replace(
        whole,
        cases=cases,
        left_out=left_out,
        other_cases=other_cases,
        other_left_out=other_left_out,
        part=part,
    )


def check_distinct(cases: Sequence[Case]) -> None:
    """Raise OutputError where two results share a file, or one lands on an input."""
    inputs = {path.resolve() for case in cases for path in case.inputs}
    taken: dict[Path, Case] = {}
    folders = [path for path in inputs if path.is_dir()]
    for case in cases:
        for path in (case.output.resolve(), case.probabilities.resolve()):
            if within := [folder for folder in folders if path.is_relative_to(folder)]:
                raise OutputError(
                    f"the result {path} would lie in the input folder {within[0]}: give another output"
                )
            if path in inputs:
                raise OutputError(f"the result {path} would replace an input: give another output")
            if path in taken:
                raise OutputError(
                    f"the results of {taken[path].inputs[0]} and {case.inputs[0]} would both be {path}"
                )
            taken[path] = case


def _find(
    inputs: Sequence[Path], channels: Sequence[str], output: Path, rules: Rules
) -> tuple[list[FoundCase], list[LeftOut]]:
    if len(inputs) == 1 and inputs[0].is_dir() and not _is_one_case(inputs[0]):
        if output.resolve() == inputs[0].resolve():
            raise OutputError(
                f"the output folder {output} is the input folder, whose next run would take results for "
                "inputs: give another output"
            )
        return find_in_folder(inputs[0], channels, output, rules)
    if missing := [str(path) for path in inputs if not path.exists() and not path.is_symlink()]:
        raise InputError(f"no file at {', '.join(missing)}: expected NIfTI volumes or a folder of them")
    if rules or (len(inputs) == 1 and len(channels) > 1 and is_dicom(inputs[0])):
        found = [FoundCase(case_name(path), *spread(path, channels, rules)) for path in inputs]
        if fault := next(filter(None, (name_fault(case.name) for case in found)), ""):
            raise InputError(f"an input {fault}")
        return found, []
    if folders := [str(path) for path in inputs if path.is_dir() and not is_dicom(path)]:
        raise InputError(
            f"got {len(inputs)} inputs, {folders[0]} is a folder: give one folder, or only files"
        )
    if len(channels) > 1 and len(inputs) != len(channels) and not _in_one_file(inputs, channels):
        raise InputError(
            f"got {len(inputs)} file(s), the model takes {len(channels)} per case ({', '.join(channels)}): "
            "give those in this order, or a folder of cases"
        )
    faults = {
        path: ("" if path.is_dir() else file_fault(path)) or name_fault(case_name(path)) for path in inputs
    }
    left_out = [LeftOut(path, fault) for path, fault in faults.items() if fault]
    if left_out and len(left_out) < len(inputs) and len(channels) == 1:
        return [FoundCase(case_name(path), (path,)) for path in inputs if not faults[path]], left_out
    if left_out:
        raise InputError("; ".join(f"{entry.path} {entry.reason}" for entry in left_out))
    if len(channels) == 1:
        return [FoundCase(case_name(path), (path,)) for path in inputs], []
    return [FoundCase(case_name(inputs[0]), tuple(inputs))], []


def _is_one_case(folder: Path) -> bool:
    """Whether a folder is a DICOM study by itself, and no folder of cases."""
    try:
        images = any(is_image_name(path) for path in folder.iterdir())
    except OSError:
        return False
    return not images and holds_one_study(folder)


def _without_unfit_results(cases: Sequence[Case]) -> tuple[list[Case], list[LeftOut]]:
    """The cases whose result can be written: DICOM objects refer to the DICOM images that were segmented."""
    kept, left_out = [], []
    for case in cases:
        if is_image_name(case.output) or not is_image_name(case.inputs[0]):
            kept.append(case)
            continue
        reason = f"is no DICOM image, and {case.output.name} refers to one: its result can be {SUFFIX}"
        left_out += [LeftOut(path, reason) for path in case.inputs]
    return kept, left_out


def _in_one_file(inputs: Sequence[Path], channels: Sequence[str]) -> bool:
    return len(inputs) == 1 and holds_channels(inputs[0], len(channels))


def _check_output(output: Path) -> None:
    """Raise OutputError for a name that cannot be what it seems to be."""
    if is_result_name(output):
        if output.is_dir():
            raise OutputError(f"{output} is a folder: give a file name that is free")
        return
    if suffix := foreign_suffix(output):
        raise OutputError(
            f"cannot write {output}: {suffix} is no format that is written here. Results are "
            f"{listed(RESULTS)} files; give such a name, or a folder"
        )
    if output.is_file():
        raise OutputError(f"{output} is a file, expected a folder or a name ending in {listed(RESULTS)}")


def _without_shared_names(cases: Sequence[Case]) -> tuple[list[Case], list[LeftOut]]:
    """The cases of a folder; cases whose labels would share a file are left out."""
    maps = {case.probabilities: case for case in cases}
    kept, left_out = [], []
    for case in cases:
        if case.output in maps:
            owner = f"the name of the probabilities of {maps[case.output].name}"
        elif case.output.is_dir():
            owner = f"and {case.output} is a folder"
        else:
            kept.append(case)
            continue
        reason = f"would have the result {case.output.name}, {owner}: rename it, or give another output"
        left_out += [LeftOut(path, reason) for path in case.inputs]
    return kept, left_out
