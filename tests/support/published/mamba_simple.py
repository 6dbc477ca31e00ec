"""The Mamba blocks of mamba_ssm, Vim and SegMamba: what their forward does around the compiled functions."""

import torch
import torch.nn.functional as F

from tests.support.published.causal_conv1d_interface import causal_conv1d_fn
from tests.support.published.selective_scan_interface import (
    bimamba_inner_fn,
    mamba_inner_fn,
    mamba_inner_fn_no_out_proj,
    selective_scan_fn,
)
from tests.support.published_blocks import SequenceMixer


class Mamba(SequenceMixer):
    """The parameters come from SequenceMixer, the forward is the published one of every bimamba_type."""

    old_convolution = False  # SegMamba calls causal_conv1d_fn with the activation as fourth argument

    def forward(self, hidden_states, inference_params=None):
        xz = self.in_proj(hidden_states).transpose(1, 2)
        if not (self.use_fast_path and inference_params is None):
            out = self.out_proj(self.slow(xz).transpose(1, 2))
        elif self.bimamba_type == "none":
            out = mamba_inner_fn(
                xz, *self.inner(""), *self.outer(), self.decay(""), None, None, **self.rest("")
            )
        elif self.bimamba_type == "v1":
            decays = self.decay(""), self.decay("_b")
            out = bimamba_inner_fn(xz, *self.inner(""), *self.outer(), *decays, None, None, **self.rest(""))
        else:
            y = self.scanned(xz, "") + self.scanned(xz.flip([-1]), "_b").flip([-1])
            if self.bimamba_type == "v2" and getattr(self, "if_devide_out", False):
                y = y / 2
            if self.bimamba_type == "v3":
                slices = torch.stack(xz.chunk(self.nslices, dim=-1), dim=-1).flatten(-2)
                between = self.scanned(slices, "_s").unflatten(-1, (-1, self.nslices))
                y = y + between.permute(0, 1, 3, 2).flatten(-2)
            out = F.linear(y.transpose(1, 2), *self.outer())
        return out if self.init_layer_scale is None else out * self.gamma

    def slow(self, xz):
        """One direction, whatever the type."""
        x, z = xz.chunk(2, dim=1)
        weight = self.conv1d.weight.squeeze(1)
        if self.old_convolution:
            u = causal_conv1d_fn(x, weight, self.conv1d.bias, "silu")
        else:
            u = causal_conv1d_fn(x=x, weight=weight, bias=self.conv1d.bias, activation="silu")
        rows = self.x_proj(u.transpose(1, 2))
        dt, B, C = (r.transpose(1, 2) for r in rows.split([self.dt_rank, self.d_state, self.d_state], -1))
        delta = self.dt_proj.weight @ dt
        bias = self.dt_proj.bias.float()
        return selective_scan_fn(
            u, delta, self.decay(""), B, C, self.D.float(), z=z, delta_bias=bias, delta_softplus=True
        )

    def scanned(self, xz, suffix):
        return mamba_inner_fn_no_out_proj(
            xz, *self.inner(suffix), self.decay(suffix), None, None, **self.rest(suffix)
        )

    def inner(self, suffix):
        conv = self.get_submodule(f"conv1d{suffix}")
        projections = (self.get_submodule(f"{stem}{suffix}").weight for stem in ("x_proj", "dt_proj"))
        return conv.weight, conv.bias, *projections

    def outer(self):
        return self.out_proj.weight, self.out_proj.bias

    def decay(self, suffix):
        return -torch.exp(getattr(self, f"A{suffix}_log").float())

    def rest(self, suffix):
        return {
            "D": getattr(self, f"D{suffix}").float(),
            "delta_bias": self.get_submodule(f"dt_proj{suffix}").bias.float(),
            "delta_softplus": True,
        }
