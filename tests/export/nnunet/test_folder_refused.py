"""Results folders that are damaged, foreign or contradict themselves: a sentence, and nothing is written."""

import json
import os

import pytest
import torch

import msdk_rt
from msdk_rt.errors import CheckpointError, InputError, MsdkError
from tests.support import nnunet_folder as made


class Code:
    """Pickles as a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    return made.write_folder(
        folder, made.plans(schemes=["CTNormalization"]), made.dataset(), folds=(0, 1), steps=0
    )


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the whole folder, to be damaged."""
    import shutil

    return shutil.copytree(whole, tmp_path / whole.name)


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_checkpoint(folder, fold, change):
    path = folder / f"fold_{fold}" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


def configuration(plans):
    return plans["configurations"]["3d_fullres"]


def in_plans(change):
    """Damage of plans.json alone."""

    def damage(folder):
        edit(folder / "plans.json", lambda plans: change(plans, configuration(plans)))
        for fold in (0, 1):
            edit_checkpoint(folder, fold, lambda content: content["init_args"].pop("plans"))

    return damage


def in_dataset(change):
    return lambda folder: edit(folder / "dataset.json", change)


def in_checkpoint(change, folds=(0, 1)):
    def damage(folder):
        for fold in folds:
            edit_checkpoint(folder, fold, change)

    return damage


DAMAGES = {
    "no plans in the fold's folder": (
        lambda folder: (folder / "dataset.json").unlink(),
        "no dataset.json in",
    ),
    "plans cut short": (
        lambda folder: (folder / "plans.json").write_text("{"),
        "as JSON",
    ),
    "truncated checkpoint": (
        lambda folder: (folder / "fold_1" / "checkpoint_final.pth").write_bytes(b"PK\x03\x04"),
        "truncated or damaged",
    ),
    "a pickle with code": (
        in_checkpoint(lambda content: content.update(logging=Code()), folds=(1,)),
        "pickles Python objects",
    ),
    "other plans": (
        in_checkpoint(
            lambda content: configuration(content["init_args"]["plans"]).update(patch_size=[8, 8, 8]), (1,)
        ),
        r"fold_1.* was trained with other plans .* patch_size is \[8, 8, 8\] there",
    ),
    "another trainer in a fold": (
        in_checkpoint(lambda content: content.update(trainer_name="nnUNetTrainerDA5"), (1,)),
        "fold_1.* has the trainer 'nnUNetTrainerDA5', and fold_0 has 'nnUNetTrainer'",
    ),
    "a foreign trainer": (
        in_checkpoint(lambda content: content.update(trainer_name="nnUNetTrainerMine")),
        "'nnUNetTrainerMine' is none of nnU-Net's own .* pass network=",
    ),
    "a trainer with batch norms": (
        in_checkpoint(lambda content: content.update(trainer_name="nnUNetTrainerBN")),
        "'nnUNetTrainerBN' is none of",
    ),
    "no checkpoint of nnU-Net's": (
        in_checkpoint(lambda content: content.pop("network_weights"), (0,)),
        "no checkpoint of nnU-Net's trainer, it lacks network_weights",
    ),
    "weights of another network": (
        in_plans(lambda plans, conf: conf["architecture"]["arch_kwargs"].update(features_per_stage=[8, 24])),
        "weights of fold_0 do not fit",
    ),
    "no fingerprint of the channel": (
        in_plans(lambda plans, conf: plans["foreground_intensity_properties_per_channel"].pop("0")),
        "channel 0 as CT, and their fingerprint .* found None",
    ),
    "spacing 0": (
        in_plans(lambda plans, conf: conf.update(spacing=[1.0, 0.0, 1.0])),
        "spacing must be two or three sides above 0",
    ),
    "a cascade": (
        in_plans(lambda plans, conf: conf.update(previous_stage="3d_lowres")),
        "second stage of a cascade, .* cascades are not exported",
    ),
    "a foreign preprocessor": (
        in_plans(lambda plans, conf: conf.update(preprocessor_name="Mine")),
        "name the preprocessor 'Mine'",
    ),
    "a foreign normalisation": (
        in_plans(lambda plans, conf: conf.update(normalization_schemes=["Mine"])),
        "normalise channel 0 by 'Mine'",
    ),
    "a normalisation too many": (
        in_plans(lambda plans, conf: conf.update(normalization_schemes=["CTNormalization"] * 2)),
        "an entry for each of the 1 channels",
    ),
    "a foreign resampling": (
        in_plans(lambda plans, conf: conf.update(resampling_fn_data="resample_torch_fornnunet")),
        "resample by resampling_fn_data 'resample_torch_fornnunet'",
    ),
    "another order of splines": (
        in_plans(lambda plans, conf: conf["resampling_fn_probabilities_kwargs"].update(order=3)),
        "resampling_fn_probabilities_kwargs are .* expected order 0 or 1",
    ),
    "a foreign reader": (
        in_plans(lambda plans, conf: plans.update(image_reader_writer="Tiff3DIO")),
        "read images with 'Tiff3DIO'",
    ),
    "a foreign network": (
        in_plans(lambda plans, conf: conf["architecture"].update(network_class_name="os.system")),
        "the plans' network is 'os.system'",
    ),
    "a foreign layer": (
        in_plans(lambda plans, conf: conf["architecture"]["arch_kwargs"].update(nonlin="os.system")),
        "name the class 'os.system', expected a layer of torch.nn",
    ),
    "an unknown configuration": (
        in_checkpoint(lambda content: content["init_args"].update(configuration="3d")),
        "no configuration '3d' that can be read, there are 3d_fullres",
    ),
    "a transpose that is not undone": (
        in_plans(lambda plans, conf: plans.update(transpose_forward=[2, 0, 1])),
        "does not undo their transpose_forward",
    ),
    "labels with a gap": (
        in_dataset(lambda data: data.update(labels={"background": 0, "a": 1, "b": 3})),
        r"have the values \[0, 1, 3\]",
    ),
    "no background": (
        in_dataset(lambda data: data.update(labels={"a": 1})),
        "background 0 among them",
    ),
    "regions without their order": (
        in_dataset(lambda data: data.update(labels={"background": 0, "a": [1, 2], "b": 2})),
        "regions_class_order must name a voxel value for each of the 2",
    ),
    "no channel names": (
        in_dataset(lambda data: data.pop("channel_names")),
        "channel_names must be numbers and names",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_folder_is_refused(damage, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil, sentence = DAMAGES[damage]
    spoil(folder)
    before = sorted(path.name for path in tmp_path.iterdir())

    with pytest.raises(MsdkError, match=sentence) as refused:
        msdk_rt.export(folder, tmp_path / "model.onnx")

    print(f"{damage}: {refused.value}")
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("folds", "sentence"),
    [
        ((0, 3), "fold_3 has no checkpoint_final.pth, folds with one: fold_0, fold_1"),
        ("all", "fold_all has no checkpoint_final.pth"),
        ((0, 0), "folds must be different"),
    ],
)
def test_missing_fold_is_refused(folds, sentence, whole, tmp_path):
    with pytest.raises(CheckpointError, match=sentence):
        msdk_rt.export(whole, tmp_path / "model.onnx", folds=folds)
    assert list(tmp_path.iterdir()) == []


def test_missing_checkpoint_is_refused(whole, tmp_path):
    with pytest.raises(CheckpointError, match=r"no fold has a checkpoint_best.pth, .* none"):
        msdk_rt.export(whole, tmp_path / "model.onnx", weights="checkpoint_best.pth")


def test_what_the_plans_say_is_not_given_again(whole, tmp_path):
    with pytest.raises(InputError, match="whose plans say labels, window: leave it out"):
        msdk_rt.export(whole, tmp_path / "model.onnx", window=(8, 8, 8), labels={"a": 0})


def test_one_fold_is_no_results_folder(whole, tmp_path):
    with pytest.raises(CheckpointError, match=r"is one fold of a results folder: give .* with folds=1"):
        msdk_rt.export(whole / "fold_1", tmp_path / "model.onnx")


def test_folds_are_for_a_results_folder(tmp_path):
    with pytest.raises(InputError, match="folds are for a results folder of nnU-Net's"):
        msdk_rt.export(tmp_path / "weights.pt", tmp_path / "model.onnx", folds=(0,))
