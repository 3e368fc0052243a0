"""Pictures of jump processes: what is drawn where, the statistics behind them, the page, and words for what cannot be drawn."""

from __future__ import annotations

import re

import numpy as np
import pytest

from trajlab.data.adapters.jumps import jumps_from_numpy
from trajlab.dynamics.jumps.generator import from_rates, stationary, transition
from trajlab.dynamics.jumps.simulate import simulate
from trajlab.evaluate.jumps_checks import Looks, compare, dwell_survival, looks, prevalence, replicates, step_counts, timescales, transition_shares
from trajlab.evaluate.jumps_page import PageConfig, jump_evaluation
from trajlab.evaluate.results import Curve, Evaluation, Figure, Panels, RateGraph
from trajlab.models.jumps.markov_jump import MarkovJump
from trajlab.report.graph_layout import layout
from trajlab.report.jump_pictures import generator_graph, graph_svg, panel, panels_svg
from trajlab.report.page import report

RING = from_rates(np.array([[0, 2.0, 0.5], [0.5, 0, 2.0], [2.0, 0.5, 0]]))


@pytest.fixture(scope="module")
def fitted():
    return MarkovJump(method="map", noise="none").infer(simulate(RING, 60, (4.0, 20), seed=3))


def axes():
    from matplotlib.figure import Figure as Canvas

    return Canvas(figsize=(6, 5)).add_subplot()


def test_layout_of_a_chain_is_straight_and_of_a_ring_round():
    chain = np.diag(np.ones(4), 1) + np.diag(np.ones(4), -1)
    x = layout(chain)
    assert np.abs(x[:, 1]).max() < 1e-3
    assert np.allclose(np.diff(x[:, 0]), 1, atol=1e-3)
    ring = layout(np.roll(np.eye(6), 1, 1) + np.roll(np.eye(6), -1, 1))
    assert np.linalg.norm(ring, axis=1) == pytest.approx(np.full(6, np.linalg.norm(ring[0])), rel=1e-3)
    assert np.array_equal(layout(chain), x)
    assert layout(np.zeros((1, 1))).shape == (1, 2)
    assert np.isfinite(layout(np.zeros((3, 3)))).all()


def test_arrows_and_areas_of_the_graph():
    from matplotlib.patches import FancyArrowPatch

    ax = axes()
    q = np.array([[0, 4.0, 1.0], [1.0, 0, 0], [1.0, 0, 0]])
    generator_graph(ax, q, weight=[0.5, 0.25, 0.25], names=["a", "b", "c"], faint=np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=bool))
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == 4
    widths = sorted(a.get_linewidth() for a in arrows)
    assert widths[0] == 0.7
    assert widths[1] == pytest.approx(widths[2])
    assert widths[3] - 0.7 == pytest.approx(2 * (widths[1] - 0.7))
    assert sum(a.get_linestyle() not in ("-", "solid") for a in arrows) == 1
    sizes = ax.collections[0].get_sizes()
    assert sizes[0] == pytest.approx(2 * sizes[1])
    words = [t.get_text() for t in ax.texts]
    assert {"a", "b", "c", "4"} <= set(words)
    assert words.count("1") == 2


def test_links_without_a_way_back_are_marked():
    svg = graph_svg(RateGraph("ring", np.roll(np.diag([1.0, 2, 3]), 1, 1), np.ones(3) / 3, ["a", "b", "c"]))
    assert svg.count("var(--c2)") >= 3
    assert "var(--c2)" not in graph_svg(RateGraph("ring", RING, np.ones(3) / 3, ["a", "b", "c"]))
    assert svg == graph_svg(RateGraph("ring", np.roll(np.diag([1.0, 2, 3]), 1, 1), np.ones(3) / 3, ["a", "b", "c"]))
    assert not re.search(r"#0[0-9a-f]{5}", svg)


@pytest.mark.parametrize(("rates", "options", "told"), [
    (np.ones((2, 3)), {}, "shape"), (np.array([[0, -1.0], [1, 0]]), {}, "not negative"), (np.array([[0, np.nan], [1, 0]]), {}, "finite"),
    (np.ones((2, 2)), {"names": ["a"]}, "1 names"), (np.ones((2, 2)), {"weight": [1.0, -1.0]}, "weights of at least 0"),
])
def test_what_is_no_generator_is_told(rates, options, told):
    with pytest.raises(ValueError, match=told):
        generator_graph(axes(), rates, **options)


def test_panels_have_one_legend_and_no_negative_axis():
    pair = [Curve("data", np.arange(3.0), np.array([0.0, 0.1, 0.2]), style="points"),
            Curve("model", np.arange(3.0), np.array([0.0, 0.1, 0.2]), np.full(3, 0.3))]
    svg = panels_svg(Panels("four", [Figure(f"p{k}", "lag", "share", pair) for k in range(4)], 3))
    assert svg.count(">model<") == 1
    assert all(f">p{k}<" in svg for k in range(4))
    assert "−0.2" not in svg
    with pytest.raises(ValueError, match="hold 0 figures"):
        panels_svg(Panels("none", [], 3))
    ax = axes()
    panel(ax, Figure("one", "lag", "share", pair, logy=True))
    assert ax.get_title() == "one"
    assert ax.get_yscale() == "log"


def test_statistics_of_looks_by_hand():
    seen = looks(jumps_from_numpy([[0, 0, 1, 1, 0], [1, 0, 0]], [[0.0, 1, 2, 3, 4], [5.0, 6.0, 8.0]]))
    counts, lag = step_counts(seen, 1)
    assert counts.tolist() == [[2, 1], [2, 1]]
    assert lag == pytest.approx(7 / 6)
    assert transition_shares(seen, [1])[0] == pytest.approx(np.array([[2 / 3, 1 / 3], [2 / 3, 1 / 3]]))
    survival = dwell_survival(seen, np.array([0.0, 0.5, 1.5, 2.5]))
    assert survival[1].tolist() == pytest.approx([1, 1, 0.5, np.nan], nan_ok=True)  # stays of 2 (left) and 1 (left)
    assert survival[0][:3].tolist() == pytest.approx([1, 1, 1])  # 2 (left), 2 (followed no longer)
    many = Looks(np.tile([0, 1, 1], 20), np.tile([0.0, 1.0, 3.0], 20), np.repeat(np.arange(20), 3), np.zeros(20, dtype=bool), 2)
    assert prevalence(many, np.array([0.5, 1.0, 3.5]))[0].tolist() == pytest.approx([1, 0, np.nan], nan_ok=True)
    dead = Looks(many.label, many.time, many.path, np.ones(20, dtype=bool), 2)
    assert prevalence(dead, np.array([3.5]))[1].tolist() == [1]


def test_implied_timescales_of_a_long_path_are_those_of_the_generator():
    q = from_rates(np.array([[0, 0.5], [0.5, 0]]))
    seen = looks(simulate(q, 200, (50.0, 51), seed=0))
    assert timescales(seen, [1, 2], 1)[:, 0] == pytest.approx(1.0, rel=0.06)
    assert transition_shares(seen, [2])[0] == pytest.approx(transition(q, np.array(2.0)), abs=0.02)


def test_bands_hold_data_of_the_model_and_not_of_another(fitted):
    data, made = replicates(fitted, 20, seed=1)
    right = compare(lambda one: transition_shares(one, [1, 2, 4]), data, made)
    assert (np.abs(right.data - right.model) <= 1.6 * right.band).all()
    slow = looks(simulate(RING / 3, 60, (4.0, 20), seed=3))
    wrong = compare(lambda one: transition_shares(one, [1, 2, 4]), slow, made)
    assert (np.abs(wrong.data - wrong.model) > wrong.band).mean() > 0.7


def test_deaths_do_not_bend_the_comparison():
    q = from_rates(np.array([[0, 1.0, 0.1], [0.5, 0, 0.6], [0, 0, 0]]))
    paths = simulate(q, 300, (6.0, 13), initial=0, seed=2)
    table = paths.label.reshape(300, 13).numpy()
    rows = [r[: int(np.argmax(r == 2)) + 1] if (r == 2).any() else r for r in table]
    kinds = [np.where(r == 2, 4, 0) for r in rows]
    cut = jumps_from_numpy([list(r) for r in rows], [list(np.arange(len(r)) * 0.5) for r in rows], observed=[list(k) for k in kinds])
    fit = MarkovJump(method="mle", noise="none").infer(cut)
    data, made = replicates(fit, 20)
    time = np.array([1.0, 3.0, 5.0])
    found = compare(lambda one: prevalence(one, time), data, made)
    truth = transition(fit.generator, time)[:, 0].T
    assert found.model == pytest.approx(truth, abs=0.06)


def test_the_page(fitted, tmp_path):
    evaluation = jump_evaluation(fitted, "a ring", PageConfig(replicates=6, draws=60))
    titles = [t.title for t in evaluation.tables]
    assert titles[:3] == ["Rates", "States", "Relaxation times"]
    assert "Cycles" in titles
    assert "Checks" in titles
    assert [p.title for p in evaluation.panels] == ["Chapman-Kolmogorov test", "Implied timescales", "Dwell times", "Occupancy over time"]
    page = report(Evaluation.load(evaluation.save(tmp_path))).html
    for part in ("Generator", "Model and data", "entropy production", "0 → 1", "share that stays", "affinity"):
        assert part in page, part
    assert "#0f0e0d" not in page
    states = next(t for t in evaluation.tables if t.title == "States")
    assert [row[1] for row in states.rows] == pytest.approx(stationary(fitted.generator))
    for row in next(t for t in evaluation.tables if t.title == "Rates").rows:
        assert row[2] < row[1] < row[3]


def test_settings_of_the_page_are_checked():
    for options, told in (({"level": 1.0}, "level"), ({"intervals": "lapace"}, "did you mean 'laplace'"), ({"replicates": 1}, "at least 2")):
        with pytest.raises(ValueError, match=told):
            PageConfig(**options)
