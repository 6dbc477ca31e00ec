"""`msdk-rt train`: its options, and the settings they make. PyTorch is imported when training begins."""

import argparse
from pathlib import Path
from typing import Any

from msdk_rt.artifact.files import read_object
from msdk_rt.commands.command import Command
from msdk_rt.commands.extras import check_extra
from msdk_rt.commands.terminal import shows_bars

EXAMPLES = """examples:
  msdk-rt train Task01_BrainTumour runs/tumour --network base --window 128 128 128 --augmentation strong
  msdk-rt train data runs/small --steps 5000 --batch-size 1 --validation 4 --seed 7
  msdk-rt train data runs/plain --distillation 0 --feature 0      # supervision of every scale alone
  msdk-rt train data runs/more --init runs/small/best.safetensors --learning-rate 0.0003
  msdk-rt export runs/small/best.safetensors model.onnx           # needs no further arguments

DATA holds dataset.json in the form of the Medical Segmentation Decathlon ("modality", "labels", "training")
or of nnU-Net v2 ("channel_names", "labels", imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz). A list
"validation" in it names the cases to hold out; without one --validation of them are, chosen by the seed.

OUT gets best.safetensors, last.safetensors, metrics.csv, settings.json and state.pt. Ctrl-C saves and stops.
The same command resumes the run, after a kill too; on a CPU with as many threads it ends with the same
weights bit for bit. Other settings in the same OUT are refused; --restart begins again.

On CUDA the forward pass is float16 (--amp), and the scans run on mamba-ssm's kernel where that is installed.
Everything here needs the extra [train]: pip install 'msdk_rt[train]'."""

_SETTINGS = (
    "steps",
    "window",
    "batch_size",
    "learning_rate",
    "seed",
    "init",
    "validation",
    "validate_every",
    "save_every",
    "overlap",
    "augmentation",
    "mirror_axes",
    "foreground",
    "ema_decay",
    "amp",
    "device",
    "threads",
    "workers",
    "cache",
)
_WEIGHTS = ("distillation", "feature", "temperature", "scale_decay")
_NEEDED = ("torch", "monai", "scipy", "safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `msdk-rt train`; those not given keep the defaults of TrainingSettings."""
    parser.add_argument("data", type=Path, metavar="DATA", help="the dataset folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the run, new or to be resumed")
    parser.add_argument("--restart", action="store_true", help="drop the run that OUT holds")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")

    network = parser.add_argument_group("network").add_mutually_exclusive_group()
    network.add_argument("--network", choices=("demo", "base"), help="size of the network (default: demo)")
    network.add_argument("--config", type=Path, metavar="JSON", help="a file with MSDKMambaConfig's fields")

    group = parser.add_argument_group("training")
    group.add_argument("--init", metavar="CHECKPOINT", help="weights to start from (default: random)")
    group.add_argument("--steps", type=int, metavar="N", help="optimiser steps (default: 20000)")
    group.add_argument(
        "--window",
        type=int,
        nargs=3,
        metavar=("D", "H", "W"),
        help="size of a window in voxels (default: 64 64 64)",
    )
    group.add_argument("--batch-size", type=int, metavar="N", help="windows a step (default: 2)")
    group.add_argument(
        "--learning-rate", type=float, metavar="X", help="highest learning rate (default: 0.001)"
    )
    group.add_argument(
        "--ema-decay",
        type=float,
        metavar="X",
        help="decay of the averaged weights, which are the ones kept (default: 0.999)",
    )
    group.add_argument(
        "--augmentation",
        choices=("none", "light", "strong"),
        help="light: flips, brightness; strong: also rotation, zoom, contrast, bias field, noise, blur, low "
        "resolution (default: light)",
    )
    group.add_argument(
        "--mirror-axes",
        type=int,
        nargs="*",
        metavar="AXIS",
        help="axes that may be flipped (default: 0, left-right)",
    )
    group.add_argument(
        "--foreground", type=float, metavar="X", help="share of windows sure to hold a label (default: 0.5)"
    )
    group.add_argument("--seed", type=int, metavar="N", help="seed of everything random (default: 0)")

    group = parser.add_argument_group("self-distillation")
    group.add_argument(
        "--distillation", type=float, metavar="X", help="weight of learning from the fused output"
    )
    group.add_argument("--feature", type=float, metavar="X", help="weight of learning from the features")
    group.add_argument(
        "--temperature", type=float, metavar="T", help="temperature of the softmax that is learned from"
    )
    group.add_argument(
        "--scale-decay", type=float, metavar="X", help="a scale's weight relative to the next finer one"
    )

    group = parser.add_argument_group("validation")
    group.add_argument(
        "--validation", type=float, metavar="X", help="cases held out: fraction or count (default: 0.2)"
    )
    group.add_argument("--validate-every", type=int, metavar="N", help="steps between (default: 1000)")
    group.add_argument(
        "--overlap", type=float, metavar="X", help="fraction that its windows share (default: 0.5)"
    )

    group = parser.add_argument_group("machine")
    group.add_argument("--save-every", type=int, metavar="N", help="steps between (default: 100)")
    group.add_argument(
        "--amp",
        choices=("auto", "none", "float16", "bfloat16"),
        help="arithmetic of the forward pass (default: auto, which is float16 on CUDA and none on a CPU)",
    )
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    group.add_argument(
        "--threads", type=int, metavar="N", help="threads of PyTorch (default: one per physical core)"
    )
    group.add_argument("--workers", type=int, metavar="N", help="threads that make samples (default: 1)")
    group.add_argument("--cache", type=float, metavar="X", help="share of cases kept in memory (default: 1)")


def run(options: argparse.Namespace) -> int:
    """Train as the options say. Raises BackendError without the extra [train], and what train raises."""
    check_extra("train", _NEEDED, "train")
    from msdk_export.training.distillation import DistillationWeights
    from msdk_export.training.run import train
    from msdk_export.training.settings import TrainingSettings

    given = _given(options, _SETTINGS)
    if options.config is not None:
        given["network"] = read_object(options.config, "a JSON object of network sizes")
    elif options.network is not None:
        given["network"] = options.network
    weights = DistillationWeights(**_given(options, _WEIGHTS))
    settings = TrainingSettings(**given, distillation=weights)
    result = train(
        options.data, options.out, settings, restart=options.restart, progress=shows_bars(options.quiet)
    )
    print(f"best      {result.best}, mean Dice {result.dice:.4f} at step {result.best_step}")
    print(f"last      {result.last}, step {result.steps}")
    print(f"export    msdk-rt export {result.best} model.onnx")
    return 0


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


COMMAND = Command(
    "train",
    "train MSD-KMamba on a folder of labelled NIfTI volumes, or resume a stopped run",
    EXAMPLES,
    add_arguments,
    run,
)
