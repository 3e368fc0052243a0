"""The procedure on a tiny jet: pieces joined as if carried at once, tables, page and pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmark_files import load

from trajlab.dynamics.active_barriers import lagrangian_field
from trajlab.dynamics.ftle import ftle
from trajlab.dynamics.sampled_velocity import SampledVelocity
from trajlab.evaluate.results import Evaluation
from trajlab.evaluate.turbulent_interface import FIELDS, INTERFACES, study_interface
from trajlab.evaluate.turbulent_interface_config import InterfaceConfig
from trajlab.evaluate.turbulent_interface_tables import BARS, as_evaluation, figures_of, lower_end
from trajlab.metrics.uncertainty import Estimate
from trajlab.report.page import report
from trajlab.sources.jet import JetConfig, plane_jet

JET = JetConfig(points=64, length=14.0, reynolds=150.0, spin_up=14.0, duration=8.0, interval=0.5)
CONFIG = InterfaceConfig(jet=JET, runs=2, starts=(14.0, 16.0), durations=(1.0, 2.0, 6.0), columns=2, step=0.25, bins=8)


@pytest.fixture(scope="module")
def jets():
    return [plane_jet(replace(JET, seed=seed)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def study(jets):
    return study_interface(CONFIG, jets)


def test_pieces_make_the_whole(study, jets):
    """FTLE and pulled-back force over 6 time units from pieces of 1, 1 and 4, against one piece."""
    seen, flow, size = study.snapshots[3], jets[1].flow(), JET.length
    grid = (seen.axis, seen.axis)
    assert (seen.run, seen.time) == (1, 16.0)
    assert np.allclose(seen.fields["ftle"][-1], ftle(flow, grid, 16.0, 6.0, steps=24), atol=1e-5)
    force = SampledVelocity.stream(jets[1].vorticity, (jets[1].axis,) * 2, jets[1].times, periodic=(size, size))
    whole = np.linalg.norm(lagrangian_field(flow, grid, 16.0, 6.0, force=force, steps=48), axis=-1)
    assert np.allclose(seen.fields["barrier"][-1], whole, atol=2e-3 * whole.max())
    assert seen.volume < 1e-4


def test_ftle_is_the_same_in_a_moving_frame(study, jets):
    """What is seen from a frame that moves with the interface: places shift, the exponents stay."""
    seen, speed = study.snapshots[0], study.motions[0]["upper"].velocity[0]
    box, away = jets[0].box, jets[0].times - 14.0
    waves = box.to_waves(jets[0].velocity.transpose(0, 3, 1, 2)) * np.exp(1j * box.kx * speed * away[:, None, None, None])
    carried = SampledVelocity.on_grid(box.to_places(waves).transpose(0, 2, 3, 1) - np.array([speed, 0.0]), (jets[0].axis,) * 2, jets[0].times,
                                      (JET.length,) * 2)
    assert abs(speed) > 0.01
    moving = ftle(carried, (seen.axis, seen.axis), 14.0, 6.0, steps=24)
    assert np.quantile(np.abs(moving - seen.fields["ftle"][-1]), 0.99) < 0.01


def test_islands_belong_to_neither_side(study):
    for seen in study.snapshots:
        for which, border in seen.interfaces.items():
            d = seen.distance[which]
            assert np.array_equal(np.isnan(d), border.aside[::2, ::2])
            good = np.isfinite(d)
            assert np.array_equal(d[good] > 0, seen.scalar[good] > border.level)
        assert seen.interfaces["inner"].level > seen.interfaces["outer"].level


def test_the_border_parts_calm_from_stirred_fluid(study):
    for name in ("ftle", "barrier"):
        assert study.jump(name, duration=1.0).value > 0
        assert study.correlation(name, duration=1.0).value > 0.1
    far = study.average("force").mean
    assert np.nanargmax(far) >= np.flatnonzero(study.average("force").centres > 0)[0] - 1
    assert study.microscale > 0.3
    assert study.integral > 0.5
    lag, moving, _ = study.persistence
    assert lag[0] == 0.0
    assert moving[0] == pytest.approx(1.0)


def test_evaluation_page_and_disk(study, tmp_path):
    found = as_evaluation(study)
    assert "2-D has no vortex stretching" in found.summary
    assert [len(t.rows) for t in found.tables] == [4, len(FIELDS) * len(INTERFACES), 2 * (len(FIELDS) + 2)]
    assert len(found.figures) == len(FIELDS) * len(INTERFACES) + 2
    assert found.provenance["procedure"]["clusters"] == 4
    assert Evaluation.load(found.save(tmp_path)).tables == found.tables
    assert "Claims about turbulent jets" in report(found).html
    assert set(figures_of(study)) == {bar.figure for bar in BARS}


def test_the_interval_is_that_of_student():
    assert lower_end(Estimate(1.0, 0.1), 5) == pytest.approx(1.0 - 0.2776, abs=1e-3)


def test_the_command(study, tmp_path, monkeypatch, capsys):
    program = load("turbulent_interface")
    asked = []
    monkeypatch.setattr(program, "study_interface", lambda config, tell: asked.append(config) or study)
    told = program.main(["--quick", "--schmidt", "2", "--pictures", str(tmp_path), "--out", str(tmp_path / "f.json")])
    assert asked[0].jet.points == 128
    assert asked[0].jet.schmidt == 2.0
    assert {p.name for p in tmp_path.iterdir()} == {"turbulent-interface-averages.png", "turbulent-interface-fields.png", "f.json"}
    out = capsys.readouterr().out
    assert told == ("missed:" in out)
    assert "Bars" in out
    monkeypatch.setattr(program, "figures_of", lambda _: {})
    assert program.main(["--pictures", str(tmp_path), "--out", str(tmp_path / "f.json")]) == 1


@pytest.mark.parametrize(("setting", "said"), [
    ({"starts": (10.0,)}, "frames of the jet are kept from 14 to 22"), ({"durations": (1.0, 9.0)}, "frames of the jet"),
    ({"durations": (2.0, 1.0)}, "rising durations"), ({"runs": 1, "columns": 1}, "2 blocks"), ({"stride": 3}, "stride 3 of 64"),
    ({"band": 0.0}, "band = 0"), ({"clusters": 2}, "clusters=2")])
def test_settings_that_cannot_be(setting, said):
    with pytest.raises(ValueError, match=said):
        replace(CONFIG, **setting)


def test_a_start_between_frames(jets):
    with pytest.raises(ValueError, match=r"no frame at t = 14\.3"):
        study_interface(replace(CONFIG, starts=(14.3,), runs=1), jets[:1])
