"""Diagnostics: silent where the model is right, loud where it is wrong, and the p-values are p-values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jump_generators import ADP, chain, ratchet, ring

from trajlab.dynamics.jumps.diagnostics_chapman_kolmogorov import chapman_kolmogorov
from trajlab.dynamics.jumps.diagnostics_dwell import dwell_times, stays_of
from trajlab.dynamics.jumps.diagnostics_embedding import embeddability, sampling_interval
from trajlab.dynamics.jumps.diagnostics_links import identifiability
from trajlab.dynamics.jumps.diagnostics_occupancy import occupancy_in_time
from trajlab.dynamics.jumps.diagnostics_pearson import pearson_fit
from trajlab.dynamics.jumps.generator import from_rates, transition
from trajlab.dynamics.jumps.information import fisher_information, transition_derivatives
from trajlab.dynamics.jumps.lumping import aggregated
from trajlab.dynamics.jumps.pair_counts import PairCounts, pair_counts
from trajlab.dynamics.jumps.simulate import simulate
from trajlab.types import JumpPaths

Q = ratchet(1.0)
IRREGULAR = np.sort(np.random.default_rng(0).uniform(0, 2.5, (200, 50)), 1)
RIGHT = {"regular": {"times": (2.5, 50)}, "irregular": {"times": IRREGULAR}, "jumps": {"times": (2.5, 50), "keep": "jumps"}}


def counted(paths: JumpPaths) -> PairCounts:
    return pair_counts(paths)[0]


def merged(paths: JumpPaths, label: torch.Tensor, n: int) -> JumpPaths:
    return JumpPaths(label, paths.time, paths.path, n, observed=paths.observed)


@pytest.mark.parametrize("case", RIGHT)
def test_silent_where_the_model_is_right(case):
    paths = simulate(Q, 200, seed=3, initial=0, **RIGHT[case])
    for found in (chapman_kolmogorov(paths, Q), occupancy_in_time(paths, Q), dwell_times(paths, Q, 99), pearson_fit(paths, Q, simulations=99),
                  identifiability(Q, pair_counts(paths))):
        assert not found.warning, found.sentence
        assert found.sentence.endswith(".")


def test_chapman_kolmogorov_sees_wrong_rates_and_wrong_labels():
    paths = simulate(Q, 400, (2.5, 50), seed=1)
    assert chapman_kolmogorov(paths, 1.3 * Q).warning
    noisy = simulate(Q, 400, (2.5, 50), seed=2, noise=0.03)
    assert chapman_kolmogorov(noisy, Q).warning
    assert not chapman_kolmogorov(noisy, Q, noise=0.03).warning
    found = chapman_kolmogorov(paths, Q, multiples=(1, 5))
    assert found.multiples.tolist() == [1, 5]
    assert np.allclose(found.lag, [2.5 / 49, 12.5 / 49])
    assert np.allclose(found.expected, transition(Q, found.lag))
    assert np.allclose(found.observed.sum(-1), 1)
    assert found.count.sum(-1).tolist() == [400 * 49, 400 * 9]


def test_p_values_and_bands_hold():
    p, inside, dwell, pearson = [], [], [], []
    for seed in range(50):
        paths = simulate(Q, 40, (2.5, 50), seed=seed)
        found = chapman_kolmogorov(paths, Q, multiples=(1, 4))
        p.append(found.p_value)
        inside.append(1 - found.outside)
        dwell.append(dwell_times(paths, Q, 0).overall)
        pearson.append(pearson_fit(paths, Q, simulations=0).p_high)
    for values in (np.array(p)[:, 0], np.array(p)[:, 1], np.array(dwell), np.array(pearson)):
        assert 0.35 < values.mean() < 0.65
        assert (values < 0.05).mean() < 0.17
    assert 0.93 < np.mean(inside) < 0.99


def test_looks_that_end_with_a_known_death():
    q = from_rates(np.array([[0, 1.0, 0.3], [0.5, 0, 0.6], [0, 0, 0]]))
    paths = simulate(q, 2000, (4.0, 9), initial=0, seed=2, keep="entries")
    assert (paths.observed == JumpPaths.ENTRY).any()
    for found in (chapman_kolmogorov(paths, q), occupancy_in_time(paths, q), pearson_fit(paths, q, simulations=0)):
        assert not found.warning, found.sentence
    assert chapman_kolmogorov(paths, from_rates(np.array([[0, 1.0, 0.3], [0.5, 0, 1.6], [0, 0, 0]]))).warning


def test_occupancy_follows_the_start():
    paths = simulate(Q, 500, (2.5, 50), seed=3, initial=5)
    found = occupancy_in_time(paths, Q)
    assert found.mean < 2.5 * found.noise.mean()
    assert occupancy_in_time(paths, Q, start=5).mean == pytest.approx(found.mean)
    assert occupancy_in_time(paths, Q, start="stationary").warning
    assert np.allclose(found.expected[3], transition(Q, np.array(found.time[3]))[5])
    assert np.allclose(found.count, 500)


@pytest.mark.parametrize("keep", ["looks", "jumps"])
def test_dwell_times_with_memory(keep):
    hidden = from_rates(np.array([[0, 1.0, 1], [10, 0, 0], [0.5, 0, 0]]))  # two ways to be in state 1
    paths = simulate(hidden, 150, (10.0, 100), keep=keep, seed=1)
    found = dwell_times(merged(paths, paths.label.clamp(max=1), 2), aggregated(hidden, np.array([0, 1, 1])), 199)
    assert found.warning
    assert found.tendency[1] > 5
    assert abs(found.tendency[0]) < 4
    assert "hides several" in found.sentence
    steps = from_rates(np.diag([4.0, 4, 4], 1) + np.diag([4.0], -3))  # two steps a state
    paths = simulate(steps, 150, (10.0, 100), keep=keep, seed=1)
    found = dwell_times(merged(paths, paths.label // 2, 2), aggregated(steps, np.array([0, 0, 1, 1])), 199)
    assert found.warning
    assert (found.tendency < -5).all()
    assert "even" in found.sentence


def test_total_time_on_test_is_uniform_with_few_stays():
    two = chain([1.0], [2.0])
    p = [dwell_times(simulate(two, 10, (8.0, 2), seed=s, keep="jumps"), two).p_value for s in range(60)]
    p = np.concatenate(p)
    p = p[np.isfinite(p)]
    assert (p < 0.1).mean() < 0.18
    assert (p < 0.01).mean() < 0.04
    assert np.median(p) < 0.95


@pytest.mark.parametrize("keep", ["looks", "jumps"])
def test_survival_of_stays(keep):
    for one in stays_of(simulate(Q, 600, (2.5, 50), seed=0, keep=keep), Q):
        many = one.observed > 0.2
        assert np.abs(one.observed - one.expected)[many].max() < 0.06
        assert ((one.expected >= one.low) & (one.expected <= one.high))[many].mean() > 0.6
        assert (one.low <= one.high).all()


def test_runs_of_looks_by_hand():
    paths = JumpPaths(torch.tensor([1, 0, 0, 0, 1, 0, 1, 1, 0]), torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 0, 1]), torch.tensor([0] * 7 + [1] * 2), 2)
    zero, one = stays_of(paths, chain([1.0], [2.0]))
    stay = 2 / 3 + np.exp(-3.0) / 3
    assert np.allclose(zero.observed, [0.5, 0.5, 0.0])  # runs of 3 and 1 looks, seen to end
    assert np.allclose(zero.expected, stay ** np.arange(1, 4))
    assert np.allclose(zero.time, [1, 2, 3])
    assert (zero.number, one.number) == (2, 3)


def test_wrong_labels_look_like_memory_unless_allowed_for():
    noisy = simulate(Q, 100, (2.5, 50), seed=1, noise=0.05)
    assert dwell_times(noisy, Q, 199).warning
    assert not dwell_times(noisy, Q, 99, noise=0.05).warning
    assert pearson_fit(noisy, Q, simulations=199).warning
    assert not pearson_fit(noisy, Q, simulations=99, noise=0.05).warning


def test_pearson_sees_rates_that_change_with_time():
    early, late = simulate(Q, 300, (2.5, 50), seed=1), simulate(0.4 * Q, 300, (2.5, 50), seed=1)
    both = torch.where(early.time < 1.25, early.label, late.label)
    found = pearson_fit(merged(early, both, 6), 0.7 * Q, simulations=199)
    assert found.warning
    assert found.observed.shape[1] == 3
    assert found.observed.sum() == 300 * 49
    assert np.allclose(found.expected.sum(-1), found.observed.sum(-1))


@pytest.mark.parametrize("lag", [0.01, 0.1, 0.5])
def test_embeddable_matrices(lag):
    for q in (Q, ADP / 50, chain([1.0, 2.0], [3.0, 0.1])):
        found = embeddability(transition(q, np.array(lag)), lag)
        assert found.embeddable
        assert found.number == 1
        assert not found.warning
        assert np.allclose(found.generator, q, atol=1e-8)


@pytest.mark.parametrize(("matrix", "words"), [
    ([[0.1, 0.9], [0.9, 0.1]], "negative"),
    ([[0.5, 0.5], [0.5, 0.5]], "singular"),
    ([[0.9, 0.1, 0], [0, 0.9, 0.1], [0.1, 0, 0.9]], "determinant"),
    ([[0.6, 0.4, 0.0], [0.2, 0.5, 0.3], [0.2, 0.1, 0.7]], "cannot|not within one lag"),
    ([[0.9, 0.08, 0.02], [0.05, 0.9, 0.05], [0.001, 0.05, 0.949]], "1 negative rate,"),
])
def test_matrices_of_no_generator(matrix, words):
    found = embeddability(np.array(matrix))
    assert found.embeddable is False
    assert found.warning
    import re

    assert re.search(words, found.sentence), found.sentence


def test_a_matrix_of_two_generators():
    # at this lag the ring has turned so far that another one, slower and partly backwards, gives the same transitions
    found = embeddability(transition(ring(3, 4.0, 0.0), np.array(1.0)))
    assert found.embeddable
    assert found.number == 2
    assert found.warning
    assert found.error < 1e-12


def test_sampling_interval():
    assert not sampling_interval(Q, 0.05).warning
    found = sampling_interval(ADP, 0.05)
    assert found.warning
    assert found.lost == (3, 4)
    assert found.longest == pytest.approx(3 / np.abs(-113.566 + 3.275j), rel=1e-4)
    assert np.allclose(sampling_interval(1e-6 * ADP, 0.05e6).decay, found.decay)
    assert not sampling_interval(ADP, np.array([0.02, 1.0]), np.array([0.1, 0.9])).warning  # one lag in ten is short enough


def test_fisher_information():
    links = np.argwhere(Q > 0)
    p, slope = transition_derivatives(Q, 0.7, links)
    assert np.allclose(p, transition(Q, np.array(0.7)), atol=1e-13)
    for k in (0, 7):
        there, back = Q.copy(), Q.copy()
        there[tuple(links[k])] *= np.exp(1e-5)
        back[tuple(links[k])] *= np.exp(-1e-5)
        change = (transition(from_rates(there), np.array(0.7)) - transition(from_rates(back), np.array(0.7))) / 2e-5
        assert np.allclose(slope[k], change, atol=1e-9)
    exact = counted(simulate(Q, 100, (2.5, 50), keep="jumps", seed=0))
    assert np.allclose(fisher_information(Q, exact, links), np.diag(Q[tuple(links.T)] * exact.time[links[:, 0]]))
    many, few = (fisher_information(Q, counted(simulate(Q, 100, times, seed=0)), links) for times in ((2.5, 500), (2.5, 6)))
    bound = np.diag(np.diag(fisher_information(Q, exact, links)))
    assert (np.diag(few) < np.diag(many)).all()
    assert np.allclose(np.diag(many), np.diag(bound), rtol=0.35)


def test_identifiability():
    paths = simulate(Q, 300, (2.5, 50), seed=1)
    found = identifiability(Q, pair_counts(paths))
    assert found.identifiable.sum() == 18
    assert not found.warning
    assert len(found.table()) == 18
    assert found.exposure.sum() == pytest.approx(300 * 2.5)
    assert 0.05 < found.standard_error[0, 1] < 0.2
    rare = Q.copy()
    rare[0, 4] = 1e-5
    found = identifiability(from_rates(rare), pair_counts(paths))
    assert [u[:2] for u in found.unknown] == [(0, 4)]
    assert "upper bound only" in found.unknown[0][2]
    assert not found.warning
    assert found.upper[0, 4] == pytest.approx(3 / found.exposure[0])
    far = identifiability(Q, pair_counts(simulate(Q, 300, (200.0, 20), seed=1)))  # looks so far apart that they are independent
    assert far.warning
    assert "cannot be told" in far.unknown[0][2]
    assert not np.isnan(far.standard_error).any()
    wider = np.zeros((7, 7))
    wider[:6, :6] = Q
    wider[6, 0] = 1.0
    unseen = identifiability(from_rates(wider), pair_counts(JumpPaths(paths.label, paths.time, paths.path, 7)))
    assert unseen.warning
    assert "state 6, never seen" in unseen.sentence


PATHS = simulate(Q, 5, (2.5, 5), seed=0)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: chapman_kolmogorov(PATHS, ADP[:3, :3] * 0), r"\[6 6\]"),
    (lambda: chapman_kolmogorov(PATHS, Q, multiples=(0,)), "from 1 on"),
    (lambda: chapman_kolmogorov(PATHS, Q, multiples=(9,)), "longest has 5 looks"),
    (lambda: chapman_kolmogorov(PATHS, Q, noise=np.ones((6, 6))), "rows of sum 1"),
    (lambda: occupancy_in_time(PATHS, Q, classes=0), "at least 1"),
    (lambda: dwell_times(PATHS, Q, -1), "none"),
    (lambda: pearson_fit(PATHS, Q, lag_classes=0), "at least 1"),
    (lambda: embeddability(Q), "transition matrix"),
    (lambda: embeddability(np.eye(2), 0.0), "positive"),
    (lambda: sampling_interval(Q, -1.0), "positive lags"),
    (lambda: identifiability(ADP[:2, :2] * 0, pair_counts(PATHS)), "as many were wanted"),
    (lambda: dwell_times(JumpPaths(torch.zeros(2, dtype=torch.long), torch.zeros(2), torch.arange(2), 6), Q), "pairs of looks"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_looks_of_one_path_close_together_count_as_few():
    found = occupancy_in_time(simulate(Q, 30, (0.4, 40), seed=5), Q, classes=4)
    assert found.independent == pytest.approx(np.full(4, 30), rel=0.1)  # ten looks of each path in a class, within a fraction of a relaxation time
    assert (found.count > 200).all()
    states = ((found.observed + found.expected) > 0).any(0).sum()
    assert found.noise == pytest.approx(np.sqrt((states - 1) / (8 * found.independent)))
