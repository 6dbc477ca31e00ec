"""Serves one page on the loopback address, until nobody looks at it any more."""

import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from msdk_rt.viewer.page import page_of_server
from msdk_rt.viewer.subject import Subject

ADDRESS = "127.0.0.1"
GRACE = 5.0  # seconds without a page, so that one can be loaded again
BEAT = 1.0  # seconds between signs of life, by which a closed page is noticed


class PageServer:
    """The page of a subject at `address`, which holds a random token; other paths do not exist."""

    def __init__(self, subject: Subject, port: int = 0):
        self._token = secrets.token_urlsafe(24)
        self._looking, self._lock = 0, threading.Lock()
        self._left: float | None = None
        page = "".join(page_of_server(subject)).encode()
        self._content = {
            "": (page, "text/html; charset=utf-8"),
            "image": (subject.image, "application/octet-stream"),
            "labels": (subject.labels, "application/octet-stream"),
        }
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing: the path holds the token."""

        self._server = ThreadingHTTPServer((ADDRESS, port), Handler)
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        return f"http://{ADDRESS}:{self._server.server_port}/{self._token}/"

    def serve(self) -> None:
        """Answer until the page was open and has been closed for GRACE seconds."""
        thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True
        )
        thread.start()
        try:
            while not self._is_over():
                time.sleep(0.2)
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One request. The host must be ours, so that no other site's name leads here."""
        hosts = {f"{name}:{self._server.server_port}" for name in (ADDRESS, "localhost")}
        start = f"/{self._token}/"
        path = request.path
        if request.headers.get("Host") not in hosts or not secrets.compare_digest(
            path[: len(start)].encode(), start.encode()
        ):
            request.send_error(404)
        elif path == f"{start}alive":
            self._stay(request)
        elif path[len(start) :] in self._content:
            content, kind = self._content[path[len(start) :]]
            request.send_response(200)
            request.send_header("Content-Type", kind)
            request.send_header("Content-Length", str(len(content)))
            request.send_header("Cache-Control", "no-store")
            request.send_header("X-Content-Type-Options", "nosniff")
            request.send_header("Referrer-Policy", "no-referrer")
            request.end_headers()
            request.wfile.write(content)
        else:
            request.send_error(404)

    def _stay(self, request: BaseHTTPRequestHandler) -> None:
        """Beat until the page is closed."""
        with self._lock:
            self._looking += 1
        try:
            request.send_response(200)
            request.send_header("Content-Type", "text/event-stream")
            request.send_header("Connection", "close")
            request.end_headers()
            while True:
                request.wfile.write(b":\n\n")
                request.wfile.flush()
                time.sleep(BEAT)
        except OSError:
            request.close_connection = True
        finally:
            with self._lock:
                self._looking -= 1
                self._left = time.monotonic()

    def _is_over(self) -> bool:
        with self._lock:
            gone = self._left is not None and not self._looking
            return gone and time.monotonic() - (self._left or 0) > GRACE
