"""The manifest of an artifact: `model.onnx.json` beside `model.onnx`.

The manifest carries everything the network file cannot: window, channel order, label map, normalisation,
blending, the parity measured at export, and the SHA-256 of the artifact. In the file a last entry, `seal`, is
the SHA-256 of all others. The hashes guard against accidents (a truncated copy, an edited label map), not
against somebody who can replace both files.
"""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msdk_rt.artifact.engine_entry import ENGINE_SUFFIX
from msdk_rt.artifact.files import atomic_write, file_at, folder_lock
from msdk_rt.artifact.manifest_rules import complaints
from msdk_rt.artifact.ops_version import OPS_VERSION
from msdk_rt.artifact.recipe_rules import NEW_ENTRIES
from msdk_rt.errors import ArtifactError, OutputError, shown

FORMAT_VERSION = 2  # the newest; a manifest that format 1 can hold is still written in it
SEAL = "seal"
OPTIONAL = {"notes", "spacing", *NEW_ENTRIES}  # left out of a file where they say nothing
MOST_BYTES = 16 << 20  # of a manifest
MOST_ONNX_BYTES = 2 << 30  # of a protobuf message
DEFAULT_BLENDING = {"scheme": "monai", "mode": "gaussian", "sigma_scale": 0.125}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The checked entries of one artifact's manifest. Raises ArtifactError naming the entry that is wrong.

    Attributes:
        family: name of the network family, or the module's class.
        config: the family's sizes.
        window: (D, H, W) in voxels, fixed in the graph.
        channels: input modalities, in order.
        labels: {logit channel: voxel value}, in channel order.
        activation: "softmax", or "sigmoid" for overlapping regions: a voxel gets the value of the last
            channel in order whose probability exceeds 0.5, else 0 (nnU-Net's regions_class_order).
        normalization: "nonzero_zscore" (MONAI NormalizeIntensity(nonzero=True, channel_wise=True)) or "none".
            Or one of nnU-Net's for each channel, a list of {"scheme": name}: "zscore", "masked_zscore", "ct"
            with its "mean", "std", "low" and "high", "rescale_to_01", "rgb_to_01", "none".
        parity: the artifact against PyTorch, measured at export.
        sha256: of the artifact, in hexadecimal.
        created_by: versions of msdk_rt, torch and onnx.
        orientation: axis codes of the model's (D, H, W), as nibabel names them, or the file's own axes X, Y
            and Z in the order in which they are D, H, W.
        blending: scheme ("monai" or "nnunet": where windows start, and which Gaussian), mode and sigma_scale
            of the windows' weights.
        precision: "float32" or "float16", of the values between layers.
        engine: the machine that a .engine needs (msdk_rt.artifact.engine_entry); None for a .onnx.
        spacing: {"low": (D, H, W), "high": (D, H, W)} in millimetres, of the voxels that the network was
            trained or checked with; None where nobody knows. A file without it has no such entry.
        notes: sentences about what the export assumed or could not check. A file without notes has no such
            entry.
        brain_mask: {"spacing": mm, "threshold", "widths", "weights"} and perhaps {"edge": {"threshold",
            "reach": mm, "darkest", "brightest", "depth": mm, "axes"}}: a small network that finds the brain
            in the first channel, and how the mask's edge then moves by the image's own voxels; all else is
            set to 0 before the crop, and gets the value 0. None: all is kept.
        crop: "nonzero": the network sees the box around the voxels that are not 0 in every channel; all
            others get the value 0. None: it sees all.
        resampling: {"spacing": (D, H, W) in millimetres, the first None for the image's own, "image",
            "logits": {"order", "separate_z", "order_z"}}: the image is resampled to that spacing after its
            normalisation, and logits are resampled back before the activation. None: neither.
        sums: "float16": windows are added up as nnU-Net adds them, each sum rounded to float16, and resampled
            logits are rounded so too. "float32", or None, which is the same: all is in float32.
        folds: how many networks the graph holds, where it gives the logits of each, one fold's channels after
            the other's: the windows of each are added up by themselves, and then the folds are averaged.
            None: the graph's logits are the model's.
        mirror_axes: of (D, H, W); a run mirrors along them unless it is told otherwise.
        regions: {name of a sigmoid channel: the voxel values of training that it is made of}, for the record
            and for nnU-Net's tools; None where nobody said.
        file_ending: of results in a folder; None for ".nii.gz".
        plausible_ml: {label: [least, most]} millilitres; a result of a file outside them is an InputWarning.
            None where nobody said.
        ops_version: version of the ops' contract.
        format_version: version of the manifest's format: 1, or 2 where an entry says what 1 cannot. Default:
            the lowest that does.
    """

    family: str
    config: dict[str, Any]
    window: tuple[int, int, int]
    channels: tuple[str, ...]
    labels: dict[str, int]
    activation: str
    normalization: str | list[dict[str, Any]]
    parity: dict[str, Any]
    sha256: str
    created_by: str
    orientation: str = "RAS"
    blending: dict[str, Any] = field(default_factory=DEFAULT_BLENDING.copy)
    precision: str = "float32"
    engine: dict[str, Any] | None = None
    spacing: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    brain_mask: dict[str, Any] | None = None
    crop: str | None = None
    resampling: dict[str, Any] | None = None
    sums: str | None = None
    folds: int | None = None
    mirror_axes: tuple[int, ...] = ()
    regions: dict[str, Any] | None = None
    file_ending: str | None = None
    plausible_ml: dict[str, Any] | None = None
    ops_version: int = OPS_VERSION
    format_version: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "channels", "notes", "mirror_axes"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.format_version is None:
            version = 2 if complaints(vars(self) | {"format_version": 1}, 1) else 1
            object.__setattr__(self, "format_version", version)
        if wrong := complaints(vars(self), self.format_version):
            raise ArtifactError(f"{wrong}. Export the model again")

    @property
    def logit_channels(self) -> int:
        """Channels that the graph gives: those of the labels, for each fold."""
        return (self.folds or 1) * len(self.labels)


def manifest_path(artifact: str | Path) -> Path:
    """`model.onnx.json` for `model.onnx`."""
    artifact = Path(artifact)
    return artifact.with_name(artifact.name + ".json")


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal, read in blocks of a mebibyte."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(artifact: str | Path, manifest: Manifest) -> Path:
    """Write the manifest beside its artifact, atomically; returns its path. Raises OutputError."""
    path = manifest_path(artifact)
    try:
        entries = dataclasses.asdict(manifest)
        for name in OPTIONAL:
            if not entries[name]:
                del entries[name]
        text = json.dumps(entries | {SEAL: _seal(entries)}, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OutputError(f"cannot write {path}: config and parity must be plain JSON, {error}") from error
    with atomic_write(path, "w") as file:
        file.write(text + "\n")
    return path


def replace_pair(staged: Path, artifact: Path) -> None:
    """Move `staged` and its manifest to `artifact`, on the same file system, as one: see folder_lock.

    The artifact goes first: a process killed in between leaves a pair that does not match. Raises OSError, or
    ArtifactError when the file system cannot lock and somebody else's file has come between.
    """
    with folder_lock(artifact.parent):
        os.replace(staged, artifact)
        os.replace(manifest_path(staged), manifest_path(artifact))
        read_manifest(artifact)


def read_manifest(artifact: str | Path) -> Manifest:
    """The manifest of an artifact whose content it matches.

    Raises ArtifactError: either file missing or unreadable, not a manifest, of a newer format, a field
    missing, unknown or wrong, or the manifest or the artifact not as they were written.
    """
    missing = f"no model at {artifact}: expected a file written by msdk_rt.export"
    artifact = file_at(artifact, ArtifactError, missing)
    path = manifest_path(artifact)
    entries = _read_json(path)
    newest = entries.get("format_version")
    if isinstance(newest, int) and newest > FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has manifest format {shown(newest)}, this msdk_rt reads up to {FORMAT_VERSION}: upgrade "
            "msdk_rt"
        )
    fields = {f.name for f in dataclasses.fields(Manifest)} | {SEAL}
    if lacking := sorted(fields - entries.keys() - OPTIONAL):
        raise ArtifactError(f"{path} lacks {', '.join(lacking)}: export the model again")
    if foreign := sorted(entries.keys() - fields):
        raise ArtifactError(f"{path} has unknown fields {shown(', '.join(foreign))}: export the model again")
    seal = entries.pop(SEAL)
    if newest is None:
        raise ArtifactError(f"{path}: format_version must be 1 or 2, found None. Export the model again")
    try:
        manifest = Manifest(**entries)
        _check_file(artifact, manifest)
        found = sha256_of(artifact)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read {artifact}: {error.strerror or error}") from error
    if seal != _seal(entries):
        raise ArtifactError(
            f"{path} was edited: expected the {SEAL} {_seal(entries)}, found {shown(seal)}. Export the model "
            "again with the values you want, so that they are checked against the network"
        )
    if found != manifest.sha256:
        raise ArtifactError(
            f"{artifact} is not the file its manifest describes: expected SHA-256 {manifest.sha256}, found "
            f"{found}. It was truncated or edited; copy both files again or export again"
        )
    return manifest


def _check_file(artifact: Path, manifest: Manifest) -> None:
    """Check everything that can be checked before the file is read. Raises ArtifactError."""
    if (artifact.suffix == ENGINE_SUFFIX) != (manifest.engine is not None):
        raise ArtifactError(
            f"the manifest {'lacks' if manifest.engine is None else 'has'} an entry engine, and the file's "
            f"suffix is {artifact.suffix!r}: it was renamed; keep the name that msdk_rt.export gave it"
        )
    if manifest.engine is None and artifact.stat().st_size >= MOST_ONNX_BYTES:
        raise ArtifactError(f"{artifact} has {artifact.stat().st_size} bytes, an .onnx has less than 2 GiB")


def _seal(entries: dict[str, Any]) -> str:
    """SHA-256 of the entries in order, without regard to the file's spacing."""
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"no manifest at {path}: msdk_rt.export writes it beside the model; keep the two files together"
        ) from error
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise ArtifactError(f"{path} has more than {MOST_BYTES} bytes, no manifest has: copy it again")
    try:
        entries = json.loads(content.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not JSON ({error}): copy it again or export again") from error
    if not isinstance(entries, dict):
        raise ArtifactError(f"{path} holds a {type(entries).__name__}, expected a JSON object of a manifest")
    return entries


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; two values of one key would let a reader see another manifest than a person does."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError(f"a key comes twice among {shown([name for name, _ in pairs])}")
    return entries


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
