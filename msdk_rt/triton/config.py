"""config.pbtxt of Triton: a message in protobuf's text form."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


class Word(str):
    """A name of an enumeration, which stands without quotes."""


def text_of(entries: Mapping[str, Any]) -> str:
    """The message whose fields are the entries: numbers, booleans, strings, Words, messages as mappings, and
    lists of these for repeated fields.
    """
    return "\n".join(_lines(entries, "")) + "\n"


def parameters(entries: Mapping[str, str]) -> list[dict[str, Any]]:
    """The field `parameters` of a model: a map of strings."""
    return [{"key": key, "value": {"string_value": value}} for key, value in entries.items()]


def _lines(entries: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in entries.items():
        for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            if isinstance(one, Mapping):
                lines += [f"{indent}{name} {{", *_lines(one, f"{indent}  "), f"{indent}}}"]
            else:
                lines.append(f"{indent}{name}: {_scalar(one)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not isinstance(value, Word):
        return json.dumps(value, ensure_ascii=False)  # the two languages quote alike
    return str(value)
