"""model.engine: a graph compiled by TensorRT for the GPU of this machine."""
