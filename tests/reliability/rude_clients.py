"""Clients of a server that hang up, send too much, or send what nobody should."""

import http.client
import io
import json
import random
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np

from tests.support.served import TOKEN, Answer, Served, form

HUGE = 10 << 30  # bytes
PIECE = bytes(1 << 20)
CANCELLED = 'msdk_rt_jobs_total{model="model",state="cancelled"}'


def connected(server: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def head(path: str, length: int | None, kind: str, token: str = TOKEN) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {kind}\r\n{size}\r\n\r\n"
    ).encode()


def hang_up_in_upload(server: Served, large: Path) -> bool:
    body, kind = form(large)
    with connected(server) as line:
        line.sendall(head("/segment/model", len(body), kind) + body[: len(body) // 2])
    return True


def hang_up_in_job(server: Served, large: Path) -> bool:
    body, kind = form(large)
    before = server.figures().get(CANCELLED, 0.0)
    with connected(server) as line:
        line.sendall(head("/segment/model", len(body), kind) + body)
        time.sleep(0.3)
    end = time.monotonic() + 30
    while server.figures().get(CANCELLED, 0.0) == before:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def hang_up_in_answer(server: Served, large: Path) -> bool:
    body, kind = form((large.name, small_scan()))
    with connected(server) as line:
        line.sendall(head("/segment/model?format=nii", len(body), kind) + body)
        return line.recv(15).startswith(b"HTTP/1.1 200")


def small_scan() -> bytes:
    return nibabel.Nifti1Image(np.ones((40, 38, 36), np.float32), np.eye(4)).to_bytes()


def bomb(number: int) -> bytes:
    """A zip of some 100 kB that unpacks to 100 MB or more."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(number % 3 + 1):
            archive.writestr(f"IM{index}.dcm", bytes(128) + b"DICM" + bytes(100_000_000))
    return stream.getvalue()


def paths(times: int) -> Iterator[bytes]:
    names = ("../../IM1.dcm", "/etc/cron.d/IM1.dcm", "..\\IM1.dcm", "C:\\IM1.dcm", "a/../../IM1.dcm")
    for number in range(times):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(names[number % len(names)], bytes(128) + b"DICM" + bytes(100))
        yield stream.getvalue()


def send_huge(server: Served, length: int | None, token: str) -> tuple[str, int]:
    """(status and kind of the answer, bytes that were sent)."""
    body, kind = form(("0.nii", b""))
    pieces = [body[: body.index(b"\r\n\r\n") + 4], *[PIECE] * (HUGE // len(PIECE))]
    sent = 0
    with connected(server) as line:
        line.sendall(head("/segment/model", length, kind, token))
        try:
            for piece in pieces:
                framed = piece if length is not None else b"%x\r\n%s\r\n" % (len(piece), piece)
                line.sendall(framed)
                sent += len(piece)
                if is_answered(line):
                    break
        except OSError:  # the server has closed the connection behind its answer
            pass
        try:
            answer = http.client.HTTPResponse(line)
            answer.begin()
            return typed(Answer(answer.status, {}, answer.read())), sent
        except (OSError, http.client.HTTPException):
            return "no answer", sent


def is_answered(line: socket.socket) -> bool:
    line.setblocking(False)
    try:
        return bool(line.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        line.settimeout(60)


def noise(random_: random.Random, honest: bytes) -> bytes:
    choice = random_.randrange(3)
    if choice == 0:
        return random_.randbytes(random_.randrange(2000))
    if choice == 1:
        return honest[: random_.randrange(len(honest))]
    changed = bytearray(honest)
    changed[random_.randrange(len(changed))] ^= 1 << random_.randrange(8)
    return bytes(changed)


def typed(answer: Answer) -> str:
    """Status and kind of a refusal; "no answer" where it has not its form."""
    try:
        error = json.loads(answer.content)["error"]
        return f"{answer.status} {error['kind']}" if len(error["message"]) > 20 else "no answer"
    except (ValueError, KeyError, TypeError):
        return "no answer"
