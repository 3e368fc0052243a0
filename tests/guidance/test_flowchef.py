"""FlowChef: the posterior of a Gaussian, linear and nonlinear observations, every path, and its checks."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from guided_systems import F64, Gaussian, autoregressive, bivariate, normal, rotation, seeded, springs

from trajlab.guidance.flowchef import FlowChef, squared_norm
from trajlab.paths.schedules import EDM, Rectified, VPLinear
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import at_times, explicit, uniform_lam
from trajlab.samplers.sample import sample

EULER = DEIS(order=1, kind="x0")
SEEN = [0, 5, 10, 15]
FREE = [k for k in range(16) if k not in SEEN]


def posterior_run(step, steps=50, last=True, rows=1024, seed=100):
    """(residual, RMS error of the mean, ratio of variances) for 16 numbers of which four are known."""
    data, path = autoregressive(), Rectified()
    value = data.sample(1, seeded(seed))
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[:, SEEN] = True
    covariance = data.covariance[0]
    gain = covariance[:, SEEN] @ torch.linalg.inv(covariance[SEEN][:, SEEN])
    mean, variance = gain @ value[0, SEEN], (covariance - gain @ covariance[SEEN]).diagonal()
    value = torch.where(mask, value, float("nan"))
    hook = FlowChef.observing(value.expand(rows, -1), mask.expand(rows, -1), step, last=last)
    grid = at_times(path, torch.linspace(0, 1, steps + 1, dtype=F64))
    x = sample(Gaussian(data, path), grid, normal(rows, 16, seed=1), EULER, hooks=[hook]).x
    residual = float((x[:, SEEN] - value[0, SEEN]).pow(2).mean().sqrt())
    return residual, float((x.mean(0) - mean)[FREE].pow(2).mean().sqrt()), float(x.var(0)[FREE].mean() / variance[FREE].mean())


def test_the_gaussian_posterior():
    residual, error, ratio = posterior_run(0.25)
    assert residual < 0.02
    assert error < 0.08
    assert 0.9 < ratio < 1.1


def test_a_free_last_step_doubles_the_residual_and_a_small_step_is_not_enough():
    steered, free, weak = (posterior_run(s, last=last, rows=1024) for s, last in ((0.25, True), (0.25, False), (0.05, True)))
    assert 1.7 < free[0] / steered[0] < 2.3
    assert weak[0] > 0.05
    assert weak[2] > 1.5


def test_a_first_order_run_is_the_same_on_every_path():
    """States of equal signal-to-noise ratio are proportional, and so must the steered ones be."""
    data = bivariate()
    lam = torch.linspace(-3, 4, 30, dtype=F64)
    hook = FlowChef(lambda x0: (x0[:, 0] - 1.5) ** 2, 0.25)
    ends, noise = [], normal(64, 2)
    for path in (Rectified(), VPLinear(), EDM()):
        grid = explicit(path, lam)
        start = grid.levels[0].sigma * noise
        ends.append(sample(Gaussian(data, path), grid, start, DEIS(order=1), hooks=[hook]).x)
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ends[2], ends[0], rtol=1e-9, atol=1e-9)


def test_a_linear_operator_is_observed():
    """The mean of two coordinates is known; the same as seeing that direction."""
    data, path = bivariate(0.3), Rectified()
    hook = FlowChef.linear(lambda x: (x[:, :1] + x[:, 1:]) / 2**0.5, torch.tensor([[1.2]], dtype=F64), (2,), 0.25)
    start = normal(64, 2, seed=3)
    x = sample(Gaussian(data, path), at_times(path, torch.linspace(0, 1, 51, dtype=F64)), start, EULER, hooks=[hook]).x
    along = (x[:, 0] + x[:, 1]) / 2**0.5
    assert float((along - 1.2).abs().max()) < 0.05
    # The other direction stays free: a standard normal start times the standard deviation there.
    gain = (x[:, 0] - x[:, 1]) / (start[:, 0] - start[:, 1])
    torch.testing.assert_close(gain, torch.full_like(gain, 0.7**0.5), rtol=0.03, atol=0)


def test_a_nonlinear_loss_pulls_a_distance():
    """Bond length of two particles: |x_1 - x_2| towards 2."""
    denoiser, path = springs(Rectified()), Rectified()

    def bond(x0):
        return (((x0[:, 0] - x0[:, 1]).norm(dim=-1) - 2.0) ** 2).sum(1)

    grid, start = at_times(path, torch.linspace(0, 1, 41, dtype=F64)), normal(6, 4, 3, 3)
    free = sample(denoiser, grid, start, EULER).x
    held = sample(denoiser, grid, start, EULER, hooks=[FlowChef(bond, 0.2)]).x
    assert float(bond(held).max()) < 0.04 < 0.5 < float(bond(free).min())
    turn = rotation()
    turned = sample(denoiser, grid, start @ turn, EULER, hooks=[FlowChef(bond, 0.2)]).x
    torch.testing.assert_close(turned, held @ turn, rtol=1e-8, atol=1e-8)
    alone = sample(denoiser, grid, start[2:3], EULER, hooks=[FlowChef(bond, 0.2)]).x
    torch.testing.assert_close(alone, held[2:3], rtol=1e-10, atol=1e-10)


def test_nothing_goes_back_through_the_net():
    calls = []

    class Watched:
        def __call__(self, x, t):
            calls.append(x.requires_grad)
            return 0.5 * x

    from trajlab.paths.denoiser import Denoiser

    path = VPLinear()
    with torch.no_grad():
        out = sample(Denoiser(Watched(), path), uniform_lam(path, 5), normal(3, 4), hooks=[FlowChef(lambda x0: (x0**2).sum(1))]).x
    assert not any(calls)
    assert not out.requires_grad


def test_windows_and_rows_at_different_levels():
    path = VPLinear()
    hook = FlowChef(lambda x0: (x0**2).sum(1), 0.25, window=(0.0, 5.0), last=False)
    x = normal(3, 4)
    prediction = bivariate().denoiser(path)(normal(3, 2), path.level(0.0)).replaced("x0", x)
    assert hook.after_step(x, prediction, path.level(-1.0)) is x
    assert not torch.equal(hook.after_step(x, prediction, path.level(1.0)), x)
    rows = hook.after_step(x, prediction, path.level(torch.tensor([-1.0, 1.0, math.inf], dtype=F64), like=x))
    torch.testing.assert_close(rows[[0, 2]], x[[0, 2]])
    torch.testing.assert_close(rows[1], hook.after_step(x, prediction, path.level(1.0))[1])


def test_the_norm_and_its_warning():
    matrix = normal(5, 7, seed=2)

    def operator(x):
        return x.flatten(1) @ matrix.mT

    assert squared_norm(operator, (7,), matrix, 200) == pytest.approx(float(torch.linalg.matrix_norm(matrix, 2) ** 2), rel=1e-3)
    with pytest.warns(UserWarning, match="overshoots; use step <="):
        FlowChef.linear(operator, torch.zeros(1, 5, dtype=F64), (7,), 0.25)
    with pytest.warns(UserWarning, match="overshoots"):
        FlowChef.observing(torch.zeros(1, 5), torch.ones(1, 5, dtype=torch.bool), 0.6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FlowChef.linear(operator, torch.zeros(1, 5, dtype=F64), (7,), 0.01)
        FlowChef.observing(torch.zeros(1, 5), torch.ones(1, 5, dtype=torch.bool), 0.5)


def test_bad_input():
    x0 = normal(3, 4)
    with pytest.raises(ValueError, match="positive step"):
        FlowChef(lambda x: x.sum(1), 0.0)
    with pytest.raises(ValueError, match="one number a row"):
        FlowChef(lambda x: (x**2).sum()).gradient(x0)
    with pytest.raises(ValueError, match="differentiable"):
        FlowChef(lambda x: x.detach().sum(1)).gradient(x0)
    with pytest.raises(ValueError, match="not linear"):
        FlowChef.linear(lambda x: x**2, x0, (4,))
    with pytest.raises(ValueError, match="the mask has shape"):
        FlowChef.observing(x0, torch.ones(3, 5, dtype=torch.bool)).gradient(x0)
    with pytest.raises(ValueError, match="the observed value has shape"):
        FlowChef.observing(normal(3, 5), torch.ones(3, 4, dtype=torch.bool)).gradient(x0)
