"""`msdk-rt export`: its options, and the call they make."""

import argparse
import json
from pathlib import Path
from typing import Any

import msdk_rt
from msdk_rt.artifact.bundle import CARD, LICENCE, is_bundle, write_bundle
from msdk_rt.artifact.files import check_writable, temporary_folder
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.artifact.vocabulary import ACTIVATIONS, NORMALIZATIONS
from msdk_rt.commands import engine_arguments
from msdk_rt.commands.command import Command
from msdk_rt.commands.info import describe
from msdk_rt.commands.terminal import shows_bars
from msdk_rt.errors import InputError

EXAMPLES = """examples:
  msdk-rt export checkpoint.safetensors model.onnx
  msdk-rt export checkpoint.pt model.onnx --window 96 96 96 \\
      --channels t1 t1ce t2 flair --labels background=0 necrosis=1 edema=2 enhancing=3
  msdk-rt export nnUNet_results/Dataset042/nnUNetTrainer__nnUNetPlans__3d_fullres model.onnx --folds 0 1 2
  msdk-rt export checkpoint.safetensors model.msdk --license LICENSE --card card.md --sample t1.nii.gz
  msdk-rt export checkpoint.safetensors model.engine --max-batch 2 --timing-cache timings

A checkpoint's own description (metadata "msdk") need not be repeated; options override it. Window,
channels and labels have no default: releases of one data set disagree on them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        help=".safetensors, or .pt, .pth, .ckpt, .bin, whose code is not run; or nnU-Net v2's results folder",
    )
    parser.add_argument(
        "model",
        type=Path,
        help="the .onnx or .engine file to write, its manifest goes beside it; or .msdk: a .onnx, its "
        "manifest, card, licence and sample in one file",
    )
    parser.add_argument("--window", type=int, nargs=3, metavar=("D", "H", "W"), help="input size in voxels")
    parser.add_argument("--channels", nargs="+", metavar="NAME", help="input modalities, in order")
    parser.add_argument(
        "--labels",
        nargs="+",
        type=_label,
        metavar="NAME=VALUE",
        help="voxel value of each logit channel, in order",
    )
    parser.add_argument("--activation", choices=ACTIVATIONS, help="sigmoid for overlapping regions")
    parser.add_argument("--normalization", choices=NORMALIZATIONS, help="normalisation of the intensities")
    parser.add_argument("--family", help="the network the weights belong to")
    parser.add_argument("--config", type=_json_object, metavar="JSON", help="sizes of that network")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        help="fp16 is for GPUs: float16 between the layers, its cost measured (default: for .engine alone)",
    )
    parser.add_argument(
        "--sample",
        nargs="+",
        type=Path,
        metavar="NIFTI",
        help="a real volume for the check, one file per channel",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="NIFTI",
        help="the sample's true label map: tells apart networks that the same weights fit",
    )
    parser.add_argument(
        "--weights",
        metavar="WHICH",
        help="of several networks in the checkpoint: model, ema, or its keys joined by dots; of a results "
        "folder: the checkpoint's name in each fold (default: checkpoint_final.pth)",
    )
    single = parser.add_argument_group("for a .msdk file")
    single.add_argument(
        "--card", type=Path, metavar="FILE", help="a model card (default: what the manifest says)"
    )
    single.add_argument("--license", type=Path, metavar="FILE", help="the model's licence, as text")
    folder = parser.add_argument_group("for a results folder of nnU-Net's, which tells all else by itself")
    folder.add_argument(
        "--folds",
        nargs="+",
        metavar="FOLD",
        help="numbers, or all: their logits are averaged (default: every fold with the checkpoint)",
    )
    folder.add_argument(
        "--network",
        choices=("plans",),
        help="the trainer takes the network of the plans, although it is none of nnU-Net's own",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    engine_arguments.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    if not is_bundle(options.model):
        if options.card or options.license:
            raise InputError(
                f"--card and --license are for a .msdk file, got {options.model}: leave them out"
            )
        print(describe(options.model, _export(options, options.model)))
        return 0
    check_writable(options.model.parent)
    licence, card = _text(options.license), _text(options.card)
    with temporary_folder(options.model.parent) as aside:
        (aside / "model").mkdir()  # an export locks its folder, and this one is locked already
        artifact = aside / "model" / "model.onnx"
        manifest = _export(options, artifact)
        texts = {CARD: _card(artifact, manifest) if card is None else card}
        if licence:
            texts[LICENCE] = licence
        write_bundle(artifact, options.model, texts, options.sample or ())
    print(describe(options.model, manifest))
    return 0


def _text(path: Path | None) -> str | None:
    """What a file says, None for no file. Raises InputError."""
    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; expected a text in UTF-8") from error


def _card(artifact: Path, manifest: Manifest) -> str:
    """A model card that says what is known of the model, and that no more is."""
    return (
        "# Model card\n\nWritten by msdk-rt export. What the model was trained on, whom it is meant for and "
        "how well it does there is for its author to add.\n\n"
        + "".join(f"    {line}\n" for line in describe(artifact, manifest).splitlines()[1:])
    )


def _export(options: argparse.Namespace, model: Path) -> Manifest:
    return msdk_rt.export(
        options.checkpoint,
        model,
        window=options.window,
        channels=options.channels,
        labels=options.labels and _distinct(options.labels),
        activation=options.activation,
        normalization=options.normalization,
        family=options.family,
        config=options.config,
        precision=options.precision,
        engine=engine_arguments.engine_options(options),
        sample=options.sample,
        reference=options.reference,
        weights=options.weights,
        folds=options.folds,
        network=options.network,
        progress=shows_bars(options.quiet),
    )


def _label(text: str) -> tuple[str, int]:
    name, separator, value = text.rpartition("=")
    if not separator or not name or not value.isdecimal():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE such as edema=2, got {text!r}")
    return name, int(value)


def _distinct(labels: list[tuple[str, int]]) -> dict[str, int]:
    names = [name for name, _ in labels]
    if len(set(names)) < len(names):
        raise InputError(f"--labels names a label twice: {' '.join(names)}; give each its own name")
    return dict(labels)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r} ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r}")
    return value


COMMAND = Command(
    "export",
    "turn a PyTorch checkpoint into model.onnx or model.engine, verified against PyTorch",
    EXAMPLES,
    add_arguments,
    run,
)
