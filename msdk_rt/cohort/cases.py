"""A case: the files that are segmented together, and where their result goes."""

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msdk_rt.cohort.remote.mirror import Mirror
from msdk_rt.imaging.formats import stem

SUFFIX = ".nii.gz"
NIFTI = (SUFFIX, ".nii")  # of probabilities
NPZ = ".npz"
MOST_NAME_BYTES = 255  # of one name, on every common file system


@dataclass(frozen=True)
class Case:
    """One case of a cohort.

    name: unique in its plan. inputs: one file per channel, in the model's order. output: where the labels go.
    probabilities: where their maps go, if they are asked for. record: a JSON file that says what made the
    result. picture: where a small PNG of it goes, if anywhere. described: entries of the record beside its
    provenance. companions: {path: text} of small files that belong to the result. choices: the DICOM series
    of each input, as msdk_rt.imaging.volumes.read_volume takes them; () for the only one. mirror: says which
    of the paths stand for URLs.
    """

    name: str
    inputs: tuple[Path, ...]
    output: Path
    probabilities: Path
    record: Path
    picture: Path | None = None
    described: Mapping[str, Any] = field(default_factory=dict)
    companions: Mapping[Path, str] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    mirror: Mirror | None = None

    def shown(self, path: Path) -> str:
        """One of the case's paths, as its user knows it."""
        return (self.mirror and self.mirror.url(path)) or str(path)

    def told(self, text: str) -> str:
        """A sentence about the case, in words of its user."""
        return self.mirror.told(text) if self.mirror else text


def case_at(
    name: str,
    inputs: tuple[Path, ...],
    output: Path,
    picture: Path | None = None,
    choices: tuple[str, ...] = (),
    npz: bool = False,
) -> Case:
    """The case whose labels go to `output`, with `brain_probabilities.nii.gz` and `brain.nii.gz.json` beside
    `brain.nii.gz`. Probabilities are NIfTI whatever the labels are; npz: nnU-Net's `brain.npz` instead.
    """
    base = stem(output)
    own = output.name[len(base) :]
    suffix = own if own.lower() in NIFTI else SUFFIX
    maps = output.with_name(f"{base}{NPZ}" if npz else f"{base}_probabilities{suffix}")
    record = output.with_name(f"{output.name}.json")
    return Case(name, inputs, output, maps, record, picture, choices=choices)


def picture_of(folder: Path, name: str) -> Path:
    """Where the picture of a case goes, for results in `folder`."""
    return folder / "qc" / f"{name}.png"


@dataclass(frozen=True)
class LeftOut:
    """Something that was given and is no case. reason: a sentence. harmless: certainly no lost case, such as
    the metadata of one. url: of what the path stands for, if it does.
    """

    path: Path
    reason: str
    harmless: bool = False
    url: str = ""

    @property
    def place(self) -> str:
        """Where it is, as its user knows it."""
        return self.url or str(self.path)


def file_fault(path: Path) -> str:
    """Why `path` cannot be read as a file, "" if it can. Opens it, and waits for nothing."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return _fault_of(path, error)
    if stat.S_ISDIR(mode):
        return "is a folder: only files are read, give it as an input itself"
    if not stat.S_ISREG(mode):
        return "is no regular file but a pipe, socket or device: copy what it gives into a file"
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return _fault_of(path, error)


def name_fault(name: str) -> str:
    """Why a case cannot have this name, "" if it can."""
    try:
        length = len(f"{name}{SUFFIX}.json".encode())
    except UnicodeEncodeError:
        return "has a name that is not UTF-8: rename it"
    if not name.isprintable():
        return "has control characters in its name: rename it"
    if length > MOST_NAME_BYTES:
        return (
            f"has so long a name that its result's would have {length} bytes, and a name has at most "
            f"{MOST_NAME_BYTES}: shorten it"
        )
    return ""


def _fault_of(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        target = os.readlink(path)
        advice = "`git annex get` fetches it" if ".git/annex" in target else "fetch it, or mend the link"
        return f"is a link to {target}, which is missing: {advice}"
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself: mend the link"
    return f"cannot be read, {error.strerror or error}: make it readable for this user"
