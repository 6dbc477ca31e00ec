"""Networks of nnU-Net trainers: by the trainer's name, from the plans' architecture."""

import copy
import importlib
import re
from collections.abc import Callable
from typing import Any

from torch import nn

from msdk_export.nnunet.folder import Results
from msdk_export.nnunet.plans import Architecture, architecture_of
from msdk_rt.errors import CheckpointError, ExportError, one_line, shown

LIBRARY = "dynamic_network_architectures"
# Classes that plans may name as arguments, each a module of torch.nn.
_TORCH_CLASS = re.compile(r"torch\.nn\.(?:modules\.[a-z_]+\.)?([A-Z]\w*)")
_ALLOWED = re.compile(
    r"Conv[123]d|(Instance|Batch)Norm[123]d|GroupNorm|Dropout[123]?d?|Identity|LeakyReLU|ReLU|PReLU|ELU|GELU|SiLU|Mish"
)
_NETWORK = re.compile(rf"{LIBRARY}\.architectures\.([a-z_]+)\.([A-Z]\w*)")
# Trainers of nnU-Net 2.8 that take the network which the plans describe: all but its BN and primus ones.
_PLAIN = re.compile(
    "nnUNetTrainer("
    r"_\d+epochs?(_NoMirroring)?"
    r"|Benchmark_5epochs(_noDataLoading)?"
    r"|DA5(ord0|Segord0|_10epochs)?|NoDA|_DASegOrd0(_NoMirroring)?|_noDummy2DDA"
    r"|NoMirroring|_onlyMirror01(_1500ep|_DASegOrd0|_DA5)?"
    r"|_warmup|CosAnneal|(Vanilla)?Adam(1en3|3en4)?|Adan(1en3|3en4|1en1|CosAnneal)?"
    r"|DiceLoss|DiceCELoss_noSmooth|(Dice)?Topk10Loss(LS01)?|DiceTopK10Loss|CELoss(_5epochs)?|NoDeepSupervision"
    r"|_probabilisticOversampling(_033|_010)?"
    ")?"
)

Builder = Callable[[Results, int, int], nn.Module]


def build_network(results: Results, channels: int, classes: int) -> nn.Module:
    """The trainer's network, (B, channels, ...) -> (B, classes, ...), without its weights.

    Raises CheckpointError for a trainer whose network is not known, ExportError where the library of
    nnU-Net's networks is not installed.
    """
    builder = _BUILDERS.get(results.trainer)
    if builder is None and _PLAIN.fullmatch(results.trainer):
        builder = _from_plans
    if builder is None:
        raise CheckpointError(
            f"{results.folder}: the trainer {shown(results.trainer)} is none of nnU-Net's own or "
            f"{', '.join(_BUILDERS)}, and its network is in its code: pass network=, the module that its "
            "build_network_architecture returns, or network='plans' where it takes the network of the plans"
        )
    return builder(results, channels, classes)


def _from_plans(results: Results, channels: int, classes: int) -> nn.Module:
    """As nnU-Net's get_network_from_plans, for classes of the library and of torch.nn alone."""
    architecture = architecture_of(results.configuration)
    found = _NETWORK.fullmatch(architecture.name)
    if found is None:
        raise CheckpointError(
            f"{results.folder}: the plans' network is {shown(architecture.name)}, expected one of {LIBRARY}: "
            "pass "
            "network=, the module"
        )
    kind = getattr(_library(f"architectures.{found[1]}"), found[2], None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise CheckpointError(f"{results.folder}: the plans' network {architecture.name} is not in {LIBRARY}")
    return _built(kind, architecture, results, input_channels=channels, num_classes=classes)


def _umamba_bot(results: Results, channels: int, classes: int) -> nn.Module:
    from msdk_export.nnunet.umamba import UMambaBot

    architecture = architecture_of(results.configuration)
    return _built(UMambaBot, architecture, results, input_channels=channels, num_classes=classes)


def _umamba_enc(results: Results, channels: int, classes: int) -> nn.Module:
    from msdk_export.nnunet.umamba import UMambaEnc

    architecture = architecture_of(results.configuration)
    size = tuple(results.configuration["patch_size"])
    return _built(
        UMambaEnc, architecture, results, input_size=size, input_channels=channels, num_classes=classes
    )


_BUILDERS: dict[str, Builder] = {
    "nnUNetTrainerUMambaBot": _umamba_bot,
    "nnUNetTrainerUMambaEnc": _umamba_enc,
}


def plans_network(results: Results, channels: int, classes: int) -> nn.Module:
    """The network of the plans, whatever the trainer is called. Raises as build_network."""
    return _from_plans(results, channels, classes)


def _built(
    kind: Callable[..., nn.Module], architecture: Architecture, results: Results, **sizes: Any
) -> nn.Module:
    arguments = copy.deepcopy(dict(architecture.arguments))
    for name in architecture.imported:
        if arguments.get(name) is not None:
            arguments[name] = _torch_class(arguments[name])
    try:
        return kind(**sizes, **arguments | {"deep_supervision": False})
    except (TypeError, ValueError, AssertionError, RuntimeError, KeyError, IndexError) as error:
        raise CheckpointError(
            f"{results.folder}: {architecture.name} does not take the plans' arguments: {one_line(error)}"
        ) from error


def _torch_class(name: object) -> type[nn.Module]:
    found = _TORCH_CLASS.fullmatch(name) if isinstance(name, str) else None
    if found is None or not _ALLOWED.fullmatch(found[1]):
        raise CheckpointError(f"the plans name the class {shown(name)}, expected a layer of torch.nn")
    kind: type[nn.Module] = getattr(nn, found[1])
    return kind


def _library(module: str) -> Any:
    try:
        return importlib.import_module(f"{LIBRARY}.{module}")
    except ModuleNotFoundError as error:
        raise ExportError(
            f"nnU-Net's networks need {LIBRARY}, and {error.name} is not installed: pip install "
            "'msdk_rt[nnunet]'"
        ) from error
