"""A BIDS dataset in an S3 store, and results on an FTP server, where files are renamed into place."""

import json
import os
import threading

import pytest

from msdk_rt.cohort.remote import store as stores
from msdk_rt.errors import OutputError
from tests.runtime.cohort.folders import images_in, run
from tests.runtime.cohort.test_bids import CASES, bids, dataset, finished, model  # noqa: F401, fixtures


@pytest.fixture
def server(tmp_path):
    """(URL, folder) of a folder that an FTP server gives to anybody."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(FTPHandler):
        authorizer = DummyAuthorizer()

    Handler.authorizer.add_anonymous(str(folder), perm="elradfmw")
    served = FTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, kwargs={"timeout": 0.1, "handle_exit": False})
    thread.start()
    yield f"ftp://127.0.0.1:{served.address[1]}", folder, Handler
    served.ioloop.call_later(0, served.close_all)
    thread.join(30)


@pytest.mark.filterwarnings("ignore:write permissions assigned to anonymous user")
def test_results_are_renamed_into_place(server, artifact, scans, tmp_path, capsys):
    url, folder, _ = server
    assert run(artifact, scans, "-o", tmp_path / "plain") == 0
    assert run(artifact, scans, "-o", f"{url}/out") == 0
    for name in images_in(tmp_path / "plain"):
        assert (folder / "out" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert run(artifact, scans, "-o", f"{url}/out", "--json") == 0
    assert all(case["kept"] for case in json.loads(capsys.readouterr().out)["cases"])
    assert run(artifact, scans, "-o", f"{url}/out", "--overwrite") == 0
    assert not list((folder / "out").glob(".msdk-*"))


@pytest.mark.filterwarnings("ignore:write permissions assigned to anonymous user")
def test_what_does_not_come_whole_has_no_name(server, tmp_path, monkeypatch):
    """The server lost the end of an upload, its disk being full: what was there before is there still."""
    url, folder, handler = server
    (folder / "labels.bin").write_bytes(b"before")
    (tmp_path / "new.bin").write_bytes(bytes(1 << 20))

    def cut(self, file):
        os.truncate(file, 1 << 16)

    monkeypatch.setattr(handler, "on_file_received", cut)
    with pytest.raises(OutputError, match="cannot write ftp://"):
        stores.put(tmp_path / "new.bin", f"{url}/labels.bin")
    assert (folder / "labels.bin").read_bytes() == b"before"
    assert os.listdir(folder) == ["labels.bin"]


def test_a_bids_dataset_in_a_store(store, dataset, model, tmp_path, capsys):  # noqa: F811
    store.put(dataset, "heads")
    plain, url = tmp_path / "plain", "s3://cohort/derivatives"
    assert bids(dataset, plain, model) == 1
    capsys.readouterr()
    assert bids("s3://cohort/heads", url, model, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert [case["case"] for case in report["cases"]] == CASES
    left_out = {entry["path"] for entry in report["left_out"]}
    assert left_out == {"s3://cohort/heads/sub-11", "s3://cohort/heads/sub-12/sub-12"}
    for path in finished(plain):
        assert store.read(f"derivatives/{path.relative_to(plain).as_posix()}") == path.read_bytes()
    there = {key.removeprefix("derivatives/") for key in store.keys("derivatives/")}
    assert there == {path.relative_to(plain).as_posix() for path in plain.rglob("*") if path.is_file()}
    description = json.loads(store.read("derivatives/dataset_description.json"))
    assert description["DatasetLinks"] == {"raw": "s3://cohort/heads"}
    assert bids("s3://cohort/heads", url, model, "--participant-label", "09", "--json") == 0
    kept = [case["kept"] for case in json.loads(capsys.readouterr().out)["cases"]]
    assert kept == [True, True]
