"""A model, volumes, and one server for the tests of a module."""

import nibabel
import numpy as np
import pytest

from msdk_rt.artifact.bundle import write_bundle
from msdk_rt.commands.main import main
from tests.support.served import served
from tests.support.small_model import write_artifact

SHAPE = (24, 22, 20)
LIMIT_MB = 4


def write_scan(path, seed, shape=SHAPE):
    voxels = np.random.default_rng(seed).gamma(2, 100, shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1, 1, 1.5, 1])), path)
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """(a model with one channel, a bundle of one with two)."""
    folder = tmp_path_factory.mktemp("models")
    write_bundle(write_artifact(folder / "pair.onnx", channels=2), folder / "pair.msdk", {})
    return write_artifact(folder / "model.onnx"), folder / "pair.msdk"


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    return [write_scan(folder / f"scan{seed}.nii.gz", seed) for seed in range(3)]


@pytest.fixture(scope="session")
def expected(models, scans, tmp_path_factory):
    """The labels' files that `msdk-rt run` writes, and the voxels of the class 1."""
    folder = tmp_path_factory.mktemp("expected")
    labels = []
    for scan in scans:
        assert main(["run", str(models[0]), str(scan), "-o", str(folder / scan.name), "--quiet"]) == 0
        labels.append((folder / scan.name).read_bytes())
    return labels


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    with served(
        tmp_path_factory.mktemp("server"),
        *models,
        *("--max-upload", LIMIT_MB, "--queue", 4, "--job-seconds", 60, "--keep", 5),
    ) as made:
        yield made
