"""Reference flows: gradients, laws and cards."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.catalog import load
from trajlab.dynamics.flow_fields import joint
from trajlab.sources import FLOWS
from trajlab.sources.flows import flow


@pytest.mark.parametrize("name", FLOWS)
def test_gradient_laplacian_and_divergence(name):
    """Each against central differences of the velocity; all but the damped oscillator are incompressible."""
    field, rng = flow(name), np.random.default_rng(0)
    compiled, scale = joint(field), np.array([high - low for low, high in field.box])
    t = 0.37 * (field.duration or 1.0)
    for x in rng.uniform([low for low, _ in field.box], [high for _, high in field.box], size=(5, field.dim)):
        u, g = np.empty(field.dim), np.empty((field.dim, field.dim))
        compiled(t, x, field.p, u, g)
        size = np.abs(u).max() + 1e-12
        assert np.allclose(u, field(t, x), rtol=1e-12)
        h = 1e-5 * scale.max()
        arms = h * np.eye(field.dim)
        assert np.allclose(g, np.stack([field(t, x + a) - field(t, x - a) for a in arms], -1) / (2 * h), atol=1e-6 * size)
        if name != "duffing":
            assert abs(np.trace(g)) < 1e-12 * np.abs(g).max()
        if field.laplacian is not None:
            h = 1e-3 * scale.max()
            arms = h * np.eye(field.dim)
            bent = sum(field(t, x + a) - 2 * field(t, x) + field(t, x - a) for a in arms) / h**2
            assert np.allclose(field.laplacian(t, x, field.p), bent, atol=1e-3 * np.abs(bent).max() + 1e-3)


def test_periods_are_periods():
    for name in FLOWS:
        field = flow(name)
        for i, period in enumerate(field.periods):
            if period:
                x = np.full(field.dim, 0.4)
                assert np.allclose(field(0.0, x), field(0.0, x + period * np.eye(field.dim)[i]), atol=1e-12)


def test_axes_span_the_box_evenly():
    x, y = flow("double_gyre").axes(401)
    assert (len(x), len(y), x[-1], y[-1]) == (401, 201, 2.0, 1.0)
    x, y = flow("bickley_jet").axes(100)
    assert x[-1] + x[1] == pytest.approx(np.pi * 6.371)
    assert y[-1] == 3.0


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_has_a_card(name):
    assert load(FLOWS[name]).__doc__
    from trajlab.cli.tables import groups

    assert groups()["sources"][name]


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="did you mean 'double_gyre'"):
        flow("duble_gyre")
    with pytest.raises(ValueError, match="eps = nan; a finite number"):
        flow("double_gyre", eps=float("nan"))
    with pytest.raises(ValueError, match="positive wave number"):
        flow("taylor_green", k=0.0)
    with pytest.raises(ValueError, match="at least 4"):
        flow("double_gyre").axes(2)
