"""Prints a table for each question and appends every figure to benchmarks/results/<question>.csv."""

import argparse
import importlib

from benchmarks import headline, report

QUESTIONS = {
    "scan_op": "the selective scan against an ONNX Scan, LinearAttention and PyTorch",
    "conv_op": "the directed convolution against a grouped Conv and PyTorch, with flips",
    "kan_op": "three forms of a KAN layer: basis materialised, basis by basis, one fused op",
    "cpu_ops": "convolutions, upsampling and token norms against ONNX Runtime's own and PyTorch's",
    "compilers": "the CPU ops of a released wheel, by Zig's Clang, against this checkout's, by GCC",
    "block": "one bidirectional Mamba block against PyTorch eager and torch.compile",
    "openvino_peer": "OpenVINO on the three ops in standard ONNX; needs pip install openvino",
    "network": "a whole window through the network against PyTorch; its profile and its memory",
    "unets": "a window of nnU-Net's and U-Mamba's networks against OpenVINO and PyTorch; errors to float64",
    "volume": "the 1 mm MNI152 volume, whole, against PyTorch under MONAI's sliding window",
    "heads": "the demo network on whole heads and stripped brains, as they are and changed",
    "nnunet": "cases of nnU-Net's from file to file: the commands, their stages, their memory",
    "nnunet_agreement": "labels of 30 kinds of cases beside nnUNetPredictor's",
    "nnunet_differences": "why labels of a whole head are not nnUNetPredictor's, voxel by voxel",
    "cohort": "many cases: reading and writing beside the network against one after the other",
    "resampling": "volumes and logits against nnU-Net's function; needs pip install nnunetv2",
    "server": "msdk-rt serve under load: cases an hour, and how long a client waits",
    "cluster": "a cohort on Ray nodes against a plain run: what it costs, what a second node gains",
    "scaling": "the scan over its tokens and a volume over its windows: exponents, memory",
    "window_scaling": "a window over threads, windows at a time and its side",
    "segmamba": "a SegMamba checkpoint of the published size: export and a window",
    "segmamba_seeds": "ten SegMambas of random weights: their errors to float64 beside PyTorch's",
}


def main() -> None:
    listing = "\n".join(f"  {name:18} {question}" for name, question in QUESTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\n\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("questions", nargs="*", metavar="question", help="default: all of them")
    names = parser.parse_args().questions or list(QUESTIONS)
    for name in names:
        if name not in QUESTIONS:
            parser.error(f"unknown question {name!r}; expected one of {', '.join(QUESTIONS)}")
    for name in names:
        print(f"\n## {name}: {QUESTIONS[name]}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    report.write()
    headline.write()
    print(f"wrote {report.PAGE}, {headline.CHART} and the table of {headline.README}")


if __name__ == "__main__":
    main()
