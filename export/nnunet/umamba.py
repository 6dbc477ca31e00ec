"""U-Mamba's networks Bot and Enc, in 2D and 3D, with the published names of their weights.

Published in bowang-lab/U-Mamba (Apache 2.0), umamba/nnunetv2/nets: a residual U-Net with a Mamba block at its
bottleneck (Bot), or after every stage of its encoder (Enc). The blocks run on the msdk ops.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from dynamic_network_architectures.building_blocks.residual import BasicBlockD
from torch import Tensor, nn

from msdk_export.layers import BiMamba

Sizes = Sequence[int]


class Layers:
    """The layers of one network: convolution, norm and activation, as its plans name them."""

    def __init__(self, arguments: Mapping[str, Any]):
        self.conv: type[nn.Module] = arguments["conv_op"]
        self.norm: type[nn.Module] = arguments["norm_op"]
        self.norm_arguments = dict(arguments["norm_op_kwargs"])
        self.nonlin: type[nn.Module] = arguments["nonlin"]
        self.nonlin_arguments = dict(arguments["nonlin_kwargs"])
        self.bias: bool = arguments["conv_bias"]

    def stage(
        self, inputs: int, outputs: int, kernel: Sizes, stride: int | Sizes, blocks: int
    ) -> nn.Sequential:
        """A block (B, inputs, ...) -> (B, outputs, ...) and `blocks` - 1 of nnU-Net's residual blocks."""
        same = {
            "conv_op": self.conv,
            "kernel_size": kernel,
            "stride": 1,
            "conv_bias": self.bias,
            "norm_op": self.norm,
            "norm_op_kwargs": self.norm_arguments,
            "nonlin": self.nonlin,
            "nonlin_kwargs": self.nonlin_arguments,
        }
        rest = [
            BasicBlockD(input_channels=outputs, output_channels=outputs, **same) for _ in range(blocks - 1)
        ]
        return nn.Sequential(ResidualBlock(self, inputs, outputs, kernel, stride), *rest)


class ResidualBlock(nn.Module):
    """Two convolutions with norms, and a convolution of one voxel beside them: BasicResBlock there."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, kernel: Sizes, stride: int | Sizes):
        super().__init__()
        padding = [side // 2 for side in kernel]
        self.conv1 = layers.conv(inputs, outputs, kernel, stride=stride, padding=padding)
        self.norm1 = layers.norm(outputs, **layers.norm_arguments)
        self.act1 = layers.nonlin(**layers.nonlin_arguments)
        self.conv2 = layers.conv(outputs, outputs, kernel, padding=padding)
        self.norm2 = layers.norm(outputs, **layers.norm_arguments)
        self.act2 = layers.nonlin(**layers.nonlin_arguments)
        self.conv3 = layers.conv(inputs, outputs, kernel_size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.norm1(self.conv1(x)))
        out: Tensor = self.act2(self.norm2(self.conv2(y)) + self.conv3(x))
        return out


class MambaLayer(nn.Module):
    """LayerNorm and Mamba over the voxels of a feature map, or with channel_token over its channels.

    dim: numbers of a token: channels, or voxels.
    """

    def __init__(self, dim: int, channel_token: bool = False):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.mamba = BiMamba(dim, directions="forward")
        self.channel_token = channel_token

    def forward(self, x: Tensor) -> Tensor:
        channels_last = x.flatten(2) if self.channel_token else x.flatten(2).transpose(1, 2)
        mixed: Tensor = self.mamba(self.norm(channels_last).transpose(1, 2))
        return (mixed.transpose(1, 2) if self.channel_token else mixed).reshape(x.shape)


class Encoder(nn.Module):
    """A stem and the stages; returns the feature map of each stage. mamba: one layer for each, or none."""

    def __init__(self, layers: Layers, inputs: int, arguments: Mapping[str, Any], blocks: Sizes):
        super().__init__()
        features, kernels = arguments["features_per_stage"], arguments["kernel_sizes"]
        self.stem = layers.stage(inputs, features[0], kernels[0], 1, blocks[0])
        before = [features[0], *features]
        self.stages = nn.ModuleList(
            layers.stage(before[s], features[s], kernels[s], arguments["strides"][s], blocks[s])
            for s in range(len(features))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x, found = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class MambaEncoder(Encoder):
    """With a Mamba layer after each stage, over channels where a map has no more voxels than features.

    In 2D only the last stage and every other one before it have a layer.
    """

    def __init__(
        self, layers: Layers, inputs: int, arguments: Mapping[str, Any], blocks: Sizes, input_size: Sizes
    ):
        super().__init__(layers, inputs, arguments, blocks)
        self.mamba_layers = nn.ModuleList()
        size, stages = list(input_size), len(arguments["features_per_stage"])
        for stage, features in enumerate(arguments["features_per_stage"]):
            size = [side // step for side, step in zip(size, arguments["strides"][stage], strict=True)]
            voxels = math.prod(size)
            by_channel = voxels <= features
            passed_over = len(size) == 2 and stage % 2 == stages % 2
            self.mamba_layers.append(
                nn.Identity() if passed_over else MambaLayer(voxels if by_channel else features, by_channel)
            )

    def forward(self, x: Tensor) -> list[Tensor]:
        x, found = self.stem(x), []
        for stage, mamba in zip(self.stages, self.mamba_layers, strict=True):
            x = mamba(stage(x))
            found.append(x)
        return found


class Upsample(nn.Module):
    """Nearest voxels, then a convolution of one voxel."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, stride: Sizes):
        super().__init__()
        self.conv = layers.conv(inputs, outputs, kernel_size=1)
        self.scale = [float(step) for step in stride]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=self.scale, mode="nearest"))
        return out


class Decoder(nn.Module):
    """Upsampling, skip connection and a stage, over and over; logits at full resolution.

    In 2D the last stage has no skip connection. The encoder is a part of it, since it is in the weights.
    """

    def __init__(
        self, layers: Layers, encoder: Encoder, classes: int, arguments: Mapping[str, Any], blocks: Sizes
    ):
        super().__init__()
        self.encoder = encoder
        features, kernels = arguments["features_per_stage"], arguments["kernel_sizes"]
        self.skips = len(features) - 1 - (len(kernels[0]) == 2)
        self.stages, self.upsample_layers, self.seg_layers = (nn.ModuleList() for _ in range(3))
        for s in range(1, len(features)):
            below, here = features[-s], features[-(s + 1)]
            self.upsample_layers.append(Upsample(layers, below, here, arguments["strides"][-s]))
            inputs = 2 * here if s <= self.skips else here
            self.stages.append(layers.stage(inputs, here, kernels[-(s + 1)], 1, blocks[s - 1]))
            self.seg_layers.append(layers.conv(here, classes, 1, 1, 0, bias=True))

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for s, (upsample, stage) in enumerate(zip(self.upsample_layers, self.stages, strict=True)):
            x = upsample(x)
            x = stage(torch.cat((x, maps[-(s + 2)]), 1) if s < self.skips else x)
        logits: Tensor = self.seg_layers[-1](x)
        return logits


def _blocks(arguments: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Blocks of each stage of encoder and decoder: those of the plans, and one in the lower half."""
    stages = len(arguments["features_per_stage"])
    encoder = arguments.get("n_conv_per_stage", arguments.get("n_blocks_per_stage"))
    decoder = arguments["n_conv_per_stage_decoder"]
    encoder = [encoder] * stages if isinstance(encoder, int) else list(encoder or ())
    decoder = [decoder] * (stages - 1) if isinstance(decoder, int) else list(decoder)
    if len(encoder) != stages or len(decoder) != stages - 1:
        raise ValueError(f"{len(encoder)} and {len(decoder)} numbers of convolutions for {stages} stages")
    for s in range(math.ceil(stages / 2), stages):
        encoder[s] = 1
    for s in range(math.ceil((stages - 1) / 2 + 0.5), stages - 1):
        decoder[s] = 1
    return encoder, decoder


class UMambaBot(nn.Module):
    """U-Mamba with one Mamba layer, at the bottleneck.

    arguments: what nnU-Net's plans say of a network, and deep_supervision=False.
    """

    def __init__(self, input_channels: int, num_classes: int, **arguments: Any):
        super().__init__()
        layers, (down, up) = Layers(arguments), _blocks(arguments)
        self.encoder = Encoder(layers, input_channels, arguments, down)
        self.mamba_layer = MambaLayer(arguments["features_per_stage"][-1])
        self.decoder = Decoder(layers, self.encoder, num_classes, arguments, up)

    def forward(self, image: Tensor) -> Tensor:
        *maps, last = self.encoder(image)
        logits: Tensor = self.decoder([*maps, self.mamba_layer(last)])
        return logits


class UMambaEnc(nn.Module):
    """U-Mamba with a Mamba layer after every stage of its encoder, for images of input_size."""

    def __init__(self, input_size: Sizes, input_channels: int, num_classes: int, **arguments: Any):
        super().__init__()
        layers, (down, up) = Layers(arguments), _blocks(arguments)
        self.encoder = MambaEncoder(layers, input_channels, arguments, down, input_size)
        self.decoder = Decoder(layers, self.encoder, num_classes, arguments, up)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(image))
        return logits
