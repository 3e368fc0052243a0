"""From parameters to generators and back: masks, equal and fixed rates, covariates, detailed balance, functions of a few parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab.dynamics.jumps.generator import from_rates, stationary
from trajlab.dynamics.jumps.pair_counts import PairCounts
from trajlab.models.jumps.parameters import Parametrisation, log_rates
from trajlab.models.jumps.parametric import Parametric, jump_log_likelihood
from trajlab.models.jumps.reversible import reversible_rates

CHAIN = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
NONE = np.zeros((1, 0))


def two_rates(theta: torch.Tensor) -> torch.Tensor:
    up, down = torch.exp(theta[0]), torch.exp(theta[1])
    return torch.diag(up.expand(2), 1) + torch.diag(down.expand(2), -1)


def with_heat(theta: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return two_rates(theta[:2]) * torch.exp(theta[2] * z[0])


MODELS = {
    "free": log_rates(3),
    "mask": log_rates(3, CHAIN),
    "tied": log_rates(3, tied=[[(0, 1), (1, 2)], [(2, 0), (1, 0), (0, 2)]]),
    "fixed": log_rates(3, fixed={(0, 1): 0.7, (2, 0): 0.0}),
    "effects": log_rates(3, CHAIN, tied=[[(0, 1), (1, 2)]], fixed={(2, 1): 0.4},
                         effects={"age": None, "sex": "shared", "dose": [[(0, 1), (1, 0)], [(2, 1)]]}),
    "reversible": reversible_rates(3),
    "reversible chain": reversible_rates(3, CHAIN),
    "known stationary": reversible_rates(3, stationary=[0.2, 0.3, 0.5]),
    "parametric": Parametric(two_rates, [0.1, -0.2]),
    "parametric of a covariate": Parametric(with_heat, [0.1, -0.2, 0.3], covariates=("heat",)),
}


def some(model: Parametrisation, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 0.5 * rng.normal(size=len(model.names)), rng.normal(size=(2, len(model.covariates)))


@pytest.mark.parametrize("name", MODELS)
def test_generators_are_generators(name):
    model = MODELS[name]
    assert isinstance(model, Parametrisation)
    q = model.generators(*some(model))
    assert q.shape == (2, 3, 3)
    np.testing.assert_allclose(q.sum(-1), 0.0, atol=1e-14)
    assert (q[:, ~np.eye(3, dtype=bool)] >= 0).all()
    assert len(set(model.names)) == len(model.names)


@pytest.mark.parametrize("name", MODELS)
def test_chain_rule(name):
    """Pulled back, any derivative by rates is the slope along each parameter."""
    model, h = MODELS[name], 1e-6
    x, z = some(model)
    slope = np.random.default_rng(1).normal(size=(2, 3, 3))
    off = ~np.eye(3, dtype=bool)
    found = model.pull_back(x, z, slope)
    for k, e in enumerate(np.eye(len(x))):
        change = (model.generators(x + h * e, z) - model.generators(x - h * e, z)) / (2 * h)
        assert found[k] == pytest.approx((change * slope)[:, off].sum(), abs=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_start_from_a_generator_of_the_model_finds_it(name):
    model = MODELS[name]
    x, z = some(model, 3)
    q = model.generators(x, 0 * z)[0]
    np.testing.assert_allclose(model.generators(model.start_from(q), 0 * z)[0], q, rtol=1e-5)


def test_names_say_the_links():
    assert log_rates(2).names == ("0->1", "1->0")
    assert log_rates(2, names=("ill", "well")).names == ("ill->well", "well->ill")
    assert MODELS["tied"].names == ("0->1=1->2", "2->0=1->0=0->2", "2->1")
    assert MODELS["effects"].names[:2] == ("0->1=1->2", "1->0")
    assert MODELS["effects"].names[2:] == ("beta_age(0->1,1->2)", "beta_age(1->0)", "beta_sex", "beta_dose(0->1,1->0)", "beta_dose(2->1)")
    assert MODELS["reversible"].names == ("0<->1", "0<->2", "1<->2", "log pi_1", "log pi_2")
    assert MODELS["parametric"].names == ("theta_0", "theta_1")


def test_equal_fixed_and_absent_rates():
    q = MODELS["tied"].generators(some(MODELS["tied"])[0], NONE)[0]
    assert q[0, 1] == q[1, 2]
    assert q[2, 0] == q[1, 0] == q[0, 2]
    q = MODELS["fixed"].generators(some(MODELS["fixed"])[0], NONE)[0]
    assert q[0, 1] == pytest.approx(0.7)
    assert q[2, 0] == 0.0
    free = MODELS["fixed"].free_links()
    assert not free[0, 1]
    assert not free[2, 0]
    assert free.sum() == 4


def test_effects_of_covariates():
    """log q(z) = log q + beta z, shared where that is said."""
    model = MODELS["effects"]
    x = np.array([0.0, 0.0, 0.1, 0.2, 0.3, 0.5, 0.7])
    base = model.generators(x, np.zeros((1, 3)))[0]
    log = lambda z: np.log(model.generators(x, np.array([z]))[0][[0, 1, 1, 2], [1, 0, 2, 1]] / base[[0, 1, 1, 2], [1, 0, 2, 1]])  # noqa: E731
    np.testing.assert_allclose(log([1.0, 0, 0]), [0.1, 0.2, 0.1, 0], atol=1e-14)
    np.testing.assert_allclose(log([0, 1.0, 0]), [0.3, 0.3, 0.3, 0], atol=1e-14)
    np.testing.assert_allclose(log([0, 0, 2.0]), [1.0, 1.0, 0, 1.4], atol=1e-14)


def test_detailed_balance():
    for model in (MODELS["reversible"], MODELS["reversible chain"], MODELS["known stationary"]):
        x, _ = some(model, 5)
        q = model.generators(x, NONE)[0]
        pi = stationary(q)
        flow = pi[:, None] * q
        np.testing.assert_allclose(flow, flow.T, atol=1e-14)
        if "log pi_1" in model.names:
            np.testing.assert_allclose(np.log(pi[1:] / pi[0]), x[-2:], rtol=1e-10)
        else:
            np.testing.assert_allclose(pi, [0.2, 0.3, 0.5], rtol=1e-10)


def test_many_states_are_quick():
    """9 900 rates: dense matrices of links by parameters would take 800 MB."""
    for model in (log_rates(100), reversible_rates(100)):
        x = model.start_from(from_rates(np.ones((100, 100))))
        q = model.generators(x, NONE)
        np.testing.assert_allclose(q[0][0, 1:], 1.0, rtol=1e-9)
        assert model.pull_back(x, NONE, q).shape == (len(model.names),)


def test_the_likelihood_is_differentiable():
    counts = PairCounts.from_pairs(np.array([0.1, 0.2, 0.1, 0.3]), np.array([0, 1, 2, 0]), np.array([1, 2, 0, 0]), 3)
    counts.jumps[0, 1] = 1.0
    rates = torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda r: jump_log_likelihood(r, counts), rates)
    assert torch.autograd.gradcheck(lambda r: jump_log_likelihood(r, [counts, counts]), rates)
    # the diagonal is not read
    other = rates.detach().clone().fill_diagonal_(-7.0)
    assert torch.equal(jump_log_likelihood(other, counts), jump_log_likelihood(rates.detach(), counts))
    # gradient ascent through a function of one parameter reaches the same as the closed form n / tau
    seen = PairCounts.from_pairs(np.zeros(0), np.zeros(0, dtype=int), np.zeros(0, dtype=int), 2)
    seen.jumps[0, 1], seen.time[0] = 3.0, 4.0
    theta = torch.tensor(np.log(0.75), requires_grad=True)
    jump_log_likelihood(torch.exp(theta) * torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64), seen).backward()
    assert abs(float(theta.grad)) < 1e-12


@pytest.mark.parametrize(("call", "said"), [
    (lambda: log_rates(3, np.ones((2, 3))), r"shape \(2, 3\); \(3, 3\) was wanted"),
    (lambda: log_rates(3, np.eye(3)), "allows no jump"),
    (lambda: log_rates(3, fixed={(0, 1): -1.0}), r"fixed rate of 0->1 is -1"),
    (lambda: log_rates(3, fixed={(1, 1): 1.0}), "two different states of 0 .. 2"),
    (lambda: log_rates(3, fixed={(0, 3): 1.0}), "two different states of 0 .. 2"),
    (lambda: log_rates(3, CHAIN, tied=[[(0, 1), (0, 2)]]), "0->2, which the mask does not allow"),
    (lambda: log_rates(3, tied=[[(0, 1), (1, 2)], [(0, 1), (2, 0)]]), "0->1 is in two groups"),
    (lambda: log_rates(3, tied=[[(0, 1), (1, 2)]], fixed={(0, 1): 1.0}), "0->1 is fixed"),
    (lambda: log_rates(2, fixed={(0, 1): 1.0, (1, 0): 1.0}), "nothing to fit"),
    (lambda: log_rates(2, effects={"age": "all"}), "'all'; None"),
    (lambda: log_rates(2, names=("a",)), "1 names were given for 2 states"),
    (lambda: reversible_rates(3, np.triu(np.ones((3, 3)))), "allows 0->1 but not its reverse"),
    (lambda: reversible_rates(4, np.kron(np.eye(2), np.ones((2, 2)))), "from state 0 to state 2"),
    (lambda: reversible_rates(2, stationary=[1.0, 0.0]), "2 positive numbers"),
    (lambda: Parametric(lambda t: t * torch.ones(2, 2), [-1.0]), "write them as exponentials"),
    (lambda: Parametric(lambda t: t, [1.0]), r"shape \(1,\)"),
    (lambda: Parametric(two_rates, [0.1, 0.2], names=("a",)), "1 names"),
    (lambda: Parametric(two_rates, [0.1, 0.2], bounds=(1.0, 2.0)), "not within the bounds"),
    (lambda: jump_log_likelihood(-torch.ones(2, 2, dtype=torch.float64), PairCounts.from_pairs(np.ones(1), np.zeros(1, int), np.ones(1, int), 2)),
     "write them as exponentials"),
    (lambda: jump_log_likelihood(torch.ones(3, 3, dtype=torch.float64), PairCounts.from_pairs(np.ones(1), np.zeros(1, int), np.ones(1, int), 2)),
     "between 3 states, the counts between 2"),
])
def test_bad_input(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_wrong_objects():
    with pytest.raises(TypeError, match="theta -> rates"):
        Parametric(3, [1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="returned a list"):
        Parametric(lambda t: [t], [1.0])
