"""Snapshots left out in turn: distances of known answers, nothing of what is left out is seen, warped time, bridges as methods, and bars."""

from __future__ import annotations

import math
import tomllib
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_files import load

from trajlab.evaluate.cells import HeldOut, held_out_table, inner, leave_one_out, means
from trajlab.evaluate.cells_bridge import BridgePrediction, default_config, mean_cells
from trajlab.evaluate.cells_mechanistic import KnownSystem, refined
from trajlab.models.sbirr import SchrodingerBridge
from trajlab.models.snapshot_baselines import CopyPrevious, ExactInterpolation, Pooled
from trajlab.models.time_warp import TimeWarp, by_clock, by_progress, chosen_clock
from trajlab.sources.lotka_volterra import lotka_volterra
from trajlab.sources.snapshots_simulated import SnapshotRecipe
from trajlab.types import Snapshots

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def moving(ways, times=None, cells=60, dim=2, spread=0.3, seed=0):
    """One cloud whose centre is at ``way`` along the first axis at each time, with other cells at each."""
    g = torch.Generator().manual_seed(seed)
    parts = [spread * torch.randn(cells, dim, generator=g, dtype=torch.float64) + torch.tensor([way] + [0.0] * (dim - 1)) for way in ways]
    time = torch.tensor(list(map(float, times if times is not None else range(len(ways)))), dtype=torch.float64)
    return Snapshots(torch.cat(parts).double(), torch.arange(len(ways)).repeat_interleave(cells), time)


def test_a_shift_is_measured_as_it_is():
    still = moving([0, 0, 0], spread=0.0, cells=20)
    moved = still.replace(x=still.x + still.snapshot[:, None] * torch.tensor([3.0, 4.0], dtype=torch.float64))
    scores = leave_one_out(moved, {"copy": CopyPrevious, "exact": ExactInterpolation})
    assert means(scores, "copy")[:2] == pytest.approx((5, 5))
    assert means(scores, "exact") == pytest.approx((0, 0, 0), abs=1e-9)


def test_what_is_left_out_is_not_seen():
    cells = moving([0, 1, 2, 3])
    garbage = cells.replace(x=torch.where((cells.snapshot == 2)[:, None], 1e3, cells.x))
    makers = {"bridge": BridgePrediction, "warped": TimeWarp, "exact": ExactInterpolation}
    for name, make in makers.items():
        first, other = (make().left_out(s, 2, torch.Generator().manual_seed(0)) for s in (cells, garbage))
        assert torch.equal(first, other), name
    one, two = (leave_one_out(s, {"exact": ExactInterpolation}, folds=[1, 2], together=True) for s in (cells, garbage))
    assert one[0].w1 == two[0].w1  # fold 1 does not see fold 2
    one, two = (leave_one_out(s, {"exact": ExactInterpolation}, folds=[1, 2]) for s in (cells, garbage))
    assert one[0].w1 != two[0].w1  # in turn, it does


def test_a_method_that_fails_has_a_row():
    class Broken(CopyPrevious):
        def at(self, snapshots, time, generator):
            raise RuntimeError("no plan\nfound")

    cells = moving([0, 1, 2])
    scores = leave_one_out(cells, {"broken": Broken, "pooled": Pooled})
    assert scores[0].failed == "no plan found"
    assert math.isinf(scores[0].w1)
    table = held_out_table(scores, cells, "title")
    assert [row[0] for row in table.rows] == ["floor (halves)", "broken", "pooled"]
    assert "broken: no plan found" in table.note
    assert table.columns[1] == "W1 at 1"
    assert table.rows[0][2] < table.rows[2][2]


@pytest.mark.parametrize(("folds", "message"), [([0], "1 to 2"), ([3], "1 to 2")])
def test_folds_need_neighbours(folds, message):
    with pytest.raises(ValueError, match=message):
        inner(moving([0, 1, 2, 3]), folds)
    with pytest.raises(ValueError, match="three or more"):
        inner(moving([0, 1]))
    with pytest.raises(ValueError, match="no scores of 'a'"):
        means([], "a")


# ------------------------------------------------------------------------------------------------------------------- warped time


def test_progress_finds_a_motion_that_speeds_up():
    """Way t^2: at t = 2 between 1 and 3 a share (4 - 1) / (9 - 1) = .375 of the way is gone."""
    cells = moving([0.0, 1.0, 9.0, 16.0], times=[0, 1, 3, 4], spread=0.01)
    s = (by_progress(cells, 2.0) - 1) / 2
    assert s == pytest.approx(0.375, abs=0.06)
    assert by_clock(cells, 2.0) == 2
    assert by_progress(cells, 3.0) == pytest.approx(3)
    whole = moving([t**2 for t in range(6)], spread=0.05)
    assert chosen_clock(whole, ExactInterpolation())[0] == "progress"
    plain, warped = (method.left_out(whole, 2, torch.Generator().manual_seed(0)) for method in (ExactInterpolation(), TimeWarp()))
    assert abs(float(warped[:, 0].mean()) - 4) < 0.6 * abs(float(plain[:, 0].mean()) - 4)


def test_the_clock_is_kept_where_it_is_right():
    even = moving([0.0, 1.0, 2.0, 3.0])
    assert by_progress(even, 1.5) == pytest.approx(1.5, abs=0.06)
    assert chosen_clock(moving([0, 1]), ExactInterpolation()) == ("clock", {})
    still = moving([0, 0], spread=0.0)
    assert by_progress(still, 0.3) == 0.3
    with pytest.raises(ValueError, match="did you mean 'progress'"):
        TimeWarp(clock="progres")


# ---------------------------------------------------------------------------------------------------------------- bridges as methods


def test_means_of_a_brownian_bridge_lie_between_its_pairs():
    cells = moving([0.0, 4.0], cells=40)
    bridge = SchrodingerBridge(default_config(cells)).fit(cells)
    middle, quarter = mean_cells(bridge, 0.5, 80), mean_cells(bridge, 0.26, 80)
    assert float(middle[:, 0].mean()) == pytest.approx(2, abs=0.1)
    assert float(quarter[:, 0].mean()) == pytest.approx(float(0.26 * cells.at(1)[:, 0].mean() + 0.74 * cells.at(0)[:, 0].mean()), abs=0.05)
    start = mean_cells(bridge, 0.0, 40)
    assert torch.allclose(start.sort(0).values, cells.at(0).sort(0).values, atol=1e-9)
    noisy = bridge.bridge([0.5], 80).x[:, 0]
    assert float(noisy.var(0).mean()) > float(middle.var(0).mean())


def test_the_default_spread_is_that_of_the_mean_interval():
    slow = moving([0, 1, 2], times=[0, 10, 30])
    assert default_config(slow).sigma == pytest.approx(0.2 / math.sqrt(15))
    clocks = moving([0, 1, 2]), moving([0, 1, 2], [0, 7, 14])
    one, other = (BridgePrediction().left_out(cells, 1, torch.Generator().manual_seed(0)) for cells in clocks)
    assert torch.allclose(one, other, atol=1e-6)  # the unit of time does not matter


def test_a_known_system_is_found_and_is_nearer_than_brownian_motion():
    cells = lotka_volterra(SnapshotRecipe([0.0, 1, 2, 3, 4], 40, 0.1, step=1e-2))
    bands = {"alpha": (0.85, 1.15), "beta": (0.34, 0.46), "gamma": (0.0, 0.01)}
    one = refined(KnownSystem("prey", cells, "lotka_volterra", 0.1, 5, bands), cells=100)
    assert [s.index for s in one.refined] == [1, 3]
    assert one.ratio < 0.5
    assert len(one.outside) == 1
    assert one.outside[0].startswith("gamma = 0.")
    assert one.seconds < 20


# ------------------------------------------------------------------------------------------------------------------------- the program


@pytest.fixture(scope="module")
def program():
    return load("cells")


@pytest.fixture
def plan():
    return tomllib.loads((BENCHMARKS / "cells.toml").read_text())


def rows(name, values):
    return [HeldOut(name, k + 1, w, w, 0.1) for k, w in enumerate(values)]


def test_bars_of_the_embryoid_bodies(program, plan):
    bars, exact = plan["embryoid"], rows("exact_ot", [0.848, 0.884, 0.930])
    assert program.judged(5, [*exact, *rows(program.DEFAULT, [0.85, 0.88, 0.93])], bars) == []
    lost = program.judged(5, [*exact, *rows(program.DEFAULT, [0.9, 0.9, 0.95])], bars)
    assert len(lost) == 2
    assert "mean W1 0.917 where at most 0.9" in lost[0]
    assert "not the published protocol" in program.judged(5, [*rows("exact_ot", [0.85, 0.884, 0.93]), *rows(program.DEFAULT, [0.8] * 3)], bars)[0]
    assert len(program.judged(50, [*rows("exact_ot", [6.6] * 3), *rows(program.DEFAULT, [6.9] * 3)], bars)) == 2


def test_bars_of_the_known_systems(program, plan, monkeypatch, capsys):
    cells = lotka_volterra(SnapshotRecipe([0.0, 1, 2, 3, 4], 30, 0.1, step=1e-2))
    system = KnownSystem("prey", cells, "lotka_volterra", 0.1, 1, {"alpha": (2.0, 3.0)})
    monkeypatch.setattr(program, "systems", lambda plan, options: [("lotka_volterra", 0, system)])
    plan["systems"]["lotka_volterra"] |= {"w1": 1e-3, "ratio": 1e-3, "seconds": 0.0}
    found = {}
    lost = program.known(plan, Namespace(quick=True, data=None), found)
    assert len(lost) == 4
    assert found["known"][0]["name"] == "prey"
    assert "Brownian W1" in capsys.readouterr().out


def test_exact_transport_of_the_embryoid_bodies_is_the_known_one(program, plan):
    if not program.BESIDE.is_dir():
        pytest.skip(f"needs {program.BESIDE}, which is not part of the project")
    cells = program.cell_snapshots("embryoid", program.BESIDE, components=5, standardise=True)
    scores = leave_one_out(cells, {"exact_ot": ExactInterpolation, program.DEFAULT: BridgePrediction}, folds=[1])
    assert scores[0].w1 == pytest.approx(plan["embryoid"]["exact"][0], abs=1e-3)
    assert scores[1].w1 < 1.015 * scores[0].w1


def test_methods_of_the_table(program, plan):
    names = program.methods(plan, trained=False)
    assert next(iter(names)) == program.DEFAULT
    assert {"exact_ot", "copy_previous", "pooled"} <= set(names)
    assert set(plan["trained"]).isdisjoint(names)
    assert set(plan["trained"]) <= set(program.methods(plan, trained=True))
    assert np.isfinite([plan["embryoid"]["w1"]]).all()
