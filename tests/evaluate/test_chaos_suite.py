"""The suite as data, and what entries, protocols and scores are refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from chaos_runs import suite

from trajlab.evaluate.chaos_entries import check_entries, entered, identity
from trajlab.evaluate.chaos_keys import source_of
from trajlab.evaluate.chaos_suite import ChaosSuite, Protocol, shipped
from trajlab.models import FORECASTERS

RECORD = {"protocols": {"A": {"title": "t", "clock": "period", "per_period": 20, "context": 60, "horizon": 20, "free": 60}}, "systems": ["Lorenz"],
          "forecasters": ["mean"], "quick": {"starts": 1}}


def test_the_shipped_suite_has_the_published_protocols():
    a, b = shipped().protocols.values()
    assert (a.clock, a.per_period, a.context, a.horizon, a.free) == ("period", 100, 1000, 200, 1000)
    assert (b.clock, b.per_period, b.context, b.horizon) == ("lyapunov", 30, 512, 300)
    assert shipped().noise == (0.0, 0.01)
    assert set(shipped().bar) == {"nvar", "esn", "parrot"}


@pytest.mark.parametrize("plan", ["", "quick", "full"])
def test_every_plan_names_what_there_is(plan):
    from trajlab.sources.chaos_names import KINDS

    made = shipped(plan)
    check_entries(made.forecasters)
    assert set(made.systems) <= set(KINDS["ode"])
    assert made.judged in FORECASTERS
    assert not made.systems if plan == "full" else len(made.systems) >= 15


def test_plans_and_options_change_the_suite():
    assert ChaosSuite.of(RECORD).starts == 4
    assert ChaosSuite.of(RECORD, "quick").starts == 1
    assert ChaosSuite.of(RECORD, "quick", starts=3, systems=("Chen",), noise=None).systems == ("Chen",)


@pytest.mark.parametrize(("changes", "words"), [
    ({"starts": 0}, "starts=0"), ({"noise": (-0.1,)}, "noise"), ({"noise": ()}, "noise"), ({"judged": "mean"}, "cannot be judged against it"),
    ({"claim": "smap"}, "did you mean 'smape'"), ({"claim": "mase"}, "no score that every forecast has 'mase'"), ({"level": 1.0}, "level"),
])
def test_suites_that_make_no_sense_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        suite(**changes)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ChaosSuite.of(RECORD, "quik"), "did you mean 'quick'"),
    (lambda: ChaosSuite.of(RECORD, protocols=("C",)), "no protocol 'C'"),
    (lambda: ChaosSuite.of({**RECORD, "sistems": []}), "did you mean 'systems'"),
    (lambda: Protocol("A", "", "periods", 20, 60, 20, 60), "did you mean 'period'"),
    (lambda: Protocol("A", "", "period", 20, 60, 70, 60), "horizon=70"),
    (lambda: check_entries(("nvr",)), "did you mean 'nvar'"),
    (lambda: check_entries(("no_such_module:X",)), "no_such_module"),
    (lambda: check_entries(("json:lods",)), "did you mean 'loads'"),
])
def test_unknown_names_are_told_with_the_nearest(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_what_is_no_forecaster_is_refused():
    with pytest.raises(TypeError, match="SeriesForecaster, class or instance"):
        check_entries(("json:loads",))


def test_ones_own_forecaster_is_found_in_the_current_folder(tmp_path, monkeypatch):
    code = ("from trajlab.models.series_forecaster import SeriesForecaster\n\nclass Last(SeriesForecaster):\n    name = 'last'\n\n"
            "    def continuation(self, context, steps, draws, rng):\n        return context[-1:].repeat(steps, 0)[None]\n\nmine = Last()\n")
    (tmp_path / "own_entry.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert entered("own_entry:Last").name == entered("own_entry:mine").name == "last"
    assert np.isfinite(len(identity("own_entry:Last")))
    before = source_of("own_entry")
    (tmp_path / "own_entry.py").write_text(code + "# changed\n")
    source_of.cache_clear()
    assert source_of("own_entry") != before


def test_code_counts_through_imports():
    from trajlab.evaluate.chaos_keys import _closure

    assert "trajlab.models.series_forecaster" in _closure("trajlab.models.parrot")
    assert "trajlab.catalog" not in _closure("trajlab.models.parrot")
    assert source_of("trajlab.models.parrot") != source_of("trajlab.models.persistence")
