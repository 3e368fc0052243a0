"""Figures: all names and units are there as text, and the colours are the page's."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from trajlab.evaluate.results import Curve, Figure
from trajlab.report.figures import figure, svg


def test_text_is_text_and_colours_are_variables(evaluation):
    text = svg(evaluation.figures[0])
    words = " ".join(ET.fromstring(text).itertext())
    for word in ("wavenumber / cm⁻¹", "density", "reference", "TrajCast", "Nyquist"):
        assert word in words
    assert "var(--c0)" in text
    assert "var(--c1)" in text
    assert "var(--ink)" in text
    assert not re.search(r"#0[0-9a-f]0a0b|#0[123]0[123]0[123]", text)
    assert not re.search(r"<svg[^>]* width=", text)


@pytest.mark.parametrize("index", [1, 2])
def test_bars_and_points_are_drawn(evaluation, index):
    text = svg(evaluation.figures[index], index)
    assert "var(--c0)" in text
    assert evaluation.figures[index].ylabel in text


def test_words_on_the_axis_are_ticks(evaluation):
    words = [t.strip() for t in ET.fromstring(svg(evaluation.figures[1])).itertext()]
    assert "a" in words
    assert "b" in words


def test_figures_on_one_page_have_their_own_names(evaluation):
    ids = [set(re.findall(r'id="(p[0-9a-f]{8,})"', svg(evaluation.figures[0], i))) for i in (0, 1)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_same_figure_twice_is_the_same_text(evaluation):
    assert svg(evaluation.figures[0]) == svg(evaluation.figures[0])


def test_many_points_stay_small():
    x = np.linspace(0, 1, 200_000)
    assert len(figure(Figure("many", "x", "y", [Curve("a", x, np.sin(40 * x), style="points"), Curve("b", x, np.sin(40 * x))]))) < 800_000


def test_the_truth_is_drawn_in_ink_wherever_it_stands():
    x = np.linspace(0, 1, 5)
    text = svg(Figure("f", "x", "y", [Curve("model", x, x), Curve("reference", x, 1 - x)]))
    assert text.index("var(--c1)") < text.index("var(--c0)")


def test_large_numbers_have_their_powers_at_the_ticks():
    x = np.linspace(0, 1, 5)
    words = " ".join(ET.fromstring(svg(Figure("f", "x", "y", [Curve("a", x, 3e7 * x)]))).itertext())
    assert "× 10⁷" in words


@pytest.mark.parametrize("style", ["bar", "points"])
def test_several_runs_over_words_stand_side_by_side(style):
    names = np.array(["H", "C"])
    curves = [Curve(who, names, np.array([1.0, 2.0]), np.array([0.1, 0.1]), style) for who in ("reference", "a", "b")]
    text = svg(Figure("f", "element", "y", curves))
    assert all(f"var(--c{i})" in text for i in range(3))
    places = set(re.findall(r'<use xlink:href="#\w+" x="([\d.]+)"', text))
    assert style == "bar" or len(places) > 6
