"""Every attack of the corpus: refused with a sentence, or a result where the file is legal."""

import pytest

from tests.reliability.attacks import CORPUS, MODULES, commit, honest_folder
from tests.reliability.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(MODULES) as server:
        yield server


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return honest_folder(tmp_path_factory.mktemp("honest"))


@pytest.mark.parametrize("attack", CORPUS, ids=lambda attack: f"{attack.number} {attack.sentence}")
def test_attack(attack, honest, sandbox):
    _, broken = commit(attack, honest, sandbox)
    assert not broken


def test_the_honest_files_are_taken(honest, sandbox):
    """The files are good before an attack changes them, so that the outcome is the attack's doing."""
    outcome = sandbox.run("tests.attacks.actions:segment", honest, "model.onnx", "scan.nii")
    assert outcome.result == "done"
    (honest / "out.nii.gz").unlink()
    outcome = sandbox.run("tests.attacks.actions:load", honest, "weights.safetensors")
    assert outcome.result == "done"
