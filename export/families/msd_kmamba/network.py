"""MSD-KMamba: a 3D segmentation network of convolutions, bidirectional Mamba scans and KAN feed-forwards.

The paper (MSD-KMamba, arXiv 2509.23677) was read in its abstract only. Its ideas, as far as the abstract
tells them: bidirectional spatial-aware Mamba blocks for long-range context, Kolmogorov-Arnold layers for
non-linearity, and self-distillation between the decoder's scales. Everything more particular is this
module's reconstruction: widths and depths are SegMamba's; "spatial-aware" is a depthwise 3x3x3 convolution
that adds information from each token's neighbours in all three axes, since a scan knows only the one axis it
runs along (conditional positional encoding, arXiv 2102.10882); the feed-forward is two KAN layers; the
decoder is SegResNet's (narrow, trilinear, additive skips); the output fuses the logits of all its scales.
"""

import itertools
import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from msdk_export.families.msd_kmamba.scales import Scales
from msdk_export.families.sizes import check_sizes
from msdk_export.layers import BiMamba, KANFeedForward, TokenNorm
from msdk_export.ops.directions import parse_directions
from msdk_rt.errors import InputError


@dataclass(frozen=True)
class MSDKMambaConfig:
    """Sizes of an MSDKMamba. Raises InputError on a value that no network can have.

    in_channels: modalities. num_classes: logit channels. dims, depths: width and block count of each encoder
    stage. d_state, d_conv, expand, directions: see BiMamba. kan_grid: spline intervals. kan_ratio: hidden /
    outer width of the KAN feed-forward. scale: factor of the scans' sum, 0.5 for blocks that halve it, as
    Vim's if_divide_out does.
    """

    in_channels: int = 4
    num_classes: int = 4
    dims: tuple[int, ...] = (48, 96, 192, 384)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    kan_grid: int = 5
    kan_ratio: float = 1.0
    directions: str = "forward,backward"
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("dims", "depths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.dims or len(self.dims) != len(self.depths):
            raise InputError(
                f"dims {self.dims} and depths {self.depths} must name the same stages, at least one: give "
                "one width and one depth for each"
            )
        check_sizes(self)
        if self.dims[0] < 2:
            raise InputError(
                f"dims[0] must be at least 2 (full resolution has half of it), got {self.dims[0]}"
            )
        if not isinstance(self.kan_ratio, (int, float)) or not 0 < self.kan_ratio < math.inf:
            raise InputError(f"kan_ratio must be a positive number, got {self.kan_ratio!r}")
        if round(min(self.dims) * self.kan_ratio) < 1:
            raise InputError(f"kan_ratio {self.kan_ratio} leaves no hidden channel at width {min(self.dims)}")
        if not isinstance(self.scale, (int, float)) or not 0 < self.scale < math.inf:
            raise InputError(f"scale must be a positive number, got {self.scale!r}")
        if not isinstance(self.directions, str):
            raise InputError(
                f"directions must be a string such as 'forward,backward', got {self.directions!r}"
            )
        parse_directions(self.directions)

    @property
    def total_stride(self) -> int:
        """Divisor of every side of a window: the stem and each downsample halve it."""
        return 1 << len(self.dims)


def demo_config(in_channels: int = 1, num_classes: int = 4) -> MSDKMambaConfig:
    """A network of under a million parameters, for demonstrations and machines without a GPU."""
    return MSDKMambaConfig(
        in_channels=in_channels,
        num_classes=num_classes,
        dims=(16, 32, 48, 64),
        depths=(1, 1, 1, 1),
        d_state=8,
    )


class MSDKMamba(nn.Module):
    """image (B, in_channels, D, H, W) -> logits (B, num_classes, D, H, W); see the module's docstring.

    In training mode forward returns Scales, the logits and features of every decoder scale beside the fused
    logits; in evaluation mode the fused logits alone.

    Raises InputError if the image has another number of channels, if a side does not divide by
    config.total_stride, or if a single voxel is left at the coarsest scale, where nothing can be normalised.
    """

    def __init__(self, config: MSDKMambaConfig | None = None):
        super().__init__()
        self.config = config = config or MSDKMambaConfig()
        dims = config.dims
        narrow = dims[0] // 2
        self.stem = nn.Conv3d(config.in_channels, dims[0], kernel_size=7, stride=2, padding=3)
        self.downsamples = nn.ModuleList(
            Downsample(fine, coarse) for fine, coarse in itertools.pairwise(dims)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, config) for _ in range(depth)))
            for width, depth in zip(dims, config.depths, strict=True)
        )
        self.full_resolution = nn.Conv3d(config.in_channels, narrow, kernel_size=3, padding=1)
        widths = (narrow, *dims)
        self.decoder = nn.ModuleList(Upsample(coarse, fine) for fine, coarse in itertools.pairwise(widths))
        self.heads = nn.ModuleList(nn.Conv3d(width, config.num_classes, 1) for width in widths[:-1])
        self.fusion = Fusion(config.num_classes, scales=len(self.heads))

    def forward(self, image: Tensor) -> Tensor | Scales:
        self.check_image(image.shape)
        skips = []
        x = image
        for enter, stage in zip((self.stem, *self.downsamples), self.stages, strict=True):
            x = stage(enter(x))
            skips.append(x)

        x = skips.pop()
        features: list[Tensor] = []
        for upsample in reversed(self.decoder):
            x = upsample(x, skips.pop() if skips else self.full_resolution(image))
            features.insert(0, x)
        heads = [head(feature) for head, feature in zip(self.heads, features, strict=True)]
        fused = self.fusion(heads)
        return Scales(fused, heads, features) if self.training else fused

    def check_image(self, shape: tuple[int, ...]) -> None:
        """Raise InputError unless an image (B, C, D, H, W) of this shape fits the network."""
        config, stride = self.config, self.config.total_stride
        if len(shape) != 5 or shape[1] != config.in_channels:
            raise InputError(
                f"expected an image (B, {config.in_channels}, D, H, W), got shape {tuple(shape)}"
            )
        window = tuple(shape[2:])
        if any(side % stride for side in window) or all(side == stride for side in window):
            raise InputError(
                f"window {window} does not fit the network: each side must divide by its total stride "
                f"{stride} and at least one must be {2 * stride} or more"
            )


class Block(nn.Module):
    """Local convolution, spatial-aware scan, KAN feed-forward, each a residual; (B, C, D, H, W) stays."""

    def __init__(self, channels: int, config: MSDKMambaConfig):
        super().__init__()
        self.local = nn.Sequential(
            nn.Conv3d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.InstanceNorm3d(channels, affine=True),
            nn.LeakyReLU(0.01),
            nn.Conv3d(channels, channels, kernel_size=1),
        )
        self.neighbourhood = nn.Conv3d(channels, channels, kernel_size=3, padding=1, groups=channels)
        self.mamba_norm = TokenNorm(channels)
        self.mamba = BiMamba(
            channels,
            config.d_state,
            config.d_conv,
            config.expand,
            directions=config.directions,
            scale=config.scale,
        )
        self.kan_norm = TokenNorm(channels)
        self.kan = KANFeedForward(channels, config.kan_ratio, config.kan_grid)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.local(x)
        x = x + self.neighbourhood(x)
        _, channels, depth, height, width = x.shape
        tokens: Tensor = x.view(-1, channels, depth * height * width)
        tokens = tokens + self.mamba(self.mamba_norm(tokens))
        tokens = tokens + self.kan(self.kan_norm(tokens))
        return tokens.view(-1, channels, depth, height, width)


class Downsample(nn.Sequential):
    """Instance normalisation and a convolution that halves every side."""

    def __init__(self, fine: int, coarse: int):
        super().__init__(nn.InstanceNorm3d(fine), nn.Conv3d(fine, coarse, kernel_size=2, stride=2))


class Upsample(nn.Module):
    """Doubles every side, adds the skip and mixes: (B, coarse, D, H, W) -> (B, fine, 2D, 2H, 2W).

    Trilinear interpolation has an eighth of a transposed convolution's weights and no checkerboard, and with
    its skip it is one op on a CPU, bound by memory.
    """

    def __init__(self, coarse: int, fine: int):
        super().__init__()
        self.narrow = nn.Conv3d(coarse, fine, kernel_size=1)
        self.mix = nn.Sequential(
            nn.Conv3d(fine, fine, kernel_size=3, padding=1, bias=False),
            nn.InstanceNorm3d(fine, affine=True),
            nn.LeakyReLU(0.01),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        mixed: Tensor = self.mix(_doubled(self.narrow(x)) + skip)
        return mixed


class Fusion(nn.ModuleList):
    """Logits of all scales, fine to coarse -> logits at full resolution.

    From the coarsest on, a scale's logits are mixed across classes, doubled in size and added to the next
    finer ones: fused_s = logits_s + up(mix_s(fused_{s+1})). Mixing starts as the identity.
    """

    def __init__(self, classes: int, scales: int):
        mixes = [nn.Conv3d(classes, classes, kernel_size=1) for _ in range(scales - 1)]
        super().__init__(mixes)
        for mix in mixes:
            nn.init.dirac_(mix.weight)
            if mix.bias is not None:
                nn.init.zeros_(mix.bias)

    def forward(self, logits: list[Tensor]) -> Tensor:
        *finer, fused = logits
        for mix, fine in zip(reversed(self), reversed(finer), strict=True):
            fused = fine + _doubled(mix(fused))
        return fused


def _doubled(x: Tensor) -> Tensor:
    """Every side twice as long, trilinear."""
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)
