"""What the routes share: the models, the jobs, and the way of a request through them."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from msdk_rt.artifact.manifest import Manifest
from msdk_rt.imaging.formats import RESULTS, listed
from msdk_rt.server.jobs import Job, Jobs, State
from msdk_rt.server.limits import Limits
from msdk_rt.server.metrics import Metrics
from msdk_rt.server.refusals import Refusal, not_found
from msdk_rt.server.tasks import Task
from msdk_rt.server.uploads import Upload, receive

NIFTI = ".nii.gz"
JSON = "json"


@dataclass(frozen=True)
class Service:
    """manifests: by the model's name. jobs, limits, metrics: of the server. token: "" where none is asked."""

    manifests: Mapping[str, Manifest]
    jobs: Jobs
    limits: Limits
    metrics: Metrics
    token: str

    def manifest(self, model: str) -> Manifest:
        """Raises Refusal."""
        if model not in self.manifests:
            raise not_found(f"there is no model of that name, this server has {', '.join(self.manifests)}")
        return self.manifests[model]

    def knows(self, token: str) -> bool:
        """Whether it is the server's token, or none is needed."""
        return not self.token or secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    async def upload(self, request: Request, model: str) -> tuple[Job, Upload]:
        """A job with the files of the request in its folder. Raises Refusal, and then nothing is left."""
        self.manifest(model)
        job = self.jobs.open(model)
        try:
            upload = await receive(request, job.folder, self.limits.upload)
        except BaseException:
            self.jobs.cancel(job)
            raise
        self.metrics.uploaded.inc(upload.size)
        if not job.is_active:  # the server is being stopped
            raise job.error or not_found("the job has ended")
        return job, upload

    def submit(
        self, job: Job, files: list[Path], form: str, series: list[str] | None = None, view: bool = False
    ) -> None:
        """Queue a job. form: of the result, a suffix with or without its dot, or json. Raises Refusal."""
        try:
            self._check_files(job, files)
            suffix = suffix_of(form)
        except Refusal:
            self.jobs.cancel(job)
            raise
        place = job.folder / "view"
        if view:
            place.mkdir()
        job.result = job.folder / f"labels{suffix}"
        self.jobs.submit(
            job,
            Task(
                job.id,
                job.model,
                tuple(map(str, files)),
                tuple(series or ()),
                str(job.result),
                str(place) if view else "",
            ),
        )

    async def wait(self, request: Request, job: Job) -> None:
        """Wait for the job's end. A client that hangs up cancels it. Raises Refusal."""
        gone, over = asyncio.ensure_future(_hung_up(request)), asyncio.ensure_future(job.over.wait())
        try:
            await asyncio.wait({gone, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            over.cancel()
            self.jobs.cancel(job)
        if job.state is not State.DONE:
            self.jobs.remove(job)
            raise job.error or not_found("the job has ended")

    def _check_files(self, job: Job, files: list[Path]) -> None:
        channels = self.manifest(job.model).channels
        if len(files) not in (1, len(channels)):
            raise Refusal(
                400,
                "InputError",
                f"got {len(files)} file(s), expected a part `file` for each of {', '.join(channels)}, in "
                "this order, or one file that holds them all",
            )


def suffix_of(form: str) -> str:
    """The suffix of a result, of its name in a request. Raises Refusal."""
    suffix = NIFTI if form in ("", JSON) else f".{form.lstrip('.')}"
    if suffix not in RESULTS:
        raise Refusal(400, "InputError", f"expected a format among {listed(RESULTS)} or json, got another")
    return suffix


async def _hung_up(request: Request) -> None:
    """Return when the client is gone."""
    while True:
        if (await request.receive())["type"] == "http.disconnect":
            return
