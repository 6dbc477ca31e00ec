"""pydicom and highdicom, imported where they are used: the runtime does without them."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

from msdk_rt.errors import BackendError, InputError

# Their warnings quote values of headers, among them names: none of these may reach a log or a report.
SPEAKERS = r"(pydicom|highdicom|msdk_rt\.imaging\.dicom)(\.|$)"


@contextlib.contextmanager
def dicom() -> Iterator[None]:
    """A block that may import pydicom and highdicom. Raises BackendError where they are not installed.

    Whatever these warn of in the block is not shown.
    """
    warnings.filterwarnings("ignore", module=SPEAKERS)
    try:
        yield
    except ModuleNotFoundError as error:
        raise BackendError(
            f"DICOM needs {error.name}, which is not installed: pip install 'msdk_rt[dicom]'"
        ) from error


def read_dataset(file: BinaryIO, what: str, *, pixels: bool = False, tags: list[str] | None = None) -> Any:
    """A pydicom.Dataset. what: names the file in a message, which quotes nothing of it. tags: only these.

    Raises InputError.
    """
    with dicom():
        import pydicom

        try:
            return pydicom.dcmread(file, stop_before_pixels=not pixels, specific_tags=tags)
        except Exception as error:  # damaged files end in errors of every kind
            raise InputError(
                f"{what} cannot be read as DICOM ({type(error).__name__}): it is damaged, copy it again"
            ) from None
