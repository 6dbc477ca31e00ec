"""Shared by the rules that put an op of ours in place of standard ops."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from msdk_rt.artifact.ops_version import OPS_DOMAIN, OPS_VERSION

OURS = {"_domain": OPS_DOMAIN, "_version": OPS_VERSION}


def rule_of(kind: type[pattern.RewriteRuleClassBase]) -> pattern.RewriteRule:
    """The rule that a class describes."""
    return cast(pattern.RewriteRule, kind.rule())


def node_of(value: ir.Value) -> ir.Node:
    """The node that a value comes from, which the rule's pattern has matched."""
    node = value.producer()
    assert node is not None, f"{value.name} is an output of a matched node"
    return node


def constant_of(value: ir.Value) -> np.ndarray:
    """What a constant holds."""
    assert value.const_value is not None, f"{value.name} is a constant"
    return value.const_value.numpy()


def have_same_shape(one: ir.Value, other: ir.Value) -> bool:
    """Whether both shapes are known, every axis by its size or its name, and are alike."""
    known = one.shape is not None and not one.shape.has_unknown_dim()
    return known and one.shape == other.shape


def is_float_constant(value: ir.Value) -> bool:
    """Whether a value is a float32 initialiser or constant, which a session cannot feed."""
    return value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT


def is_of_voxels(conv: ir.Node, kernel: Sequence[int]) -> bool:
    """Whether each voxel of a Conv's y comes from the one at its place alone, and from all channels.

    kernel: the sides of its weight.
    """
    given = conv.attributes
    return (
        set(kernel) == {1}
        and set(given.get_ints("strides", [1])) == {1}
        and not any(given.get_ints("pads", [0]))
        and given.get_int("group", 1) == 1
        and given.get_string("auto_pad", "NOTSET") == "NOTSET"
    )
