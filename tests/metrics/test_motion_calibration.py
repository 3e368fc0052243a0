"""Calibration in the plane: known laws come out calibrated, wrong ones as wrong as they are."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import f as fisher

from trajlab.metrics.motion_calibration import coverage_of, draw_levels, draw_spread, mixture_levels, mixture_pit, mixture_spread, reliability

AT = torch.tensor([0.1, 0.3, 0.5, 0.68, 0.9, 0.95], dtype=torch.float64)


def case(nodes=400, modes=3, frames=5, seed=0):
    """A mixture with modes apart, and truths from it."""
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(nodes, modes, frames, 2, 2, generator=g, dtype=torch.float64).tril()
    covariance = root @ root.mT + 0.05 * torch.eye(2)
    mean = 2 * torch.randn(nodes, modes, frames, 2, generator=g, dtype=torch.float64)
    p = torch.rand(nodes, modes, generator=g, dtype=torch.float64) + 0.1
    p = p / p.sum(-1, True)
    mode = torch.multinomial(p, frames, replacement=True, generator=g)
    n, t = torch.meshgrid(torch.arange(nodes), torch.arange(frames), indexing="ij")
    z = torch.randn(nodes, frames, 2, 1, generator=g, dtype=torch.float64)
    truth = mean[n, mode, t] + (torch.linalg.cholesky(covariance)[n, mode, t] @ z)[..., 0]
    return p, mean, covariance, truth, torch.ones(nodes, frames, dtype=torch.bool)


def test_one_gaussian_by_hand():
    """68 % and 95 % of a chi-square with 2 degrees of freedom are 2.279 and 5.991."""
    truth = torch.tensor([[[2 * math.sqrt(2.279), 0.0], [0.0, math.sqrt(5.991)]]], dtype=torch.float64)
    covariance = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64)).expand(1, 1, 2, 2, 2)
    level = mixture_levels(torch.ones(1, 1), torch.zeros(1, 1, 2, 2), covariance, truth, torch.ones(1, 2, dtype=torch.bool))
    assert level[0].tolist() == pytest.approx([0.68, 0.95], abs=1e-4)
    assert float(coverage_of(level, 0.9)) == 0.5
    assert reliability(level, torch.tensor([0.5, 0.7, 0.96], dtype=torch.float64)).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("modes", [1, 3])
def test_a_true_mixture_is_calibrated(modes):
    level = mixture_levels(*case(modes=modes), generator=torch.Generator().manual_seed(3))
    assert torch.allclose(reliability(level, AT), AT, atol=0.035)  # 2000 truths: a standard error of 0.011


def test_the_nearest_mode_is_never_farther_and_not_calibrated():
    p, mean, covariance, truth, mask = case(modes=8)
    nearest = mixture_levels(p, mean, covariance, truth, mask, "nearest_mode")
    assert float(reliability(nearest, AT)[2]) > 0.6  # of a level of 0.5
    single = mixture_levels(p[:, :1], mean[:, :1], covariance[:, :1], truth, mask)
    assert bool((nearest <= single + 1e-12).all())


def test_too_narrow_and_too_wide():
    p, mean, covariance, truth, mask = case(modes=1)
    assert float(reliability(mixture_levels(p, mean, covariance / 4, truth, mask), AT)[3]) == pytest.approx(1 - 0.32**0.25, abs=0.035)
    assert float(reliability(mixture_levels(p, mean, covariance * 4, truth, mask), AT)[3]) == pytest.approx(1 - 0.32**4, abs=0.02)


def test_levels_of_draws_follow_the_f_distribution_and_are_calibrated_for_few():
    g = torch.Generator().manual_seed(0)
    for count in (4, 20):
        mix = torch.tensor([[1.0, 0.8], [0.0, 0.4]], dtype=torch.float64)
        draws, truth = (torch.randn(n, 2000, 1, 2, generator=g, dtype=torch.float64) @ mix for n in (count, 1))
        level = draw_levels(draws, truth[0], torch.ones(2000, 1, dtype=torch.bool), least_std=0.0)
        assert torch.allclose(reliability(level, AT), AT, atol=0.035)
        x, y = draws[:, 0, 0], truth[0, 0, 0]
        square = float((y - x.mean(0)) @ torch.linalg.inv(torch.cov(x.T)) @ (y - x.mean(0))) * count / (count + 1)
        assert float(level[0, 0]) == pytest.approx(fisher.cdf(square * (count - 2) / (2 * (count - 1)), 2, count - 2))
    shuffled = draw_levels(draws.flip(0), truth[0], torch.ones(2000, 1, dtype=torch.bool), least_std=0.0)
    assert torch.allclose(shuffled, level)


def test_levels_do_not_depend_on_the_frame_or_on_what_is_hidden():
    p, mean, covariance, truth, mask = case(nodes=50)
    mask = torch.rand(mask.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    seeded = lambda: torch.Generator().manual_seed(1)  # noqa: E731
    want = mixture_levels(p, mean, covariance, truth, mask, generator=seeded())
    assert torch.equal(want.isnan(), ~mask)
    bad = torch.where(mask[..., None], truth, math.nan)
    assert torch.equal(mixture_levels(p, mean, covariance, bad, mask, generator=seeded())[mask], want[mask])
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    turned = mixture_levels(p[:, :1], mean[:, :1] @ turn.T, turn @ covariance[:, :1] @ turn.T, truth @ turn.T, mask)
    assert torch.allclose(turned[mask], mixture_levels(p[:, :1], mean[:, :1], covariance[:, :1], truth, mask)[mask])


def test_pit_along_and_across():
    p, mean, covariance, truth, mask = case()
    heading = torch.rand(mask.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 6
    pit = mixture_pit(p, mean, covariance, truth, heading)
    counts = torch.histc(pit[..., 0].flatten(), 10, 0, 1) / pit[..., 0].numel()
    assert float((counts - 0.1).abs().max()) < 0.03
    one = mixture_pit(torch.ones(1, 1), torch.zeros(1, 1, 1, 2), torch.diag(torch.tensor([4.0, 1.0])).expand(1, 1, 1, 2, 2),
                      torch.tensor([[[0.0, 1.0]]]), torch.tensor([[math.pi / 2]]))
    assert one[0, 0].tolist() == pytest.approx([0.8413447, 0.5], abs=1e-6)  # the truth lies one standard deviation ahead
    left = mixture_pit(torch.ones(1, 1), torch.zeros(1, 1, 1, 2), torch.diag(torch.tensor([4.0, 1.0])).expand(1, 1, 1, 2, 2),
                       torch.tensor([[[-1.0, 0.0]]]), torch.tensor([[math.pi / 2]]))
    assert left[0, 0].tolist() == pytest.approx([0.5, 0.6914625], abs=1e-6)


def test_spread():
    mean = torch.tensor([[[[-3.0, 0.0]], [[3.0, 0.0]]]])
    covariance = torch.diag(torch.tensor([1.0, 2.0])).expand(1, 2, 1, 2, 2)
    assert float(mixture_spread(torch.tensor([[0.5, 0.5]]), mean, covariance)) == pytest.approx(math.sqrt((3 + 9) / 2))
    draws = torch.tensor([[[[0.0, 0.0]]], [[[2.0, 4.0]]]])
    assert float(draw_spread(draws)) == pytest.approx(math.sqrt((2 + 8) / 2))


def test_bad_input():
    p, mean, covariance, truth, mask = case(nodes=2)
    with pytest.raises(ValueError, match="region"):
        mixture_levels(p, mean, covariance, truth, mask, "highest")
    with pytest.raises(ValueError, match="samples=0"):
        mixture_levels(p, mean, covariance, truth, mask, samples=0)
    with pytest.raises(ValueError, match="not positive definite"):
        mixture_levels(p, mean, -covariance, truth, mask)
    with pytest.raises(ValueError, match="at least 3"):
        draw_levels(torch.zeros(2, 1, 1, 2), torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="level 68"):
        coverage_of(torch.zeros(1, 1), 68.0)
    with pytest.raises(ValueError, match="nothing to score"):
        reliability(torch.full((1, 1), math.nan), AT)
    with pytest.raises(ValueError, match="no spread"):
        draw_spread(torch.zeros(1, 1, 1, 2))
