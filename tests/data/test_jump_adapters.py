"""States and signals as arrays, deeptime's files, and paths cut and put together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab.data.adapters.deeptime import counts_from_deeptime, read_dtrajs
from trajlab.data.adapters.jump_pieces import concat_jumps, cut_jumps, jump_windows, select_paths
from trajlab.data.adapters.jumps import jumps_from_dtrajs, jumps_from_numpy, jumps_from_signal, jumps_to_numpy
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts, pair_counts
from trajlab.types import JumpPaths


def loglik(paths, q):
    return evaluate(q, pair_counts(paths)[0]).loglik


def test_layouts_agree():
    label = np.array([[0, 1, 2, -1], [2, 2, 0, 1]])
    time = np.array([[0.0, 1.0, 2.0, np.nan], [5.0, 6.0, 7.5, 8.0]])
    boxed = jumps_from_numpy(label, time)
    ragged = jumps_from_numpy([[0, 1, 2], [2, 2, 0, 1]], [[0.0, 1.0, 2.0], [5.0, 6.0, 7.5, 8.0]])
    flat = jumps_from_numpy([2, 0, 2, 1, 0, 2, 1], [5.0, 0.0, 6.0, 1.0, 7.5, 2.0, 8.0], path=[9, 3, 9, 3, 9, 3, 9])
    for paths in (boxed, ragged, flat):
        assert paths.n_paths == 2
        assert paths.n_states == 3
        assert paths.label.tolist() == [0, 1, 2, 2, 2, 0, 1]
        assert paths.time.tolist() == [0, 1, 2, 5, 6, 7.5, 8]
        assert paths.path.tolist() == [0, 0, 0, 1, 1, 1, 1]
        assert (paths.observed == JumpPaths.PANEL).all()
    labels, times = jumps_to_numpy(boxed)
    assert [x.tolist() for x in labels] == [[0, 1, 2], [2, 2, 0, 1]]
    assert jumps_from_numpy(labels, times).time.equal(boxed.time)


def test_one_clock_for_all_and_one_path():
    shared = jumps_from_numpy(np.array([[0, 1, 0], [1, 1, 0]]), np.array([0.0, 0.5, 2.0]))
    assert shared.time.tolist() == [0, 0.5, 2, 0, 0.5, 2]
    assert jumps_from_numpy([0, 1, 0], [0.0, 0.5, 2.0]).n_paths == 1
    assert jumps_from_numpy(np.array([[0, 1, 0]]), np.array([[0.0, 0.5, np.nan]])).label.tolist() == [0, 1]


def test_missing_labels_are_looks_that_saw_nothing():
    paths = jumps_from_numpy([0.0, np.nan, 1.0, -1.0], [0.0, 1.0, 2.0, 3.0])
    assert paths.label.tolist() == [0, -1, 1, -1]
    assert paths.observed.tolist() == [JumpPaths.PANEL, JumpPaths.MISSING, JumpPaths.PANEL, JumpPaths.MISSING]
    kinds = jumps_from_numpy([0, 1, 1], [0.0, 1.0, 2.0], observed=[JumpPaths.PANEL, JumpPaths.EXACT, JumpPaths.PANEL])
    assert kinds.observed.tolist() == [0, 1, 0]


def test_empty_paths_are_left_out_and_told():
    with pytest.warns(UserWarning, match="1 of 3 paths have no observation"):
        paths = jumps_from_numpy(np.array([[0, 1], [0, 0], [1, 0]]), np.array([[0.0, 1.0], [np.nan, np.nan], [0.0, 2.0]]))
    assert paths.path.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("label", "time", "options", "told"), [
    ([0, 1, 0], [0.0, 2.0, 1.0], {}, "path 0 the time goes back from 2 to 1"),
    ([0, 1, 0], [0.0, 1.0, np.nan], {}, "observation 2 of path 0 has the time nan"),
    (np.array([[0, 1, 0], [0, 1, 1]]), np.array([[0.0, np.nan, 2.0], [0.0, 1.0, 2.0]]), {}, "observation 1 of path 0 has the time nan"),
    (np.array([[0], [1]]), np.array([[0.0], [0.0]]), {}, "each of the 2 paths has one observation"),
    ([], [], {}, "not one observation"),
    (np.zeros((0, 4)), np.zeros((0, 4)), {}, "not one observation"),
    ([0, 3, 1], [0.0, 1.0, 2.0], {"n_states": 3}, "label 3 of observation 1 is outside the 3 states 0 to 2"),
    ([0, 0.5, 1], [0.0, 1.0, 2.0], {}, "label 0.5 of observation 1 is no whole number"),
    ([0, np.inf, 1], [0.0, 1.0, 2.0], {}, "label inf of observation 1"),
    ([-1, -1], [0.0, 1.0], {}, "none of the 2 observations names a state"),
    ([0, 1, 0], [0.0, 1.0], {}, "path 0 has 3 observations and times of shape"),
    ([[0, 1], [0, 1]], [[0.0, 1.0]], {}, "2 paths and 1 clocks"),
    ([0, 1], [0.0, np.inf], {"path": [0, 0]}, "observation 1 has the time inf"),
    ([0, 1], [0.0, 1.0], {"path": [0]}, "one of each an observation"),
    (np.zeros((2, 3, 2)), np.arange(3.0), {}, "jumps_from_signal"),
])
def test_what_is_no_path_is_told(label, time, options, told):
    with pytest.raises(ValueError, match=told):
        jumps_from_numpy(label, time, **options)


def test_signals():
    value = np.array([[0.1, 2.0, np.nan], [1.9, 0.2, 0.3]])
    paths = jumps_from_signal(value, np.arange(3.0), 2)
    assert paths.observed.tolist() == [5, 5, 3, 5, 5, 5]
    assert paths.signal.shape == (6, 1)
    assert (paths.label == -1).all()
    wide = jumps_from_signal(np.ones((4, 2)), np.array([0.0, 1.0, 0.0, 1.0]), 3, path=[0, 0, 1, 1])
    assert wide.signal.shape == (4, 2)
    assert wide.n_paths == 2
    assert jumps_from_signal([np.ones((3, 2)), np.ones((2, 2))], [np.arange(3.0), np.arange(2.0)], 2).signal.shape == (5, 2)
    for bad, told in ((np.array([1.0, np.inf]), "infinite at observation 1"), (np.full(3, np.nan), "none of the 3")):
        with pytest.raises(ValueError, match=told):
            jumps_from_signal(bad, np.arange(float(len(bad))), 2)
    with pytest.raises(ValueError, match="0 hidden states"):
        jumps_from_signal(np.ones(3), np.arange(3.0), 0)


def test_discrete_trajectories_with_missing_frames():
    row = np.array([0, 1, -1, 1, 0])
    skipped, broken, looked = (jumps_from_dtrajs([row], 0.5, missing=m) for m in ("skip", "break", "look"))
    assert skipped.time.tolist() == [0, 0.5, 1.5, 2.0]
    assert broken.path.tolist() == [0, 0, 1, 1]
    assert broken.time.tolist() == [0, 0.5, 1.5, 2.0]
    assert looked.observed.tolist() == [0, 0, 3, 0, 0]
    assert jumps_from_dtrajs(np.array([0, 1, 1]), 2.0).time.tolist() == [0, 2, 4]
    assert jumps_from_dtrajs([np.array([0, 1]), np.array([2, 1, 1])]).n_states == 3
    for bad, options, told in ((row, {"missing": "drop"}, "no way with missing frames 'drop'"), (row, {"lag": 0.0}, "the lag is 0"),
                               (np.zeros((2, 2, 2)), {}, "shape"), (np.array(["a", "b"]), {}, "whole numbers")):
        with pytest.raises(ValueError, match=told):
            jumps_from_dtrajs(bad, **options)


def random_paths(seed=0, paths=6, looks=9):
    rng = np.random.default_rng(seed)
    return jumps_from_numpy(rng.integers(0, 3, (paths, looks)), np.sort(rng.uniform(0, 4, (paths, looks)), 1))


def test_cutting_at_a_shared_endpoint_changes_no_likelihood():
    paths, q = random_paths(), from_rates(np.array([[0, 1, 0.3], [0.5, 0, 2], [0.2, 0.4, 0]]))
    whole = loglik(paths, q)
    cut = cut_jumps(paths, [4, 13, 14, 30])
    assert cut.n_paths == 10
    assert len(cut.label) == len(paths.label) + 4
    assert loglik(cut, q) == pytest.approx(whole, rel=1e-13)
    pieces = jump_windows(paths, 3)
    assert np.bincount(pieces.path.numpy()).tolist() == [4, 4, 3] * 6
    assert loglik(pieces, q) == pytest.approx(whole, rel=1e-13)
    assert cut_jumps(paths, [0, 8, 9, 53]).path.equal(paths.path)
    with pytest.raises(ValueError, match="observation 99"):
        cut_jumps(paths, [99])
    with pytest.raises(ValueError, match="observation 1 names no state"):
        cut_jumps(jumps_from_numpy([0, -1, 1], [0.0, 1.0, 2.0]), [1])
    with pytest.raises(ValueError, match="windows of 0"):
        jump_windows(paths, 0)


def test_cut_at_an_exact_jump():
    q = from_rates(np.array([[0, 1.5], [0.5, 0]]))
    paths = jumps_from_numpy([0, 1, 0, 0], [0.0, 0.4, 1.1, 2.0], observed=[0, 1, 1, 1])
    assert loglik(cut_jumps(paths, [1, 2]), q) == pytest.approx(loglik(paths, q), rel=1e-13)


def test_paths_put_together_and_chosen():
    one, two = random_paths(1), random_paths(2, 3)
    both = concat_jumps([one, two])
    q = from_rates(np.ones((3, 3)))
    assert both.n_paths == 9
    assert loglik(both, q) == pytest.approx(loglik(one, q) + loglik(two, q))
    again = select_paths(both, [8, 0, 0])
    assert again.label.reshape(3, 9)[1].equal(one.label[:9])
    assert again.label.reshape(3, 9)[0].equal(two.label[-9:])
    with pytest.raises(ValueError, match="number of states"):
        concat_jumps([one, jumps_from_numpy([0, 1], [0.0, 1.0])])
    with pytest.raises(ValueError, match="no paths"):
        concat_jumps([])
    with pytest.raises(ValueError, match="0 to 8"):
        select_paths(both, [9])
    masked = one.replace(observed=torch.full_like(one.label, JumpPaths.CENSORED), label=torch.full_like(one.label, -1),
                         allowed=torch.ones(len(one.label), 3, dtype=torch.bool))
    assert concat_jumps([masked, two]).allowed.shape == (81, 3)


def test_count_models_of_deeptime():
    deeptime = pytest.importorskip("deeptime.markov")
    dtraj = np.random.default_rng(0).integers(0, 3, 500)
    for mode in ("sample", "effective", "sliding"):
        model = deeptime.TransitionCountEstimator(2, mode).fit_fetch(dtraj)
        if mode == "sliding":
            with pytest.warns(UserWarning, match="sliding window"):
                lag, counts = counts_from_deeptime(model, 0.1)
        else:
            lag, counts = counts_from_deeptime(model, 0.1)
        assert lag == pytest.approx([0.2])
        assert counts.sum() == pytest.approx(249, abs=1 if mode != "effective" else 249)
        assert PairCounts.from_matrices(lag, counts).matrix == pytest.approx(counts[0])
    with pytest.raises(TypeError, match="TransitionCountModel"):
        counts_from_deeptime(np.ones((2, 2)))


def test_files_of_discrete_trajectories(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 1, 1], [1, 0, 2]]))
    np.savez(tmp_path / "b.npz", P=np.eye(2), dtraj=np.array([0, 1, 0]))
    (tmp_path / "c.dat").write_text("0\n1\n2\n")
    (tmp_path / "d.txt").write_text("no numbers\n")
    np.savez(tmp_path / "e.npz", P=np.eye(2))
    assert read_dtrajs(tmp_path / "a.npy", 0.1).n_paths == 2
    assert read_dtrajs(tmp_path / "b.npz").label.tolist() == [0, 1, 0]
    assert read_dtrajs(tmp_path / "c.dat").n_states == 3
    with pytest.raises(ValueError, match="no text of whole numbers"):
        read_dtrajs(tmp_path / "d.txt")
    with pytest.raises(ValueError, match="no array of whole numbers"):
        read_dtrajs(tmp_path / "e.npz")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_dtrajs(tmp_path / "f.dat")


def test_deeptime_reference_files(reference):
    folder = reference / "jumps"
    well = read_dtrajs(folder / "double_well_discrete.npz", n_states=100)
    assert (well.n_paths, well.n_states, len(well.label)) == (1, 100, 99_990)
    assert (read_dtrajs(folder / "hmm-doublewell-2d-100k.npz").n_states) == 2
    assert len(read_dtrajs(folder / "deeptime_dtraj.dat").label) > 5000
    with np.load(folder / "hmm-doublewell-2d-100k.npz") as file:
        signal = jumps_from_signal(file["trajectory"], np.arange(100_000.0), 2, path=np.zeros(100_000, dtype=int))
    assert signal.signal.shape == (100_000, 2)
