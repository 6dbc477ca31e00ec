"""What is exported is what the user's own module computes: every way found to make it something else."""

import copy
import functools
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

import msdk_rt
from msdk_export import export_graph
from msdk_rt.errors import ExportError
from tests.support.published_blocks import FourWayMixer, SequenceMixer, randomised

ABSENT = "Expected u.is_cuda() to be true, but got false."


class Machine:
    """Whether the kernels under CudaMixer run."""

    has_kernels = True


class CudaMixer(SequenceMixer):
    """A plain block whose forward wants a GPU, behind a check of its own."""

    def forward(self, hidden_states, inference_params=None):
        if not Machine.has_kernels:
            raise RuntimeError("Expected u.is_cuda() to be true, but got false.")
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


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "no kernels"])
@pytest.mark.parametrize("kind", RIGHT)
def test_the_graph_is_what_the_module_computes(kind, kernels, tmp_path):
    network = randomised_inside(RIGHT[kind]())

    assert error_of(network, tmp_path / "graph.onnx", tokens_of(), kernels=kernels) < 1e-5


@pytest.mark.parametrize(
    "kind", ["isinstance", "backward", "in pieces", "shared block", "hooks", "two lengths"]
)
def test_the_scan_is_an_op_and_no_loop(kind, tmp_path):
    network = randomised(RIGHT[kind]())

    error_of(network, tmp_path / "graph.onnx", tokens_of(), kernels=False)

    assert scans_of(tmp_path / "graph.onnx") == {"in pieces": 2, "shared block": 2, "two lengths": 2}.get(
        kind, 1
    )


def test_wrapper_with_a_hook_is_right_or_refused(tmp_path):
    network = nn.DataParallel(randomised(Net(SequenceMixer(6))))
    network.register_forward_hook(lambda module, inputs, output: output * 2)

    try:
        error = error_of(network, tmp_path / "graph.onnx", tokens_of())
    except ExportError:
        assert not list(tmp_path.iterdir())
    else:
        assert error < 1e-5


class Sums(nn.Module):
    def forward(self, *tensors):
        return sum(tensors) * len(tensors)


def test_a_module_may_take_any_number_of_tensors(tmp_path):
    assert error_of(Sums(), tmp_path / "graph.onnx", tokens_of(), tokens_of(seed=3)) < 1e-6


class Counts(Net):
    calls = 0

    def forward(self, tokens):
        self.calls += 1
        return super().forward(tokens) * self.calls


class CountsInABuffer(Net):
    def __init__(self, mixer):
        super().__init__(mixer)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, tokens):
        self.calls += 1
        return super().forward(tokens) * self.calls


class CountsElsewhere(Net):
    def __init__(self, mixer):
        super().__init__(mixer)
        self.seen = []

    def forward(self, tokens):
        self.seen.append(1)
        return super().forward(tokens) * len(self.seen)


class StillDropsOut(Net):
    def forward(self, tokens):
        return super().forward(F.dropout(tokens, 0.5))


class RefusesToEvaluate(Net):
    def __init__(self, mixer):
        super().__init__(mixer)
        self.drop = nn.Dropout(0.5)

    def train(self, mode=True):
        return super().train(True)

    def forward(self, tokens):
        return super().forward(self.drop(tokens))


def hook_with_a_memory():
    network, calls = Net(SequenceMixer(6)), []

    def hook(module, inputs, output):
        calls.append(1)
        return output * len(calls)

    network.mixer.register_forward_hook(hook)
    return network


UNREPEATABLE = {
    "counts": lambda: Counts(SequenceMixer(6)),
    "counts in a buffer": lambda: CountsInABuffer(SequenceMixer(6)),
    "counts in a list": lambda: CountsElsewhere(SequenceMixer(6)),
    "drops out": lambda: StillDropsOut(SequenceMixer(6)),
    "does not go into evaluation": lambda: RefusesToEvaluate(SequenceMixer(6)),
    "hook with a memory": hook_with_a_memory,
}


@pytest.mark.parametrize("kind", UNREPEATABLE)
def test_a_module_that_does_not_repeat_itself_is_refused(kind, tmp_path):
    network = randomised(UNREPEATABLE[kind]())

    with pytest.raises(ExportError, match=r"second time|no memory and no chance"):
        export_graph(network, tokens_of(), tmp_path / "graph.onnx")
    assert not list(tmp_path.iterdir())


class LooksAtValues(Net):
    def forward(self, tokens):
        return super().forward(tokens if tokens.sum() > 0 else -tokens)


def test_control_flow_on_values_is_refused_at_its_line(tmp_path):
    network = nn.Sequential(randomised(LooksAtValues(SequenceMixer(6))))

    with pytest.raises(
        ExportError, match=r"in 0 \(LooksAtValues\), .*test_given\.py:\d+: `return super"
    ) as refused:
        export_graph(network, tokens_of(), tmp_path / "graph.onnx")

    assert "On the msdk ops: 0.mixer" in str(refused.value)


class NotInOnnx(Net):
    def forward(self, tokens):
        return super().forward(torch.special.airy_ai(tokens))


def test_an_op_that_onnx_does_not_have_is_refused_at_its_line(tmp_path):
    network = nn.Sequential(randomised(NotInOnnx(SequenceMixer(6))))

    with pytest.raises(ExportError, match=r"test_given\.py:\d+: `return super\(\).forward\(torch.special"):
        export_graph(network, tokens_of(), tmp_path / "graph.onnx")


class ByBatch(Net):
    def forward(self, tokens):
        mixed = super().forward(tokens)
        return mixed if tokens.shape[0] == 1 else mixed * 2


def test_control_flow_on_the_batch_is_refused(tmp_path):
    with pytest.raises(ExportError):
        export_graph(randomised(ByBatch(SequenceMixer(6))), tokens_of(batch=1), tmp_path / "graph.onnx")
    assert not list(tmp_path.iterdir())


class Breaks(Net):
    def forward(self, tokens):
        return super().forward(tokens) + self.nowhere


def test_a_module_that_does_not_run_is_refused_at_its_line(tmp_path):
    network = nn.Sequential(randomised(Breaks(SequenceMixer(6))))

    with pytest.raises(ExportError, match=r"nowhere.*0 \(Breaks\), .*test_given\.py:\d+: `return super"):
        export_graph(network, tokens_of(), tmp_path / "graph.onnx")


def test_a_block_that_nothing_shows_needs_an_option(tmp_path):
    network, path = randomised(Net(OpaqueMixer(6))), tmp_path / "graph.onnx"
    with torch.no_grad():
        truth = network(tokens_of())
    Machine.has_kernels = False
    try:
        with pytest.raises(ExportError, match=r"mixer \(OpaqueMixer\) does not run .*unverified=True"):
            export_graph(network, tokens_of(), path)
        assert not list(tmp_path.iterdir())
        with pytest.warns(UserWarning, match="mixer: not compared with the module as it was given"):
            parity = export_graph(network, tokens_of(), path, unverified=True)
    finally:
        Machine.has_kernels = True

    assert all(np.isnan(value) for value in parity.values())
    np.testing.assert_allclose(run(path, tokens_of())[0], truth, rtol=1e-4, atol=1e-5)


class OpaqueNorm(OpaqueMixer):
    def __init__(self):
        super().__init__(6)
        self.dt_norm = nn.LayerNorm(2)


def test_an_option_does_not_make_a_block_of_other_parameters_a_published_one(tmp_path):
    Machine.has_kernels = False
    try:
        with pytest.raises(ExportError, match=r"unexpected: dt_norm.*nor does its own code run here"):
            export_graph(Net(OpaqueNorm()), tokens_of(), tmp_path / "graph.onnx", unverified=True)
    finally:
        Machine.has_kernels = True


def test_a_block_with_caches_of_earlier_tokens_is_refused(tmp_path):
    class Steps(Net):
        def forward(self, tokens):
            return self.head(self.mixer(tokens, inference_params={"offset": 1}))

    class Cached(SequenceMixer):
        def forward(self, hidden_states, inference_params=None):
            earlier = inference_params.setdefault("state", torch.zeros(6)) if inference_params else 0
            return super().forward(hidden_states + earlier)

    error_of(randomised(Steps(Cached(6))), tmp_path / "graph.onnx", tokens_of())

    class Remembers(Net):
        def __init__(self, mixer):
            super().__init__(mixer)
            self.cache = {}

        def forward(self, tokens):
            mixed = self.mixer(tokens + self.cache.get("last", 0))
            self.cache["last"] = mixed.mean()
            return self.head(mixed)

    with pytest.raises(ExportError, match="second time"):
        export_graph(randomised(Remembers(SequenceMixer(6))), tokens_of(), tmp_path / "other.onnx")


@pytest.mark.parametrize("one", [True, False])
def test_use_fast_path_false_of_a_bidirectional_block_is_said(one, tmp_path):
    class OneDirection(SequenceMixer):
        def forward(self, hidden_states, inference_params=None):
            xz = self.in_proj(hidden_states).transpose(1, 2)
            return self.out_proj(self.directed(xz, "").transpose(1, 2))

    kind = OneDirection if one else SequenceMixer
    network = randomised(Net(kind(6, "v2", if_divide_out=True, use_fast_path=False)))

    with pytest.warns(
        UserWarning, match="use_fast_path.*" + ("direction alone$" if one else "published block$")
    ):
        assert error_of(network, tmp_path / "graph.onnx", tokens_of()) < 1e-5
    assert scans_of(tmp_path / "graph.onnx") == 1


class Columns(FourWayMixer):
    """SS2D's parameters, columns first."""

    def scanned(self, x):
        return super().scanned(x.transpose(2, 3)).transpose(2, 3)


class Unactivated(FourWayMixer):
    def forward(self, x):
        x = self.in_proj(x).permute(0, 3, 1, 2)
        y = self.scanned(self.conv2d(x)).permute(0, 2, 3, 1)
        return self.out_proj(self.out_norm(y))


@pytest.mark.parametrize(
    "block",
    [Columns(6), Unactivated(6), FourWayMixer(6, d_conv=1, attributes=False)],
    ids=["columns first", "activation outside", "no depthwise convolution"],
)
def test_ss2d_of_another_meaning_is_what_it_computes(block, tmp_path):
    network = randomised(block)
    x = torch.randn(2, 2, 3, 6, generator=torch.Generator().manual_seed(7))

    assert error_of(network, tmp_path / "graph.onnx", x) < 1e-5


def state_of(module):
    tensors = {name: value.clone() for name, value in module.state_dict().items()}
    return (
        tensors,
        [part.training for part in module.modules()],
        [sorted(vars(part)) for part in module.modules()],
    )


def test_the_module_is_left_as_it_was(tmp_path):
    class Busy(CountsInABuffer):
        def forward(self, tokens):
            self.shape, self.last = tokens.shape, tokens
            return super().forward(tokens)

    network = randomised(Busy(SequenceMixer(6))).train()
    network.head.eval()
    before, chance, forward = state_of(network), torch.get_rng_state(), SequenceMixer.forward.__code__

    with pytest.raises(ExportError, match="second time"):
        export_graph(network, tokens_of(), tmp_path / "graph.onnx")

    after = state_of(network)
    assert after[1:] == before[1:]
    assert all(torch.equal(after[0][name], value) for name, value in before[0].items())
    assert torch.equal(torch.get_rng_state(), chance)
    assert SequenceMixer.forward.__code__ is forward


def test_half_precision_is_compared_in_float32(tmp_path):
    network = randomised(Net(SequenceMixer(6))).half()
    exact = copy.deepcopy(network).float()
    x = tokens_of()

    export_graph(network, x, tmp_path / "graph.onnx")

    with torch.no_grad():
        np.testing.assert_allclose(run(tmp_path / "graph.onnx", x)[0], exact(x), rtol=1e-4, atol=1e-5)
    assert next(network.parameters()).dtype is torch.float16
