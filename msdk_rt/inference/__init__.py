"""From a normalised volume to labels: recipe, windows, blending, on the host and on a GPU."""
