"""The ops of domain `msdk`: one module an op, with everything that the exporter needs for it.

Importing this package registers torch.ops.msdk.directional_conv1d, bidirectional_selective_scan and
kan_linear, and needs neither onnx nor onnxruntime. All tensors are channels-first; tokens of a feature map
(D, H, W) are numbered l = (d*H + h)*W + w. msdk_export.ops.registry lists the ops.
"""

from msdk_export.ops import directional_conv1d, kan_linear, selective_scan

__all__ = ["directional_conv1d", "kan_linear", "selective_scan"]
