"""Adopts Mamba blocks that other code built, whatever their class is called, for export."""

import copy

from torch import nn

from msdk_export.adoption.mamba import adopt_mamba, looks_like_mamba
from msdk_export.adoption.parts import UNSAID_HALVING
from msdk_export.adoption.ss2d import adopt_ss2d, looks_like_ss2d
from msdk_export.layers import BiMamba
from msdk_export.notes import note
from msdk_rt.errors import ExportError

__all__ = ["adopt"]


def adopt(module: nn.Module) -> nn.Module:
    """A deep copy of `module` in which every Mamba block runs on the msdk ops; `module` stays as it is.

    A block is known by the names and shapes of its parameters and keeps its own calling convention: tokens
    (B, L, C) or feature maps (B, H, W, C) in and out, further arguments such as inference_params only where
    they are None. Names, shapes and meaning are those of

        state-spaces/mamba, U-Mamba    in_proj, conv1d, x_proj, dt_proj, A_log, D, out_proj
        hustvl/Vim, bimamba_type v1    the same and A_b_log: both scans share everything else
        hustvl/Vim, bimamba_type v2    the same and a backward set: A_b_log, conv1d_b, x_proj_b, ...
        ge-xing/SegMamba, v3           that and an inter-slice set: A_s_log, ...; attribute nslices
        MzeroMiko/VMamba, SS2D         x_proj_weight, dt_projs_weight, dt_projs_bias, A_logs, Ds, in_proj,
                                       out_proj, conv2d, out_norm

    Biases of in_proj, out_proj and conv1d, any d_state, d_conv, expand and dt_rank, Vim's init_layer_scale
    (gamma) and its if_divide_out (spelled if_devide_out in its blocks) are honoured. A v2 block without that
    attribute is assumed not to halve the sum, and a UserWarning says so. Vim's and SegMamba's own code with
    use_fast_path=False silently runs the forward scan alone; here every direction runs, as in training.

    The meaning of a block is taken from these repositories, so whatever else a block holds (further
    parameters or buffers, norms of dt, B and C, another activation, hooks) is refused rather than ignored,
    and a block that runs on this machine must agree with its replacement on a few random tokens. Modules
    whose forward uses a block's parts, such as block.in_proj, cannot be exported: the parts are gone. The
    copy keeps all sharing: parameters between blocks, and a block used in several places.

    Raises ExportError when a block lacks some of the names (they are listed), or has anything above; when
    its recurrence is Mamba-2's; when the module cannot be copied.
    """
    try:
        adopted = copy.deepcopy(module)
    except Exception as error:
        raise ExportError(
            f"{type(module).__name__} cannot be copied ({error}), and export works on a copy: let the module "
            "hold no open files, generators or tensors computed with gradients"
        ) from error
    unsaid: list[str] = []
    adopted = _replaced(adopted, "", {}, unsaid)
    if unsaid:
        note(UNSAID_HALVING.format(", ".join(unsaid)))
    return adopted


def _replaced(module: nn.Module, name: str, done: dict[nn.Module, nn.Module], unsaid: list[str]) -> nn.Module:
    """The module with its blocks replaced, or its replacement; each object once, however often used."""
    if module not in done:
        done[module] = module
        label = name or type(module).__name__
        if looks_like_ss2d(module):
            done[module] = adopt_ss2d(module, label)
        elif looks_like_mamba(module):
            done[module] = adopt_mamba(module, label, unsaid)
        elif not isinstance(module, BiMamba):
            for child_name, child in module._modules.items():
                if child is not None:
                    path = f"{name}.{child_name}".lstrip(".")
                    module._modules[child_name] = _replaced(child, path, done, unsaid)
    return done[module]
