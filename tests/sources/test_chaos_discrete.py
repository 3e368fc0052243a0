"""Chaotic maps and delay systems by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab.sources.chaos import chaos


def test_a_map_is_iterated():
    x = chaos("Logistic").trajectories(2, 20, transient=0).x[:, :, 0]
    assert torch.allclose(x[:, 1:], 3.9 * x[:, :-1] * (1 - x[:, :-1]), atol=1e-14)
    found = chaos("Henon", a=1.3).trajectories(3, 50)
    assert torch.allclose(found.x[:, 1:, 1], 0.3 * found.x[:, :-1, 0])
    assert torch.allclose(found.x[:, 1:, 0], 1 - 1.3 * found.x[:, :-1, 0] ** 2 + found.x[:, :-1, 1])
    assert found.spacing == 1.0
    assert torch.equal(chaos("Henon", a=1.3).trajectories(1, 50).x[0], found.x[0])


def test_the_map_that_shares_its_name():
    x = chaos("DuffingMap").trajectories(1, 30).x[0]
    assert torch.allclose(x[1:, 0], x[:-1, 1])
    assert chaos("Duffing").kind == "ode"


def test_an_orbit_that_leaves():
    with pytest.raises(ValueError, match=r"Henon: 2 of 2 trajectories .*row 0 at t = "):
        chaos("Henon", a=2.0).trajectories(2, 100, transient=0)
    assert not chaos("Henon", a=2.0).trajectories(2, 100, transient=0, failed="mask").mask.all()


def test_a_delay_system():
    system = chaos("MackeyGlass")
    lag = system.field.longest
    found = system.trajectories(2, 400, per_period=50 * system.period / lag, embedding=3)  # 50 points a delay
    now, half, old = found.x.unbind(-1)
    assert torch.allclose(old[:, 50:], now[:, :-50], atol=1e-6)
    assert torch.allclose(half[:, 25:], now[:, :-25], atol=1e-6)
    beta, gamma, n = (float(system.parameters[k]) for k in ("beta", "gamma", "n"))
    slope = (now[:, 2:] - now[:, :-2]) / (2 * found.spacing)
    wanted = beta * old / (1 + old**n) - gamma * now
    assert (slope - wanted[:, 1:-1]).abs().max() < 5e-3 * wanted.abs().max() + 5e-3
    assert torch.allclose(system.trajectories(1, 400, per_period=50 * system.period / lag).x[0, :, 0], now[0], atol=1e-5)


def test_delays_are_parameters():
    assert chaos("MackeyGlass", tau=20).field.longest == 20
    assert chaos("MackeyGlass").trajectories(1, 5, transient=0).x[0, 0, 0] == pytest.approx(float(chaos("MackeyGlass").start[0]), rel=1e-2)
    assert np.ndim(chaos("VossDelay").parameters["alpha"]) == 0
