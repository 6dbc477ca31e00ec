"""The brain mask's two forms agree, its entry keeps the manifest's rule, and its training is resumable."""

import csv

import numpy as np
import pytest
import torch

from msdk_export.brain_mask import training
from msdk_export.brain_mask.entry import entry_of, network_of
from msdk_export.brain_mask.network import BrainMaskNet
from msdk_export.brain_mask.network import scaled as scaled_tensor
from msdk_export.brain_mask.training import loss_of, train_brain_mask
from msdk_export.checkpoints import load_checkpoint
from msdk_export.demo_network import EDGE, OWN_WEIGHTS
from msdk_export.synthetic import coarse_heads
from msdk_export.synthetic.coarse_heads import SPACING, CoarseHead, CoarseTemplate, make_coarse_head
from msdk_export.synthetic.template import load_template
from msdk_rt.artifact.brain_mask_entry import is_brain_mask
from msdk_rt.inference.brain_mask import find_brain
from msdk_rt.inference.brain_mask.field import scaled
from msdk_rt.inference.brain_mask.network import logits_of
from msdk_rt.inference.brain_mask.weights import weights_of

AIR = 15  # voxels


def network(widths, seed=0):
    torch.manual_seed(seed)
    made = BrainMaskNet(widths).eval()
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize(
    ("widths", "shape"), [((3,), (5, 6, 7)), ((2, 4), (9, 8, 5)), ((3, 4, 5, 6), (17, 9, 23))]
)
def test_numpy_computes_what_pytorch_does(widths, shape):
    entry = entry_of(network(widths), 3.0, 0.5)
    image = np.random.default_rng(1).random(shape, np.float32)
    multiple = 2 ** (len(widths) - 1)
    padded = np.pad(image, [(0, -side % multiple) for side in shape])

    found = logits_of(weights_of(entry), image)

    with torch.inference_mode():
        expected = network_of(entry)(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    d, h, w = shape
    np.testing.assert_allclose(found, expected[:d, :h, :w], rtol=1e-3, atol=1e-3 * abs(expected).max())


def test_an_entry_holds_the_network_to_float16():
    made = network((2, 3))
    entry = entry_of(made, 3.0, 0.25)

    assert is_brain_mask(entry)
    for name, tensor in network_of(entry).state_dict().items():
        torch.testing.assert_close(tensor, made.state_dict()[name].half().float())


def test_an_entry_has_an_edge_where_one_is_given():
    edge = load_checkpoint(OWN_WEIGHTS)[1]["brain_mask"]["edge"]

    assert edge == EDGE
    assert "edge" not in entry_of(network((2,)), 3.0, 0.5)
    assert entry_of(network((2,)), 3.0, 0.5, EDGE)["edge"] == EDGE
    assert is_brain_mask(entry_of(network((2,)), 3.0, 0.5, EDGE))


def test_intensities_are_scaled_alike():
    image = torch.from_numpy(np.random.default_rng(2).gamma(1.0, 300, (6, 7, 8)).astype(np.float32)) - 20

    np.testing.assert_allclose(scaled(image.numpy()), scaled_tensor(image).numpy(), rtol=1e-5)
    np.testing.assert_allclose(scaled(7 * image.numpy() + 3), scaled(image.numpy()), atol=1e-5)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_loss_is_least_where_the_share_is_the_brains(share):
    brain = torch.full((8, 8, 8), share)
    head = CoarseHead(brain, brain, torch.ones(8, 8, 8, dtype=torch.bool))
    shares = torch.linspace(0.05, 0.95, 19)

    losses = torch.stack([loss_of(torch.full((8, 8, 8), float(p)).logit(), head) for p in shares])

    assert abs(shares[losses.argmin()] - share) < 0.03


def test_the_loss_looks_at_what_counts():
    brain = torch.zeros(8, 8, 8)
    brain[2:6, 2:6, 2:6] = 1
    counts = torch.ones(8, 8, 8, dtype=torch.bool)
    right = 20 * (2 * brain - 1)
    wrong = right.clone()
    wrong[0] = 20

    assert loss_of(right, CoarseHead(brain, brain, counts)) < 0.01
    assert loss_of(wrong, CoarseHead(brain, brain, counts)) > 0.5
    counts[0] = False
    assert loss_of(wrong, CoarseHead(brain, brain, counts)) < 0.01


@pytest.fixture
def small(monkeypatch):
    """Training on balls, quick to draw."""

    def ball(template, seed):
        random = torch.Generator().manual_seed(seed)
        centre = 12 + 8 * torch.rand(3, generator=random)
        axes = torch.stack(torch.meshgrid(*[torch.arange(32.0)] * 3, indexing="ij"), -1)
        brain = ((axes - centre).norm(dim=-1) < 10).float()
        return CoarseHead(brain + 0.2, brain, torch.ones(32, 32, 32, dtype=torch.bool))

    monkeypatch.setattr(training, "make_coarse_head", ball)
    monkeypatch.setattr(training, "CoarseTemplate", lambda template: None)
    monkeypatch.setattr(training, "load_template", lambda: None)


def test_training_learns_and_goes_on_where_it_was(small, tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    whole = torch.load(train_brain_mask(tmp_path / "whole", 16, save_every=4, threads=1), weights_only=True)
    with (tmp_path / "whole" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert 0 < float(rows[-1]["dice"]) <= 1

    drawn, draw = [], training.make_coarse_head

    def draw_some(template, seed):
        if len(drawn) == 10:
            raise Stopped
        drawn.append(seed)
        return draw(template, seed)

    monkeypatch.setattr(training, "make_coarse_head", draw_some)
    with pytest.raises(Stopped):
        train_brain_mask(tmp_path / "killed", 16, save_every=4, threads=1)
    monkeypatch.setattr(training, "make_coarse_head", draw)
    resumed = torch.load(
        train_brain_mask(tmp_path / "killed", 16, save_every=4, threads=1), weights_only=True
    )
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor)


def test_training_begins_with_the_weights_of_another_run(small, tmp_path):
    first = train_brain_mask(tmp_path / "first", 12, save_every=4, threads=1)
    train_brain_mask(tmp_path / "second", 4, seed=1, save_every=2, threads=1, init=first)

    losses = []
    for name in ("first", "second"):
        with (tmp_path / name / "log.csv").open() as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert losses[1][0] < losses[0][0]


@pytest.mark.parametrize("seed", range(6_000_000, 6_000_003))
def test_the_demos_mask_is_the_same_in_more_air(seed, monkeypatch):
    """In the corners around a turned head there is much, and its mask took in half a head."""
    for share, value in (("WHOLE", 1), ("STRIPPED", 0), ("CUT", 0), ("DEFACED", 0)):
        monkeypatch.setattr(coarse_heads, f"{share}_SHARE", value)
    image = make_coarse_head(CoarseTemplate(load_template()), seed).image.numpy()
    entry = load_checkpoint(OWN_WEIGHTS)[1]["brain_mask"]

    found = find_brain(entry, image, (SPACING,) * 3)
    air = np.pad(image, AIR, constant_values=0.03)
    in_air = find_brain(entry, air, (SPACING,) * 3)[(slice(AIR, -AIR),) * 3]

    sizes = np.count_nonzero(found), np.count_nonzero(in_air)
    assert 700 < sizes[0] * SPACING**3 / 1000 < 2300, "ml"
    assert 2 * np.count_nonzero(found & in_air) > 0.97 * sum(sizes)
