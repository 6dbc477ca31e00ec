"""Models of nnU-Net's and of ours from the same results folders, and the cases on which they are compared."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
import torch

import msdk_rt
from msdk_rt.inference.foreground import nonzero_box
from tests.support import nnunet_folder as made

DOUBT = 0.02  # of a probability
CORNER = 3  # voxels
CT = "CTNormalization"
ZSCORE = "ZScoreNormalization"
REGIONS = {
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "inner": 3},
    "regions_class_order": [1, 2, 3],
}
FLIPPED = np.diag([-1.0, -1.0, 1.0])
TURNED = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def oblique(degrees):
    angle = np.deg2rad(degrees)
    one = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    other = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return one @ other


MODELS = {
    "mr": {"plan": {}},
    "ct anisotropic": {"plan": {"schemes": [CT], "spacing": (4.0, 1.0, 1.0), "patch": (8, 16, 16)}},
    "regions of four channels": {
        "plan": {"schemes": [ZSCORE] * 4, "masked": [True] * 4, "spacing": (1.5, 1.2, 1.2)},
        "data": {"channels": 4} | REGIONS,
    },
    "2d": {
        "plan": {"name": "2d", "patch": (16, 24), "spacing": (1.0, 1.0), "schemes": [ZSCORE, CT]},
        "data": {"channels": 2},
        "mirror_axes": (0, 1),
    },
    "folds, lowres": {
        "plan": {"name": "3d_lowres", "schemes": ["RescaleTo01Normalization"], "spacing": (2.0, 2.0, 2.0)},
        "folds": (0, 1, 3),
    },
    "turned": {
        "plan": {
            "schemes": ["RGBTo01Normalization", "NoNormalization", ZSCORE],
            "reader": "NibabelIOWithReorient",
            "transpose": (2, 0, 1),
            "patch": (16, 24, 8),
            "spacing": (1.0, 1.0, 3.0),
        },
        "data": {"channels": 3},
        "mirror_axes": (0, 2),
    },
    "file's axes, transposed": {
        "plan": {"reader": "NibabelIO", "transpose": (1, 0, 2), "masked": [True]},
        "mirror_axes": None,
    },
}


@dataclass(frozen=True)
class Image:
    """A volume and how it is segmented; see nnunet_folder.head."""

    model: str
    shape: tuple = (28, 24, 20)
    spacing: tuple = (1.0, 1.0, 1.0)
    mirror: bool = False
    rest: dict = field(default_factory=dict)


CASES = {
    "same spacing": Image("mr"),
    "same spacing, mirrored": Image("mr", mirror=True, shape=(20, 24, 18)),
    "0.5 mm": Image("mr", shape=(44, 40, 36), spacing=(0.5, 0.5, 0.5)),
    "5 mm": Image("mr", shape=(8, 7, 6), spacing=(5.0, 5.0, 5.0)),
    "below the separate z threshold": Image("mr", shape=(28, 26, 10), spacing=(1.0, 1.0, 2.9)),
    "at the separate z threshold": Image("mr", shape=(28, 26, 10), spacing=(1.0, 1.0, 3.0)),
    "above the separate z threshold": Image("mr", shape=(28, 26, 10), spacing=(1.0, 1.0, 3.2)),
    "separate x": Image("mr", shape=(8, 30, 30), spacing=(4.0, 0.9, 0.9)),
    "smaller than the window": Image("mr", shape=(10, 11, 9)),
    "flipped": Image("mr", spacing=(1.1, 0.9, 1.3), rest={"affine": FLIPPED}),
    "oblique": Image("mr", spacing=(1.1, 0.9, 1.3), rest={"affine": oblique(25)}),
    "nonzero crop": Image("mr", shape=(36, 34, 30), spacing=(0.9, 1.2, 1.0), rest={"margin": 6}),
    "ct": Image("ct anisotropic", (32, 28, 12), (1.0, 1.0, 4.0), rest={"kind": "ct"}),
    "ct, thin slices": Image("ct anisotropic", (26, 24, 36), (1.2, 1.2, 1.0), rest={"kind": "ct"}),
    "ct, mirrored": Image("ct anisotropic", (24, 22, 9), (1.0, 1.0, 5.0), mirror=True, rest={"kind": "ct"}),
    "ct, thick the other way": Image(
        "ct anisotropic", (8, 26, 28), (5.0, 1.0, 1.0), rest={"kind": "ct", "affine": TURNED}
    ),
    "regions": Image("regions of four channels"),
    "regions, mirrored, masked": Image(
        "regions of four channels", (26, 26, 24), (1.5, 1.2, 1.2), mirror=True, rest={"margin": 3}
    ),
    "regions, resampled": Image(
        "regions of four channels", (30, 30, 18), (0.8, 0.8, 2.0), rest={"margin": 4, "affine": FLIPPED}
    ),
    "2d": Image("2d"),
    "2d, mirrored": Image("2d", (26, 30, 7), (0.8, 0.7, 6.0), mirror=True),
    "2d, resampled": Image("2d", (30, 34, 8), (0.6, 0.7, 3.0), rest={"affine": oblique(10)}),
    "2d, small": Image("2d", (12, 10, 6), (1.0, 1.0, 2.0)),
    "folds": Image("folds, lowres", (30, 28, 24), (1.2, 1.2, 1.2)),
    "folds, mirrored": Image("folds, lowres", (16, 18, 16), (2.0, 2.0, 2.0), mirror=True),
    "turned": Image("turned", (12, 30, 24), (3.0, 1.0, 1.0), rest={"kind": "rgb", "affine": TURNED}),
    "turned, flipped": Image(
        "turned", (24, 26, 10), (1.1, 1.0, 2.8), rest={"kind": "rgb", "affine": FLIPPED}
    ),
    "turned, oblique, mirrored": Image(
        "turned", (10, 24, 22), (3.0, 1.1, 1.0), mirror=True, rest={"kind": "rgb", "affine": oblique(20)}
    ),
    "transposed": Image("file's axes, transposed", (26, 20, 30), (1.2, 1.0, 0.8), rest={"margin": 4}),
    "transposed, no mirror axes": Image("file's axes, transposed", (20, 24, 22), mirror=True),
}


class Models:
    """Folders, artifacts and nnU-Net's predictors by model, made when they are asked for.

    What is whole in `folder` already is not made again. steps: of each network's training.
    """

    def __init__(self, folder: Path, steps: int = 40):
        self._folder = folder
        self._steps = steps

    def results(self, name: str) -> Path:
        place = self._folder / name.replace(", ", "_").replace(" ", "_")
        path = place / "nnUNetTrainer__nnUNetPlans__conf"
        if not path.exists():
            spec = dict(MODELS[name])
            plan, data = made.plans(**spec.pop("plan")), made.dataset(**spec.pop("data", {}))
            unfinished = place / "training"
            shutil.rmtree(unfinished, ignore_errors=True)
            made.write_folder(unfinished, plan, data, steps=self._steps, **spec).rename(path)
        return path

    def artifact(self, name: str) -> Path:
        path = self.results(name).parent / "model.onnx"
        if not path.exists():
            msdk_rt.export(self.results(name), path)
        return path

    def predictor(self, name: str, mirror: bool, sums: torch.dtype | None = None):
        """nnU-Net's; with `sums` one whose sums are in these numbers, see nnunet_summing."""
        from tests.support.nnunet_summing import nnunet_predictor

        predictor = nnunet_predictor(sums, mirror=mirror)
        predictor.initialize_from_trained_model_folder(str(self.results(name)), None)
        return predictor


def write_image(folder: Path, image: Image, name: str, seed: int) -> list[Path]:
    channels = len(MODELS[image.model]["plan"].get("schemes", [ZSCORE]))
    voxels, affine = made.head(seed, image.shape, image.spacing, channels, **image.rest)
    return made.write_case(folder, name, voxels, affine)


def nnunet_labels(predictor, paths, probabilities=False):
    """nnU-Net's labels (X, Y, Z) of a case in files; with probabilities, its (K, X, Y, Z) too."""
    reader = predictor.plans_manager.image_reader_writer_class()
    data, properties = reader.read_images([str(path) for path in paths])
    labels = predictor.predict_single_npy_array(data, properties, None, None, probabilities)
    found, maps = labels if probabilities else (labels, None)
    return in_file_order(found, reader, properties, paths[0]), maps


def in_file_order(labels, reader, properties, path):
    """(X, Y, Z) in the file's axes, by nnU-Net's own writer."""
    out = path.with_name("nnunet.nii.gz")
    reader.write_seg(labels, str(out), properties)
    return np.asarray(nibabel.load(out).dataobj)


def explained_differences(result, expected, paths, regions=False):
    """How many labels are not nnU-Net's; each of them is one that float16 decides.

    nnU-Net adds up weighted windows in float16. That decides labels of which the network is in doubt, and
    moves logits in the corners of the volume by more: one window alone covers those, with weights near 6e-8,
    which is the smallest number of float16.
    """
    assert result.labels.shape == expected.shape
    differ = result.labels != expected
    doubts = doubt(result.probabilities[:, differ], regions)
    corners = in_corner(np.argwhere(differ), paths)
    for where, value, corner in zip(np.argwhere(differ), doubts, corners, strict=True):
        print(f"voxel {where}: {value:.5f} decides its label{', in a corner' if corner else ''}")
    assert all((doubts < DOUBT) | corners)
    return np.count_nonzero(differ)


def in_corner(voxels, paths):
    """Whether voxels lie in a corner of the box around what is not 0."""
    image = np.stack([nibabel.load(path).get_fdata() for path in paths])
    box = nonzero_box(image)
    inside = [
        np.minimum(voxels[:, axis] - side.start, side.stop - 1 - voxels[:, axis])
        for axis, side in enumerate(box)
    ]
    return np.max(inside, axis=0) < CORNER


def doubt(probabilities, regions):
    """How much of a probability decides each label: between the two best classes, or around a half."""
    if regions:
        return np.abs(probabilities - 0.5).min(0)
    best = np.sort(probabilities, axis=0)
    return best[-1] - best[-2]
