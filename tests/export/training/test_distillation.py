"""Self-distillation against its formulas in float64 NumPy, and what each term may and may not move."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss

from msdk_export.families.msd_kmamba.scales import Scales
from msdk_export.training.distillation import (
    DistillationWeights,
    SelfDistillationLoss,
    feature_distillation,
    logit_distillation,
    one_hot,
)
from msdk_rt.errors import InputError

CLASSES, SIDES = 3, (8, 12, 4)


def random_scales(seed, batch=2, scales=3, spread=3.0):
    torch.manual_seed(seed)
    sizes = [[side >> s for side in SIDES] for s in range(scales)]

    def random(channels, size):
        return (spread * torch.randn(batch, channels, *size)).requires_grad_()

    return Scales(
        random(CLASSES, sizes[0]),
        [random(CLASSES, size) for size in sizes],
        [random(4 + s, size) for s, size in enumerate(sizes)],
    )


def random_target(seed, batch=2):
    return torch.randint(CLASSES, (batch, 1, *SIDES), generator=torch.Generator().manual_seed(seed))


def softmax(logits):
    exponent = np.exp(logits - logits.max(1, keepdims=True))
    return exponent / exponent.sum(1, keepdims=True)


def pool(x, factor):
    batch, channels, *sides = x.shape
    blocks = x.reshape(batch, channels, *(n for side in sides for n in (side // factor, factor)))
    return blocks.mean((3, 5, 7))


def float64(x):
    return x.detach().double().numpy()


@given(seed=st.integers(0, 99), temperature=st.sampled_from([0.5, 1.0, 2.0, 7.0]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_distillation_is_its_formula(seed, temperature):
    scales = random_scales(seed)
    expected = []
    for s, head in enumerate(scales.heads):
        teacher = pool(softmax(float64(scales.fused) / temperature), 2**s)
        student = softmax(float64(head) / temperature)
        divergence = (teacher * (np.log(teacher) - np.log(student))).sum(1)
        expected.append(temperature**2 * divergence.mean())

    assert logit_distillation(scales, temperature).item() == pytest.approx(np.mean(expected), rel=1e-4)


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_feature_term_is_its_formula(seed):
    features = random_scales(seed).features

    def normalised(maps):
        return maps / np.sqrt((maps**2).mean((1, 2, 3, 4), keepdims=True))

    maps = [normalised((float64(f) ** 2).mean(1, keepdims=True)) for f in features]
    expected = np.mean([((maps[s] - normalised(pool(maps[s - 1], 2))) ** 2).mean() for s in (1, 2)])

    assert feature_distillation(features).item() == pytest.approx(expected, rel=1e-4)


def test_supervision_of_the_fused_head_is_dice_and_cross_entropy():
    scales, target = random_scales(1), random_target(1)
    probabilities = softmax(float64(scales.fused))
    truth = float64(one_hot(target, CLASSES))
    cross_entropy = -(truth * np.log(probabilities)).sum(1).mean()
    dice = DiceLoss(softmax=True)(scales.fused.detach(), one_hot(target, CLASSES)).item()

    terms = SelfDistillationLoss()(scales, target).terms

    assert terms["fused"].item() == pytest.approx(dice + cross_entropy, rel=1e-5)


def test_total_is_the_weighted_sum_of_the_terms_reported():
    weights = DistillationWeights(distillation=0.7, feature=0.2, temperature=3.0, scale_decay=0.25)

    total, terms = SelfDistillationLoss(weights)(random_scales(2), random_target(2))

    assert set(terms) == {"fused", "heads", "distillation", "feature"}
    expected = terms["fused"] + terms["heads"] + 0.7 * terms["distillation"] + 0.2 * terms["feature"]
    torch.testing.assert_close(total.detach(), expected)
    assert not any(term.requires_grad for term in terms.values())


def test_a_perfect_coarse_head_is_a_fraction_of_each_class():
    scales, target = random_scales(3, scales=2), random_target(3)
    fractions = torch.from_numpy(pool(float64(one_hot(target, CLASSES)), 2)).float()
    loss = SelfDistillationLoss(DistillationWeights(scale_decay=1.0))

    def heads(coarse_probabilities):
        coarse = coarse_probabilities.clamp(min=1e-6).log()
        return loss(Scales(scales.fused, [scales.heads[0], coarse], scales.features), target).terms["heads"]

    majority = one_hot(fractions.argmax(1, keepdim=True), CLASSES)
    assert heads(fractions) < heads(majority)


def test_teacher_is_not_moved_by_its_students():
    scales = random_scales(4)

    (logit_distillation(scales, 2.0) + feature_distillation(scales.features)).backward()

    assert scales.fused.grad is None
    assert scales.features[0].grad is None
    assert all(head.grad.abs().max() > 0 for head in scales.heads)
    assert all(feature.grad.abs().max() > 0 for feature in scales.features[1:])


def test_students_equal_to_their_teacher_cost_nothing():
    fused = torch.randn(1, CLASSES, *SIDES)
    features = [torch.ones(1, 4, 8, 12, 4), torch.full((1, 6, 4, 6, 2), -5.0)]

    assert logit_distillation(Scales(fused, [fused], []), 2.0).item() == pytest.approx(0, abs=1e-6)
    assert feature_distillation(features).item() == pytest.approx(0, abs=1e-6)


def test_weights_of_zero_leave_supervision_alone():
    scales, target = random_scales(5), random_target(5)

    total, terms = SelfDistillationLoss(DistillationWeights(distillation=0, feature=0))(scales, target)

    torch.testing.assert_close(total.detach(), terms["fused"] + terms["heads"])


def test_plain_logits_get_supervision_alone():
    scales, target = random_scales(6), random_target(6)
    loss = SelfDistillationLoss()

    assert loss(scales.fused, target).terms == {"fused": loss(scales, target).terms["fused"]}


def test_dead_features_and_certain_logits_stay_finite():
    scales = Scales(
        1e4 * torch.eye(CLASSES)[torch.zeros(96 * 4, dtype=int)].T.reshape(1, CLASSES, *SIDES),
        [torch.full((1, CLASSES, *SIDES), -1e4).requires_grad_()],
        [torch.zeros(1, 4, *SIDES), torch.zeros(1, 4, 4, 6, 2, requires_grad=True)],
    )

    total, _ = SelfDistillationLoss()(scales, random_target(7, batch=1))
    total.backward()

    assert total.isfinite()
    assert scales.heads[0].grad.isfinite().all()
    assert scales.features[1].grad.isfinite().all()


def test_half_precision_logits_are_compared_in_float32():
    scales, target = random_scales(8), random_target(8)
    half = Scales(
        scales.fused.bfloat16(), [h.bfloat16() for h in scales.heads], [f.bfloat16() for f in scales.features]
    )

    for name, term in SelfDistillationLoss()(half, target).terms.items():
        assert term.item() == pytest.approx(
            SelfDistillationLoss()(scales, target).terms[name].item(), rel=0.05
        )


@pytest.mark.parametrize(
    "wrong",
    [{"distillation": -1}, {"feature": float("nan")}, {"temperature": 0}, {"scale_decay": -0.5}],
)
def test_impossible_weights_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        DistillationWeights(**wrong)
