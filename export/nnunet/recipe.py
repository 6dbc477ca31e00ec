"""nnU-Net's plans as a manifest's recipe. What a recipe cannot say is refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from msdk_export.nnunet.folder import Results
from msdk_export.nnunet.labels import labels_of
from msdk_export.notes import note
from msdk_rt.artifact.recipe_rules import IMAGE_ORDERS, LOGIT_ORDERS
from msdk_rt.artifact.vocabulary import FILE_ENDINGS
from msdk_rt.errors import CheckpointError, shown

SCHEMES = {
    "ZScoreNormalization": "zscore",
    "CTNormalization": "ct",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale_to_01",
    "RGBTo01Normalization": "rgb_to_01",
}
# How a reader orders axes: the file's own, or turned to right, anterior, superior; both from last to first.
READERS = {"SimpleITKIO": "ZYX", "NibabelIO": "ZYX", "NibabelIOWithReorient": "SAR"}
PREPROCESSOR = "DefaultPreprocessor"
RESAMPLING = "resample_data_or_seg_to_shape"
SEPARATE_Z = {None: "auto", True: "always", False: "never"}
SIGMA_SCALE = 0.125
SUMS = "float16"  # whatever the device
CT = {"mean": "mean", "std": "std", "low": "percentile_00_5", "high": "percentile_99_5"}


def description_of(results: Results) -> dict[str, Any]:
    """The manifest's entries that a results folder tells: window, channels, labels and the whole recipe.

    Raises CheckpointError for what no recipe can say, and for plans that contradict themselves.
    """
    configuration = results.configuration
    _check(configuration)
    patch = configuration["patch_size"]
    flat = len(patch) == 2
    channels = channel_names(results.dataset)
    entries: dict[str, Any] = {
        "window": (1, *patch) if flat else tuple(patch),
        "channels": channels,
        **labels_of(results.dataset),
        "normalization": _normalization(results, len(channels)),
        "orientation": _orientation(results.plans),
        "blending": {"scheme": "nnunet", "mode": "gaussian", "sigma_scale": SIGMA_SCALE},
        "crop": "nonzero",
        "resampling": _resampling(configuration, flat),
        "sums": SUMS,
        "folds": len(results.folds) if len(results.folds) > 1 else None,
        "mirror_axes": _mirror_axes(results, flat),
    }
    ending = results.dataset.get("file_ending", ".nii.gz")
    if ending in FILE_ENDINGS:
        return entries | {"file_ending": ending}
    note(
        f"the network was trained on {shown(ending)} files, which are not read here: convert images to "
        "NIfTI, with the axes and intensities that they had in training; results are .nii.gz files"
    )
    return entries


def channel_names(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the input channels, made different by their numbers where two are the same."""
    entries = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(entries, Mapping) or not entries:
        raise CheckpointError(
            f"dataset.json's channel_names must be numbers and names, such as {{'0': 'T1'}}, found "
            f"{shown(entries)}"
        )
    names = [str(entries[key]) for key in sorted(entries, key=lambda key: int(key))]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{name} {index}" for index, name in enumerate(names))


def _check(configuration: Mapping[str, Any]) -> None:
    if previous := configuration.get("previous_stage"):
        raise CheckpointError(
            f"the configuration is the second stage of a cascade, which takes the labels of {previous} as "
            "input: "
            "cascades are not exported. Export 3d_fullres, or 3d_lowres by itself"
        )
    preprocessor = configuration.get("preprocessor_name", PREPROCESSOR)
    if preprocessor != PREPROCESSOR:
        raise CheckpointError(
            f"the plans name the preprocessor {shown(preprocessor)}, expected {PREPROCESSOR}: its steps are "
            "not "
            "known here"
        )
    for name, least in (("patch_size", 1), ("spacing", 0.0)):
        sides = configuration.get(name)
        if (
            not isinstance(sides, (list, tuple))
            or len(sides) not in (2, 3)
            or not all(isinstance(side, (int, float)) and side >= least and side > 0 for side in sides)
        ):
            raise CheckpointError(
                f"the plans' {name} must be two or three sides above 0, found {shown(sides)}: give the plans "
                "of "
                "the training"
            )
    if len(configuration["patch_size"]) != len(configuration["spacing"]):
        raise CheckpointError(
            f"the plans have the patch_size {shown(configuration['patch_size'])} and the spacing "
            f"{shown(configuration['spacing'])}, expected as many sides in both"
        )


def _normalization(results: Results, channels: int) -> list[dict[str, Any]]:
    names, masked = (results.configuration.get(n) for n in ("normalization_schemes", "use_mask_for_norm"))
    for name, value in (("normalization_schemes", names), ("use_mask_for_norm", masked)):
        if not isinstance(value, Sequence) or len(value) != channels:
            raise CheckpointError(
                f"the plans' {name} must have an entry for each of the {channels} channels, found "
                f"{shown(value)}"
            )
    assert names is not None
    assert masked is not None
    return [
        _scheme(results.plans, channel, name, mask)
        for channel, (name, mask) in enumerate(zip(names, masked, strict=True))
    ]


def _scheme(plans: Mapping[str, Any], channel: int, name: str, masked: bool) -> dict[str, Any]:
    if name not in SCHEMES:
        raise CheckpointError(
            f"the plans normalise channel {channel} by {shown(name)}, expected one of {', '.join(SCHEMES)}: "
            "its "
            "formula is not known here"
        )
    scheme = SCHEMES[name]
    if scheme == "zscore" and masked:
        return {"scheme": "masked_zscore"}
    if scheme != "ct":
        return {"scheme": scheme}
    by_channel = plans.get(
        "foreground_intensity_properties_per_channel",
        plans.get("foreground_intensity_properties_by_modality", {}),
    )
    statistics = by_channel.get(str(channel)) if isinstance(by_channel, Mapping) else None
    if not isinstance(statistics, Mapping) or any(
        not isinstance(statistics.get(key), (int, float)) for key in CT.values()
    ):
        raise CheckpointError(
            f"the plans normalise channel {channel} as CT, and their fingerprint of that channel must have "
            f"{', '.join(CT.values())}, found {shown(statistics)}: give the plans of the training"
        )
    return {"scheme": scheme} | {ours: float(statistics[theirs]) for ours, theirs in CT.items()}


def _orientation(plans: Mapping[str, Any]) -> str:
    reader = plans.get("image_reader_writer", "SimpleITKIO")
    if reader not in READERS:
        raise CheckpointError(
            f"the plans read images with {shown(reader)}, expected one of {', '.join(READERS)}: the order of "
            "its axes is not known here"
        )
    order = plans.get("transpose_forward")
    if not isinstance(order, (list, tuple)) or sorted(order) != [0, 1, 2]:
        raise CheckpointError(
            f"the plans' transpose_forward must order the axes 0, 1, 2, found {shown(order)}"
        )
    if list(plans.get("transpose_backward", [])) != [list(order).index(axis) for axis in range(3)]:
        raise CheckpointError(
            f"the plans' transpose_backward {shown(plans.get('transpose_backward'))} does not undo their "
            f"transpose_forward {shown(order)}"
        )
    return "".join(READERS[reader][axis] for axis in order)


def _resampling(configuration: Mapping[str, Any], flat: bool) -> dict[str, Any]:
    spacing = [float(side) for side in configuration["spacing"]]
    return {
        "spacing": [None, *spacing] if flat else spacing,
        "image": _interpolation(configuration, "resampling_fn_data", IMAGE_ORDERS),
        "logits": _interpolation(configuration, "resampling_fn_probabilities", LOGIT_ORDERS),
    }


def _interpolation(configuration: Mapping[str, Any], name: str, orders: Sequence[int]) -> dict[str, Any]:
    function, arguments = configuration.get(name), configuration.get(f"{name}_kwargs")
    if function != RESAMPLING or not isinstance(arguments, Mapping):
        raise CheckpointError(
            f"the plans resample by {name} {shown(function)}, expected {RESAMPLING} and its arguments: what "
            "others compute is not known here"
        )
    known = {"is_seg", "order", "order_z", "force_separate_z"}
    order, order_z = arguments.get("order", 3), arguments.get("order_z", 0)
    separate = arguments.get("force_separate_z", False)
    if (
        set(arguments) - known
        or arguments.get("is_seg", False)
        or order not in orders
        or order_z not in LOGIT_ORDERS
        or separate not in SEPARATE_Z
    ):
        raise CheckpointError(
            f"the plans' {name}_kwargs are {shown(dict(arguments))}, expected order "
            f"{' or '.join(map(str, orders))}, order_z 0 or 1, force_separate_z null, true or false, and "
            "nothing "
            "else"
        )
    return {"order": int(order), "separate_z": SEPARATE_Z[separate], "order_z": int(order_z)}


def _mirror_axes(results: Results, flat: bool) -> tuple[int, ...]:
    axes = tuple(axis + 1 for axis in results.mirror_axes) if flat else results.mirror_axes
    if any(not flat <= axis <= 2 for axis in axes) or len(set(axes)) < len(axes):
        raise CheckpointError(
            f"the checkpoints mirror along the axes {results.mirror_axes}, which a configuration with "
            f"{2 if flat else 3} axes does not have"
        )
    return axes
