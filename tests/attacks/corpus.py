"""The corpus: numbered attacks, each a sentence and a function that prepares a folder.

The folder holds model.onnx of one channel with its manifest, scan.nii and weights.safetensors of a tiny
network, as an honest user would have them; an attack replaces one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SEGMENT = "tests.attacks.actions:segment"
EXPORT = "tests.attacks.actions:export"


@dataclass(frozen=True)
class Attack:
    """number: such as V07. refusal: the error it must end in, "" where the file is legal.

    arguments: of the action, each a file name in the folder.
    """

    number: str
    sentence: str
    prepare: Callable[[Path], None]
    refusal: str
    action: str
    arguments: tuple[str, ...]


class Series:
    """Attacks of one kind, numbered as they are written; new ones go to the end."""

    def __init__(self, letter: str, action: str, *arguments: str):
        self.attacks: list[Attack] = []
        self._letter, self._action, self._arguments = letter, action, arguments

    def attack(self, sentence: str, refusal: str, *arguments: str) -> Callable:
        """Decorates prepare(folder). arguments: other than those of the series."""

        def add(prepare: Callable[[Path], None]) -> Callable[[Path], None]:
            number = f"{self._letter}{len(self.attacks) + 1:02d}"
            self.attacks.append(
                Attack(number, sentence, prepare, refusal, self._action, arguments or self._arguments)
            )
            return prepare

        return add
