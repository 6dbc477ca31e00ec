"""Shows a BIDS dataset of an object store as a folder of empty files."""

from collections.abc import Collection
from pathlib import Path

from msdk_rt.cohort.bids.dataset import DESCRIPTION
from msdk_rt.cohort.cases import LeftOut
from msdk_rt.cohort.remote import store
from msdk_rt.cohort.remote.url import Url
from msdk_rt.cohort.remote.view import stand_in

DEPTHS = (2, 3)  # datatype/file, session/datatype/file


def list_dataset(participants: Collection[str], url: Url, folder: Path, output: str) -> list[LeftOut]:
    """Show the files of subjects. participants: labels, all where there are none. output: never among them.

    Returns the subjects with a name that cannot be shown. Raises InputError.
    """
    asked = {f"sub-{label.removeprefix('sub-')}" for label in participants}
    left_out: list[LeftOut] = []
    for name, is_folder in store.names_in(url).items():
        if name == DESCRIPTION:
            store.fetch(f"{url}/{name}", folder / name)
        elif is_folder and name.startswith("sub-") and (not asked or name in asked):
            left_out += stand_in(folder, name, is_folder=True)
            for file in store.files_below(f"{url}/{name}"):
                if len(file.split("/")) in DEPTHS:
                    left_out += stand_in(folder / name, file)
    return left_out
