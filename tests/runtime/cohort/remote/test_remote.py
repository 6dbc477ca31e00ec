"""Cases and results in an S3 store: what a run on paths gives, kept, resumed and refused as there."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from msdk_rt.commands.main import main
from tests.runtime.cohort.folders import images_in, run, write_scan
from tests.runtime.cohort.remote.conftest import COUNT

IN, OUT = "s3://cohort/scans", "s3://cohort/out"
MAIN = "from msdk_rt.commands.main import main; raise SystemExit(main())"
ALL = {f"out/{index}.nii.gz" for index in range(COUNT)}


@pytest.fixture
def plain(artifact, scans, tmp_path):
    assert run(artifact, scans, "-o", tmp_path / "plain") == 0
    return tmp_path / "plain"


@pytest.fixture
def stored(store, scans):
    store.put(scans, "scans")
    return store


def reported(capsys):
    return json.loads(capsys.readouterr().out)


def labels_in(store):
    return {key for key in store.keys("out/") if key.endswith(".nii.gz")}


def assert_as_plain(store, plain):
    assert labels_in(store) == ALL
    for name in images_in(plain):
        assert store.read(f"out/{name}") == (plain / name).read_bytes()
        record = json.loads(store.read(f"out/{name}.json"))["Provenance"]
        expected = json.loads((plain / f"{name}.json").read_text())["Provenance"]
        assert record["files"] == expected["files"]
        assert record["labels"] == expected["labels"]


def test_a_folder_is_segmented_as_on_a_disk_and_then_kept(artifact, stored, plain, capsys):
    assert run(artifact, IN, "-o", OUT, "--json") == 0
    report = reported(capsys)
    assert [case["output"] for case in report["cases"]] == [f"{OUT}/{index}.nii.gz" for index in range(COUNT)]
    assert [case["inputs"] for case in report["cases"]] == [
        [f"{IN}/{index}.nii.gz"] for index in range(COUNT)
    ]
    assert_as_plain(stored, plain)
    assert json.loads(stored.read("out/report.json")) == report
    assert stored.read("out/volumes.tsv") == (plain / "volumes.tsv").read_bytes()
    assert stored.read("out/qc.html").count(b"data:image/png") == COUNT
    made = stored.keys("out/")
    stored.seen.clear()
    assert run(artifact, IN, "-o", OUT, "--json") == 0
    assert all(case["kept"] for case in reported(capsys)["cases"])
    after = stored.keys("out/")
    assert {key: after[key] for key in made if key in ALL} == {key: made[key] for key in ALL}
    assert not [path for method, path in stored.seen if method == "GET" and "scans/" in path]
    assert stored.read("out/qc.html").count(b"data:image/png") == COUNT


def test_what_changed_is_made_again(artifact, stored, plain, scans, tmp_path, capsys):
    assert run(artifact, IN, "-o", OUT) == 0
    (tmp_path / "new").mkdir()
    write_scan(tmp_path / "new" / "2.nii.gz", 99)
    stored.put(tmp_path / "new", "scans")
    assert run(artifact, IN, "-o", OUT, "--json") == 0
    told = capsys.readouterr()
    assert [case["case"] for case in json.loads(told.out)["cases"] if not case.get("kept")] == ["2"]
    assert "2: segmented again, since its input has changed since" in told.err
    assert run(artifact, IN, "-o", OUT, "--overlap", "0.25", "--json") == 0
    assert not [case for case in reported(capsys)["cases"] if case.get("kept")]


@pytest.mark.parametrize("ends", [("a path", OUT), (IN, "a path")])
def test_one_end_may_be_a_path(ends, artifact, stored, plain, scans, tmp_path, capsys):
    source, target = (
        (scans if ends[0] == "a path" else IN),
        (tmp_path / "here" if ends[1] == "a path" else OUT),
    )
    assert run(artifact, source, "-o", target) == 0
    if target == OUT:
        assert_as_plain(stored, plain)
    else:
        for name in images_in(plain):
            assert (target / name).read_bytes() == (plain / name).read_bytes()
    assert run(artifact, source, "-o", target, "--json") == 0
    assert all(case["kept"] for case in reported(capsys)["cases"])


def test_files_of_the_web_and_a_file_url(artifact, scans, plain, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=scans,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            address = server.stdout.readline().split("(")[1].split(")")[0].rstrip("/")
            assert run(artifact, f"{address}/3.nii.gz", "-o", tmp_path / "one.nii.gz") == 0
            assert run(artifact, f"{address}/", "-o", (tmp_path / "web").as_uri()) == 0
        finally:
            server.terminate()
    assert (tmp_path / "one.nii.gz").read_bytes() == (plain / "3.nii.gz").read_bytes()
    assert images_in(tmp_path / "web") == images_in(plain)
    record = json.loads((tmp_path / "web" / "3.nii.gz.json").read_text())["Provenance"]
    assert record["inputs"][0]["version"].startswith("Last-Modified ")


def test_what_the_store_refuses_is_reported_and_the_rest_is_done(artifact, stored, plain, capsys):
    stored.fails = {("GET", "scans/1.nii.gz"): 403, ("PUT", "out/3.nii.gz"): 403}
    assert run(artifact, IN, "-o", OUT, "--json") == 1
    errors = {case["case"]: case["error"] for case in reported(capsys)["cases"] if "error" in case}
    assert errors.keys() == {"1", "3"}
    assert errors["1"].startswith(f"cannot fetch {IN}/1.nii.gz: Forbidden; give this user the permission")
    assert errors["3"].startswith(f"cannot write {OUT}/3.nii.gz: Forbidden; ")
    assert labels_in(stored) == ALL - {"out/1.nii.gz", "out/3.nii.gz"}
    assert json.loads(stored.read("out/report.json"))["cases"][1]["error"] == errors["1"]
    stored.fails = {}
    assert run(artifact, IN, "-o", OUT) == 0
    assert_as_plain(stored, plain)


def test_an_input_that_is_gone_when_its_turn_comes(artifact, stored, capsys):
    client, gone = stored.client(), []

    def remove(method, path):
        if method == "GET" and path.endswith("scans/0.nii.gz") and not gone:
            gone.append(path)
            client.delete_object(Bucket="cohort", Key="scans/4.nii.gz")

    stored.before = remove
    assert run(artifact, IN, "-o", OUT, "--json") == 1
    errors = [case["error"] for case in reported(capsys)["cases"] if "error" in case]
    assert errors == [f"no file at {IN}/4.nii.gz"]


@pytest.mark.parametrize("key", ["out/2.nii.gz.json", "out/qc/2.png", "out/2.nii.gz"])
def test_killed_while_it_writes_and_resumed(key, artifact, stored, plain, temporary, capsys):
    """Whatever file of a result it was about to write: no labels are there with another's record."""
    driver = []

    def kill(method, path):
        if method == "PUT" and path.endswith(key):
            os.kill(driver[0].pid, signal.SIGKILL)

    stored.before = kill
    command = [sys.executable, "-c", MAIN, "run", str(artifact), IN, "-o", OUT, "--threads", "1"]
    driver.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
    assert driver[0].wait(120) == -signal.SIGKILL
    stored.before = lambda method, path: None
    assert labels_in(stored) < ALL
    (left,) = temporary.iterdir()
    assert left.stat().st_mode & 0o77 == 0  # nobody else reads the scans
    assert run(artifact, IN, "-o", OUT, "--json") == 0
    kept = [case["case"] for case in reported(capsys)["cases"] if case.get("kept")]
    assert {"0", "1"} <= set(kept)
    assert_as_plain(stored, plain)


def test_parts_share_a_table(artifact, stored, capsys):
    assert run(artifact, IN, "-o", OUT, "--part", "1/2") == 0
    assert stored.read("out/volumes.tsv").decode().count("not segmented yet") == 2
    assert run(artifact, IN, "-o", OUT, "--part", "2/2") == 0
    table = stored.read("out/volumes.tsv").decode()
    assert [f"\n{index}\t" in table for index in range(COUNT)] == [True] * COUNT
    assert "not segmented yet" not in table
    assert stored.read("out/qc.html").count(b"data:image/png") == COUNT


def test_somebody_elses_file_stays(artifact, stored, plain, tmp_path, capsys):
    (tmp_path / "theirs").mkdir()
    shutil.copy(plain / "0.nii.gz", tmp_path / "theirs" / "1.nii.gz")
    stored.put(tmp_path / "theirs", "out")
    assert run(artifact, IN, "-o", OUT, "--json") == 1
    (error,) = [case["error"] for case in reported(capsys)["cases"] if "error" in case]
    assert error.startswith(
        f"{OUT}/1.nii.gz has no record 1.nii.gz.json of what made it: --overwrite replaces"
    )
    assert stored.read("out/1.nii.gz") == (plain / "0.nii.gz").read_bytes()
    assert run(artifact, IN, "-o", OUT, "--overwrite") == 0
    assert_as_plain(stored, plain)


def test_maps_of_an_earlier_result_go_with_it(artifact, stored, capsys):
    assert run(artifact, f"{IN}/0.nii.gz", "-o", f"{OUT}/0.nii.gz", "--probabilities") == 0
    assert "out/0_probabilities.nii.gz" in stored.keys("out")
    assert run(artifact, f"{IN}/0.nii.gz", "-o", f"{OUT}/0.nii.gz", "--probabilities", "--json") == 0
    assert reported(capsys)["cases"][0]["kept"]
    assert run(artifact, f"{IN}/0.nii.gz", "-o", f"{OUT}/0.nii.gz", "--overlap", "0.25") == 0
    assert set(stored.keys("out/")) == {"out/0.nii.gz", "out/0.nii.gz.json"}


def test_every_entry_of_a_store_is_accounted_for(artifact, stored, tmp_path, capsys):
    client = stored.client()
    for key in ("scans/notes.doc", "scans/more/7.nii.gz", "scans/../evil.nii.gz", "scans/._0.nii.gz"):
        client.put_object(Bucket="cohort", Key=key, Body=b"?")
    client.put_object(Bucket="cohort", Key="scans/short.nii.gz", Body=b"?")
    assert run(artifact, IN, "-o", f"{IN}/results", "--json") == 1
    report = reported(capsys)
    left_out = {entry["path"]: entry["reason"] for entry in report["left_out"]}
    assert left_out.keys() == {IN, *(f"{IN}/{name}" for name in ("notes.doc", "more", "._0.nii.gz"))}
    assert "holds '..', a name that no file can have here" in left_out[IN]
    errors = {case["case"]: case["error"] for case in report["cases"] if "error" in case}
    assert errors.keys() == {"short"}
    assert f"{IN}/short.nii.gz" in errors["short"]
    assert str(tmp_path) not in json.dumps(report["cases"])
    assert run(artifact, IN, "-o", f"{IN}/results", "--json") == 1
    assert reported(capsys)["cohort"] == report["cohort"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((IN, "-o", "s3://missing/out"), "cannot write into s3://missing/out: The specified bucket does not"),
        (
            ("s3://missing/scans", "-o", "out"),
            "cannot list s3://missing/scans: The specified bucket does not",
        ),
        (("s3://cohort/nothing", "-o", "out"), "cannot list s3://cohort/nothing: nothing is there"),
        (("s3://cohort/no.nii.gz", "-o", "out"), "no file at s3://cohort/no.nii.gz"),
        (("gs://bucket/scans", "-o", "out"), "fsspec lacks the library for gs://: Please install gcsfs"),
        ((IN, "-o", "nowhere://out"), "fsspec knows no nowhere://"),
        ((IN, "-o", "https://127.0.0.1/out"), "https://127.0.0.1/out can only be read"),
        ((IN, "-o", IN), f"{IN} is an input: give another output"),
        (("s3://cohort/a.zip", "-o", "out"), "s3://cohort/a.zip is an archive: DICOM is read from paths"),
        ((IN, "-o", "s3://cohort/out.mhd"), "cannot write s3://cohort/out.mhd: .mhd is no format"),
    ],
)
def test_what_cannot_be_is_one_sentence(given, told, artifact, stored, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(artifact, *given) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if told in line] == lines[-1:]
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://key:secret@bucket/scans", "with a user or a password"),
        ("https://host/a.nii.gz?signature=secret", "with a query or a fragment"),
        ("memory://scans", "memory:// ends with the process"),
        ("simplecache::s3://bucket/scans", "is a chain of URLs"),
        ("zip://a.nii.gz::s3://bucket/a.zip", "is a chain of URLs"),
        ("s3://", "names no file or folder"),
        ("file://elsewhere/scans", "is on another machine, elsewhere"),
    ],
)
def test_a_url_of_no_use_is_refused(url, told, artifact, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", str(artifact), url, "-o", "out"])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert told in message
    assert "secret" not in message


def test_without_the_extra(artifact, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    assert run(artifact, IN, "-o", "out") == 1
    assert (
        "needs fsspec, and fsspec.core is not installed: pip install 'msdk_rt[remote]'"
        in capsys.readouterr().err
    )
