"""Which family a state dict belongs to, and its sizes, read from the names and shapes of the tensors."""

import re
from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from msdk_export.models import FAMILIES, SegMambaConfig
from msdk_export.models.segmamba import STAGES
from msdk_rt.errors import CheckpointError

LONGEST = 150  # of a name that is shown
_SIGNATURES = {
    "msd_kmamba": r"stages\.\d+\.\d+\.(mamba|mamba_norm|kan|kan_norm|local|neighbourhood)\..*",
    "segmamba": r"vit\.(stages\.\d+\.\d+\.mamba|gscs\.\d+)\..*",
}


def recognise(state_dict: Mapping[str, Tensor]) -> str | None:
    """The family that most of the names speak for, None where none does."""
    votes = {
        family: sum(re.fullmatch(signature, name) is not None for name in state_dict)
        for family, signature in _SIGNATURES.items()
    }
    family = max(votes, key=votes.get)
    return family if votes[family] else None


def identify(description: Mapping, state_dict: Mapping[str, Tensor]) -> tuple[str, dict]:
    """Family and config of the weights: what the description says, and from the weights what it leaves out.

    Of a SegMamba everything but nslices can be read from the weights, of an MSDKMamba everything but the
    directions; these get their family's default. So does any size whose tensors are missing.

    Raises CheckpointError when the family is neither given nor recognisable, or given and unknown, and when
    the config is no mapping.
    """
    family = description.get("family") or recognise(state_dict)
    if family is None:
        raise CheckpointError(
            f"the checkpoint does not say which network it holds, and its {len(state_dict)} keys "
            f"({listed(list(state_dict))}) are those of no known family ({', '.join(FAMILIES)}): pass "
            "family= and config=, or build the network in PyTorch and export that"
        )
    if family not in tuple(FAMILIES):
        raise CheckpointError(f"unknown model family {family!r}: expected one of {', '.join(FAMILIES)}")
    config = description.get("config", {})
    if not isinstance(config, Mapping):
        raise CheckpointError(
            f"the checkpoint's config does not describe a {family} network: expected an object with its "
            f"sizes, got {config!r}"
        )
    return family, infer_config(family, state_dict) | dict(config)


def infer_config(family: str, state_dict: Mapping[str, Tensor]) -> dict:
    """The sizes of a network of this family that its weights tell."""
    read = {"msd_kmamba": _msd_kmamba_sizes, "segmamba": _segmamba_sizes}[family]
    sizes = read(_Shapes({name: tuple(tensor.shape) for name, tensor in state_dict.items()}))
    return {name: size for name, size in sizes.items() if size is not None}


def listed(names: list[str], limit: int = 8) -> str:
    """The first names, and how many more there are."""
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names[:limit]]
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shown) + rest


class _Shapes(dict[str, tuple[int, ...]]):
    """Tensor shapes by name, questioned by regular expressions that match whole names."""

    def side(self, axis: int, pattern: str) -> int | None:
        """What most of the tensors with such a name have along `axis`; None where there is none."""
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

    def scan_sizes(self, stages: str, width: int) -> dict:
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


def _segmamba_sizes(shapes: _Shapes) -> dict:
    default = SegMambaConfig()
    dims, depths = [], []
    for stage in range(STAGES):
        own = rf"gscs\.{stage}\.proj\d?|stages\.{stage}\.\d+\.norm|mlps\.{stage}\.fc2"
        dims.append(shapes.side(0, rf"vit\.({own})\.(weight|bias)") or default.dims[stage])
        depths.append(shapes.count(rf"vit\.stages\.{stage}\.(\d+)\..*") or default.depths[stage])
    entry = r"vit\.downsample_layers\.0\.0|encoder1\.layer\.conv[13]\.conv"
    bottleneck = r"encoder5\.layer\.conv\d\.conv|decoder5\.transp_conv\.conv"
    return {
        "in_channels": shapes.side(1, rf"({entry})\.weight"),
        "num_classes": shapes.side(0, r"out\.conv\.conv\.(weight|bias)"),
        "dims": tuple(dims),
        "depths": tuple(depths),
        "hidden_size": shapes.side(0, rf"({bottleneck})\.weight"),
        **shapes.scan_sizes(r"vit\.stages", dims[0]),
    }


def _msd_kmamba_sizes(shapes: _Shapes) -> dict:
    stages = range(shapes.count(r"stages\.(\d+)\..*"))
    blocks = [rf"stages\.{stage}\.\d+" for stage in stages]
    dims = [
        shapes.side(0, rf"{block}\.(mamba_norm|kan_norm|neighbourhood)\.(weight|bias)") for block in blocks
    ]
    if not dims or None in dims:
        return {}
    hidden = [shapes.side(0, rf"{block}\.kan\.0\.base_weight") for block in blocks]
    bases = shapes.side(2, r"stages\.\d+\.\d+\.kan\.\d\.spline_weight")
    return {
        "in_channels": shapes.side(1, r"(stem|full_resolution)\.weight"),
        "num_classes": shapes.side(0, r"heads\.\d+\.(weight|bias)"),
        "dims": tuple(dims),
        "depths": tuple(shapes.count(rf"stages\.{stage}\.(\d+)\..*") for stage in stages),
        "kan_grid": bases and bases - 3,
        "kan_ratio": None if None in hidden else _ratio(dims, hidden),
        **shapes.scan_sizes("stages", dims[0]),
    }


def _ratio(widths: list[int], hidden: list[int]) -> float:
    """A ratio that rounds each width to its hidden one."""
    least = max((h - 0.5) / max(1, width) for width, h in zip(widths, hidden, strict=True))
    most = min((h + 0.5) / max(1, width) for width, h in zip(widths, hidden, strict=True))
    exact = hidden[0] / max(1, widths[0])
    return exact if least < exact < most else (least + most) / 2
