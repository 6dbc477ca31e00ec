"""The server's own routes: models, jobs, a case in one request, metrics, the page of a result."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

import msdk_rt
from msdk_rt.server.answers import FileOnce
from msdk_rt.server.jobs import State
from msdk_rt.server.refusals import Refusal, not_found
from msdk_rt.server.service import JSON, Service

PAGE_POLICY = "frame-ancestors 'self'"
VIEW_FILES = {"": "index.html", "image": "image", "labels": "labels"}


def routes(service: Service) -> APIRouter:
    """Each handler takes the request itself: no body is read before the token and the limits were checked."""
    router, jobs = APIRouter(), service.jobs

    @router.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "version": msdk_rt.__version__}

    @router.get("/models")
    async def models() -> dict[str, Any]:
        return {
            name: {
                "family": manifest.family,
                "channels": list(manifest.channels),
                "labels": manifest.labels,
                "sha256": manifest.sha256,
            }
            for name, manifest in service.manifests.items()
        }

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.post("/segment/{model}")
    async def segment(request: Request, model: str, format: str = "") -> Response:
        """The labels of the files in the request, or with format=json what is in them."""
        job, upload = await service.upload(request, model)
        service.submit(job, upload.files.get("file", []), format, upload.fields.get("series"))
        await service.wait(request, job)
        if format != JSON:
            return FileOnce(job.result, lambda: jobs.remove(job))
        entries = job.described()
        jobs.remove(job)
        return JSONResponse({name: entries[name] for name in ("model", "labels", "label_values", "warnings")})

    @router.post("/jobs/{model}", status_code=202)
    async def start(request: Request, model: str, format: str = "", view: bool = False) -> dict[str, Any]:
        """Queue the files of the request; view: make the page that shows the labels too."""
        job, upload = await service.upload(request, model)
        service.submit(job, upload.files.get("file", []), format, upload.fields.get("series"), view)
        return job.described()

    @router.get("/jobs/{job_id}")
    async def state(job_id: str) -> dict[str, Any]:
        return jobs.find(job_id).described()

    @router.get("/jobs/{job_id}/result")
    async def result(job_id: str) -> Response:
        job = jobs.find(job_id)
        if job.error is not None:
            raise job.error
        if job.state is not State.DONE:
            raise Refusal(409, "NotReady", f"the job is {job.state.value}: ask again when it is done")
        return FileOnce(job.result, lambda: None)

    @router.delete("/jobs/{job_id}")
    async def remove(job_id: str) -> dict[str, Any]:
        """Cancel a job, or remove one that has ended with its files."""
        job = jobs.find(job_id)
        jobs.cancel(job)
        jobs.remove(job)
        return job.described()

    @router.get("/view/{view}/{name:path}")
    async def view(view: str, name: str) -> Response:
        job = jobs.of_view(view)
        if name not in VIEW_FILES or job.state is not State.DONE or not (job.task and job.task.view):
            raise not_found("there is no such page")
        kind = "text/html; charset=utf-8" if name == "" else "application/octet-stream"
        path = job.folder / "view" / VIEW_FILES[name]
        return FileResponse(path, media_type=kind, headers={"Content-Security-Policy": PAGE_POLICY})

    return router
