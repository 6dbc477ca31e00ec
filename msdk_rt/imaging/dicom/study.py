"""Whether a folder is one DICOM study or holds several cases."""

from pathlib import Path
from typing import Any

from msdk_rt.errors import InputError
from msdk_rt.imaging.dicom.container import first_in, holds_dicom_at_top
from msdk_rt.imaging.dicom.library import read_dataset


def holds_one_study(folder: Path) -> bool:
    """Whether DICOM files lie in the folder itself, or those in the folders in it are of one study.

    Looks at one file of each folder. Raises InputError for one that cannot be read.
    """
    if holds_dicom_at_top(folder):
        return True
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return False
    firsts = [path for path in map(first_in, folders) if path is not None]
    return bool(firsts) and len({_study(path) for path in firsts}) == 1


def _study(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            header = read_dataset(file, "a file", tags=["StudyInstanceUID"])
    except (OSError, InputError):
        return object()  # a study that nobody can read is none of the others
    return str(header.get("StudyInstanceUID", ""))
