"""Stochastic equations: moments of Ornstein-Uhlenbeck, strong orders on geometric Brownian motion, independence of rows, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.ode import solve
from trajlab.dynamics.sde import _row_noise, solve_sde


def decay(t, x, p):
    return (-p[0] * x[0],)


def grow(t, x, p):
    return (p[0] * x[0],)


PULL = VectorField(decay, 1, np.array([1.5]), ("rate",), "Ornstein-Uhlenbeck")


def test_ornstein_uhlenbeck_has_its_mean_variance_and_autocovariance():
    rate, strength, rows = 1.5, 0.7, 2000
    got = solve_sde(PULL, np.full((rows, 1), 2.0), np.linspace(0, 3, 7), noise=strength, dt=0.1, seed=3)
    x, t = got.x[:, :, 0], got.times
    variance = strength**2 / (2 * rate) * (1 - np.exp(-2 * rate * t))
    assert np.abs(x.mean(0) - 2 * np.exp(-rate * t)).max() < 4 * np.sqrt(variance[-1] / rows)
    assert np.abs(x.var(0)[1:] / variance[1:] - 1).max() < 4 * np.sqrt(2 / rows)
    lag = np.cov(x[:, 4], x[:, 6])[0, 1]
    assert abs(lag - variance[4] * np.exp(-rate * (t[6] - t[4]))) < 4 * variance[-1] / np.sqrt(rows)


@pytest.mark.parametrize(("method", "calculus", "order"), [
    ("srk", "ito", 1.5), ("milstein", "ito", 1.0), ("euler", "ito", 0.5), ("midpoint", "stratonovich", 1.0)])
def test_strong_order_on_geometric_brownian_motion(method, calculus, order):
    mu, sigma, rows = 0.5, 0.8, 300
    drift = mu - 0.5 * sigma**2 if calculus == "ito" else mu
    numbers = np.stack([np.random.default_rng([0, i]).standard_normal((256, 2, 1))[:, 0, 0] for i in range(rows)])
    errors = []
    for steps in (4, 16, 64):
        got = solve_sde(VectorField(grow, 1, np.array([mu])), np.ones((rows, 1)), [0.0, 1.0], noise=lambda t, x: sigma * x, method=method,
                        dt=1 / steps, calculus=calculus)
        end = np.exp(drift + sigma * numbers[:, :steps].sum(1) / np.sqrt(steps))
        errors.append(np.sqrt(np.mean((got.x[:, -1, 0] - end) ** 2)))
    orders = np.log(np.array(errors[:-1]) / errors[1:]) / np.log(4.0)
    assert abs(orders.mean() - order) < 0.25, (errors, orders)


def test_rows_do_not_depend_on_their_batch_mates():
    x0 = np.linspace(-1, 1, 5)[:, None]
    together = solve_sde(PULL, x0, [0.0, 0.1, 1.0], noise=0.3, dt=0.01).x
    assert np.allclose(together[:2], solve_sde(PULL, x0[:2], [0.0, 0.1, 1.0], noise=0.3, dt=0.01).x, rtol=0, atol=1e-14)
    assert not np.allclose(together[0], -together[4])
    assert not np.allclose(together, solve_sde(PULL, x0, [0.0, 0.1, 1.0], noise=0.3, dt=0.01, seed=1).x)


def test_without_noise_it_is_the_ordinary_equation():
    got = solve_sde(PULL, [2.0], [0.0, 0.5, 2.0], noise=0.0, dt=0.01, method="midpoint", calculus="stratonovich")
    assert np.abs(got.x - solve(PULL, [2.0], [0.0, 0.5, 2.0]).x).max() < 1e-4


def test_modules_and_tensors_with_gradients():
    net = torch.nn.Linear(2, 2, dtype=torch.float64)
    x0 = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    got = solve_sde(lambda t, x: torch.tanh(net(x)), x0, [0.0, 0.3], noise=[0.1, 0.2], dt=0.1)
    got.x[:, -1].square().sum().backward()
    assert isinstance(got.x, torch.Tensor)
    assert x0.grad.abs().min() > 0
    assert net.weight.grad.abs().min() > 0
    compiled_and_not = [solve_sde(PULL, x, [0.0, 1.0], noise=0.3, dt=0.05).x for x in (torch.ones(2, 1, dtype=torch.float64),
                                                                                       torch.ones(2, 1, dtype=torch.float64, requires_grad=True))]
    assert torch.allclose(*compiled_and_not)


def test_what_diverges_is_marked_and_the_others_go_on():
    field = VectorField(lambda t, x, p: (x[0] ** 3,), 1, name="cube")
    kept = solve_sde(field, [[3.0], [0.0]], np.linspace(0, 1, 6), noise=1e-3, dt=0.02, failed="keep")
    assert kept.status.tolist() == [4, 0]
    assert np.isnan(kept.x[0, -1]).all()
    assert np.isfinite(kept.x[1]).all()
    with pytest.raises(ValueError, match=r"cube: 1 of 2 trajectories ended.*Take a shorter step"):
        solve_sde(field, [[3.0], [0.0]], np.linspace(0, 1, 6), noise=1e-3, dt=0.02)


@pytest.mark.parametrize(("x0", "times", "more", "message"), [
    ([1.0], [0, 1], {"method": "srq"}, "did you mean 'srk'"),
    ([1.0], [0, 1], {"calculus": "itto"}, "did you mean 'ito'"),
    ([1.0], [0, 1], {"method": "srk", "calculus": "stratonovich"}, "method for stratonovich"),
    ([1.0], [1, 0], {}, "forward in time only"),
    ([1.0], [0, 1], {"dt": 0.0}, "positive step"),
    ([1.0], [0, 1], {"noise": [1.0, 2.0]}, r"noise of shape \(2,\)"),
    ([1.0], [0, 1], {"noise": np.nan}, "a finite number"),
    ([1.0, 2.0], [0, 1], {}, r"\[batch 1\] was wanted"),
    ([1.0], [0, 1], {"failed": "ignore"}, "'raise' or 'keep'"),
])
def test_bad_input(x0, times, more, message):
    with pytest.raises(ValueError, match=message):
        solve_sde(PULL, x0, times, **{"noise": 0.1, **more})
    with pytest.raises(TypeError, match="the drift is a float"):
        solve_sde(3.0, [1.0], [0, 1], noise=0.1)


def test_increments_and_their_integrals_have_the_covariance_of_brownian_motion():
    """Over a step h: Var W = h, Var of the integral of W = h^3 / 3, covariance h^2 / 2."""
    h = 0.3
    noise = _row_noise(400, 20, 0, torch.zeros(1, dtype=torch.float64))
    w, integral = (v.flatten().numpy() for v in noise(0.0, h, return_U=True))
    found = np.cov(w, integral)
    assert np.allclose(found, [[h, h**2 / 2], [h**2 / 2, h**3 / 3]], rtol=0.07)
    assert torch.equal(noise(0.0, h), noise(0.0, h, return_U=True)[0])
