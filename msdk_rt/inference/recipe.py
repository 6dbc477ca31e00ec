"""The recipe: how a volume goes through a network, by a Segmenter's settings and its manifest."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from msdk_rt.artifact.manifest import Manifest
from msdk_rt.inference import nnunet_windows, windows
from msdk_rt.inference.arrays import Floats
from msdk_rt.inference.normalisation import Normalisation, normalisation
from msdk_rt.inference.windows import Start

_PLANS: dict[str, Callable[[Sequence[int], Sequence[int], float], list[Start]]] = {
    "monai": windows.plan_windows,
    "nnunet": nnunet_windows.plan_windows,
}
_WEIGHTS: dict[str, Callable[[Sequence[int], str, float], Floats]] = {
    "monai": windows.importance,
    "nnunet": nnunet_windows.importance,
}


@dataclass(frozen=True)
class Recipe:
    """The settings of a segmentation.

    overlap: fraction of a window that the next one shares. blend: "gaussian" or "constant". batch_size:
    windows per inference. mirror_axes: of (D, H, W) = 0, 1, 2; each window is also inferred mirrored along
    them. prepared: volumes come normalised, at the network's spacing.
    """

    manifest: Manifest
    overlap: float = 0.5
    blend: str = "gaussian"
    batch_size: int = 1
    mirror_axes: tuple[int, ...] = ()
    prepared: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it says more than windows and a normalisation of the volume: see inference.preparation."""
        manifest = self.manifest
        return bool(manifest.crop or manifest.resampling) or not isinstance(manifest.normalization, str)

    def of_prepared(self) -> "Recipe":
        """The recipe of what is left to do with volumes that were prepared."""
        return replace(self, prepared=True)

    def starts(self, shape: Sequence[int]) -> list[Start]:
        """First voxels of all windows over a volume (D, H, W), taken as padded to at least one window."""
        plan = _PLANS[self.manifest.blending["scheme"]]
        return plan(shape, self.manifest.window, self.overlap)

    def weights(self) -> Floats:
        """Weight of each voxel of a window in the blend, float32 (D, H, W)."""
        weights = _WEIGHTS[self.manifest.blending["scheme"]]
        return weights(self.manifest.window, self.blend, self.manifest.blending["sigma_scale"])

    @property
    def half_sums(self) -> bool:
        """Whether windows are added up, and logits resampled, in float16 as nnU-Net does."""
        return self.manifest.sums == "float16"

    def normalisation(self) -> Normalisation:
        """The normalisation of the intensities.

        Raises ArtifactError for one that this msdk_rt does not know.
        """
        return normalisation("none" if self.prepared else self.manifest.normalization)

    def views(self) -> list[tuple[int, ...]]:
        """The axes of (D, H, W) along which each view of a window is mirrored; the first along none."""
        return [
            axes
            for count in range(len(self.mirror_axes) + 1)
            for axes in itertools.combinations(sorted(self.mirror_axes), count)
        ]

    def label_values(self) -> list[int]:
        return list(self.manifest.labels.values())
