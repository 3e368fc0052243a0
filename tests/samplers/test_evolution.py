"""The evolutionary engine and its predictor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trajlab.samplers.evolution import EvolutionConfig, evolve
from trajlab.samplers.ranking import RankPredictor


class Words:
    """Eight digits from 0 to 9; the first may not be 9."""

    def random(self, rng):
        return tuple(int(d) for d in rng.integers(0, 10, 8))

    def mutated(self, word, rng):
        return tuple(int(np.clip(d + rng.integers(-1, 2), 0, 9)) for d in word)

    def crossed(self, one, other, rng):
        return tuple(a if rng.random() < 0.5 else b for a, b in zip(one, other))

    def legal(self, word):
        return word[0] != 9

    def features(self, word):
        return [float(d) for d in word]


GOAL = (3, 1, 4, 1, 5, 9, 2, 6)
FAR = (0, 9, 9, 9, 0, 0, 9, 0)


def miss(word):
    return float(sum((a - b) ** 2 for a, b in zip(word, GOAL)))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_finds_the_goal():
    found = evolve(Words(), miss, [FAR], seeded(), EvolutionConfig(20, 20))
    assert found.score <= 2
    assert found.score == miss(found.best) == found.history[-1]
    assert len(found.seen) == len(found.history) == 400
    assert all(a >= b for a, b in zip(found.history, found.history[1:]))
    assert all(Words().legal(w) for w in found.seen)


def test_beats_random_search_and_the_predictor_helps():

    def score(generations, pool, **config):
        config = EvolutionConfig(20, generations, pool=pool, **{"parents": 8, **config})
        return np.mean([evolve(Words(), miss, [FAR], seeded(k), config).score for k in range(4)])

    plain = score(16, 1)
    assert plain < 0.4 * score(16, 1, mutation=0, crossover=0)
    assert score(8, 10) < plain


def test_every_candidate_is_evaluated_once():
    calls = []

    def fitness(word):
        calls.append(word)
        return miss(word)

    evolve(Words(), fitness, [FAR, GOAL, FAR], seeded(), EvolutionConfig(10, 10, pool=2))
    assert len(calls) == len(set(calls)) == 100


def test_same_generator_same_search():
    one, other = (evolve(Words(), miss, [FAR], seeded(5), EvolutionConfig(10, 5)) for _ in range(2))
    assert one.seen == other.seen
    assert list(one.seen) == list(other.seen)
    assert list(evolve(Words(), miss, [FAR], seeded(6), EvolutionConfig(10, 5)).seen) != list(one.seen)


def test_never_worse_than_a_seed():
    assert evolve(Words(), miss, [FAR, GOAL], seeded(), EvolutionConfig(2, 1)).best == GOAL
    # More seeds than a generation holds are all evaluated.
    many = [(0, 0, 0, 0, 0, 0, 0, k) for k in range(9)] + [GOAL]
    assert evolve(Words(), miss, many, seeded(), EvolutionConfig(2, 1)).score == 0


def test_an_interrupt_loses_nothing():
    count = 0

    def fitness(word):
        nonlocal count
        count += 1
        if count == 31:
            raise KeyboardInterrupt
        return miss(word)

    found = evolve(Words(), fitness, [FAR], seeded(), EvolutionConfig(10, 10))
    assert not found.complete
    assert len(found.seen) == 30
    on = evolve(Words(), fitness, [FAR], seeded(1), EvolutionConfig(10, 2), known=found.seen)
    assert on.complete
    assert on.score <= found.score
    assert list(on.seen)[:30] == list(found.seen)
    assert count == 31 + 20
    count = 30
    with pytest.raises(KeyboardInterrupt):
        evolve(Words(), fitness, [FAR], seeded())


def test_what_is_no_number_is_bad():
    found = evolve(Words(), lambda w: math.nan if w[1] != 1 else 1.0, [FAR, GOAL], seeded(), EvolutionConfig(5, 2))
    assert found.best[1] == 1
    assert math.inf in found.seen.values()


def test_a_small_space_ends_early():
    class Tiny(Words):
        def random(self, rng):
            return (int(rng.integers(3)),)

        def mutated(self, word, rng):
            return self.random(rng)

    found = evolve(Tiny(), lambda w: float(w[0]), [(2,)], seeded(), EvolutionConfig(10, 10))
    assert sorted(found.seen) == [(0,), (1,), (2,)]
    assert found.best == (0,)


def test_progress_is_told(capsys):
    watched = []
    evolve(Words(), miss, [FAR], seeded(), EvolutionConfig(10, 2), watch=lambda e: watched.append(e.score), quiet=False)
    assert "search: 20 of 20, best" in capsys.readouterr().err
    assert len(watched) == 20


def test_the_predictor_learns_an_order():
    rng = np.random.default_rng(0)
    f = rng.normal(size=(120, 6))
    truth = np.exp(f[:, 0] - 0.5 * f[:, 1] + 0.8 * f[:, 2] ** 2)  # only its order can be learned by a quadratic form
    fit = RankPredictor.fit(list(zip(f[:60].tolist(), truth[:60])))
    predicted = fit.predict(f[60:].tolist())
    pairs = [(i, j) for i in range(60) for j in range(i)]
    agree = np.mean([(predicted[i] < predicted[j]) == (truth[60 + i] < truth[60 + j]) for i, j in pairs])
    assert agree > 0.9
    assert fit.best(f[60:].tolist(), 3) == np.argsort(predicted)[:3].tolist()
    # Infinite scores and equal ones are no trouble.
    tied = RankPredictor.fit([([0.0], math.inf), ([1.0], math.inf), ([2.0], 1.0)])
    assert tied.best([[0.0], [2.0]], 1) == [1]
    assert RankPredictor.fit([([0.0], 1.0), ([1.0], 1.0)]).predict([[0.0], [1.0]]).tolist() == [0.0, 0.0]


def test_bad_input():
    with pytest.raises(ValueError, match="population = 0"):
        EvolutionConfig(0)
    with pytest.raises(ValueError, match="sum to at most 1"):
        EvolutionConfig(mutation=0.7, crossover=0.6)
    with pytest.raises(ValueError, match="not legal"):
        evolve(Words(), miss, [(9,) * 8], seeded())
    with pytest.raises(ValueError, match="at least two scores"):
        RankPredictor.fit([([1.0], 1.0)])
    with pytest.raises(ValueError, match="nothing has been evaluated"):
        _ = type(evolve(Words(), miss, [FAR], seeded(), EvolutionConfig(1, 1)))().best
