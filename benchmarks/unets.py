"""How long does a window of nnU-Net's and U-Mamba's networks take, and how far is it from float64?

The graph that export writes, against PyTorch and, where all ops are standard ones, the same network in
OpenVINO (float32 and bfloat16) and ONNX Runtime; U-Mamba's against torch.compile instead. Needs
`pip install openvino` for OpenVINO. `python -m benchmarks.unets Enc ResEnc` runs the cases whose titles have
one of these words.
"""

import functools
import gc
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from benchmarks import report
from benchmarks.measure import Contestant, measure, record
from benchmarks.openvino_peer import in_openvino
from benchmarks.unet_cases import CASES, Case
from msdk_export.graph.functions import attach_functions
from msdk_export.graph.rules import with_cpu_ops
from msdk_export.graph.trace import module_to_onnx
from msdk_export.parity.exact import ConvolutionsInSlabs
from msdk_export.parity.measure import relative_error
from msdk_rt.backends.onnxruntime import open_session, run_session
from msdk_rt.bench.profile import profile

THREADS = 2
PROVIDERS = ("CPUExecutionProvider",)
MEANS = (0.0, 3.0)  # of a window whose deviation is 1
LIMIT = 1e-3  # of a float32 contestant's relative error
MULTIPLE = 4.0  # of PyTorch's own float32 error, where that is more: U-Mamba Enc's with random weights
INPUT, OUTPUT = "image", "logits"


def main(words: Sequence[str] = ()) -> None:
    torch.set_num_threads(THREADS)
    for case in CASES:
        if not words or any(word.lower() in case.title.lower() for word in words):
            _judge(case)
            gc.collect()


def _judge(case: Case) -> None:
    torch.manual_seed(0)
    network = case.build().eval().requires_grad_(False)
    title = f"{case.title}, window {' x '.join(map(str, case.patch))}"
    window = _window(case, MEANS[0])
    exported = _exported(network, window)
    limit = max(LIMIT, MULTIPLE * _errors(title, case, network, exported))
    ours = Contestant("msdk_rt", _in_onnxruntime(exported, window), THREADS)
    peers = _standard_peers(network, window) if case.standard else []
    peers.append(_in_pytorch("PyTorch eager", network, window))
    if not case.standard:
        peers.append(_in_pytorch("torch.compile", torch.compile(network, dynamic=False), window))
    expected = peers[-1].run()
    for contestant in (ours, *peers):
        error = relative_error(contestant.run(), expected)
        if error > limit and "bfloat16" not in contestant.name:
            raise SystemExit(
                f"{title}: {contestant.name} is {error:.1e} from PyTorch, at most {limit:.1e} is allowed"
            )
    measure("unets", title, [ours, *peers], seconds=6.0)
    _profile(title, exported, window)


def _window(case: Case, mean: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((1, case.channels, *case.patch), np.float32)
    return noise + np.float32(mean)


def _in_onnxruntime(graph: onnx.ModelProto, window: np.ndarray) -> Callable[[], np.ndarray]:
    """A run as in the runtime, in a session with its settings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(graph.SerializeToString())
        session = open_session(path, PROVIDERS, THREADS)
    return functools.partial(run_session, session, window)


def _exported(network: torch.nn.Module, window: np.ndarray) -> onnx.ModelProto:
    """The graph that users get."""
    graph = module_to_onnx(network, [torch.from_numpy(window)], [INPUT], [OUTPUT], dynamic_batch=False)
    return attach_functions(with_cpu_ops(graph))


def _standard_peers(network: torch.nn.Module, window: np.ndarray) -> list[Contestant]:
    """The network in standard ops, as PyTorch's exporter writes it."""
    graph = module_to_onnx(network, [torch.from_numpy(window)], [INPUT], [OUTPUT], dynamic_batch=False)
    run = _in_onnxruntime(graph, window)
    peers = [Contestant("ONNX Runtime, standard ops", run, THREADS)]
    try:
        import openvino
    except ImportError:
        print("OpenVINO is not installed: pip install openvino")
        return peers
    version = openvino.__version__.split("-")[0]
    for name, precision in (("float32", "f32"), ("bfloat16", "bf16")):
        run = in_openvino(graph, {INPUT: window}, precision)
        peers.append(Contestant(f"OpenVINO {version}, {name}", run, THREADS))
    return peers


def _in_pytorch(name: str, network: torch.nn.Module, window: np.ndarray) -> Contestant:
    image = torch.from_numpy(window)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return network(image).numpy()

    return Contestant(name, run, THREADS)


def _errors(title: str, case: Case, network: torch.nn.Module, exported: onnx.ModelProto) -> float:
    """Largest differences from the network in float64, over its largest logit. Returns PyTorch's largest."""
    largest = 0.0
    for mean in MEANS:
        window = _window(case, mean)
        image = torch.from_numpy(window)
        with torch.inference_mode(), ConvolutionsInSlabs():
            own = network(image).numpy()
            exact = network.double()(image.double()).numpy()
            network.float()
        found = _in_onnxruntime(exported, window)()
        values = {"msdk_rt": relative_error(found, exact), "PyTorch float32": relative_error(own, exact)}
        largest = max(largest, values["PyTorch float32"])
        values["msdk_rt's over PyTorch's"] = values["msdk_rt"] / values["PyTorch float32"]
        print(f"{title}, mean {mean:g}: " + ", ".join(f"{who} {value:.2g}" for who, value in values.items()))
        record("unet_errors", f"{title}, input of mean {mean:g}, relative error to float64", values, "")
    return largest


def _profile(title: str, exported: onnx.ModelProto, window: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(exported.SerializeToString())
        costs = profile(path, PROVIDERS, THREADS, window)
    record("unet_profile", title, {cost.op: 1e3 * cost.seconds for cost in costs}, "ms")


if __name__ == "__main__":
    main(sys.argv[1:])
    report.write()
