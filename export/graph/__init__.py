"""From a PyTorch network to a finished ONNX graph: trace, precision, rules for CPU ops, bodies at the end."""
