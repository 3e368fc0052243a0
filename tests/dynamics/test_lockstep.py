"""DOP853 in lockstep: the compiled solver as a reference, order, gradients, rows that end, modules, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trajlab.dynamics import compiled, lockstep
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.lockstep import solve_arrays
from trajlab.dynamics.ode import solve


def lorenz(t, x, p):
    return p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]


LORENZ = VectorField(lorenz, 3, np.array([10.0, 28.0, 8 / 3]), name="Lorenz")
SQUARE = VectorField(lambda t, x, p: (x[0] * x[0],), 1, name="square")
STARTS = np.random.default_rng(0).normal(size=(6, 3)) + [0, 0, 20]
TIMES = np.linspace(0, 1, 21)


@pytest.mark.parametrize("times", [TIMES, TIMES[::-1] * 0.2], ids=["forward", "backward"])
def test_arrays_and_tensors_agree_with_the_compiled_solver(times):
    reference = solve(LORENZ, STARTS, times, rtol=1e-12, atol=1e-12).x
    for got in (solve_arrays(LORENZ, STARTS, times, 1e-10, 1e-10, 10_000), solve(LORENZ, torch.from_numpy(STARTS), times, rtol=1e-10, atol=1e-10)):
        assert np.abs(np.asarray(got.x) - reference).max() < 2e-8
        assert got.complete
        assert np.allclose(got.reached, times[-1])
    assert isinstance(got.x, torch.Tensor)


def test_each_row_keeps_the_tolerance_although_steps_are_shared():
    rates = np.array([[0.01], [1.0], [50.0]])
    field = VectorField(lambda t, x, p: (-x[1] * x[0], 0.0 * x[1]), 2)
    got = solve_arrays(field, np.concatenate([np.ones((3, 1)), rates], 1), np.linspace(0, 2, 9), 1e-9, 1e-9, 10_000)
    assert np.abs(got.x[:, :, 0] - np.exp(-rates * got.times)).max() < 3e-8


def test_the_order_is_eight():
    """The local error falls as h^9; that of the dense output as h^8."""
    errors, dense = [], []
    for h in (0.8, 0.4):
        x = np.array([[0.3, -1.0]])

        def slope(t, x):
            return np.stack([x[:, 1], -x[:, 0]], 1)

        def exact(t):
            return np.array([0.3 * np.cos(t) - np.sin(t), -np.cos(t) - 0.3 * np.sin(t)])

        new, slopes = lockstep._attempt(slope, 0.0, x, h, slope(0.0, x))
        table = lockstep._interpolant(slope, 0.0, x, h, new, slopes)
        errors.append(np.abs(new - exact(h)).max())
        dense.append(max(np.abs(lockstep.at(x, table, s) - exact(s * h)).max() for s in (0.2, 0.5, 0.7)))
    assert abs(np.log2(errors[0] / errors[1]) - 9) < 0.6
    assert abs(np.log2(dense[0] / dense[1]) - 8) < 0.6


def test_gradients_pass_through_states_and_parameters():
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x0 = torch.tensor([[1.0], [2.0]], dtype=torch.float64, requires_grad=True)
    got = solve(lambda t, x: -rate * x * torch.cos(t), x0, [0.0, 0.5, 1.3])  # x0 exp(-rate sin t)
    got.x[:, 1:].sum().backward()
    sines = np.sin([0.5, 1.3])
    assert x0.grad[:, 0].tolist() == pytest.approx([np.exp(-0.7 * sines).sum()] * 2, abs=1e-8)
    assert rate.grad.item() == pytest.approx(3 * (-sines * np.exp(-0.7 * sines)).sum(), abs=1e-8)


def test_a_module_in_single_precision_is_solved_and_trained():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))

    class Field(torch.nn.Module):
        def forward(self, t, x):
            return net(x)

    got = solve(Field(), torch.ones(3, 2), np.linspace(0, 1, 5))
    assert got.x.dtype == torch.float32
    got.x.square().sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in net[0].parameters())
    finer = solve(lambda t, x: net.double()(x), torch.ones(3, 2, dtype=torch.float64), np.linspace(0, 1, 5))
    assert (got.x - finer.x).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_what_blows_up_is_marked_and_the_others_go_on(kind):
    starts, times = np.array([[1.0], [-1.0]]), np.linspace(0, 2, 9)
    if kind == "array":
        kept = solve_arrays(SQUARE, starts, times, 1e-9, 1e-9, 10_000)
    else:
        kept = solve(SQUARE, torch.from_numpy(starts), times, failed="keep")
    x = np.asarray(kept.x)
    assert kept.status.tolist() == [4, 0]
    assert kept.reached == pytest.approx([1.0, 2.0], abs=1e-6)
    assert np.isnan(x[0, 5:]).all()
    assert np.isfinite(x[0, :4]).all()
    assert np.abs(x[1, :, 0] + 1 / (1 + times)).max() < 1e-8


def test_a_row_without_a_finite_slope_and_one_without_steps():
    root = VectorField(lambda t, x, p: (np.sqrt(x[0]) - 2.0,), 1)
    kept = solve_arrays(root, np.array([[1.0], [9.0]]), np.linspace(0, 2, 9), 1e-9, 1e-9, 10_000)
    assert kept.status.tolist() == [3, 0]
    assert kept.reached[0] == pytest.approx(4 * np.log(2) - 2, abs=1e-3)
    assert np.isfinite(kept.x[1]).all()
    short = solve_arrays(LORENZ, STARTS, np.linspace(0, 50, 6), 1e-9, 1e-9, 30)
    assert (short.status == 2).all()
    assert np.isnan(short.x[:, -1]).all()
    with pytest.raises(ValueError, match=r"square: 1 of 1 trajectories ended.*Loosen the tolerances"):
        solve(SQUARE, torch.ones(1, 1), [0.0, 2.0])


def test_a_function_that_branches_is_taken_row_by_row(monkeypatch):
    monkeypatch.setenv(compiled.OFF, "1")
    field = VectorField(lambda t, x, p: (-x[0] if x[0] > 0 else -2 * x[0],), 1)
    with pytest.warns(UserWarning, match="vectorised"):
        got = solve(field, [[1.0], [-1.0]], np.linspace(0, 2, 5))
    assert np.abs(got.x[:, :, 0] - [np.exp(-got.times), -np.exp(-2 * got.times)]).max() < 1e-8


def test_one_time_and_one_row():
    got = solve(LORENZ, torch.tensor([1.0, 2.0, 3.0]), [4.0])
    assert got.x.tolist() == [[[1.0, 2.0, 3.0]]]
    assert got.reached.tolist() == [4.0]


def test_bad_input():
    with pytest.raises(ValueError, match=r"rates of shape \(2,\) for states of shape \(2, 1\)"):
        solve(lambda t, x: x[:, 0], torch.ones(2, 1), [0, 1])
    with pytest.raises(ValueError, match="1 of 2 starts are not finite"):
        solve(lambda t, x: x, torch.tensor([[1.0], [torch.nan]]), [0, 1])
    with pytest.raises(ValueError, match=r"type torch.int64 and shape \(2, 1\)"):
        solve(lambda t, x: x, torch.ones(2, 1, dtype=torch.int64), [0, 1])
    with pytest.raises(TypeError, match=r"a field f\(t, x\) and a tensor were wanted, got float"):
        solve(3.0, torch.ones(2, 1), [0, 1])


def test_fields_written_with_numpy_take_tensors_with_gradients():
    def waves(t, x, p):
        kink = np.where(x[0] > 0.2, np.abs(x[1]), np.maximum(x[1], 0.1))
        return p[0] * np.sin(x[1] + t) - x[0] ** 3, np.exp(-x[0] * x[0]) * np.arctan2(x[1], 2.0) + kink

    field = VectorField(waves, 2, np.array([1.3]))
    x0 = np.array([[0.5, -0.3], [0.1, 0.9]])
    tensor = torch.tensor(x0, requires_grad=True)
    got = solve(field, tensor, [0.0, 0.6], rtol=1e-11, atol=1e-11)
    assert type(got.x) is torch.Tensor
    assert np.abs(got.x.detach().numpy() - solve(field, x0, [0.0, 0.6], rtol=1e-11, atol=1e-11).x).max() < 1e-9
    got.x[:, -1, 0].sum().backward()
    h = 1e-5
    for i in range(2):
        up, down = (solve(field, x0 + s * h * np.eye(2)[i], [0.0, 0.6], rtol=1e-12, atol=1e-12).x[:, -1, 0] for s in (1, -1))
        assert np.abs(tensor.grad[:, i].numpy() - (up - down) / (2 * h)).max() < 1e-6
    with pytest.raises(TypeError, match=r"single: the right-hand side does not take batches of tensors.*numpy.where"):
        solve(VectorField(lambda t, x, p: (math.sin(x[0]),), 1, name="single"), torch.ones(1, 1), [0.0, 1.0])
