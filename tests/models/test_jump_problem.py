"""The log-posterior of jump processes, its exact gradient, and its mode."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from trajlab.dynamics.jumps.emissions import Flip, GaussianEmission, Misclassification
from trajlab.dynamics.jumps.generator import from_rates, stationary, transition
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts, pair_counts
from trajlab.dynamics.jumps.smoothing import Intervals
from trajlab.models.jumps.hidden import HiddenStates
from trajlab.models.jumps.optimise import optimise
from trajlab.models.jumps.parameters import log_rates
from trajlab.models.jumps.parametric import Parametric
from trajlab.models.jumps.problem import Problem, rate_bounds
from trajlab.models.jumps.rate_prior import RatePrior, all_links, crude, rate_prior
from trajlab.models.jumps.reversible import reversible_rates
from trajlab.types import JumpPaths

OFF = ~np.eye(3, dtype=bool)
TRUE = from_rates(np.array([[0, 1.0, 0.3], [0.5, 0, 0.8], [0.2, 1.2, 0]]))


def flashing(potential: float = 1.0, switch: float = 1.0, off: float = 1.0) -> np.ndarray:
    """The discrete flashing ratchet: three places, potential on (0 - 2) and off (3 - 5)."""
    v, q = potential * np.arange(3), np.zeros((6, 6))
    q[:3, :3] = np.exp(-(v[None] - v[:, None]) / 2)
    q[3:, 3:] = off
    q[:3, 3:] = q[3:, :3] = switch * np.eye(3)
    return from_rates(q)


def flashing_rates(theta: torch.Tensor) -> torch.Tensor:
    v = theta[0] * torch.arange(3, dtype=theta.dtype)
    switch = torch.exp(theta[1]) * torch.eye(3, dtype=theta.dtype)
    off = torch.exp(theta[2]).expand(3, 3)
    return torch.cat([torch.cat([torch.exp(-(v[None] - v[:, None]) / 2), switch], 1), torch.cat([switch, off], 1)])


def labels(q: np.ndarray, paths: int, lags: np.ndarray, seed: int = 0) -> np.ndarray:
    """Stationary paths looked at after the same lags, ``[path look]``."""
    rng, n = np.random.default_rng(seed), len(q)
    state = rng.choice(n, size=paths, p=stationary(q))
    seen = [state]
    for p in transition(q, lags):
        state = np.minimum((p.cumsum(1)[state] < rng.random((paths, 1))).sum(1), n - 1)
        seen.append(state)
    return np.stack(seen, 1)


def counted(x: np.ndarray, lags: np.ndarray, n: int) -> PairCounts:
    return PairCounts.from_pairs(np.tile(lags, len(x)), x[:, :-1].ravel(), x[:, 1:].ravel(), n)


def as_paths(x: np.ndarray, lags: np.ndarray, n: int, **more) -> JumpPaths:
    k, looks = x.shape
    return JumpPaths(label=torch.from_numpy(x.ravel()), time=torch.from_numpy(np.r_[0.0, lags.cumsum()]).repeat(k),
                     path=torch.arange(k).repeat_interleave(looks), n_states=n, **more)


@pytest.fixture(scope="module")
def looks() -> np.ndarray:
    return labels(TRUE, 60, np.full(20, 0.3))


@pytest.fixture(scope="module")
def counts(looks) -> PairCounts:
    return counted(looks, np.full(20, 0.3), 3)


def slopes(problem: Problem, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    steps = h * problem.scale[:, None] * np.eye(len(x))
    return np.array([(problem.value_and_gradient(x + e)[0] - problem.value_and_gradient(x - e)[0]) / (2 * e.sum()) for e in steps])


def grouped(looks: np.ndarray) -> list[PairCounts]:
    """Half of the paths at age 40, half at 61, each pair of looks with its own dose."""
    age = torch.tensor([40.0, 61.0]).repeat_interleave(looks.size // 2)
    dose = torch.arange(3.0).repeat(looks.size // 3)
    return pair_counts(as_paths(looks, np.full(20, 0.3), 3, covariates={"age": age, "dose": dose}), ("age", "dose"))


def hidden(looks: np.ndarray, emission, seed: int = 1, **more) -> HiddenStates:
    rng = np.random.default_rng(seed)
    wrong = np.where(rng.random(looks.shape) < 0.1, rng.integers(0, 3, looks.shape), looks)
    if isinstance(emission, GaussianEmission):
        paths = as_paths(np.full_like(looks, -1), np.full(20, 0.3), 3, observed=torch.full((looks.size,), JumpPaths.SIGNAL),
                         signal=torch.from_numpy(looks.ravel()[:, None] + 0.4 * rng.normal(size=(looks.size, 1))))
    else:
        paths = as_paths(wrong, np.full(20, 0.3), 3)
    return HiddenStates(Intervals.from_paths(paths), paths, emission, np.array([0.5, 0.3, 0.2]), **more)


PRIOR = RatePrior(0.7, np.full((3, 3), 0.5))
EMISSIONS = {
    "flips": Flip(0.07, prior=(20.0, 0.4)),
    "confusion": Misclassification(0.9 * np.eye(3) + np.full((3, 3), 0.1 / 3), pseudo=np.full((3, 3), 0.5)),
    "signal": GaussianEmission(np.array([[0.1], [1.2], [1.8]]), np.full((3, 1), 0.2), np.ones(1)),
}


@pytest.mark.parametrize("model", [log_rates(3), log_rates(3, tied=[[(0, 1), (1, 2)]]), reversible_rates(3)], ids=["free", "tied", "reversible"])
def test_gradient_is_the_slope(counts, model):
    problem = Problem([counts], model, PRIOR)
    x = problem.start_from(TRUE) + 0.1 * np.arange(len(model.names))
    np.testing.assert_allclose(problem.value_and_gradient(x)[1], slopes(problem, x), rtol=1e-6, atol=1e-5)


def test_gradient_with_covariates(looks):
    model = log_rates(3, effects={"age": None, "dose": "shared"})
    problem = Problem(grouped(looks), model, PRIOR, effect_scale=0.8)
    x = problem.start_from(TRUE) + 0.02 * problem.scale * np.arange(len(model.names))
    np.testing.assert_allclose(problem.value_and_gradient(x)[1], slopes(problem, x), rtol=1e-6, atol=1e-4)
    # the reference is the mean over pairs of looks
    assert problem.reference == pytest.approx([50.5, 1.0], abs=0.1)
    q = problem.generator(x, age=problem.reference[0] + 1.0)
    beta = x[model.names.index("beta_age(0->1)")]
    assert np.log(q[0, 1] / problem.generator(x)[0, 1]) == pytest.approx(beta)
    np.testing.assert_allclose(problem.generators(x)[0], problem.generator(x, **problem.data.groups[0]), rtol=1e-12)
    # covariates of any size: the search takes steps in their standard deviations
    best = optimise(problem, problem.start_from(TRUE), tolerance=1e-13)
    assert best.gradient_norm < 0.01
    assert best.iterations < 60


@pytest.mark.parametrize("name", EMISSIONS)
def test_gradient_of_hidden_states(looks, name):
    """Fisher's identity, with the parameters of the emission and of the first states."""
    problem = Problem(hidden(looks, EMISSIONS[name]), log_rates(3), PRIOR, (1e-4, 1e3))
    x = problem.start_from(TRUE * 1.3)
    assert problem.names[-2:] == ("log first_1", "log first_2")
    assert len(x) == 6 + len(EMISSIONS[name].parameters) + 2
    np.testing.assert_allclose(problem.value_and_gradient(x)[1], slopes(problem, x), rtol=2e-6, atol=2e-4)


def test_the_mode_is_where_em_stays(counts):
    """(E[n] + a) / (E[tau] + a / centre) = q."""
    problem = Problem([counts], log_rates(3), PRIOR)
    best = optimise(problem, problem.start_from(TRUE), tolerance=1e-14)
    q = problem.generator(best.x)
    found = evaluate(q, counts)
    again = (found.jumps + 0.7) / (found.time[:, None] + 0.7 / 0.5)
    np.testing.assert_allclose(q[OFF], again[OFF], rtol=1e-4)
    assert best.converged
    assert best.at_bound == ()


def test_second_derivatives(counts):
    """Against differences of values; a known case in closed form: n jumps in the time tau have -d2l/dlog q2 = n."""
    problem = Problem([counts], log_rates(3), PRIOR)
    x = problem.start_from(TRUE)
    found = problem.hessian(x)
    h = 1e-4
    one, other = np.eye(6)[0] * h, np.eye(6)[3] * h
    value = lambda y: problem.value_and_gradient(y)[0]  # noqa: E731
    mixed = (value(x + one + other) - value(x + one - other) - value(x - one + other) + value(x - one - other)) / (4 * h * h)
    assert found[0, 3] == pytest.approx(mixed, abs=1e-2)
    np.testing.assert_array_equal(found, found.T)
    exact = PairCounts.from_pairs(np.zeros(0), np.zeros(0, dtype=int), np.zeros(0, dtype=int), 2)
    exact.jumps[:] = [[0, 7], [4, 0]]
    exact.time[:] = [3.0, 5.0]
    problem = Problem([exact], log_rates(2))
    best = optimise(problem, problem.start_from(from_rates(np.ones((2, 2)))), tolerance=1e-15)
    np.testing.assert_allclose(problem.generator(best.x)[[0, 1], [1, 0]], [7 / 3, 4 / 5], rtol=1e-6)
    np.testing.assert_allclose(problem.hessian(best.x), -np.diag([7.0, 4.0]), atol=1e-4)


def test_units_of_time_and_duplicates(looks, counts):
    model, factor = log_rates(3), 1e12
    fits = []
    for c in (counts, counted(looks, np.full(20, 0.3 * factor), 3), counted(np.concatenate([looks, looks]), np.full(20, 0.3), 3)):
        problem = Problem([c], model)
        fits.append((problem, optimise(problem, problem.start_from(crude([c], all_links(3))), tolerance=1e-13)))
    (problem, best), (slow, other), (twice, same) = fits
    np.testing.assert_allclose(other.x + np.log(factor), best.x, atol=1e-4)
    assert other.value == pytest.approx(best.value, rel=1e-10)
    np.testing.assert_allclose(np.array(slow.bounds) + np.log(factor), problem.bounds, rtol=1e-9)
    np.testing.assert_allclose(same.x, best.x, atol=1e-4)
    np.testing.assert_allclose(twice.hessian(best.x), 2 * problem.hessian(best.x), rtol=1e-6, atol=1e-4)


def test_relabelling(looks):
    place = np.array([2, 0, 1])
    fits = []
    for x in (looks, place[looks]):
        c = counted(x, np.full(20, 0.3), 3)
        problem = Problem([c], log_rates(3), rate_prior([c], all_links(3)))
        fits.append(problem.generator(optimise(problem, problem.start_from(crude([c], all_links(3))), tolerance=1e-13).x))
    np.testing.assert_allclose(fits[1][np.ix_(place, place)], fits[0], rtol=1e-4, atol=1e-5)


def test_a_rate_without_jumps_ends_at_its_bound():
    """Maximum likelihood drives it to zero, which is said; nothing becomes NaN or 1e12."""
    x = np.repeat(np.array([[0, 1, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 1, 0]]), 5, axis=1)
    problem = Problem([counted(x, np.full(34, 1e-3), 3)], log_rates(3, np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]])))
    best = optimise(problem, problem.start_from(from_rates(np.ones((3, 3)))))
    assert best.at_bound == ("0->2",)
    q = problem.generator(best.x)
    assert np.isfinite(q).all()
    assert 0 < q[0, 2] < 1e-5 * q[0, 1]
    assert best.gradient_norm < 1e-3


def test_a_path_that_forgets_between_looks_stops_at_the_upper_bound():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (50, 40))
    c = counted(x, np.full(39, 5.0), 2)
    problem = Problem([c], log_rates(2))
    best = optimise(problem, problem.start_from(crude([c], all_links(2))))
    q = problem.generator(best.x)
    assert np.isfinite(q).all()
    assert q.max() <= problem.rate_bounds[1] * (1 + 1e-9)
    assert np.isfinite(best.value)


def test_what_cannot_be_seen_is_said(counts):
    problem = Problem([counts], log_rates(3, np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])))
    with pytest.raises(ValueError, match=r"followed by one at state .* no sequence of allowed jumps leads there"):
        optimise(problem, problem.start_from(TRUE))


def test_bad_input(counts, looks):
    with pytest.raises(ValueError, match="data have 3 states, the parametrisation 4"):
        Problem([counts], log_rates(4))
    with pytest.raises(ValueError, match="depend on 'age', but group 0 of the data has no covariates"):
        Problem([counts], log_rates(3, effects={"age": None}))
    same = pair_counts(as_paths(looks, np.full(20, 0.3), 3, covariates={"age": torch.full((looks.size,), 40.0)}), ("age",))
    with pytest.raises(ValueError, match="age has one value only"):
        Problem(same, log_rates(3, effects={"age": None}))
    with pytest.raises(ValueError, match="give bounds"):
        Problem(hidden(looks, EMISSIONS["flips"]), log_rates(3))
    problem = Problem([counts], log_rates(3))
    with pytest.raises(ValueError, match="'dose'; known covariates are none"):
        problem.generator(np.zeros(6), dose=1.0)
    with pytest.raises(ValueError, match=r"shape \(5,\); 6 finite numbers"):
        optimise(problem, np.zeros(5))
    with pytest.raises(ValueError, match="is not finite; 6 finite numbers"):
        optimise(problem, np.full(6, np.nan))


class Hole:
    """A parabola that is not finite beyond x = 1.5, where the first step of a search leads."""

    bounds = (np.array([-10.0, -10.0]), np.array([10.0, 10.0]))
    names = ("a", "b")

    def value_and_gradient(self, x):
        if x[0] > 1.5:
            return -np.inf, np.zeros(2)
        return -100 * float(((x - 1.4) ** 2).sum()), -200 * (x - 1.4)


def test_the_search_comes_back_from_where_nothing_is_finite():
    best = optimise(Hole(), np.array([-9.0, 3.0]))
    np.testing.assert_allclose(best.x, 1.4, atol=1e-3)
    with pytest.raises(ValueError, match="not finite where the search starts"):
        optimise(Hole(), np.array([2.0, 0.0]))


# ---- the discrete flashing ratchet, 5 000 paths of 50 looks


@pytest.fixture(scope="module")
def ratchet() -> tuple[np.ndarray, np.ndarray]:
    lags = np.full(49, 2.5 / 49)
    return labels(flashing(), 5000, lags), lags


def test_flashing_ratchet(ratchet):
    """Root mean square error of all 30 rates at most .045, in a fraction of a second."""
    x, lags = ratchet
    c = counted(x, lags, 6)
    problem = Problem([c], log_rates(6), rate_prior([c], all_links(6)))
    began = time.process_time()
    best = optimise(problem, problem.start_from(crude([c], all_links(6))))
    spent = time.process_time() - began
    off = ~np.eye(6, dtype=bool)
    assert np.sqrt(((problem.generator(best.x) - flashing())[off] ** 2).mean()) < 0.045
    assert best.converged
    assert spent < 1.0


def test_flashing_ratchet_by_its_three_parameters(ratchet):
    c = counted(*ratchet, 6)
    model = Parametric(flashing_rates, [0.5, 0.2, -0.2], names=("V", "log r", "log b"))
    problem = Problem([c], model)
    best = optimise(problem, problem.start_from(crude([c], model.free_links())))
    assert best.x[0] == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(np.exp(best.x[1:]), 1.0, rtol=0.05)
    np.testing.assert_allclose(problem.value_and_gradient(best.x)[1], 0.0, atol=0.1)
    assert np.linalg.eigvalsh(problem.hessian(best.x)).max() < -100


def test_hidden_labels_find_the_level_of_flips(ratchet):
    x, lags = ratchet
    rng = np.random.default_rng(5)
    x = x[:600]
    wrong = np.where(rng.random(x.shape) < 0.1, rng.integers(0, 6, x.shape), x)
    paths, c = as_paths(wrong, lags, 6), counted(wrong, lags, 6)
    data = HiddenStates(Intervals.from_paths(paths), paths, Flip(0.02), np.full(6, 1 / 6))
    problem = Problem(data, log_rates(6, flashing() > 0), rate_prior([c], flashing() > 0), rate_bounds([c], flashing() > 0))
    best = optimise(problem, problem.start_from(crude([c], flashing() > 0)))
    extra = best.x[problem.n_rates:]
    assert data.emission_at(extra).eps == pytest.approx(0.1, rel=0.1)
    assert data.initial_at(extra).sum() == pytest.approx(1.0)
    assert np.abs(np.log(problem.generator(best.x)[flashing() > 0] / flashing()[flashing() > 0])).max() < 0.4


# ---- published fits of R msm (Jackson 2011): -2 log-likelihoods of its manual


def msm_paths(file: Path, subject: str, clock: str, covariates: tuple[str, ...], death: int | None) -> JumpPaths:
    rows = [r for r in csv.DictReader(file.open()) if all(r[c] not in ("", "NA") for c in covariates)]
    _, path = np.unique([int(r[subject]) for r in rows], return_inverse=True)
    label = torch.tensor([int(r["state"]) - 1 for r in rows])
    observed = torch.where(label == (-5 if death is None else death), JumpPaths.ENTRY, JumpPaths.PANEL)
    values = {c: torch.tensor([float(r[c]) for r in rows]) for c in covariates}
    return JumpPaths(label=label, time=torch.tensor([float(r[clock]) for r in rows]), path=torch.from_numpy(path), n_states=4, observed=observed,
                     covariates=values)


CAV = from_rates(np.array([[0, 0.25, 0, 0.25], [0.166, 0, 0.166, 0.166], [0, 0.25, 0, 0.25], [0, 0, 0, 0]]))


@pytest.mark.parametrize(("covariates", "published"), [((), 3968.798), (("sex",), 3954.777)])
def test_heart_transplants(reference, covariates, published):
    paths = msm_paths(reference / "jumps" / "cav.csv", "PTNUM", "years", covariates, 3)
    problem = Problem(pair_counts(paths, covariates), log_rates(4, CAV > 0, effects=dict.fromkeys(covariates)))
    assert -2 * optimise(problem, problem.start_from(CAV)).value == pytest.approx(published, abs=1e-3)


def test_arthritis_with_effects_held_equal(reference):
    covariates = ("hieffusn", "ollwsdrt")
    paths = msm_paths(reference / "jumps" / "psor.csv", "ptnum", "months", covariates, None)
    first, second, third = (0, 1), (1, 2), (2, 3)
    model = log_rates(4, np.diag(np.ones(3), 1), effects={"hieffusn": "shared", "ollwsdrt": [[first, second], [third]]})
    problem = Problem(pair_counts(paths, covariates), model)
    best = optimise(problem, problem.start_from(from_rates(np.diag(np.full(3, 0.1), 1))))
    assert -2 * best.value == pytest.approx(1114.899, abs=1e-3)
    np.testing.assert_allclose(np.exp(best.x[3:]), [1.646, 0.565, 1.641], atol=2e-3)
