"""Bars, the cache, and a small suite from reference data to verdict."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest

from trajlab.evaluate.bars import Bar, as_text, bar_table, missed
from trajlab.evaluate.cache import Cache, key_of
from trajlab.evaluate.results import Table
from trajlab.evaluate.suite import Plan, Suite
from trajlab.evaluate.verdict import assess
from trajlab.metrics.uncertainty import Estimate

PLANS = tomllib.loads((Path(__file__).parents[2] / "benchmarks" / "md.toml").read_text())
BARS = (Bar("error", at_most=2.0, unit="%"), Bar("overlap", at_least=0.93), Bar("drift", at_most=15.0))


def test_bars_are_reached_or_named():
    good = {"error": Estimate(2.0, 0.1), "overlap": Estimate(0.95, 0.01), "drift": Estimate(0.0, 0.0)}
    assert missed(BARS, good) == []
    bad = {"error": Estimate(2.1, 0.1), "overlap": Estimate(math.nan, 0.0)}
    sentences = missed(BARS, bad)
    assert [s.split(":")[0] for s in sentences] == ["error", "overlap", "drift"]
    assert "2.1 ± 0.1 % where <= 2 % was wanted" in sentences[0]
    assert "not measured" in sentences[2]
    table = bar_table(BARS, {"mine": bad, "other": good}, "mine", "title")
    assert [r[3] for r in table.rows] == ["NO", "NO", "not measured"]
    assert table.rows[0][4] == "2 ± 0.1"
    with pytest.raises(ValueError, match="exactly one"):
        Bar("x")


def test_a_table_as_text_is_aligned():
    text = as_text(Table("title", ["a", "long name"], [["x", 1.23456], ["yy", None]], "note"))
    lines = text.splitlines()
    assert lines[0] == "title"
    assert lines[4].index("1.235") == lines[5].index("-") == lines[2].index("long")
    assert lines[-1] == "note"


def test_the_shipped_plans_hold_the_bars_of_the_acceptance_table():
    uracil, copper = (Plan.of(PLANS[name]) for name in ("uracil", "copper"))
    limits = {bar.figure: bar.limit for bar in uracil.bars}
    assert limits["one-step d"] == "<= 2 %"
    assert limits["v' below the linear ridge"] == ">= 9 x"
    assert limits["largest eigenvalue of the Jacobian"] == "<= 1.008"
    assert {bar.figure: bar.limit for bar in copper.bars}["d below the linear ridge"] == ">= 10 x"
    assert uracil.reference == {"replicas": 20, "length_ps": 50.0}
    assert Plan.of(PLANS["uracil"], quick=True).reference["length_ps"] < 10
    with pytest.raises(ValueError, match="did you mean 'recipe'"):
        Plan.of({"title": "", "recpie": "uracil"})


def test_the_cache_makes_things_once(tmp_path):
    made = []
    cache = Cache(tmp_path)

    def make():
        made.append(1)
        return {"a": 1}

    assert cache.numbers("x", "k", make) == cache.numbers("x", "k", make) == {"a": 1}
    assert len(made) == 1
    assert cache.numbers("x", "other", make) == {"a": 1}
    assert len(made) == 2
    assert key_of(a=1, b=2) == key_of(b=2, a=1) != key_of(a=1, b=3)


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Copper on EMT, far too short to learn anything."""
    plan = Plan("copper", "copper", runs=(2, 1, 1), simulation={"pairs": 8, "equilibrate": 60.0, "decorrelate": 30.0},
                cold={"temperature": 30.0, "pairs": 4, "equilibrate": 30.0, "decorrelate": 30.0},
                reference={"replicas": 2, "length_ps": 0.9}, nve_ps=0.09, segments={"frames": 4, "replicas": 2}, cutoff=3.5,
                config={"channels": 4, "blocks": 1},
                train={"batch": 2}, verlet=(3,), window_fs=240.0,
                bars=(Bar("one-step d", at_most=1e-6, unit="%"), Bar("largest eigenvalue of the Jacobian", at_most=100.0)))
    said = []
    return Suite("copper", plan, Cache(tmp_path_factory.mktemp("suite")), minutes=0.01, models=("TrajCast, our default",), say=said.append)


@pytest.fixture(scope="module")
def verdict(suite):
    return assess(suite)


def test_a_suite_from_reference_data_to_verdict(verdict):
    assert [m.split(":")[0] for m in verdict.missed] == ["one-step d"]
    found = verdict.found["TrajCast, our default"]
    assert found["one-step d"].value > 0
    assert found["NVE: systems that ended early"].value >= 0
    assert verdict.found["reference"]["largest eigenvalue of the Jacobian"].value == pytest.approx(1.0, abs=0.01)
    assert verdict.found["linear ridge"]["one-step d"].value > 0
    assert verdict.evaluation.tables[0].title == "Acceptance: copper"
    assert "1 of 2 bars" in verdict.evaluation.summary
    assert verdict.evaluation.provenance["minutes"] == 0.01


def test_a_second_run_takes_everything_from_the_cache(suite, verdict, monkeypatch):
    import dataclasses

    def refuse(*_, **__):
        raise AssertionError("made again")

    for name in ("simulate", "simulate_long", "rollout"):
        monkeypatch.setattr(f"trajlab.evaluate.suite.{name}", refuse)
    monkeypatch.setattr("trajlab.models.trajcast.TrajCast.fit", refuse)
    again = assess(dataclasses.replace(suite))
    assert again.found["TrajCast, our default"]["one-step d"] == verdict.found["TrajCast, our default"]["one-step d"]


def test_replicas_are_split_into_parts_that_share_none(suite):
    train, validation, test = suite.pairs
    runs = [sorted(set(p.context["run"].tolist())) for p in (train, validation, test)]
    assert runs[1:] == [[2], [3]]
    cold = sorted(set(train.context["run"][train.context["temperature"] < 100].tolist()))
    assert cold == [4, 5, 6, 7]  # runs of their own, for training alone
    assert runs[0] == [0, 1, *cold]


def test_costs_are_told_before_anything_runs(suite):
    from trajlab.evaluate.costs import expected

    assert len(expected(suite)) == 3
    assert all(minutes > 0 for minutes in expected(suite).values())
