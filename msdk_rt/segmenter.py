"""Segmenter: from volumes to label maps through an exported artifact."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from msdk_rt.artifact.bundle import unpacked
from msdk_rt.artifact.files import folder_lock, path_of
from msdk_rt.artifact.manifest import Manifest, read_manifest
from msdk_rt.backends.base import Backend, Provider
from msdk_rt.backends.registry import Settings, open_backend, providers_of
from msdk_rt.errors import ArtifactError, BackendError
from msdk_rt.imaging.described import Described
from msdk_rt.imaging.plausibility import warn_of_volumes
from msdk_rt.imaging.results import Segmentation, in_space_of_file
from msdk_rt.imaging.sources import Source, sources_of
from msdk_rt.imaging.space import Space, warn_of_spacing
from msdk_rt.imaging.volumes import Volume, read_volume
from msdk_rt.inference.arrays import Array, Floats, as_volume, check_shape
from msdk_rt.inference.device.arrays import DeviceVolume
from msdk_rt.inference.device.workspace import DeviceBytes
from msdk_rt.inference.host import HostPipeline, infer_views
from msdk_rt.inference.pipeline import Labels, Pending, Pipeline, Probabilities, Progress, Watch
from msdk_rt.inference.preparation import shape_for_network
from msdk_rt.inference.recipe import Recipe
from msdk_rt.inference.settings import blend_of, count_of, mirror_axes_of, overlap_of, threads_of
from msdk_rt.inference.stages import Stages

if TYPE_CHECKING:
    from msdk_rt.inference.device.pipeline import DevicePipeline

Result = Segmentation | Labels


class Segmenter:
    """Segments 3D volumes with an artifact of msdk_rt.export.

        with Segmenter("model.onnx") as segmenter:
            segmenter.run("t1.nii.gz").save("labels.nii.gz")

    Several threads may call it at once, but no other process: after a fork, or in a worker, open another one.
    Where the network runs on a GPU, volumes stay there from upload to labels (msdk_rt.inference.device).

    Args:
        path: model.onnx or model.engine, with its manifest beside it, or model.msdk, which holds both.
        providers: execution providers as ONNX Runtime takes them, names or (name, options), or one of these
            alone. Default: CUDA where it is available, then the CPU. Not for an engine.
        overlap: fraction of a window that the next one shares, 0 <= overlap < 1.
        blend: "gaussian" or "constant" weights of a window's voxels. Default: the manifest's.
        batch_size: windows per inference.
        mirror_axes: axes of (D, H, W) = 0, 1, 2. Each window is also inferred mirrored along every
            combination of these, and the logits are averaged, as nnU-Net does: 2**n times the work. () for
            none. Default: the manifest's, which only a network of nnU-Net's has.
        threads: threads of one inference. Default: one per physical core. More than this process may use, by
            affinity and cgroups, are lowered to that with an InputWarning. Not for an engine.

    Numbers may be NumPy's. Raises ArtifactError, BackendError, and InputError for a setting out of its range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        providers: Provider | Sequence[Provider] | None = None,
        overlap: float = 0.5,
        blend: str | None = None,
        batch_size: int = 1,
        mirror_axes: Iterable[int] | None = None,
        threads: int | None = None,
    ):
        overlap, batch_size = overlap_of(overlap), count_of("batch_size", batch_size)
        axes, threads = mirror_axes_of(mirror_axes), threads_of(threads)
        blend = None if blend is None else blend_of(blend)
        path = path_of(path, ArtifactError)
        self._process = os.getpid()
        # The lock: against an export's two renames.
        with unpacked(path) as path, folder_lock(path.parent, shared=True):
            self.manifest: Manifest = read_manifest(path)
            manifest = self.manifest
            axes = manifest.mirror_axes if axes is None else axes
            self._recipe = Recipe(manifest, overlap, blend or manifest.blending["mode"], batch_size, axes)
            self._recipe.normalisation()  # an unknown one is refused before a library reads the model
            settings = Settings(providers_of(providers), threads, batch_size)
            self._backend: Backend | None = open_backend(path, self.manifest, settings)
        self._threads = threads
        self._of_thread = threading.local()

    @property
    def providers(self) -> list[str]:
        """Execution providers in use, in order of preference."""
        return self._open().providers

    @property
    def threads(self) -> int | None:
        """Threads of one inference, as it runs: fewer than asked for where lowered. None for an engine."""
        return self._open().threads

    def close(self) -> None:
        """Release the network once the calls in progress have ended."""
        self._backend, self._of_thread = None, threading.local()

    def __enter__(self) -> "Segmenter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """The axes of (D, H, W) along which windows are mirrored."""
        return self._recipe.mirror_axes

    def count_windows(self, shape: Sequence[int], spacing: Sequence[float] | None = None) -> int:
        """How many windows a volume (D, H, W) takes, of this spacing in mm where the model resamples.

        For a model that crops: the most that it can take. Raises InputError.
        """
        return len(self._recipe.starts(shape_for_network(self._recipe, shape, spacing)))

    def device_memory(self, shape: Sequence[int]) -> DeviceBytes:
        """Bytes of the GPU's memory that a volume (D, H, W) takes. Raises BackendError where there is no GPU.

        `run` compares them with the free memory. For a volume that does not fit it lowers the batch size,
        with a warning; for one that does not fit with one window at a time it raises BackendError.
        """
        return self._pipeline().memory(shape)

    def run(
        self,
        volumes: Any,
        *,
        return_probabilities: bool = False,
        progress: Progress = False,
        spacing: Sequence[float] | None = None,
    ) -> Any:
        """Segment one volume or several.

        progress: True for a bar over the windows of each; or a function that takes the list of a volume's
        batches of windows and yields each before it runs. What it raises ends the run.

        spacing: millimetres between the voxels of arrays along (D, H, W). A model that resamples needs it;
        files have their own.

        | volumes | returns |
        | --- | --- |
        | array (C, D, H, W) | labels (D, H, W); a Segmentation if return_probabilities |
        | path of a NIfTI file, 4D for a model with several channels | Segmentation |
        | path of a DICOM folder, zip or multi-frame file with one series | Segmentation |
        | list of paths, one per channel, in the manifest's order | Segmentation |
        | Volume that msdk_rt.imaging.volumes.read_volume gave | Segmentation |
        | array (B, C, D, H, W), or list of arrays or of lists of paths | list of the above |
        | any of these arrays on the model's GPU: float32, C order | the same as DeviceArrays there |

        Arrays are integers or real numbers in the model's axis order, channels and orientation as the
        manifest says, intensities as acquired: normalisation happens here. Files are reoriented and back.
        What a file leaves open, voxels far from those that the model knows, and a result whose labels have
        implausible volumes for this model, are an InputWarning.

        Raises InputError on a volume that does not fit: for arrays before the first inference, for files
        before their own. Raises BackendError if inference fails.
        """
        pipeline = self._pipeline()
        sources, single = sources_of(volumes, pipeline.take)
        if len(sources) > 1:  # one alone is checked where it is used
            for source in sources:
                if not isinstance(source, (list, Volume)):  # files are checked when they are read
                    self._check(source)
        results = list(self._results(pipeline, sources, return_probabilities, progress, spacing))
        return results[0] if single else results

    def _results(
        self,
        pipeline: Pipeline,
        sources: Sequence[Source],
        probabilities: bool,
        progress: Progress,
        spacing: Sequence[float] | None,
    ) -> Iterator[Result]:
        """A result for each source. The next is read and started while a GPU works on the one before."""
        finish = None
        for source in sources:
            started = self._start(pipeline, source, probabilities, progress, spacing)
            if finish:
                yield finish()
            finish = started
        if finish:
            yield finish()

    def _start(
        self,
        pipeline: Pipeline,
        source: Source,
        probabilities: bool,
        progress: Progress,
        spacing: Sequence[float] | None,
    ) -> Callable[[], Result]:
        """Begin with a source; the function returned waits for the end and gives the result."""
        watch = _watch(progress)
        if isinstance(source, list):
            source = read_volume(source, self.manifest.channels, self.manifest.orientation)
        if isinstance(source, Volume):
            data = as_volume(source.data, self.manifest.channels)  # anybody may have made it
            warn_of_spacing(source.space, self.manifest.spacing)
            pending = pipeline.start(data, probabilities, watch, spacing=source.space.spacing)
            described = Described(self.manifest.labels, self.manifest.family, self.manifest.sha256)
            return partial(_of_file, pending, source.space, described, self.manifest.plausible_ml)
        pending = pipeline.start(self._check(source), probabilities, watch, spacing=spacing)
        return partial(_of_array, pending, probabilities)

    def _check(self, source: Array | DeviceVolume) -> Floats | DeviceVolume:
        """An array as a pipeline takes it. Raises InputError."""
        if isinstance(source, DeviceVolume):
            check_shape(source.shape, self.manifest.channels)
            return source
        return as_volume(source, self.manifest.channels)

    def _segment(
        self,
        volume: Floats,
        return_probabilities: bool = False,
        progress: Progress = False,
        stages: Stages | None = None,
        spacing: Sequence[float] | None = None,
    ) -> tuple[Labels, Probabilities | None]:
        """(labels (D, H, W), probabilities (K, D, H, W) or None) of a checked float32 volume (C, D, H, W)."""
        watch = _watch(progress)
        return self._pipeline().start(volume, return_probabilities, watch, stages, spacing).result()

    def _infer(self, backend: Backend, windows: Floats) -> Floats:
        """Logits of a batch of windows, averaged over the mirrored views, from host to host."""
        return infer_views(backend, self._recipe, windows)

    def _pipeline(self) -> Pipeline:
        """This thread's pipeline, on the device where the backend is on one."""
        backend = self._open()
        if not hasattr(self._of_thread, "pipeline"):
            self._of_thread.pipeline = _pipeline(backend, self._recipe, self._threads)
        pipeline: Pipeline = self._of_thread.pipeline
        return pipeline

    def _open(self) -> Backend:
        if self._backend is None:
            raise BackendError("this Segmenter is closed: open another")
        if self._process != os.getpid():
            raise BackendError(
                f"this Segmenter was opened in process {self._process}: its inference library has no threads "
                f"in process {os.getpid()}. Open one in each process"
            )
        return self._backend

    def __reduce__(self) -> NoReturn:
        raise BackendError(
            f"a Segmenter cannot leave process {self._process}: send the path, and open another one there"
        )


def _pipeline(backend: Backend, recipe: Recipe, threads: int | None) -> Pipeline:
    """A DevicePipeline where the network is on a GPU, else a HostPipeline; inside a WholePipeline and a
    MaskedPipeline where the recipe needs them.
    """
    pipeline: Pipeline
    if recipe.is_whole:
        from msdk_rt.inference.whole import WholePipeline

        pipeline = WholePipeline(_windows_pipeline(backend, recipe.of_prepared()), recipe, threads)
    else:
        pipeline = _windows_pipeline(backend, recipe)
    if recipe.manifest.brain_mask is None:
        return pipeline
    from msdk_rt.inference.masked import MaskedPipeline

    return MaskedPipeline(pipeline, recipe)


def _windows_pipeline(backend: Backend, recipe: Recipe) -> "HostPipeline | DevicePipeline":
    network = backend.network()
    if network is None:
        return HostPipeline(backend, recipe)
    from msdk_rt.backends import cuda
    from msdk_rt.backends.volume_kernels import VolumeKernels
    from msdk_rt.inference.device.pipeline import DevicePipeline

    return DevicePipeline(network, recipe, cuda, VolumeKernels())


def _of_file(
    pending: Pending, space: Space, described: Described, plausible: Mapping[str, Sequence[float]] | None
) -> Segmentation:
    segmentation = in_space_of_file(*pending.result(), space, described)
    warn_of_volumes(segmentation, plausible)
    return segmentation


def _of_array(pending: Pending, probabilities: bool) -> Result:
    return Segmentation(*pending.result()) if probabilities else pending.result()[0]


def _watch(progress: Progress) -> Watch | None:
    if callable(progress):
        return progress
    return _progress_bar if progress else None


def _progress_bar(batches: Iterable[Any]) -> Iterator[Any]:
    from tqdm import tqdm

    batches = list(batches)
    with tqdm(total=sum(map(len, batches)), desc="segment", unit="window", leave=False) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))
