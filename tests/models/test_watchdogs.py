"""Limits measured on training data, and the reasons with which systems are stopped."""

from __future__ import annotations

import json

import pytest
import torch
from rollout_systems import Ballistic, Failing, Springs, batch, marked

from trajlab.dynamics import kinetics as k
from trajlab.dynamics.particles import Particles
from trajlab.dynamics.thermostats import CSVR, NVE, Langevin
from trajlab.models.limits import Limits, bonded_pairs
from trajlab.models.monitor import EnergyMonitor
from trajlab.models.rollout import RolloutConfig, rollout
from trajlab.models.watchdogs import Guard, Watch
from trajlab.types import Trajectories
from trajlab.units import Units

QUIET = {"progress": False, "thermostat": NVE()}


def training(frames: int = 30, sizes=(5, 5, 3)) -> Trajectories:
    return rollout(Springs(), batch(*sizes), frames, RolloutConfig(progress=False, thermostat=Langevin(300.0, 40.0))).trajectories()


def guard(p: Particles, watch: Watch | None = None, **changes) -> Guard:
    limits = Limits(4.0, {"C": 0.1, "H": 0.1, "O": 0.1, "N": 0.1}, {"C": 0.2, "H": 0.2, "O": 0.2, "N": 0.2},
                    {"C-O": (1.0, 1.2), "H-O": (0.9, 1.0)}, (200.0, 400.0), 300.0)
    return Guard(p, 4.0, Limits(**{**limits.__dict__, **changes}), watch or Watch())


def test_limits_by_hand():
    t = training()
    limits = Limits.measure(t)
    oxygen = t.kind == 8
    assert limits.stride == 4.0
    assert limits.max_speed["O"] == pytest.approx(float(t.velocity[oxygen].norm(dim=2).max()))
    assert limits.max_displacement["O"] == pytest.approx(float(t.x[oxygen].diff(dim=1).norm(dim=2).max()))
    water = t.scenes([2])
    lengths = (water.x[[1, 2]] - water.x[0]).norm(dim=2)
    assert limits.bonds["H-O"] == pytest.approx((float(lengths.min()), float(lengths.max())))
    heat = torch.stack([k.temperature(Particles.of(t, f)) for f in range(30)])
    assert limits.temperature == pytest.approx((float(heat.min()), float(heat.max())))
    assert limits.mean_temperature == pytest.approx(float(heat.mean()))
    assert Limits.from_dict(json.loads(json.dumps(limits.to_dict()))) == limits


def test_limits_look_only_at_what_was_observed():
    t = training()
    wild = t.x.clone()
    wild[0, 7] = 1e6
    mask = t.mask.clone()
    mask[0, 7] = False
    limits = Limits.measure(t.replace(x=wild, mask=mask))
    assert max(limits.max_displacement.values()) < 1
    assert max(high for _, high in limits.bonds.values()) < 3
    with pytest.raises(ValueError, match="single frame"):
        Limits.measure(t.last())


def test_bonds_across_a_periodic_boundary():
    x = torch.tensor([[0.1, 5, 5], [9.1, 5, 5], [5, 5, 5]], dtype=torch.float64)
    box = 10 * torch.eye(3, dtype=torch.float64)[None]
    p = Particles(x, x * 0, torch.ones(3, dtype=torch.float64), torch.tensor([8, 1, 6]), torch.zeros(3, dtype=torch.long), 1, box,
                  torch.ones(1, 3, dtype=torch.bool))
    i, j, shift = bonded_pairs(p)
    assert (i.tolist(), j.tolist()) == ([0], [1])
    torch.testing.assert_close((x[i] - x[j] + shift).norm(dim=1), torch.tensor([1.0], dtype=torch.float64))


def test_a_long_and_a_short_bond_are_named():
    p = batch(5, 3)
    g = guard(p)
    far = p.x.clone()
    far[5] -= torch.tensor([0.9, 0, 0], dtype=torch.float64)  # oxygen of water, away from both hydrogens
    reasons = g.check_state(p.replace(x=far))
    assert reasons == {1: "bond: H-O 0 and 1 at 1.86 A exceeds 1.5 x 1 A of training"}
    near = p.x.clone()
    near[1] = near[0] + torch.tensor([0.5, 0, 0], dtype=torch.float64)
    assert g.check_state(p.replace(x=near)) == {0: "bond: C-O 0 and 1 at 0.5 A is below 0.6 x 1 A of training"}
    assert g.check_state(p) == {}


def test_metal_bonds_may_stretch_but_not_collapse():
    x = torch.tensor([[0.0, 0, 0], [2.5, 0, 0]], dtype=torch.float64)
    p = Particles(x, x * 0 + 0.001, torch.full((2,), 63.5, dtype=torch.float64), torch.tensor([29, 29]), torch.zeros(2, dtype=torch.long), 1)
    g = Guard(p, 4.0, Limits(4.0, {}, {}, {"Cu-Cu": (2.3, 2.8)}), Watch())
    assert g.check_state(p.replace(x=2 * x)) == {}
    assert "Cu-Cu 0 and 1" in g.check_state(p.replace(x=0.5 * x))[0]


def test_speed_displacement_and_numbers_that_are_none():
    p = batch(5, 3)
    g = guard(p)
    d, v = torch.zeros_like(p.x), torch.zeros_like(p.x)
    assert g.check_move(p, d, v) == {}
    v[6, 1] = 0.151
    assert g.check_move(p, d, v) == {1: "speed: H 1 at 0.151 A/fs exceeds 1.5 x 0.1 A/fs of training"}
    d[2, 0] = -0.31
    assert g.check_move(p, d, v)[0] == "displacement: C 2 at 0.31 A exceeds 1.5 x 0.2 A of training"
    d[2, 0], v[6, 1] = torch.nan, torch.inf
    assert g.check_move(p, d, v) == {0: "not finite: the displacement of C 2", 1: "not finite: the speed of H 1"}
    assert Guard(p, 8.0, g.limits, Watch()).check_move(p, torch.full_like(p.x, 0.3), torch.zeros_like(p.x)) == {}  # twice the stride, twice the way


def test_temperature_bands():
    p = batch(5, 3)
    hot = p.replace(v=p.v * torch.where(p.scene == 1, 2.0, 0.3)[:, None])
    heat = k.temperature(hot)
    wide = guard(p, temperature=(100.0, 100.0), bonds={})
    assert set(wide.check_state(hot)) == {int(s) for s in ((heat < 30) | (heat > 200)).nonzero()}
    narrow = guard(p, Watch(band_K=(1e-3, 1e-2)), bonds={})
    assert "is outside 0 to 0 K" in narrow.check_state(hot)[0]
    assert len(narrow.check_state(hot)) == 2


def test_a_drifting_atom_is_stopped_in_a_roll_out_with_the_time():
    p = batch(5, 3, 5)
    p = marked(p, 5, 17.0)
    walker = Failing("drift", 17.0, after=4)
    walker.limits = Limits.measure(training(60)).to_dict()  # as read from a file
    made = rollout(walker, p, 40, RolloutConfig(**QUIET, watch=Watch(every=2, temperature=(0.001, 500.0), speed=50.0, displacement=50.0)))
    assert made.stopped[0] == made.stopped[2] == ""
    assert made.stopped[1].startswith("bond: H-O 0 and ")
    assert "x 1." in made.stopped[1]
    assert made.stopped[1].endswith(" ps")
    assert 4 < int(made.mask[0, 5].sum()) < 40
    free = rollout(walker, p, 10, RolloutConfig(**QUIET, watch=None))
    assert free.stopped == ("", "", "")


def test_hot_runs_end_by_temperature_and_watchdogs_follow_thinned_batches():
    p = batch(5, 3, 5)
    p = marked(p, 8, 17.0)
    heater = Failing("hot", 17.0, after=2)
    heater.limits = Limits.measure(training(60))
    made = rollout(heater, p, 30, RolloutConfig(**QUIET, watch=Watch(every=1, speed=2.0, displacement=5.0)))
    assert made.stopped[2].split(":")[0] in ("speed", "temperature")
    again = Failing("hot", 17.0, after=1)
    again.limits = heater.limits
    p = marked(marked(p, 8, 12.011), 5, 17.0)
    made = rollout(again, p, 30, RolloutConfig(progress=False, thermostat=CSVR((300.0, 310.0, 320.0), 100.0), watch=Watch(every=1, speed=2.0)))
    assert [bool(s) for s in made.stopped] == [False, True, False]


def test_without_limits_only_the_finite_counts():
    p = batch(5)
    made = rollout(Ballistic(), p.replace(v=p.v * 100), 5, RolloutConfig(**QUIET))
    assert made.stopped == ("",)
    hot = rollout(Ballistic(), p.replace(v=p.v * 100), 20, RolloutConfig(**QUIET, watch=Watch(band_K=(0.0, 1000.0))))
    assert hot.stopped[0].startswith("temperature:")


@pytest.mark.parametrize("options", [{"bond_long": 0.0}, {"every": 0}, {"temperature": (2.0, 1.0)}, {"band_K": (5.0, 5.0)}])
def test_settings_that_make_no_sense(options):
    with pytest.raises(ValueError, match=r"(was|were) wanted"):
        Watch(**options)


def test_units_are_asked_for():
    t = training(2)
    with pytest.raises(ValueError, match="angstrom, fs, amu"):
        Limits.measure(t.replace(units=Units.si()))


def test_the_energy_of_a_reference_is_recorded_and_watched():
    springs = Springs()
    monitor = EnergyMonitor(springs)
    made = rollout(springs, batch(5, 3), 20, RolloutConfig(**QUIET, observers=((monitor, 5),)))
    assert monitor.time == [20.0, 40.0, 60.0, 80.0]
    assert monitor.total.shape == (4, 2)
    p = batch(5, 3)
    last = p.replace(x=made.draws[0, :, -1], v=made.extra["velocity"][0, :, -1])
    torch.testing.assert_close(monitor.potential_energy[-1], springs(last)[0])
    torch.testing.assert_close(monitor.kinetic_energy[-1], k.kinetic_energy(last))
    p = marked(p, 5, 17.0)
    heated = rollout(Failing("hot", 17.0, after=6), p, 20, RolloutConfig(**QUIET, observers=((EnergyMonitor(springs, 0.3), 2),)))
    assert heated.stopped[0] == ""
    assert heated.stopped[1].startswith("energy: +")
    with pytest.raises(ValueError, match="positive number of eV"):
        EnergyMonitor(springs, 0.0)
