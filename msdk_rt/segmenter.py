"""Segmenter: from volumes to label maps through an exported artifact."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from msdk_rt.arrays import as_array, as_volume
from msdk_rt.backends.base import Backend
from msdk_rt.errors import BackendError, InputError
from msdk_rt.labels import label_voxels, probabilities_of
from msdk_rt.manifest import Manifest, read_manifest
from msdk_rt.preprocess import normalize
from msdk_rt.stages import Stages
from msdk_rt.volumes import Space, read_volume
from msdk_rt.windows import blend_windows, importance, plan_windows

BLENDS = ("gaussian", "constant")
Source = np.ndarray | list[str | Path]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One segmented volume.

    labels: voxel values, uint8 (uint16 where the label map needs it). probabilities: float32, one map per
    logit channel, or None where they were not asked for. space: the input file's, or None for an array.

    An array's labels are (D, H, W) and its probabilities (K, D, H, W), as the array was. A file's labels are
    (X, Y, Z) and its probabilities (K, X, Y, Z), in the file's own voxel space.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None = None
    space: Space | None = None

    def save(self, path: str | Path) -> None:
        """Write the labels as .nii or .nii.gz in the space of the input. Raises OutputError, InputError."""
        self._require_space().save(self.labels, path)

    def save_probabilities(self, path: str | Path) -> None:
        """Write the probabilities as a 4D float32 NIfTI (X, Y, Z, K). Raises OutputError, InputError."""
        if self.probabilities is None:
            raise InputError("there are no probabilities: run with return_probabilities=True")
        self._require_space().save(np.moveaxis(self.probabilities, 0, -1), path)

    def _require_space(self) -> Space:
        if self.space is None:
            raise InputError(
                "an array has no voxel space to be saved in: run on NIfTI files, or save it yourself"
            )
        return self.space


class Segmenter:
    """Segments 3D volumes with an artifact of msdk_rt.export. May be called from several threads at once.

        with Segmenter("model.onnx") as segmenter:
            segmenter.run("t1.nii.gz").save("labels.nii.gz")

    path: model.onnx or model.engine, with its manifest beside it. providers, threads: see
    OnnxRuntimeBackend; not for an engine.
    overlap: fraction of a window shared with the next, 0 <= overlap < 1. blend: "gaussian" or "constant"
    weight of a window's voxels. batch_size: windows per inference.
    mirror_axes: of (D, H, W) = 0, 1, 2. Each window is also seen mirrored along every combination of these
    and the logits are averaged, as nnU-Net does: 2**n times the work.

    Raises ArtifactError, BackendError, and InputError for a setting out of its range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        providers: Sequence[str | tuple[str, dict]] | None = None,
        overlap: float = 0.5,
        blend: str = "gaussian",
        batch_size: int = 1,
        mirror_axes: Sequence[int] = (),
        threads: int | None = None,
    ):
        _check_settings(overlap, blend, batch_size, mirror_axes, threads)
        self.manifest: Manifest = read_manifest(path)
        self._overlap, self._batch_size = overlap, batch_size
        self._weights = importance(self.manifest.window, blend, self.manifest.blending["sigma_scale"])
        self._flips = [
            tuple(axis + 2 for axis in axes)
            for count in range(len(mirror_axes) + 1)
            for axes in itertools.combinations(sorted(mirror_axes), count)
        ]
        self._backend: Backend | None = _open_backend(path, self.manifest, providers, threads, batch_size)

    @property
    def providers(self) -> list[str]:
        """Execution providers in use, in order of preference."""
        return self._open().providers

    def close(self) -> None:
        """Release the network once the calls in progress have ended."""
        self._backend = None

    def __enter__(self) -> "Segmenter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def count_windows(self, shape: Sequence[int]) -> int:
        """How many windows a volume (D, H, W) takes."""
        return len(plan_windows(shape, self.manifest.window, self._overlap))

    def run(self, volumes, *, return_probabilities: bool = False, progress: bool = False):
        """Segment one volume or several. progress: show a bar over the windows of each.

        | volumes | returns |
        | --- | --- |
        | array (C, D, H, W) | labels (D, H, W); a Segmentation if return_probabilities |
        | path of a NIfTI file, for a model with one channel | Segmentation |
        | list of paths, one per channel, in the manifest's order | Segmentation |
        | array (B, C, D, H, W), or list of arrays or of lists of paths | list of the above |

        Arrays are integers or real numbers in the model's axis order, channels and orientation as the
        manifest says, intensities as acquired: normalisation happens here. Files are reoriented and back.

        Raises InputError on a volume that does not fit: for arrays before the first inference, for files
        before their own. Raises BackendError if inference fails.
        """
        sources, single = _sources(volumes)
        if len(sources) > 1:  # one alone is checked where it is used
            for source in sources:
                if isinstance(source, np.ndarray):
                    as_volume(source, self.manifest.channels)
        results = [self._run_source(source, return_probabilities, progress) for source in sources]
        return results[0] if single else results

    def _run_source(self, source: Source, return_probabilities: bool, progress: bool):
        if not isinstance(source, np.ndarray):
            return self._run_files(source, return_probabilities, progress)
        volume = as_volume(source, self.manifest.channels)
        labels, probabilities = self._segment(volume, return_probabilities, progress)
        return Segmentation(labels, probabilities) if return_probabilities else labels

    def _run_files(
        self, paths: Sequence[str | Path], return_probabilities: bool, progress: bool
    ) -> Segmentation:
        volume = read_volume(paths, self.manifest.channels, self.manifest.orientation)
        labels, probabilities = self._segment(volume.data, return_probabilities, progress)
        space = volume.space
        if probabilities is not None:
            probabilities = np.stack([space.from_model(channel) for channel in probabilities])
        return Segmentation(np.ascontiguousarray(space.from_model(labels)), probabilities, space)

    def _segment(
        self,
        volume: np.ndarray,
        return_probabilities: bool = False,
        progress: bool = False,
        stages: Stages | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(labels (D, H, W), probabilities (K, D, H, W) or None) of a checked float32 volume (C, D, H, W)."""
        backend = self._open()
        stages = stages or Stages()
        if self.manifest.normalization == "nonzero_zscore":
            with stages("normalise"):
                volume = normalize(volume)
        logits = blend_windows(
            volume,
            self.manifest.window,
            lambda windows: self._infer(backend, windows),
            plan_windows(volume.shape[1:], self.manifest.window, self._overlap),
            self._weights,
            self._batch_size,
            _progress_bar if progress else iter,
            stages,
        )
        with stages("label"):
            labels = label_voxels(logits, list(self.manifest.labels.values()), self.manifest.activation)
        return labels, probabilities_of(logits, self.manifest.activation) if return_probabilities else None

    def _infer(self, backend: Backend, windows: np.ndarray) -> np.ndarray:
        """Logits of a batch of windows, averaged over the mirrored views."""
        total = backend.infer(windows)
        for axes in self._flips[1:]:
            total += np.flip(backend.infer(np.ascontiguousarray(np.flip(windows, axes))), axes)
        if len(self._flips) > 1:
            total /= len(self._flips)
        return total

    def _open(self) -> Backend:
        if self._backend is None:
            raise BackendError("this Segmenter is closed: open another")
        return self._backend


def _sources(volumes) -> tuple[list[Source], bool]:
    """The volumes of Segmenter.run one by one, and whether it was given one alone, not a list of one."""
    if files := _files(volumes):
        return [files], True
    if isinstance(volumes, (list, tuple)):
        sources = [_files(volume) or as_array(volume) for volume in volumes]
    else:
        array = as_array(volumes)
        if array.ndim != 5:
            return [array], True
        sources = list(array)
    if not sources:
        raise InputError("got no volume: expected arrays (C, D, H, W), or one NIfTI path per channel")
    return sources, False


def _files(volume) -> list[str | Path]:
    """The paths that a volume is given as; empty where it is something else."""
    paths = volume if isinstance(volume, (list, tuple)) else [volume]
    return list(paths) if all(isinstance(path, (str, os.PathLike)) for path in paths) else []


def _open_backend(path, manifest: Manifest, providers, threads: int | None, batch_size: int) -> Backend:
    if manifest.engine is None:
        from msdk_rt.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(path, manifest, providers, threads)
    for name, value in (("providers", providers), ("threads", threads)):
        if value is not None:
            raise InputError(f"{name} is for a .onnx, {path} runs on TensorRT: leave it out, got {value!r}")
    from msdk_rt.backends.tensorrt import TensorRtBackend

    return TensorRtBackend(path, manifest, batch_size)


def _progress_bar(batches: Sequence[Sequence]) -> Iterator[Sequence]:
    from tqdm import tqdm

    with tqdm(total=sum(map(len, batches)), desc="segment", unit="window", leave=False) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def _check_settings(overlap, blend, batch_size, mirror_axes, threads) -> None:
    if not isinstance(overlap, Real) or not 0 <= overlap < 1:
        raise InputError(f"overlap must be a fraction from 0 to below 1, got {overlap!r}")
    if blend not in BLENDS:
        raise InputError(f"blend must be {' or '.join(BLENDS)}, got {blend!r}")
    if not _is_count(batch_size):
        raise InputError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    if any(axis not in (0, 1, 2) for axis in mirror_axes) or len(set(mirror_axes)) != len(mirror_axes):
        raise InputError(f"mirror_axes must be different axes among 0, 1, 2 (D, H, W), got {mirror_axes!r}")
    if threads is not None and not _is_count(threads):
        raise InputError(f"threads must be a whole number of at least 1, or None, got {threads!r}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
