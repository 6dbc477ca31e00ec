"""`msdk-rt serve`: its options."""

import argparse
import os
import secrets
import sys
from pathlib import Path

from msdk_rt.artifact.served_name import served_name_of
from msdk_rt.cohort.opening import Opening
from msdk_rt.commands import opening_arguments
from msdk_rt.commands.command import Command
from msdk_rt.commands.extras import check_extra
from msdk_rt.errors import InputError

TOKEN = "MSDK_RT_TOKEN"
NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "msdk_rt_viewer")
EXAMPLES = """examples:
  msdk-rt serve model.onnx
  msdk-rt serve brain=model.onnx lesions=other.onnx --port 8080
  curl -H "Authorization: Bearer $MSDK_RT_TOKEN" -F file=@t1.nii.gz -o labels.nii.gz \\
    http://127.0.0.1:8000/segment/model

The first line on stdout is the address of the page, with the token in it. Without MSDK_RT_TOKEN in the
environment the token is a new one each time. The server listens on this machine alone, unless --host says
otherwise; then put something before it that encrypts. 3D Slicer's extension MONAILabel takes the address as
its server and the token as the password. Needs the extra msdk_rt[serve]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]MODEL",
        help="model.onnx or model.msdk, under the name of its file or another",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (default: 8000)")
    parser.add_argument("--no-token", action="store_true", help="answer everybody on this machine")
    parser.add_argument(
        "--max-upload", type=float, default=2048, metavar="MB", help="of one request (default: 2048)"
    )
    parser.add_argument(
        "--queue", type=int, default=16, metavar="N", help="jobs that wait or run at most (default: 16)"
    )
    parser.add_argument(
        "--job-seconds", type=float, default=3600, metavar="S", help="of one job at most (default: 3600)"
    )
    parser.add_argument(
        "--keep", type=int, default=32, metavar="N", help="finished jobs kept at most (default: 32)"
    )
    parser.add_argument(
        "--keep-seconds", type=float, default=3600, metavar="S", help="they are kept so long (default: 3600)"
    )
    parser.add_argument(
        "--spool",
        type=Path,
        metavar="FOLDER",
        help="for uploads and results (default: one in the system's temporary folder, this user's alone)",
    )
    opening_arguments.add_arguments(parser, names_axes=False)


def run(options: argparse.Namespace) -> int:
    """Serve until it is stopped, which is no failure."""
    check_extra("the server", NEEDED, "serve")
    import asyncio

    from msdk_rt.server.limits import Limits
    from msdk_rt.server.serving import Settings, serve

    limits = Limits(
        int(options.max_upload * 1e6), options.queue, options.job_seconds, options.keep, options.keep_seconds
    )
    if min(limits.upload, limits.queue, limits.seconds, limits.keep_seconds) <= 0 or limits.kept < 0:
        raise InputError(
            "--max-upload, --queue, --job-seconds and --keep-seconds must be above 0, --keep 0 or more"
        )
    settings = Settings(_models(options), options.host, options.port, _token(options), limits, options.spool)
    if options.no_token and not settings.is_loopback:
        raise InputError(f"--no-token would let everybody in who reaches {options.host}: leave it out")
    if not settings.is_loopback:
        _say(f"warning: {options.host} is not this machine alone, and nothing here encrypts")
    is_first = True

    def tell(line: str) -> None:
        nonlocal is_first
        if line.startswith("http") and is_first:
            is_first = False
            print(f"{line}#{settings.token}" if settings.token else line, flush=True)
        else:
            _say(line)

    try:
        asyncio.run(serve(settings, tell))
    except KeyboardInterrupt:
        _say("stopped")
    return 0


def _say(line: str) -> None:
    print(f"msdk-rt: {line}", file=sys.stderr, flush=True)


def _models(options: argparse.Namespace) -> dict[str, Opening]:
    """The settings of each model by its name. Raises InputError."""
    models: dict[str, Opening] = {}
    for given in options.models:
        name, equals, path = given.partition("=")
        if not equals:
            name, path = Path(given).stem, given
        name = served_name_of(name, "as NAME=MODEL")
        if name in models:
            raise InputError(f"two models are named {name}: give them names, as NAME=MODEL")
        models[name] = opening_arguments.opening_of(options, Path(path))
    return models


def _token(options: argparse.Namespace) -> str:
    """What clients must know: the environment's, or a new one; "" for nothing. Raises InputError."""
    if options.no_token:
        return ""
    token = os.environ.get(TOKEN, "")
    if token and (len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token):
        raise InputError(f"{TOKEN} must have at least 16 printable ASCII characters and no space")
    return token or secrets.token_urlsafe(24)


COMMAND = Command("serve", "segment what clients send over HTTP", EXAMPLES, add_arguments, run)
