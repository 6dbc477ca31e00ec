"""A worker in this process: what it opens lasts for its life."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

import msdk_rt
from msdk_rt.artifact.files import remove_leftovers
from msdk_rt.cohort.cluster.worker import Worker
from msdk_rt.cohort.opening import Opening
from msdk_rt.cohort.plan import plan
from msdk_rt.cohort.records import shared_identity
from tests.runtime.cohort.folders import write_scan
from tests.support.small_model import describe


@contextlib.contextmanager
def opened(artifact, out):
    """A worker of a model for which no result is plausible."""
    manifest = describe(artifact, labels={"background": 0, "class1": 1}, plausible_ml={"class1": [100, 200]})
    out.mkdir(exist_ok=True)
    opening = Opening(artifact, threads=1)
    worker = Worker(opening, opening.request(manifest), out, msdk_rt.__version__, 1)
    assert not asyncio.run(worker.open()).fault
    try:
        yield worker
    finally:
        worker._held.close()  # as the end of its process does


def test_a_case_keeps_its_warnings(artifact, tmp_path, capsys):
    (case,) = plan([write_scan(tmp_path / "brain.nii.gz")], ["m0"], tmp_path / "out").cases
    with opened(artifact, tmp_path / "out") as worker:
        answer = asyncio.run(worker.segment(case, shared_identity(case)))
    (warned,) = answer.outcome.record["warnings"]
    assert "class1" in warned
    assert "probably wrong" in warned
    assert any(warned in line for line in answer.lines)
    assert "probably wrong" not in capsys.readouterr().err


def test_its_folder_is_no_leftover_to_other_processes(artifact, tmp_path):
    with opened(artifact, tmp_path / "out") as worker:
        place = worker._staging._folder
        assert place.is_dir()
        remove_leftovers(Path(tempfile.gettempdir()))
        assert place.is_dir()
    assert not place.exists()
