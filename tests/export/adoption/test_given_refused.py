"""Modules that no graph can stand for, or that nothing shows: refused, and left as they were."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msdk_export import export_graph
from msdk_rt.errors import ExportError
from tests.support.given_networks import Machine, Net, OpaqueMixer, error_of, run, tokens_of
from tests.support.published_blocks import SequenceMixer, randomised


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
        ExportError, match=r"in 0 \(LooksAtValues\), .*test_given_refused\.py:\d+: `return super"
    ) as refused:
        export_graph(network, tokens_of(), tmp_path / "graph.onnx")

    assert "On the msdk ops: 0.mixer" in str(refused.value)


class NotInOnnx(Net):
    def forward(self, tokens):
        return super().forward(torch.special.airy_ai(tokens))


def test_an_op_that_onnx_does_not_have_is_refused_at_its_line(tmp_path):
    network = nn.Sequential(randomised(NotInOnnx(SequenceMixer(6))))

    with pytest.raises(
        ExportError, match=r"test_given_refused\.py:\d+: `return super\(\).forward\(torch.special"
    ):
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

    with pytest.raises(
        ExportError, match=r"nowhere.*0 \(Breaks\), .*test_given_refused\.py:\d+: `return super"
    ):
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
