"""The DICOM series of each channel, as `--series` names them."""

from collections.abc import Sequence
from pathlib import Path

from msdk_rt.errors import InputError
from msdk_rt.imaging.formats import is_image, is_image_name

Rules = dict[str, str]


def parse_rules(texts: Sequence[str], channels: Sequence[str]) -> Rules:
    """{channel: number, UID or description of its series}, of `CHANNEL=SERIES` texts.

    `SERIES` alone will do for a model with one channel. Raises InputError unless all channels or none have
    one.
    """
    rules: Rules = {}
    for text in texts:
        channel, equals, choice = text.partition("=")
        if not equals or channel not in channels:
            channel, choice = (channels[0], text) if len(channels) == 1 else ("", "")
        if not choice:
            raise InputError(
                f"--series {text!r} names no channel, expected CHANNEL=SERIES with a channel among "
                f"{', '.join(channels)}"
            )
        if channel in rules:
            raise InputError(f"--series names the channel {channel} twice: keep one")
        rules[channel] = choice
    if lacking := [channel for channel in channels if rules and channel not in rules]:
        raise InputError(f"--series names no series for {', '.join(lacking)}: name one for every channel")
    return rules


def is_dicom(path: Path) -> bool:
    """Whether it is a DICOM folder, zip or file, by what it holds."""
    return not is_image_name(path) and is_image(path)


def spread(path: Path, channels: Sequence[str], rules: Rules) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """(the path of each channel, the choice of each channel) of a case that is one DICOM folder.

    Raises InputError where the model has several channels and no rule tells their series.
    """
    if len(channels) > 1 and not rules:
        raise InputError(
            f"{path} is one DICOM folder, the model takes {len(channels)} channels ({', '.join(channels)}): "
            "say which series each is with --series CHANNEL=SERIES, or give one folder per channel"
        )
    return (path,) * len(channels), tuple(rules.get(channel, "") for channel in channels)
