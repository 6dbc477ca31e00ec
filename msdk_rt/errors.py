"""One exception tree: everything msdk_rt raises on purpose is an MsdkError.

Each message names what was expected, what was found, and what to do about it. The command line turns an
MsdkError into one line on stderr and exit code 1.
"""


class MsdkError(Exception):
    """Base of every error that msdk_rt and msdk_export raise on purpose."""


class InputError(MsdkError, ValueError):
    """A volume, array or argument does not fit the model: rank, channels, dtype, affine, NaN, ..."""


class ArtifactError(MsdkError):
    """A model file or its manifest is missing, damaged, edited, foreign, or from a newer msdk_rt."""


class BackendError(MsdkError):
    """An inference library, a provider or the op library is missing, or refused the model."""


class OutputError(MsdkError, OSError):
    """A result cannot be written: folder missing, no permission, disk full."""


class CheckpointError(MsdkError, ValueError):
    """A checkpoint cannot be read or does not match a known model family."""


class ExportError(MsdkError):
    """Export failed or the exported artifact does not agree with the PyTorch model."""


class TrainingError(MsdkError):
    """Training cannot go on: the loss is no longer finite."""


def shown(value: object, most: int = 200) -> str:
    """repr of a value that came from a file, cut to `most` characters."""
    try:
        text = repr(value)
    except ValueError:  # a whole number too long to print
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= most else f"{text[:most]}..."


def writable(text: str) -> str:
    """The text with what UTF-8 cannot say, such as bytes of a file's name, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def one_line(error: Exception) -> str:
    """The message without line breaks, which those of other libraries may hold."""
    return " ".join(str(error).split())
