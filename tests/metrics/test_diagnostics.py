"""Hallucination scores, conservativity and intrinsic dimension, where the answer is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from trajlab.metrics.diagnostics import Trace, Window, auc, calibrate, hallucination_score, recall, tune
from trajlab.metrics.field_geometry import asymmetry, flow_dimension, jacobian, score_dimension
from trajlab.paths.schedules import VPTable
from trajlab.sources.mixtures import GaussianMixture


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Hallucinations: three modes on a line, the last half of 1000 ancestral steps.

PATH, FIRST = VPTable(), 500
LEVELS = PATH.levels(PATH.lam_of(torch.linspace(0, 1, 1000, dtype=torch.float64)))[FIRST:]
MODES = GaussianMixture(torch.tensor([[-1.0], [0.0], [1.0]]), torch.full((3, 1, 1), 0.05**2))


def ancestral(cool, n):
    """(predicted clean samples, which samples lie between modes)."""
    g, kept, first = generator(), [], LEVELS[0]
    x = first.alpha * MODES.sample(n, g) + first.sigma * torch.randn(n, 1, generator=g, dtype=torch.float64)
    for s, t in zip(LEVELS, [*LEVELS[1:], PATH.level(math.inf)]):
        clean = MODES.posterior(x, s.alpha, s.sigma, cool)[0]
        kept.append(clean)
        variance = t.sigma**2 / s.sigma**2 * (1 - s.alpha**2 / t.alpha**2)
        x = t.alpha * clean + math.sqrt(max(0.0, t.sigma**2 - variance)) * (x - s.alpha * clean) / s.sigma
        x = x + math.sqrt(variance) * torch.randn(n, 1, generator=g, dtype=torch.float64)
    return kept, (x - MODES.mean.reshape(1, 3)).abs().amin(1) > 0.25


def last(steps):
    return Window(LEVELS[-steps].lam, LEVELS[-1].lam)


@pytest.fixture(scope="module")
def softened():
    kept, bad = ancestral(0.3, 2000)
    return Trace(kept, [level.lam for level in LEVELS]), bad


def test_the_window_decides(softened):
    trace, bad = softened
    assert 0.008 < float(bad.double().mean()) < 0.03
    found = {steps: auc(trace.score(last(steps)), bad) for steps in (10, 50, 100, 200)}
    assert found[50] == pytest.approx(0.89, abs=0.06)
    assert found[10] == pytest.approx(0.78, abs=0.1)
    assert found[100] == pytest.approx(0.73, abs=0.1)
    assert found[200] == pytest.approx(0.54, abs=0.1)


def test_tuning_finds_it(softened):
    trace, bad = softened
    window = tune(trace, bad, candidates=16)
    assert window.auc >= auc(trace.score(last(50)), bad)
    assert window.auc == auc(trace.score(window), bad)
    assert LEVELS[-100].lam < window.start < window.stop


def test_threshold_keeps_good_samples(softened):
    trace, bad = softened
    window = tune(trace, bad, candidates=16)
    scores = trace.score(window)
    good = scores[~bad]
    threshold = calibrate(good[::2], loss=0.05)
    assert float((~threshold.keep(good[1::2])).double().mean()) < 0.08
    assert recall(scores, bad, threshold) > 0.15
    assert not bool(threshold.keep(torch.tensor([math.nan])))


def test_exact_scores_do_not_hallucinate():
    assert int(ancestral(0.0, 100)[1].sum()) == 0


def test_score_by_hand():
    x0 = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[2.0, 0.0], [1.0, 1.0]], [[4.0, 6.0], [1.0, 1.0]]], dtype=torch.float64)[:, None]  # [step 1 node 2]
    lam = [0.0, 1.0, 2.0]
    expected = 0.5 * (8 / 3 + 8.0)  # population variances of (0, 2, 4) and (0, 0, 6)
    torch.testing.assert_close(hallucination_score(x0, lam), torch.tensor([expected]).double())
    torch.testing.assert_close(hallucination_score(x0, lam, pool="mean"), torch.tensor([expected / 2]).double())
    mask = torch.tensor([[False, True]])
    assert float(hallucination_score(x0, lam, mask=mask)) == 0
    assert float(hallucination_score(x0, lam, pool="mean", mask=~mask)) == pytest.approx(expected)
    torch.testing.assert_close(hallucination_score(x0, lam, Window(0.0, 1.0)), torch.tensor([0.5]).double())
    # Far from zero nothing is lost, and turning the coordinates changes nothing.
    torch.testing.assert_close(hallucination_score(x0 + 1e6, lam), torch.tensor([expected]).double())
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    torch.testing.assert_close(hallucination_score(x0 @ turn.mT, lam), torch.tensor([expected]).double())


def test_auc():
    assert auc(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([False, False, True, True])) == 1.0
    assert auc(torch.tensor([1.0, 1.0]), torch.tensor([False, True])) == 0.5
    assert auc(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([False, True, False])) == 0.0


def test_calibration_is_conformal():
    assert calibrate(torch.arange(1.0, 100.0), loss=0.02).value == 98.0  # the 98th of 99
    assert calibrate(torch.arange(1.0, 50.0), loss=0.02).value == 49.0


@pytest.mark.parametrize(("call", "message"), [
    (lambda: Trace([torch.zeros(1, 1)], [0.0]), "at least 2"),
    (lambda: Trace(torch.zeros(2, 1, 1), [1.0, 0.0]), "must rise"),
    (lambda: Trace(torch.zeros(2, 1, 3, 2), [0.0, 1.0], torch.ones(1, 2, dtype=torch.bool)), "first ones"),
    (lambda: Trace(torch.zeros(2, 1, 1), [0.0, 1.0]).score(Window(0.5, 2.0)), "holds 1 of the trace's predictions"),
    (lambda: Trace(torch.zeros(2, 1, 1), [0.0, 1.0]).score(pool="maxi"), "did you mean 'max'"),
    (lambda: auc(torch.zeros(2), torch.zeros(2, dtype=torch.bool)), "0 bad and 2 good"),
    (lambda: calibrate(torch.zeros(10), 0.02), "at least 49 are needed"),
    (lambda: calibrate(torch.zeros(100), 2.0), "between 0 and 1"),
    (lambda: calibrate(torch.full((100,), math.inf)), "not finite"),
    (lambda: asymmetry(lambda x: x, torch.zeros(1, 2), generator(), probes=0), "at least 1"),
    (lambda: jacobian(lambda x: x, torch.zeros(1, 2), mode="back"), "no mode 'back'"),
    (lambda: jacobian(lambda x: x, torch.zeros(1, 2), chunk=0), "at least 1"),
    (lambda: score_dimension(lambda x: x, torch.zeros(1, 2), 0.0), "positive noise level"),
    (lambda: flow_dimension(lambda x: x, torch.zeros(1, 2), -1.0), "positive standard deviation"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Geometry: Gaussian data of rank 3 in 10 dimensions, in turned axes, with and without a gauge.

D = 10
VARIANCE = torch.tensor([1.0, 0.5, 0.25] + [0.0] * 7, dtype=torch.float64)
AXES = torch.linalg.qr(torch.randn(D, D, generator=generator(3), dtype=torch.float64))[0]
COVARIANCE = AXES @ torch.diag(VARIANCE) @ AXES.mT


def spin():
    raw = torch.randn(D, D, generator=generator(4), dtype=torch.float64)
    return (raw - raw.mT) / math.sqrt(2 * D)


def field(sigma, kappa=0.0):
    """The score, and what may be added to it without changing any marginal: c C_sigma... S x with S antisymmetric."""
    total = COVARIANCE + sigma**2 * torch.eye(D, dtype=torch.float64)
    matrix = -torch.linalg.inv(total) + kappa / (sigma**2 * (1 + sigma**2)) * total @ spin()
    return lambda x: x @ matrix.mT


def flow(kappa, steps=300):
    """The probability-flow ODE dx/d log sigma = -sigma^2 f, from 20 to 0.02, by the midpoint rule."""
    nodes = torch.linspace(math.log(20), math.log(0.02), steps + 1, dtype=torch.float64).tolist()

    def run(x):
        for a, b in pairwise(nodes):
            half = x - (b - a) / 2 * math.exp(2 * a) * field(math.exp(a), kappa)(x)
            middle = (a + b) / 2
            x = x - (b - a) * math.exp(2 * middle) * field(math.exp(middle), kappa)(half)
        return x

    return run


def point(n=2):
    return torch.randn(n, D, generator=generator(5), dtype=torch.float64)


def test_jacobian_both_ways():
    x = torch.randn(3, 2, 2, generator=generator(), dtype=torch.float64)
    matrix = torch.randn(4, 4, generator=generator(1), dtype=torch.float64)

    def bent(x):
        return (x.flatten(1) @ matrix.mT).sin().reshape(x.shape)

    exact = (x.flatten(1) @ matrix.mT).cos()[:, :, None] * matrix
    for mode in ("forward", "reverse"):
        for chunk in (1, 3, 9):
            torch.testing.assert_close(jacobian(bent, x, mode=mode, chunk=chunk), exact)


def test_asymmetry():
    x = point()
    assert float(asymmetry(field(0.1), x, generator()).max()) < 1e-12
    turned = spin()
    assert float(asymmetry(lambda x: x @ turned.mT, x, generator()).min()) > 1e6  # no symmetric part
    matrix = torch.randn(D, D, generator=generator(6), dtype=torch.float64)
    exact = float((matrix - matrix.mT).norm() / (matrix + matrix.mT).norm())
    found = asymmetry(lambda x: x @ matrix.mT, x, generator(), probes=400)
    assert float(found[0]) == pytest.approx(exact, rel=0.05)
    alone = asymmetry(lambda x: x @ matrix.mT, x[1:], generator(), probes=400)
    torch.testing.assert_close(alone[0], found[1])


def test_score_dimension_depends_on_the_scale():
    near = score_dimension(field(0.1), point(), 0.1, chunk=4)
    assert near.dims.tolist() == [3, 3]
    expected = 0.01 / (VARIANCE + 0.01)
    torch.testing.assert_close(near.values[0], expected.sort(descending=True).values, rtol=1e-9, atol=1e-9)
    assert score_dimension(field(1.0), point(), 1.0).dims.tolist() == [0, 0]  # too blurred
    assert score_dimension(field(0.1), point(), 0.1, rigid=2).dims.tolist() == [1, 1]


def test_flow_dimension_does_not_feel_a_gauge():
    kappa = 0.5
    for gauge in (0.0, kappa):
        found = flow_dimension(flow(gauge), point(1), 20.0, chunk=D)
        assert found.dims.tolist() == [3]
        torch.testing.assert_close(found.values[0, :3], VARIANCE[:3].sqrt(), rtol=0.01, atol=0)
        torch.testing.assert_close(found.values[0, 3:], torch.full((7,), 0.02, dtype=torch.float64), rtol=0.03, atol=0)
        assert flow_dimension(flow(gauge), point(1), 20.0, threshold=0.6, chunk=D).dims.tolist() == [2]


def test_a_gauge_disturbs_the_score():
    plain, gauged = score_dimension(field(0.05), point(), 0.05), score_dimension(field(0.05, 0.5), point(), 0.05)
    assert float(asymmetry(field(0.05, 0.5), point(), generator(), probes=100).mean()) > 0.05
    gap = lambda found: float(found.values[0, 6] / found.values[0, 7])  # noqa: E731
    assert gap(gauged) < 0.5 * gap(plain)
