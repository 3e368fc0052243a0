"""What a vehicle could drive: circles, brakes and standing by hand."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.metrics.motion_feasibility import FeasibilityConfig, drivable, roughness

DT = torch.full((40,), 0.1, dtype=torch.float64)


def straight(speed):
    """Along x with these speeds."""
    x = torch.cat([torch.zeros(1, dtype=torch.float64), (torch.as_tensor(speed, dtype=torch.float64) * 0.1).cumsum(0)])
    return torch.stack([x, torch.zeros_like(x)], -1)


def circle(radius, speed=5.0, steps=40):
    angle = torch.arange(steps + 1, dtype=torch.float64) * speed * 0.1 / radius
    return radius * torch.stack([angle.cos(), angle.sin()], -1)


def test_a_circle_has_its_curvature_and_no_acceleration():
    for radius in (4.0, 20.0):
        found = drivable(circle(radius), DT)
        chord = 2 * radius * math.sin(5.0 * 0.1 / radius / 2)
        assert found.curvature.tolist() == pytest.approx([0.5 / radius / chord] * 39)
        assert float(found.acceleration.abs().max()) < 1e-9
    assert float(drivable(circle(3.0), DT).rate) == 1.0
    assert float(drivable(circle(4.0), DT).rate) == 0.0
    assert bool((drivable(circle(4.0).flip(0), DT).curvature < 0).all())  # to the right


def test_limits_of_acceleration():
    speed = [10.0, 10.0, 11.04, 11.04, 9.99]
    found = drivable(straight(speed), DT[:5])
    assert found.acceleration.tolist() == pytest.approx([0, 10.4, 0, -10.5])
    assert found.infeasible.tolist() == [False, False, False, True]
    assert float(found.rate) == 0.25
    assert found.speed.tolist() == pytest.approx(speed[:-1])
    assert found.jerk[1:].tolist() == pytest.approx([104, -104, -105])
    assert math.isnan(found.jerk[0])
    assert float(drivable(straight(speed), DT[:5], config=FeasibilityConfig(jerk=104.5)).rate) == 0.25
    assert float(drivable(straight(speed), DT[:5], config=FeasibilityConfig(jerk=50.0)).rate) == 0.75


def test_a_vehicle_that_stands_or_creeps_has_no_curvature():
    """Positions jitter by a centimetre at 10 Hz: the direction is nonsense, and no fault."""
    jitter = 0.01 * torch.randn(41, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = drivable(jitter, DT, config=FeasibilityConfig(acceleration=100.0))
    assert float(found.rate) == 0.0
    assert bool((found.curvature == 0).all())
    assert float(drivable(jitter, DT, config=FeasibilityConfig(acceleration=100.0, slow=1e-6)).rate) > 0.5


def test_curvature_is_over_the_way_of_an_even_acceleration_and_needs_both_speeds():
    def turning(before, after, angle):
        step = torch.tensor([[before, 0.0], [after * math.cos(angle), after * math.sin(angle)]], dtype=torch.float64) * 0.1
        return drivable(torch.cat([torch.zeros(1, 2, dtype=torch.float64), step.cumsum(0)]), DT[:2])

    assert float(turning(5.0, 6.0, 0.1).curvature) == pytest.approx(0.1 / (0.5 + 10 * 0.01 / 2))
    assert float(turning(1.0, 0.59, 1.5).curvature) == float(turning(0.59, 1.0, 1.5).curvature) == 0.0
    assert float(turning(1.0, 0.61, 1.5).rate) == 1.0


def test_heading_that_wraps():
    """Through the direction of pi, where atan2 jumps."""
    angle = torch.linspace(math.pi - 0.2, math.pi + 0.2, 40, dtype=torch.float64)
    step = torch.stack([angle.cos(), angle.sin()], -1)
    path = torch.cat([torch.zeros(1, 2, dtype=torch.float64), step.cumsum(0)])
    assert float(drivable(path, DT).curvature.max()) == pytest.approx(0.4 / 39, rel=1e-6)


def test_a_jump_away_from_the_last_given_position_counts():
    path = straight([10.0] * 6)
    path[1:, 1] += 0.5
    assert drivable(path, DT[:6]).infeasible.tolist() == [True, False, False, False, False]


def test_hidden_frames_leave_no_transition():
    path, mask = straight([10.0] * 6), torch.ones(7, dtype=torch.bool)
    mask[3] = False
    path[3] = math.nan
    found = drivable(path, DT[:6], mask)
    assert found.there.tolist() == [True, False, False, False, True]
    assert float(found.rate) == 0.0
    assert math.isnan(drivable(path, DT[:6], mask & False).rate)


def test_roughness_by_hand():
    """x = t^2 + t^3 has differences of 2 + 6 t at the middle frame, and a jerk of 6."""
    t = torch.arange(11, dtype=torch.float64) * 0.5
    path = torch.stack([t**2 + t**3, torch.zeros_like(t)], -1)
    acceleration, jerk = roughness(path, torch.full((10,), 0.5, dtype=torch.float64))
    assert float(jerk) == pytest.approx(6.0)
    assert float(acceleration) == pytest.approx(float(((2 + 6 * t[1:-1]) ** 2).mean().sqrt()))
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert float(roughness(path @ turn.T + 4, torch.full((10,), 0.5))[0]) == pytest.approx(float(acceleration))


def test_it_does_not_depend_on_frame_and_takes_batches():
    g = torch.Generator().manual_seed(0)
    path = (torch.randn(3, 2, 41, 2, generator=g, dtype=torch.float64) * 0.3).cumsum(-2)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    want = drivable(path, DT.expand(2, 40), torch.ones(2, 41, dtype=torch.bool))
    assert want.rate.shape == (3, 2)
    assert torch.allclose(drivable(path @ turn.T - 7, DT).rate, want.rate)
    assert torch.allclose(drivable(path[1, 1], DT).rate, want.rate[1, 1])


def test_bad_input():
    with pytest.raises(ValueError, match="at least 3 frames"):
        drivable(torch.zeros(2, 2), DT[:1])
    with pytest.raises(ValueError, match="the 40 times between"):
        drivable(torch.zeros(41, 2), DT[:39])
    with pytest.raises(ValueError, match="must be positive"):
        FeasibilityConfig(curvature=-0.3)
