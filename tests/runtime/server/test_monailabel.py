"""MONAI Label's own client class, which 3D Slicer's module uses, against the server."""

import gzip
from pathlib import Path

import pytest

from tests.support.served import TOKEN

pytest.importorskip("cgi", reason="monailabel's client imports cgi, which Python 3.13 has no more")
import monailabel.client as client_module


@pytest.fixture
def client(server, tmp_path):
    made = client_module.MONAILabelClient(server.url, str(tmp_path), "a client")
    assert made.auth_enabled()
    made.update_auth(made.auth_token("anybody", TOKEN))
    assert made.auth_valid_token()
    return made


def test_only_the_token_opens(server, tmp_path):
    made = client_module.MONAILabelClient(server.url, str(tmp_path))
    with pytest.raises(client_module.client.MONAILabelClientException):
        made.auth_token("anybody", "another")
    assert not made.auth_valid_token()
    with pytest.raises(client_module.client.MONAILabelClientException):
        made.info()


def test_info_names_the_models(client):
    info = client.info()
    model = info["models"]["model"]
    assert model["type"] == "segmentation"
    assert model["labels"] == {"class1": 1}
    assert model["dimension"] == 3
    assert info["labels"] == ["class1"]
    assert client.train_status(check_if_running=True) is False


def test_an_uploaded_image_is_segmented(client, server, scans, expected):
    assert client.upload_image(str(scans[0]), "case 7/Ä") == {"image": "case 7/Ä"}
    assert list(client.datastore()["objects"]) == ["case 7/Ä"]
    path, params = client.infer("model", "case 7/Ä", {})
    assert gzip.decompress(Path(path).read_bytes()) == gzip.decompress(expected[0])
    assert Path(path).name.endswith(".nii.gz")
    assert params["label_names"] == {"class1": 1}
    assert server.ask("HEAD", "/datastore/image?image=case+7%2F%C3%84").status == 200
    assert server.ask("GET", "/datastore/image?image=case+7%2F%C3%84").content == scans[0].read_bytes()
    assert server.ask("DELETE", "/datastore/?id=case+7%2F%C3%84").status == 200
    assert server.left() == []


def test_a_file_is_segmented_without_an_upload(client, server, scans, expected):
    path, _ = client.infer("model", "", {}, file=str(scans[1]))
    assert Path(path).read_bytes() == expected[1]
    assert server.left() == []


def test_a_session_is_an_image_of_one_client(client, server, scans, expected):
    session = client.create_session(str(scans[2]))["session_id"]
    assert client.get_session(session)
    path, _ = client.infer("model", "", {}, session_id=session)
    assert Path(path).read_bytes() == expected[2]
    client.remove_session(session)
    with pytest.raises(client_module.client.MONAILabelClientException):
        client.get_session(session)
    assert server.left() == []


def test_what_is_not_there_is_said(client, server):
    for call in (
        lambda: client.infer("model", "no image", {}),
        lambda: client.infer("other", "no image", {}),
        lambda: client.next_sample("random", {}),
    ):
        with pytest.raises(client_module.client.MONAILabelClientException) as error:
            call()
        assert "NotFound" in error.value.msg
    assert server.left() == []


def test_other_outputs(server, scans, expected):
    assert server.send("/infer/model?output=image", scans[0]).content == expected[0]
    assert server.send("/infer/model?output=json", scans[0]).json()["label_names"] == {"class1": 1}
    assert server.send("/infer/model?output=dicom_seg", scans[0]).kind() == (400, "InputError")
    assert server.send("/infer/model?output=all2", scans[0]).kind() == (400, "InputError")
    assert server.left() == []
