"""From a model or checkpoint to an artifact, model.onnx or model.engine, and its manifest beside it."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import torch
from torch import nn
from tqdm import tqdm

import msdk_rt
from msdk_export.description import ModelDescription
from msdk_export.engine.options import EngineOptions
from msdk_export.graph.check import check_graph
from msdk_export.graph.functions import attach_functions
from msdk_export.graph.precision_check import check_range, simulated, worst_layer
from msdk_export.graph.rules import with_cpu_ops, with_cuda_ops
from msdk_export.graph.trace import to_onnx
from msdk_export.loading import load_network
from msdk_export.notes import collecting
from msdk_export.parity import check_parity, measure_parity, on_cpu, random_window
from msdk_export.parity.reference import Reference
from msdk_export.readings import record_agreement
from msdk_export.samples import LabelMap, Sample, real_window, sample_spacing
from msdk_rt.artifact.engine_entry import ENGINE_SUFFIX
from msdk_rt.artifact.files import atomic_write, remove_leftovers, temporary_folder
from msdk_rt.artifact.manifest import Manifest, manifest_path, replace_pair, sha256_of, write_manifest
from msdk_rt.errors import ExportError, OutputError

PRECISIONS = {"fp32": "float32", "fp16": "float16"}


def export(
    model: nn.Module | str | Path,
    path: str | Path,
    *,
    window: Sequence[int] | None = None,
    channels: Sequence[str] | None = None,
    labels: dict[str, int] | None = None,
    activation: str | None = None,
    normalization: str | None = None,
    family: str | None = None,
    config: dict[str, Any] | None = None,
    precision: str | None = None,
    engine: EngineOptions | None = None,
    sample: Sample | None = None,
    reference: LabelMap | None = None,
    weights: str | None = None,
    folds: Sequence[int | str] | int | str | None = None,
    network: nn.Module | str | None = None,
    unverified: bool = False,
    progress: bool = False,
) -> Manifest:
    """Write `path` (.onnx or .engine) and `path`.json, verified against PyTorch; returns the manifest.

    Args:
        model: a module image (B, C, D, H, W) -> logits (B, K, D, H, W) in evaluation mode, which is left
            untouched, the path of a .safetensors or .pt checkpoint, or of a results folder of nnU-Net v2, of
            which every other entry but folds, weights and network is read. Mamba blocks in the module, of
            whatever class, run on the msdk ops where they compute what those do (`msdk_export.adoption`).
            Other modules, 2D ones among them, are for `msdk_export.export_graph`.
        window: (D, H, W) in voxels.
        channels: names of the C modalities, in input order.
        labels: {name: voxel value} of the K logit channels, in order.
        activation: "softmax", or "sigmoid" for overlapping regions. Default "softmax".
        normalization: "nonzero_zscore" or "none". Default "nonzero_zscore".
        family: the network that a checkpoint's weights belong to. Default: read from the checkpoint, or from
            the names and shapes of its weights.
        config: sizes of that network. Those not given are read in the same way.
        precision: "fp32", or "fp16": float16 between the layers, which GPUs run faster and at half the
            memory; norms, the scan's state and parameters, image and logits stay float32
            (msdk_export.graph.precision). Its cost is measured and written in the manifest. Default: "fp16"
            for an .engine, else "fp32".
        engine: how TensorRT builds an .engine (msdk_export.EngineOptions), for this machine's GPU.
        sample: a real volume for the parity check, an array (C, D, H, W) or one NIfTI path per channel.
            Default: the MNI152 T1 template, where nilearn is installed. Where the checkpoint knows no
            spacing, the manifest gets that of the files; a run warns of voxels far from it.
        reference: the true label map of `sample`, an array (D, H, W) of the labels' voxel values or a NIfTI
            path. Where weights fit several networks, each labels a window of the sample, and the one that
            agrees clearly best is taken for what config does not say. The agreement is among the notes.
        weights: which of several networks in a checkpoint: "model", "ema" (the moving average of its
            weights), or the keys where it is, joined by dots. Default: the model. Of a results folder: the
            name of the checkpoint in each fold. Default: checkpoint_final.pth.
        folds: of a results folder, numbers or "all": one graph holds the weights of each and gives the logits
            of each, which the runtime averages. Default: all that have the checkpoint.
        network: of a results folder, the module that the trainer's build_network_architecture returns, or
            "plans" for the network of the plans. Default: by the trainer's name, for nnU-Net's own trainers
            and U-Mamba's.
        unverified: export a module although one of its blocks does not run on this machine, so that nothing
            shows its computation: it is assumed to be the published block of its parameters. A UserWarning
            and the manifest say so.
        progress: show the steps.

    Arguments override the checkpoint's own description; window, channels and labels must come from one of
    them.

    An existing pair of files is replaced only once the new one has passed every check. The artifact goes
    first and its manifest last, so a process killed in between leaves a pair whose SHA-256 does not match,
    which is refused when read. Exports to one path at once, and a Segmenter that opens it meanwhile, wait for
    each other: both files are of one export. Where the file system cannot lock, a pair that does not match
    is an ArtifactError, here and when it is read.

    Whatever the inputs do not determine, or the export could not check, is an ExportWarning and a sentence
    among the manifest's notes.

    Raises CheckpointError, ExportError (incomplete description, graph too large, parity out of limits),
    InputError (a window or sample that does not fit the network), OutputError (`path` cannot be written),
    BackendError (the op library is missing, ONNX Runtime refuses the graph, no GPU for an .engine).
    """
    path = Path(path)
    check_suffix(path, (".onnx", ENGINE_SUFFIX))
    builds_engine = path.suffix == ENGINE_SUFFIX
    if builds_engine:
        import msdk_export.engine.builder  # noqa: F401  says at once that TensorRT is missing, not after minutes
    elif engine is not None:
        raise ExportError(f"engine options are for a {ENGINE_SUFFIX}, got {path}")
    precision = precision or ("fp16" if builds_engine else "fp32")
    if precision not in PRECISIONS:
        raise ExportError(f"precision must be {' or '.join(PRECISIONS)}, got {precision!r}")
    precision = PRECISIONS[precision]
    given = {
        "window": window,
        "channels": channels,
        "labels": labels,
        "activation": activation,
        "normalization": normalization,
        "family": family,
        "config": config,
    }
    targets = [path, manifest_path(path)]
    steps = 5 if builds_engine else 4
    with (
        tqdm(total=steps, unit="step", disable=not progress) as bar,
        staging(path, targets) as staged,
        collecting() as notes,
    ):
        _begin(bar, "load the model")
        results = {"folds": folds, "network": network}
        source, description = load_network(model, given, weights, sample, reference, unverified, results)
        real = real_window(sample, description, reference)
        if description.spacing is None and description.resampling is None:
            description = dataclasses.replace(description, spacing=sample_spacing(sample))
        windows = {
            "random": random_window(len(description.channels), description.window),
            "real": real.voxels,
        }
        original = Reference(source, windows)
        if real.labels is not None:
            record_agreement(original.logits["real"], real.labels, description)

        _begin(bar, "trace the graph")
        with original.tracing() as traced:
            proto = to_onnx(traced, description, precision)
        if not builds_engine:  # which has plugins for none of these
            proto = with_cpu_ops(proto) if precision == "float32" else with_cuda_ops(proto)
        graph = staged.with_suffix(".onnx")
        with atomic_write(graph, "wb") as file:
            file.write(attach_functions(proto).SerializeToString(deterministic=True))
        check_graph(graph)

        _begin(bar, "compare with PyTorch")
        parity = _verify(original, description, proto, graph, windows, precision)

        built = None
        if builds_engine:
            from msdk_export.engine.builder import build_engine

            _begin(bar, "build the engine")
            built = build_engine(proto, staged, engine or EngineOptions(), progress)

        _begin(bar, "write")
        manifest = Manifest(
            **description.entries(),
            precision=precision,
            engine=built,
            notes=tuple(notes),
            parity=parity | {"real_source": real.source} | original.comparison(),
            sha256=sha256_of(staged),
            created_by=f"msdk_rt {msdk_rt.__version__}, torch {torch.__version__}, onnx {onnx.__version__}",
        )
        if builds_engine:
            manifest = _verify_engine(original, staged, manifest, windows)
        write_manifest(staged, manifest)
        replace_pair(staged, path)
    return manifest


def _verify(
    reference: Reference,
    description: ModelDescription,
    proto: onnx.ModelProto,
    staged: Path,
    windows: dict[str, np.ndarray | None],
    precision: str,
) -> dict[str, Any]:
    """The artifact's parity with PyTorch. Raises ExportError outside the precision's limits."""
    if precision == "float32":
        parity = measure_parity(
            reference.logits,
            on_cpu(staged),
            windows,
            description.activation,
            exact=reference.exact,
            folds=description.folds,
        )
        try:
            check_parity(parity)
        except ExportError as error:
            layer = reference.worst_step(proto, "random")
            raise ExportError(f"{error}{f'. It departs from PyTorch at {layer}' if layer else ''}") from error
        return parity | reference.warn_of_loss(parity, proto)
    threads = torch.get_num_threads()
    window = reference.windows.get("real", reference.windows["random"])
    inside = check_range(proto, window, threads)
    as_on_gpu = staged.with_name("simulated.onnx")
    as_on_gpu.write_bytes(simulated(proto).SerializeToString())
    parity = measure_parity(
        reference.logits,
        on_cpu(as_on_gpu),
        windows,
        description.activation,
        precision,
        folds=description.folds,
    )
    try:
        check_parity(parity, precision)
    except ExportError as error:
        with reference.tracing() as network:
            culprit = worst_layer(to_onnx(network, description), proto, window, threads)
        raise ExportError(f"{error}. The layer that float16 hurts is {culprit}") from error
    on_cpu(staged)(reference.windows["random"])  # that it runs
    return parity | {"float16": inside}


def _verify_engine(
    reference: Reference, staged: Path, manifest: Manifest, windows: dict[str, np.ndarray | None]
) -> Manifest:
    """The manifest with the engine's own parity. Raises ExportError outside the precision's limits."""
    from msdk_rt.backends.tensorrt import TensorRtBackend

    infer = TensorRtBackend(staged, manifest, 1).infer
    measured = measure_parity(
        reference.logits,
        infer,
        windows,
        manifest.activation,
        manifest.precision,
        folds=manifest.folds,
    )
    check_parity(measured, manifest.precision)
    on_gpu = {f"{name}, engine": measured[name] for name in windows}
    return dataclasses.replace(manifest, parity=manifest.parity | on_gpu)


def check_suffix(path: Path, suffixes: Sequence[str] = (".onnx",)) -> None:
    """Raise ExportError unless the path ends in one of the suffixes."""
    if path.suffix not in suffixes:
        raise ExportError(f"{path}: suffix {path.suffix!r}: expected {' or '.join(suffixes)}")


@contextlib.contextmanager
def staging(path: Path, targets: Sequence[Path]) -> Iterator[Path]:
    """A path of the same name in a temporary folder beside `path`; the folder is gone at the end.

    Raises OutputError, at once if one of the targets is a folder.
    """
    try:
        for target in targets:
            if target.is_dir():
                raise IsADirectoryError(f"the folder {target.name} is in the way")
        remove_leftovers(path.parent)
        with temporary_folder(path.parent) as folder:
            yield folder / path.name
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}; choose a writable folder that exists") from error


def _begin(bar: "tqdm[NoReturn]", step: str) -> None:
    bar.set_description(step, refresh=False)
    bar.update()
