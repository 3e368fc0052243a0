"""Judging roll-outs: exact runs pass, spoiled ones are found out, and everything can be shown and saved."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from trajlab.evaluate.equilibrium import relaxed
from trajlab.evaluate.molecular import Evidence, judge, one_step
from trajlab.evaluate.onestep import horizon, one_step_errors
from trajlab.evaluate.results import Evaluation
from trajlab.evaluate.rollouts import Settings, measure, settled_at_all, stops
from trajlab.models.baselines import Ballistic, LargeStepVerlet, Ridge
from trajlab.models.rollout import RolloutConfig, rollout

SETTINGS = Settings(window_fs=400.0, discard_fs=200.0, drift_fs=200.0)


def column(table, row, name):
    return next(r for r in table.rows if r[0] == row)[list(table.columns).index(name)]


def test_one_step_table(potential, isolated):
    test = isolated.trajectories()
    models = {"exact": LargeStepVerlet(potential, 4.0, 8), "two steps": LargeStepVerlet(potential, 4.0, 2), "ballistic": Ballistic(4.0)}
    table = one_step(models, test)
    assert column(table, "exact", "d, %") < 1e-6
    assert 0.1 < column(table, "two steps", "d, %") < 20
    assert column(table, "ballistic", "d, %") > column(table, "two steps", "d, %")
    assert column(table, "ballistic", "±") > 0
    assert any("O d / v'" in c for c in table.columns)
    with pytest.raises(ValueError, match="no models"):
        one_step({}, test)
    with pytest.raises(ValueError, match=r"stride of 5 fs.*4 fs apart"):
        one_step({"ballistic": Ballistic(5.0)}, test)


def test_errors_do_not_depend_on_batches(potential, isolated, monkeypatch):
    test, model = isolated.trajectories(), LargeStepVerlet(potential, 4.0, 2)
    whole = one_step_errors(model, test).displacement.relative()
    monkeypatch.setattr("trajlab.evaluate.onestep.NODES", 16)
    assert torch.allclose(one_step_errors(model, test).displacement.relative(), whole)


def test_errors_grow_with_the_horizon(potential, isolated):
    figure = horizon({"two steps": LargeStepVerlet(potential, 4.0, 2), "blows up": LargeStepVerlet(potential, 4.0, 1)}, isolated.trajectories())
    assert figure.curves[0].x.tolist() == [4, 8, 16, 32, 64, 128]
    assert figure.curves[0].y[-1] > figure.curves[0].y[0] > 0
    assert len(figure.curves[1].x) <= len(figure.curves[0].x)


def test_an_exact_run_is_at_the_noise(forecast, reference):
    found = measure(forecast, reference, SETTINGS)
    assert set(found.compared) == {"bonded", "all", "angles", "vdos"}
    assert abs(found.temperature.value - 300) < 5 * found.temperature.error
    assert list(found.elements) == ["H", "C", "O"]
    for estimate in found.elements.values():
        assert abs(estimate.value - 300) < 5 * estimate.error
    for name in ("bonded", "all"):
        assert found.compared[name].above < 0.5 * found.compared[name].floor
    assert found.compared["vdos"].value > 0.9
    assert found.stops.early == []


def test_a_run_of_another_law_is_found_out(forecast, reference):
    wrong = forecast.trajectories()
    wrong = wrong.replace(x=1.05 * wrong.x, extra={"velocity": 1.1 * wrong.velocity})
    found = measure(wrong, reference, SETTINGS)
    assert found.temperature.value > 340
    assert found.compared["bonded"].above > 0.3
    assert found.canonical.distance > measure(forecast, reference, SETTINGS).canonical.distance


def test_stopped_systems_count_while_they_lived(forecast):
    draws, v, mask = forecast.draws.clone(), forecast.extra["velocity"].clone(), forecast.mask.clone()
    draws[:, :4, 100:], v[:, :4, 100:], mask[:, :4, 100:] = torch.nan, torch.nan, False
    cut = dataclasses.replace(forecast, draws=draws, extra={"velocity": v}, mask=mask, stopped=("bond: too long", *[""] * 7))
    ended = stops(cut)
    assert ended.early == [(0, 400.0, "bond: too long")]
    assert float(ended.share[-1]) == pytest.approx(7 / 8)
    found = measure(cut, None, SETTINGS)
    assert 250 < found.temperature.value < 350
    dead = dataclasses.replace(forecast, mask=torch.zeros_like(mask) | (torch.arange(400) < 3))
    assert not settled_at_all(dead, SETTINGS)
    assert settled_at_all(cut, SETTINGS)


def test_a_run_that_all_left_is_not_taken_for_complete(forecast):
    short = forecast.trajectories().frames(slice(0, 5))
    cut = dataclasses.replace(forecast, draws=short.x[None], time=short.time, extra={"velocity": short.velocity[None]}, mask=short.mask[None],
                              stopped=("temperature",) * 8)
    assert len(stops(cut).early) == 8


def test_the_whole_page(forecast, reference, isolated, potential, tmp_path):
    test = isolated.trajectories()
    models = {"exact": LargeStepVerlet(potential, 4.0, 8), "ridge": Ridge().fit(test)}
    rest = relaxed(potential, isolated_start(isolated))
    evidence = Evidence(models=models, test=test, potential=potential, nve=isolated, rest=rest, others={"again": reference})
    found = judge(forecast, reference, evidence=evidence, settings=SETTINGS)
    titles = [t.title for t in found.tables]
    assert titles == ["Roll-outs", "Distance from the reference", "One-step errors", "One-step Jacobian at the equilibrium"]
    assert column(found.tables[3], "exact", "largest |eigenvalue|") == pytest.approx(1.0, abs=2e-3)
    assert column(found.tables[0], "LargeStepVerlet", "energy change after 0.2 ps, rms, meV/atom") < 1.0
    shown = {f.title for f in found.figures}
    assert {"Temperature", "Kinetic energy", "Temperature by element", "Vibrational density of states", "Energy without thermostat", "Stability",
            "Distances of bonded pairs", "Bond angles", "Error against horizon"} <= shown
    spectrum = next(f for f in found.figures if f.title.startswith("Vibrational"))
    assert spectrum.marks["Nyquist"] == pytest.approx(33356.4 / 8, rel=1e-4)
    assert [s.title for s in found.scenes[::3]] == ["LargeStepVerlet, replica 0", "reference, replica 0"]
    assert found.scenes[0].frames.shape[1:] == (4, 3)
    again = Evaluation.load(found.save(tmp_path))
    assert [t.title for t in again.tables] == titles


def isolated_start(isolated):
    from trajlab.dynamics.particles import Particles

    return Particles.of(isolated.past.scenes([0]))


def test_it_works_without_a_reference(forecast):
    found = judge(forecast, settings=SETTINGS)
    assert [t.title for t in found.tables] == ["Roll-outs"]
    assert "No reference" in found.summary
    assert "CH2O" in found.title


def test_unlike_things_are_refused(forecast, reference, potential, isolated):
    other = reference.replace(kind=reference.kind.flip(0))
    with pytest.raises(ValueError, match="another system"):
        judge(forecast, other, settings=SETTINGS)
    with pytest.raises(ValueError, match="cannot be subsampled"):
        judge(forecast, reference.replace(time=1.5 * reference.time), settings=SETTINGS)
    mixed = reference.replace(kind=torch.cat([reference.kind[:4].flip(0), reference.kind[4:]]))
    with pytest.raises(ValueError, match="one system at a time"):
        measure(mixed)
    with pytest.raises(ValueError, match="one system is relaxed"):
        relaxed(potential, dataclasses.replace(isolated_start(isolated), n_scenes=2))


def test_draws_are_replicas(potential, isolated):
    start = isolated.past.scenes([0, 1])
    answer = rollout(LargeStepVerlet(potential, 4.0, 4), start, 60, RolloutConfig(temperature_K=310.0, draws=3, progress=False))
    found = measure(answer, None, Settings(window_fs=100.0))
    assert found.stops.n == 6
    assert found.target == 310.0
