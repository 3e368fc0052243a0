"""Maps: orbits against plain loops, what diverges, inverses, tangents."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics import compiled
from trajlab.dynamics.maps import Map, iterate


def henon(x, p):
    return 1 - p[0] * x[0] ** 2 + x[1], p[1] * x[0]


def henon_back(x, p):
    return x[1] / p[1], x[0] - 1 + p[0] * (x[1] / p[1]) ** 2


def logistic(x, p):
    return p[0] * x[0] * (1 - x[0])


def tent(x, p):
    return (p[0] * (1 - 2 * np.abs(x[0] - 0.5)),)


HENON = Map(henon, 2, np.array([1.4, 0.3]), ("a", "b"), "Henon", henon_back)


def test_orbits_are_those_of_a_plain_loop():
    starts = np.random.default_rng(0).uniform(-0.1, 0.1, (5, 2))
    orbits = iterate(HENON, starts, 20)
    x = starts.copy()
    for k in range(1, 21):
        x = np.stack(henon(x.T, HENON.p), -1)
        assert np.allclose(orbits.x[:, k], x, rtol=0, atol=1e-9)
    assert orbits.x.shape == (5, 21, 2)
    assert orbits.times.tolist() == list(range(21))
    assert orbits.complete


def test_a_bare_number_will_do_in_one_dimension():
    got = iterate(Map(logistic, 1, np.array([4.0])), [0.3], 3).x[0, :, 0]
    assert got == pytest.approx([0.3, 0.84, 0.5376, 0.99434496])


def test_rows_do_not_depend_on_their_batch_mates_nor_on_threads():
    starts = np.random.default_rng(1).uniform(-0.1, 0.1, (12, 2))
    all_of_them = iterate(HENON, starts, 2000, workers=4).x
    assert np.array_equal(all_of_them[7], iterate(HENON, starts[7], 2000).x[0])


def test_what_diverges_is_marked_and_the_others_go_on():
    starts = np.array([[0.1, 0.1], [5.0, 5.0]])
    kept = iterate(HENON, starts, 50, failed="keep")
    assert kept.status.tolist() == [0, 4]
    assert np.isfinite(kept.x[0]).all()
    end = int(kept.reached[1])
    assert np.isfinite(kept.x[1, : end + 1]).all()
    assert np.isnan(kept.x[1, end + 1 :]).all()
    with pytest.raises(ValueError, match=r"Henon: 1 of 2 trajectories ended.*row 1"):
        iterate(HENON, starts, 50)


def test_the_inverse_leads_back():
    there = iterate(HENON, [0.1, 0.1], 8).x[0]
    back = iterate(HENON.backward(), there[-1], 8).x[0]
    assert np.allclose(back[::-1], there, atol=1e-6)
    with pytest.raises(ValueError, match="has no inverse"):
        Map(logistic, 1, np.array([4.0])).backward()


def test_tangents_are_exact_and_fall_back_where_an_imaginary_step_is_wrong():
    v, out = np.eye(2), np.empty((2, 2))
    HENON.tangent(0.0, np.array([0.3, -0.2]), v, HENON.p, out)
    assert HENON.exact
    assert np.allclose(out, [[-2 * 1.4 * 0.3, 0.3], [1.0, 0.0]], rtol=0, atol=1e-15)
    kinked = Map(tent, 1, np.array([0.9]))
    slope = np.empty((1, 1))
    kinked.tangent(0.0, np.array([0.8]), np.eye(1), kinked.p, slope)
    assert not kinked.exact
    assert slope[0, 0] == pytest.approx(-1.8, abs=1e-8)
    given = Map(tent, 1, np.array([0.9]), derivative=lambda x, v, p: (-2 * p[0] * np.sign(x[0] - 0.5) * v[0],))
    given.tangent(0.0, np.array([0.8]), np.eye(1), given.p, slope)
    assert given.exact
    assert slope[0, 0] == -1.8


def test_without_a_compiler_the_orbits_are_the_same(monkeypatch):
    starts = np.array([[0.1, 0.1], [5.0, 5.0]])
    here = iterate(HENON, starts, 20, failed="keep")
    monkeypatch.setenv(compiled.OFF, "1")
    bare = Map(henon, 2, HENON.p)
    with pytest.warns(UserWarning, match="vectorised"):
        there = iterate(bare, starts, 20, failed="keep")
    assert np.allclose(here.x, there.x, equal_nan=True, rtol=1e-9)
    assert np.array_equal(here.status, there.status)


@pytest.mark.parametrize(("start", "steps", "message"), [
    ([0.1], 3, r"starts of shape \(1, 1\); \[batch 2\] was wanted"),
    ([[0.1, np.nan]], 3, "1 of 1 starts are not finite"),
    ([0.1, 0.1], -3, "at least 0 was wanted"),
])
def test_bad_input(start, steps, message):
    with pytest.raises(ValueError, match=message):
        iterate(HENON, start, steps)


def test_a_map_says_what_is_wrong_with_it():
    with pytest.raises(ValueError, match="must be a function"):
        Map(3, 1)
    with pytest.raises(ValueError, match="dimension 0"):
        Map(henon, 0)
    with pytest.raises(ValueError, match="'raise' or 'keep'"):
        iterate(HENON, [0.1, 0.1], 3, failed="ignore")
