"""The verdict is said plainly, both ways; ranks against chaos on known data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trajlab.evaluate.chaos_claim import claims, judged_in, matrix_table, sentences
from trajlab.evaluate.chaos_degree import degree_figures, degree_table, ranked
from trajlab.evaluate.chaos_tables import by_system, chosen, failure_table, typical

SYSTEMS = [f"s{k}" for k in range(12)]
KNOWN = {name: {"period": 2.0, "exponent": 0.1 * k, "error": 0.0, "dimension": 2 + 0.01 * k, "chaotic": True} for k, name in enumerate(SYSTEMS)}


def frame(**errors) -> pd.DataFrame:
    """sMAPE ``errors[name](k, start)`` of every system k; valid times fall with it."""
    rows = [{"system": name, "protocol": "A", "noise": 0.0, "forecaster": forecaster, "start": start, "smape": f(k, start),
             "vpt30": 10 - f(k, start) / 20, "failed": "", "seconds": 0.1}
            for forecaster, f in errors.items() for k, name in enumerate(SYSTEMS) for start in range(2)]
    return pd.DataFrame(rows)


def test_better_everywhere_is_ahead_by_both_scores():
    made = claims(frame(mine=lambda k, s: 10 + k, bar=lambda k, s: 20 + 3 * k + s), "mine", ("bar", "absent"), ("smape", "vpt30"), 0.95)
    verdict, lines = sentences(made, "mine", False)
    assert verdict == "ahead"
    assert [c.ahead for c in made] == [True, True]
    assert "A, no noise, by sMAPE: mine is ahead of bar" in lines[0]
    low, high = made[0].found.low, made[0].found.high
    assert made[0].found.value == pytest.approx(-(10 + 2 * 5.5 + 0.5))
    assert low < made[0].found.value < high < 0
    assert made[1].shown[0] > 0  # a longer valid time is shown as positive


def test_no_better_is_said_plainly():
    noise = np.random.default_rng(0).normal(size=(12, 2))
    made = claims(frame(mine=lambda k, s: 50 + noise[k, s], bar=lambda k, s: 50 + noise[k, 1 - s], cheap=lambda k, s: 90.0), "mine", ("bar", "cheap"),
                  ("smape",), 0.95)
    verdict, lines = sentences(made, "mine", False)
    assert verdict == "behind"
    assert "mine is NOT ahead of bar" in lines[0]
    assert "it is of cheap" in lines[0]


def test_one_setting_is_enough_and_the_others_are_told():
    a = frame(mine=lambda k, s: 10.0 + k, bar=lambda k, s: 40.0 + k)
    b = frame(mine=lambda k, s: 40.0 + k, bar=lambda k, s: 10.0 + k).assign(noise=0.01)
    verdict, lines = sentences(claims(pd.concat([a, b]), "mine", ("bar",), ("smape",), 0.95), "mine", False)
    assert verdict == "ahead"
    assert "A, 1 % noise, by sMAPE: mine is NOT ahead" in lines[1]


def test_few_systems_are_not_judged():
    few = frame(mine=lambda k, s: 1.0, bar=lambda k, s: 2.0)
    few = few[few.system.isin(SYSTEMS[:3])]
    verdict, lines = sentences(claims(few, "mine", ("bar",), ("smape",), 0.95), "mine", False)
    assert (verdict, lines) == ("not judged", ["3 systems are too few for an interval of 95%"])


def test_who_is_judged():
    both = frame(good=lambda k, s: 10.0, poor=lambda k, s: 20.0, bar=lambda k, s: 5.0)
    assert judged_in(both, "poor", ("bar",), "smape") == ("poor", False)
    assert judged_in(both, "absent", ("bar",), "smape") == ("good", True)
    assert judged_in(both, "absent", ("bar",), "vpt30") == ("good", True)
    assert judged_in(both, "absent", ("bar", "good", "poor"), "smape") == ("", False)
    made = claims(both, "good", ("bar",), ("smape",), 0.95)
    assert "after the fact" in sentences(made, "good", True)[1][-1]


def test_matrix_stars_what_is_ahead():
    table = matrix_table(frame(mine=lambda k, s: 10.0 + k, bar=lambda k, s: 40.0 + k), ("bar",), "smape", 0.95)
    assert [row[0] for row in table.rows] == ["mine", "bar"]
    assert table.rows[0][1].endswith("*")
    assert table.rows[1][1] is None


def test_ranks_follow_the_degree_of_chaos():
    data = frame(fades=lambda k, s: 10.0 * k, steady=lambda k, s: 55.0, late=lambda k, s: 200.0)
    found = ranked(data, ("A", 0.0), KNOWN, "smape")
    assert list(found.degree) == pytest.approx([0.2 * k for k in range(12)])
    assert found.ranks[0].tolist() == [1, 2, 3]
    assert found.ranks[-1].tolist() == [2, 1, 3]
    assert found.correlation("fades", "errors")[0] == pytest.approx(1.0)
    assert found.correlation("fades")[0] > 0.8 > -0.8 > found.correlation("steady")[0]
    assert np.isnan(found.correlation("late")[0])
    (figure,) = degree_figures(data, KNOWN, "smape", judged="steady")
    assert figure.curves[0].name.startswith("steady (rho -")
    assert len(figure.curves[0].x) == 2
    assert len(degree_table(data, KNOWN, "smape").rows) == 3


def test_a_missing_score_is_the_worst_in_medians_and_ranks():
    data = frame(a=lambda k, s: 1.0, b=lambda k, s: 2.0)
    data["mase"] = np.where(data.forecaster == "a", np.nan, 5.0)
    assert by_system(chosen(data, ("A", 0.0)), "mase").loc["s0", "a"] == np.inf
    assert np.isnan(typical(data, "mase")["a"])
    assert ranked(data, ("A", 0.0), KNOWN, "mase").ranks[0].tolist() == [2, 1]


def test_series_without_a_score_for_anybody_are_left_out():
    data = frame(a=lambda k, s: 1.0, b=lambda k, s: 2.0)
    data["vpt_lyapunov"], data["cap_lyapunov"] = np.where(data.system == "s0", np.nan, 4.0), np.where(data.system == "s0", np.nan, 10.0)
    assert "s0" not in by_system(chosen(data, ("A", 0.0)), "vpt_lyapunov").index
    assert typical(data, "vpt_lyapunov") == {"a": 4.0, "b": 4.0}


def test_failures_are_counted_by_forecaster_and_setting():
    data = frame(a=lambda k, s: 1.0, b=lambda k, s: 2.0)
    data.loc[:4, "failed"] = "RuntimeError: no"
    table = failure_table(data, [("Torus", "B", "no exponent")])
    assert table.rows == [["a", "A, no noise", "5 of 24", "RuntimeError: no"], ["(Torus)", "protocol B", "left out for all", "no exponent"]]
