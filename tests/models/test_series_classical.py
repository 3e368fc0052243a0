"""Persistence, mean, seasonal, parrot, linear, NVAR and echo states on series whose continuation is known."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.ode import solve
from trajlab.metrics.chaotic import vpt
from trajlab.models.esn import Esn, EsnConfig, reservoir
from trajlab.models.linear_series import Linear
from trajlab.models.nvar import Nvar, NvarConfig, monomials
from trajlab.models.parrot import Parrot, ParrotConfig, nearest_end
from trajlab.models.persistence import Mean, Persistence, Seasonal, SeasonalConfig, season
from trajlab.models.series_local import Scale, held
from trajlab.models.series_ridge import Factored, Gram


def continued(model, context, steps):
    return model.continuation(np.asarray(context, dtype=float), steps, 1, np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def lorenz():
    """2000 frames, 100 a period of 1.5."""
    field = VectorField.of(lambda t, x, p: (p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]), 3,
                           sigma=10.0, rho=28.0, beta=8 / 3)
    return solve(field, [[1.0, 1.0, 20.0]], np.arange(0, 60, 0.015)).x[0, 1000:3000]


def periodic(frames=303, period=25):
    return np.random.default_rng(0).normal(size=(period, 2))[np.arange(frames) % period]


def test_the_simplest():
    x = np.array([[1.0, 5.0], [3.0, 4.0], [8.0, 3.0]])
    assert (continued(Persistence(), x, 3) == [[8.0, 3.0]] * 3).all()
    assert np.allclose(continued(Mean(), x, 2), [[4.0, 4.0]] * 2)
    assert np.allclose(continued(Seasonal(SeasonalConfig(2)), x, 5), [[3, 4], [8, 3], [3, 4], [8, 3], [3, 4]])


@pytest.mark.parametrize("period", [7, 25, 40])
def test_the_period_is_found(period):
    x = periodic(303, period)
    assert season(x) % period == 0
    for model in (Seasonal(), Parrot(ParrotConfig(10)), Parrot()):
        assert np.allclose(continued(model, x[:250], 53), x[250:])


def test_no_period():
    assert season(np.ones((50, 1))) == 1
    assert season(np.sin(0.0625 * np.arange(1000))[:, None]) == pytest.approx(2 * np.pi / 0.0625, abs=2)


def test_parrot_takes_the_nearest_window_that_does_not_overlap():
    x = np.zeros((30, 1))
    x[10:14, 0] = 1.0, 2.0, 3.0, 50.0
    x[27:, 0] = 1.1, 2.1, 3.1
    x[20:23, 0] = 1.0, 2.0, 5.0
    made = continued(Parrot(ParrotConfig(3)), x, 25)
    assert np.allclose(made[:17], x[13:])  # what came after frames 10 to 12, up to the end
    assert np.allclose(made[17:], x[13:21])  # and again
    assert nearest_end(np.arange(30.0)[:, None], 5) == 25  # a ramp: the nearest is the last that does not overlap


def test_monomials():
    parent, factor = monomials(2, 3)
    assert len(parent) == 10  # C(2 + 3, 3)
    values = [1.0]
    for p, f in zip(parent[1:], factor[1:]):
        values.append(values[p] * (2.0, 3.0)[f])
    assert sorted(values) == sorted(2.0**i * 3.0**j for i in range(4) for j in range(4 - i))


def test_linear_is_exact_for_a_linear_system():
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    x = np.array([np.linalg.matrix_power(turn, n) @ [1.0, 0.5] for n in range(200)]) + [3.0, 0.0]
    model = Nvar(NvarConfig(lags=1, degree=1, ridge=0.0))
    assert np.allclose(continued(model, x[:100], 100), x[100:], atol=1e-8)
    assert np.abs(continued(Linear(), x[:150], 50) - x[150:]).max() < 0.01


def test_nvar_is_exact_for_a_polynomial_map():
    """Henon's map is quadratic in one lag: errors grow from rounding alone, by e^0.42 a step."""
    x = np.full((340, 2), 0.1)
    for n in range(1, len(x)):
        x[n] = 1 - 1.4 * x[n - 1, 0] ** 2 + x[n - 1, 1], 0.3 * x[n - 1, 0]
    made = continued(Nvar(NvarConfig(lags=1, degree=2, ridge=0.0)), x[:300], 40)
    assert np.abs(made[:25] - x[300:325]).max() < 1e-6


def test_nvar_and_echo_states_on_lorenz(lorenz):
    """Valid for as long as in the literature: four periods and more by a cubic NVAR with two lags, and less by echo states."""
    cubic, echo = (vpt(continued(m, lorenz[:1000], 1000), lorenz[1000:], period=100.0).periods for m in (Nvar(), Esn()))
    assert cubic > 4.0
    assert 0.3 < echo < cubic


def test_lags_and_stride_are_read_from_the_right_frames():
    """x[n+1] = x[n-3]: needs lag 3 exactly, as one stride of 3 with two lags."""
    x = periodic(120, 4) + 0.0
    assert np.allclose(continued(Nvar(NvarConfig(lags=2, stride=3, degree=1, ridge=0.0)), x[:100], 20), x[100:], atol=1e-8)


def test_a_run_that_leaves_is_held():
    x = np.exp(0.05 * np.arange(100))[:, None]
    made = continued(Nvar(NvarConfig(lags=1, degree=1, ridge=0.0)), x, 200)
    assert np.isfinite(made).all()
    assert np.abs(Scale.of(x).to(made)).max() <= 20
    assert np.allclose(made[:20], np.exp(0.05 * np.arange(100, 120))[:, None], rtol=1e-6)
    assert (made[-50:] == made[-1]).all()
    assert (held(np.array([[np.nan], [1.0]]), np.array([3.0])) == 3.0).all()
    assert (held(np.array([[1.0], [99.0], [2.0]]), np.array([3.0])) == 1.0).all()


def test_the_degree_gives_way_to_the_number_of_features():
    config = NvarConfig(lags=2, degree=3, most=600)
    assert config.degree_of(6) == 3
    assert config.degree_of(20) == 2
    assert config.degree_of(1000) == 1
    assert np.isfinite(continued(Nvar(config), np.random.default_rng(0).normal(size=(200, 10)), 5)).all()


@pytest.mark.parametrize("samples", [80, 12])
def test_both_ridges_solve_their_normal_equations(samples):
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(samples, 20)), rng.normal(size=(samples, 3))
    gram = Gram.of(f, y).weights(0.1)
    assert np.allclose(gram, np.linalg.solve(f.T @ f + 0.1 * samples * np.eye(20), f.T @ y))
    size = np.sqrt((f**2).mean(0))
    scaled = Factored.of(f, y).weights(0.1)
    assert np.allclose(scaled, np.linalg.solve(f.T @ f + 0.1 * samples * np.diag(size**2), f.T @ y))


def test_a_reservoir_has_the_radius_and_density_it_is_asked_for():
    source, weight, inputs, bias = reservoir(200, 0.05, 3, 1)
    assert source.shape == weight.shape == (200, 10)
    full = np.zeros((200, 200))
    np.put_along_axis(full, source, weight, 1)
    assert np.abs(np.linalg.eigvals(full)).max() == pytest.approx(1.0)
    assert np.abs(inputs).max() <= 1
    assert inputs.shape == (200, 3)
    assert bias.shape == (200,)
    assert (reservoir(200, 0.05, 3, 2)[1] != weight).any()


def test_a_free_run_of_echo_states_is_the_driven_one_on_its_own_output(lorenz):
    """Driving the reservoir with what it said gives the states it was in, so one more step from there is the next value of the run."""
    model = Esn(EsnConfig(units=60, density=0.1))
    learned = model.learn(lorenz[:600])
    run = learned.runs(lorenz[:600], [600], [20])[0]
    shown = np.concatenate([lorenz[:600], run])
    for n in (1, 7, 19):
        assert np.allclose(learned.runs(shown, [600 + n], [1])[0][0], run[n])


@pytest.mark.parametrize(("make", "words"), [
    (lambda: NvarConfig(lags=0), "lags=0"),
    (lambda: NvarConfig(ridge=-1.0), "ridge that is not negative"),
    (lambda: ParrotConfig(0), "window=0"),
    (lambda: SeasonalConfig(0), "period=0"),
    (lambda: EsnConfig(leak=0.0), "leak=0"),
    (lambda: EsnConfig(radius=-0.1), "none may be negative"),
    (lambda: Nvar().learn(np.zeros((3, 1))), "at least 6 frames, got 3"),
])
def test_bad_settings(make, words):
    with pytest.raises(ValueError, match=words):
        make()
