"""SegMamba: a 3D U-Net whose encoder scans the tokens forward, backward and across slices.

Xing et al., "SegMamba", arXiv 2401.13560; layers and parameter names are those of the published code
(github.com/ge-xing/SegMamba, model_segmamba/segmamba.py), so its weights load as they are. The variant that
its first commits held (two scans, an MLP in every block, no gated convolutions) is another network.
"""

import itertools
import math
from dataclasses import dataclass

from torch import Tensor, nn

from msdk_export.families.segmamba.unetr_blocks import UnetOutBlock, UnetrBasicBlock, UnetrUpBlock
from msdk_export.families.sizes import check_sizes
from msdk_export.layers import BiMamba, TokenNorm
from msdk_rt.errors import InputError

STAGES = 4


@dataclass(frozen=True)
class SegMambaConfig:
    """Sizes of a SegMamba. Raises InputError on a value that no network can have.

    in_channels: modalities. num_classes: logit channels. dims, depths: width and block count of each of the
    four encoder stages. hidden_size: channels of the bottleneck. d_state, d_conv, expand: see BiMamba.
    nslices: how many slices the inter-slice scan of each stage goes across. The default is the published
    one, made for 128 x 128 x 128 windows, where each slice is a plane of the feature map; the published
    code keeps it for other windows, where a slice is any run of L / nslices tokens. It leaves no trace in
    the weights, so a network trained with another one needs to say so. At least 2 at each stage.
    residual: whether a Mamba layer adds its input to what it returns. The published code does since commit
    1039e37 of 2024-06-05; networks trained before do not, and their weights have the same names and shapes.
    """

    in_channels: int = 4
    num_classes: int = 4
    dims: tuple[int, ...] = (48, 96, 192, 384)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    hidden_size: int = 768
    nslices: tuple[int, ...] = (64, 32, 16, 8)
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    residual: bool = True

    def __post_init__(self) -> None:
        for name in ("dims", "depths", "nslices"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != STAGES:
                raise InputError(
                    f"{name} must have one entry for each of the {STAGES} stages, got {getattr(self, name)}"
                )
        check_sizes(self)
        if not isinstance(self.residual, bool):
            raise InputError(f"residual must be true or false, got {self.residual!r}")
        if min(self.nslices) < 2:
            raise InputError(f"nslices must be 2 or more at each stage, got {self.nslices}")

    @property
    def total_stride(self) -> int:
        """Divisor of every side of a window: the stem and each downsample halve it."""
        return 1 << STAGES

    def fits(self, window: tuple[int, ...]) -> bool:
        """Whether the network takes a window of these sides: see SegMamba."""
        return (
            not any(side % self.total_stride for side in window)
            and math.prod(window) > self.total_stride**3
            and all(tokens % s == 0 for tokens, s in zip(self.tokens(window), self.nslices, strict=True))
        )

    def tokens(self, window: tuple[int, ...]) -> list[int]:
        """The number of tokens at each stage, of a window whose sides divide by the total stride."""
        return [math.prod(side // 2**stage for side in window) for stage in range(1, STAGES + 1)]

    def enlarged(self, window: tuple[int, ...]) -> tuple[int, ...]:
        """The smallest window that fits, of those that round all sides up and stretch one of them further."""
        stride = self.total_stride
        counts = [max(1, math.ceil(side / stride)) for side in window]
        if math.prod(counts) == 1:
            counts = [2, 1, 1]
        stretched = []
        for axis, count in enumerate(counts):
            sides = [stride * other for other in counts]
            tokens = self.tokens((*sides[:axis], stride, *sides[axis + 1 :]))
            unit = math.lcm(*(s // math.gcd(s, t) for s, t in zip(self.nslices, tokens, strict=True)))
            sides[axis] = math.ceil(count / unit) * unit * stride
            stretched.append(tuple(sides))
        return min(stretched, key=math.prod)


class SegMamba(nn.Module):
    """image (B, in_channels, D, H, W) -> logits (B, num_classes, D, H, W).

    Raises InputError if the image has another number of channels; if a side does not divide by
    config.total_stride; if a stage's nslices does not divide its number of tokens; or if a single voxel is
    left at the coarsest scale, where nothing can be normalised.
    """

    def __init__(self, config: SegMambaConfig | None = None):
        super().__init__()
        self.config = config = config or SegMambaConfig()
        dims = config.dims
        self.vit = MambaEncoder(config)
        self.encoder1 = UnetrBasicBlock(config.in_channels, dims[0])
        self.encoder2 = UnetrBasicBlock(dims[0], dims[1])
        self.encoder3 = UnetrBasicBlock(dims[1], dims[2])
        self.encoder4 = UnetrBasicBlock(dims[2], dims[3])
        self.encoder5 = UnetrBasicBlock(dims[3], config.hidden_size)
        self.decoder5 = UnetrUpBlock(config.hidden_size, dims[3])
        self.decoder4 = UnetrUpBlock(dims[3], dims[2])
        self.decoder3 = UnetrUpBlock(dims[2], dims[1])
        self.decoder2 = UnetrUpBlock(dims[1], dims[0])
        self.decoder1 = UnetrBasicBlock(dims[0], dims[0])
        self.out = UnetOutBlock(dims[0], config.num_classes)

    def forward(self, image: Tensor) -> Tensor:
        self.check_image(image.shape)
        stage1, stage2, stage3, stage4 = self.vit(image)
        x = self.encoder5(stage4)
        x = self.decoder5(x, self.encoder4(stage3))
        x = self.decoder4(x, self.encoder3(stage2))
        x = self.decoder3(x, self.encoder2(stage1))
        x = self.decoder2(x, self.encoder1(image))
        logits: Tensor = self.out(self.decoder1(x))
        return logits

    def check_image(self, shape: tuple[int, ...]) -> None:
        """Raise InputError unless an image (B, C, D, H, W) of this shape fits the network."""
        config = self.config
        if len(shape) != 5 or shape[1] != config.in_channels:
            raise InputError(
                f"expected an image (B, {config.in_channels}, D, H, W), got shape {tuple(shape)}"
            )
        window = tuple(shape[2:])
        if not config.fits(window):
            raise InputError(
                f"window {window} does not fit the network: each side must divide by its total stride "
                f"{config.total_stride}, at least one must be {2 * config.total_stride} or more, and the "
                f"token counts of its stages must divide by nslices {config.nslices}; "
                f"{config.enlarged(window)} fits"
            )


class MambaEncoder(nn.Module):
    """image -> the normalised features of the four stages, at 1/2, 1/4, 1/8 and 1/16 of its resolution."""

    def __init__(self, config: SegMambaConfig):
        super().__init__()
        dims = config.dims
        stem = nn.Sequential(nn.Conv3d(config.in_channels, dims[0], kernel_size=7, stride=2, padding=3))
        self.downsample_layers = nn.ModuleList(
            (stem, *(Downsample(fine, coarse) for fine, coarse in itertools.pairwise(dims)))
        )
        self.gscs = nn.ModuleList(GatedSpatialConvolution(width) for width in dims)
        self.stages = nn.ModuleList(
            nn.Sequential(*(MambaLayer(width, nslices, config) for _ in range(depth)))
            for width, depth, nslices in zip(dims, config.depths, config.nslices, strict=True)
        )
        self.norms = nn.ModuleList(nn.InstanceNorm3d(width) for width in dims)
        self.mlps = nn.ModuleList(ChannelMLP(width) for width in dims)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, features = image, []
        layers = (self.downsample_layers, self.gscs, self.stages, self.norms, self.mlps)
        for downsample, gsc, stage, norm, mlp in zip(*layers, strict=True):
            x = stage(gsc(downsample(x)))
            features.append(mlp(norm(x)))
        return features


class Downsample(nn.Sequential):
    """Instance normalisation and a convolution that halves every side."""

    def __init__(self, fine: int, coarse: int):
        super().__init__(nn.InstanceNorm3d(fine), nn.Conv3d(fine, coarse, kernel_size=2, stride=2))


class GatedSpatialConvolution(nn.Module):
    """The paper's GSC: a 3x3x3 branch and a 1x1x1 branch, merged and added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.proj = nn.Conv3d(channels, channels, kernel_size=3, padding=1)
        self.proj2 = nn.Conv3d(channels, channels, kernel_size=3, padding=1)
        self.proj3 = nn.Conv3d(channels, channels, kernel_size=1)
        self.proj4 = nn.Conv3d(channels, channels, kernel_size=1)
        self.norm_relu = nn.Sequential(nn.InstanceNorm3d(channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        neighbours = self.norm_relu(self.proj2(self.norm_relu(self.proj(x))))
        merged = neighbours + self.norm_relu(self.proj3(x))
        gated: Tensor = self.norm_relu(self.proj4(merged))
        return gated + x


class MambaLayer(nn.Module):
    """The paper's tri-orientated Mamba: x + mamba(norm(x)) over the tokens of (B, C, D, H, W).

    Without a residual, as in the code before 2024-06-05, mamba(norm(x)) alone.
    """

    def __init__(self, channels: int, nslices: int, config: SegMambaConfig):
        super().__init__()
        self.residual = config.residual
        self.norm = TokenNorm(channels)
        self.mamba = BiMamba(
            channels,
            config.d_state,
            config.d_conv,
            config.expand,
            directions=f"forward,backward,slices:{nslices}",
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        scanned: Tensor = self.mamba(self.norm(tokens))
        return (tokens + scanned if self.residual else scanned).view(x.shape)


class ChannelMLP(nn.Module):
    """Two 1x1x1 convolutions around a GELU, twice as wide between them."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv3d(channels, 2 * channels, kernel_size=1)
        self.act = nn.GELU()
        self.fc2 = nn.Conv3d(2 * channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.fc2(self.act(self.fc1(x)))
        return mixed
