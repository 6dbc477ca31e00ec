"""U-Nets as nnU-Net and U-Mamba build them, at the sizes that their plans give, with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

DEFAULT = (32, 64, 128, 256, 320, 320)  # nnU-Net's features, by stage
CLASSES = 4
RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6)  # of nnU-Net's ResEnc presets
UMAMBA_PATCH = (40, 224, 192)  # of U-Mamba's abdominal CT, halved (3, 5, 5) times: arXiv 2401.04722, table 2
UMAMBA_STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))


@dataclass(frozen=True)
class Case:
    """build: the network. patch: D, H, W of a window of `channels`. standard: it has standard ops alone."""

    title: str
    build: Callable[[], "nn.Module"]
    patch: tuple[int, int, int]
    channels: int
    standard: bool = True


def _arguments(
    features: tuple[int, ...], strides: tuple[tuple[int, ...], ...] | None = None
) -> dict[str, Any]:
    """What nnU-Net's plans say of a network's layers."""
    from torch import nn

    stages = len(features)
    return {
        "n_stages": stages,
        "features_per_stage": list(features),
        "conv_op": nn.Conv3d,
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [list(stride) for stride in strides or ((1,) * 3,) + ((2,) * 3,) * (stages - 1)],
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": False,
    }


def _plain(features: tuple[int, ...], channels: int) -> "nn.Module":
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    stages = len(features)
    return PlainConvUNet(
        input_channels=channels,
        num_classes=CLASSES,
        n_conv_per_stage=[2] * stages,
        n_conv_per_stage_decoder=[2] * (stages - 1),
        **_arguments(features),
    )


def _residual(channels: int) -> "nn.Module":
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    stages = len(DEFAULT)
    return ResidualEncoderUNet(
        input_channels=channels,
        num_classes=CLASSES,
        n_blocks_per_stage=list(RESIDUAL_BLOCKS),
        n_conv_per_stage_decoder=[1] * (stages - 1),
        **_arguments(DEFAULT),
    )


def _umamba(name: str) -> "nn.Module":
    from msdk_export.nnunet.umamba import UMambaBot, UMambaEnc

    arguments = _arguments(DEFAULT, UMAMBA_STRIDES)
    stages = arguments.pop("n_stages")
    arguments |= {"n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1)}
    if name == "Bot":
        return UMambaBot(1, CLASSES, **arguments)
    return UMambaEnc(UMAMBA_PATCH, 1, CLASSES, **arguments)


CASES = (
    Case("PlainConvUNet of 8 to 64 channels", lambda: _plain((8, 16, 32, 64), 1), (64, 80, 64), 1),
    Case("PlainConvUNet of 32 to 256 channels", lambda: _plain(DEFAULT[:4], 1), (64, 80, 64), 1),
    Case("PlainConvUNet, nnU-Net's default", lambda: _plain(DEFAULT, 4), (128, 128, 128), 4),
    Case("ResEncM, nnU-Net's preset", lambda: _residual(4), (128, 128, 128), 4),
    Case("U-Mamba Bot", lambda: _umamba("Bot"), UMAMBA_PATCH, 1, standard=False),
    Case("U-Mamba Enc", lambda: _umamba("Enc"), UMAMBA_PATCH, 1, standard=False),
)
