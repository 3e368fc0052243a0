"""The benchmark of jump processes: methods answer or say why not, cells are paired, sentences follow from the numbers, msm is reproduced."""

from __future__ import annotations

import tomllib
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_files import load

from trajlab.dynamics.compiled import available
from trajlab.dynamics.jumps.generator import from_rates, stationary
from trajlab.dynamics.jumps.simulate import simulate
from trajlab.evaluate.bars import Bar
from trajlab.evaluate.jumps import AUTO, CRUDE, MAP, MLE, NETWORK, Guess, answered, completed, methods, plain
from trajlab.evaluate.jumps_known import FIGURES, KnownJumps, figures, judged, known_table, run_known, slowest
from trajlab.evaluate.jumps_network import network_figures, network_table
from trajlab.evaluate.jumps_panel import heart_transplants, panel_figures
from trajlab.evaluate.jumps_peers import PEERS, single_lag
from trajlab.evaluate.jumps_speed import large, simulated_rates, without_compiler
from trajlab.evaluate.jumps_suite import Cell, Scores, score_cell
from trajlab.evaluate.jumps_verdict import cell_tables, median_ratio, misses, softly, verdict
from trajlab.models.jumps.zero_shot import ZeroShot, ZeroShotAnswer
from trajlab.sources.jump_prior import JumpPrior, PriorConfig

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RING = from_rates(np.array([[0.0, 2.0, 0.5], [0.5, 0.0, 2.0], [2.0, 0.5, 0.0]]))
BARS = {"over_map": 1.1, "mean_factor": 3.0, "mean_offset": 1.0, "network_paths": 1, "network_noise": 0.01}


@pytest.fixture(scope="module")
def plan():
    return tomllib.loads((BENCHMARKS / "jumps.toml").read_text())


def truth_of(paths):
    """A method that cheats: the ring."""
    return RING, 0.01


def scores(network, exact, auto, paths=1, noise=0.01):
    kl = {NETWORK: network, MAP: exact, AUTO: auto}
    kl = {name: np.broadcast_to(np.asarray(v, dtype=float), 20) * np.linspace(0.9, 1.1, 20) for name, v in kl.items()}
    nothing = dict.fromkeys(kl, np.full(20, np.nan))
    return Scores(Cell(paths, noise, 20), kl, kl, kl, nothing)


# ------------------------------------------------------------------------------------------------------------------- methods


def test_a_method_that_fails_says_why():
    def broken(paths):
        raise ValueError("nothing\n  known")

    paths = simulate(RING, 5, (2.0, 5), seed=0)
    guess = answered(broken, paths)
    assert guess.q is None
    assert guess.failed == "nothing known"
    assert answered(lambda _: (np.full((3, 3), np.nan), None), paths).failed == "rates that are not finite"
    with pytest.raises(TypeError):  # a mistake in a program is no answer
        answered(lambda: None, paths)


def test_crude_is_changes_over_time():
    paths = simulate(RING, 20_000, (0.5, 51), seed=0)
    q, level = plain(paths)
    assert level is None
    np.testing.assert_allclose(q, RING, rtol=0.06)


def test_states_that_no_look_saw_get_the_same_rates_in_every_row():
    paths = simulate(RING, 20, (10.0, 41), seed=0).replace(n_states=4)
    q = np.zeros((4, 4))
    q[:3, :3] = RING
    found = completed(from_rates(q), paths)
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_array_equal(found[:3, :3][off], RING[off])
    changes = (np.diff(np.asarray(paths.label).reshape(20, 41)) != 0).sum()
    mean = (changes + 0.5) / 200 / 3
    np.testing.assert_allclose(found[3, :3], mean)  # nobody was there
    assert (found[:3, 3] < mean / 5).all()  # many were where they could have gone from
    q[3, 0] = 1.0
    np.testing.assert_array_equal(completed(from_rates(q), paths), from_rates(q))  # an answer is kept


def test_rows_of_the_tables():
    assert list(methods(False, peers=False)) == [CRUDE, MLE, MAP, NETWORK, AUTO]
    assert list(methods(True))[2:5] == [MAP, "MLE, no noise model", "MAP-EM, no noise model"]
    assert set(PEERS) < set(methods(True))


@pytest.mark.parametrize(("noise", "name"), [(0.0, MLE), (0.0, MAP), (0.1, MLE), (0.1, MAP)])
def test_exact_rows_find_the_process(noise, name):
    paths = simulate(RING, 400, (10.0, 50), noise=noise, seed=0)
    guess = answered(methods(noise > 0, peers=False)[name], paths)
    assert not guess.failed
    np.testing.assert_allclose(guess.q, RING, atol=0.25)
    assert (guess.level is None) if not noise else guess.level == pytest.approx(0.1, rel=0.15)


# ------------------------------------------------------------------------------------------------------------------ deeptime


def test_deeptime_wants_one_lag():
    assert single_lag(simulate(RING, 3, (2.0, 5), seed=0)) == pytest.approx(0.5)
    uneven = simulate(RING, 3, np.array([0.0, 0.5, 1.5]), seed=0)
    assert single_lag(uneven) is None
    pytest.importorskip("deeptime")
    assert answered(PEERS["deeptime MSM, log"], uneven).failed == "looks are not evenly spaced"


def test_deeptime_rows_are_the_logarithm_of_a_markov_state_model():
    pytest.importorskip("deeptime")
    paths = simulate(RING, 3000, (10.0, 41), seed=0)
    free, balanced, generator = (answered(method, paths) for method in PEERS.values())
    np.testing.assert_allclose(free.q, RING, atol=0.06)
    pi = stationary(balanced.q)
    flux = pi[:, None] * balanced.q
    np.testing.assert_allclose(flux, flux.T, atol=1e-6)  # in balance, which the ring is not
    np.testing.assert_allclose(generator.q, balanced.q, atol=0.1)


def test_deeptime_rows_leave_states_out_that_are_not_connected():
    pytest.importorskip("deeptime")
    paths = simulate(RING, 50, (10.0, 41), seed=0)
    wider = paths.replace(n_states=4)
    for method in PEERS.values():
        q = answered(method, wider).q
        assert q.shape == (4, 4)
        assert not q[3].any()
        assert not q[:, 3].any()


# ------------------------------------------------------------------------------------------------------------- known processes


def test_figures_of_the_truth_are_perfect():
    case = KnownJumps("ring", RING, lambda seed: simulate(RING, 5, (2.0, 5), seed=seed), [0, 1])
    found = run_known(case, {"cheat": truth_of, "broken": lambda _: (np.full((3, 3), np.nan), None)})
    assert found["cheat"]["RMSE"] == found["cheat"]["path-KL"] == 0
    # eigenvalues of a circulant: 2 w + .5 w^2 - 2.5 with w a third root of one
    assert found["cheat"]["slowest time"] == pytest.approx(1 / 3.75)
    assert found["cheat"]["entropy production"] == pytest.approx(1.5 * np.log(4))
    assert found["broken"]["RMSE"] == np.inf
    assert found["broken"]["failed"] == 2
    table = known_table(case, found)
    assert len(table.columns) == len(FIGURES) + 2
    assert table.rows[1][-1] == 2
    assert slowest(np.zeros((2, 2))) == np.inf
    assert figures(case, Guess(RING, None, 1.0))["seconds"] == 1


def test_bars_name_their_row():
    found = {"a": {"RMSE": 0.1}, "b": {"RMSE": 0.3}}
    bars = [{"method": "a", "figure": "RMSE", "at_most": 0.2}, {"method": "b", "figure": "RMSE", "at_most": 0.2}]
    assert judged(found, bars, "here") == ["here, b: RMSE 0.3 where <= 0.2 was wanted"]
    assert judged({}, bars[:1], "here") == ["here, a: RMSE nan where <= 0.2 was wanted"]


# --------------------------------------------------------------------------------------------------------------- prior suite


def test_cells_draw_the_same_tasks_again():
    cell = Cell(3, 0.1, tasks=4, looks=20)
    one, two, other = cell.drawn(0), cell.drawn(0), cell.drawn(1)
    assert all(np.array_equal(a.label, b.label) and a.label.shape == (3, 20) and a.eps == 0.1 for a, b in zip(one, two))
    assert not np.array_equal(one[0].q, other[0].q)
    assert not np.array_equal(one[0].q, replace(cell, noise=0.0).drawn(0)[0].q)
    assert all(np.ptp(task.label) for task in Cell(1, 0.0, tasks=60, looks=3).drawn(0))  # a set without a change says nothing


def test_scores_are_of_the_same_tasks_and_peers_only_where_looks_are_regular():
    cell = Cell(2, 0.0, tasks=12, looks=20)
    truths = {task.label.tobytes(): task.q for task in cell.drawn(0)}

    def cheat(paths):
        return truths[np.asarray(paths.label).reshape(2, 20).tobytes()], 0.25

    def broken(paths):
        raise RuntimeError("no")

    name = next(iter(PEERS))
    found = score_cell(cell, 0, found={"cheat": cheat, "broken": broken, CRUDE: plain, name: plain})
    assert (found.kl["cheat"] < 1e-3).all()  # true rates below the floor of estimates cost a little
    assert (found.level["cheat"] == 0.25).all()
    assert found.median("broken") == np.inf
    assert found.failures == {"broken": ["no"] * 12}
    regular = np.array([single_lag(task.paths()) is not None for task in cell.drawn(0)])
    assert 0 < regular.sum() < 12
    np.testing.assert_array_equal(~np.isnan(found.kl[name]), regular)
    np.testing.assert_array_equal(found.kl[name][regular], found.kl[CRUDE][regular])
    assert found.best == "cheat"
    (table,) = cell_tables([found], 0)
    assert table.rows[1][1] == "inf / inf, 12 failed"
    assert table.rows[3][1].endswith(f"[{regular.sum()}]")
    assert table.rows[0][3] == 0.25


def test_sentences_follow_from_the_numbers():
    lines = verdict([scores(0.5, 1.0, 0.9), scores(1.5, 1.0, 1.0, paths=50)])
    assert "is ahead of MAP-EM (0.50 of its median" in lines[0]
    assert "is behind MAP-EM (1.50" in lines[1]
    assert lines[2] == "the network alone does not beat MAP-EM's median in 1 of 2 cells: 50 paths, 1% flips"


def test_median_ratio_is_paired():
    r = np.random.default_rng(0)
    hard = np.exp(2 * r.standard_normal(200))  # how hard a task is, shared by both
    ratio, low, high = median_ratio(0.9 * hard, hard)
    assert ratio == pytest.approx(0.9)
    assert high - low < 1e-9
    _, low, high = median_ratio(0.9 * hard, r.permutation(hard))
    assert low < 0.9 < high
    assert high - low > 0.2
    with pytest.raises(ValueError, match="at least 10"):
        median_ratio(hard[:5], hard[:5])


def test_bars_of_the_suite():
    assert misses([scores(0.9, 1.0, 1.09)], BARS) == []
    assert "1.12 of MAP-EM's" in misses([scores(0.9, 1.0, 1.12)], BARS)[0]
    assert "not below MAP-EM's" in misses([scores(1.01, 1.0, 1.0)], BARS)[0]
    assert misses([scores(1.01, 1.0, 1.0, paths=50)], BARS) == []
    wild = scores(0.9, 1.0, 1.0)
    heavy = replace(wild, kl=wild.kl | {AUTO: np.concatenate([wild.kl[AUTO][:-1], [100.0]])})
    assert "auto's mean" in misses([heavy], BARS)[0]
    infinite = replace(wild, kl=wild.kl | {AUTO: np.concatenate([wild.kl[AUTO][:-1], [np.inf]])})  # one failure is not excused
    assert "auto's mean inf" in misses([infinite], BARS)[0]
    assert softly([replace(wild, cell=replace(wild.cell, soft=0.5))]) == ["1 path, 1% flips: auto's median 1, 0.5 was expected"]


def test_figures_of_a_network_that_knows_the_truth():
    class Knowing(ZeroShot):
        """Off by ``shift`` in every log-rate, and says that it is off by .5."""

        shift = 0.0

        def infer(self, paths):
            return self.infer_many([paths])[0]

        def infer_many(self, many):
            found = []
            for paths in many:
                q = truths[np.asarray(paths.label).tobytes()]
                with np.errstate(divide="ignore"):
                    mean = np.where(q > 0, np.log(np.maximum(q, 1e-300)) + self.shift, 0.0)
                found.append(ZeroShotAnswer(q, mean, np.full(q.shape, 0.5), (q > 0).astype(float), 0.0, np.full(len(q), 1 / len(q))))
            return found

    drawn = list(JumpPrior(PriorConfig.published()).tasks(20, 3))
    truths = {task.label.reshape(-1).tobytes(): task.q for task in drawn}
    found = network_figures(20, 3, Knowing())
    assert found.nll == pytest.approx(np.log(0.5), abs=0.05)  # a rate below the floor costs a little
    assert found.coverage.value > 0.98
    assert found.link < 1e-6
    assert found.level == pytest.approx(np.mean([task.eps for task in drawn]))
    Knowing.shift = 1.0
    off = network_figures(20, 3, Knowing())
    assert off.nll == pytest.approx(np.log(0.5) + 2.0, abs=0.05)
    assert off.coverage.value < 0.02  # a 90 % interval reaches .82
    assert any("training" in row[0] for row in network_table(replace(off, about={"steps": 3})).rows)
    with pytest.raises(ValueError, match="at least 2"):
        network_figures(1, 3, Knowing())


# -------------------------------------------------------------------------------------------------------- panel, speed, program


def test_msm_is_reproduced(plan):
    folder = BENCHMARKS.parents[1] / "shared" / "data" / "jumps"
    if not (folder / "cav.csv").is_file():
        pytest.skip(f"needs cav.csv of R's msm in {folder}, which is not part of the project")
    seen = panel_figures(heart_transplants(folder))
    assert seen.start == pytest.approx(plan["panel"]["start"], abs=plan["panel"]["start_tolerance"])
    assert seen.optimum == pytest.approx(plan["panel"]["optimum"], abs=plan["panel"]["optimum_tolerance"])
    assert not seen.q[3].any()


def test_large_processes_jump_once_a_unit_of_time():
    case = large(20, 0, n_paths=5, looks=7)
    assert case.make(0).n_paths == 5
    assert -(stationary(case.q) * np.diag(case.q)).sum() == pytest.approx(1)


def test_paths_are_counted_with_and_without_the_compiler():
    found = simulated_rates({"with": 300, "without": 200}, 0)
    assert [r.paths for r in found.values()] == [300, 300, 200, 200]
    assert all(r.cpu > 0 and r.wall > 0 for r in found.values())
    before = available()
    with without_compiler():
        assert not available()
    assert available() == before


def test_every_bar_can_be_read(plan):
    program = load("jumps")
    assert list(program.PARTS) == list(plan)
    for part in (plan["ratchet"]["bars"], plan["ratchet"]["equilibrium_bars"], plan["flips"]["bars"], *plan["few"]["bars"].values()):
        for record in part:
            bar = Bar.of({k: v for k, v in record.items() if k != "method"})
            assert bar.figure in FIGURES
            assert record["method"] in methods(True)
    assert {Cell.of(c).paths for c in plan["suite"]["cells"]} == {1, 10, 50, 300}
    assert min(c["tasks"] for c in plan["suite"]["cells"]) >= 30


def test_the_program_fails_where_a_bar_is_missed(plan, monkeypatch, capsys):
    program = load("jumps")
    monkeypatch.setattr(program, "rows", lambda noisy, options: {AUTO: lambda _: (program.jump_process("flashing_ratchet", V=1.0).q, None),
                                                                 MAP: plain, MLE: plain, NETWORK: plain})
    options = Namespace(quick=True)
    few = plan["few"] | {"paths": [50]}
    assert program.few(few, options, {}) == []
    assert "the network alone does not win" in capsys.readouterr().out
    few["bars"] = {"50": [{"method": MAP, "figure": "RMSE", "at_most": 1e-6}]}
    assert len(program.few(few, options, {})) == 1
