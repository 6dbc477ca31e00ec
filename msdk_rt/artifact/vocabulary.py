"""The words that a manifest may use. Tests hold the code that carries each out to them."""

NORMALIZATIONS = ("nonzero_zscore", "none")
ACTIVATIONS = ("softmax", "sigmoid")
BLENDS = ("gaussian", "constant")
PRECISIONS = ("float32", "float16")
