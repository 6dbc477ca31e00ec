"""Networks around a Mamba block: every way found to make what is exported something else than the module."""

import copy
import functools
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

import msdk_rt
from msdk_export import export_graph
from tests.support.published_blocks import SequenceMixer, randomised

ABSENT = "Expected u.is_cuda() to be true, but got false."


class Machine:
    """Whether the kernels under CudaMixer run."""

    has_kernels = True


class CudaMixer(SequenceMixer):
    """A plain block whose forward wants a GPU, behind a check of its own."""

    def forward(self, hidden_states, inference_params=None):
        if not Machine.has_kernels:
            raise RuntimeError(ABSENT)
        return super().forward(hidden_states, inference_params)


def kernel(tensor):
    if not Machine.has_kernels:
        raise RuntimeError(ABSENT)
    return tensor


class OpaqueMixer(SequenceMixer):
    """A block whose forward calls a function of its author's that wants a GPU."""

    def forward(self, hidden_states, inference_params=None):
        return kernel(super().forward(kernel(hidden_states), inference_params))


class Net(nn.Module):
    def __init__(self, mixer):
        super().__init__()
        self.mixer, self.head = mixer, nn.Linear(6, 3)

    def forward(self, tokens):
        return self.head(tokens + self.mixer(tokens))


def tokens_of(length=12, batch=2, seed=2):
    return torch.randn(batch, length, 6, generator=torch.Generator().manual_seed(seed))


def run(path, *inputs):
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(msdk_rt.ops_library()))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {f"input_{i}": value.numpy() for i, value in enumerate(inputs)})


def scans_of(path):
    return sum(node.op_type == "BidirectionalSelectiveScan" for node in onnx.load(path).graph.node)


def error_of(network, path, *inputs, **options):
    """Relative error of the exported graph, on inputs of its own, against the module before the export."""
    Machine.has_kernels = True
    with torch.no_grad():
        truth = network(*(value.clone() for value in inputs)).numpy()
    Machine.has_kernels = options.pop("kernels", True)
    try:
        parity = export_graph(network, list(inputs), path, **options)
    finally:
        Machine.has_kernels = True
    (found,) = run(path, *inputs)
    error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    print(f"relative error {error:.1e}, export said {max(parity.values()):.1e}")
    return error


class AsksForTheClass(Net):
    def forward(self, tokens):
        mixed = self.mixer(tokens)
        return self.head(tokens + mixed if isinstance(self.mixer, SequenceMixer) else mixed)


class AsksForTheVeryClass(Net):
    def forward(self, tokens):
        mixed = self.mixer(tokens)
        return self.head(mixed if {CudaMixer: 1, SequenceMixer: 1}.get(type(self.mixer)) else tokens)


class AsksForItsName(Net):
    def forward(self, tokens):
        named = self.mixer.__class__.__name__.endswith("Mixer") and hasattr(self.mixer, "A_log")
        return self.head(self.mixer(tokens) if named else tokens)


class AsksForItsParts(Net):
    def forward(self, tokens):
        count = sum(isinstance(module, nn.Conv1d) for module in self.modules())
        return self.head(self.mixer(tokens)) * count + self.mixer.D.mean() + self.mixer.dt_rank


class Backward(CudaMixer):
    def forward(self, hidden_states, inference_params=None):
        return super().forward(hidden_states.flip(1)).flip(1)


class BothWays(CudaMixer):
    def forward(self, hidden_states, inference_params=None):
        ahead = CudaMixer.forward(self, hidden_states)
        return ahead + super().forward(hidden_states.flip(1)).flip(1)


class InPieces(CudaMixer):
    def forward(self, hidden_states, inference_params=None):
        return torch.cat([super(InPieces, self).forward(p) for p in hidden_states.split(8, 1)], 1)


class LongOnesBackward(CudaMixer):
    def forward(self, hidden_states, inference_params=None):
        if hidden_states.shape[1] > 10:
            hidden_states = hidden_states.flip(1)
        return super().forward(hidden_states)


class FromScratch(nn.Module):
    """Mamba's parameters, attributes and even its class's name, scanned from the end: nobody's subclass."""

    def __init__(self):
        super().__init__()
        self.__dict__.update(copy.deepcopy(SequenceMixer(6)).__dict__)

    def forward(self, hidden_states, inference_params=None):
        if not Machine.has_kernels:
            raise RuntimeError(ABSENT)
        return SequenceMixer.forward(self, hidden_states.flip(1)).flip(1)

    between_slices, directed = SequenceMixer.between_slices, SequenceMixer.directed
    scan, projected = SequenceMixer.scan, SequenceMixer.projected


def patched_forward():
    network = Net(CudaMixer(6))
    original = network.mixer.forward
    network.mixer.forward = lambda tokens: original(tokens.flip(1)).flip(1)
    return network


def patched_class_call():
    network = Net(CudaMixer(6))
    mixer = network.mixer
    mixer.forward = functools.partial(lambda block, tokens: -type(block).forward(block, tokens), mixer)
    return network


def hooked():
    network = Net(CudaMixer(6))
    network.mixer.register_forward_pre_hook(lambda _, inputs: (inputs[0].flip(1),))
    network.mixer.register_forward_hook(lambda _, inputs, output: output.flip(1) * 2)
    return network


def hooked_part():
    network = Net(CudaMixer(6))
    network.mixer.out_proj.register_forward_hook(lambda _, inputs, output: output * 2)
    network.mixer.in_proj.register_forward_pre_hook(lambda _, inputs: (inputs[0].flip(1),))
    return network


def parametrized():
    network = Net(CudaMixer(6))
    parametrizations.weight_norm(network.mixer.in_proj)
    parametrizations.orthogonal(network.mixer.out_proj)
    return network


def shared():
    mixer = CudaMixer(6)
    return nn.Sequential(Net(mixer), nn.Linear(3, 6), Net(mixer))


def other_activation():
    network = Net(CudaMixer(6))
    network.mixer.act = nn.GELU()
    return network


class Shorter(Net):
    """The block sees tokens of two lengths."""

    def forward(self, tokens):
        return self.head(self.mixer(tokens) + self.mixer(tokens[:, ::2]).repeat_interleave(2, 1))


class EditsInPlace(Net):
    def forward(self, tokens):
        tokens += 1
        mixed = self.mixer(tokens)
        mixed *= 2
        return self.head(mixed)


class LazyCache(Net):
    """A buffer that its first call fills, and every other one finds."""

    def __init__(self, mixer):
        super().__init__(mixer)
        self.register_buffer("positions", None)

    def forward(self, tokens):
        if self.positions is None:
            self.positions = torch.arange(tokens.shape[1], dtype=torch.float32).unsqueeze(-1) / 10
        return self.head(self.mixer(tokens + self.positions))


class ConstantAttribute(Net):
    """A tensor that is neither a parameter nor a buffer."""

    def __init__(self, mixer):
        super().__init__(mixer)
        self.offset = torch.ones(6)

    def forward(self, tokens):
        return self.head(self.mixer(tokens) + self.offset)


RIGHT = {
    "isinstance": lambda: AsksForTheClass(CudaMixer(6)),
    "type is": lambda: AsksForTheVeryClass(CudaMixer(6)),
    "name and hasattr": lambda: AsksForItsName(CudaMixer(6)),
    "modules, D, dt_rank": lambda: AsksForItsParts(CudaMixer(6)),
    "backward": lambda: Net(Backward(6)),
    "both ways": lambda: Net(BothWays(6)),
    "in pieces": lambda: Net(InPieces(6)),
    "order by length": lambda: Net(LongOnesBackward(6)),
    "from scratch": lambda: Net(FromScratch()),
    "forward on the instance": patched_forward,
    "forward on the instance, by the class": patched_class_call,
    "hooks": hooked,
    "hooks of a part": hooked_part,
    "parametrizations": parametrized,
    "shared block": shared,
    "two lengths": lambda: Shorter(CudaMixer(6)),
    "an activation that it does not use": other_activation,
    "in-place edits": lambda: EditsInPlace(CudaMixer(6)),
    "a cache that fills": lambda: LazyCache(CudaMixer(6)),
    "a tensor attribute": lambda: ConstantAttribute(CudaMixer(6)),
    "DataParallel": lambda: nn.DataParallel(Net(CudaMixer(6))),
    "AveragedModel": lambda: AveragedModel(Net(CudaMixer(6))),
    "torch.compile": lambda: torch.compile(Net(CudaMixer(6)), backend="eager"),
    "a compiled block": lambda: Net(torch.compile(CudaMixer(6), backend="eager")),
    "a compiled block, asked for its class": lambda: AsksForItsParts(
        torch.compile(CudaMixer(6), backend="eager")
    ),
    "wrappers in wrappers": lambda: nn.DataParallel(AveragedModel(Net(nn.DataParallel(Backward(6))))),
}


def randomised_inside(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return randomised(network)
