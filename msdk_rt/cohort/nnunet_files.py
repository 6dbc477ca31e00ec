"""Probabilities in the files that nnU-Net's tools read: <case>.npz and .pkl, dataset.json and plans.json."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from msdk_rt.artifact.files import atomic_write
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.artifact.recipe_rules import is_file_axes
from msdk_rt.errors import InputError, OutputError
from msdk_rt.imaging.results import Segmentation
from msdk_rt.imaging.space import Space
from msdk_rt.inference.device.arrays import on_host

# nnU-Net's reader of a model whose axes are the file's own, and of one whose axes are the body's; its axes.
FILE_READER = ("SimpleITKIO", "ZYX")
BODY_READER = ("NibabelIOWithReorient", "SAR")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from nibabel's axes to ITK's


def reader_axes(manifest: Manifest) -> str:
    """Axes of a map in an .npz file, as an orientation.

    Raises InputError for a model that is none of nnU-Net's.
    """
    return _reader(manifest)[1]


def save_probabilities(segmentation: Segmentation, axes: str, path: Path) -> None:
    """Write a file's probabilities as `path` (.npz), (K, ...) along `axes`, and its geometry beside it.

    Raises OutputError where there is no room or no permission.
    """
    space = segmentation.space
    if segmentation.probabilities is None or space is None:
        raise ValueError("a case's segmentation comes from files and has probabilities")
    placed = Space(space.affine, space.shape, axes, sides=space.sides)
    maps = np.stack([placed.to_model(channel) for channel in on_host(segmentation.probabilities)])
    with atomic_write(path, "wb") as file:
        np.savez_compressed(file, probabilities=maps.astype(np.float32, copy=False))
    with atomic_write(path.with_suffix(".pkl"), "wb") as file:
        pickle.dump(_properties(placed), file)


def write_descriptions(manifest: Manifest, folder: Path | None) -> None:
    """Write the dataset.json and plans.json that nnUNetv2_ensemble wants beside probabilities.

    Raises InputError for a model that is none of nnU-Net's, OutputError where other files have these names.
    """
    reader, _ = _reader(manifest)
    if folder is None:
        raise InputError(
            "nnU-Net's probabilities go to a folder with a case or more: give a folder as output"
        )
    classes = manifest.regions or manifest.labels
    labels = {"background": 0} | {name: value for name, value in classes.items() if value != 0}
    dataset = {
        "channel_names": {str(index): name for index, name in enumerate(manifest.channels)},
        "labels": labels,
        "file_ending": manifest.file_ending or ".nii.gz",
    }
    if manifest.regions:
        dataset["regions_class_order"] = list(manifest.labels.values())
    plans: dict[str, Any] = {
        "dataset_name": manifest.config.get("dataset"),
        "plans_name": manifest.config.get("plans"),
        "image_reader_writer": reader,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {},
        "label_manager": "LabelManager",
    }
    for path, content in ((folder / "dataset.json", dataset), (folder / "plans.json", plans)):
        text = json.dumps(content, indent=1) + "\n"
        if path.exists() and path.read_text() != text:
            raise OutputError(
                f"{path} is there and another one than this model's: choose another output folder, or move it"
            )
        with atomic_write(path, "w") as file:
            file.write(text)


def _reader(manifest: Manifest) -> tuple[str, str]:
    if manifest.blending["scheme"] != "nnunet":
        raise InputError(
            "nnU-Net's probabilities are for models that were exported from its results folders: "
            "--probabilities "
            "writes NIfTI files for any model"
        )
    return FILE_READER if is_file_axes(manifest.orientation) else BODY_READER


def _properties(space: Space) -> dict[str, Any]:
    """The geometry of an image as nnU-Net's readers keep it, for its writers."""
    itk = LPS @ space.affine
    x, y, z = np.linalg.norm(space.affine[:3, :3], axis=0) if space.sides is None else space.sides
    sides = (float(x), float(y), float(z))
    direction = itk[:3, :3] / np.linalg.norm(itk[:3, :3], axis=0)
    reoriented = _reoriented(space)
    return {
        "sitk_stuff": {
            "spacing": sides,
            "origin": tuple(map(float, itk[:3, 3])),
            "direction": tuple(map(float, direction.ravel())),
        },
        "nibabel_stuff": {"original_affine": space.affine, "reoriented_affine": reoriented},
        "spacing": list(space.spacing),
        "shape_before_cropping": tuple(space.to_model(np.empty(space.shape, np.bool_)).shape),
    }


def _reoriented(space: Space) -> Any:
    """The affine of the image turned to right, anterior, superior."""
    import nibabel

    image = nibabel.Nifti1Image(np.empty(space.shape, np.uint8), space.affine)
    return nibabel.as_closest_canonical(image).affine
