"""The shapes of a state dict, as the families read sizes from them."""

import re
from collections import Counter


class Shapes(dict[str, tuple[int, ...]]):
    """Tensor shapes by name, questioned by regular expressions that match whole names."""

    def side(self, axis: int, pattern: str) -> int | None:
        """The size along `axis` of most of the tensors with such a name; None where there is none."""
        sides = Counter(
            shape[axis]
            for name, shape in self.items()
            if len(shape) > axis and re.fullmatch(pattern, name) is not None
        )
        return sides.most_common(1)[0][0] if sides else None

    def count(self, pattern: str) -> int:
        """How many different texts the pattern's group has."""
        matches = (re.fullmatch(pattern, name) for name in self)
        return len({match[1] for match in matches if match})

    def scan_sizes(self, stages: str, width: int) -> dict[str, int | None]:
        """d_state, d_conv and expand of the Mamba blocks whose stages' names begin with `stages`.

        width: the channels of the first stage.
        """
        blocks = rf"{stages}\.\d+\.\d+\.mamba"
        inner = self.side(0, rf"{stages}\.0\.\d+\.mamba\.D(_s)?(_b)?")
        return {
            "d_state": self.side(1, rf"{blocks}\.A(_s)?(_b)?_log"),
            "d_conv": self.side(2, rf"{blocks}\.conv1d(_s)?(_b)?\.weight"),
            "expand": inner and max(1, inner // max(1, width)),
        }
