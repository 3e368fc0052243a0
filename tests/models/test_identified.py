"""Forecasts by an identified equation: tangents, exact recovery, noise, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trajlab.data.adapters.arrays import from_numpy
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.ode import solve
from trajlab.models.identified import Identified, IdentifiedConfig
from trajlab.models.identified_library import Equation, library
from trajlab.models.identified_shooting import multiple
from trajlab.models.identified_smooth import first_guess, smoothed

LORENZ = VectorField(lambda t, x, p: (10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]), 3, name="Lorenz")
THOMAS = VectorField(lambda t, x, p: (math.sin(x[1]) - 0.185 * x[0], math.sin(x[2]) - 0.185 * x[1], math.sin(x[0]) - 0.185 * x[2]), 3, name="Thomas")


def series(field: VectorField, frames: int, spacing: float, start: tuple[float, ...]) -> np.ndarray:
    return solve(field, np.array([start]), 200 + spacing * np.arange(frames) - 200, rtol=1e-11, atol=1e-11).x[0]


LORENZ_X = series(LORENZ, 900, 0.01, (-5.0, -6.0, 22.0))


def some_equation() -> tuple[Equation, np.ndarray]:
    rng = np.random.default_rng(0)
    made = library(3, 2, below=1, waves=(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.5, 2.0])))
    equation = Equation.zero(made, 3)
    return equation.moved(0.02 * rng.normal(size=len(equation.active))), 0.5 * rng.normal(size=(4, 3))


def test_a_library_counts_and_evaluates():
    made = library(3, 2, waves=(np.array([1.0, 0.0, 0.0]), np.array([2.0, 1.0, 1.0])))
    assert len(made.features) == 10 + 6
    z = np.array([[0.5, -1.0, 2.0]])
    row = made(z)[0]
    assert row[:10] == pytest.approx([1, 0.5, -1, 2, 0.25, -0.5, 1, 1, -2, 4])
    assert row[10] == pytest.approx(math.sin(1 + 2 * 0.5))
    assert row[15] == pytest.approx(math.cos(2.0))


def test_rates_are_those_of_the_features():
    equation, z = some_equation()
    phi = equation.library(z)
    rates = (phi @ equation.num.T) / (1 + phi[:, : equation.den.shape[1]] @ equation.den.T)
    step = 1e-5
    assert np.allclose((equation.solve(z[0], 1) - z[0])[0], equation.flow(z, 1)[0, 0] - z[0], atol=1e-10)
    from trajlab.models import identified_kernels as kernels

    out = np.empty(3)
    kernels.rhs()(0.0, z[1], kernels.packed(*equation.tables), out)
    assert np.allclose(out, rates[1], rtol=1e-12)
    assert step > 0


def test_tangents_are_derivatives_of_the_flow():
    equation, z = some_equation()
    out, by_start, by = equation.tangents(z, 3)
    assert np.array_equal(out, equation.flow(z, 3))
    step = 1e-6
    for j in range(3):
        shift = step * np.eye(3)[j]
        wanted = (equation.flow(z + shift, 3) - equation.flow(z - shift, 3)) / (2 * step)
        assert np.allclose(by_start[..., j], wanted, atol=1e-6)
    for c in range(len(equation.active)):
        shift = step * np.eye(len(equation.active))[c]
        wanted = (equation.moved(shift).flow(z, 3) - equation.moved(-shift).flow(z, 3)) / (2 * step)
        assert np.allclose(by[..., c], wanted, atol=2e-4)


def test_flow_converges_at_order_eight():
    equation, z = some_equation()
    equation = equation.moved(9 * equation.theta)
    z = 0.3 * z
    best = equation.flow(z, 1, 64)
    coarse, fine = (np.abs(equation.flow(z, 1, n) - best).max() for n in (1, 2))
    assert coarse / fine > 2**5


@pytest.mark.parametrize("spacing", [0.01, 0.05])
def test_lorenz_is_recovered(spacing):
    x = series(LORENZ, 400, spacing, (-5.0, -6.0, 22.0))
    model = Identified().identify(x)
    assert model.name == "quadratic"
    assert model.fitted.error < 1e-9
    from trajlab.models.series_local import Scale

    scale = Scale.of(x)
    at = x[50:60]
    rates = model.fitted.equation.library(scale.to(at)) @ model.fitted.equation.num.T * scale.std / spacing
    assert np.allclose(rates, LORENZ(0.0, at), atol=1e-4)


def test_the_forecast_follows_for_ten_lyapunov_times():
    past = from_numpy(LORENZ_X[:500], 0.01)
    made = Identified().forecast(past, 400)
    assert np.abs(made.draws[0, 0].numpy() - LORENZ_X[500:]).max() < 0.01
    assert made.provenance["config"]["segment"] == 8


def test_sines_are_found():
    x = series(THOMAS, 500, 0.12, (1.0, 2.0, 0.5))
    model = Identified().identify(x[:400])
    assert model.name == "waves"
    assert np.abs(Identified().continuation(x[:400], 100, 1, np.random.default_rng(0))[0] - x[400:]).max() < 1e-5


def test_noise_is_taken_out():
    noise = 0.01 * LORENZ_X.std(0) * np.random.default_rng(1).normal(size=LORENZ_X.shape)
    x = (LORENZ_X + noise)[:600]
    model = Identified().identify(x)
    assert model.name == "noisy quadratic"
    assert model.fitted.error == pytest.approx(0.01, rel=0.1)
    made = Identified().continuation(x, 150, 1, np.random.default_rng(0))[0]
    error = np.abs(made - LORENZ_X[600:750]).max(1) / LORENZ_X.std()
    assert error[0] < 0.01
    assert error[:100].max() < 0.1


def test_multiple_shooting_is_better_than_the_regression_it_starts_from():
    rng = np.random.default_rng(2)
    scale = LORENZ_X.std(0)
    z = ((LORENZ_X - LORENZ_X.mean(0)) / scale + 0.02 * rng.normal(size=LORENZ_X.shape))[:500]
    curve, noise = smoothed(z)
    assert noise == pytest.approx(0.02, rel=0.15)
    guess = first_guess(Equation.zero(library(3, 2), 3), curve, 1e-6)
    fitted = multiple(guess, z, curve, 8, noise=noise)
    clean = (LORENZ_X[:500] - LORENZ_X.mean(0)) / scale
    error = [np.abs(e.flow(clean[:-1:10], 5)[:-1, -1] - clean[5:-5:10]).mean() for e in (guess, fitted.equation)]
    assert error[1] < 0.7 * error[0]


def test_smoothing_takes_away_noise_and_nothing_else():
    t = np.arange(600.0)
    clean = np.stack([np.sin(0.06 * t), np.cos(0.11 * t)], 1)
    assert np.abs(smoothed(clean)[0] - clean).max() < 1e-5
    noisy = clean + 0.05 * np.random.default_rng(0).normal(size=clean.shape)
    curve, noise = smoothed(noisy)
    assert (curve - clean).std() < 0.03
    assert noise == pytest.approx(0.05, rel=0.1)


def test_what_is_not_an_equation_of_its_channels_stays_bounded():
    walk = np.random.default_rng(3).normal(size=(300, 2)).cumsum(0)
    made = Identified().continuation(walk, 100, 1, np.random.default_rng(0))
    assert made.shape == (1, 100, 2)
    assert np.isfinite(made).all()


def test_a_constant_channel_is_carried_on():
    x = np.concatenate([LORENZ_X[:400], np.full((400, 1), 7.0)], 1)
    made = Identified().continuation(x, 50, 1, np.random.default_rng(0))[0]
    assert np.allclose(made[:, 3], 7.0, atol=1e-3)
    assert np.abs(made[:, :3] - LORENZ_X[400:450]).max() < 0.1


def test_refusals():
    with pytest.raises(ValueError, match="at least 40 frames, got 20"):
        Identified().continuation(LORENZ_X[:20], 5, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="did you mean 'cubic'"):
        IdentifiedConfig(libraries=("cubik",))
    with pytest.raises(ValueError, match="share between 0 and 1"):
        IdentifiedConfig(share=1.5)
    wide = np.random.default_rng(0).normal(size=(60, 12))
    with pytest.raises(ValueError, match=r"none of the libraries .* of 12 channels"):
        Identified().continuation(wide, 5, 1, np.random.default_rng(0))
