"""The process that holds the models and segments one case after the other, for the server that started it.

The first line of stdin names the models; each further one is a task, or the job that is cancelled. Each line
of stdout is an answer: ready, how far a job is, or how it ended. The process ends when stdin does, at once:
results are whole or not there.
"""

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from msdk_rt.artifact.files import atomic_write
from msdk_rt.cohort.cases import Case
from msdk_rt.cohort.opening import Opening
from msdk_rt.cohort.plan import plan
from msdk_rt.cohort.records import identity
from msdk_rt.cohort.results import write_result
from msdk_rt.cohort.warned import Collected, collecting_warnings
from msdk_rt.errors import MsdkError, OutputError, one_line
from msdk_rt.imaging.formats import is_image_name
from msdk_rt.imaging.results import Segmentation
from msdk_rt.imaging.volumes import read_volume
from msdk_rt.segmenter import Segmenter
from msdk_rt.server.tasks import Task, line, opening_of, task_of
from msdk_rt.viewer.page import page_of_server
from msdk_rt.viewer.subject import Found, load

VIEW_LABELS = "labels.nii.gz"


class Cancelled(Exception):
    """Nobody wants the result any more."""


class Worker:
    """Segments tasks in order. answers: takes the lines for the server."""

    def __init__(self, openings: dict[str, Opening], answers: IO[bytes]):
        self._openings, self._answers = openings, answers
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._segmenters: dict[str, Segmenter] = {}

    def hear(self, said: Iterable[bytes]) -> None:
        """Take the server's lines; the process ends with them."""
        for text in said:
            message = json.loads(text)
            if "cancel" in message:
                self._cancelled.add(message["cancel"])
            else:
                self._tasks.put(task_of(message["task"]))
        os._exit(0)

    def run(self) -> None:
        """Open the models, then segment for ever."""
        with collecting_warnings() as warned:
            try:
                self._segmenters = {name: opening.open() for name, opening in self._openings.items()}
            except MsdkError as error:
                self._say({"refused": one_line(error)})
                return
            models = {name: self._of_model(name) for name in self._segmenters}
            self._say({"ready": models, "warnings": warned.take()})
            while True:
                task = self._tasks.get()
                self._say({"ended": task.job, **self._outcome(task, warned)})
                self._cancelled.discard(task.job)

    def _of_model(self, name: str) -> dict[str, Any]:
        segmenter = self._segmenters[name]
        return {"providers": segmenter.providers, "threads": segmenter.threads}

    def _outcome(self, task: Task, warned: Collected) -> dict[str, Any]:
        """How a task ended: a record, an error, or cancelled."""
        warned.take()
        try:
            return {"record": self._segment(task, warned)}
        except Cancelled:
            return {"cancelled": True}
        except (MsdkError, MemoryError) as error:
            return {"error": {"kind": _kind(error), "message": _sentence(error, task)}}
        except Exception:  # a fault of ours must not end the server
            traceback.print_exc()
            return {"error": {"kind": "InternalError", "message": "a fault in msdk_rt: see the server's log"}}

    def _segment(self, task: Task, warned: Collected) -> dict[str, Any]:
        opening, segmenter = self._openings[task.model], self._segmenters[task.model]
        manifest = segmenter.manifest
        self._go_on(task)
        inputs, output = [Path(path) for path in task.inputs], Path(task.output)
        case = plan(inputs, manifest.channels, output, task.series).cases[0]
        request = replace(opening.request(manifest), made_with=opening.made_with(segmenter))
        state = identity(case)
        volume = read_volume(case.inputs, manifest.channels, manifest.orientation, case.choices)

        def watch(batches: Iterable[Any]) -> Iterator[Any]:
            whole = list(batches)
            done, total = 0, sum(map(len, whole))
            for batch in whole:
                self._go_on(task)
                yield batch
                done += len(batch)
                self._say({"job": task.job, "done": done, "total": total})

        segmentation = segmenter.run(volume, progress=watch)
        self._go_on(task)
        image = volume.space.from_model(volume.data[0])
        record = write_result(case, segmentation, image, request, state, warned.take())
        if task.view:
            self._write_page(task, case, segmentation)
        return record

    def _write_page(self, task: Task, case: Case, segmentation: Segmentation) -> None:
        """The page that shows the labels, and the two files that it asks for."""
        folder = Path(task.view)
        labels = case.output
        if not is_image_name(labels):  # DICOM, which the page does not read
            labels = folder / VIEW_LABELS
            segmentation.save(labels)
        names = segmentation.described.labels if segmentation.described else {}
        subject = load(Found(case.inputs[0], labels, names), (*case.choices, "")[0])
        for name, content in (("image", subject.image), ("labels", subject.labels)):
            with atomic_write(folder / name) as file:
                file.write(content)
        page = page_of_server(replace(subject, title=f"Labels of {task.model}"), alive=False)
        with atomic_write(folder / "index.html", "w") as file:
            file.writelines(page)

    def _go_on(self, task: Task) -> None:
        if task.job in self._cancelled:
            raise Cancelled

    def _say(self, message: dict[str, Any]) -> None:
        self._answers.write(line(message))
        self._answers.flush()


def _kind(error: Exception) -> str:
    """The class of an error; a result that cannot be of the kind asked for is the request's fault."""
    if isinstance(error, MemoryError):
        return "MemoryError"
    is_asked_wrong = isinstance(error, OutputError) and error.__cause__ is None
    return "InputError" if is_asked_wrong else type(error).__name__


def _sentence(error: Exception, task: Task) -> str:
    """What went wrong, without the folders of the server in it."""
    text = one_line(error)
    if isinstance(error, MemoryError):
        text = f"not enough memory ({text or 'none said how much'}): crop or resample it"
    for path in (*task.inputs, task.output):
        text = text.replace(f"{Path(path).parent}{os.sep}", "")
    return text


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    said = sys.stdin.buffer
    models = json.loads(said.readline())["models"]
    worker = Worker({name: opening_of(entries) for name, entries in models.items()}, answers)
    threading.Thread(target=worker.hear, args=(said,), name="msdk-hear", daemon=True).start()
    worker.run()


if __name__ == "__main__":
    main()
