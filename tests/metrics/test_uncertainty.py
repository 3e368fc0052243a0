"""Blocked errors of correlated series with a known variance of the mean."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.metrics.accuracy import Squares
from trajlab.metrics.uncertainty import blocked_mean, bootstrap


def autoregressive(rho: float, runs: int, n: int, seed: int) -> torch.Tensor:
    """x_t = rho x_(t-1) + sqrt(1 - rho^2) xi: unit variance, correlation rho^lag."""
    noise = torch.randn(runs, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    series = [noise[:, 0]]
    for k in range(1, n):
        series.append(rho * series[-1] + math.sqrt(1 - rho**2) * noise[:, k])
    return torch.stack(series, 1)


@pytest.mark.parametrize("rho", [0.0, 0.8, 0.95])
def test_error_of_an_autoregressive_series(rho):
    runs, n = 4, 4096
    exact = math.sqrt((1 + rho) / (1 - rho) / (runs * n))
    errors = [blocked_mean(autoregressive(rho, runs, n, seed)).error for seed in range(6)]
    assert sum(errors) / len(errors) == pytest.approx(exact, rel=0.2)


def test_the_mean_skips_the_dead_and_says_when_all_are():
    series = torch.tensor([[1.0, 2.0, 3.0, float("nan")]], dtype=torch.float64)
    live = torch.tensor([[True, True, True, False]])
    assert blocked_mean(series, live).value == pytest.approx(2.0)
    assert math.isnan(blocked_mean(series, live).error)
    with pytest.raises(ValueError, match="nothing to average"):
        blocked_mean(series, ~live & False)


def test_bootstrap_of_a_mean():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = bootstrap(lambda count: (count @ values) / count.sum(), 50, draws=500)
    assert float(draws.std()) == pytest.approx(float(values.std()) / math.sqrt(50), rel=0.15)


def squares(error: float, runs: int = 40, seed: int = 0) -> Squares:
    generator = torch.Generator().manual_seed(seed)
    true = torch.randn(2 * runs, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 10.0]).repeat(runs)[:, None]
    kind, run = torch.tensor([1, 8]).repeat(runs), torch.arange(runs).repeat_interleave(2)
    return Squares.of(true * (1 + error), true, kind, run)


def test_relative_and_absolute_errors():
    score = squares(0.1)
    assert torch.allclose(score.relative(), torch.full((3,), 0.1, dtype=torch.float64))
    assert score.element.tolist() == [1, 8]
    absolute = score.absolute()
    assert float(absolute[1]) == pytest.approx(0.1, rel=0.2)
    assert float(absolute[2]) == pytest.approx(1.0, rel=0.2)
    assert float(absolute[0]) == pytest.approx(math.sqrt((float(absolute[1]) ** 2 + float(absolute[2]) ** 2) / 2))
    assert score.estimates()[0].error == pytest.approx(0.0, abs=1e-12)


def test_ratio_of_two_models():
    assert squares(0.1).below(squares(0.5)).value == pytest.approx(5.0)
    with pytest.raises(ValueError, match="same test set"):
        squares(0.1).below(squares(0.1, runs=3))
    with pytest.raises(ValueError, match="node 1 is not finite"):
        Squares.of(torch.tensor([[0.0] * 3, [float("nan")] * 3]), torch.zeros(2, 3), torch.tensor([1, 1]), torch.tensor([0, 0]))
