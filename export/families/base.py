"""What a model family has to say of itself."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol

from torch import nn

from msdk_export.families.shapes import Shapes


class Family(Protocol):
    """A network, its configuration, and how its weights are recognised.

    name: in checkpoints and manifests. network: the module, made from a config. config: a frozen dataclass of
    JSON values that raises InputError on sizes that no network has, with depths (blocks a stage) among them.
    """

    name: str
    network: type[nn.Module]
    config: type[Any]

    @abstractmethod
    def votes(self, names: Iterable[str]) -> int:
        """How many of a state dict's names only this family has."""

    @abstractmethod
    def infer_config(self, shapes: Shapes) -> dict[str, Any]:
        """The entries of the config that these weights tell; None for an entry that they do not."""
