"""The model repository: its configurations in protobuf's parser, its volumes in a real Triton."""

import importlib.metadata
import importlib.util
import json

import pytest
from google.protobuf import text_format

from msdk_rt.artifact.bundle import write_bundle
from msdk_rt.artifact.manifest import sha256_of
from msdk_rt.commands.main import main
from msdk_rt.triton import config
from tests.support.small_model import ENGINE, describe, write_artifact

LABELS = {"background": 0, 'a "quoted" \\ nämé': 3}


@pytest.fixture(scope="module")
def parse():
    """A config.pbtxt as Triton's message ModelConfig."""
    found = importlib.metadata.distribution("tritonclient").locate_file(
        "tritonclient/grpc/model_config_pb2.py"
    )
    spec = importlib.util.spec_from_file_location("model_config_pb2", str(found))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda path: text_format.Parse(path.read_text(encoding="utf-8"), module.ModelConfig())


@pytest.fixture
def repository(tmp_path):
    artifact = write_artifact(tmp_path / "model.onnx", channels=2, labels=LABELS)
    folder = tmp_path / "repository"
    settings = ("--overlap", "0.25", "--threads", "1", "--seen-at", "/models")
    assert main(["triton", str(artifact), str(folder), "--name", "brain", *settings]) == 0
    return artifact, folder


def test_triton_s_message_takes_the_network(repository, parse):
    artifact, folder = repository
    network = parse(folder / "brain_network" / "config.pbtxt")
    assert network.name == "brain_network"
    assert network.backend == "onnxruntime"
    assert network.max_batch_size == 4
    assert list(network.input[0].dims) == [2, 8, 6, 7]
    assert list(network.output[0].dims) == [2, 8, 6, 7]
    assert network.instance_group[0].Kind.Name(network.instance_group[0].kind) == "KIND_CPU"
    library = network.model_operations.op_library_filename[0]
    assert library.startswith("/models/brain_network/libmsdk_onnxruntime.")
    assert (folder / "brain_network" / library.rpartition("/")[2]).stat().st_size > 100_000
    assert (folder / "brain_network" / "1" / "model.onnx").read_bytes() == artifact.read_bytes()
    assert json.loads(network.parameters["labels"].string_value) == LABELS


def test_triton_s_message_takes_the_volume_model(repository, parse):
    _, folder = repository
    volume = parse(folder / "brain" / "config.pbtxt")
    assert volume.backend == "python"
    assert [list(entry.dims) for entry in volume.input] == [[2, -1, -1, -1], [3]]
    assert [entry.optional for entry in volume.input] == [False, True]
    assert (
        volume.output[0].data_type
        == volume.output[0]
        .DESCRIPTOR.fields_by_name["data_type"]
        .enum_type.values_by_name["TYPE_UINT8"]
        .number
    )
    assert json.loads(volume.parameters["settings"].string_value)["overlap"] == 0.25


def test_the_network_gives_the_logits_of_every_fold(tmp_path, parse):
    artifact = write_artifact(tmp_path / "model.onnx", classes=6, labels=LABELS, folds=3)
    assert main(["triton", str(artifact), str(tmp_path / "repository"), "--name", "brain"]) == 0
    network = parse(tmp_path / "repository" / "brain_network" / "config.pbtxt")
    assert list(network.output[0].dims) == [6, 8, 6, 7]
    assert network.parameters["folds"].string_value == "3"


def test_an_engine_goes_to_tensorrt(tmp_path, parse, monkeypatch):
    from msdk_rt.triton import repository

    library = tmp_path / "libmsdk_tensorrt.so"
    library.write_bytes(b"plugins")
    monkeypatch.setattr(repository, "plugin_library", lambda: library)
    engine = tmp_path / "model.engine"
    engine.write_bytes(b"a plan")
    describe(engine, engine=ENGINE, labels={"a": 0, "b": 300})
    assert main(["triton", str(engine), str(tmp_path / "r"), "--max-batch", "8"]) == 0
    network = parse(tmp_path / "r" / "model_network" / "config.pbtxt")
    assert network.backend == "tensorrt"
    assert network.max_batch_size == ENGINE["max_batch"]
    assert (tmp_path / "r" / "model_network" / "1" / "model.plan").read_bytes() == b"a plan"
    assert sha256_of(tmp_path / "r" / "model" / "1" / "model.engine") == sha256_of(engine)
    volume = parse(tmp_path / "r" / "model" / "config.pbtxt")
    assert "UINT16" in str(volume.output[0])


def test_nothing_is_replaced_and_nothing_half_left(repository, tmp_path, capsys, monkeypatch):
    artifact, folder = repository
    before = sorted(path.name for path in folder.rglob("*"))
    assert main(["triton", str(artifact), str(folder), "--name", "brain"]) == 1
    assert "exist already" in capsys.readouterr().err
    assert main(["triton", str(artifact), str(folder), "--name", "a/b"]) == 1
    assert main(["triton", str(tmp_path / "none.onnx"), str(folder)]) == 1
    monkeypatch.setattr("msdk_rt.triton.repository.volume_config", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["triton", str(artifact), str(folder), "--name", "other"])
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_bundle_is_written_as_its_artifact(repository, tmp_path):
    artifact, folder = repository
    write_bundle(artifact, tmp_path / "brain.msdk", {})
    other = tmp_path / "other"
    settings = ("--overlap", "0.25", "--threads", "1", "--seen-at", "/models")
    assert main(["triton", str(tmp_path / "brain.msdk"), str(other), *settings]) == 0
    for path in folder.rglob("*.*"):
        if path.is_file():
            assert (other / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_text_of_every_kind_of_value():
    text = config.text_of({"a": 1, "b": True, "c": config.Word("X"), "d": ["p", "q"], "e": {"f": "\n"}})
    assert text == 'a: 1\nb: true\nc: X\nd: "p"\nd: "q"\ne {\n  f: "\\n"\n}\n'
