"""The routes of MONAI Label that its clients, 3D Slicer's among them, need to segment a volume."""

import json
import secrets
import shutil
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

import msdk_rt
from msdk_rt.artifact.manifest import Manifest
from msdk_rt.server.answers import FileOnce, form_answer, kind_of
from msdk_rt.server.images import Images
from msdk_rt.server.refusals import Refusal, not_found
from msdk_rt.server.service import Service
from msdk_rt.server.uploads import receive

MOST_LOGIN_BYTES = 8192
SEG = "seg.dcm"
OUTPUTS = ("", "all", "image", "json", "dicom_seg")


def monailabel_routes(service: Service, images: Images) -> APIRouter:
    """info, auth, datastore, sessions and infer. There is no training: its routes are not found."""
    router, jobs = APIRouter(), service.jobs

    @router.get("/auth/")
    async def auth() -> dict[str, Any]:
        return {"enabled": bool(service.token)}

    @router.post("/auth/token")
    async def login(request: Request) -> dict[str, str]:
        """The token for whoever gives it as the password; the user's name does not matter."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_LOGIN_BYTES:
                raise Refusal(413, "TooLarge", "expected a user name and a password", {"Connection": "close"})
        password = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        if not service.knows(password):
            raise Refusal(401, "Unauthorized", "the password must be the token that the server printed")
        return {"access_token": password, "token_type": "bearer"}

    @router.get("/auth/token/valid")
    async def valid() -> dict[str, Any]:
        return {}

    @router.get("/info/")
    async def info() -> dict[str, Any]:
        return _info(service.manifests)

    @router.get("/datastore/")
    async def datastore() -> dict[str, Any]:
        """MONAI Label's `output=all`; the other forms have no use without training."""
        return {"objects": {name: {"image": {"info": {}}, "labels": {}} for name in images.names()}}

    @router.put("/datastore/")
    @router.put("/datastore/image")
    async def add(request: Request, image: str = "") -> dict[str, str]:
        return {"image": await _keep(request, image)}

    @router.get("/datastore/image")
    @router.head("/datastore/image")
    async def download(image: str) -> Response:
        path = images.find(image)
        return FileResponse(path, media_type=kind_of(path), filename=path.name)

    @router.delete("/datastore/")
    @router.delete("/datastore/image")
    async def forget(id: str) -> dict[str, Any]:
        images.forget(id)
        return {}

    @router.put("/session/")
    async def open_session(request: Request) -> dict[str, Any]:
        return {"session_id": await _keep(request, secrets.token_hex(16))}

    @router.get("/session/{session_id}")
    async def session(session_id: str) -> dict[str, Any]:
        images.find(session_id)
        return {"name": session_id}

    @router.delete("/session/{session_id}")
    async def close_session(session_id: str) -> dict[str, Any]:
        images.forget(session_id)
        return {}

    @router.post("/infer/{model}")
    async def infer(
        request: Request, model: str, image: str = "", session_id: str = "", output: str = ""
    ) -> Response:
        """The labels of an image of the datastore, of a session, or of the request's part `file`."""
        if output not in OUTPUTS:
            raise Refusal(400, "InputError", f"expected an output among {', '.join(OUTPUTS[1:])}")
        known = session_id or image
        source = images.find(known) if known and known in images.names() else None
        job, upload = await service.upload(request, model)
        files = upload.files.get("file", [])
        if source is not None and not files:
            files = [job.folder / source.name]
            shutil.copyfile(source, files[0])  # it may be removed before its turn comes
        elif not files:
            jobs.cancel(job)
            raise not_found(f"there is no image or session {known!r}: send it first, or as the part `file`")
        service.submit(job, files, SEG if output == "dicom_seg" else "")
        await service.wait(request, job)
        entries = job.described()
        params = {"label_names": _foreground(entries["label_values"]), "volumes": entries["labels"]}
        if output in ("image", "dicom_seg"):
            return FileOnce(job.result, lambda: jobs.remove(job))
        try:
            if output == "json":
                return JSONResponse(params)
            return form_answer(json.dumps(params), f"{job.id}.nii.gz", job.result)
        finally:
            jobs.remove(job)

    async def _keep(request: Request, name: str) -> str:
        """The name under which the image in the request is kept now."""
        place = images.place()
        try:
            upload = await receive(request, place, service.limits.upload)
            files = [path for paths in upload.files.values() for path in paths]
            if len(files) != 1:
                raise Refusal(400, "InputError", f"got {len(files)} files, expected one image")
        except BaseException:
            images.give_up(place)
            raise
        service.metrics.uploaded.inc(upload.size)
        return images.add(name, upload.names[files[0]], files[0])

    return router


def _info(manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    models = {
        name: {
            "type": "segmentation",
            "labels": _foreground(manifest.labels),
            "dimension": 3,
            "description": f"{manifest.family} on {', '.join(manifest.channels)}",
            "config": {},
        }
        for name, manifest in manifests.items()
    }
    labels = dict.fromkeys(name for manifest in manifests.values() for name in _foreground(manifest.labels))
    return {
        "name": "msdk_rt",
        "description": "msdk-rt serve",
        "version": msdk_rt.__version__,
        "labels": list(labels),
        "models": models,
        "trainers": {},
        "strategies": {},
        "scoring": {},
        "train_stats": {},
        "datastore": {},
        "config": {},
    }


def _foreground(labels: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in labels.items() if value != 0}
