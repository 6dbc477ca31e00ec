"""`msdk-rt bench`: its options, and what it prints and writes."""

import argparse
import json
import sys
from pathlib import Path

from msdk_rt.commands.command import Command

EXAMPLES = """examples:
  msdk-rt bench model.onnx
  msdk-rt bench model.onnx --input t1.nii.gz --threads 2 --html bench.html
  msdk-rt bench model.onnx other.onnx                      # timed alternately, with ratios to the first
  msdk-rt bench model.onnx --provider CUDAExecutionProvider --provider CPUExecutionProvider
  msdk-rt bench model.onnx --volumes 0 --csv history.csv   # windows only, one more row in the file

A window is timed for --seconds and at least 100 times, or until --limit. A quantile is shown only where five
samples lie beyond it (p99: 500 runs). A spread (standard deviation over mean) above 2.5% is called unstable:
close other programs, or give --threads. "label" is the argmax. Ctrl-C ends the measurement and shows the
figures so far; the exit code is then 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `msdk-rt bench`."""
    parser.add_argument(
        "models", type=Path, nargs="+", metavar="MODEL", help="artifacts, manifests beside them"
    )
    parser.add_argument(
        "--provider",
        action="append",
        metavar="NAME",
        help="an execution provider; repeat it to measure several separately",
    )
    parser.add_argument(
        "--threads", type=int, help="threads of one inference (default: one per physical core)"
    )
    parser.add_argument("--batch-size", type=int, default=1, help="windows per inference (default: 1)")
    parser.add_argument(
        "--overlap", type=float, default=0.5, help="fraction that neighbouring windows share (default: 0.5)"
    )
    what = parser.add_argument_group("measurement")
    what.add_argument("--input", type=Path, nargs="+", metavar="NIFTI", help="a volume, one file per channel")
    what.add_argument(
        "--shape",
        type=int,
        nargs=3,
        metavar=("D", "H", "W"),
        help="shape of a volume of random voxels (default: 160 192 160)",
    )
    what.add_argument(
        "--volumes", type=int, default=1, metavar="N", help="whole volumes to segment (default: 1)"
    )
    what.add_argument("--seconds", type=float, default=3.0, help="seconds to time windows for (default: 3)")
    what.add_argument(
        "--warm-up", type=float, default=1.0, help="seconds of untimed windows first (default: 1)"
    )
    what.add_argument("--limit", type=float, default=30.0, help="seconds for windows at most (default: 30)")
    out = parser.add_argument_group("output")
    out.add_argument("--json", action="store_true", help="everything on stdout as JSON")
    out.add_argument("--csv", type=Path, metavar="FILE", help="append one row a model")
    out.add_argument("--html", type=Path, metavar="FILE", help="a page with the distributions and a roofline")
    out.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; 1 where it was interrupted."""
    from msdk_rt.bench.measurement import benchmark

    report = benchmark(
        options.models,
        inputs=options.input,
        shape=options.shape,
        volumes=options.volumes,
        providers=options.provider,
        overlap=options.overlap,
        batch_size=options.batch_size,
        threads=options.threads,
        seconds=options.seconds,
        warm_up=options.warm_up,
        limit=options.limit,
        watch=(lambda step: None)
        if options.quiet
        else lambda step: print(f"msdk-rt: {step}", file=sys.stderr),
    )
    print(json.dumps(report.as_json(), indent=2) if options.json else report.as_text())
    if options.csv:
        report.append_csv(options.csv)
    if options.html:
        from msdk_rt.bench.page import write_page

        write_page(report, options.html)
    return 1 if report.interrupted else 0


COMMAND = Command(
    "bench",
    "measure models on this machine: latency, stages of a volume, cost of every op",
    EXAMPLES,
    add_arguments,
    run,
)
