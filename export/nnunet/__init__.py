"""nnU-Net v2's results folders: networks with their weights, and the recipe around them."""

from msdk_export.nnunet.folder import Results, is_results_folder, read_results
from msdk_export.nnunet.model import results_network

__all__ = ["Results", "is_results_folder", "read_results", "results_network"]
