"""Shared by the rules that put an op of ours in place of standard ops."""

import onnx_ir as ir

from msdk_rt.artifact.ops_version import OPS_DOMAIN, OPS_VERSION

OURS = {"_domain": OPS_DOMAIN, "_version": OPS_VERSION}


def is_float_constant(value: ir.Value) -> bool:
    """Whether a value is a float32 initialiser or constant, which a session cannot feed."""
    return value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT
