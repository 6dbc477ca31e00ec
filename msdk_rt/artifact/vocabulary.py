"""The words that a manifest may use. Tests check that the code implements each of them."""

NORMALIZATIONS = ("nonzero_zscore", "none")
ACTIVATIONS = ("softmax", "sigmoid")
BLENDS = ("gaussian", "constant")
PRECISIONS = ("float32", "float16")

# Of format 2, beside those above.
CHANNEL_NORMALIZATIONS = ("zscore", "masked_zscore", "ct", "rescale_to_01", "rgb_to_01", "none")
CT_STATISTICS = ("mean", "std", "low", "high")
SCHEMES = ("monai", "nnunet")
CROPS = ("nonzero",)
SUMS = ("float32", "float16")
SEPARATE_Z = ("auto", "always", "never")
FILE_ENDINGS = (".nii.gz", ".nii", ".mha", ".nrrd", ".gipl")
