"""Tables in the terminal."""

from __future__ import annotations

import pytest

from trajlab.evaluate.results import Table
from trajlab.report.text import summary, text


def test_columns_line_up_and_numbers_are_those_of_the_page(evaluation):
    shown = text(evaluation.tables[0]).splitlines()
    assert shown[0] == "One-step error"
    assert shown[2].strip() == "displacement /"  # a long header takes two lines
    assert shown[3].index("%") + 1 == shown[5].index("1.834") + len("1.834")
    assert "103.5" in shown[6]
    assert shown[-1] == evaluation.tables[0].note


def test_summary_has_title_summary_and_tables(evaluation):
    for piece in (evaluation.title, "First paragraph.", "ballistic"):
        assert piece in summary(evaluation)


def test_ragged_table_is_refused():
    with pytest.raises(ValueError, match="2 columns"):
        text(Table("T", ["a", "b"], [["x"]]))


def test_table_without_rows_is_its_header():
    assert "alone" in text(Table("T", ["alone"], []))
