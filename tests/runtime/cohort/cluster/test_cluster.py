"""A cohort on two real Ray nodes: the results of a plain run, whatever is killed meanwhile."""

import json
import re
import shutil

from tests.runtime.cohort.folders import images_in, run, write_scan
from tests.runtime.cohort.test_bids import CASES, bids, finished, results
from tests.support.ray_cluster import POISON, environment, kill, stopped, wait_until
from tests.support.system_calls import system_calls

ADDRESS = re.compile(r'(?:inet_addr\("|inet_pton\(AF_INET6, ")(?:::ffff:)?([^"]+)"')
SLOW = ("--overlap", "0.8")


def scans_in(folder, count, shape=(9, 10, 11)):
    folder.mkdir()
    for index in range(count):
        write_scan(folder / f"{index:02d}.nii.gz", index, shape=shape)
    return folder


def assert_same_results(out, plain, count):
    assert images_in(out) == [f"{index:02d}.nii.gz" for index in range(count)]
    for name in images_in(out):
        assert (out / name).read_bytes() == (plain / name).read_bytes()
        mine, theirs = (
            json.loads((place / f"{name}.json").read_text())["Provenance"] for place in (out, plain)
        )
        for volatile in ("made_with", "replaces", "files"):  # of files, the picture is not compared
            mine.pop(volatile, None), theirs.pop(volatile, None)
        assert mine == theirs


def test_every_entry_is_accounted_for(machines, artifact, tmp_path):
    """Six sound scans, one cut short, one that kills its worker, one that is no image, one that is kept."""
    scans, out, plain = scans_in(tmp_path / "scans", 6), tmp_path / "out", tmp_path / "plain"
    assert run(artifact, scans, "-o", plain) == 0
    assert run(artifact, scans / "03.nii.gz", "-o", out / "03.nii.gz") == 0
    write_scan(scans / POISON)
    (scans / "short.nii.gz").write_bytes((scans / "01.nii.gz").read_bytes()[:200])
    (scans / "notes.doc").write_text("?")
    code, reported, told = machines.run(artifact, scans, "-o", out, "--json")
    assert code == 1, told
    report = json.loads(reported)
    cases = {case["case"]: case for case in report["cases"]}
    assert list(cases) == [f"{index:02d}" for index in range(6)] + ["poison", "short"]
    assert cases["03"]["kept"] is True
    assert "2 workers died while they had it" in cases["poison"]["error"]
    assert "run it by itself" in cases["poison"]["error"]
    assert "short.nii.gz" in cases["short"]["error"]
    assert [entry["path"] for entry in report["left_out"]] == [str(scans / "notes.doc")]
    assert sum(report["cluster"]["cases_on"].values()) == 7
    assert report["providers"] == ["CPUExecutionProvider"]
    assert_same_results(out, plain, 6)
    assert report == json.loads((out / "report.json").read_text())
    assert "poison" in (out / "volumes.tsv").read_text()
    assert not list(out.glob(".msdk-*"))


def test_all_workers_and_then_the_driver_are_killed(machines, artifact, tmp_path):
    scans = scans_in(tmp_path / "scans", 10, shape=(24, 22, 20))
    out, plain = tmp_path / "out", tmp_path / "plain"
    driver = machines.start(artifact, scans, "-o", out, *SLOW)
    wait_until(lambda: images_in(out))
    first = machines.workers()
    for worker in first:  # one of them may still be opening its model, and hold no case
        kill(worker)
    wait_until(lambda: set(machines.workers()) - set(first))
    kill(driver.pid)
    _, told = driver.communicate(timeout=60)
    assert "a worker died" in told
    assert "again elsewhere" in told
    before = len(images_in(out))
    assert 0 < before < 10
    wait_until(lambda: not machines.workers())  # they end with their driver
    code, reported, told = machines.run(artifact, scans, "-o", out, *SLOW, "--json")
    assert code == 0, told
    kept = [case["case"] for case in json.loads(reported)["cases"] if case.get("kept")]
    assert before <= len(kept) < 10
    assert run(artifact, scans, "-o", plain, *SLOW) == 0
    assert_same_results(out, plain, 10)
    assert not list(out.glob(".msdk-*"))


def test_scans_and_results_in_a_store(machines, store, artifact, tmp_path):
    """A worker and the driver are killed while nothing but URLs is shared."""
    store.put(scans_in(tmp_path / "scans", 8, shape=(24, 22, 20)), "scans")
    plain = tmp_path / "plain"
    assert run(artifact, tmp_path / "scans", "-o", plain, *SLOW) == 0
    given = (artifact, "s3://cohort/scans", "-o", "s3://cohort/out", *SLOW)
    driver = machines.start(*given)
    wait_until(lambda: labels_in(store))
    first = machines.workers()
    kill(first[0])
    wait_until(lambda: set(machines.workers()) - set(first))
    kill(driver.pid)
    assert "a worker died" in driver.communicate(timeout=60)[1]
    wait_until(lambda: not machines.workers())
    before = labels_in(store)
    assert 0 < len(before) < 8
    code, reported, told = machines.run(*given, "--json")
    assert code == 0, told
    kept = {case["output"] for case in json.loads(reported)["cases"] if case.get("kept")}
    assert {f"s3://cohort/{key}" for key in before} <= kept
    assert labels_in(store) == {f"out/{name}" for name in images_in(plain)}
    for name in images_in(plain):
        assert store.read(f"out/{name}") == (plain / name).read_bytes()


def labels_in(store):
    return {key for key in store.keys("out/") if key.endswith(".nii.gz")}


def test_a_bids_dataset_in_parts(machines, dataset, model, tmp_path):
    """One part there, the other here; then there is nothing left to do."""
    output, plain = tmp_path / "derivatives", tmp_path / "plain"
    given = [dataset, output, "participant", "--model", model, "--json", "--part", "1/2"]
    code, reported, told = machines.run(*given, command="bids")
    assert code == 1, told  # one of the two subjects that lack something is in this part
    assert [case["case"] for case in json.loads(reported)["cases"]] == CASES[::2] == results(output)
    assert bids(dataset, output, model, "--part", "2/2") == 1
    assert bids(dataset, plain, model) == 1
    assert results(output) == CASES
    for name in finished(plain):
        assert name.read_bytes() == (output / name.relative_to(plain)).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in finished(output)}
    assert bids(dataset, output, model) == 1
    assert {path: path.stat().st_mtime_ns for path in finished(output)} == before


def test_sigterm_ends_the_driver_and_its_workers(machines, artifact, tmp_path):
    scans, out = scans_in(tmp_path / "scans", 12, shape=(24, 22, 20)), tmp_path / "out"
    driver = machines.start(artifact, scans, "-o", out, *SLOW)
    wait_until(lambda: images_in(out))
    driver.terminate()
    _, told = driver.communicate(timeout=60)
    assert driver.returncode == 1
    assert "interrupted; finished results are complete, nothing is half-written" in told
    assert "Traceback" not in told
    wait_until(lambda: not machines.workers())
    assert 0 < len(images_in(out)) < 12


def test_what_no_worker_can_do_is_one_sentence(machines, artifact, tmp_path):
    scan = write_scan(tmp_path / "scan.nii.gz")
    code, _, told = machines.run(artifact, scan, "-o", tmp_path / "out", "--threads", "3")
    assert code == 1
    assert "no node of the cluster offers the 3 processor(s) that a worker needs" in told
    code, _, told = machines.run(artifact, scan, "-o", tmp_path / "out", "--overlap", "2")
    assert code == 1
    assert "no node of the cluster can work" in told
    assert "overlap must be a fraction from 0 to below 1, got 2.0" in told
    assert "Traceback" not in told


def test_the_driver_reaches_for_its_cluster_alone(machines, artifact, tmp_path):
    scan, out = write_scan(tmp_path / "scan.nii.gz"), tmp_path / "out"
    command = machines.command(artifact, scan, "-o", out / "labels.nii.gz")
    calls = system_calls(command, tmp_path / "trace", environment())
    assert calls.exit_code == 0, calls.stderr
    reached = {address for line in calls.reached for address in ADDRESS.findall(line)}
    assert reached
    assert reached <= {"127.0.0.1", "::1", machines.address.partition(":")[0]}


def test_a_node_that_sees_other_files_gets_no_case(machines, blind, artifact, tmp_path):
    scans, out, plain = scans_in(tmp_path / "scans", 9), tmp_path / "out", tmp_path / "plain"
    assert run(artifact, scans, "-o", plain) == 0
    code, _, told = machines.run(artifact, scans, "-o", blind.out)
    assert code == 0, told
    assert f"does not see the results' folder {blind.out} as the driver does" in told
    assert_same_results(blind.out, plain, 9)
    for scan in scans.iterdir():
        shutil.copy2(scan, blind.scans)
    code, _, told = machines.run(artifact, blind.scans, "-o", out, "--threads", "2")  # the others have one
    assert code == 1
    assert "no node of the cluster can work" in told
    assert f"cannot read {blind.scans}" in told
    assert "give paths that all nodes share" in told
    assert images_in(out) == []


def test_a_node_is_removed(machines, artifact, tmp_path):
    scans = scans_in(tmp_path / "scans", 8, shape=(24, 22, 20))
    out, plain = tmp_path / "out", tmp_path / "plain"
    lost = machines.add()
    driver = machines.start(artifact, scans, "-o", out, *SLOW)
    wait_until(lambda: images_in(out) and machines.workers_of(lost))
    (worker,) = machines.workers_of(lost)
    with stopped(worker):
        machines.remove(lost)
    _, told = driver.communicate(timeout=120)
    assert driver.returncode == 0, told
    assert "the node was lost" in told
    assert run(artifact, scans, "-o", plain, *SLOW) == 0
    assert_same_results(out, plain, 8)
