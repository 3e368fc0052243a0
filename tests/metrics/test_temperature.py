"""Equipartition and the canonical law on samples that are canonical by construction."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.dynamics.kinetics import maxwell_boltzmann
from trajlab.dynamics.particles import Particles
from trajlab.metrics.profiles import l1
from trajlab.metrics.temperature import canonical_fit, element_temperatures, energy_histogram, instants, kinetic
from trajlab.types import Trajectories
from trajlab.units import Units


def methanol(scenes: int = 4, frames: int = 1500, temperature: float = 300.0) -> Trajectories:
    """Velocities drawn anew in every frame at a fixed geometry."""
    x = torch.tensor([[-0.05, 0.66, 0], [-0.05, -0.76, 0], [-1.1, 0.97, 0], [0.88, -1.06, 0], [0.44, 1.07, 0.9], [0.44, 1.07, -0.9]]).double()
    kind = torch.tensor([6, 8, 1, 1, 1, 1])
    mass = torch.tensor([12.011, 15.999, 1.008, 1.008, 1.008, 1.008], dtype=torch.float64)
    copies = scenes * frames
    p = Particles(x.repeat(copies, 1), torch.zeros(6 * copies, 3, dtype=torch.float64), mass.repeat(copies), kind.repeat(copies),
                  torch.arange(copies).repeat_interleave(6), copies)
    v = maxwell_boltzmann(p, temperature, torch.Generator().manual_seed(0)).v
    v = v.reshape(scenes, frames, 6, 3).transpose(1, 2).flatten(0, 1)
    return Trajectories(x=x.repeat(scenes, 1)[:, None].expand(-1, frames, -1), time=torch.arange(frames, dtype=torch.float64).expand(scenes, -1),
                        scene=torch.arange(scenes).repeat_interleave(6), kind=kind.repeat(scenes), extra={"velocity": v},
                        static={"mass": mass.repeat(scenes)}, units=Units.md())


def test_instants_are_ordered_by_scene_and_frame():
    run = methanol(2, 3)
    p = instants(run)
    assert p.n_scenes == 6
    assert torch.equal(p.v[6:12], run.velocity[:6, 1])
    assert torch.equal(p.v[18:24], run.velocity[6:, 0])


def test_canonical_samples_are_canonical():
    series = kinetic(methanol())
    assert series.freedom.tolist() == [12] * 4
    mean = series.mean_temperature()
    assert mean.value == pytest.approx(300, abs=4 * mean.error)
    assert mean.error == pytest.approx(300 * math.sqrt(2 / 12 / 6000), rel=0.3)
    found = canonical_fit(series, 300.0)
    assert found.spread.value == pytest.approx(1.0, abs=4 * found.spread.error)
    assert 0.003 < found.spread.error < 0.05
    assert found.distance < 0.03
    profile, law = energy_histogram(series, 300.0)
    assert float(law.sum() * (profile.axis[1] - profile.axis[0])) == pytest.approx(1.0, abs=1e-3)
    assert l1(profile.curve(), law) < 0.1


def test_a_rescaled_run_is_found_out():
    run = methanol()
    series = kinetic(run)
    scale = (300.0 / series.temperature).sqrt()[run.scene][..., None]
    fixed = canonical_fit(kinetic(run.replace(extra={"velocity": run.velocity * scale})), 300.0)
    assert fixed.spread.value < 0.01
    assert fixed.distance > 0.4


def test_every_element_has_the_temperature_of_all():
    found = element_temperatures(methanol())
    assert list(found) == ["H", "C", "O"]
    for value, error in found.values():
        assert value == pytest.approx(300, abs=4 * error)
    hot = methanol()
    v = torch.where((hot.kind == 8)[:, None, None], 1.2 * hot.velocity, hot.velocity)
    found = element_temperatures(hot.replace(extra={"velocity": v}))
    assert found["O"].value > 330


def test_what_was_stopped_is_left_out():
    run = methanol(2, 1000)
    mask, v = run.mask.clone(), run.velocity.clone()
    mask[:6, 500:], v[:6, 500:] = False, float("nan")
    gone = kinetic(run.replace(mask=mask, extra={"velocity": v}).frames(slice(600, None)))
    assert gone.freedom.tolist() == [0, 12]
    assert canonical_fit(gone, 300.0).spread.value == pytest.approx(1.0, abs=0.2)
    cut = run.replace(mask=mask, extra={"velocity": v})
    series = kinetic(cut)
    assert int(series.alive.sum()) == 1500
    assert series.mean_temperature().value == pytest.approx(300, rel=0.05)
    assert canonical_fit(series, 300.0).spread.value == pytest.approx(1.0, abs=0.1)
    assert element_temperatures(cut)["H"].value == pytest.approx(300, rel=0.05)
    with pytest.raises(ValueError, match="above 0 K"):
        canonical_fit(series, 0.0)
