"""Numbers become text in one place."""

from __future__ import annotations

import math

import pytest

from trajlab.evaluate.results import Table
from trajlab.report.tables import number, provenance, table


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"), (1.8341, "1.834"), (-2.5, "−2.5"), (103.5, "103.5"), (99999.4, "99999"), (12345.6, "12346"),
    (3.2e-7, "3.2 × 10⁻⁷"), (-4.567e8, "−4.57 × 10⁸"), (1234567, "1\u202f234\u202f567"), (-7, "−7"), (math.nan, "n/a"), (-math.inf, "−∞"),
])
def test_numbers(value, text):
    assert number(value) == text


def test_table_holds_its_cells_and_escapes_them():
    html = table(Table("A <b>", ["name", "x / Å", "met"], [["<script>", 1.5, True], ["plain", None, False]], note="a < b"))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert ">1.5<" in html
    assert ">–<" in html
    assert 'class="yes">yes' in html
    assert "a &lt; b" in html


def test_ragged_table_is_refused():
    with pytest.raises(ValueError, match=r"'T' has 2 columns, but a row has 1 cells"):
        table(Table("T", ["a", "b"], [["x"]]))


def test_provenance_folds_nested_values():
    html = provenance({"config": {"channels": 32, "radial": (64, 64)}, "command": "a <b>", "seed": 0, "nothing": None, "flag": True})
    assert "<details open>" in html
    assert "<details>" in provenance({"run": {"config": {"channels": 32}}})
    assert "64, 64" in html
    assert "<code>a &lt;b&gt;</code>" in html


def test_numbers_written_as_text_stand_with_the_numbers():
    html = table(Table("T", ["model", "H"], [["a", "0.98 ± 0.02"]]))
    assert "<td>0.98 ± 0.02</td>" in html
    assert '<th scope="col">H</th>' in html


def test_columns_in_which_nothing_stands_are_left_out():
    html = table(Table("T", ["model", "empty", "full"], [["a", None, 1.0], ["b", None, None]]))
    assert "empty" not in html
    assert "full" in html
