"""A case in one request, jobs, results in every form, and what a request must not be."""

import gzip
import io
import time
import zipfile

import nibabel
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from msdk_rt.commands.main import main
from tests.runtime.server.conftest import write_scan
from tests.support.dicom_series import write_series


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A zip of one DICOM series, and the folder."""
    folder = tmp_path_factory.mktemp("study")
    voxels = np.random.default_rng(5).integers(0, 900, (20, 18, 16)).astype(np.int16)
    write_series(folder / "series", voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
    path = folder / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((folder / "series").iterdir()):
            archive.write(file, f"a/{file.name}")
    return path, folder / "series"


def test_labels_are_those_of_run(server, scans, expected):
    for scan, labels in zip(scans, expected, strict=True):
        answer = server.send("/segment/model", scan)
        assert answer.status == 200
        assert answer.content == labels
    assert server.left() == []


def test_json_tells_volumes(server, scans, expected):
    entries = server.send("/segment/model?format=json", scans[0]).json()
    values = np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(expected[0])).dataobj)
    assert entries["labels"]["class1"]["voxels"] == np.count_nonzero(values == 1)
    assert entries["label_values"] == {"class0": 0, "class1": 1}


def test_a_job_runs_and_is_removed(server, scans, expected):
    answer = server.send("/jobs/model?view=true", scans[1])
    assert answer.status == 202
    job = answer.json()["id"]
    entries = server.wait_for(job, "done")
    assert entries["windows"]["done"] == entries["windows"]["total"] > 0
    assert server.ask("GET", entries["result"]).content == expected[1]
    page = server.ask("GET", entries["view"], token="")
    assert page.status == 200
    assert b"class1" in page.content
    assert "frame-ancestors" in page.headers["content-security-policy"]
    assert gzip.decompress(server.ask("GET", entries["view"] + "labels", token="").content)
    assert gzip.decompress(server.ask("GET", entries["view"] + "image", token="").content)
    for path in (entries["view"] + "../..", entries["view"] + "other", "/view/x/"):
        assert server.ask("GET", path, token="").kind() == (404, "NotFound")
    assert server.ask("DELETE", f"/jobs/{job}").status == 200
    assert server.ask("GET", f"/jobs/{job}").kind() == (404, "NotFound")
    assert server.ask("GET", entries["view"], token="").status == 404
    assert server.left() == []


def test_a_model_with_two_channels(server, models, scans, tmp_path):
    out = tmp_path / "labels.nii.gz"
    assert main(["run", str(models[1]), str(scans[0]), str(scans[1]), "-o", str(out), "--quiet"]) == 0
    assert server.send("/segment/pair", scans[0], scans[1]).content == out.read_bytes()
    assert server.send("/segment/pair", scans[0], scans[1], scans[2]).kind() == (400, "InputError")
    assert server.send("/segment/pair", scans[0]).kind() == (400, "InputError")
    assert server.send("/segment/model", scans[0], scans[1]).kind() == (400, "InputError")


@pytest.mark.parametrize("form", ["nii.gz", "nii", "seg.dcm", "rtstruct.dcm"])
def test_dicom_in_every_form(server, models, study, tmp_path, form):
    archive, series = study
    answer = server.send(f"/segment/model?format={form}", archive, series="3")
    assert answer.status == 200
    out = tmp_path / f"labels.{form}"
    assert main(["run", str(models[0]), str(series), "-o", str(out), "--quiet"]) == 0
    if form.endswith(".dcm"):
        import pydicom

        ours, theirs = pydicom.dcmread(io.BytesIO(answer.content)), pydicom.dcmread(out)
        assert answer.headers["content-type"] == "application/dicom"
        assert ours.PatientName == theirs.PatientName
        assert ours.get("PixelData") == theirs.get("PixelData")
    else:
        assert answer.content == out.read_bytes()
    assert server.left() == []


def test_a_page_of_a_dicom_result(server, study):
    job = server.send("/jobs/model?view=true&format=seg.dcm", study[0]).json()["id"]
    entries = server.wait_for(job, "done")
    assert gzip.decompress(server.ask("GET", entries["view"] + "labels", token="").content)
    server.ask("DELETE", f"/jobs/{job}")


def test_a_job_is_cancelled_while_it_runs_and_while_it_waits(server, scans, expected, tmp_path):
    large = write_scan(tmp_path / "large.nii", 1, (90, 80, 70))
    running = server.send("/jobs/model", large).json()["id"]
    waiting = server.send("/jobs/model", large).json()["id"]
    server.wait_for(running, "running")
    while not server.wait_for(running, "running")["windows"]["done"]:
        time.sleep(0.01)
    for job in (waiting, running):
        assert server.ask("DELETE", f"/jobs/{job}").json()["state"] == "cancelled"
    assert server.send("/segment/model", scans[0]).content == expected[0]
    for job in (waiting, running):
        assert server.ask("GET", f"/jobs/{job}").kind() == (404, "NotFound")
    assert server.left() == []
    assert server.figures()["msdk_rt_worker_starts"] == 1


def test_the_queue_has_an_end(server, tmp_path):
    large = write_scan(tmp_path / "large.nii", 1, (90, 80, 70))
    answers = [server.send("/jobs/model", large) for _ in range(6)]
    assert [answer.status for answer in answers] == [202] * 4 + [429] * 2
    assert answers[-1].kind() == (429, "Busy")
    assert answers[-1].headers["retry-after"] == "10"
    for answer in answers[:4]:
        server.ask("DELETE", f"/jobs/{answer.json()['id']}")
    assert server.left() == []


def test_only_some_results_are_kept(server, scans):
    jobs = []
    for _ in range(7):
        jobs.append(server.send("/jobs/model", scans[0]).json()["id"])
        server.wait_for(jobs[-1], "done")
    states = [server.ask("GET", f"/jobs/{job}").status for job in jobs]
    assert states == [404] + [200] * 6  # the sixth is let go when an eighth comes
    for job in jobs[1:]:
        server.ask("DELETE", f"/jobs/{job}")


def test_a_result_before_it_is_there(server, tmp_path):
    large = write_scan(tmp_path / "large.nii", 1, (90, 80, 70))
    job = server.send("/jobs/model", large).json()["id"]
    assert server.ask("GET", f"/jobs/{job}/result").kind() == (409, "NotReady")
    server.ask("DELETE", f"/jobs/{job}")


def test_prometheus_reads_the_metrics(server):
    text = server.ask("GET", "/metrics").content.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["msdk_rt_jobs"].samples
    assert families["msdk_rt_job_seconds"].type == "histogram"


def test_what_is_open_and_what_is_not(server):
    for path in ("/", "/page.js", "/page.css", "/health", "/auth/"):
        answer = server.ask("GET", path, token="")
        assert answer.status == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    for path in ("/models", "/metrics", "/info/", "/jobs/x", "/openapi.json", "/nothing", "/datastore/"):
        for token in ("", "wrong", "the-token-of-the-tests-012345678"):
            assert server.ask("GET", path, token=token).kind() == (401, "Unauthorized")
    other = server.ask("GET", "/models", headers={"Host": "evil.example"})
    assert other.kind() == (421, "WrongHost")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "NotFound")),
        ("PATCH", "/models", (405, "BadRequest")),
        ("POST", "/segment/model", (415, "BadRequest")),
        ("GET", "/jobs/x", (404, "NotFound")),
        ("GET", "/datastore/image", (400, "BadRequest")),
    ],
)
def test_wrong_requests_have_one_form(server, method, path, expected):
    assert server.ask(method, path).kind() == expected


def test_an_unknown_model_and_format(server, scans):
    assert server.send("/segment/other", scans[0]).kind() == (404, "NotFound")
    assert server.send("/segment/model?format=exe", scans[0]).kind() == (400, "InputError")
    assert server.left() == []


def test_no_log_names_a_file(server, tmp_path):
    scan = write_scan(tmp_path / "SECRETNAME.nii.gz", 4)
    assert server.send("/segment/model", scan).status == 200
    refused = server.send("/segment/model", ("SECRETNAME.nii.gz", b"no image"))
    assert b"SECRET" not in refused.content
    assert str(server.spool).encode() not in refused.content
    assert "SECRET" not in server.stderr.read_text()
