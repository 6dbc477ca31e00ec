"""The demo, on a small brain."""

import importlib.util
import re

import nibabel
import nilearn.datasets
import numpy as np
import pytest

from msdk_export.checkpoints import save_checkpoint
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.commands.main import main

needs_viewer = pytest.mark.skipif(
    importlib.util.find_spec("msdk_rt_viewer") is None, reason="needs pip install ./plugins/viewer"
)


@pytest.fixture
def small_brain(monkeypatch):
    """A noisy ball of 36 x 40 x 34 voxels in place of nilearn's template, grey outside, white inside."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in (36, 40, 34)), indexing="ij"))
    radius = np.linalg.norm(grid, axis=0)
    noise = np.random.default_rng(0).uniform(0.9, 1.1, radius.shape)
    white, grey = radius < 0.4, (radius >= 0.4) & (radius < 0.7)
    t1 = (0.3 * (radius < 0.8) + 0.3 * (white | grey) + 0.3 * white) * noise
    images = {"": t1, "gm_": grey, "wm_": white}
    for name, data in images.items():
        image = nibabel.Nifti1Image(data.astype(np.float32), np.eye(4))
        monkeypatch.setattr(
            nilearn.datasets, f"load_mni152_{name}template", lambda resolution, image=image: image
        )
    return images[""]


@needs_viewer
def test_the_package_brings_weights_that_know_tissues(small_brain, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--threads", "2"]) == 0
    printed = capsys.readouterr().out
    for line in ("parity    random", "latency   ", "label     white matter", "results   "):
        assert line in printed
    assert len(re.findall(r"Dice \d\.\d{3} against the MNI152 maps", printed)) == 4
    assert "1 windows of 96 x 96 x 96" in printed
    labels = nibabel.load(tmp_path / "demo" / "labels.nii.gz")
    assert labels.shape == small_brain.shape
    assert read_manifest(tmp_path / "demo" / "model.onnx").channels == ("t1",)
    page = tmp_path / "demo" / "view.html"
    assert printed.splitlines()[-1] == f"look      {page.as_uri()}"
    assert page.stat().st_size > 2_000_000
    assert "white matter" in page.read_text()
    assert (tmp_path / "demo" / "overlay.png").stat().st_size > 10_000


def test_weights_with_other_labels_are_not_compared_with_the_maps(small_brain, tmp_path, capsys):
    config = MSDKMambaConfig(in_channels=1, num_classes=2, dims=(4, 6), depths=(1, 1), d_state=2)
    description = {"window": [16, 16, 16], "channels": ["t1"], "labels": {"nothing": 0, "tumour": 7}}
    weights = save_checkpoint(tmp_path / "other.safetensors", MSDKMamba(config), description)

    assert main(["demo", "--out", str(tmp_path / "demo"), "--weights", str(weights)]) == 0
    printed = capsys.readouterr().out
    assert "label     tumour" in printed
    assert "Dice" not in printed


def test_without_the_viewer_the_last_line_says_what_to_install(small_brain, tmp_path, capsys, monkeypatch):
    real = importlib.util.find_spec
    absent = "msdk_rt_viewer"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else real(name))
    assert main(["demo", "--out", str(tmp_path / "demo"), "--threads", "2"]) == 0
    assert "pip install ./plugins/viewer; msdk-rt view" in capsys.readouterr().out.splitlines()[-1]
    assert not (tmp_path / "demo" / "view.html").exists()


def test_a_missing_extra_is_named_first(tmp_path, capsys, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nilearn" else real(name))
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 1
    assert "the demo needs nilearn" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
