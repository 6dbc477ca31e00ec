"""Looking into a foreign block: what it holds, and refusing what a replacement would leave out."""

from collections.abc import Iterable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from msdk_rt.errors import ExportError

Shape = tuple[int, ...]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_NO_EFFECT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
# {}: names of the blocks.
UNSAID_HALVING = (
    "{}: two directions, and no attribute if_divide_out to say whether their sum is halved; it is not. Set "
    "it to True on the blocks if the network was trained so"
)


def own_names(block: nn.Module) -> set[str]:
    """Names of the parameters and modules that are the block's own, not those of a part of it."""
    owned = [*block._parameters.items(), *block._modules.items()]
    return {name for name, content in owned if content is not None}


def parameters_of(block: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter under every name it has, 'in_proj.weight' and the like."""
    return dict(block.named_parameters(remove_duplicate=False))


def check_contents(
    block: nn.Module,
    label: str,
    kind: str,
    expected: Mapping[str, Shape],
    optional: Mapping[str, Shape],
    parts: Iterable[str] = (),
    strict: bool = True,
) -> None:
    """Raise ExportError unless the block holds the expected parameters, perhaps optional ones, and no more.

    parts: names of modules whose content is theirs to decide. strict: nor further modules without parameters,
    nor hooks of its parts.
    """
    parameters = parameters_of(block)
    known = {**expected, **optional}
    problems = {
        "missing": [name for name in expected if name not in parameters],
        "unexpected": [
            name for name in _tensors(block) if name not in known and name.split(".")[0] not in parts
        ],
        "misshapen": [
            f"{name} is {tuple(parameters[name].shape)}, expected {shape}"
            for name, shape in known.items()
            if name in parameters and tuple(parameters[name].shape) != shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{word}: {', '.join(names)}" for word, names in problems.items() if names)
        raise ExportError(
            f"{label} ({type(block).__name__}) looks like {kind} block but is not one ({found}): a block "
            "must hold exactly the published parameters, which say what it computes; change or rename it"
        )
    stems = {name.split(".")[0] for name in known} | set(parts)
    if strict:
        _check_parts(block, label, stems)
        _check_hooks_of_parts(block, label)


def refuse(label: str, found: str, advice: str) -> ExportError:
    """The error to raise about this block."""
    return ExportError(f"{label} cannot be exported: {found}; {advice}")


def check_activation(block: nn.Module, label: str) -> None:
    """Raise ExportError where the block names an activation other than SiLU."""
    act, named = getattr(block, "act", None), getattr(block, "activation", None)
    if act not in (None, F.silu) and not isinstance(act, nn.SiLU):
        raise refuse(label, f"its activation is {act!r}", "only SiLU is built into the scan")
    if isinstance(named, str) and named not in ("silu", "swish"):
        raise refuse(label, f"its activation is {named!r}", "only silu (swish) is built into the scan")


def check_plain(layer: nn.Module, kind: type[nn.Module], label: str) -> None:
    """Raise ExportError unless the layer computes what torch's own layer of this kind does."""
    if not isinstance(layer, kind) or type(layer).forward is not kind.forward:
        raise refuse(
            label,
            f"it is {type(layer).__name__}, which may compute something else than torch.nn.{kind.__name__}",
            f"put a torch.nn.{kind.__name__} with the same weights in its place",
        )


def take_over(layer: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    """Put these parameters in the places of the same names: the objects, so that sharing is kept."""
    for name in dict(layer.named_parameters()):
        stem, _, leaf = name.rpartition(".")
        layer.get_submodule(stem).register_parameter(leaf, parameters[name])


def only_none(label: str, *arguments: object, **named: object) -> None:
    """Raise ExportError if any argument beside the tokens was given a value."""
    given = [name for name, value in named.items() if value is not None]
    given += [f"argument {index}" for index, value in enumerate(arguments, start=2) if value is not None]
    if given:
        raise refuse(
            label,
            f"it is called with {', '.join(given)}, and an exported block takes its tokens alone",
            "call it without in evaluation mode",
        )


def _tensors(block: nn.Module) -> dict[str, Tensor]:
    return parameters_of(block) | dict(block.named_buffers(remove_duplicate=False))


def _check_parts(block: nn.Module, label: str, known: set[str]) -> None:
    for name, part in block._modules.items():
        if name not in known and name != "act" and not isinstance(part, (*_NO_EFFECT, type(None))):
            raise refuse(
                label,
                f"it holds {name} ({type(part).__name__}), which published Mamba blocks do not have",
                "move it out of the block",
            )


def check_hooks(block: nn.Module, label: str) -> None:
    """Raise ExportError if the block has forward hooks, or forward pre-hooks, of its own."""
    if any(getattr(block, hooks) for hooks in _HOOKS):
        raise refuse(label, "it has forward hooks, which would not run", "remove them before export")


def _check_hooks_of_parts(block: nn.Module, label: str) -> None:
    for name, part in block.named_modules():
        if part is not block:
            check_hooks(part, f"{label}.{name}")
