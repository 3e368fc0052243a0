"""The portfolio: the equation where there is one, something else where there is none, and nothing from after the context."""

from __future__ import annotations

import numpy as np
import pytest
from test_identified import LORENZ_X

from trajlab.data.adapters.arrays import from_numpy
from trajlab.models.identified import Identified, IdentifiedConfig
from trajlab.models.persistence import Mean, Persistence, Seasonal, SeasonalConfig
from trajlab.models.portfolio import Portfolio, assorted

RNG = np.random.default_rng(0)


def test_the_equation_is_kept_where_it_is_right():
    made = Portfolio().continuation(LORENZ_X[:400], 200, 1, RNG)
    assert np.array_equal(made, Identified().continuation(LORENZ_X[:400], 200, 1, RNG))
    assert np.abs(made[0] - LORENZ_X[400:600]).max() < 0.01


def test_another_method_is_taken_where_there_is_no_equation():
    season = np.random.default_rng(1).normal(size=(25, 2))
    x = season[np.arange(325) % 25]
    made = Portfolio(others=[Mean(), Seasonal(SeasonalConfig(25))]).continuation(x[:300], 25, 1, RNG)
    assert np.allclose(made[0], x[300:])


def test_too_many_channels_for_an_equation_are_left_to_the_others():
    x = np.cumsum(np.random.default_rng(2).normal(size=(60, 12)), 0)
    made = Portfolio(others=[Persistence()]).continuation(x, 4, 1, RNG)
    assert np.allclose(made[0], x[-1], atol=1e-12)


def test_the_assortment_is_of_unlike_methods_and_told():
    assert {type(m).__name__ for m in assorted()} == {"Nvar", "Esn", "Parrot"}
    told = Portfolio(IdentifiedConfig(segment=6)).provenance()
    assert told["method"] == "portfolio"
    assert told["config"]["identified"]["segment"] == 6
    assert told["config"]["sure"] == -3.0


def test_refusals():
    with pytest.raises(ValueError, match="at least one candidate"):
        Portfolio(others=[])
    with pytest.raises(ValueError, match="at least 40 frames"):
        Portfolio().forecast(from_numpy(LORENZ_X[:20], 0.01), 5)
