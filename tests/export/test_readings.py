"""Weights that fit several networks: what is assumed is said, and a reference tells them apart."""

import dataclasses
import functools
import json
import re

import nibabel
import numpy as np
import pytest
import safetensors.torch
import torch

import msdk_rt
from msdk_export.checkpoints import build_model, load_checkpoint, save_checkpoint
from msdk_export.families import FAMILIES
from msdk_export.loading import load_network
from msdk_export.models import MSDKMamba, MSDKMambaConfig, SegMamba, SegMambaConfig
from msdk_export.notes import collecting
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.artifact.notes import ExportWarning
from msdk_rt.commands import main
from msdk_rt.errors import InputError
from tests.support.segmamba_reference import PublishedSegMamba

WINDOW = (32, 32, 32)
PLANES = (16, 8, 4, 2)  # the nslices of this window whose slices are planes
SIZES = SegMambaConfig(1, 3, (4, 5, 6, 7), (1, 1, 1, 1), 8, d_state=2, d_conv=3, expand=1)
AGREES = re.compile(r"\b(0\.99\d|1\.000)\b")
LABELS = {"background": 0, "oedema": 2, "core": 4}
GIVEN = {"window": WINDOW, "channels": ("t1",), "labels": LABELS, "normalization": "none"}


def case_of(config, tmp_path):
    """(checkpoint, volume (1, D, H, W), what the published code of this vintage labels it)."""
    weights, volume, labels = labelled(config)
    torch.save(weights, tmp_path / "weights.pt")
    return tmp_path / "weights.pt", volume, labels


@functools.cache
def labelled(config):
    torch.manual_seed(3)
    network = PublishedSegMamba(config).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():  # so that Mamba has a say, as in a trained network
        if "mamba.out_proj" in name:
            parameter *= 20
    volume = torch.randn(1, *WINDOW, generator=torch.Generator().manual_seed(5))
    labels = network(volume[None])[0].argmax(0).numpy()
    labels[0, 0, 0] = labels[-1, -1, -1] = 1  # so that the foreground, and with it the window, is all of it
    return network.state_dict(), volume.numpy(), np.array(list(LABELS.values()))[labels]


def loaded(path, config=None, **given):
    """(config, notes) of what export would compute with."""
    with collecting() as notes:
        network, description = load_network(path, {**GIVEN, "config": config}, **given)
    assert SegMambaConfig(**description.config) == network.config
    return network.config, notes


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("nslices", [SIZES.nslices, PLANES])
def test_a_reference_tells_the_vintage_and_the_slices(tmp_path, residual, nslices):
    truth = dataclasses.replace(SIZES, residual=residual, nslices=nslices)
    path, volume, labels = case_of(truth, tmp_path)

    with pytest.warns(ExportWarning, match=rf"residual={residual} was taken, .*best with the reference"):
        config, notes = loaded(path, sample=volume, reference=labels)

    assert config == truth
    assert len(notes) == 2
    assert all("agrees best with the reference" in note and AGREES.search(note) for note in notes)


def test_without_a_reference_the_published_reading_is_assumed_and_said(tmp_path):
    path, volume, _ = case_of(SIZES, tmp_path)

    with pytest.warns(ExportWarning) as said:
        config, notes = loaded(path, sample=volume)

    assert config == SIZES
    assert [str(warning.message) for warning in said if warning.category is ExportWarning] == notes
    assert (
        "do not tell residual: SegMamba's Mamba layers add their input since its commit 1039e37" in notes[0]
    )
    assert "do not tell nslices:" in notes[1]
    assert "(64, 32, 16, 8) was assumed; give nslices in config" in notes[1]


def test_what_is_given_is_taken_and_not_warned_of(tmp_path):
    path, volume, _ = case_of(SIZES, tmp_path)

    given = {"residual": False, "nslices": list(PLANES)}
    config, notes = loaded(path, sample=volume, config=given)

    assert config == dataclasses.replace(SIZES, residual=False, nslices=PLANES)
    assert notes == []


def test_what_is_given_stays_against_a_reference_that_disagrees(tmp_path):
    path, volume, labels = case_of(dataclasses.replace(SIZES, residual=False), tmp_path)

    with pytest.warns(ExportWarning, match="=True was taken as given, and residual=False agrees better"):
        config, _ = loaded(
            path, sample=volume, reference=labels, config={"residual": True, "nslices": SIZES.nslices}
        )

    assert config.residual


def test_a_reference_that_tells_nothing_leaves_the_assumption(tmp_path):
    path, volume, labels = case_of(SIZES, tmp_path)
    noise = np.random.default_rng(0).permutation(labels.ravel()).reshape(labels.shape)

    with pytest.warns(ExportWarning, match="do not tell residual"):
        config, notes = loaded(path, sample=volume, reference=noise)

    assert config == SIZES
    assert any(note.startswith("the reference does not tell residual: mean Dice") for note in notes)


def test_files_and_the_command_line(tmp_path, capsys):
    """The files lie in another orientation than the network's."""
    truth = dataclasses.replace(SIZES, residual=False)
    path, volume, labels = case_of(truth, tmp_path)
    affine = np.diag([-1.0, 1, 1, 1])
    for name, array in (("scan", volume[0]), ("truth", labels.astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(array[::-1], affine), tmp_path / f"{name}.nii.gz")
    arguments = [
        *("export", str(path), str(tmp_path / "model.onnx"), "--quiet", "--channels", "t1"),
        *("--window", *map(str, WINDOW), "--normalization", "none"),
        *("--labels", *(f"{name}={value}" for name, value in LABELS.items())),
        *("--sample", str(tmp_path / "scan.nii.gz"), "--reference", str(tmp_path / "truth.nii.gz")),
        *("--config", json.dumps({"nslices": SIZES.nslices})),
    ]

    assert main.main(arguments) == 0

    output = capsys.readouterr()
    (line,) = [line for line in output.err.splitlines() if "msdk-rt: warning:" in line]
    assert "residual=False was taken" in line
    assert line.removeprefix("msdk-rt: warning: ") in output.out
    assert SegMambaConfig(**read_manifest(tmp_path / "model.onnx").config) == truth


def test_a_reference_for_a_module_is_compared_and_kept(tmp_path):
    path, volume, labels = case_of(SIZES, tmp_path)
    network = SegMamba(SIZES)
    network.load_state_dict(torch.load(path, weights_only=True))

    manifest = msdk_rt.export(network, tmp_path / "m.onnx", **GIVEN, sample=volume, reference=labels)

    (note,) = manifest.notes
    assert note.startswith("on a window of the sample the network agrees with the reference: mean Dice ")
    assert AGREES.search(note)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels[:-1], r"reference has shape \(31, 32, 32\), expected that of the sample"),
        (lambda labels: labels + 1, "voxel values 1, 3, 5, and labels has 0, 2, 4"),
        (lambda labels: labels * 0, "the reference is 0 everywhere"),
        (lambda labels: labels + 0.5, "voxel values 0.5"),
    ],
)
def test_a_reference_that_is_none_is_refused(tmp_path, change, message):
    path, volume, labels = case_of(SIZES, tmp_path)

    with pytest.raises(InputError, match=message):
        loaded(path, sample=volume, reference=change(labels))
    with pytest.raises(InputError, match="reference is the label map of sample"):
        loaded(path, reference=labels)


def test_the_window_compared_is_where_the_labels_are(tmp_path):
    """A volume larger than the window, its foreground in a corner."""
    truth = dataclasses.replace(SIZES, residual=False)
    path, volume, labels = case_of(truth, tmp_path)
    wide, wide_labels = np.zeros((1, 68, 60, 70), np.float32), np.zeros((68, 60, 70), np.int64)
    wide[:, 36:, 28:, 38:], wide_labels[36:, 28:, 38:] = volume, labels

    with pytest.warns(ExportWarning, match="residual=False was taken"):
        config, notes = loaded(path, sample=wide, reference=wide_labels, config={"nslices": truth.nslices})

    assert config == truth
    assert "residual=False was taken" in notes[0]
    assert AGREES.search(notes[0])


SMALL = MSDKMambaConfig(1, 2, dims=(4, 6), depths=(1, 1), d_state=2)


def test_a_description_from_before_an_entry_means_what_the_network_was(tmp_path):
    """msdk_rt's own MSDKMamba never halved the sum of its scans before it could be told to."""
    network = MSDKMamba(SMALL)
    old = {name: value for name, value in dataclasses.asdict(SMALL).items() if name != "scale"}
    described = {"family": "msd_kmamba", "config": old}
    torch.save({"state_dict": network.state_dict(), "msdk": described}, tmp_path / "old.pt")
    metadata = {"msdk": json.dumps(described)}
    safetensors.torch.save_file(network.state_dict(), tmp_path / "old.safetensors", metadata)

    for name in ("old.pt", "old.safetensors"):
        with collecting() as notes:
            state_dict, description = load_checkpoint(tmp_path / name)
            assert build_model(description, state_dict).config == SMALL
        assert notes == []


def test_of_bare_weights_the_scale_is_assumed_and_said():
    weights = MSDKMamba(SMALL).state_dict()
    with pytest.warns(ExportWarning, match=r"do not tell scale: .*if_divide_out.*1\.0 was assumed"):
        assert build_model({}, weights).config == SMALL
    halved = build_model({"config": {"scale": 0.5}}, weights)
    assert halved.stages[0][0].mamba.scale == 0.5


def test_the_choice_is_in_a_checkpoint_saved_again(tmp_path):
    halved = dataclasses.replace(SMALL, scale=0.5)
    state_dict, description = load_checkpoint(save_checkpoint(tmp_path / "w.safetensors", MSDKMamba(halved)))
    assert build_model(description, state_dict).config == halved


def test_a_config_given_in_part_keeps_the_rest_of_the_checkpoints(tmp_path):
    network = SegMamba(dataclasses.replace(SIZES, residual=False))
    save_checkpoint(tmp_path / "w.safetensors", network)

    config, notes = loaded(tmp_path / "w.safetensors", config={"nslices": PLANES})

    assert config == dataclasses.replace(SIZES, residual=False, nslices=PLANES)
    assert notes == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_ambiguity_is_an_entry_whose_readings_have_the_same_weights(family):
    for ambiguity in family.ambiguities:
        readings = ambiguity.readings((96, 128, 64))
        assert len(readings) > 1
        assert readings[0] == getattr(family.config(), ambiguity.entry)
        with torch.device("meta"):
            shapes = [
                {name: tensor.shape for name, tensor in network.state_dict().items()}
                for network in (
                    family.network(family.config(**{ambiguity.entry: value})) for value in readings
                )
            ]
        assert all(found == shapes[0] for found in shapes)
