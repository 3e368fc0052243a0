"""Integrators in generative time, and the solvers of the probability-flow ODE built on them."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import VE, Rectified, VPCosine, VPTable
from trajlab.samplers.dopri5 import Control, dopri5
from trajlab.samplers.flow_ode import Dopri5, RungeKutta
from trajlab.samplers.grids import explicit, karras, uniform_lam
from trajlab.samplers.hooks import Hook
from trajlab.samplers.ode import flow_field, integrate
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture, gaussian

PATH = VPTable()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MEAN, COVARIANCE = torch.tensor([1.0, -0.5]), torch.tensor([[0.5, 0.2], [0.2, 0.3]])


def gaussian_end(path, x, start, stop):
    """The ODE keeps (x - alpha m) / sqrt(alpha^2 C + sigma^2) where the data are N(m, C)."""
    values, vectors = torch.linalg.eigh(COVARIANCE.double())
    s, t = path.level(start), path.level(stop)
    inside = (x - s.alpha * MEAN) @ vectors / (s.alpha**2 * values + s.sigma**2).sqrt()
    return t.alpha * MEAN + (inside * (t.alpha**2 * values + t.sigma**2).sqrt()) @ vectors.mT


def swing(x, t):
    """x' = cos(t) x: exact e^(sin t)."""
    return t.cos()[:, None] * x


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)])
@pytest.mark.parametrize("backwards", [False, True])
def test_fixed_steps_have_their_order(method, order, backwards):
    x, errors = noise(3, 2), []
    ends = (1.0, 0.0) if backwards else (0.0, 1.0)
    exact = x * math.exp(math.sin(1) if not backwards else -math.sin(1))
    for steps in (20, 40):
        flow = integrate(swing, x, torch.linspace(*ends, steps + 1, dtype=torch.float64), method)
        errors.append(float((flow.x - exact).abs().max()))
        assert flow.nfe == steps * {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}[method]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_trace_has_every_time():
    flow = integrate(swing, noise(2, 1), [0.0, 0.25, 1.0], trace=True)
    assert len(flow.trace) == 3
    assert torch.equal(flow.trace[-1], flow.x)


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)])
def test_dormand_prince_meets_its_tolerance(drop, ends):
    x = noise(5, 3)
    for tolerance in (1e-4, 1e-8):
        flow = dopri5(swing, x, *ends, Control(tolerance, tolerance), drop=drop)
        exact = x * math.exp(math.sin(ends[1]) - math.sin(ends[0]))
        assert float((flow.x - exact).abs().max()) < 10 * tolerance
    assert int(flow.steps.max()) * 6 <= flow.nfe <= int(flow.steps.max()) * 6 + 2


def test_dormand_prince_is_of_fifth_order():
    x, errors = noise(3, 2), []
    for steps in (8, 16):
        keep = lambda error, _x, _new: torch.full((len(error),), 0.9**5, dtype=torch.float64)  # noqa: E731  # leaves the step as it is
        flow = dopri5(swing, x, 0.0, 1.0, Control(first=1 / steps), norm=keep)
        assert flow.steps.tolist() == [steps] * 3
        errors.append(float((flow.x - x * math.exp(math.sin(1))).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("drop", [False, True])
def test_a_row_does_not_depend_on_its_batch(drop):
    rate = torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)

    def stiff(x, t):
        # The rate is carried in the state, so that rows may come in any company.
        return torch.stack([-x[:, 1] * (x[:, 0] - t.cos()), torch.zeros_like(t)], -1)

    x = torch.stack([torch.zeros(3, dtype=torch.float64), rate], -1)
    together = dopri5(stiff, x, 0.0, 1.0, drop=drop)
    assert len(set(together.steps.tolist())) == 3  # each has its own steps
    for row in range(3):
        alone = dopri5(stiff, x[row : row + 1], 0.0, 1.0)
        assert torch.equal(alone.x[0], together.x[row])
        assert int(alone.steps) == int(together.steps[row])


def test_dropped_rows_are_not_called():
    seen = []

    def field(x, _t):
        seen.append(len(x))
        return -x[:, 1:2] * x * torch.tensor([1.0, 0.0], dtype=x.dtype)

    x = torch.tensor([[1.0, 0.01], [1.0, 60.0]], dtype=torch.float64)
    dopri5(field, x, 0.0, 1.0, drop=True)
    assert seen[0] == 2
    assert seen[-1] == 1


def test_rows_may_have_their_own_times():
    x, stop = torch.ones(3, 1, dtype=torch.float64), torch.tensor([0.0, 0.5, -1.0], dtype=torch.float64)
    flow = dopri5(swing, x, 0.0, stop, Control(1e-9, 1e-9))
    torch.testing.assert_close(flow.x[:, 0], stop.sin().exp(), rtol=1e-7, atol=1e-7)
    assert int(flow.steps[0]) == 0


def test_steps_do_not_feel_a_rotation():
    x = noise(4, 3, 5, 2)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)

    def field(x, _t):
        return -x * (1 + x.square().sum(-1, keepdim=True))

    plain, turned = dopri5(field, x, 0.0, 1.0), dopri5(field, x @ turn.mT, 0.0, 1.0)
    assert plain.steps.tolist() == turned.steps.tolist()
    torch.testing.assert_close(plain.x @ turn.mT, turned.x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("blows", [lambda x, _t: x**2 * 1e3, lambda x, t: torch.where(t[:, None] > 0.5, math.nan, 1.0) * x])
def test_a_field_that_cannot_be_followed_is_said_so(blows):
    with pytest.raises(RuntimeError, match=r"row 0 is at t = 0\.\d+ after \d+ tried steps"):
        dopri5(blows, torch.ones(2, 1, dtype=torch.float64), 0.0, 1.0)


def test_the_bound_on_steps():
    with pytest.raises(RuntimeError, match="allow more steps"):
        dopri5(swing, noise(2, 1), 0.0, 1.0, Control(1e-10, 1e-10, most=3))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: integrate(swing, noise(1, 1), [0.0, 1.0], "rk5"), "did you mean 'rk4'"),
    (lambda: integrate(swing, noise(1, 1), [0.0, 1.0, 0.5]), "rise, or fall"),
    (lambda: integrate(swing, noise(1, 1), [0.0]), "at least two times"),
    (lambda: Control(rtol=-1.0), "rtol must not be negative"),
    (lambda: Control(atol=0.0), "atol must be positive"),
    (lambda: Control(most=0), "both must be positive"),
    (lambda: RungeKutta("rk"), "no method 'rk'"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# The solvers of the probability-flow ODE.


@pytest.fixture(scope="module")
def ring():
    mixture, x = GaussianMixture.ring(radial=0.3, tangential=0.3), noise(16, 2)
    stop = float(PATH.lam_of(torch.tensor(0.98, dtype=torch.float64)))
    return mixture, x, PATH.ends[0], stop, mixture.ode_end(PATH, x, PATH.ends[0], stop, 1e-10)


@pytest.mark.parametrize(("method", "order", "calls"), [("euler", 1, 1), ("midpoint", 2, 2), ("heun", 2, 2), ("rk4", 4, 4)])
def test_solvers_have_their_order(ring, method, order, calls):
    mixture, x, start, stop, exact = ring
    errors = []
    for steps in (20, 40):
        found = sample(mixture.denoiser(PATH), uniform_lam(PATH, steps, start, stop, "stop"), x, RungeKutta(method))
        errors.append(float((found.x - exact).flatten(1).norm(dim=1).median()))
        assert found.nfe == calls * steps
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_adaptive_solver_meets_its_tolerance(ring):
    mixture, x, start, stop, exact = ring
    for tolerance in (1e-4, 1e-8):
        found = sample(mixture.denoiser(PATH), uniform_lam(PATH, 1, start, stop, "stop"), x, Dopri5(Control(tolerance, tolerance)))
        assert float((found.x - exact).norm(dim=1).max()) < 50 * tolerance
    assert found.nfe < 400


@pytest.mark.parametrize("path", [VPCosine(), Rectified(), VE(), PATH])
@pytest.mark.parametrize("solver", [RungeKutta("rk4"), Dopri5()])
def test_every_path_gives_the_exact_end(path, solver):
    mixture, x = gaussian(MEAN, COVARIANCE), noise(4, 2)
    start = path.level(-4.0)
    exact = gaussian_end(path, x * start.sigma, -4.0, 4.0)
    found = sample(mixture.denoiser(path), uniform_lam(path, 20, -4.0, 4.0, "stop"), x * start.sigma, solver)
    torch.testing.assert_close(found.x, exact, rtol=3e-4, atol=3e-4)


def test_rescaled_paths_take_the_same_steps():
    mixture, x = GaussianMixture.ring(), noise(8, 2)
    ends = []
    for path in (VPCosine(), VE()):
        start = path.level(-4.0)
        ends.append(sample(mixture.denoiser(path), uniform_lam(path, 2, -4.0, 4.0), x * math.hypot(start.alpha, start.sigma), Dopri5()))
    for other in ends[1:]:
        assert other.nfe == ends[0].nfe
        torch.testing.assert_close(other.x, ends[0].x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", [RungeKutta("rk4"), RungeKutta("heun"), Dopri5()])
def test_ends(solver):
    """From pure noise to the clean end, by a last node at infinity or by the denoising call, is the same."""
    path, mixture, x = Rectified(), gaussian(MEAN, COVARIANCE), noise(8, 2)
    inner = torch.linspace(-6, 7, 12, dtype=torch.float64)
    nodes = torch.cat([torch.tensor([-math.inf], dtype=torch.float64), inner])
    open_ended = sample(mixture.denoiser(path), explicit(path, torch.cat([nodes, torch.tensor([math.inf], dtype=torch.float64)])), x, solver)
    denoised = sample(mixture.denoiser(path), explicit(path, nodes), x, solver)
    assert torch.isfinite(open_ended.x).all()
    torch.testing.assert_close(open_ended.x, denoised.x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(denoised.x, gaussian_end(path, x, -math.inf, math.inf), rtol=0.0, atol=0.02 if solver != RungeKutta("heun") else 0.1)


def test_adaptive_solver_rows_do_not_depend_on_their_batch():
    mixture, x = GaussianMixture.ring(), noise(6, 2)
    grid = uniform_lam(PATH, 2, *PATH.ends)
    together = sample(mixture.denoiser(PATH), grid, x, Dopri5())
    for row in (0, 3):
        alone = sample(mixture.denoiser(PATH), grid, x[row : row + 1], Dopri5())
        torch.testing.assert_close(alone.x[0], together.x[row], rtol=1e-9, atol=1e-9)


def test_padding_changes_nothing():
    mixture, x = GaussianMixture.ring(), noise(4, 1, 1, 2)
    wide = torch.cat([x, torch.zeros_like(x)], 1)
    mask = torch.tensor([True, False])[None, :, None].expand(4, 2, 1)

    class Padded:
        path = PATH

        def __call__(self, x, level, mask=None):
            inner = mixture.posterior(x[:, 0, 0], level.alpha, level.sigma)[0][:, None, None]
            return Prediction(x, level, "x0", torch.cat([inner, 7 * torch.ones_like(inner)], 1)[:, : x.shape[1]])

    grid = uniform_lam(PATH, 2, *PATH.ends)
    narrow, padded = sample(Padded(), grid, x, Dopri5()), sample(Padded(), grid, wide, Dopri5(), mask=mask)
    assert narrow.nfe == padded.nfe
    torch.testing.assert_close(padded.x[:, :1], narrow.x, rtol=1e-10, atol=1e-10)
    assert float(padded.x[:, 1:].abs().max()) == 0


def test_hooks_act_at_nodes_and_are_not_forgotten():
    class Pin(Hook):
        def after_step(self, x, prediction, level):
            x = x.clone()
            x[:, 0] = 0.25
            return x

    seen = []
    mixture, x = GaussianMixture.ring(), noise(4, 2)
    for solver in (RungeKutta("rk4"), Dopri5()):
        found = sample(mixture.denoiser(PATH), karras(PATH, 5, *PATH.ends), x, solver, hooks=[Pin()], watch=seen.append)
        assert torch.equal(found.x[:, 0], torch.full((4,), 0.25, dtype=torch.float64))
    assert len(seen) == 2 * 6


def test_calls_are_counted():
    mixture, calls = GaussianMixture.ring(), 0

    class Counted:
        path = PATH

        def __call__(self, x, level, **condition):
            nonlocal calls
            calls += 1
            return mixture.denoiser(PATH)(x, level, **condition)

    for solver in (RungeKutta("rk4"), Dopri5()):
        calls = 0
        assert sample(Counted(), uniform_lam(PATH, 3, *PATH.ends), noise(4, 2), solver).nfe == calls


def test_flow_field_goes_there_and_back():
    path, x = Rectified(), noise(4, 2)
    field = flow_field(gaussian(MEAN, COVARIANCE).denoiser(path))
    there = dopri5(field, x, 0.001, 0.98, Control(1e-7, 1e-7), drop=True)
    back = dopri5(field, there.x, 0.98, 0.001, Control(1e-7, 1e-7))
    torch.testing.assert_close(back.x, x, rtol=1e-5, atol=1e-5)
    exact = gaussian_end(path, x, *path.lam_of(torch.tensor([0.001, 0.98], dtype=torch.float64)).tolist())
    torch.testing.assert_close(there.x, exact, rtol=1e-6, atol=1e-6)
