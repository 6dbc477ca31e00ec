"""The application: guard, routes, page, and one form for everything that goes wrong."""

from collections.abc import Callable, Coroutine, Sequence
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import msdk_rt
from msdk_rt.server.guard import Guard
from msdk_rt.server.images import Images
from msdk_rt.server.monailabel import monailabel_routes
from msdk_rt.server.refusals import Refusal
from msdk_rt.server.routes import routes
from msdk_rt.server.service import Service

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = {
    "": ("page.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
}


def application(service: Service, images: Images, hosts: Sequence[str]) -> ASGIApp:
    """hosts: the names that requests may use, () for any."""
    # Its pages of documentation load scripts from elsewhere; /openapi.json is served.
    app = FastAPI(title="msdk-rt serve", version=msdk_rt.__version__, docs_url=None, redoc_url=None)
    app.include_router(routes(service))
    app.include_router(monailabel_routes(service, images))
    for name, (file, kind) in PAGE.items():
        app.add_api_route(f"/{name}", _page(file, kind), methods=["GET"], include_in_schema=False)

    async def refuse(request: Request, refusal: Exception) -> Response:
        answer = refusal if isinstance(refusal, Refusal) else _refusal_of(refusal)
        service.metrics.refused.labels(answer.kind).inc()
        return JSONResponse(answer.described(), answer.status, answer.headers)

    for error in (Refusal, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(error, refuse)
    return Guard(app, service.knows, hosts)


def _refusal_of(error: Exception) -> Refusal:
    """What FastAPI refuses, in our form."""
    if isinstance(error, HTTPException):
        kind = "NotFound" if error.status_code == 404 else "BadRequest"
        return Refusal(
            error.status_code, kind, f"{error.detail}: see /openapi.json for the routes", error.headers
        )
    if isinstance(error, RequestValidationError):
        return Refusal(400, "BadRequest", "an argument of the address is missing or wrong: see /openapi.json")
    return Refusal(500, "InternalError", "a fault in msdk_rt: see the server's log")


def _page(file: str, kind: str) -> Callable[[], Coroutine[Any, Any, Response]]:
    """A handler that answers with a file of this package."""
    content = files("msdk_rt.server").joinpath(file).read_bytes()

    async def page() -> Response:
        return Response(
            content, media_type=f"{kind}; charset=utf-8", headers={"Content-Security-Policy": POLICY}
        )

    return page
