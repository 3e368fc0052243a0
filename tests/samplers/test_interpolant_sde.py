"""The stochastic interpolant's SDE with free diffusion, on any fields and on Gaussian paths."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.schedules import VPCosine, VPTable
from trajlab.samplers.deis import ddim
from trajlab.samplers.grids import explicit, uniform_lam
from trajlab.samplers.interpolant_sde import InterpolantSDE, integrate_sde, score_field
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.ode import flow_field, integrate
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture, gaussian

# Between two Gaussians, x_t = (1-t) x_src + t x_dat + sqrt(t (1-t)) z: drift and score in closed form.
M0, M1 = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([-1.0, 2.0], dtype=torch.float64)
C0 = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
C1 = torch.tensor([[0.5, -0.2], [-0.2, 0.8]], dtype=torch.float64)
EYE = torch.eye(2, dtype=torch.float64)


def parts(t):
    t = float(t[0])
    return t, (1 - t) * M0 + t * M1, torch.linalg.inv((1 - t) ** 2 * C0 + t**2 * C1 + t * (1 - t) * EYE)


def drift(x, t):
    t, mean, inverse = parts(t)
    return M1 - M0 + (x - mean) @ inverse @ (-(1 - t) * C0 + t * C1 + (1 - 2 * t) / 2 * EYE).mT


def score(x, t):
    _, mean, inverse = parts(t)
    return -(x - mean) @ inverse


class Impulses(RowNoise):
    """Row 0 gets no noise; rows 1, 2, ... get one unit number each: the columns of an affine map, from which its law follows exactly."""

    def __init__(self, steps, dim):
        super().__init__(torch.Generator().manual_seed(0))
        self.step, self.dim, self.batch = 0, dim, 1 + dim + steps * dim

    def normal(self, like):
        out = torch.zeros_like(like)
        for k in range(self.dim):
            out[1 + self.dim * (self.step + 1) + k, k] = 1
        self.step += 1
        return out


def law(run, steps, mean, covariance):
    """Mean and covariance of the end of ``run(x, noise)``, affine in start and noise, from a start with these moments."""
    dim = len(mean)
    noise = Impulses(steps, dim)
    x = mean.expand(noise.batch, dim).clone()
    x[1 : 1 + dim] += torch.linalg.cholesky(covariance).mT
    end = run(x, noise)
    columns = end[1:] - end[0]
    return end[0], columns.mT @ columns


@pytest.mark.parametrize(("method", "order", "backwards", "eps"), [
    ("euler", 1, False, 0.5), ("euler", 1, True, lambda t: 2 * t * (1 - t)), ("heun", 2, False, lambda t: 2 * t * (1 - t)), ("heun", 2, True, 0.5)])
def test_the_law_at_the_end_is_exact_at_the_order(method, order, backwards, eps):
    errors = []
    (m0, c0), (m1, c1) = ((M1, C1), (M0, C0)) if backwards else ((M0, C0), (M1, C1))
    for steps in (20, 40):
        times = torch.linspace(*((1.0, 0.0) if backwards else (0.0, 1.0)), steps + 1, dtype=torch.float64)
        run = lambda x, noise: integrate_sde(drift, score, x, times, eps, generator=noise, method=method).x  # noqa: E731, B023
        mean, covariance = law(run, steps, m0, c0)
        errors.append(float((mean - m1).norm() + (covariance - c1).norm()))
    assert errors[1] < (0.1 if order == 1 else 0.005)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def test_samples_reach_the_target():
    x = torch.linalg.cholesky(C0) @ torch.randn(2, 4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = M0 + x.mT
    flow = integrate_sde(drift, score, x, torch.linspace(0, 1, 31, dtype=torch.float64), 0.5, generator=torch.Generator().manual_seed(2))
    assert float((flow.x.T.cov() - C1).abs().max()) < 0.05
    assert float((flow.x.mean(0) - M1).abs().max()) < 0.05
    ode = integrate(drift, x, torch.linspace(0, 1, 31, dtype=torch.float64), "midpoint")
    assert float((ode.x.T.cov() - C1).abs().max()) < 0.08


def test_without_diffusion_it_is_the_ode():
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = torch.linspace(0, 1, 9, dtype=torch.float64)

    def forbidden(_x, _t):
        raise AssertionError("the score is not needed where eps = 0")

    flow = integrate_sde(drift, forbidden, x, times, 0.0, generator=torch.Generator(), method="heun", trace=True)
    torch.testing.assert_close(flow.x, integrate(drift, x, times, "heun").x)
    assert flow.nfe == 16
    assert len(flow.trace) == 9


def test_rows_have_streams_of_their_own():
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    together = integrate_sde(drift, score, x, times, 0.5, generator=torch.Generator().manual_seed(3)).x
    alone = integrate_sde(drift, score, x[2:3], times, 0.5, generator=RowNoise(torch.Generator().manual_seed(3), rows=[2])).x
    torch.testing.assert_close(alone[0], together[2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("call", "message"), [
    (lambda g: integrate_sde(drift, score, torch.zeros(1, 2), [0.0, 1.0], -0.1, generator=g), "must be finite and not negative"),
    (lambda g: integrate_sde(drift, score, torch.zeros(1, 2), [0.0, 0.0], 0.1, generator=g), "rise, or fall"),
    (lambda g: InterpolantSDE(method="hoin"), "no method 'hoin'; did you mean 'heun'"),
    (lambda g: InterpolantSDE(per="sigma"), "no unit of diffusion 'sigma'"),
    (lambda g: InterpolantSDE(-1.0).plan(uniform_lam(VPTable(), 3)), "from lam = .* must be finite and not negative"),
])
def test_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(torch.Generator().manual_seed(0))


# On a Gaussian path.

PATH = VPCosine()
MEAN, COVARIANCE = torch.tensor([0.7, -0.4], dtype=torch.float64), torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)


def marginal(lam):
    level = PATH.level(lam)
    return level.alpha * MEAN, level.alpha**2 * COVARIANCE + level.sigma**2 * EYE


@pytest.mark.parametrize("diffusion", [0.3, lambda level: 2 * level.sigma**2])
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_solver_keeps_the_law_at_its_order(diffusion, method, order):
    denoiser, errors = gaussian(MEAN, COVARIANCE).denoiser(PATH), []
    for steps in (20, 40):
        grid = uniform_lam(PATH, steps, -3.0, 3.0, "stop")
        run = lambda x, noise: sample(denoiser, grid, x, InterpolantSDE(diffusion, method=method), generator=noise).x  # noqa: E731, B023
        mean, covariance = law(run, steps, *marginal(-3.0))
        errors.append(float((mean - marginal(3.0)[0]).norm() + (covariance - marginal(3.0)[1]).norm()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_diffusion_a_unit_of_t():
    """Solver and generic integrator have the same law for the same eps(t)."""
    denoiser = gaussian(MEAN, COVARIANCE).denoiser(PATH)
    grid = uniform_lam(PATH, 60, -2.0, 2.0, "stop")
    times = [level.t for level in grid.levels]
    solver = InterpolantSDE(lambda level: 0.4 + level.t, per="t")
    ours = law(lambda x, noise: sample(denoiser, grid, x, solver, generator=noise).x, 60, *marginal(-2.0))
    generic = law(lambda x, noise: integrate_sde(flow_field(denoiser), score_field(denoiser), x, times, lambda t: 0.4 + t, generator=noise).x, 60,
                  *marginal(-2.0))
    for got in (ours, generic):
        torch.testing.assert_close(got[0], marginal(2.0)[0], rtol=0, atol=1e-2)
        torch.testing.assert_close(got[1], marginal(2.0)[1], rtol=0, atol=1e-2)
    # Not only the law of the end: how much of the start is forgotten depends on eps, and must agree too.
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    first = sample(denoiser, grid, x, solver, generator=_Silent()).x
    second = integrate_sde(flow_field(denoiser), score_field(denoiser), x, times, lambda t: 0.4 + t, generator=_Silent()).x
    torch.testing.assert_close(first[1] - first[0], second[1] - second[0], rtol=2e-2, atol=2e-3)


class _Silent(RowNoise):
    def __init__(self):
        super().__init__(None)

    def normal(self, like):
        return torch.zeros_like(like)


def test_without_diffusion_euler_is_ddim():
    path, x = VPTable(), torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    denoiser = GaussianMixture.ring().denoiser(path)
    grid = uniform_lam(path, 10, *path.ends)
    torch.testing.assert_close(sample(denoiser, grid, x, InterpolantSDE(0.0, method="euler")).x, sample(denoiser, grid, x, ddim()).x)


def test_the_reverse_sde_forgets_and_the_mixture_is_sampled():
    path, mixture = VPTable(), GaussianMixture.ring()
    grid = uniform_lam(path, 60, *path.ends)
    found = sample(mixture.denoiser(path), grid, (2000, 2), InterpolantSDE(), generator=torch.Generator().manual_seed(0))
    mean, covariance = mixture.moments()
    assert float((found.x.double().mean(0) - mean).abs().max()) < 0.06
    assert float((found.x.double().T.cov() - covariance).abs().max()) < 0.05
    assert found.nfe == 121


@pytest.mark.parametrize(("method", "error"), [("euler", 0.2), ("heun", 0.05)])
def test_infinite_ends(method, error):
    denoiser = gaussian(MEAN, COVARIANCE).denoiser(PATH)
    lam = torch.tensor([-math.inf, *torch.linspace(-5, 7, 40, dtype=torch.float64).tolist(), math.inf], dtype=torch.float64)
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = sample(denoiser, explicit(PATH, lam), x, InterpolantSDE(method=method), generator=torch.Generator().manual_seed(1))
    assert float((found.x.T.cov() - COVARIANCE).abs().max()) < error
