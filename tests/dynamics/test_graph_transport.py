"""Transport on graphs: mass is kept, puffs move downwind, reversal transposes, exact and explicit steps agree, plumes lie downwind."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.dynamics.graph_transport import (
    advance,
    advection_generator,
    diffusion_generator,
    laplacian,
    plume,
    stable_step,
    transported,
    upwind_rates,
    wind_vector,
)

GENERATOR = torch.Generator().manual_seed(0)


def places(n: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Directions, distances and links of random places within 60 km, each within 40 km of some."""
    xy = 60e3 * torch.rand(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = xy[None] - xy[:, None]
    d = step.norm(dim=-1)
    return step / d.clamp(min=1e-9)[..., None], d, (d < 40e3) & ~torch.eye(n, dtype=torch.bool)


def line(n: int = 11, spacing: float = 10e3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Places along a line from west to east."""
    at = spacing * torch.arange(n, dtype=torch.float64)
    step = at[None] - at[:, None]
    return torch.stack([step.sign(), torch.zeros_like(step)], -1), step.abs(), step.abs() == spacing


def test_wind_comes_from_where_meteorologists_say():
    got = wind_vector(torch.tensor([2.0, 3.0, 1.0, math.sqrt(2)]), torch.tensor([0.0, 90.0, 180.0, 225.0]))
    wanted = torch.tensor([[0.0, -2.0], [-3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # from the north blows to the south
    assert torch.allclose(got, wanted, atol=1e-6)


def test_mass_is_conserved_by_both():
    direction, distance, linked = places()
    wind = 5 * torch.randn(4, 9, 2, dtype=torch.float64, generator=GENERATOR)
    advection = advection_generator(upwind_rates(wind, direction, distance, linked))
    conductance = torch.where(linked, torch.exp(-((distance / 20e3) ** 2)), 0.0)
    diffusion = diffusion_generator(conductance, 1e-4 * torch.rand(9, dtype=torch.float64, generator=GENERATOR))
    both = advection + diffusion
    assert both.sum(-2).abs().max() < 1e-16
    x = torch.rand(4, 9, 2, dtype=torch.float64, generator=GENERATOR)
    for method in ("exact", "euler", "rk4"):
        after = advance(x, both, 24 * 3600.0, method=method)
        assert ((after.sum(1) - x.sum(1)) / x.sum(1)).abs().max() < 1e-6
        assert after.min() > -1e-12
        assert (after - x).abs().max() > 0.05  # something did move


def test_mass_is_conserved_in_single_precision():
    direction, distance, linked = (v.float() if v.is_floating_point() else v for v in places())
    m = advection_generator(upwind_rates(torch.full((9, 2), 3.0), direction, distance, linked))
    x = torch.rand(9, 1, generator=GENERATOR)
    assert abs(float(advance(x, m, 3600.0).sum() / x.sum()) - 1) < 1e-6


def test_diffusion_ends_at_the_mean_and_advection_does_not():
    _, distance, linked = places()
    x = torch.rand(9, 1, dtype=torch.float64, generator=GENERATOR)
    end = advance(x, diffusion_generator(linked.double()), 1e4)
    assert torch.allclose(end, x.mean().expand_as(x), rtol=1e-9)
    assert distance.shape == (9, 9)


def test_a_puff_moves_downwind():
    direction, distance, linked = line(41)
    x = torch.zeros(41, 1, dtype=torch.float64)
    x[20] = 1.0
    at = torch.arange(41, dtype=torch.float64)
    for east, sign in ((4.0, 1), (-4.0, -1)):
        m = advection_generator(upwind_rates(torch.tensor([east, 7.0], dtype=torch.float64).expand(41, 2), direction, distance, linked))
        after = advance(x, m, 3600.0)[:, 0]
        centre = float((at * after).sum())
        assert centre - 20 == pytest.approx(sign * 4.0 * 3.6 / 10, rel=1e-9)  # 4 m/s for an hour over places 10 km apart
        assert (after[:20] if sign > 0 else after[21:]).abs().max() < 1e-15  # nothing goes upwind


def test_a_reversed_uniform_wind_transposes():
    direction, distance, linked = places()
    u = torch.tensor([2.0, -3.0], dtype=torch.float64).expand(9, 2)
    f, back = upwind_rates(u, direction, distance, linked), upwind_rates(-u, direction, distance, linked)
    assert torch.allclose(f.T, back, atol=1e-18)
    assert not torch.allclose(f, back)


def test_explicit_steps_converge_to_the_exact_ones_with_sources():
    direction, distance, linked = places()
    m = advection_generator(upwind_rates(torch.full((9, 2), 2.0, dtype=torch.float64), direction, distance, linked))
    q = 1e-4 * torch.rand(9, 1, dtype=torch.float64, generator=GENERATOR)
    x = torch.rand(9, 1, dtype=torch.float64, generator=GENERATOR)
    exact = advance(x, m, 7200.0, source=q)
    least = math.ceil(7200 / stable_step(m))
    error = lambda method, n: float((advance(x, m, 7200.0, source=q, method=method, steps=n) - exact).abs().max())  # noqa: E731
    assert error("euler", 4 * least) / error("euler", 8 * least) == pytest.approx(2, rel=0.2)
    assert error("rk4", 2 * least) / error("rk4", 4 * least) == pytest.approx(16, rel=0.4)
    assert exact.sum() == pytest.approx(float(x.sum() + 7200 * q.sum()), rel=1e-9)  # what sources give stays


def test_gradients_reach_wind_and_diffusion():
    direction, distance, linked = places()
    wind = torch.ones(9, 2, dtype=torch.float64, requires_grad=True)
    k = torch.tensor(1e-4, dtype=torch.float64, requires_grad=True)
    m = advection_generator(upwind_rates(wind, direction, distance, linked)) + diffusion_generator(linked.double(), k)
    advance(torch.arange(9, dtype=torch.float64)[:, None], m, 3600.0)[0].sum().backward()
    assert wind.grad.abs().max() > 0
    assert k.grad.abs() > 0


def test_a_plume_lies_downwind_and_decays():
    direction, distance, linked = line()
    emission = torch.zeros(11, dtype=torch.float64)
    emission[5] = 1.0
    wind = torch.tensor([3.0, 0.0], dtype=torch.float64).expand(6, 11, 2)
    series = plume(emission, wind, direction, distance, linked)
    assert series.shape == (7, 11)
    assert series[-1, :5].abs().max() < 1e-12
    assert (series[-1, 5:8] > 0).all()
    assert torch.allclose(series.sum(1), 3600.0 * torch.arange(7, dtype=torch.float64))
    spread = plume(emission, wind, direction, distance, linked, diffusivity=1e4, decay=1e-5)
    assert spread[-1, 4] > 0
    assert float(spread[-1].sum()) == pytest.approx((1 - math.exp(-1e-5 * 6 * 3600)) / 1e-5, rel=1e-9)


def test_wind_that_changes():
    direction, distance, linked = line()
    there_and_back = torch.tensor([[3.0, 0.0], [-3.0, 0.0]], dtype=torch.float64)[:, None].expand(2, 11, 2)
    x = torch.zeros(11, 1, dtype=torch.float64)
    x[5] = 1.0
    path = transported(x, advection_generator(upwind_rates(there_and_back, direction, distance, linked)), 3600.0)
    at = torch.arange(11, dtype=torch.float64)
    assert float((at * path[1, :, 0]).sum()) > 5.9
    assert float((at * path[2, :, 0]).sum()) == pytest.approx(5, abs=0.02)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: wind_vector(torch.tensor([-1.0]), torch.tensor([0.0])), "speed is -1"),
    (lambda: laplacian(torch.tensor([[0.0, 1.0], [0.0, 0.0]])), "symmetric"),
    (lambda: laplacian(torch.ones(2, 3)), "node node"),
    (lambda: diffusion_generator(torch.ones(2, 2), -1.0), "coefficient is -1"),
    (lambda: upwind_rates(torch.ones(2, 2), torch.ones(2, 2, 2), torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool)), "floor"),
    (lambda: upwind_rates(torch.ones(3, 2), torch.ones(2, 2, 2), torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool)), "were wanted"),
    (lambda: advance(torch.ones(2, 1), torch.zeros(2, 2), 1.0, method="implicit"), "method"),
    (lambda: advance(torch.ones(2, 1), torch.zeros(2, 2), 0.0), "positive time"),
    (lambda: advance(torch.ones(2, 1), advection_generator(torch.ones(2, 2)), 10.0, method="euler", steps=2), "at least 10 steps"),
    (lambda: plume(torch.ones(2), torch.ones(1, 2, 2), torch.ones(2, 2, 2), torch.ones(2, 2), torch.ones(2, 2).bool(), decay=-1.0), "decay"),
])
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()
