"""Chaotic systems: ensembles of differential equations, their clocks, starts, noise and failures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import trajlab
from trajlab.dynamics.fields import VectorField
from trajlab.sources import chaos_clock
from trajlab.sources.chaos import chaos, names
from trajlab.sources.chaos_starts import starts
from trajlab.sources.lyapunov_table import LyapunovRecord


def lorenz(t, x, p):
    return p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]


def test_every_system_has_a_name():
    assert [len(names(kind)) for kind in ("ode", "delay", "map")] == [129, 6, 23]
    assert len(names()) == len(set(names())) == 158
    with pytest.raises(ValueError, match="did you mean 'map'"):
        names("maps")


def test_the_module_can_be_called_and_imported():
    assert trajlab.sources.chaos("Lorenz").dim == trajlab.chaos("Lorenz").dim == chaos("Lorenz").dim == 3
    with pytest.raises(AttributeError):
        trajlab.sources.chaotic  # noqa: B018


def test_the_first_period_is_scipys():
    system = chaos("Lorenz")
    found = system.trajectories(2, 101, transient=0)
    x0 = starts(system.start, 2, 0)
    values = [float(system.parameters[k]) for k in ("sigma", "rho", "beta")]
    for i in range(2):
        times = np.linspace(0, system.period, 101)
        told = solve_ivp(lambda t, x: lorenz(t, x, values), (0, system.period), x0[i], "DOP853", times, rtol=1e-12, atol=1e-12)
        assert np.abs(found.x[i].numpy() - told.y.T).max() < 1e-6
    assert found.spacing == pytest.approx(system.period / 100, rel=1e-12)
    assert found.x.dtype == torch.float64
    assert found.source["parameters"]["rho"] == 28.0
    assert "Lorenz" in found.source["citation"]


def test_rows_do_not_depend_on_their_number():
    few, many = (chaos("Rossler").trajectories(n, 50, noise=0.1, seed=4) for n in (2, 5))
    assert torch.equal(few.x, many.x[:2])
    assert torch.equal(few.extra["clean"], many.extra["clean"][:2])
    other = chaos("Rossler").trajectories(2, 50, noise=0.1, seed=5)
    assert (other.x - few.x).abs().min() > 0


def test_transients_spread_the_starts_over_the_attractor():
    first = chaos("Lorenz").trajectories(30, 1, seed=1).x[:, 0]
    assert first[:, 2].std() > 4  # 8.6 on the attractor; the perturbed starts differ by 0.02
    assert chaos("Lorenz").trajectories(30, 1, transient=0).x[:, 0, 2].std() < 0.1


def test_noise_is_a_fraction_of_each_coordinate():
    found = chaos("Lorenz").trajectories(2, 4000, noise=0.1)
    clean = found.extra["clean"]
    ratio = (found.x - clean).std(1) / clean.std(1)
    assert torch.allclose(ratio, torch.full((2, 3), 0.1, dtype=torch.float64), rtol=0.05)
    assert "clean" not in chaos("Lorenz").trajectories(1, 10).extra


def test_angles_are_bounded_at_the_output_only():
    system = chaos("BlinkingRotlet", tau=2.0)
    raw, shown = (system.trajectories(1, 40, transient=0, raw=raw).x[0] for raw in (True, False))
    r, theta, time = raw.unbind(-1)
    assert torch.allclose(shown, torch.stack([r * theta.cos(), r * theta.sin(), (np.pi * time).sin()], -1))  # tau as it was changed
    assert time[-1] - time[0] == pytest.approx(39 * system.period / 100)
    assert chaos("DoublePendulum").trajectories(1, 200).x[..., :2].abs().max() <= 1


def test_a_law_that_depends_on_time_keeps_its_clock():
    system = chaos("Torus")
    found = system.trajectories(3, 30, per_period=20)
    a, n = (float(system.parameters[k]) for k in ("a", "n"))
    height = found.x[:, :, 2].numpy()
    shift = height - height[:, :1]
    step = system.period / 20 * np.arange(30)
    # z' = a n cos(n t), so that z is a sin(n t) and a constant, t counted from the start of the transient
    ages = np.array([np.arctan2(*np.linalg.lstsq(np.stack([np.cos(n * step) - 1, np.sin(n * step)], 1), s / a, rcond=None)[0]) / n for s in shift])
    assert all(np.abs(s - a * (np.sin(n * (step + t)) - np.sin(n * t))).max() < 1e-6 for s, t in zip(shift, ages))
    assert len(set(ages.round(6))) == 3


def test_failures_are_told_or_masked():
    bursting = VectorField(lambda t, x, p: (x[0] * x[0], 0.0 * x[1]), 2, name="bursting")  # x = 1 / (1/x0 - t)
    system = chaos(bursting, start=[1.0, 1.0])
    with pytest.raises(ValueError, match=r"bursting: 3 of 3 trajectories could not be continued \(row 0 at t = 0.99"):
        system.trajectories(3, 200, transient=0)
    with pytest.raises(ValueError, match="times below 0 are in the transient"):
        system.trajectories(3, 200)
    masked = system.trajectories(3, 200, transient=0, failed="mask")
    assert masked.mask.sum(1).tolist() == pytest.approx([100] * 3, abs=1)
    assert not system.trajectories(2, 20, transient=1, failed="mask").mask.any()


def test_the_lyapunov_clock(monkeypatch):
    record = LyapunovRecord("Lorenz", "ode", 3, 1.5, exponents=(0.9, 0.0, -14.5), chaotic=True)
    monkeypatch.setattr(chaos_clock, "_tabulated", lambda _: record)
    assert chaos("Lorenz").trajectories(1, 20, per_period=30, clock="lyapunov").spacing == pytest.approx(1 / 0.9 / 30)
    with pytest.raises(ValueError, match="no Lyapunov exponent with rho changed"):
        chaos("Lorenz", rho=30).trajectories(1, 20, clock="lyapunov")
    monkeypatch.setattr(chaos_clock, "_tabulated", lambda _: LyapunovRecord("Torus", "ode", 3, 1.0, exponents=(1e-5,), chaotic=False))
    with pytest.raises(ValueError, match="not chaotic"):
        chaos("Torus").trajectories(1, 20, clock="lyapunov")
    with pytest.raises(ValueError, match="is a map"):
        chaos("Logistic").trajectories(1, 20, clock="lyapunov")


def test_noise_in_the_equation():
    system = chaos("Duffing")
    settings = {"per_period": 500, "transient": 0, "raw": True}
    quiet = system.trajectories(40, 4, **settings).x
    found = system.trajectories(40, 4, stochastic=0.05, **settings).x
    spread = (found - quiet)[:, -1].std(0)
    wanted = 0.05 * np.array(system.dysts["std"]) * np.sqrt(3 / 500)
    assert spread[1] == pytest.approx(wanted[1], rel=0.3)
    assert spread[2] < 1e-9  # the phase of the drive
    assert torch.equal(system.trajectories(3, 4, stochastic=0.05, **settings).x, found[:3])
    with pytest.raises(ValueError, match="solve_sde"):
        chaos("Henon").trajectories(1, 10, stochastic=0.1)


def test_without_a_compiler(monkeypatch):
    there = chaos("Lorenz").trajectories(2, 30, transient=0)
    monkeypatch.setenv("TRAJLAB_NO_COMPILER", "1")
    with pytest.warns(UserWarning, match="slower"):
        assert torch.allclose(chaos("Lorenz").trajectories(2, 30, transient=0).x, there.x, atol=1e-6)


def test_ones_own_field():
    own = VectorField.of(lorenz, 3, name="mine", sigma=10.0, rho=28.0, beta=8 / 3)
    found = chaos(own, start=[1.0, 1.0, 20.0]).trajectories(3, 200, per_period=50)
    assert found.x[..., 2].min() > 0
    assert found.source["parameters"]["rho"] == 28.0
    with pytest.raises(ValueError, match="no tabulated start"):
        chaos(own)
    with pytest.raises(ValueError, match="put parameters into the field"):
        chaos(own, start=[1, 1, 1], rho=3)
    with pytest.raises(ValueError, match="3 finite numbers"):
        chaos(own, start=[1, 1])


@pytest.mark.parametrize(("make", "words"), [
    (lambda: chaos("Lorentz"), "did you mean 'Lorenz'"),
    (lambda: chaos("Lorenz", roh=30), "no parameter of Lorenz 'roh'; did you mean 'rho'"),
    (lambda: chaos("Lorenz", rho=[1, 2]), "rho=.*shape"),
    (lambda: chaos("Lorenz", start=[0, np.nan, 1]), "3 finite numbers"),
    (lambda: chaos("Lorenz").trajectories(2, 10, nose=0.1), "did you mean 'noise'"),
    (lambda: chaos("Lorenz").trajectories(0, 10), "n=0; at least 1"),
    (lambda: chaos("Lorenz").trajectories(1, 10, clock="Lyapunov"), "did you mean 'lyapunov'"),
    (lambda: chaos("Lorenz").trajectories(1, 10, rtol=0.0), "positive"),
    (lambda: chaos("Lorenz").trajectories(1, 10, noise=float("nan")), "noise=nan"),
    (lambda: chaos("Lorenz").trajectories(1, 10, failed="drop"), "'raise' or 'mask'"),
])
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_wrong_object():
    with pytest.raises(TypeError):
        chaos(3)
