"""Settings chosen on the tail: the right ones, from what was not learned from, and learned again from all."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.models.nvar import Nvar, NvarConfig
from trajlab.models.parrot import Parrot, ParrotConfig
from trajlab.models.persistence import Mean, Persistence, Seasonal, SeasonalConfig
from trajlab.models.series_forecaster import SeriesForecaster
from trajlab.models.series_local import Scale
from trajlab.models.tuning import Tuned, TunedEsn, TunedNvar, TunedParrot, WideNvar, log_error

RNG = np.random.default_rng(0)
WAVE = np.stack([np.sin(0.2 * np.arange(400)), np.cos(0.2 * np.arange(400))], 1)


class Spy(SeriesForecaster):
    """Says the last value, and keeps what it was shown."""

    name = "spy"

    def __init__(self):
        self.seen = []

    def continuation(self, context, steps, draws, rng):
        self.seen.append(context.copy())
        return np.repeat(context[-1:], steps, 0)[None]


def test_the_one_that_predicts_is_chosen():
    season = Seasonal(SeasonalConfig(25))
    x = RNG.normal(size=(25, 2))[np.arange(250) % 25]
    assert Tuned([Mean(), season, Persistence()]).chosen(x) is season
    assert Tuned([Mean(), Nvar(NvarConfig(degree=1)), Persistence()]).chosen(WAVE).name == "nvar"
    walk = RNG.normal(size=(300, 1)).cumsum(0)
    assert Tuned([Mean(), Persistence()], share=0.02).chosen(walk).name == "persistence"


def test_scores_are_those_of_runs_over_the_tail():
    model = Tuned([Persistence()], share=0.25, origins=2)
    scale = Scale.of(WAVE[:300])
    wanted = [log_error(np.repeat(WAVE[s - 1 : s], 400 - s, 0), WAVE[s:], scale) for s in (300, 350)]
    assert model.scores(WAVE) == pytest.approx([np.mean(wanted)])


def test_what_is_learned_from_ends_before_the_tail(monkeypatch):
    lengths = []
    learn = Nvar.learn
    monkeypatch.setattr(Nvar, "learn", lambda self, x, designs=None: (lengths.append(len(x)), learn(self, x, designs))[1])
    Tuned([Nvar(), Nvar(NvarConfig(ridge=1e-3))]).continuation(WAVE, 5, 1, RNG)
    assert lengths == [320, 320, 400]  # each on the first 80 %, the best again on all


def test_other_forecasters_are_shown_what_was_before_each_origin():
    spy = Spy()
    Tuned([spy, Mean()], origins=3).scores(WAVE)
    assert [len(c) for c in spy.seen] == [320, 340, 360]
    assert all((c == WAVE[: len(c)]).all() for c in spy.seen)


def test_the_tail_decides_for_a_ridge_that_suits_the_noise():
    """With noise, a small ridge fits the noise; the tail shows it."""
    noisy = WAVE + 0.05 * np.random.default_rng(1).normal(size=WAVE.shape)
    clean, rough = TunedNvar().chosen(WAVE).config.ridge, TunedNvar().chosen(noisy).config.ridge
    assert rough > 100 * clean


def test_log_error_by_hand():
    scale = Scale(np.zeros(2), np.array([1.0, 10.0]))
    truth = np.zeros((4, 2))
    made = np.array([[0.1, 1.0], [1e-12, 0.0], [np.nan, 0.0], [500.0, 0.0]])
    assert log_error(made, truth, scale) == pytest.approx(np.log([0.1, 1e-9, 2.0, 2.0]).mean())


def test_candidates_that_need_more_than_there_is_are_left_out():
    model = Tuned([Nvar(NvarConfig(lags=50)), Persistence()])
    assert np.isinf(model.scores(WAVE[:40])[0])
    assert model.chosen(WAVE[:40]).name == "persistence"


@pytest.mark.parametrize(("model", "count"), [(TunedNvar(), 11), (WideNvar(), 99), (TunedEsn(), 32), (TunedParrot(), 9)])
def test_the_named_ones_list_their_candidates(model, count):
    assert len(model.provenance()["config"]["candidates"]) == len(model.candidates) == count
    assert model.scale_free


def test_shared_designs_give_what_each_would_alone():
    both = Tuned([Nvar(), Nvar(NvarConfig(ridge=1e-3)), Parrot(ParrotConfig(20))]).scores(WAVE)
    assert both == pytest.approx([Tuned([m]).scores(WAVE)[0] for m in (Nvar(), Nvar(NvarConfig(ridge=1e-3)), Parrot(ParrotConfig(20)))])


@pytest.mark.parametrize("settings", [{"candidates": []}, {"candidates": [Mean()], "share": 1.0}, {"candidates": [Mean()], "origins": 0}])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match="at least one candidate and origin"):
        Tuned(**settings)
