"""Checks an .onnx before an inference library reads it: it must be one file, and its work must end.

The protobuf wire format is walked without its library; tensors' bytes are never read. ONNX Runtime checks
much itself. This module refuses a model that reads weights from another file, which no hash covers, loops
without end, or inlines functions that double one another: ONNX Runtime would run those faithfully.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from msdk_rt.errors import ArtifactError, shown

MOST_FIELDS = 2_000_000
MOST_NODES = 1_000_000  # once functions are inlined
MOST_DEPTH = 100  # protobuf's own limit

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Of onnx.proto: which fields of a message are messages that matter.
MESSAGES = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}  # fmt: skip
TEXTS = {
    "Node": {4: "name", 7: "domain", 8: "overload"},
    "Function": {1: "name", 10: "domain", 13: "overload"},
}
LONGEST_TEXT = 256
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # of a Tensor

Name = tuple[str, str, str]  # domain, name, overload
Calls = list[Name]  # the nodes of the graph or of a function, with those of the graphs inside it


class _Malformed(Exception):
    """These bytes are no protobuf message."""


def check_onnx_file(path: str | Path) -> None:
    """Raise ArtifactError unless the file is an ONNX model of bounded work with all weights inside."""
    path = Path(path)
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            walk = _Walk(content, path)
            walk.message("Model", 0, len(content), walk.graph, 0)
    except (OSError, ValueError, _Malformed) as error:
        raise ArtifactError(
            f"{path} is not an ONNX file ({error}): copy it again or export it again"
        ) from error
    nodes = _inlined(walk.graph, walk.functions, path)
    if nodes > MOST_NODES:
        raise ArtifactError(
            f"{path} has {nodes:,} nodes once its functions are inlined, expected at most {MOST_NODES:,}: "
            "msdk_rt.export did not write it"
        )


class _Walk:
    """Goes once through the bytes of a model."""

    def __init__(self, content: mmap.mmap, path: Path):
        self.graph: Calls = []
        self.functions: dict[Name, Calls] = {}
        self._content, self._path, self._seen = content, path, 0

    def message(self, kind: str, start: int, end: int, calls: Calls, depth: int) -> None:
        """Visit a message; its nodes go to `calls`."""
        if depth > MOST_DEPTH:
            raise _Malformed(f"graphs lie in graphs, more than {MOST_DEPTH} messages deep")
        if kind == "Function":
            calls = []
        texts = dict.fromkeys(TEXTS.get(kind, {}).values(), "")
        for number, wire, first, last in self._fields(start, end):
            if kind == "Tensor" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and first)):
                raise ArtifactError(
                    f"{self._path} keeps weights in another file, which its SHA-256 does not cover: export "
                    "it again, an artifact holds its own weights"
                )
            if wire != BYTES:
                continue
            if number in MESSAGES[kind]:
                self.message(MESSAGES[kind][number], first, last, calls, depth + 1)
            elif number in TEXTS.get(kind, {}):
                texts[TEXTS[kind][number]] = self._content[first : min(last, first + LONGEST_TEXT)].decode(
                    "utf-8", "replace"
                )
        if texts:
            self._name(kind, (texts["domain"], texts["name"], texts["overload"]), calls)

    def _name(self, kind: str, name: Name, calls: Calls) -> None:
        if kind == "Function":
            self.functions[name] = calls
            return
        calls.append(name)
        if name[:2] in (("", "Loop"), ("ai.onnx", "Loop")):
            raise ArtifactError(
                f"{self._path} holds a Loop, which may never end, and an artifact holds none: write the "
                "layer that it comes from without one, and export again"
            )

    def _fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """(number, wire type, first byte, byte after the last); of a VARINT its value and 0."""
        while start < end:
            self._seen += 1
            if self._seen > MOST_FIELDS:
                raise _Malformed(f"it has more than {MOST_FIELDS:,} fields")
            key, start = self._varint(start, end)
            number, wire = key >> 3, key & 7
            if wire == VARINT:
                value, start = self._varint(start, end)
                yield number, wire, value, 0
                continue
            size = {FIXED64: 8, FIXED32: 4}.get(wire)
            if wire == BYTES:
                size, start = self._varint(start, end)
            if size is None or size > end - start:
                raise _Malformed(f"at byte {start}, it was cut short or damaged")
            yield number, wire, start, start + size
            start += size

    def _varint(self, start: int, end: int) -> tuple[int, int]:
        value = 0
        for place in range(start, min(end, start + 10)):
            byte = self._content[place]
            value |= (byte & 127) << 7 * (place - start)
            if byte < 128:
                return value, place + 1
        raise _Malformed(f"at byte {start}, it was cut short or damaged")


def _inlined(graph: Calls, functions: dict[Name, Calls], path: Path) -> int:
    """Nodes of the graph when each call of a function is replaced by the function's nodes."""
    sizes: dict[Name, int] = {}

    def size(name: Name, callers: tuple[Name, ...]) -> int:
        if name not in functions:
            return 1
        if name in callers or len(callers) > MOST_DEPTH:
            raise ArtifactError(
                f"{path}: function {shown(name[1])} calls itself: msdk_rt.export did not write it"
            )
        if name not in sizes:
            sizes[name] = sum(size(called, (*callers, name)) for called in functions[name])
        return sizes[name]

    return sum(size(name, ()) for name in graph)
