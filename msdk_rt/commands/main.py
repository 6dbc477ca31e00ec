"""msdk-rt: export, run, bench, info, train, demo. Exit code 0: done, 1: failed, 2: wrong usage."""

import argparse
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msdk_rt
from msdk_rt.commands import bench as bench_command
from msdk_rt.commands import engine_arguments
from msdk_rt.commands import train as train_command
from msdk_rt.errors import InputError, MsdkError, one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every error is one line on stderr."""
    options = parser().parse_args(arguments)
    try:
        with _terminate_as_interrupt():
            return options.command(options)
    except (MsdkError, OSError) as error:
        message = one_line(error)
    except KeyboardInterrupt as interrupt:
        message = (
            str(interrupt) or "interrupted; results finished before are complete, nothing is half-written"
        )
    print(f"msdk-rt: {message}", file=sys.stderr)
    return 1


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM, which a shutdown or a batch system sends, ends a command as Ctrl-C does, tidily."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def parser() -> argparse.ArgumentParser:
    """Of the whole command line; what it parses holds the command to call as `command`."""
    top = argparse.ArgumentParser(
        prog="msdk-rt",
        description="Segment 3D volumes with bidirectional-Mamba networks, without PyTorch.",
        epilog="`msdk-rt COMMAND --help` gives examples. Exit code: 0 done, 1 failed, 2 wrong usage.",
    )
    top.add_argument("--version", action="version", version=f"msdk-rt {msdk_rt.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_export(commands)
    _add_run(commands)
    _add_bench(commands)
    _add_info(commands)
    _add_train(commands)
    _add_demo(commands)
    return top


def _add_command(commands, name: str, run, summary: str, examples: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    return parser


def _add_export(commands) -> None:
    parser = _add_command(
        commands,
        "export",
        _export,
        "turn a PyTorch checkpoint into model.onnx or model.engine, verified against PyTorch",
        """examples:
  msdk-rt export checkpoint.safetensors model.onnx
  msdk-rt export checkpoint.pt model.onnx --window 96 96 96 \\
      --channels t1 t1ce t2 flair --labels background=0 necrosis=1 edema=2 enhancing=3
  msdk-rt export checkpoint.safetensors model.engine --max-batch 2 --timing-cache timings

What a checkpoint says of itself (metadata "msdk") need not be repeated; what is given here overrides it.
Window, channels and labels have no default: releases of one data set disagree on them.""",
    )
    parser.add_argument("checkpoint", type=Path, help=".safetensors, or .pt read with weights_only")
    parser.add_argument(
        "model", type=Path, help="the .onnx or .engine file to write; its manifest goes beside it"
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
    parser.add_argument(
        "--activation", choices=("softmax", "sigmoid"), help="sigmoid for overlapping regions"
    )
    parser.add_argument("--normalization", choices=("nonzero_zscore", "none"), help="of the intensities")
    parser.add_argument("--family", help="the network the weights belong to")
    parser.add_argument("--config", type=_json_object, metavar="JSON", help="its sizes")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        help="fp16 for GPUs: float16 between the layers, its cost measured (default: for .engine alone)",
    )
    parser.add_argument(
        "--sample",
        nargs="+",
        type=Path,
        metavar="NIFTI",
        help="a real volume for the check, one file per channel",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    engine_arguments.add_arguments(parser)


def _add_run(commands) -> None:
    parser = _add_command(
        commands,
        "run",
        _run,
        "segment NIfTI volumes, each in its own space",
        """examples:
  msdk-rt run model.onnx t1.nii.gz -o labels.nii.gz
  msdk-rt run model.onnx t1.nii.gz t1ce.nii.gz t2.nii.gz flair.nii.gz -o labels.nii.gz
  msdk-rt run model.onnx scans/ -o results/ --mirror 0 1 2

Files of one case are given in the channel order that `msdk-rt info model.onnx` shows. In a folder, files of a
model with several channels are named <case>_0000.nii.gz, <case>_0001.nii.gz, ... in that order.
Results that are there already are kept, so an interrupted run is taken up by the same command.""",
    )
    parser.add_argument("model", type=Path, help="model.onnx, its manifest beside it")
    parser.add_argument("inputs", type=Path, nargs="+", help="files, or one folder")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="a .nii.gz or .nii file for one case, or a folder"
    )
    parser.add_argument("--overlap", type=float, default=0.5, help="of neighbouring windows (default: 0.5)")
    parser.add_argument(
        "--blend", choices=("gaussian", "constant"), default="gaussian", help="window weights"
    )
    parser.add_argument("--batch-size", type=int, default=1, help="windows per inference (default: 1)")
    parser.add_argument(
        "--mirror",
        type=int,
        nargs="+",
        default=[],
        metavar="AXIS",
        help="average over flips of axes among 0 1 2",
    )
    parser.add_argument("--threads", type=int, help="of one inference (default: one per physical core)")
    parser.add_argument(
        "--provider", action="append", metavar="NAME", help="ONNX Runtime execution provider; repeat in order"
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also write <name>_probabilities.nii.gz, one map per label",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="segment again, replacing all of an earlier result"
    )
    parser.add_argument("--json", action="store_true", help="report on stdout as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_info(commands) -> None:
    parser = _add_command(
        commands,
        "info",
        _info,
        "show what a model is: channels, labels, window, measured parity",
        "examples:\n  msdk-rt info model.onnx\n  msdk-rt info model.onnx --json | jq .labels",
    )
    parser.add_argument("model", type=Path, help="model.onnx, its manifest beside it")
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")


def _add_bench(commands) -> None:
    bench_command.add_arguments(
        _add_command(
            commands, "bench", bench_command.run_bench, bench_command.SUMMARY, bench_command.EXAMPLES
        )
    )


def _add_train(commands) -> None:
    train_command.add_arguments(
        _add_command(
            commands, "train", train_command.run_training, train_command.SUMMARY, train_command.EXAMPLES
        )
    )


def _add_demo(commands) -> None:
    parser = _add_command(
        commands,
        "demo",
        _demo,
        "export a small network and segment the MNI152 brain: labels, picture, timings",
        "examples:\n  msdk-rt demo\n  msdk-rt demo --out demo --weights my_checkpoint.safetensors",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)"
    )
    parser.add_argument(
        "--weights", type=Path, help="a checkpoint with one channel instead of the demo's own"
    )
    parser.add_argument("--threads", type=int, help="of one inference (default: one per physical core)")


def _export(options: argparse.Namespace) -> int:
    manifest = msdk_rt.export(
        options.checkpoint,
        options.model,
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
        progress=not options.quiet,
    )
    from msdk_rt.commands.description import describe

    print(describe(options.model, manifest))
    return 0


def _run(options: argparse.Namespace) -> int:
    from msdk_rt.commands.batch import segment_cases

    report = segment_cases(options)
    if options.json:
        print(json.dumps(report, indent=2))
    return 1 if any("error" in case for case in report["cases"]) else 0


def _info(options: argparse.Namespace) -> int:
    import dataclasses

    from msdk_rt.artifact.manifest import read_manifest
    from msdk_rt.commands.description import describe

    manifest = read_manifest(options.model)
    print(
        json.dumps(dataclasses.asdict(manifest), indent=2)
        if options.json
        else describe(options.model, manifest)
    )
    return 0


def _demo(options: argparse.Namespace) -> int:
    from msdk_rt.commands.demo import run_demo

    run_demo(options.out, options.weights, options.threads)
    return 0


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


def _json_object(text: str) -> dict:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r} ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r}")
    return value
