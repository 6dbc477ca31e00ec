"""Takes the files of a multipart/form-data request to disk, within limits, a piece at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from msdk_rt.errors import one_line
from msdk_rt.imaging.formats import SUFFIXES, listed
from msdk_rt.server.refusals import Refusal, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

STALL = 60.0  # seconds without a byte after which a client is given up
MOST_PARTS = 64
MOST_FIELD_BYTES = 64 << 10  # of all fields that are no files
DICOM = (".zip", ".dcm")


@dataclass
class Upload:
    """files: on disk, by the name of their field. names: that the client gave them, for nothing but answers.
    fields: texts by name. size: bytes received.
    """

    files: dict[str, list[Path]] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)
    fields: dict[str, list[str]] = field(default_factory=dict)
    size: int = 0


async def receive(request: Request, folder: Path, limit: int) -> Upload:
    """The request's files in `folder`, as 0.nii.gz, 1.nii.gz, ..., whatever the client calls them.

    limit: bytes of the body. Raises Refusal, also for a client that hangs up; whoever made the folder removes
    it.
    """
    boundary = _boundary(request)
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit:
        raise too_large(limit)
    form = _Form(folder)
    with contextlib.closing(form):
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in _chunks(request):
            form.upload.size += len(chunk)
            if form.upload.size > limit:
                raise too_large(limit)
            try:
                await asyncio.to_thread(parser.write, chunk)
            except MultipartParseError as error:
                raise _bad(one_line(error)) from error
            except OSError as error:
                raise Refusal(
                    507, "OutputError", f"the server cannot keep the file: {error.strerror or error}"
                ) from error
    if not form.is_whole:
        raise _bad("it ends before its last boundary")
    return form.upload


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    try:
        while chunk := await asyncio.wait_for(anext(stream, b""), STALL):
            yield chunk
    except asyncio.TimeoutError:
        raise Refusal(
            408, "TooSlow", f"no byte came for {STALL:.0f} s: send it again", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Refusal(499, "HungUp", "the client hung up in the middle of the upload") from None


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Refusal(
            415,
            "BadRequest",
            "expected multipart/form-data with a part `file` for each channel: curl -F file=@t1.nii.gz",
            {"Connection": "close"},
        )
    return options[b"boundary"]


class _Form:
    """Collects the parts that a parser finds. Its methods run in another thread, one at a time."""

    def __init__(self, folder: Path):
        self._folder, self._parts, self._field_bytes = folder, 0, 0
        self._header, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._file: IO[bytes] | None = None
        self._name, self._text = "", bytearray()
        self.upload, self.is_whole = Upload(), False

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_to_header,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        self._headers = {}
        if self._parts > MOST_PARTS:
            raise _bad(f"it has more than {MOST_PARTS} parts")

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._text = bytearray()
        if b"filename" not in options:
            return
        given = options[b"filename"].decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
        count = sum(map(len, self.upload.files.values()))
        path = self._folder / f"{count}{_suffix(given)}"
        self._file = path.open("xb")
        self.upload.files.setdefault(self._name, []).append(path)
        self.upload.names[path] = given

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > MOST_FIELD_BYTES:
            raise _bad(f"its fields are longer than {MOST_FIELD_BYTES} bytes")
        self._text += data[start:end]

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        else:
            text = self._text.decode("utf-8", "replace")
            self.upload.fields.setdefault(self._name, []).append(text)

    def _finish(self) -> None:
        self.is_whole = True


def _suffix(name: str) -> str:
    """The suffix under which a file is kept, by which it is read. Raises Refusal."""
    found = [suffix for suffix in (*SUFFIXES, *DICOM) if name.lower().endswith(suffix)]
    if not found:
        raise Refusal(
            415,
            "InputError",
            f"a file is of no kind that is read here: send a {listed((*SUFFIXES, *DICOM))} file",
            {"Connection": "close"},
        )
    return max(found, key=len)


def _bad(why: str) -> Refusal:
    return Refusal(
        400, "BadRequest", f"the request is no whole multipart/form-data: {why}", {"Connection": "close"}
    )
