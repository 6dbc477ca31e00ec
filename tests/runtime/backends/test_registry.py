"""The backend registry: an artifact's suffix chooses its library."""

import shutil

import numpy as np
import pytest

import msdk_rt
from msdk_rt.artifact.manifest import manifest_path
from msdk_rt.backends import registry
from msdk_rt.errors import BackendError
from tests.support.small_model import small_network, write_artifact


class NumPyBackend:
    """The small model in NumPy, written as docs/how-to/add-a-backend.md says."""

    def __init__(self, path, manifest, settings):
        self.library = {"numpy": np.__version__}
        self.threads = None
        self.providers = ["NumPy"]
        self.classes = len(manifest.labels)

    def infer(self, windows):
        return small_network(windows, self.classes)

    def network(self):
        return None


def renamed(artifact, suffix):
    """The artifact and its manifest under another suffix."""
    other = artifact.with_suffix(suffix)
    shutil.copy(artifact, other)
    shutil.copy(manifest_path(artifact), manifest_path(other))
    return other


def test_a_library_for_another_suffix_is_one_entry(tmp_path, monkeypatch):
    artifact = write_artifact(tmp_path / "model.onnx")
    monkeypatch.setitem(registry.LOADERS, ".weights", NumPyBackend)
    volume = np.random.default_rng(3).standard_normal((1, 11, 9, 10), dtype=np.float32)
    with msdk_rt.Segmenter(renamed(artifact, ".weights")) as other, msdk_rt.Segmenter(artifact) as usual:
        assert other.providers == ["NumPy"]
        np.testing.assert_array_equal(other.run(volume), usual.run(volume))


@pytest.mark.parametrize("suffix", [".model", ""])
def test_a_suffix_that_nothing_runs_is_refused(tmp_path, suffix):
    artifact = renamed(write_artifact(tmp_path / "model.onnx"), suffix)
    with pytest.raises(BackendError, match=r"expected one of .onnx, .engine: keep the name"):
        msdk_rt.Segmenter(artifact)
