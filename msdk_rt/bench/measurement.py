"""How fast a model is on this machine: latency of a window, stages of a volume, cost of every op."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from msdk_rt.artifact.bundle import unpacked
from msdk_rt.backends.base import Floats, Provider
from msdk_rt.backends.registry import providers_of
from msdk_rt.bench import machine
from msdk_rt.bench.latency import Latency, take_turns
from msdk_rt.bench.report import Contestant, Report, VolumeTime
from msdk_rt.bench.sensors.watch import GpuWatch, on_gpu
from msdk_rt.bench.waiting import ProcessorWait
from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import save
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.inference.device.arrays import on_host
from msdk_rt.inference.settings import count_of, overlap_of, threads_of
from msdk_rt.inference.stages import Stages
from msdk_rt.segmenter import Segmenter

DEFAULT_SHAPE = (160, 192, 160)  # a head at 1 mm, cropped
SEED = 0


def benchmark(
    models: str | Path | Sequence[str | Path],
    *,
    inputs: Sequence[str | Path] | None = None,
    shape: Sequence[int] | None = None,
    volumes: int = 1,
    providers: Provider | Sequence[Provider] | None = None,
    overlap: float = 0.5,
    batch_size: int = 1,
    threads: int | None = None,
    seconds: float = 3.0,
    warm_up: float = 1.0,
    limit: float = 30.0,
    watch: Callable[[str], None] = lambda step: None,
) -> Report:
    """Measure models on this machine, and compare the others with the first.

    Args:
        models: artifacts, with their manifests beside them.
        inputs: NIfTI files of one volume, one per channel; they are read, and labels written, each time.
            Default: random voxels of `shape`.
        shape: (D, H, W) of the random volume. Default: 160 x 192 x 160.
        volumes: whole volumes that each contestant segments, 0 for none.
        providers: each makes a separate contestant of every model. Default: those that Segmenter takes.
        overlap: as in Segmenter.
        batch_size: as in Segmenter.
        threads: as in Segmenter.
        seconds: time for the windows of a contestant, at least 100 of them unless that takes more than
            `limit`.
        warm_up: seconds of untimed windows first.
        limit: seconds for the windows of a contestant, at most.
        watch: is called with the name of each step as it begins.

    An interrupt (Ctrl-C) ends the measurement, not the call: the report holds what was measured until then
    and says so. Raises what Segmenter raises, and InputError for a setting out of its range.
    """
    settings = {"shape": shape, "volumes": volumes, "seconds": seconds, "warm_up": warm_up, "limit": limit}
    _check(settings, inputs)
    paths = [Path(model) for model in ([models] if isinstance(models, (str, Path)) else models)]
    options: dict[str, Any] = {
        "overlap": overlap_of(overlap),
        "batch_size": count_of("batch_size", batch_size),
        "threads": threads_of(threads),
    }
    contestants = providers_of(providers)
    report = Report(
        machine=machine.machine(),
        cores=machine.cores(),
        clock_mhz=machine.clock_mhz(),
        versions={"numpy": np.__version__},
        settings=options | {"providers": [str(provider) for provider in contestants or ()]},
    )
    with contextlib.ExitStack() as stack:
        segmenters = []
        for path in paths:
            for chosen in [[provider] for provider in contestants] if contestants else [None]:
                segmenter = stack.enter_context(Segmenter(path, providers=chosen, **options))
                segmenters.append(segmenter)
                report.versions |= segmenter._open().library
                report.contestants.append(_contestant(path, segmenter, options["batch_size"]))
        try:
            _measure(report, segmenters, options, settings, inputs, watch)
        except KeyboardInterrupt:
            report.interrupted = True
    report.peak_memory_mb = machine.own_peak_memory()
    return report


def _measure(
    report: Report,
    segmenters: Sequence[Segmenter],
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    inputs: Sequence[str | Path] | None,
    watch: Callable[[str], None],
) -> None:
    windows = [_random_windows(segmenter, options["batch_size"]) for segmenter in segmenters]
    with contextlib.ExitStack() as stack:
        if any(on_gpu(contestant.providers) for contestant in report.contestants):
            gpu = GpuWatch()
            stack.callback(_tell_gpu, report, gpu)  # once the sensor has stopped
            stack.enter_context(gpu)
        _time_windows(report, segmenters, windows, settings, watch)
        for number in range(settings["volumes"]):
            for contestant, segmenter in zip(report.contestants, segmenters, strict=True):
                watch(f"volume {number + 1} of {settings['volumes']}, {contestant.name}")
                contestant.volumes.append(_segment_once(segmenter, inputs, settings["shape"]))
    for contestant, batch in zip(report.contestants, windows, strict=True):
        with unpacked(contestant.path) as path:
            if path.suffix == ".onnx":  # of an engine, trtexec --dumpProfile tells
                from msdk_rt.bench.profile import profile

                watch(f"profile, {contestant.name}")
                contestant.ops = profile(path, contestant.providers, contestant.threads, batch)
    watch("what the machine can do")
    report.peak_flops, report.peak_bandwidth = machine.peak_flops(), machine.peak_bandwidth()


def _time_windows(
    report: Report,
    segmenters: Sequence[Segmenter],
    windows: Sequence[Floats],
    settings: Mapping[str, Any],
    watch: Callable[[str], None],
) -> None:
    watch("windows")
    wait = ProcessorWait()
    try:
        take_turns(
            [
                partial(segmenter._infer, segmenter._open(), batch)
                for segmenter, batch in zip(segmenters, windows, strict=True)
            ],
            [contestant.window for contestant in report.contestants],
            warm_up=settings["warm_up"],
            seconds=settings["seconds"],
            limit=settings["limit"],
        )
    finally:
        report.waited = wait.share()


def _tell_gpu(report: Report, gpu: GpuWatch) -> None:
    report.gpu = gpu.state()
    for contestant in report.contestants:
        for volume in contestant.volumes:
            volume.gpu_joules = gpu.joules(volume.began, volume.began + volume.seconds)


def _segment_once(
    segmenter: Segmenter, inputs: Sequence[str | Path] | None, shape: Sequence[int] | None
) -> VolumeTime:
    """One volume from reading to writing, or from memory to memory where no files are given."""
    import tempfile

    manifest, stages, energy = segmenter.manifest, Stages(), machine.EnergyMeter()
    began = time.perf_counter()
    if inputs:
        with stages("read"):
            volume = read_volume(inputs, manifest.channels, manifest.orientation)
        labels, _ = segmenter._segment(volume.data, stages=stages)
        with stages("write"), tempfile.TemporaryDirectory() as folder:
            voxels = np.ascontiguousarray(volume.space.from_model(on_host(labels)))
            save(voxels, volume.space, Path(folder) / "labels.nii.gz")
    else:
        data = _random_volume(len(manifest.channels), DEFAULT_SHAPE if shape is None else shape)
        began = time.perf_counter()
        labels, _ = segmenter._segment(data, stages=stages)
    total = time.perf_counter() - began
    return VolumeTime(
        shape=labels.shape,
        windows=segmenter.count_windows(labels.shape),
        began=began,
        seconds=total,
        stages=stages.seconds,
        joules=energy.joules(),
        energy_problem=energy.problem,
    )


def _random_volume(channels: int, shape: Sequence[int]) -> Floats:
    return np.random.default_rng(SEED).standard_normal((channels, *shape), np.float32)


def _random_windows(segmenter: Segmenter, batch_size: int) -> Floats:
    size = (batch_size, len(segmenter.manifest.channels), *segmenter.manifest.window)
    return np.random.default_rng(SEED).standard_normal(size, np.float32)


def _contestant(path: Path, segmenter: Segmenter, batch_size: int) -> Contestant:
    return Contestant(
        name=f"{path.name} on {segmenter.providers[0].removesuffix('ExecutionProvider')}",
        path=path,
        providers=segmenter.providers,
        precision=segmenter.manifest.precision,
        window_voxels=segmenter.manifest.window,
        batch_size=batch_size,
        threads=segmenter.threads,
        window=Latency(),
    )


def _check(settings: Mapping[str, Any], inputs: Sequence[str | Path] | None) -> None:
    shape = settings["shape"]
    if shape is not None and (len(shape) != 3 or any(not isinstance(n, Integral) or n < 1 for n in shape)):
        raise InputError(f"shape must be three sides D, H, W in voxels, got {shape}")
    if shape is not None and inputs:
        raise InputError("give a shape for random voxels, or input files, not both")
    for name in ("seconds", "warm_up", "limit"):
        if not settings[name] >= 0:
            raise InputError(f"{name} must be a number of seconds of at least 0, got {settings[name]!r}")
    if not isinstance(settings["volumes"], Integral) or settings["volumes"] < 0:
        raise InputError(f"volumes must be a whole number of at least 0, got {settings['volumes']!r}")
