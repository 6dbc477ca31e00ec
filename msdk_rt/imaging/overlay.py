"""A picture of labels over an image in three planes, with a legend."""

from pathlib import Path

import numpy as np

from msdk_rt.artifact.files import atomic_write

# Okabe and Ito's palette, told apart by colour-blind readers too; yellow and black left out.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2")
OPACITY = 0.45
BRIGHTEST = 1.15


def draw_overlay(
    image: np.ndarray, labels: np.ndarray, names: dict[str, int], title: str, path: Path
) -> None:
    """Write a PNG of image and labels, both (X, Y, Z) in RAS order with cubic voxels. Value 0 is transparent.

    names: {label: voxel value}. Raises OutputError.
    """
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    shown = [(name, value) for name, value in names.items() if value != 0]
    colours = {value: PALETTE[index % len(PALETTE)] for index, (_, value) in enumerate(shown)}
    paint = np.zeros((int(labels.max()) + 1, 4))
    for value, colour in colours.items():
        if value < len(paint):
            paint[value] = to_rgba(colour, OPACITY)

    # White matter is the bulk of the brightest voxels: leave it short of white.
    low, high = image.min(), BRIGHTEST * np.percentile(image, 99.5)
    # Sagittal beside the centre: at the midline there is little more than the fold between the halves.
    x, y, z = image.shape[0] * 5 // 12, image.shape[1] // 2, image.shape[2] // 2
    planes = {
        f"axial, z = {z}": np.s_[:, :, z],
        f"coronal, y = {y}": np.s_[:, y, :],
        f"sagittal, x = {x}": np.s_[x, :, :],
    }
    figure = Figure(figsize=(12, 5), facecolor="black", layout="constrained")
    figure.suptitle(title, color="white", fontsize=15)
    widths = [image[plane].shape[0] for plane in planes.values()]
    for axes, (name, plane) in zip(figure.subplots(1, 3, width_ratios=widths), planes.items(), strict=True):
        axes.imshow(image[plane].T, cmap="gray", vmin=low, vmax=high, origin="lower")
        axes.imshow(paint[labels[plane].T], origin="lower", interpolation="nearest")
        axes.set_title(name, color="0.8", fontsize=11)
        axes.set_axis_off()
    legend = figure.legend(
        handles=[Patch(color=colours[value], label=name) for name, value in shown],
        loc="outside lower center",
        ncols=max(1, min(len(shown), len(PALETTE))),
        frameon=False,
        labelcolor="white",
        fontsize=11,
    )
    legend.set_in_layout(True)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=150, facecolor=figure.get_facecolor())
