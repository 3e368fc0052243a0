"""Finite differences and the check of units."""

from __future__ import annotations

import pytest
import torch

from trajlab.data.cells import wrap
from trajlab.data.velocities import check_velocities, finite_differences
from trajlab.types import Trajectories
from trajlab.units import AMU_A2_FS2, ASE_TIME, BOLTZMANN, Units


def oscillators(generator, spacing=0.5, frames=40, nodes=20, kelvin=300.0, scale=1.0, stated=None, period=20.0, jitter=0.0):
    """Harmonic atoms of mass 12 at a temperature: everything is known exactly. `scale` multiplies the stored velocities."""
    omega = 6.283 / period * (0.5 + torch.rand(nodes, 1, 1, generator=generator, dtype=torch.float64))
    phase = 6.283 * torch.rand(nodes, 1, 3, generator=generator, dtype=torch.float64)
    top = (2 * BOLTZMANN * kelvin / AMU_A2_FS2 / 12) ** 0.5
    time = spacing * torch.arange(frames, dtype=torch.float64)
    time = time + jitter * spacing * torch.rand(frames, generator=generator, dtype=torch.float64)
    angle = omega * time[None, :, None] + phase
    context = {} if stated is None else {"temperature": torch.tensor([stated])}
    return Trajectories(
        top / omega * angle.sin(), time[None], torch.zeros(nodes, dtype=torch.long), extra={"velocity": scale * top * angle.cos()},
        static={"mass": torch.full((nodes,), 12.0)}, context=context, units=Units.md(),
    )


@pytest.mark.parametrize("spacing", [0.1, 1.0])
def test_right_units_pass(spacing, generator):
    found = check_velocities(oscillators(generator, spacing))
    assert found.ratio == pytest.approx(1, abs=0.02)
    assert found.temperature == pytest.approx(300, rel=0.3)
    assert "agree" in found.note


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (ASE_TIME, r"0\.098.* times the velocity x spacing .* ASE units"),
        (1 / ASE_TIME, r"10\.\d* times .* ASE's unit of time"),
        (1000.0, r"0\.001.* times .* Angstrom/ps"),
        (0.001, r"100\d.* times .* ps"),
        (100.0, r"0\.01.* times .* nm/ps"),
        (10.0, r"0\.1\d* times .* the frames are 0\.05.* fs apart and not the declared 0\.5, or the velocities are 9\.9.* times too large"),
        (1.4, r"0\.71.* times"),
        (-1.0, "run backwards in time"),
    ],
)
def test_wrong_units_are_refused_with_their_name(scale, message, generator):
    t = oscillators(generator, scale=scale)
    with pytest.raises(ValueError, match=message):
        check_velocities(t)


@pytest.mark.parametrize("stated", [None, 300.0])
def test_at_large_strides_temperatures_decide(stated, generator):
    found = check_velocities(oscillators(generator, spacing=30.0, stated=stated))
    assert found.correlation < 0.9
    assert "plausible" in found.note
    with pytest.raises(ValueError, match=r"stand for 3\.\d+e\+04 K.* ASE units"):
        check_velocities(oscillators(generator, spacing=30.0, scale=ASE_TIME, stated=stated))
    with pytest.raises(ValueError, match=r"stand for 2\.\d+ K.* ASE's unit of time"):
        check_velocities(oscillators(generator, spacing=30.0, scale=1 / ASE_TIME, stated=stated))
    with pytest.raises(ValueError, match=r"stand for .* K.* Angstrom/ps"):
        check_velocities(oscillators(generator, frames=1, scale=1000.0, stated=stated))


def test_half_the_temperature_after_a_start_from_a_minimum_is_believed(generator):
    check_velocities(oscillators(generator, spacing=30.0, kelvin=150.0, stated=300.0))


def test_zero_and_missing_velocities(generator):
    t = oscillators(generator)
    with pytest.raises(ValueError, match=r"all velocities are zero, but positions move by .* angstrom a frame"):
        check_velocities(t.replace(extra={"velocity": torch.zeros_like(t.x)}))
    with pytest.raises(ValueError, match="finite_differences"):
        check_velocities(t.replace(extra={}))
    with pytest.raises(ValueError, match="finite_differences"):
        check_velocities(t.replace(extra={}, units=Units()))
    still = t.replace(x=torch.zeros_like(t.x), extra={"velocity": torch.zeros_like(t.x)})
    assert "nothing moves" in check_velocities(still).note


def test_masked_frames_and_other_units(generator):
    x = 20 * torch.arange(30.0)[None, :, None] * 0.1
    cars = Trajectories(x, 0.1 * torch.arange(30.0)[None], torch.tensor([0]), extra={"velocity": torch.full_like(x, 72.0)}, units=Units.si())
    with pytest.raises(ValueError, match="km/h"):
        check_velocities(cars)
    mask = torch.rand(1, 30, generator=generator) > 0.3
    hidden = cars.replace(extra={"velocity": torch.where(mask[..., None], 20.0, 1e6)}, mask=mask)
    assert check_velocities(hidden).ratio == pytest.approx(1, abs=1e-4)


def test_reference_files(reference):
    from trajlab.data.adapters.ase import read_ase

    folder = reference / "md" / "trajcast_tests"
    good = read_ase(folder / "aspirin_energy.extxyz")
    assert good.n_frames == 2
    assert check_velocities(good).ratio == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match=r"0\.09\d* times .*0\.09\d* fs apart and not the declared 1|0\.1 times"):
        read_ase(folder / "benzene_validation_traj.extxyz")
    bad = read_ase(folder / "benzene_validation_traj.extxyz", check=False)
    assert bad.n_scenes == 4


@pytest.mark.parametrize("jitter", [0.0, 0.6])
def test_finite_differences_are_second_order(jitter):
    errors = []
    for spacing in (1.0, 0.5):
        t = oscillators(torch.Generator().manual_seed(3), spacing, frames=round(30 / spacing), jitter=jitter)
        guess = finite_differences(t.replace(extra={}))
        errors.append(float((guess.velocity - t.velocity).square().mean().sqrt()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3 if jitter == 0 else 0.5)
    assert guess.source["velocity"]["method"].startswith("finite differences")


def test_finite_differences_are_exact_on_parabolas():
    time = torch.tensor([[0.0, 0.4, 1.5, 2.0, 3.1]])
    t = Trajectories((3 - 2 * time + 0.5 * time**2)[..., None], time, torch.tensor([0]))
    assert torch.allclose(finite_differences(t).velocity[0, :, 0], (time - 2)[0], atol=1e-5)


def test_finite_differences_look_at_observed_frames_only(generator):
    t = oscillators(generator, 0.1).replace(extra={})
    whole = finite_differences(t)
    mask = torch.ones_like(t.mask)
    mask[0, :5] = False  # starts late: one-sided
    mask[1, 10] = False
    mask[2, [3, 6]] = False  # two frames alone between: lost
    hidden = t.replace(mask=mask, x=torch.where(mask[..., None], t.x, float("nan")))
    part = finite_differences(hidden)
    assert torch.allclose(part.velocity[part.mask], whole.velocity[part.mask], atol=1e-4)
    assert (mask & ~part.mask).nonzero().tolist() == [[2, 4], [2, 5]]
    assert part.source["velocity"]["frames_masked_out"] == 2


def test_finite_differences_refuse(generator):
    t = oscillators(generator)
    with pytest.raises(ValueError, match="velocities already"):
        finite_differences(t)
    with pytest.raises(ValueError, match="at least 3 frames, but there are 2"):
        finite_differences(t.replace(extra={}).last(2))
    lonely = t.replace(extra={}, mask=torch.arange(40).expand(20, -1) % 3 > 0)
    with pytest.raises(ValueError, match="three frames in a row"):
        finite_differences(lonely)
    drift = t.replace(x=t.x + 0.2 * t.time[..., None], cell=4 * torch.eye(3, dtype=torch.float64)[None], extra={})
    finite_differences(drift)
    with pytest.raises(ValueError, match=r"trajlab\.data\.unwrap"):
        finite_differences(wrap(drift))
