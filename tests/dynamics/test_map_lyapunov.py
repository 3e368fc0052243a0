"""Exponents of maps that are known in closed form or to many digits."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.map_lyapunov import map_exponents
from trajlab.dynamics.maps import Map

HENON = Map(lambda x, p: (1 - p[0] * x[0] * x[0] + x[1], p[1] * x[0]), 2, np.array([1.4, 0.3]), name="Henon")
CAT = Map(lambda x, p: ((2 * x[0] + x[1]) % 1.0, (x[0] + x[1]) % 1.0), 2, name="cat", derivative=lambda x, v, p: (2 * v[0] + v[1], v[0] + v[1]))


def test_logistic_map_at_4_has_log_2():
    field = Map(lambda x, p: p[0] * x[0] * (1 - x[0]), 1, np.array([4.0]), name="logistic")
    got = map_exponents(field, np.random.default_rng(0).uniform(0.1, 0.9, (4, 1)), 50_000)
    assert abs(got.exponents[0] - np.log(2)) < 4 * got.error[0]
    assert got.error[0] < 5e-4


def test_henon_has_the_values_of_the_literature_and_a_constant_determinant():
    """0.4192 and -1.6232 (Sprott, Chaos and Time-Series Analysis, 2003)."""
    got = map_exponents(HENON, np.random.default_rng(0).uniform(-0.1, 0.1, (4, 2)), 100_000)
    assert (np.abs(got.exponents - [0.41922, -1.62319]) < 4 * got.error).all()
    assert got.error.max() < 2e-3
    assert got.log_det == pytest.approx(np.log(0.3), abs=1e-10)
    assert got.exponents.sum() == pytest.approx(got.log_det, abs=1e-10)
    assert got.worst < 1e-10


def test_the_cat_map_has_the_logarithm_of_the_golden_ratio_squared():
    got = map_exponents(CAT, [0.1, 0.3], 5_000)
    wanted = 2 * np.log(0.5 * (1 + np.sqrt(5)))
    assert np.abs(got.exponents - [wanted, -wanted]).max() < 1e-10
    assert abs(got.log_det) < 1e-12


def test_rows_and_threads_change_nothing():
    starts = np.random.default_rng(0).uniform(-0.1, 0.1, (4, 2))
    one, many = map_exponents(HENON, starts, 5_000, workers=1), map_exponents(HENON, starts, 5_000, workers=4)
    assert np.array_equal(one.exponents, many.exponents)
    each = np.stack([map_exponents(HENON, s, 5_000).exponents for s in starts])
    assert np.allclose(each.mean(0), one.exponents, rtol=1e-13)


def test_bad_input():
    with pytest.raises(ValueError, match="Henon: 1 of 2 orbits left the range of 1e12 or have no derivative"):
        map_exponents(HENON, [[0.1, 0.1], [5.0, 5.0]], 100)
    with pytest.raises(ValueError, match="5 iterations after 1000; at least 10 and 0 were wanted"):
        map_exponents(HENON, [0.1, 0.1], 5)
    flat = Map(lambda x, p: (0.5 + 0.0 * x[0],), 1, name="flat")
    with pytest.raises(ValueError, match="flat: 1 of 1 orbits"):
        map_exponents(flat, [0.1], 100)
