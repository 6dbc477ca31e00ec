"""Answers that are files, and go with what they came from."""

import mimetypes
import secrets
from collections.abc import Callable
from pathlib import Path

from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

DICOM = "application/dicom"


class FileOnce(FileResponse):
    """A file. after: is called when it was sent or the client hung up."""

    def __init__(self, path: Path, after: Callable[[], None]):
        super().__init__(path, media_type=kind_of(path), filename=path.name)
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._after()


def kind_of(path: Path) -> str:
    """The media type of a result."""
    if path.name.endswith(".dcm"):
        return DICOM
    return "application/gzip" if path.name.endswith(".gz") else "application/octet-stream"


def form_answer(text: str, name: str, path: Path) -> Response:
    """multipart/form-data with a part `params`, JSON, and a part `image`, the file under this name."""
    boundary = secrets.token_hex(16)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    body = b"".join(
        (
            f"--{boundary}\r\n".encode(),
            b'Content-Disposition: form-data; name="params"\r\nContent-Type: application/json\r\n\r\n',
            f"{text}\r\n--{boundary}\r\n".encode(),
            f'Content-Disposition: form-data; name="image"; filename="{name}"\r\n'.encode(),
            f"Content-Type: {kind}\r\n\r\n".encode(),
            path.read_bytes(),
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )
    return Response(body, media_type=f"multipart/form-data; boundary={boundary}")
