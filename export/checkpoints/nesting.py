"""Where a checkpoint's content has the weights of a network: under which keys, behind which prefix.

Trainers keep a state dict under a key, or under two, and more than one of them: a model and its moving
average, a student and its teacher. A wrapper around the network puts a prefix before all its names. Each
network that is found has a label, the keys and the prefix joined by dots.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import Tensor

from msdk_export.families import recognise
from msdk_export.wording import LONGEST, listed
from msdk_rt.errors import shown

MODEL_KEYS = (
    "state_dict",
    "model_state_dict",
    "network_weights",
    "model",
    "network",
    "net",
    "module",
    "params",
    "state",
    "model_state",
)
PREFIXES = ("module.", "model.", "network.", "net.")
WRAPPERS = re.compile(r"(?<![^.])(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
COUNTERS = ("total_ops", "total_params", "n_averaged")  # thop's, and of torch's AveragedModel
LONGEST_PREFIX = 4  # names joined by dots
SHOWN = 5  # entries of a dict in an error
LEAST_SHARE = 8  # a network has at least one of this many names
_AVERAGE = re.compile(r"(?<![a-z])(ema|swa|moving_average|averaged)(?![a-z])")


@dataclass(frozen=True)
class Network:
    """Weights found in a checkpoint. outside: entries beside them, of no network that was found."""

    label: str
    weights: dict[str, Tensor]
    outside: tuple[str, ...] = ()

    @property
    def is_average(self) -> bool:
        """Whether its label says that it is a moving average of the weights."""
        return _AVERAGE.search(self.label.lower()) is not None


def find_networks(content: object) -> list[Network]:
    """The networks in what a file holds, those under the more usual keys first, averages last."""
    found = [network for keys, entries in _nested(content, 2) for network in _behind(keys, entries)]
    if not found and holds_weights(content):
        found = list(_behind((), content))
    return sorted(found, key=lambda network: network.is_average)


def network_at(content: object, label: str) -> list[Network]:
    """The networks under keys and behind a prefix that the caller names, whatever they are called."""
    if not isinstance(content, Mapping):
        return []
    if label in content and holds_weights(content[label]):
        return list(_behind((label,), content[label]))
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Mapping) and label.startswith(f"{key}."):
            inside = network_at(value, label.removeprefix(f"{key}."))
            if inside:
                return [Network(f"{key}.{one.label}", one.weights, one.outside) for one in inside]
    if holds_weights(content):
        chosen = _without(f"{label}.", _tensors(content))
        return list(_behind((label,), chosen)) if chosen else []
    return []


def holds_weights(content: object) -> TypeGuard[dict[str, Any]]:
    """Whether this is a dict of which more than half are named tensors."""
    return (
        isinstance(content, dict)
        and all(isinstance(name, str) for name in content)
        and 2 * len(_tensors(content)) > len(content)
    )


def summary(content: object) -> str:
    """Describe the content for an error."""
    if not isinstance(content, dict):
        return type(content).__name__
    if not content:
        return "an empty dict"
    return f"a dict with {_kinds(content, inner=True)}"


def _kinds(content: dict[Any, Any], inner: bool) -> str:
    kinds = []
    for key, value in list(content.items())[:SHOWN]:
        inside = f" ({_kinds(value, inner=False)})" if inner and isinstance(value, dict) and value else ""
        name = key if isinstance(key, str) else shown(key, LONGEST)
        kinds.append(f"{name}: {type(value).__name__}{inside}")
    return listed(kinds) + (f" and {len(content) - SHOWN} more" if len(content) > SHOWN else "")


def _nested(content: object, depth: int) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """(keys, dict of weights) for each such dict under keys that trainers use, at most `depth` of them."""
    if not isinstance(content, Mapping) or depth == 0:
        return
    averages = [key for key in content if isinstance(key, str) and _AVERAGE.search(key.lower())]
    for key in (*MODEL_KEYS, *averages):
        value = content.get(key)
        inside = list(_nested(value, depth - 1))
        if inside:
            yield from (((key, *keys), entries) for keys, entries in inside)
        elif holds_weights(value):
            yield (key,), value


def _behind(keys: tuple[str, ...], entries: dict[str, Any]) -> Iterator[Network]:
    """The networks in a dict of weights, each behind a prefix that is taken off, or one as it is."""
    weights = {
        name: tensor
        for name, tensor in _unwrapped(_tensors(entries)).items()
        if not (name.rpartition(".")[2] in COUNTERS and tensor.numel() == 1)
    }
    prefixes = _family_prefixes(weights) or [_usual_prefix(weights)]
    outside = [name for name in weights if not name.startswith(tuple(prefixes))]
    outside += [name for name in entries if not isinstance(entries[name], Tensor)]
    for prefix in prefixes:
        inner = tuple(other for other in prefixes if other != prefix and other.startswith(prefix))
        own = _without(prefix, {name: t for name, t in weights.items() if not name.startswith(inner)})
        shown = prefix.removesuffix(".") if len(prefixes) > 1 else ""
        label = ".".join((*keys, shown) if shown else keys)
        yield Network(label, own, tuple(outside))


def _tensors(entries: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in entries.items() if isinstance(value, Tensor)}


def _without(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors behind the prefix, which is taken off."""
    return {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what torch.compile, checkpointing and FSDP put inside names; as it was where two would meet."""
    renamed = {WRAPPERS.sub("", name): tensor for name, tensor in weights.items()}
    return renamed if len(renamed) == len(weights) else weights


def _family_prefixes(weights: Mapping[str, Tensor]) -> list[str]:
    """The prefixes behind which names of a known family begin, "" among them.

    One prefix inside another counts where it has the same names again, as a copy of a network inside it. None
    count where most of the names are of something else, of which a block may look like a family's.
    """
    counts = Counter("")
    for name in weights:
        parts = name.split(".", LONGEST_PREFIX)[:-1]
        counts.update(".".join(parts[: n + 1]) + "." for n in range(len(parts)))
    candidates = ["", *(prefix for prefix, n in counts.items() if n * LEAST_SHARE >= len(weights))]
    found: list[str] = []
    for prefix in sorted(candidates, key=lambda prefix: prefix.count(".")):
        inside = _without(prefix, weights)
        outer = next((other for other in found if prefix.startswith(other)), None)
        if outer is not None:
            rest = {name for name in weights if name.startswith(outer) and not name.startswith(prefix)}
            copied = inside.keys() == {name.removeprefix(outer) for name in rest}
        if recognise(inside) and (outer is None or copied):
            found.append(prefix)
    behind = sum(name.startswith(tuple(found)) for name in weights)
    return found if 2 * behind > len(weights) else []


def _usual_prefix(weights: Mapping[str, Tensor]) -> str:
    """The prefix that wrappers gave to most names of a network of no known family; "" for none."""
    most = next((p for p in PREFIXES if 2 * sum(name.startswith(p) for name in weights) > len(weights)), "")
    if not most:
        return ""
    return most + _usual_prefix(_without(most, weights))
