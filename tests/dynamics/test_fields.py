"""Vector fields: written once, compiled, vectorised, and with tangents that are exact or known not to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab.dynamics import compiled
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.ode import solve


def lorenz(t, x, p):
    return p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]


def lorenz_jacobian(x, p):
    return np.array([[-p[0], p[0], 0.0], [p[1] - x[2], -1.0, -x[0]], [x[1], x[0], -p[2]]])


LORENZ = VectorField.of(lorenz, 3, name="Lorenz", sigma=10.0, rho=28.0, beta=8 / 3)
STATE = np.array([1.3, -2.1, 20.4])


def tangents(field, state, t=0.7):
    out = np.empty((field.dim, field.dim))
    field.tangent(t, state, np.eye(field.dim), field.p, out)
    return out.T


def test_named_parameters_are_laid_out_flat():
    field = VectorField.of(lorenz, 3, a=1.0, b=[2.0, 3.0])
    assert field.p.tolist() == [1.0, 2.0, 3.0]
    assert field.names == ("a", "b[0]", "b[1]")
    assert field.name == "lorenz"
    assert repr(LORENZ) == "VectorField(Lorenz, 3-d, sigma=10, rho=28, beta=2.66667)"


def test_compiled_vectorised_and_torch_are_the_same():
    states, out = np.random.default_rng(0).normal(size=(5, 3)), np.empty(3)
    batch = LORENZ(0.0, states)
    for state, rates in zip(states, batch):
        LORENZ.rhs(0.0, state, LORENZ.p, out)
        assert np.allclose(out, rates, rtol=1e-15)
        assert np.allclose(LORENZ(0.0, state), rates, rtol=1e-15)
    assert torch.allclose(LORENZ(0.0, torch.from_numpy(states)), torch.from_numpy(batch), rtol=1e-15)


def test_constants_among_the_rates_are_broadcast():
    field = VectorField(lambda t, x, p: (x[1], 1.0), 2)
    assert field(0.0, np.zeros((4, 2))).tolist() == [[0.0, 1.0]] * 4
    assert field(0.0, torch.zeros(4, 2)).shape == (4, 2)


def test_tangents_are_exact_to_rounding():
    assert LORENZ.exact
    assert np.abs(tangents(LORENZ, STATE) - lorenz_jacobian(STATE, LORENZ.p)).max() < 1e-14
    waves = VectorField(lambda t, x, p: (np.sin(x[0] * t) * np.exp(-x[1]), x[0] * x[0] * x[0] / (1 + x[1] ** 2)), 2)
    x, y = 0.4, 0.9
    wanted = [[0.7 * np.cos(0.7 * x) * np.exp(-y), -np.sin(0.7 * x) * np.exp(-y)], [3 * x**2 / (1 + y**2), -(x**3) * 2 * y / (1 + y**2) ** 2]]
    assert waves.exact
    assert np.abs(tangents(waves, np.array([x, y])) - wanted).max() < 1e-14


@pytest.mark.parametrize(("function", "slope"), [
    (lambda t, x, p: (abs(x[0]) - 0.5 * x[0], x[0] * x[1]), 0.5), (lambda t, x, p: (max(x[0], 0.2 * x[0]), x[0] * x[1]), 1.0),
    (lambda t, x, p: (x[0] ** 3.0, x[0] * x[1]), 3.0)])
def test_where_an_imaginary_step_is_wrong_or_refused_differences_are_taken(function, slope):
    field = VectorField(function, 2)
    assert not field.exact
    assert np.allclose(tangents(field, np.array([1.0, -3.0])), [[slope, 0.0], [-3.0, 1.0]], atol=1e-8)


def test_a_derivative_in_closed_form_is_used():
    field = VectorField(lambda t, x, p: (abs(x[0]),), 1, derivative=lambda t, x, v, p: (7.0 * v[0],))
    assert field.exact
    assert tangents(field, np.array([1.0]))[0, 0] == 7.0


def test_what_numba_refuses_is_solved_in_lockstep_with_a_warning():
    table = {"rate": 1.0}

    def dressed(t, x, p):
        return (-table.get("rate", 2.0) * x[0] if isinstance(table, dict) else None,)

    field = VectorField(dressed, 1, name="dressed")
    with pytest.warns(UserWarning, match="dressed: numba does not compile the right-hand side and the slower vectorised solver is used"):
        got = solve(field, [[1.0], [2.0]], np.linspace(0, 2, 5))
    assert np.abs(got.x[:, :, 0] - [[1.0], [2.0]] * np.exp(-got.times)).max() < 1e-8


def test_without_a_compiler(monkeypatch):
    monkeypatch.setenv(compiled.OFF, "1")
    with pytest.warns(UserWarning, match="no compiler"):
        assert VectorField(lorenz, 3).rhs is None
    with pytest.raises(compiled.Refused):
        _ = VectorField(lorenz, 3).tangent


def test_a_field_says_what_is_wrong_with_it():
    with pytest.raises(ValueError, match="dimension 0; at least 1"):
        VectorField(lorenz, 0)
