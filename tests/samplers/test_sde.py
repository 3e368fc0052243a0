"""Reverse SDE and predictor-corrector: diffusions of the known SDEs, end variances, and the three frameworks side by side."""

from __future__ import annotations

import math

import pytest
import torch
from samplers.closed_forms import Linear, end_variance, slope

from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import EDM, VE, Rectified, SubVP, VPLinear, VPTable
from trajlab.samplers import grids
from trajlab.samplers.ancestral import Ancestral
from trajlab.samplers.langevin import AnnealedLangevin
from trajlab.samplers.sample import sample
from trajlab.samplers.sde import PredictorCorrector, ReverseSDE, predictor_corrector, song_step, squared_diffusion
from trajlab.sources.mixtures import GaussianMixture

SLOW = {"start": -4.0, "stop": 4.0, "end": "stop"}


def test_diffusions_of_the_known_sdes():
    """beta for VP, -d sigma^2/dt for VE, beta (1 - e^(-2B)) for sub-VP, with tau = 1 - t."""
    tau = 0.4
    beta, total = 0.1 + 19.9 * tau, 0.1 * tau + 19.9 * tau**2 / 2
    assert squared_diffusion(VPLinear().level_at(0.6)) == pytest.approx(beta)
    assert squared_diffusion(SubVP().level_at(0.6)) == pytest.approx(beta * (1 - math.exp(-2 * total)))
    ve = VE().level_at(0.6)
    assert squared_diffusion(ve) == pytest.approx(-2 * ve.sigma * ve.dsigma)


def test_without_diffusion_it_is_eulers_method():
    assert 0.9 < slope(ReverseSDE(0.0)) < 1.1


@pytest.mark.parametrize("path", [VPLinear(), VE(), SubVP(), Rectified()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("solver", [ReverseSDE(), ReverseSDE(0.5), PredictorCorrector()], ids=["reverse", "half", "corrected"])
def test_end_variance_tends_to_that_of_the_data(path, solver):
    last = path.level(4.0)
    true = last.alpha**2 * 0.25 + last.sigma**2
    errors = [abs(end_variance(solver, grids.uniform_lam(path, n, **SLOW)) / true - 1) for n in (200, 400)]
    assert errors[1] < 0.05
    assert errors[1] < 0.75 * errors[0]  # first order in distribution; the corrector adds a bias of its own


def test_calls_and_draws():
    grid = grids.uniform_lam(VPLinear(), 10, **SLOW)
    assert ReverseSDE().plan(grid).nfe == 10
    assert PredictorCorrector(inner=3).plan(grid).nfe == 40
    x = torch.zeros(2, 3, dtype=torch.float64)
    found = sample(Linear(VPLinear(), 0.25), grid.ended("denoise"), x, predictor_corrector(), generator=torch.Generator().manual_seed(0), trace=True)
    assert found.nfe == 21
    assert [round(step.level.lam, 6) for step in found.trace[:-1]] == [round(k.lam, 6) for k in grid.levels[1:]]


def test_the_adaptive_corrector_keeps_the_variance(generator):
    """In 64 dimensions the norms hardly vary, and the step is near (r sigma)^2."""
    path = VPLinear()
    grid = grids.uniform_lam(path, 100, **SLOW)
    first = grid.levels[0]
    x = torch.randn(64, 64, generator=generator, dtype=torch.float64) * (first.alpha**2 * 0.25 + first.sigma**2) ** 0.5
    x = sample(Linear(path, 0.25), grid, x, predictor_corrector(), generator=generator).x
    fixed = end_variance(PredictorCorrector(), grid)
    assert float(x.var()) == pytest.approx(fixed, rel=0.08)


def test_songs_step():
    z, score = torch.tensor([[3.0, 4.0], [3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, 0.01]])
    step = song_step(z, score, 0.1, 2.0)
    assert step.shape == (3, 1)
    torch.testing.assert_close(step.flatten(), torch.tensor([0.25, 4.0, 4.0]))


def test_runs_to_zero_noise(generator):
    mixture, path = GaussianMixture.ring(), Rectified()
    grid = grids.explicit(path, [*torch.linspace(-4, 4, 30).tolist(), math.inf], end="stop")
    for solver in (ReverseSDE(), PredictorCorrector(), predictor_corrector(), AnnealedLangevin(inner=2)):
        found = sample(mixture.denoiser(path), grid, (16, 2), solver, generator=generator)
        assert bool(torch.isfinite(found.x).all())


class Ring:
    """The exact denoiser of round modes at equal distance from 0."""

    def __init__(self, path, mean, variance):
        self.path, self.mean, self.variance = path, mean, variance

    def __call__(self, x, level, **_):
        total = level.alpha**2 * self.variance + level.sigma**2
        mode = torch.softmax(level.alpha / total * x @ self.mean.T, 1) @ self.mean
        return Prediction(x, level, "x0", (level.alpha * self.variance * x + level.sigma**2 * mode) / total)


def test_the_ring_is_exact(generator):
    mixture, path = GaussianMixture.ring(radial=0.1, tangential=0.1), VPLinear()
    x = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    for lam in (-2.0, 1.0):
        found, exact = (d(x, path.level(lam)).x0 for d in (Ring(path, mixture.mean, 0.01), mixture.denoiser(path)))
        torch.testing.assert_close(found, exact)


def test_three_frameworks_sample_alike():
    """DDPM's chain, NCSN's annealed Langevin dynamics and the reverse SDE are as far from the data as independent samples are."""
    import ot

    generator, n = torch.Generator().manual_seed(0), 240
    mixture = GaussianMixture.ring(radial=0.1, tangential=0.1)
    # The reference has equally many points in every mode.
    even = mixture.mean[torch.arange(n) % 8] + 0.1 * torch.randn(n, 2, generator=generator, dtype=torch.float64)

    def far(x):
        return math.sqrt(ot.emd2([], [], ot.dist(x.numpy(), even.numpy())))

    band = sorted(far(mixture.sample(n, generator)) for _ in range(8))
    table, ncsn, vp = VPTable(), VE(0.01, 10.0), VPLinear()
    runs = {
        "DDPM": (table, grids.uniform_t(table, 400), Ancestral()),
        "NCSN": (ncsn, grids.uniform_lam(ncsn, 19), AnnealedLangevin(inner=25)),
        "SDE": (vp, grids.uniform_t(vp, 300, stop=5.0), ReverseSDE()),
    }
    for name, (path, grid, solver) in runs.items():
        start = torch.randn(n, 2, generator=generator, dtype=torch.float64) * grid.levels[0].sigma
        x = sample(Ring(path, mixture.mean, 0.01), grid, start, solver, generator=generator).x
        assert far(x) < band[-1] * 1.05, (name, far(x), band)


def test_bad_input():
    with pytest.raises(ValueError, match="diffusion = -1"):
        ReverseSDE(-1.0)
    with pytest.raises(ValueError, match="ratio = 2"):
        PredictorCorrector(2.0)
    with pytest.raises(ValueError, match="use ReverseSDE"):
        PredictorCorrector(inner=0)
    with pytest.raises(ValueError, match="alpha = 0"):
        ReverseSDE().plan(grids.at_times(Rectified(), [0.0, 0.5, 0.9]))
    with pytest.raises(ValueError, match="random numbers"):
        sample(Linear(EDM(), 1.0), grids.karras(EDM(), 20), torch.zeros(1, 1), ReverseSDE())
