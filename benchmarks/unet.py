"""How fast are nnU-Net's own U-Nets, and how exact, beside OpenVINO, ONNX Runtime's standard ops and PyTorch?

The networks of its plans with random weights, one channel, three labels: `python -m benchmarks.unet 0 2` runs
the first and the third. Needs `pip install dynamic-network-architectures openvino`. OpenVINO in bfloat16 is
what it takes by itself on a processor with bfloat16 instructions.
"""

import functools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Contestant, measure, record
from benchmarks.openvino_peer import in_openvino

THREADS = 2
PROVIDERS = ("CPUExecutionProvider",)
LABELS = {"background": 0, "organ": 1, "tumour": 2}
WIDTHS = (32, 64, 128, 256, 320, 320)
FACTOR = 3.0  # of PyTorch's own error to float64, at most


@dataclass(frozen=True)
class Case:
    """blocks: residual blocks of each stage of the encoder, none in a plain network of two convolutions each.

    judged: whether its errors are measured and the slower peers timed; float64 takes minutes at large sizes.
    """

    name: str
    widths: tuple[int, ...]
    window: tuple[int, int, int]
    blocks: tuple[int, ...] = ()
    judged: bool = False


CASES = (
    Case("PlainConvUNet, 8 to 64 channels", (8, 16, 32, 64), (64, 80, 64), judged=True),
    Case("PlainConvUNet, 32 to 256 channels", WIDTHS[:4], (64, 80, 64), judged=True),
    Case("PlainConvUNet, 32 to 320 channels", WIDTHS, (128, 128, 128)),
    Case("ResEncM, 32 to 320 channels", WIDTHS, (128, 128, 128), blocks=(1, 3, 4, 6, 6, 6)),
)


def pytorch_network(case: Case) -> Any:
    import torch
    from dynamic_network_architectures.architectures import unet
    from torch import nn

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    stages = len(case.widths)
    build = unet.ResidualEncoderUNet if case.blocks else unet.PlainConvUNet
    strides, convolutions = [1] + [2] * (stages - 1), case.blocks or [2] * stages
    network = build(
        1, stages, case.widths, nn.Conv3d, [3] * stages, strides, convolutions, len(LABELS),
        [1 if case.blocks else 2] * (stages - 1), conv_bias=True, norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    )  # fmt: skip
    network.decoder.deep_supervision = False
    return network.eval().requires_grad_(False)


def window(case: Case) -> np.ndarray:
    """Normalised intensities: noise about a mean that differs from half to half, as organs and air do."""
    image = np.random.default_rng(0).standard_normal((1, 1, *case.window), dtype=np.float32)
    image[:, :, : case.window[0] // 2] += 3
    return image


def errors(network: Any, image: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Errors of the artifact's logits and PyTorch's float32 ones, of the largest float64 logit."""
    import torch

    from msdk_export.parity.exact import ConvolutionsInSlabs

    with torch.inference_mode():
        single = network(torch.from_numpy(image)).numpy()
        with ConvolutionsInSlabs():
            exact = network.double()(torch.from_numpy(image).double()).numpy()
    network.float()
    largest = np.abs(exact).max()
    return {
        "msdk_rt": float(np.abs(found - exact).max() / largest),
        "PyTorch float32": float(np.abs(single - exact).max() / largest),
    }


def run(case: Case) -> float:
    """Time the contestants. Returns our error as a multiple of PyTorch's own, 0 where it is not judged."""
    import openvino
    import torch

    from msdk_export.description import describe
    from msdk_export.graph.rules import with_cpu_ops
    from msdk_export.graph.trace import to_onnx
    from msdk_rt.backends.onnxruntime import open_session, run_session
    from msdk_rt.bench.profile import profile

    network, image = pytorch_network(case), window(case)
    description = {"window": list(case.window), "channels": ["CT"], "labels": LABELS}
    standard = to_onnx(network, describe(description | {"family": "module", "config": {}}))
    name = f"{case.name}, window {' x '.join(map(str, case.window))}"
    feed = {"image": image}
    version = openvino.__version__.split("-")[0]

    def pytorch() -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(image)).numpy()

    with tempfile.TemporaryDirectory() as folder:
        paths = {"ours": Path(folder) / "ours.onnx", "standard": Path(folder) / "standard.onnx"}
        paths["ours"].write_bytes(with_cpu_ops(standard).SerializeToString())
        paths["standard"].write_bytes(standard.SerializeToString())
        ours = functools.partial(run_session, open_session(paths["ours"], PROVIDERS, THREADS), image)
        contestants = [
            Contestant("msdk_rt", ours, THREADS),
            Contestant(f"OpenVINO {version}, float32", in_openvino(standard, feed, THREADS, "f32"), THREADS),
            Contestant(
                f"OpenVINO {version}, bfloat16", in_openvino(standard, feed, THREADS, "bf16"), THREADS
            ),
        ]
        if case.judged:
            plain = functools.partial(run_session, open_session(paths["standard"], PROVIDERS, THREADS), image)
            contestants.append(Contestant("standard ops in ONNX Runtime", plain, THREADS))
            contestants.append(Contestant("PyTorch eager", pytorch, THREADS))
        found = ours()
        measure("unet", name, contestants, seconds=3.0)
        costs = profile(paths["ours"], PROVIDERS, THREADS, image)
    record("unet_profile", name, {cost.op: 1e3 * cost.seconds for cost in costs}, "ms")
    if not case.judged:
        return 0.0
    apart = errors(network, image, found)
    record("unet_errors", name, apart, "")
    factor = apart["msdk_rt"] / apart["PyTorch float32"]
    print(f"  error {apart['msdk_rt']:.1e}, PyTorch's {apart['PyTorch float32']:.1e}: {factor:.2f} times\n")
    return factor


def main(chosen: tuple[int, ...] = tuple(range(len(CASES)))) -> None:
    try:
        import dynamic_network_architectures  # noqa: F401
        import openvino  # noqa: F401
    except ImportError as missing:
        print(f"{missing.name} is not installed: pip install dynamic-network-architectures openvino")
        return
    worst = max(run(CASES[index]) for index in chosen)
    if worst > FACTOR:
        raise SystemExit(f"{worst:.2f} times PyTorch's own error, at most {FACTOR:g} are allowed")


if __name__ == "__main__":
    from benchmarks import report

    main(tuple(int(index) for index in sys.argv[1:]) or tuple(range(len(CASES))))
    report.write()
