"""The protocol of a model family."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from torch import nn

from msdk_export.families.shapes import Shapes


@dataclass(frozen=True)
class Ambiguity:
    """An entry of a config that the weights do not determine: they fit every reading of it.

    why: a sentence without a full stop. readings: the values to try against a reference, for a window
    (D, H, W), the assumed one first.
    """

    entry: str
    why: str
    readings: Callable[[tuple[int, int, int]], tuple[Any, ...]]


class Family(Protocol):
    """A network, its configuration, and how its weights are recognised.

    name: in checkpoints and manifests. network: the module, made from a config. config: a frozen dataclass of
    JSON values that raises InputError on sizes that no network has, with depths (blocks a stage) among them.
    ambiguities: the entries that no weights tell; infer_config leaves them out. since: entries of the config
    that are newer than descriptions in use, and what they are where such a description lacks them alone.
    """

    name: str
    network: type[nn.Module]
    config: type[Any]
    ambiguities: tuple[Ambiguity, ...] = ()
    since: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def votes(self, names: Iterable[str]) -> int:
        """How many of a state dict's names only this family has."""

    @abstractmethod
    def infer_config(self, shapes: Shapes) -> dict[str, Any]:
        """The entries of the config that these weights tell; None for an entry that they do not."""
