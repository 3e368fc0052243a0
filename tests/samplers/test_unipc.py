import math

import numpy as np
import pytest
import torch
from samplers.ring_of_modes import MIXTURE, PATH, errors, nodes, slope, start

from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import Rectified
from trajlab.samplers.deis import DEIS
from trajlab.samplers.dpm_solver import phi
from trajlab.samplers.grids import Grid, at_times, karras
from trajlab.samplers.hooks import Hook
from trajlab.samplers.sample import sample
from trajlab.samplers.unipc import UniPC


@pytest.mark.parametrize(("order", "kind", "weights"), [*((p, kind, "exact") for p in (1, 2, 3) for kind in ("eps", "x0")),
                                                        (1, "eps", "bh1"), (2, "x0", "bh2")])
def test_error_falls_at_its_order_plus_one(order, kind, weights):
    assert slope(UniPC(order, kind, weights)) == pytest.approx(order + 1, abs=0.15)


def test_corrector_pays():
    for kind in ("eps", "x0"):
        assert float(errors(UniPC(3, kind), 80).median()) < float(errors(DEIS(3, kind), 80).median()) / 3


def test_stages():
    grid = nodes(4)
    stages = UniPC(2, lower_final=0).plan(grid).stages
    # predict; then correct with a call and predict without one; the last step stays as predicted.
    assert [s.level is not None for s in stages] == [True, True, False, True, False, True, False]
    assert [s.node for s in stages] == [False, True, False, True, False, True, True]
    assert [s.to.lam for s in stages] == pytest.approx([float(grid.lam[k]) for k in (1, 1, 2, 2, 3, 3, 4)])
    assert stages[1].states[0] == stages[3].states[0] == 0
    assert [len(s.predictions) for s in stages] == [1, 2, 2, 3, 2, 3, 2]


@pytest.mark.parametrize("end", ["stop", "denoise"])
def test_one_call_a_step(end):
    out = sample(MIXTURE.denoiser(PATH), nodes(8, end), start(), UniPC(), trace=True)
    assert out.nfe == 8 + (end == "denoise")
    assert len(out.trace) == out.nfe
    assert [s.level.lam for s in out.trace[:8]] == pytest.approx(nodes(8).lam[1:].tolist())


class NoiseByLevel:
    """Predicts noise that depends on the level alone: a polynomial in lam, which the ODE integrates by itself."""

    path = PATH

    def __init__(self, degree):
        self.coefficients = [0.3, -0.2, 0.1, 0.05][: degree + 1]

    def eps(self, lam):
        return np.polynomial.polynomial.polyval(lam, self.coefficients)

    def __call__(self, x, level, **_):
        return Prediction(x, level, "eps", torch.full_like(x, float(self.eps(level.lam))))

    def exact(self, x, levels):
        """x_t = alpha_t [x_s / alpha_s + int eps d rho]."""
        q, w = np.polynomial.legendre.leggauss(60)
        s, t = levels
        lam = s.lam + (t.lam - s.lam) * (q + 1) / 2
        gained = -(w * np.exp(-lam) * self.eps(lam)).sum() * (t.lam - s.lam) / 2
        return t.alpha * (x / s.alpha + float(gained))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_corrected_steps_are_exact_for_polynomials_of_their_order(order):
    grid, denoiser = karras(PATH, 8, -2.0, 2.0, "stop"), NoiseByLevel(order)
    trace = sample(denoiser, grid, start(), UniPC(order, lower_final=0), trace=True).trace
    # From node order - 1 on, and but for the last, which nothing corrects.
    for k in range(order - 1, 7):
        before = start() if k == 0 else trace[k - 1].x
        torch.testing.assert_close(trace[k].x, denoiser.exact(before, grid.levels[k : k + 2]), rtol=1e-11, atol=1e-11)
    assert float((trace[7].x - denoiser.exact(trace[6].x, grid.levels[7:9])).abs().max()) > 1e-6


def published(kind, weights, s, t, others):
    """Weights of m_s and m_i at levels ``others`` by the published equations, B written out and solved for."""
    h = t.lam - s.lam
    z, c = (h, -t.sigma) if kind == "eps" else (-h, t.alpha)
    b = h if weights == "bh1" else math.expm1(z) * h / z
    r = np.array([(k.lam - s.lam) / h for k in others])
    wanted = np.array([math.factorial(i) * h * phi(i + 1, z) for i in range(1, len(r) + 1)])
    a = np.array([0.5]) if len(r) == 1 else np.linalg.solve(b * r ** np.arange(len(r))[:, None], wanted)
    each = c * b * a / r
    return [c * h * phi(1, z) - each.sum(), *each]


@pytest.mark.parametrize("weights", ["bh1", "bh2"])
@pytest.mark.parametrize("kind", ["eps", "x0"])
def test_published_weights(kind, weights):
    grid = karras(PATH, 6, -3.0, 3.0, "stop")
    levels, stages = grid.levels, UniPC(3, kind, weights, lower_final=0).plan(grid).stages
    for k in range(6):
        past = levels[max(0, k - 2) : k][::-1]
        if past:
            assert stages[2 * k].predictions == pytest.approx(published(kind, weights, *levels[k : k + 2], past), rel=1e-10, abs=1e-12)
        if k < 5:
            here, *rest = published(kind, weights, levels[k], levels[k + 1], [levels[k + 1], *past])
            assert stages[2 * k + 1].predictions == pytest.approx([rest[0], here, *rest[1:]], rel=1e-10, abs=1e-12)


def test_b_matters_in_the_first_steps_alone():
    exact, bh1, bh2 = (UniPC(3, "x0", w, lower_final=0).plan(nodes(8)).stages for w in ("exact", "bh1", "bh2"))
    assert bh1[1] != bh2[1]
    assert bh1[2] != bh2[2]
    assert exact[3:] == bh1[3:] == bh2[3:]


def test_falling_order_at_the_end():
    assert UniPC().plan(nodes(16)) == UniPC(lower_final=99).plan(nodes(16))
    assert UniPC().plan(nodes(17)) == UniPC(lower_final=0).plan(nodes(17))
    assert UniPC(2, "x0").plan(nodes(9)) == UniPC(2, "x0", lower_final=99).plan(nodes(9))
    assert UniPC(3, "x0").plan(nodes(6)) == UniPC(3, "x0", lower_final=0).plan(nodes(6))
    assert len(UniPC(lower_final=99).plan(nodes(8)).stages[-1].predictions) == 1


@pytest.mark.parametrize("weights", ["exact", "bh1", "bh2"])
def test_from_pure_noise_to_no_noise(weights):
    grid = at_times(Rectified(), torch.linspace(0, 1, 21), "stop")
    out = sample(MIXTURE.denoiser(Rectified()), grid, start(), UniPC(3, "x0", weights))
    assert out.nfe == 20
    data = MIXTURE.sample(20000, torch.Generator().manual_seed(1))
    assert float(out.x.norm(dim=1).mean()) == pytest.approx(float(data.norm(dim=1).mean()), abs=0.15)


@pytest.mark.parametrize("kind", ["eps", "x0"])
def test_what_hooks_make_of_the_clean_prediction_is_the_sample(kind):
    class Pinned(Hook):
        def on_x0(self, x0, x, level):
            return torch.cat([torch.full_like(x0[:, :1], 0.25), x0[:, 1:]], 1)

    out = sample(MIXTURE.denoiser(PATH), nodes(8, "denoise"), start(), UniPC(kind=kind), hooks=[Pinned()]).x
    torch.testing.assert_close(out[:, 0], torch.full((32,), 0.25, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_a_last_node_without_noise_corrects_the_one_before():
    exact = MIXTURE.ode_end(PATH, start(), float(nodes(1).lam[0]), math.inf)
    grid = nodes(8, "denoise")
    whole = Grid(PATH, torch.cat([grid.lam, torch.tensor([math.inf])]), "stop")
    far = [sample(MIXTURE.denoiser(PATH), g, start(), UniPC(lower_final=0)) for g in (grid, whole)]
    assert far[0].nfe == far[1].nfe
    assert float((far[1].x - exact).norm(dim=1).median()) < float((far[0].x - exact).norm(dim=1).median())


def test_bad_input():
    for settings, words in (({"kind": "v"}, "kind for UniPC"), ({"weights": "bh3"}, "weights of UniPC"), ({"order": 6}, "order 6 came")):
        with pytest.raises(ValueError, match=words):
            UniPC(**settings)
    with pytest.raises(ValueError, match="order 3 and the grid only 2 steps"):
        UniPC().plan(nodes(2))
    with pytest.raises(ValueError, match="cannot start at alpha = 0"):
        UniPC(1).plan(at_times(Rectified(), [0.0, 0.5, 0.9]))
