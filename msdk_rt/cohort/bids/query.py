"""Which files of a BIDS dataset are a model's channel: by suffix and entities."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import stem

ANY = "*"
# What channels are called, without regard to case and punctuation: BraTS's and nnU-Net's names among them.
KNOWN = {
    "T1w": ("t1", "t1w", "t1n"),
    "ce-*_T1w": ("t1ce", "t1c", "t1gd", "t1wgd", "t1post", "t1wce"),
    "T2w": ("t2", "t2w"),
    "FLAIR": ("flair", "t2f", "t2flair"),
    "PDw": ("pd", "pdw"),
    "T2starw": ("t2star", "t2starw"),
}


@dataclass(frozen=True)
class BidsFile:
    """A file and what its name says. entities: without sub and ses."""

    path: Path
    suffix: str
    entities: Mapping[str, str]


@dataclass(frozen=True)
class Query:
    """Files of this suffix that have these entities; the value * is any. Without `ce` among them: no contrast
    agent.
    """

    suffix: str
    entities: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "_".join([*(f"{key}-{value}" for key, value in self.entities.items()), self.suffix])

    def takes(self, file: BidsFile) -> bool:
        """Whether the file is one of these."""
        if file.suffix != self.suffix or ("ce" in file.entities and "ce" not in self.entities):
            return False
        return all(
            key in file.entities and value in (ANY, file.entities[key])
            for key, value in self.entities.items()
        )


def parse_file(path: Path) -> BidsFile:
    """What the name of a BIDS file says; parts that are no entity are passed over."""
    *pairs, suffix = stem(path).split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return BidsFile(path, suffix, {key: entities[key] for key in entities if key not in ("sub", "ses")})


def parse_query(text: str) -> Query:
    """`T1w` or `ce-gadolinium_acq-highres_T1w`. Raises InputError."""
    match = re.fullmatch(r"((?:[a-z]+-(?:[0-9a-zA-Z]+|\*)_)*)([0-9a-zA-Z]+)", text)
    if match is None:
        raise InputError(f"{text!r} is no BIDS suffix with entities: expected such as T1w or ce-*_T1w")
    return Query(match[2], dict(pair.split("-") for pair in match[1].split("_") if pair))


def queries_for(channels: Sequence[str], given: Mapping[str, str]) -> list[Query]:
    """The files of each channel, in order. given: {channel: suffix with entities}. Raises InputError."""
    if unknown := sorted(given.keys() - set(channels)):
        raise InputError(f"the model has no channel {', '.join(unknown)}: it takes {', '.join(channels)}")
    return [parse_query(given[channel] if channel in given else _known(channel)) for channel in channels]


def _known(channel: str) -> str:
    plain = re.sub(r"[^0-9a-z]", "", channel.lower())
    for query, names in KNOWN.items():
        if plain in names:
            return query
    raise InputError(
        f"which BIDS files are the channel {channel}? say it: --channel {channel}=T1w, --channel "
        f"{channel}=ce-gadolinium_T1w or the like"
    )
