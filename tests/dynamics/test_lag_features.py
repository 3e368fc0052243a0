"""Features of labelled paths: what is counted, and that units, origins, numbering and cuts of clocks do what they must."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab.dynamics.jumps import lag_features as module
from trajlab.dynamics.jumps.generator import from_rates, stationary, transition
from trajlab.dynamics.jumps.lag_features import CLASSES, FEATURES, GAPS, PER_GAP, SUPPOSED, lag_features
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts
from trajlab.types import JumpPaths

OWN = PER_GAP * len(GAPS) + 3 * CLASSES


def draw(seed=0, n=4, sizes=(30, 2, 41, 1, 17), regular=False):
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.repeat(rng.integers(0, n, k), rng.integers(1, 4, k))[:k] for k in sizes])
    time = np.concatenate([np.arange(k) * 0.3 if regular else np.sort(rng.uniform(0, 9, k)) for k in sizes])
    path = np.repeat(np.arange(len(sizes)), sizes)
    return JumpPaths(torch.from_numpy(label), torch.from_numpy(time), torch.from_numpy(path), n)


def pairs_apart(paths, gap):
    label, path = paths.label.numpy(), paths.path.numpy()
    counts = np.zeros((paths.n_states, paths.n_states))
    for a in range(len(label) - gap):
        if path[a] == path[a + gap]:
            counts[label[a], label[a + gap]] += 1
    return counts


def test_pairs_by_gap_and_their_durations():
    paths = draw()
    found = lag_features(paths)
    assert found.pairs.shape == (4, 4, FEATURES)
    assert found.pairs.dtype == np.float32
    for g, gap in enumerate(GAPS):
        counts = pairs_apart(paths, gap)
        np.testing.assert_allclose(found.pairs[..., PER_GAP * g], np.log1p(counts), rtol=1e-6)
        np.testing.assert_allclose(found.pairs[..., PER_GAP * g + 1], counts / (counts.sum(1, keepdims=True) + 1), rtol=1e-6)
    counts, time, path = pairs_apart(paths, 1), paths.time.numpy(), paths.path.numpy()
    observed = np.diff(time)[np.diff(path) == 0].sum()
    assert found.changes == counts.sum() - np.trace(counts)
    assert found.unit == pytest.approx(observed / (found.changes + 0.5))
    np.testing.assert_allclose(found.pairs[..., 3], np.log(observed / counts.sum() / found.unit), rtol=1e-5)


def test_pairs_by_duration_add_up():
    found = lag_features(draw()).pairs[..., PER_GAP * len(GAPS) : OWN]
    np.testing.assert_allclose(np.expm1(found[..., ::3]).sum(-1), pairs_apart(draw(), 1), atol=1e-4)
    assert (found[..., ::3].sum((0, 1)) > 0).sum() > 3
    regular = lag_features(draw(regular=True)).pairs[..., PER_GAP * len(GAPS) : OWN]
    assert (regular[..., ::3].sum((0, 1)) > 0).sum() == 1


def test_first_estimate_is_em_under_a_gamma_prior():
    paths = draw(regular=True)
    counts, found = pairs_apart(paths, 1), lag_features(paths)
    data, rate = PairCounts.from_matrices(np.array([0.3]), counts[None]), 1 / (3 * found.unit)
    q = from_rates((counts + 1) / (0.3 * counts.sum(1, keepdims=True) + 1 / rate))
    for _ in range(module.ITERATIONS):
        seen = evaluate(q, data)
        q = from_rates((seen.jumps + 1) / (seen.time[:, None] + 1 / rate))
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(np.exp(found.base[off]) / found.unit, q[off], rtol=1e-10)


def test_returns_tell_wrong_labels():
    label = np.array([0, 0, 1, 0, 0, 0, 1, 1, 1, 0])
    paths = JumpPaths(torch.from_numpy(label), torch.arange(10.0, dtype=torch.float64), torch.zeros(10, dtype=torch.long), 2)
    own = lag_features(paths).pairs[..., OWN:]
    assert own[0, 1, 4] == pytest.approx(1 / 3)
    assert own[0, 1, 5] == pytest.approx(1 / 3)
    assert own[1, 0, 4] == 0
    assert own[1, 0, 5] == pytest.approx(1 / 3)


def test_wrong_labels_are_taken_out_of_expected_counts():
    rng = np.random.default_rng(1)
    q = from_rates(rng.uniform(0.2, 1, (4, 4)))
    clean = 1000 * stationary(q)[:, None] * transition(q, np.array(0.4))
    flip = (1 - SUPPOSED) * np.eye(4) + SUPPOSED / 4
    np.testing.assert_allclose(module._cleaned((flip.T @ clean @ flip)[None], SUPPOSED)[0], clean, rtol=1e-9)


def test_unit_and_origins_of_clocks_change_nothing():
    paths = draw()
    one = lag_features(paths)
    other = lag_features(paths.replace(time=paths.time * 8.0 + torch.tensor([0.0, 64.0, -32.0, 16.0, 128.0], dtype=torch.float64)[paths.path]))
    np.testing.assert_allclose(other.pairs, one.pairs, atol=2e-6)
    np.testing.assert_allclose(other.base, one.base, atol=1e-9)
    assert other.unit == pytest.approx(8 * one.unit, rel=1e-12)


def test_relabelling_permutes():
    paths, order = draw(), np.array([2, 0, 3, 1])
    one, other = lag_features(paths), lag_features(paths.replace(label=torch.from_numpy(np.argsort(order))[paths.label]))
    np.testing.assert_allclose(other.pairs, one.pairs[np.ix_(order, order)], atol=2e-6)
    np.testing.assert_allclose(other.base, one.base[np.ix_(order, order)], atol=1e-9)


def test_looks_that_gave_nothing_are_left_out():
    paths = draw()
    gone = torch.arange(len(paths.label)) % 5 == 3
    missing = paths.replace(label=torch.where(gone, -1, paths.label), observed=torch.where(gone, JumpPaths.MISSING, paths.observed))
    rest = JumpPaths(paths.label[~gone], paths.time[~gone], torch.unique(paths.path[~gone], return_inverse=True)[1], 4)
    one, other = lag_features(missing), lag_features(rest)
    assert one.n_looks == other.n_looks == int((~gone).sum())
    np.testing.assert_array_equal(one.pairs, other.pairs)


def test_hard_data_stay_finite():
    n = 60
    zero, clock = torch.zeros(n, dtype=torch.long), torch.arange(n, dtype=torch.float64)
    constant = JumpPaths(zero, clock, zero, 3)
    flicker = JumpPaths(torch.arange(n) % 3, clock, zero, 3)
    twice = JumpPaths(torch.arange(n) % 3, clock // 2, zero, 3)
    for paths in (constant, flicker, twice):
        found = lag_features(paths)
        assert np.isfinite(found.pairs).all()
        assert np.isfinite(found.base).all()
        assert found.unit > 0


def test_bad_input():
    paths = draw()
    with pytest.raises(ValueError, match="kind 'exact'"):
        lag_features(paths.replace(observed=torch.full_like(paths.observed, JumpPaths.EXACT)))
    with pytest.raises(ValueError, match="none of the 5 paths has two looks"):
        lag_features(draw(sizes=(1, 1, 1, 1, 1)))
    with pytest.raises(ValueError, match="no time passes"):
        lag_features(paths.replace(time=torch.zeros_like(paths.time), label=torch.zeros_like(paths.label)))
    with pytest.raises(ValueError, match="1 state has no rates"):
        lag_features(draw(n=1))
