"""A module as it was given: what it computes, and the copy of it that goes into a graph."""

import contextlib
import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from msdk_export.adoption.blocks import OWN, Blocks
from msdk_export.adoption.errors import located
from msdk_export.adoption.interception import intercepted, intercepted_applies
from msdk_export.adoption.kernel_functions import KernelFunctions
from msdk_export.adoption.parts import UNSAID_HALVING
from msdk_export.adoption.state import left_as_it_was, outputs_of
from msdk_export.adoption.wrappers import inner, unwrapped
from msdk_export.notes import note
from msdk_rt.errors import ExportError


class Given:
    """A user's module, run in evaluation mode as it is, and `network`, a float32 copy to be traced.

    Where compiled functions of mamba_ssm, causal_conv1d or VMamba do not run here, ours run in their place;
    all other Python is the module's own. A module of another precision is run as a float32 copy. It is left
    as it was, whatever it does when it runs.

    unverified: export although a block does not run here, so that nothing shows what it computes.
    """

    def __init__(self, module: nn.Module, unverified: bool = False):
        self._blocks = Blocks(unverified)
        self._kernels = KernelFunctions()
        try:
            self.network = unwrapped(_copied(inner(module)).eval()).cpu().float().requires_grad_(False)
        except Exception as error:
            raise ExportError(
                f"{type(module).__name__} cannot be copied ({error}), and export works on a copy: let the "
                "module hold no open files or generators"
            ) from error
        kinds = {tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()}
        self._module = _copied(module).float() if kinds - {torch.float32} else module
        for known in (self._module, self.network):
            self._blocks.add(known)

    def expected(self, batches: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """What the module returns for each batch of inputs, each a list of tensors.

        Raises ExportError where it does not run, or returns something else for the first batch when it is run
        on it again; InputError where a network of ours refuses the inputs.
        """
        with left_as_it_was(self._module), self._intercepted(tracing=False):
            found = [self._run(inputs) for inputs in batches]
            again = self._run(batches[0], seed=1)
        self._note()
        if len(again) != len(found[0]) or not all(map(_repeated, again, found[0])):
            raise ExportError(
                f"{type(self._module).__name__} in evaluation mode returns something else when it is run a "
                "second time on the same inputs, and a graph has no memory and no chance: it must not count "
                "its calls, change its buffers or draw random numbers; nothing was written"
            )
        return found

    @contextlib.contextmanager
    def on_msdk_ops(self) -> Iterator[nn.Module]:
        """The copy, while its blocks and kernel functions run on the msdk ops where they were found to agree.

        ExportErrors raised in the context say which module and line of the user's code they come from.
        """
        with self._intercepted(tracing=True), located(self.network, self.replaced()):
            yield self.network

    def replaced(self) -> list[str]:
        """Paths of the blocks whose forward runs on the msdk ops."""
        return self._blocks.findings.replaced()

    def in_float64(self, inputs: Sequence[Tensor]) -> list[Tensor] | None:
        """What the network computes in double precision; None where its own code does not run in it."""
        network = copy.deepcopy(self.network).double()
        self._blocks.add(network)
        doubled = [value.double() if value.is_floating_point() else value for value in inputs]
        with self._intercepted(tracing=True):
            try:
                return outputs_of(network, doubled)
            except Exception:  # a layer of the user's that insists on float32
                return None
            finally:
                self._blocks.forget(network)

    def comparison(self) -> dict[str, object]:
        """How the expected outputs were computed, for the manifest."""
        findings = self._blocks.findings
        said: dict[str, object] = {"compared_with": "the module as it was given"}
        if self._kernels.supplied:
            said["kernel_functions_supplied"] = sorted(self._kernels.supplied)
        if findings.past_check:
            said["run_past_a_device_check"] = sorted(findings.past_check)
        if findings.by_name:
            said["taken_at_their_names"] = sorted(findings.by_name)
        if findings.unverified:
            said["compared_with"] = "nothing: these blocks do not run on the machine that exported"
            said["unverified"] = sorted(findings.unverified)
        return said

    @property
    def unverified(self) -> list[str]:
        """Paths of the blocks that were taken at their names because `unverified` asked for it."""
        return sorted(self._blocks.findings.unverified)

    def _run(self, inputs: Sequence[Tensor], seed: int = 0) -> list[Tensor]:
        with located(self._module, [], running=True):
            found = outputs_of(self._module, inputs, seed)
        return [value.float() if value.is_floating_point() else value for value in found]

    @contextlib.contextmanager
    def _intercepted(self, tracing: bool) -> Iterator[None]:
        self._blocks.tracing = self._kernels.tracing = tracing
        handlers = self._kernels.functions() | self._blocks.handlers()
        with contextlib.ExitStack() as stack:
            stack.enter_context(intercepted(handlers))
            stack.enter_context(intercepted_applies(self._kernels.applies()))
            for space, name, ours in self._kernels.missing(self._module):
                stack.callback(space.__setitem__, name, None)
                space[name] = ours
            yield

    def _note(self) -> None:
        """Say, and keep for the manifest, what was assumed of the blocks or could not be compared."""
        findings = self._blocks.findings
        if findings.unverified:
            note(
                f"{', '.join(sorted(findings.unverified))}: not compared with the module as it was given, "
                "since its own code does not run on this machine; taken for the published block of its "
                "parameters"
            )
        if kept := findings.kept():
            note(
                f"{', '.join(kept)}: computes something else than the published block of its parameters, so "
                "its own code is in the graph; a loop over tokens in it becomes nodes for every token"
            )
        taken = findings.unverified | findings.by_name
        if unsaid := sorted(taken & set(findings.unsaid)):
            note(UNSAID_HALVING.format(", ".join(unsaid)))
        for reading, names in self._blocks.slow_paths().items():
            what = "what its own code computes" if reading == OWN else reading
            note(
                f"{', '.join(names)}: use_fast_path is False, and then the published code of a bidirectional "
                f"block runs the forward direction alone; exported was {what}"
            )


def _copied(module: nn.Module) -> nn.Module:
    """A deep copy, in which what was computed with gradients, as old weight norms are, is a plain tensor."""
    attributes = [value for part in module.modules() for value in vars(part).values()]
    computed = [value for value in attributes if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(module, {id(value): value.detach().clone() for value in computed})


def _repeated(again: Tensor, first: Tensor) -> bool:
    return again.shape == first.shape and torch.allclose(again, first, rtol=1e-5, atol=1e-6, equal_nan=True)
