"""The words that a manifest may use. Tests check that the code implements each of them."""

NORMALIZATIONS = ("nonzero_zscore", "none")
ACTIVATIONS = ("softmax", "sigmoid")
BLENDS = ("gaussian", "constant")
PRECISIONS = ("float32", "float16")
