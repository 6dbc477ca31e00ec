"""U-Mamba's networks with the published Mamba block in place of ours, under the same names of weights.

The rest of them is msdk_export.nnunet.umamba, whose layers are written from facts.
"""

import math

from msdk_export.layers import BiMamba
from msdk_export.nnunet.umamba import UMambaBot, UMambaEnc
from tests.support.published import mamba_simple


class ChannelsFirst(mamba_simple.Mamba):
    """The stand-in over (B, C, L), as BiMamba takes tokens."""

    def forward(self, tokens, inference_params=None):
        return super().forward(tokens.transpose(1, 2)).transpose(1, 2)


class PublishedUMambaBot(UMambaBot):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        _with_published_blocks(self)


class PublishedUMambaEnc(UMambaEnc):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        _with_published_blocks(self)


def _with_published_blocks(network):
    for layer in [
        module for module in network.modules() if isinstance(getattr(module, "mamba", None), BiMamba)
    ]:
        features = layer.norm.normalized_shape[0]
        layer.mamba = ChannelsFirst(
            features, d_state=16, d_conv=4, expand=2, dt_rank=math.ceil(features / 16)
        )
