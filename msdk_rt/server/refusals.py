"""The answers that say no: one JSON form, an HTTP status and a sentence for each."""

from collections.abc import Mapping
from typing import Any

# The status of an error in a job, by its class.
STATUS = {
    "InputError": 400,
    "MemoryError": 413,
    "OutputError": 507,
    "BackendError": 500,
    "ArtifactError": 500,
}


class Refusal(Exception):
    """A request that is not answered as it was meant.

    status: of HTTP. kind: one word for programs, a class of msdk_rt.errors where there is one. message: a
    sentence for people. headers: of the answer.
    """

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.kind, self.message, self.headers = status, kind, message, dict(headers or {})

    def described(self) -> dict[str, Any]:
        return {"error": {"kind": self.kind, "message": self.message}}


def refusal_of(kind: str, message: str) -> Refusal:
    """The answer to a job that ended in an error of this class."""
    return Refusal(STATUS.get(kind, 500), kind, message)


def not_found(what: str) -> Refusal:
    return Refusal(404, "NotFound", f"{what}: ask GET /models for the models, and keep the addresses given")


def too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        "TooLarge",
        f"the request is larger than the {limit / 1e6:.0f} MB that this server takes (--max-upload)",
        {"Connection": "close"},
    )


def busy(queue: int) -> Refusal:
    return Refusal(
        429, "Busy", f"{queue} jobs wait already (--queue): send it again later", {"Retry-After": "10"}
    )


def stopping() -> Refusal:
    return Refusal(503, "Stopping", "the server is being stopped: send the case again when it is back")
