"""Random windows of a case: cropped first, augmented after, so that only a window's voxels are touched.

Ranges and probabilities of "strong" are roughly those that nnU-Net trains with (Isensee et al., Nature
Methods 2021, supplement), written with MONAI's transforms.
"""

from typing import Any

import numpy as np
from monai.transforms import (
    Compose,
    RandAdjustContrast,
    RandAffined,
    RandBiasField,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
    RandSimulateLowResolution,
)

from msdk_export.training.cases import CaseArrays
from msdk_export.training.settings import TrainingSettings

AFFINE_PROBABILITY = 0.5
ROTATION = np.deg2rad(20)
ZOOM = 0.25
# Along each axis, the source of a rotated and zoomed window lies within this many of its sides.
AFFINE_REACH = 1.8


class WindowSampler:
    """Draws (image (C, *window) float32, classes (1, *window) uint8) of a case from a RandomState.

    With the probability settings.foreground the window holds a voxel of a random class that the case has;
    otherwise it lies anywhere. Voxels beyond the volume are zero and background. Not to be shared by
    threads: MONAI's transforms hold random state.
    """

    def __init__(self, settings: TrainingSettings):
        self.window = np.array(settings.window)
        self.foreground = settings.foreground
        self.mirror_axes = settings.mirror_axes if settings.augmentation != "none" else ()
        self.affine: RandAffined | None = None
        self.intensity: Compose | RandScaleIntensity | None = None
        if settings.augmentation == "light":
            self.intensity = RandScaleIntensity(factors=0.2, prob=0.5)
        elif settings.augmentation == "strong":
            self.affine = _affine(settings.window)
            self.intensity = _strong_intensity()

    def draw(self, case: CaseArrays, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """One window of the case; equal states draw equal windows."""
        start = self._start(case, random)
        if self.affine is not None and random.random_sample() < AFFINE_PROBABILITY:
            margin = np.ceil((AFFINE_REACH - 1) / 2 * self.window).astype(int)
            image, classes = _crop(case, start - margin, self.window + 2 * margin)
            self.affine.set_random_state(seed=_seed(random))
            turned: Any = self.affine({"image": image, "classes": classes})  # tensors, of arrays too
            image, classes = turned["image"].numpy(), turned["classes"].numpy().astype(np.uint8)
        else:
            image, classes = _crop(case, start, self.window)
        for axis in self.mirror_axes:
            if random.random_sample() < 0.5:
                image, classes = np.flip(image, axis + 1), np.flip(classes, axis + 1)
        image = np.ascontiguousarray(image)
        if self.intensity is not None:
            self.intensity.set_random_state(seed=_seed(random))
            image = _within_foreground(image, self.intensity)
        return image, np.ascontiguousarray(classes)

    def _start(self, case: CaseArrays, random: np.random.RandomState) -> np.ndarray:
        """First voxel of the window; a volume smaller than it is centred, as the runtime pads."""
        spare = np.array(case.classes.shape) - self.window
        start = np.array([random.randint(max(0, s) + 1) for s in spare])
        if random.random_sample() < self.foreground:
            present = [voxels for voxels in case.voxels[1:] if len(voxels)]
            if present:
                voxels = present[random.randint(len(present))]
                voxel = np.unravel_index(voxels[random.randint(len(voxels))], case.classes.shape)
                offset = np.array([random.randint(side) for side in self.window])
                start = np.clip(np.array(voxel) - offset, 0, np.maximum(spare, 0))
        return np.where(spare < 0, -((-spare) // 2), start)


def _affine(window: tuple[int, int, int]) -> RandAffined:
    return RandAffined(
        keys=("image", "classes"),
        spatial_size=window,
        prob=1,
        rotate_range=(ROTATION,) * 3,
        scale_range=(ZOOM,) * 3,
        mode=("bilinear", "nearest"),
        padding_mode="zeros",
    )


def _strong_intensity() -> Compose:
    return Compose(
        [
            RandBiasField(coeff_range=(-0.2, 0.2), prob=0.3),
            RandAdjustContrast(gamma=(0.7, 1.5), retain_stats=True, prob=0.3),
            RandScaleIntensity(factors=0.25, prob=0.3),
            RandGaussianSmooth(sigma_x=(0.5, 1), sigma_y=(0.5, 1), sigma_z=(0.5, 1), prob=0.2),
            RandSimulateLowResolution(zoom_range=(0.5, 1), prob=0.2),
            RandGaussianNoise(std=0.15, prob=0.2),
        ]
    )


def _within_foreground(image: np.ndarray, transform: Compose | RandScaleIntensity) -> np.ndarray:
    """Transform intensities counted from the darkest one, so that products act as they do on raw intensities.

    Zero voxels, which the runtime's normalisation leaves out, stay zero.
    """
    floor = image.min(axis=(1, 2, 3), keepdims=True)
    changed = np.asarray(transform(image - floor), np.float32) + floor
    kept: np.ndarray = np.where(image == 0, np.float32(0), changed)
    return kept


def _crop(case: CaseArrays, start: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C, *size) float32 and (1, *size) uint8 from `start`, which may lie outside; zero beyond the volume."""
    image = np.zeros((len(case.image), *size), np.float32)
    classes = np.zeros((1, *size), np.uint8)
    low = np.clip(start, 0, case.classes.shape)
    high = np.clip(start + size, low, case.classes.shape)
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    for channel, volume in zip(image, case.image, strict=True):
        channel[target] = volume[source]
    classes[0][target] = case.classes[source]
    return image, classes


def _seed(random: np.random.RandomState) -> int:
    return int(random.randint(2**32, dtype=np.uint32))
