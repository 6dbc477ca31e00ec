"""metrics.csv: a row every few steps, never one too many after a resume."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from msdk_rt.errors import OutputError
from msdk_rt.files import atomic_write

STEP = "step"


class MetricsLog:
    """A CSV file of rows with ascending steps. Rows after `step`, where a resumed run begins, are dropped.

    A row that a kill left half-written is dropped with them. Raises OutputError when it cannot be written.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int):
        self.path = path
        self.columns = (STEP, *columns)
        with atomic_write(path, "w") as file:
            file.write(_line(self.columns))
            file.writelines(_rows_until(path, step))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row; columns without a value stay empty."""
        row = [step, *(_text(values.get(name)) for name in self.columns[1:])]
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(_line(row))
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}; make space and go on with the same command"
            ) from error


def _rows_until(path: Path, step: int) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    return [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) <= step]


def _line(row: Sequence) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
