"""Stands before every route: who may ask, and what every answer says about itself."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msdk_rt.server.refusals import Refusal

# The page and its parts hold nothing; an address under /view/ cannot be guessed.
OPEN = ("/", "/page.js", "/page.css", "/health", "/auth/", "/auth/token")
OPEN_BELOW = "/view/"
LINGER = 2.0  # seconds for a client to notice that it was refused
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}


class Guard:
    """Passes requests on that name one of `hosts`, where any are given, and carry the token.

    knows: tells the token.
    """

    def __init__(self, app: ASGIApp, knows: Callable[[str], bool], hosts: Sequence[str]):
        self._app, self._knows, self._hosts = app, knows, tuple(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        exchange = _Exchange(receive, send)
        if refusal := self._fault(scope):
            answer = JSONResponse(refusal.described(), refusal.status, refusal.headers)
            await answer(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, exchange.receive, exchange.send)

    def _fault(self, scope: Scope) -> Refusal | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._hosts and _name_of(headers.get("host", "")) not in self._hosts:
            return Refusal(
                421,
                "WrongHost",
                f"this server answers to {' and '.join(self._hosts)} alone: use its own address",
                {"Connection": "close"},
            )
        if path in OPEN or path.startswith(OPEN_BELOW) or self._carries_token(headers):
            return None
        return Refusal(
            401,
            "Unauthorized",
            "expected the header `Authorization: Bearer TOKEN` with the token that the server printed",
            {"WWW-Authenticate": "Bearer", "Connection": "close"},
        )

    def _carries_token(self, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        return self._knows(token.strip() if kind.lower() == "bearer" else "")


class _Exchange:
    """A request and its answer. An answer that comes before the body has, a refusal, ends when the client has
    stopped sending: a connection closed before would be reset, and the client might never read the answer.
    """

    def __init__(self, receive: Receive, send: Send):
        self._receive, self._send, self._has_all = receive, send, False

    async def receive(self) -> Message:
        message = await self._receive()
        self._has_all |= message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        elif not message.get("more_body", False) and not self._has_all:
            await self._send({**message, "more_body": True})
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._drain(), LINGER)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _drain(self) -> None:
        while not self._has_all:
            await self.receive()


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
