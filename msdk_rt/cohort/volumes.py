"""Volumes of labels, and which of a cohort's stand out."""

from collections.abc import Sequence
from statistics import fmean, median

from msdk_rt.imaging.results import Segmentation

FEWEST = 5  # volumes of which one can stand out
MOST_DEVIATIONS = 3.5  # Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993


def voxel_counts(segmentation: Segmentation, labels: dict[str, int]) -> dict[str, dict[str, float]]:
    """Voxels and millilitres of every label, by name."""
    voxel_ml = segmentation.space.voxel_ml if segmentation.space else float("nan")
    voxels = segmentation.voxels_of(labels)
    return {name: {"voxels": count, "ml": round(count * voxel_ml, 3)} for name, count in voxels.items()}


def robust_scores(volumes: Sequence[float]) -> list[float]:
    """How many deviations each volume lies from the median, by the median absolute deviation scaled to a
    normal distribution's; by the mean one where more than half of the volumes are equal. All 0 for few
    volumes.
    """
    if len(volumes) < FEWEST:
        return [0.0] * len(volumes)
    centre = median(volumes)
    distances = [abs(volume - centre) for volume in volumes]
    deviation = 1.4826 * median(distances) or 1.2533 * fmean(distances)
    return [(volume - centre) / deviation if deviation else 0.0 for volume in volumes]
