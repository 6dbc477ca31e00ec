"""Standard ops that have a faster kernel of ours, on the CPU or a GPU, under the names of msdk ops.

Their bodies are the very ops they stand for, so that a runtime without our kernels, or on another device,
runs those as before. Engines are built from the graph without these names.
"""

import onnx
from onnxscript.rewriter import rewrite

from msdk_export.graph.functions import strip_functions
from msdk_export.graph.norms import with_norms_in_convolutions
from msdk_export.ops.registry import rule_passes


def with_cpu_ops(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model`, without bodies, in which msdk ops replace standard ops that they outrun on a CPU.

    All in float32: see the modules of msdk_export.ops that have RULES.
    """
    return with_norms_in_convolutions(_rewritten(model, "RULES"))


def with_cuda_ops(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float16 `model`, without bodies, in which msdk ops replace standard ops on a GPU.

    A norm is a dozen ops, each a launch, between two casts; as one op it takes float16 and sums in float32.
    """
    return _rewritten(model, "CUDA_RULES")


def _rewritten(model: onnx.ModelProto, rules: str) -> onnx.ModelProto:
    named = strip_functions(model)
    for each in rule_passes(rules):
        named = rewrite(named, pattern_rewrite_rules=each)
    return named
