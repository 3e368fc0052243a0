"""The spectral solver against exact solutions, laws of conservation and its order; the jet against itself at other resolutions."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.sources.jet import LABEL, JetConfig, plane_jet
from trajlab.sources.jet_solver import Box, evolve

TURN = 2.0 * np.pi


def grid(points: int) -> tuple[np.ndarray, np.ndarray]:
    axis = Box(points, TURN).axis
    return axis[:, None], axis[None]


def smooth(points: int) -> np.ndarray:
    x, y = grid(points)
    return np.sin(x) * np.cos(2 * y) + 0.7 * np.cos(x + y) + 0.4 * np.sin(2 * x - y + 1.0)


@pytest.fixture(scope="module")
def jet():
    return plane_jet(JetConfig(points=64, length=14.0, reynolds=100.0, schmidt=2.0, spin_up=8.0, duration=6.0, interval=0.5, seed=3))


def test_taylor_green_decays_at_the_viscous_rate():
    x, y = grid(32)
    omega, nu, times = -2.0 * 9 * np.sin(3 * x) * np.sin(3 * y), 0.01, np.array([0.0, 0.7, 2.0])
    wave = np.cos(2 * x) + 0 * y
    still = evolve(np.zeros((32, 32)), wave, TURN, nu, 0.03, times)
    found = evolve(omega, np.ones((32, 32)), TURN, nu, 0.03, times)
    for k, t in enumerate(times):
        assert np.allclose(found.vorticity[k], omega * np.exp(-2 * nu * 9 * t), atol=1e-10)
        assert np.allclose(still.scalar[k], wave * np.exp(-0.03 * 4 * t), atol=1e-12)
    assert np.allclose(found.scalar, 1.0, atol=1e-12)


def test_velocity_of_taylor_green():
    x, y = grid(32)
    u = Box(32, TURN).velocity(-2.0 * np.sin(x) * np.sin(y))  # psi = sin x sin y
    assert np.allclose(u, np.stack([-np.sin(x) * np.cos(y), np.cos(x) * np.sin(y)], -1), atol=1e-13)


def test_a_carried_scalar_follows_a_shear():
    """u = -cos y along x carries theta = sin x to sin(x + t cos y), exactly where nothing is viscous."""
    x, y = grid(64)
    found = evolve(-np.sin(y) + 0 * x, np.sin(x) + 0 * y, TURN, 0.0, 0.0, [0.0, 1.0], dt=0.02)  # psi = sin y
    assert np.allclose(found.scalar[-1], np.sin(x + np.cos(y)), atol=1e-8)
    assert np.allclose(found.vorticity[-1], found.vorticity[0], atol=1e-12)


def test_fourth_order_in_time():
    reference = evolve(smooth(32), smooth(32), TURN, 0.005, 0.01, [0.0, 0.8], dt=0.0125)
    coarse, fine = (evolve(smooth(32), smooth(32), TURN, 0.005, 0.01, [0.0, 0.8], dt=dt) for dt in (0.1, 0.05))
    for name in ("vorticity", "scalar"):
        a, b = (np.abs(getattr(run, name)[-1] - getattr(reference, name)[-1]).max() for run in (coarse, fine))
        assert 12.0 < a / b < 20.0


def test_without_viscosity_nothing_is_lost():
    found = evolve(smooth(32), smooth(32) + 2.0, TURN, 0.0, 0.0, np.linspace(0, 1, 5), dt=0.01)
    box = Box(32, TURN)
    energy = (box.velocity(found.vorticity) ** 2).sum((1, 2, 3))
    for kept in (energy, (found.vorticity**2).sum((1, 2)), (found.scalar**2).sum((1, 2)), found.scalar.sum((1, 2))):
        assert np.allclose(kept, kept[0], rtol=1e-7)


def test_budgets_and_bounds_of_the_jet(jet):
    dt = np.diff(jet.times)
    for lost, rate in ((jet.energy, 2 * jet.viscosity * jet.enstrophy), (jet.enstrophy, 2 * jet.viscosity * jet.palinstrophy)):
        simpson = (dt[0] / 3 * (rate[0:-2:2] + 4 * rate[1:-1:2] + rate[2::2])).sum()
        assert lost[0] - lost[-1] == pytest.approx(simpson, rel=2e-3)
    assert np.allclose(jet.scalar.mean((1, 2)), jet.scalar[0].mean(), rtol=1e-12)
    assert (np.diff((jet.scalar**2).mean((1, 2))) < 0).all()
    assert jet.scalar.min() > -0.02
    assert jet.scalar.max() < 1.02
    assert np.allclose(jet.velocity.mean((1, 2)), 0.0, atol=1e-14)
    assert jet.drift == pytest.approx(2.0 / 14.0, rel=1e-4)
    assert jet.resolution > 1.0
    assert jet.provenance["label"] == LABEL == "turbulent-like: 2-D has no vortex stretching"
    assert jet.provenance["config"]["seed"] == 3


def test_a_finer_grid_gives_the_same_jet(jet):
    from dataclasses import replace

    finer = plane_jet(replace(jet.config, points=96, duration=1.5))
    same = finer.box.finer(finer.scalar[0], 2)[::3, ::3]
    assert np.sqrt(((same - jet.scalar[0]) ** 2).mean()) < 2e-3
    other = plane_jet(replace(jet.config, seed=4, duration=1.5))
    assert np.sqrt(((other.scalar[0] - jet.scalar[0]) ** 2).mean()) > 0.05
    again = plane_jet(replace(jet.config, duration=1.5))
    assert np.array_equal(again.vorticity, jet.vorticity[:4])


def test_the_flow_of_a_jet_is_its_velocity(jet):
    flow, where = jet.flow(), [(3, 40), (60, 30), (33, 33)]
    for k in (0, 5):
        places = np.array([[jet.axis[i], jet.axis[j]] for i, j in where])
        u, gradient = flow.with_gradient(jet.times[k], places)
        assert np.allclose(u, [jet.velocity[k, i, j] for i, j in where], atol=2e-4)
        assert np.allclose(gradient[:, 1, 0] - gradient[:, 0, 1], [jet.vorticity[k, i, j] for i, j in where], atol=5e-3)
        assert np.allclose(np.trace(gradient, axis1=1, axis2=2), 0.0, atol=1e-12)


def test_the_finer_grid_is_the_interpolant():
    x, y = grid(16)
    fine_x, fine_y = (np.arange(48) * TURN / 48 - np.pi)[:, None], (np.arange(48) * TURN / 48 - np.pi)[None]
    assert np.allclose(Box(16, TURN).finer(np.sin(3 * x + 2 * y), 3), np.sin(3 * fine_x + 2 * fine_y), atol=1e-13)


def test_bad_input_is_told():
    x, y = grid(32)
    good, zero = smooth(32), np.zeros((32, 32))
    ramp = x * np.exp(-(y**2))
    with pytest.raises(ValueError, match="vorticity: axis 0 is not periodic"):
        evolve(ramp - ramp.mean(), zero, TURN, 0.1, 0.1, [0, 1])
    with pytest.raises(ValueError, match="scalar: axis 0 is not periodic"):
        evolve(good, ramp, TURN, 0.1, 0.1, [0, 1])
    with pytest.raises(ValueError, match="not finite"):
        evolve(np.where(x > 2, np.nan, good), zero, TURN, 0.1, 0.1, [0, 1])
    with pytest.raises(ValueError, match=r"mean vorticity is 0\.5"):
        evolve(good + 0.5, zero, TURN, 0.1, 0.1, [0, 1])
    with pytest.raises(ValueError, match="as many points along x as y"):
        evolve(good[:, :16], zero[:, :16], TURN, 0.1, 0.1, [0, 1])
    with pytest.raises(ValueError, match="must be finite and rise"):
        evolve(good, zero, TURN, 0.1, 0.1, [0, 0])
    with pytest.raises(ValueError, match="viscosity -1"):
        evolve(good, zero, TURN, -1.0, 0.1, [0, 1])
    with pytest.raises(ValueError, match="cfl 2"):
        evolve(good, zero, TURN, 0.1, 0.1, [0, 1], cfl=2.0)
    with pytest.raises(ValueError, match=r"above the limit of stability.*take dt of at most"):
        evolve(100 * good, zero, TURN, 0.1, 0.1, [0, 1], dt=0.5)
    with pytest.raises(ValueError, match="31 points"):
        Box(31, 1.0)


def test_a_run_that_blows_up_is_told(monkeypatch):
    from trajlab.sources import jet_solver

    monkeypatch.setattr(jet_solver, "LIMIT", 50.0)
    with pytest.raises(ValueError, match="the flow blew up between t = 0 and 20"), np.errstate(all="ignore"):
        evolve(5 * smooth(32), smooth(32), TURN, 1e-4, 1e-4, [0, 20.0], cfl=20.0)


@pytest.mark.parametrize(("setting", "said"), [({"reynolds": -1.0}, "reynolds = -1"), ({"length": 5.0}, "at least 12 half-widths"),
                                               ({"duration": 1.3}, "whole number"), ({"schmidt": float("nan")}, "schmidt = nan"),
                                               ({"interval": 0.0}, "interval = 0"), ({"spin_up": -1.0}, "spin_up = -1")])
def test_settings_that_cannot_be(setting, said):
    with pytest.raises(ValueError, match=said):
        JetConfig(**setting)
