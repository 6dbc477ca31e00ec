"""Compares two computations on whole outputs, relative to the largest value."""

import copy
import logging

import torch
from torch import Tensor, nn

from msdk_export.adoption.parts import refuse

LIMIT = 1e-3
SAME = 1e-4  # of a replacement on the inputs that the network itself gives it


def agree(found: object, expected: object, limit: float = SAME) -> bool:
    """Whether max |difference| <= limit max |expected|; False for other shapes and values not finite."""
    if not (isinstance(found, Tensor) and isinstance(expected, Tensor) and found.shape == expected.shape):
        return False
    if not expected.numel():
        return True
    error, scale = (float(value.abs().max()) for value in (found.double() - expected.double(), expected))
    return error <= limit * scale


def check_agreement(block: nn.Module, adopted: nn.Module, label: str, shape: tuple[int, ...]) -> None:
    """Raise ExportError if the block, on a random input of this shape, computes something else.

    Code that has the published names may give them another meaning, for instance another order of the tokens.
    Blocks that cannot run here, because there is no GPU or no mamba_ssm, are trusted by their names; so are
    those with use_fast_path=False, whose published code leaves out every direction but the first.
    """
    if getattr(block, "use_fast_path", True) is False:
        return
    ours, theirs = (copy.deepcopy(module).float().eval() for module in (adopted, block))
    tokens = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    tokens = tokens.to(next(block.parameters()).device)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        expected = ours(tokens)
        try:
            found = theirs(tokens)
        except Exception:
            logging.getLogger(__name__).debug(
                "%s does not run here: it is trusted by its names", label, exc_info=True
            )
            return
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise refuse(
            label, f"it turns {shape} into {shown}", f"the published block gives {tuple(expected.shape)}"
        )
    error, scale = (float(value.abs().max()) for value in (found - expected, expected))
    if not error <= LIMIT * scale:
        raise refuse(
            label,
            f"on this machine its own forward differs from the published block's by {error:.2g}, where the "
            f"largest output is {scale:.2g}",
            "either its parameters mean something else, or it fell back to code that runs one direction "
            "alone: in that case set its attribute use_fast_path to False, and it is trusted by its names",
        )
