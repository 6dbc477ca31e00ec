"""metrics.csv: a row every few steps, none of them twice after a resume."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from msdk_rt.artifact.files import atomic_write
from msdk_rt.errors import OutputError

STEP = "step"


class MetricsLog:
    """A CSV file of rows with ascending steps. Rows after the first `kept`, which a resumed run writes again,
    are dropped, and with them one that a kill left half-written. Raises OutputError where it cannot write.
    """

    def __init__(self, path: Path, columns: Sequence[str], kept: int):
        self.path = path
        self.columns = (STEP, *columns)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        rows = lines[1 : 1 + kept]
        with atomic_write(path, "w") as file:
            file.write(_line(self.columns))
            file.writelines(rows)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row; columns without a value stay empty."""
        row = [step, *(_text(values.get(name)) for name in self.columns[1:])]
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(_line(row))
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}; make space, then go on with the same "
                "command"
            ) from error


def _line(row: Sequence[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
