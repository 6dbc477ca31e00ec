"""The demo, on a small brain and an untrained network."""

import importlib.util

import nibabel
import nilearn.datasets
import numpy as np
import pytest

from msdk_export import demo_network
from msdk_rt.cli import main
from msdk_rt.manifest import read_manifest


@pytest.fixture
def small_brain(monkeypatch):
    """A noisy ball of 36 x 40 x 34 voxels in place of nilearn's template."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in (36, 40, 34)), indexing="ij"))
    ball = (np.linalg.norm(grid, axis=0) < 0.8) * np.random.default_rng(0).uniform(0.5, 1, grid.shape[1:])
    image = nibabel.Nifti1Image(ball.astype(np.float32), np.eye(4))
    monkeypatch.setattr(nilearn.datasets, "load_mni152_template", lambda resolution: image)
    monkeypatch.setattr(demo_network, "WINDOW", (32, 32, 32))
    return image


def test_untrained_weights_are_called_so(small_brain, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--threads", "2"]) == 0
    printed = capsys.readouterr().out
    assert demo_network.UNTRAINED in printed
    for line in ("parity    random", "latency   ", "label     white matter", "results   "):
        assert line in printed
    assert "8 windows of 32 x 32 x 32" in printed
    labels = nibabel.load(tmp_path / "demo" / "labels.nii.gz")
    assert labels.shape == small_brain.shape
    assert read_manifest(tmp_path / "demo" / "model.onnx").channels == ("t1",)
    assert (tmp_path / "demo" / "overlay.png").stat().st_size > 10_000


def test_a_missing_extra_is_named_first(tmp_path, capsys, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nilearn" else real(name))
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 1
    assert "the demo needs nilearn" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
