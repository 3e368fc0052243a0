"""The paired bootstrap covers what it says, with few runs and with correlated systems."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.metrics.paired import beats_all, paired_bootstrap


def scores(systems, seed, gain=0.1, runs=None):
    """Two models on the same systems: a common part that is large, errors of their own, and in windows of a run all of it in common."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda n: torch.randn(n, generator=generator, dtype=torch.float64)  # noqa: E731
    runs = systems if runs is None else runs
    run = torch.arange(systems) * runs // systems
    common, own = normal(runs).exp()[run], 0.3 * normal(runs)[run] + 0.05 * normal(systems)
    return common + own + gain, common, run


@pytest.mark.parametrize("systems", [8, 40])
def test_interval_covers_the_true_difference(systems):
    hits = 0
    for seed in range(200):
        first, second, _ = scores(systems, seed)
        found = paired_bootstrap(first, second, draws=500, generator=torch.Generator().manual_seed(seed))
        hits += found.low < 0.1 < found.high
    assert 0.91 <= hits / 200 <= 0.985


def test_windows_of_a_run_are_not_independent():
    hits = {True: 0, False: 0}
    for seed in range(100):
        first, second, run = scores(200, seed, runs=20)
        for clustered in hits:
            found = paired_bootstrap(first, second, run if clustered else None, draws=500)
            hits[clustered] += found.low < 0.1 < found.high
    assert hits[True] / 100 >= 0.9
    assert hits[False] / 100 < 0.7


def test_what_both_share_cancels():
    first, second, _ = scores(60, 0, gain=-0.2)
    paired = paired_bootstrap(first, second)
    shuffled = paired_bootstrap(first, second[torch.randperm(60, generator=torch.Generator().manual_seed(1))])
    assert paired.error < 0.4 * shuffled.error
    assert paired.value == pytest.approx(float((first - second).mean()))
    assert (paired.first, paired.second) == pytest.approx((float(first.mean()), float(second.mean())))
    assert paired.error == pytest.approx(float((first - second).std()) / math.sqrt(60), rel=0.15)
    assert paired.estimate == (paired.value, paired.error)
    assert paired.beats
    assert not paired_bootstrap(second, first).beats
    assert not paired_bootstrap(second, second).beats  # equal is not better


def test_a_run_counts_as_often_as_it_has_systems():
    first = torch.tensor([1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    run = torch.tensor([0, 0, 0, 1, 2, 3, 4, 5])
    found = paired_bootstrap(first, torch.zeros(8), run)
    assert found.value == pytest.approx(float(first.mean()))
    assert found.runs == 6
    assert 1.0 <= found.low < found.value < found.high <= 4.0


def test_ratio_and_level():
    first, second, _ = scores(100, 0, gain=0.0)
    found = paired_bootstrap(1.02 * second, second, statistic="ratio")
    assert (found.value, found.low, found.high) == pytest.approx((1.02, 1.02, 1.02))
    assert not found.beats
    assert paired_bootstrap(0.98 * second, second, statistic="ratio").beats
    wide, narrow = (paired_bootstrap(first, second, level=p) for p in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_seeded_and_the_same_in_chunks(monkeypatch):
    first, second, _ = scores(50, 0)
    seeded = lambda seed: paired_bootstrap(first, second, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert seeded(3) == seeded(3) != seeded(4)
    want = paired_bootstrap(first, second)
    monkeypatch.setattr("trajlab.metrics.paired.CHUNK", 700)
    assert paired_bootstrap(first, second).low == pytest.approx(want.low)


def test_one_against_all():
    first, second, run = scores(60, 0, gain=-0.2)
    found = beats_all({"mine": first, "other": second, "worse": second + 1, "same": first}, "mine", run)
    assert {name: p.beats for name, p in found.items()} == {"other": True, "worse": True, "same": False}
    with pytest.raises(ValueError, match="no scores of 'yours'"):
        beats_all({"mine": first}, "yours")


def test_systems_without_a_score():
    first, second, run = scores(40, 0)
    for x in (first, second):
        x[5] = math.nan
    keep = torch.arange(40) != 5
    assert paired_bootstrap(first, second, run) == paired_bootstrap(first[keep], second[keep], run[keep])
    first[7] = math.nan
    with pytest.raises(ValueError, match="first: 7"):
        paired_bootstrap(first, second)


def test_bad_input():
    first, second, run = scores(40, 0)
    with pytest.raises(ValueError, match="40 and 39 systems"):
        paired_bootstrap(first, second[1:])
    with pytest.raises(ValueError, match="5 independent runs cannot carry an interval of 95%; at least 6"):
        paired_bootstrap(first, second, run // 8)
    with pytest.raises(ValueError, match=r"level=1\.5"):
        paired_bootstrap(first, second, level=1.5)
