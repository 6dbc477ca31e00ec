"""The registry of model families: a new one is a Family and its line, and nothing less."""

from dataclasses import dataclass

import pytest
from torch import nn

from msdk_export.checkpoints import build_model, load_checkpoint, save_checkpoint
from msdk_export.families import FAMILIES, Family, family_named, infer_config, recognise, registry
from msdk_export.models import MSDKMamba, MSDKMambaConfig
from msdk_rt.errors import CheckpointError


@dataclass(frozen=True)
class ToyConfig:
    width: int = 1
    depths: tuple[int, ...] = (1,)


class Toy(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.toy = nn.Conv3d(1, config.width, 1)


class ToyFamily(Family):
    name, network, config = "toy", Toy, ToyConfig

    def votes(self, names):
        return sum(name.startswith("toy.") for name in names)

    def infer_config(self, shapes):
        return {"width": shapes.side(0, r"toy\.weight")}


def test_a_registered_family_is_built_recognised_and_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "FAMILIES", (*FAMILIES, ToyFamily()))
    weights = Toy(ToyConfig(width=5)).state_dict()

    model = build_model({}, weights)

    assert isinstance(model, Toy)
    assert model.config == ToyConfig(width=5)
    stored = load_checkpoint(save_checkpoint(tmp_path / "toy.safetensors", model))[1]
    assert stored["family"] == "toy"
    assert stored["config"]["width"] == 5


def test_a_family_without_a_recognition_rule_cannot_be_registered():
    """It was taken, and ended in a KeyError when a checkpoint named it."""

    class Half(Family):
        name, network, config = "half", Toy, ToyConfig

    with pytest.raises(TypeError, match=r"infer_config.*votes"):
        Half()


@pytest.mark.parametrize("name", ["toy", None, ["segmamba"], "x" * 10_000])
def test_an_unknown_family_is_a_checkpoint_error_everywhere(name):
    for call in (lambda: family_named(name), lambda: infer_config(name, {})):
        with pytest.raises(
            CheckpointError, match=r"unknown model family .* expected one of msd_kmamba, segma"
        ):
            call()


def test_a_subclass_is_not_described_as_its_family(tmp_path):
    """Its forward may be another: rebuilt from the file it would be another network."""
    sizes = MSDKMambaConfig(1, 2, dims=(4, 6), depths=(1, 1), d_state=2)

    class Mirrored(MSDKMamba):
        def forward(self, image):
            return super().forward(image.flip(2))

    for network, family in ((MSDKMamba(sizes), "msd_kmamba"), (Mirrored(sizes), None)):
        stored = load_checkpoint(save_checkpoint(tmp_path / "weights.safetensors", network))[1]
        assert stored.get("family") == family


def test_every_family_has_its_own_name():
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert recognise({}) is None
