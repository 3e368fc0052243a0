"""Laws of roll-outs with the learned maps: a restart is bitwise, a batch is its single runs, and bad starts end with a named reason."""

from __future__ import annotations

import pytest
import torch
from laws.systems import CONFIGS, crystal, joined, molecule, untrained

from trajlab.models.limits import Limits
from trajlab.models.rollout import RolloutConfig, RolloutError, resume, rollout


def calm(name):
    """An untrained model that moves little, so that a long run stays where it is."""
    model = untrained(name)
    for scale in (model.step.displacement_scale, model.step.velocity_scale):
        scale.mul_(1e-3)
    return model


@pytest.mark.parametrize("thermostat", ["langevin", "csvr", "nve"])
@pytest.mark.parametrize("name", CONFIGS)
def test_restart_is_bitwise(name, thermostat, generator, tmp_path):
    model, start = calm(name), joined(molecule(6, generator), molecule(4, generator))
    settings = {"thermostat": thermostat, "temperature_K": 300.0, "seed": 5, "progress": False, "watch": None}
    whole = rollout(model, start, 40, RolloutConfig(**settings))
    rollout(model, start, 17, RolloutConfig(**settings, restart=tmp_path / "restart"))
    rest = resume(tmp_path / "restart", model, 40, RolloutConfig(**settings))
    assert torch.equal(rest.draws[0], whole.draws[0][:, 17:])
    assert torch.equal(rest.extra["velocity"][0], whole.extra["velocity"][0][:, 17:])


@pytest.mark.parametrize("name", CONFIGS)
def test_replica_of_a_batch_is_its_single_run(name, generator):
    model = calm(name)
    parts = [molecule(6, generator), molecule(1, generator), molecule(4, generator)]
    settings = {"temperature_K": 300.0, "progress": False, "watch": None}
    together = rollout(model, joined(*parts), 20, RolloutConfig(**settings)).draws[0]
    for number, (part, found) in enumerate(zip(parts, together.split([6, 1, 4]), strict=True)):
        alone = rollout(model, part, 20, RolloutConfig(**settings, first_stream=number)).draws[0]
        torch.testing.assert_close(alone, found, rtol=1e-8, atol=1e-9)


def test_crystal_smaller_than_twice_the_cutoff_rolls_out(generator):
    p = crystal(generator)
    assert float(torch.linalg.matrix_norm(p.cell[0], 2)) < 2 * 4.0
    future = rollout(calm("polar"), p, 10, RolloutConfig(thermostat="nve", progress=False, watch=None))
    assert bool(torch.isfinite(future.draws).all())


def limits(**changes):
    known = {"stride": 7.0, "max_speed": {"H": 0.02, "C": 0.02, "O": 0.02}, "max_displacement": {"H": 9.0, "C": 9.0, "O": 9.0},
             "mean_temperature": 300.0}
    return Limits(**{**known, **changes})


def test_speed_beyond_training_ends_one_system_with_its_name(generator):
    model = calm("polar")
    model.limits = limits(max_speed={"H": 0.05, "C": 0.05, "O": 0.05})
    slow, fast = molecule(6, generator), molecule(6, generator)
    future = rollout(model, joined(slow, fast.replace(v=fast.v * 20)), 5, RolloutConfig(thermostat="nve", progress=False))
    assert future.stopped[0] == ""
    assert "speed" in future.stopped[1]
    assert "1.5 x 0.05 A/fs of training" in future.stopped[1]
    assert bool(future.mask[..., :6, :].all())
    assert not bool(future.mask[..., 6:, -1].any())


def test_where_all_are_too_fast_no_frame_is_reached(generator):
    model = calm("polar")
    model.limits = limits(max_speed={"H": 1e-4, "C": 1e-4, "O": 1e-4})
    with pytest.raises(RolloutError, match="no frame was reached: speed"):
        rollout(model, molecule(6, generator), 5, RolloutConfig(thermostat="nve", progress=False))


def test_zero_velocities_are_refused_and_the_remedy_named(generator):
    p = molecule(6, generator)
    with pytest.raises(ValueError, match="maxwell_boltzmann"):
        rollout(calm("polar"), p.replace(v=torch.zeros_like(p.v)), 5, RolloutConfig(thermostat="nve", progress=False))


def test_nan_in_the_start_is_refused(generator):
    p = molecule(6, generator)
    x = p.x.clone()
    x[2, 1] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        rollout(calm("polar"), p.replace(x=x), 5, RolloutConfig(thermostat="nve", progress=False))


def test_unknown_element_is_refused_at_the_first_step(generator):
    p = molecule(6, generator)
    odd = p.replace(kind=p.kind.clone().index_fill_(0, torch.tensor([2]), 26))
    with pytest.raises((RolloutError, ValueError), match="atom 2 is Fe"):
        rollout(calm("polar"), odd, 5, RolloutConfig(thermostat="nve", progress=False))


@pytest.mark.parametrize("name", CONFIGS)
def test_atoms_without_neighbours_go_straight_on_alone(name):
    """An isolated atom, and a graph without any edge, are no errors: nothing acts."""
    p = molecule(2, torch.Generator().manual_seed(0))
    apart = p.replace(x=torch.tensor([[0.0, 0, 0], [100.0, 0, 0]], dtype=torch.float64))
    d, v = untrained(name).propagate(apart)
    assert bool(torch.isfinite(d).all() and torch.isfinite(v).all())
    single = molecule(1, torch.Generator().manual_seed(1))
    d, v = untrained(name).propagate(single)
    torch.testing.assert_close(v, single.v)
    torch.testing.assert_close(d, 7.0 * single.v)
