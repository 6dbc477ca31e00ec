"""Several networks in one checkpoint: which is taken, and how the user chooses another."""

import pytest
import safetensors.torch

import msdk_rt
from msdk_export.checkpoints import load_checkpoint
from msdk_export.notes import collecting
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.artifact.notes import ExportWarning
from msdk_rt.errors import CheckpointError
from tests.support.checkpoint_files import assert_same, prefixed, saved

AVERAGES = {
    "a key": (lambda w, a: {"state_dict": w, "state_dict_ema": a}, "state_dict", "state_dict_ema"),
    "two keys": (
        lambda w, a: {"model": {"state_dict": w}, "ema": {"module": a}},
        "model.state_dict",
        "ema.module",
    ),
    "the average first": (lambda w, a: {"model_ema": a, "epoch": 1, "model": w}, "model", "model_ema"),
    "prefixes": (
        lambda w, a: {"state_dict": prefixed("model.", w) | prefixed("ema_model.module.", a)},
        "state_dict.model",
        "state_dict.ema_model.module",
    ),
    "a bare dict": (
        lambda w, a: prefixed("online_model.", w) | prefixed("ema_model.", a),
        "online_model",
        "ema_model",
    ),
    "a copy inside": (lambda w, a: {"state_dict": w | prefixed("ema.", a)}, "state_dict", "state_dict.ema"),
}


@pytest.mark.parametrize("kind", AVERAGES)
def test_of_a_model_and_its_moving_average_the_user_chooses(weights, average, tmp_path, kind):
    content, model_label, average_label = AVERAGES[kind]
    path = saved(tmp_path, content(weights, average))

    with pytest.warns(ExportWarning, match=rf"2 networks.*those under {model_label} were taken.*'ema'"):
        assert_same(load_checkpoint(path)[0], weights)
    for wanted, expected in (
        ("model", weights),
        ("ema", average),
        (model_label, weights),
        (average_label, average),
    ):
        with collecting() as notes:
            assert_same(load_checkpoint(path, wanted)[0], expected)
        assert notes == []
    with pytest.raises(
        CheckpointError, match=rf"no weights 'teacher' in it, expected one of: .*{average_label}"
    ):
        load_checkpoint(path, "teacher")


def test_an_average_alone_is_taken(average, tmp_path):
    path = saved(tmp_path, {"ema_state_dict": average})

    assert_same(load_checkpoint(path)[0], average)
    with pytest.raises(CheckpointError, match="no weights 'model' in it, expected one of: ema_state_dict"):
        load_checkpoint(path, "model")


def test_teachers_and_unusual_keys_are_reached_by_name(weights, average, tmp_path):
    path = saved(
        tmp_path, {"trainer": {"student.net": {"weights": weights}, "teacher": prefixed("module.", average)}}
    )

    assert_same(load_checkpoint(path, "trainer.student.net.weights")[0], weights)
    assert_same(load_checkpoint(path, "trainer.teacher")[0], average)
    with pytest.raises(
        CheckpointError, match=r"got a dict with trainer: dict \(student\.net: dict, teacher: dict\)"
    ):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="pass weights='odd'"):
        load_checkpoint(saved(tmp_path, {"odd": weights}, "odd.pt"))


def test_safetensors_hold_averages_too(weights, average, tmp_path):
    safetensors.torch.save_file(
        prefixed("model.", weights) | prefixed("ema.", average), tmp_path / "w.safetensors"
    )

    assert_same(load_checkpoint(tmp_path / "w.safetensors", "ema")[0], average)


def test_the_manifest_keeps_which_weights_were_taken(weights, average, tmp_path):
    path = saved(tmp_path, {"model": weights, "model_ema": average})
    given = {
        "window": (8, 8, 8),
        "channels": ("a", "b"),
        "labels": {"x": 0, "y": 1, "z": 2},
        "config": {"scale": 1.0},
    }

    with pytest.warns(ExportWarning, match="those under model were taken"):
        msdk_rt.export(path, tmp_path / "model.onnx", **given)
    (note,) = read_manifest(tmp_path / "model.onnx").notes
    assert note.startswith("weights.pt holds the weights of 2 networks, under model, model_ema")

    msdk_rt.export(path, tmp_path / "ema.onnx", weights="ema", **given)
    assert read_manifest(tmp_path / "ema.onnx").notes == ()
    assert (tmp_path / "ema.onnx").read_bytes() != (tmp_path / "model.onnx").read_bytes()
