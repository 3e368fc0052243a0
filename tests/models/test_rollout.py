"""Roll-outs of many systems: laws of batches, restarts to the bit, systems that fail alone, files."""

from __future__ import annotations

import math
import signal

import ase.io
import pytest
import torch
from rollout_systems import Ballistic, Failing, Harmonic, Springs, batch, marked

from trajlab.data import store
from trajlab.dynamics import kinetics as k
from trajlab.dynamics.particles import Particles
from trajlab.dynamics.thermostats import CSVR, NVE, Langevin, Ramp
from trajlab.models import restart
from trajlab.models.ensemble import Ensemble
from trajlab.models.interrupt import Bar
from trajlab.models.rollout import RolloutConfig, RolloutError, resume, rollout
from trajlab.types import Forecast, Trajectories
from trajlab.units import AMU_A2_FS2, ASE_TIME, BOLTZMANN, Units

HOT = Langevin(300.0, 100.0)


def config(**options) -> RolloutConfig:
    return RolloutConfig(**{"thermostat": NVE(), "progress": False, **options})


def test_ballistic_motion_is_exact_and_unwrapped():
    p = batch(3, 5)
    p = p.replace(cell=4 * torch.eye(3, dtype=torch.float64).repeat(2, 1, 1), pbc=torch.ones(2, 3, dtype=torch.bool))
    made = rollout(Ballistic(), p, 100, config())
    assert isinstance(made, Forecast)
    assert made.draws.shape == (1, 8, 100, 3)
    torch.testing.assert_close(made.draws[0, :, -1], p.x + 500 * p.v)
    assert made.time[0, :3].tolist() == [5.0, 10.0, 15.0]
    assert made.provenance["stride_fs"] == 5.0
    assert made.stopped == ("", "")


def test_nve_keeps_energy_momentum_and_spin():
    p = batch(5, 3)
    springs = Springs()
    made = rollout(springs, p, 100, config(record_every=100))
    end = p.replace(x=made.draws[0, :, -1], v=made.extra["velocity"][0, :, -1])
    energy = [springs(q)[0] + k.kinetic_energy(q) for q in (p, end)]
    torch.testing.assert_close(energy[0], energy[1], rtol=0.03, atol=0)
    assert float(k.momentum(end).abs().max()) < 1e-13
    assert float(k.angular_momentum(end).abs().max()) < 1e-12
    torch.testing.assert_close(made.extra["velocity"].shape, made.draws.shape)


@pytest.mark.parametrize("thermostat", [HOT, CSVR(300.0, 50.0), NVE()])
def test_a_batch_is_its_single_runs(thermostat):
    p = batch(3, 5, 3)
    together = rollout(Springs(), p, 36, config(thermostat=thermostat, seed=7))
    offset = 0
    for s, n in enumerate((3, 5, 3)):
        part = slice(offset, offset + n)
        one = Particles(p.x[part], p.v[part], p.mass[part], p.kind[part], torch.zeros(n, dtype=torch.long), 1)
        alone = rollout(Springs(), one, 36, config(thermostat=thermostat, seed=7, first_stream=s))
        torch.testing.assert_close(alone.draws[0], together.draws[0, part], rtol=0, atol=1e-9)
        offset += n


def test_harmonic_positions_and_velocities_are_canonical():
    n, omega, mass = 400, 0.02, 12.011
    centre = torch.randn(2 * n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = Particles(centre, torch.zeros_like(centre), torch.full((2 * n,), mass, dtype=torch.float64), torch.full((2 * n,), 6),
                  torch.arange(n).repeat_interleave(2), n, 9 * torch.eye(3, dtype=torch.float64).repeat(n, 1, 1), torch.ones(n, 3, dtype=torch.bool))
    made = rollout(Harmonic(centre, omega), p, 160, config(thermostat=Langevin(300.0, 60.0), velocities="maxwell_boltzmann"))
    relative = (made.draws - centre[:, None])[0, ::2, 80:] - (made.draws - centre[:, None])[0, 1::2, 80:]
    wanted = 2 * BOLTZMANN * 300 / (mass * AMU_A2_FS2 * omega**2)  # variance of the difference of two such oscillators
    assert abs(float(relative.square().mean()) / wanted - 1) < 0.06
    heat = torch.stack([k.temperature(p.replace(v=made.extra["velocity"][0, :, f])) for f in range(80, 160, 4)])
    assert abs(float(heat.mean()) / 300 - 1) < 0.03
    assert abs(float(heat.std()) / 300 / math.sqrt(2 / 3) - 1) < 0.05


@pytest.mark.parametrize("thermostat", [HOT, CSVR(300.0, 50.0), Langevin(Ramp(300.0, 500.0, 40), 80.0), CSVR((200.0, 400.0), 50.0)])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path, thermostat):
    p = batch(3, 5)
    whole = rollout(Springs(), p, 40, config(thermostat=thermostat))
    path = tmp_path / "run.restart"
    rollout(Springs(), p, 23, config(thermostat=thermostat, restart=path))
    rest = resume(path, Springs(), 40, config())
    assert torch.equal(rest.draws[0], whole.draws[0, :, 23:])
    assert torch.equal(rest.extra["velocity"][0], whole.extra["velocity"][0, :, 23:])
    assert torch.equal(rest.time, whole.time[:, 23:])
    assert torch.equal(rest.past.x[:, 0], whole.draws[0, :, 22])


def test_a_restart_file_holds_what_the_propagator_keeps(tmp_path):
    path = tmp_path / "run.restart"
    p = batch(3)
    p = p.replace(x=p.x + 7, cell=5 * torch.eye(3, dtype=torch.float64)[None], pbc=torch.tensor([[True, True, False]]))
    rollout(Springs(), p, 5, config(restart=path, zero_every=2))
    tensors, about = restart.read(path)
    assert tensors["cache/seen"] == 5
    assert about["step"] == 5
    assert about["zero_every"] == 2
    assert ((tensors["x_wrapped"][:, :2] >= 0) & (tensors["x_wrapped"][:, :2] < 5)).all()
    torch.testing.assert_close(tensors["x_wrapped"][:, 2], tensors["x"][:, 2])
    assert not list(tmp_path.glob(".*part"))


def test_restart_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "run.restart"
    rollout(Springs(), batch(3), 5, config(restart=path))
    with pytest.raises(ValueError, match=r"stride of 4 fs, but this model has 5 fs"):
        resume(path, Ballistic(), 10, config())
    with pytest.raises(ValueError, match="at stride 5 already"):
        resume(path, Springs(), 5, config())
    other = Springs()
    other.fingerprint = "another"
    with pytest.warns(UserWarning, match="not be the one that was interrupted"):
        resume(path, other, 6, config())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="damaged or no restart file"):
        resume(path, Springs(), 10, config())
    with pytest.raises(FileNotFoundError):
        resume(tmp_path / "none", Springs(), 10, config())
    with pytest.raises(TypeError, match="holds tensors, numbers and strings"):
        restart.flatten({"list": [object()]})


@pytest.mark.parametrize(("how", "reason"), [("nan", "not finite: the displacement of H 0"), ("raise", "propagator: a matrix is singular")])
def test_one_system_fails_alone(how, reason):
    p = batch(5, 3, 5)
    p = marked(p, 5, 17.0)  # marks the second
    p = p.replace(kind=torch.where(torch.arange(13) == 5, 1, p.kind))
    good = rollout(Springs(), p, 30, config(thermostat=HOT))
    made = rollout(Failing(how, 17.0, after=10), p, 30, config(thermostat=HOT))
    assert made.stopped[0] == made.stopped[2] == ""
    assert made.stopped[1] == f"{reason} after 0.04 ps"
    assert made.mask[0, 5:8].sum(1).tolist() == [10, 10, 10]
    assert made.mask[0, :5].all()
    assert torch.isnan(made.draws[0, 5:8, 10:]).all()
    torch.testing.assert_close(made.draws[0, 5:8, :10], good.draws[0, 5:8, :10])
    for part in (slice(0, 5), slice(8, 13)):
        torch.testing.assert_close(made.draws[0, part], good.draws[0, part], rtol=0, atol=1e-9)


def test_a_run_resumed_after_a_system_stopped(tmp_path):
    p = batch(5, 3, 5)
    p = marked(p, 5, 17.0)
    path = tmp_path / "run.restart"
    rollout(Failing("nan", 17.0, after=10), p, 20, config(thermostat=CSVR((200.0, 300.0, 400.0), 50.0), restart=path))
    rest = resume(path, Failing("nan", 17.0, after=10), 30, config())
    assert "not finite" in rest.stopped[1]
    assert not rest.mask[0, 5:8].any()
    whole = rollout(Failing("nan", 17.0, after=10), p, 30, config(thermostat=CSVR((200.0, 300.0, 400.0), 50.0)))
    assert torch.equal(rest.draws[0, :5], whole.draws[0, :5, 20:])
    assert torch.equal(rest.draws[0, 8:], whole.draws[0, 8:, 20:])


def test_errors_of_all_systems_at_the_start_are_raised_as_they_are():
    p = batch(5)
    p = marked(p, 0, 17.0)
    with pytest.raises(ValueError, match=r"^a matrix is singular"):
        rollout(Failing("raise", 17.0, after=0), p, 30, config())


def test_what_was_computed_is_kept_when_an_observer_or_a_disk_fails():
    def full(run):
        if run.step == 7:
            raise OSError(28, "No space left on device")

    with pytest.raises(RolloutError, match=r"after 0.028 ps \(OSError: .*No space") as caught:
        rollout(Springs(), batch(3), 20, config(observers=((full, 1),)))
    assert caught.value.forecast.draws.shape[2] == 6


def test_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "run.extxyz").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        rollout(Springs(), batch(3), 5, config(write=tmp_path / "run.extxyz"))
    path = tmp_path / "run.restart"
    rollout(Springs(), batch(3), 5, config(restart=path))
    before = path.read_bytes()

    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restart.os, "fsync", no_space)
    with pytest.raises(RolloutError, match="No space left") as caught:
        rollout(Springs(), batch(3), 9, config(restart=path))
    assert caught.value.forecast.draws.shape[2] == 9
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*part"))


@pytest.mark.parametrize("raised", [True, False])
def test_an_interrupt_keeps_what_was_computed(tmp_path, raised):
    def stop(run):
        if run.step == 7 and raised:
            raise KeyboardInterrupt
        if run.step == 7:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with interrupts ignored
    path = tmp_path / "run.restart"
    try:
        made = rollout(Springs(), batch(3), 20, config(observers=((stop, 1),), restart=path))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert made.draws.shape[2] == (6 if raised else 7)
    assert made.stopped == ("interrupted after 0.028 ps",)
    if not raised:
        rest = resume(path, Springs(), 20, config())
        assert torch.equal(rest.draws[0, :, -1], rollout(Springs(), batch(3), 20, config()).draws[0, :, -1])


def test_observers_see_and_may_stop_systems():
    seen = []

    def look(run):
        seen.append((run.step, run.p.n_scenes))
        return {0: "seen enough"} if run.step == 6 else None

    made = rollout(Springs(), batch(3, 5), 12, config(observers=((look, 3),)))
    assert seen == [(3, 2), (6, 2), (9, 1), (12, 1)]
    assert made.stopped == ("seen enough after 0.024 ps", "")


def test_draws_of_one_start_differ_and_are_streams():
    p = batch(3, 5)
    made = rollout(Springs(), p, 20, config(thermostat=HOT, draws=3))
    assert made.draws.shape == (3, 8, 20, 3)
    assert not torch.allclose(made.draws[0], made.draws[1])
    third = rollout(Springs(), p, 20, config(thermostat=HOT, first_stream=4))
    torch.testing.assert_close(made.draws[2], third.draws[0], rtol=0, atol=1e-9)
    bad = batch(3)
    bad = marked(bad, 0, 17.0)
    two = rollout(Failing("nan", 17.0, after=4), bad, 8, config(draws=2))
    assert two.stopped[0].startswith("draw 0: not finite")
    assert two.mask[1].all()


def test_frames_that_are_recorded():
    p = batch(3)
    every = rollout(Springs(), p, 10, config())
    third = rollout(Springs(), p, 10, config(record_every=3))
    assert torch.equal(third.draws[0], every.draws[0, :, [2, 5, 8]])
    assert third.time.tolist() == [[12.0, 24.0, 36.0]]
    last = rollout(Springs(), p, 10, config(record_every=0))
    assert torch.equal(last.draws[0, :, 0], every.draws[0, :, 9])


def test_starts_from_trajectories_on_their_clock():
    p = batch(3, 3)
    past = Trajectories(p.x[:, None].repeat(1, 2, 1), torch.tensor([[0.0, 4], [100, 104]]), p.scene, kind=p.kind,
                        extra={"velocity": p.v[:, None].repeat(1, 2, 1)}, static={"mass": p.mass},
                        context={"temperature": torch.tensor([100.0, 200.0])}, units=Units.md())
    made = rollout(Springs(), past, 3, RolloutConfig(progress=False))
    assert made.time.tolist() == [[8.0, 12.0, 16.0], [108.0, 112.0, 116.0]]
    assert made.provenance["thermostat"] == {"name": "Langevin", "temperature_K": (100.0, 200.0), "tau_fs": 200.0}
    drawn = rollout(Springs(), past, 3, RolloutConfig(progress=False, velocities="maxwell_boltzmann", draws=2))
    assert drawn.provenance["thermostat"]["temperature_K"] == (100.0, 200.0, 100.0, 200.0)
    still = past.replace(extra={})
    assert rollout(Springs(), still, 3, RolloutConfig(progress=False, velocities="maxwell_boltzmann")).stopped == ("", "")
    with pytest.raises(ValueError, match="no velocities"):
        rollout(Springs(), still, 3, RolloutConfig(progress=False))


def test_progress_is_told_in_plain_lines(monkeypatch, capsys):
    bar = Bar(100, 4.0)
    monkeypatch.setattr(bar, "drawn", bar.drawn - 100)
    with bar:
        bar.update(1, 20)
        bar.update(16, 20)
    assert "0.064 of 0.4 ps  20 systems" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["extxyz", "traj"])
def test_files_that_ase_reads_with_proper_velocities(tmp_path, ending):
    p = batch(5)
    p = p.replace(cell=torch.tensor([[[9.0, 0, 0], [1, 8, 0], [0, 0, 7]]], dtype=torch.float64), pbc=torch.tensor([[True, True, False]]))
    path = tmp_path / f"run.{ending}"
    made = rollout(Springs(), p, 6, config(thermostat=HOT, write=path, write_every=2))
    frames = ase.io.read(path, ":")
    assert len(frames) == 4
    assert [f.info["time_fs"] for f in frames] == [0, 8, 16, 24]
    torch.testing.assert_close(torch.tensor(frames[2].positions), made.draws[0, :, 3], rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.tensor(frames[2].get_velocities()) / ASE_TIME, made.extra["velocity"][0, :, 3], rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.tensor(frames[0].get_masses()), p.mass)
    torch.testing.assert_close(torch.tensor(frames[0].cell.array), p.cell[0])
    assert frames[0].pbc.tolist() == [True, True, False]
    assert frames[1].info["stride_fs"] == 4.0
    assert frames[1].info["units"] == "angstrom fs amu eV"
    assert frames[1].info["model"] == made.provenance["model"]
    if ending == "extxyz":
        torch.testing.assert_close(torch.tensor(frames[3].arrays["velocity_A_fs"]), made.extra["velocity"][0, :, 5], rtol=1e-12, atol=0)


@pytest.mark.parametrize("ending", ["extxyz", "traj", "zarr"])
def test_files_of_a_killed_and_resumed_run_are_those_of_a_whole_one(tmp_path, ending):
    p = batch(5, 3)
    options = {"thermostat": HOT, "restart_every": 4, "write_every": 1}
    whole = tmp_path / f"whole.{ending}"
    rollout(Springs(), p, 20, config(**options, write=whole))

    def die(run):
        if run.step == 11:
            raise SystemError("killed")

    part = tmp_path / f"part.{ending}"
    with pytest.raises(RolloutError, match="killed"):
        rollout(Springs(), p, 20, config(**options, write=part, restart=tmp_path / "r", observers=((die, 1),)))
    if ending == "extxyz":  # a frame that was cut short by the kill
        with open(tmp_path / "part-000.extxyz", "a") as file:
            file.write("5\nProperties=spec")
    resume(tmp_path / "r", Springs(), 20, config(**options, write=part, restart=tmp_path / "r"))
    if ending == "zarr":
        one, two = store.load(whole), store.load(part)
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.time, two.time)
        assert torch.equal(one.velocity, two.velocity)
        assert one.n_frames == 21
        return
    for name in ("000", "001"):
        frames = [ase.io.read(f.with_name(f"{f.stem}-{name}{f.suffix}"), ":") for f in (whole, part)]
        assert len(frames[0]) == len(frames[1]) == 21
        assert all((a.positions == b.positions).all() and (a.get_momenta() == b.get_momenta()).all() for a, b in zip(*frames))


def test_a_zarr_store_masks_what_stopped(tmp_path):
    p = batch(5, 3)
    p = marked(p, 5, 17.0)
    made = rollout(Failing("nan", 17.0, after=6), p, 10, config(write=(tmp_path / "run.zarr", tmp_path / "run.xyz")))
    held = store.load(tmp_path / "run.zarr")
    assert held.mask[5:].sum(1).tolist() == [7, 7, 7]
    assert torch.equal(held.x[:5, 1:], made.draws[0, :5])
    assert held.source["stride_fs"] == 4.0
    assert len(ase.io.read(tmp_path / "run-001.xyz", ":")) == 7


def test_an_ensemble_moves_by_the_mean_and_records_its_spread(tmp_path):
    members = [Springs(4.0), Springs(4.2), Springs(3.9)]
    p = batch(5, 3)
    made = rollout(Ensemble(members), p, 10, config(restart=tmp_path / "r", thermostat=HOT))
    spread = made.extra["velocity_spread"]
    assert spread.shape == (1, 8, 10)
    d = torch.stack([m.propagate(p)[0] for m in members])
    ours, velocity = Ensemble(members).propagate(p, {})
    torch.testing.assert_close(ours, d.mean(0), rtol=0, atol=1e-4)
    assert float(k.angular_momentum(p.replace(x=p.x + ours, v=velocity)).abs().max()) < 1e-12
    cache = {}
    Ensemble(members).propagate(p, cache)
    torch.testing.assert_close(cache["displacement_spread"], (d - d.mean(0)).square().mean((0, 2)).sqrt())
    assert "cache/member0/seen" in restart.read(tmp_path / "r")[0]
    same = rollout(Ensemble([Springs(), Springs()]), p, 3, config())
    assert float(same.extra["displacement_spread"].max()) < 1e-12
    with pytest.raises(ValueError, match="strides of 4, 5 fs"):
        Ensemble([Springs(), Ballistic()])
    with pytest.raises(ValueError, match="at least 2"):
        Ensemble([Springs()])


def test_bad_starts_are_refused():
    p = batch(3, 5)
    with pytest.raises(ValueError, match="atoms of system 1 all have the same velocity"):
        rollout(Springs(), p.replace(v=torch.where((p.scene == 1)[:, None], 0.0, p.v)), 5, config())
    with pytest.raises(ValueError, match="not finite"):
        rollout(Springs(), p.replace(x=p.x.clone().index_fill_(0, torch.tensor(4), torch.nan)), 5, config())
    with pytest.raises(ValueError, match="needs a temperature: pass temperature_K"):
        rollout(Springs(), p, 5, RolloutConfig(progress=False))
    with pytest.raises(ValueError, match="needs a temperature"):
        rollout(Springs(), p, 5, config(velocities="maxwell_boltzmann"))
    with pytest.raises(ValueError, match="0 strides"):
        rollout(Springs(), p, 0, config())
    with pytest.raises(ValueError, match="did you mean 'langevin'"):
        rollout(Springs(), p, 5, config(thermostat="langevine", temperature_K=300.0))
    with pytest.raises(ValueError, match="files ending in"):
        rollout(Springs(), p, 5, config(write="run.pdb"))
    for options in ({"draws": 0}, {"write_every": 0}, {"velocities": "zero"}, {"record_every": -1}):
        with pytest.raises(ValueError, match="wanted"):
            RolloutConfig(**options)


def test_unobserved_nodes_are_no_start():
    p = batch(3)
    past = Trajectories(p.x[:, None], torch.zeros(1, 1), p.scene, torch.tensor([[True], [False], [True]]), p.kind, {"velocity": p.v[:, None]},
                        {"mass": p.mass}, units=Units.md())
    with pytest.raises(ValueError, match=r"node 1 \(scene 0\) was not observed"):
        rollout(Springs(), past, 5, config())
