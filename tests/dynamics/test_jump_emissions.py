"""Emissions: their likelihoods, Fisher's identity for their scores, M-steps that raise the likelihood, starts and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from trajlab.dynamics.jumps.emissions import Emission, Exactly, Flip, GaussianEmission, Misclassification, StudentEmission, first_guess
from trajlab.dynamics.jumps.generator import from_rates, stationary, transition
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.dynamics.jumps.smoothing import Intervals, smooth
from trajlab.types import JumpPaths

Q = from_rates(np.array([[0, 1.0, 0.5], [0.4, 0, 0.8], [0.6, 0.9, 0]]))
MASK = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=bool)
MEANS = np.array([[0.0, 1.0], [2.0, -1.0], [4.0, 3.0]])
COV = np.array([[[0.5, 0.2], [0.2, 0.4]], [[0.3, -0.1], [-0.1, 0.6]], [[1.0, 0.0], [0.0, 0.2]]])
LABELS = [Flip(0.2), Misclassification(np.array([[0.8, 0.2, 0], [0.1, 0.7, 0.2], [0, 0.3, 0.7]]), MASK)]
SIGNALS = [
    GaussianEmission(MEANS, np.diagonal(COV, axis1=1, axis2=2)),
    GaussianEmission(MEANS, COV),
    StudentEmission(MEANS, np.full((3, 2), 0.7), 3.0),
    StudentEmission(MEANS, np.full((3, 2), 0.7), 3.0, fixed=True),
]


def hidden(q, n_paths, n_looks, seed=0, lag=0.2):
    """Stationary states of all paths at regular looks, ``[path look]``."""
    rng = np.random.default_rng(seed)
    cumulated = transition(q, np.array(lag)).cumsum(1)
    state = np.empty((n_paths, n_looks), dtype=np.int64)
    state[:, 0] = rng.choice(len(q), n_paths, p=stationary(q))
    for k in range(1, n_looks):
        state[:, k] = (rng.random((n_paths, 1)) > cumulated[state[:, k - 1]]).sum(1).clip(max=len(q) - 1)
    return state


def looks(label, kind=None, lag=0.2, n=3, **more):
    label = np.asarray(label)
    n_paths, n_looks = label.shape
    kind = np.zeros(label.shape, dtype=np.int64) if kind is None else kind
    return JumpPaths(torch.as_tensor(label.ravel()), torch.arange(n_looks).double().repeat(n_paths) * lag,
                     torch.arange(n_paths).repeat_interleave(n_looks), n, observed=torch.as_tensor(kind.ravel()), **more)


def labelled(n_paths=30, n_looks=12, eps=0.2, seed=0):
    """Labels that may be wrong, some looks missing, some censored, some ends entries of known date."""
    rng = np.random.default_rng(seed)
    state = hidden(Q, n_paths, n_looks, seed)
    label = np.where(rng.random(state.shape) < eps, rng.integers(0, 3, state.shape), state)
    kind = np.zeros(state.shape, dtype=np.int64)
    kind[::3, 4], kind[::4, 6], kind[::5, -1] = JumpPaths.MISSING, JumpPaths.CENSORED, JumpPaths.ENTRY
    label[(kind == JumpPaths.MISSING) | (kind == JumpPaths.CENSORED)] = -1
    allowed = torch.ones(label.size, 3, dtype=torch.bool)
    allowed[:, 1] = False
    return looks(label, kind, allowed=allowed)


def signalled(n_paths=30, n_looks=12, seed=0, student=False):
    rng = np.random.default_rng(seed)
    state = hidden(Q, n_paths, n_looks, seed)
    noise = rng.standard_t(3, (*state.shape, 2)) if student else rng.standard_normal((*state.shape, 2))
    signal = MEANS[state] + 0.6 * noise
    kind, label = np.full(state.shape, JumpPaths.SIGNAL), np.full(state.shape, -1)
    kind[::3, 4], kind[::4, 6] = JumpPaths.MISSING, JumpPaths.PANEL
    label[kind == JumpPaths.PANEL] = state[kind == JumpPaths.PANEL]
    signal[kind != JumpPaths.SIGNAL] = np.nan
    return looks(label, kind, signal=torch.as_tensor(signal.reshape(-1, 2))), state


def loglik(emission, paths, q=Q):
    return smooth(q, Intervals.from_paths(paths), emission.likelihood(paths), stationary(q)).loglik


@pytest.mark.parametrize("which", range(6))
def test_fisher_identity(which):
    emission = (LABELS + SIGNALS)[which]
    paths = labelled() if which < 2 else signalled()[0]
    found = smooth(Q, Intervals.from_paths(paths), emission.likelihood(paths), stationary(Q))
    x = emission.parameters
    assert isinstance(emission, Emission)
    assert len(x) == len(emission.names) == len(emission.bounds) == len(set(emission.names))
    assert ((emission.bounds[:, 0] < x) & (x < emission.bounds[:, 1])).all()
    assert loglik(emission.with_parameters(x), paths) == pytest.approx(found.loglik, abs=1e-9)
    numeric = []
    for k in range(len(x)):
        step = 1e-5 * np.eye(len(x))[k]
        numeric.append((loglik(emission.with_parameters(x + step), paths) - loglik(emission.with_parameters(x - step), paths)) / 2e-5)
    np.testing.assert_allclose(emission.score(found.posterior, paths), numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("which", range(6))
def test_updates_raise_the_likelihood_up_to_a_zero_of_the_score(which):
    emission = (LABELS + SIGNALS)[which]
    paths = labelled(60) if which < 2 else signalled(60)[0]
    intervals, last = Intervals.from_paths(paths), -np.inf
    for _ in range(400):
        found = smooth(Q, intervals, emission.likelihood(paths), stationary(Q))
        assert found.loglik >= last - 1e-9
        if found.loglik - last < 1e-10:
            break
        last = found.loglik
        emission = emission.updated(found.posterior, paths)
    free = (emission.parameters > emission.bounds[:, 0] + 1e-3) & (emission.parameters < emission.bounds[:, 1] - 1e-3)
    assert np.abs(emission.score(found.posterior, paths)[free]).max() < 2e-2


def test_densities_are_those_of_scipy():
    paths, _ = signalled(4)
    x, seen = paths.signal.numpy(), (paths.observed == JumpPaths.SIGNAL).numpy()
    gauss, student = SIGNALS[1].likelihood(paths), SIGNALS[2].likelihood(paths)
    first = [stats.multivariate_normal(m, c).logpdf(x[seen]) for m, c in zip(MEANS, COV)]
    other = [stats.multivariate_t(m, 0.49 * np.eye(2), 3.0).logpdf(x[seen]) for m in MEANS]
    for found, logs in ((gauss, np.stack(first, 1)), (student, np.stack(other, 1))):
        rows = np.asarray(found)
        np.testing.assert_allclose(np.log(rows[seen]), logs - logs.max(1, keepdims=True), atol=1e-10)
        assert found.log_scale == pytest.approx(logs.max(1).sum())
        assert (rows[(paths.observed == JumpPaths.MISSING).numpy()] == 1).all()
        labels = (paths.observed == JumpPaths.PANEL).numpy()
        assert (rows[labels] == np.eye(3)[paths.label.numpy()[labels]]).all()


def test_rows_of_each_kind():
    paths = labelled()
    rows, kind, label = np.asarray(Flip(0.3).likelihood(paths)), paths.observed.numpy(), paths.label.numpy()
    assert (rows[kind == JumpPaths.MISSING] == 1).all()
    assert (rows[kind == JumpPaths.CENSORED] == [1, 0, 1]).all()
    ends = kind == JumpPaths.ENTRY
    assert (rows[ends] == np.eye(3)[label[ends]]).all()
    panel = kind == JumpPaths.PANEL
    np.testing.assert_allclose(rows[panel], 0.7 * np.eye(3)[label[panel]] + 0.1, atol=1e-15)
    asked = np.asarray(Flip(0.3, noisy=(JumpPaths.PANEL, JumpPaths.ENTRY)).likelihood(paths))
    np.testing.assert_allclose(asked[ends], 0.7 * np.eye(3)[label[ends]] + 0.1, atol=1e-15)
    matrix = LABELS[1].matrix
    np.testing.assert_allclose(np.asarray(LABELS[1].likelihood(paths))[panel], matrix[:, label[panel]].T)
    assert (np.asarray(Exactly().likelihood(paths))[panel] == np.eye(3)[label[panel]]).all()


def test_level_and_confusions_are_found():
    paths = labelled(400, 30, eps=0.1)
    intervals, flip, matrix = Intervals.from_paths(paths), Flip(), Misclassification.start(paths)
    for _ in range(15):
        flip = flip.updated(smooth(Q, intervals, flip.likelihood(paths), stationary(Q)).posterior, paths)
        matrix = matrix.updated(smooth(Q, intervals, matrix.likelihood(paths), stationary(Q)).posterior, paths)
    assert flip.eps == pytest.approx(0.1, rel=0.1)
    np.testing.assert_allclose(matrix.matrix, Flip(0.1).matrix(3), atol=0.025)


def test_pseudo_counts():
    paths = labelled()
    posterior = np.zeros((len(paths.label), 3))  # no expected counts: the prior alone speaks
    assert Flip(0.3, prior=(90.0, 10.0)).updated(posterior, paths).eps == pytest.approx(0.15)
    best = Flip(0.15, prior=(90.0, 10.0))
    assert best.prior_score(3) == pytest.approx([0.0], abs=1e-12)
    h = 1e-6
    for emission in (Flip(0.3, prior=(20.0, 0.4)), Misclassification(LABELS[1].matrix, MASK, np.full((3, 3), 2.0))):
        x = emission.parameters
        moved = [emission.with_parameters(x + s * h * np.eye(len(x))[0]).log_prior(3) for s in (1, -1)]
        assert emission.prior_score(3)[0] == pytest.approx((moved[0] - moved[1]) / (2 * h), rel=1e-6)
    kept = Misclassification(LABELS[1].matrix, MASK).updated(posterior, paths)
    assert (kept.matrix == LABELS[1].matrix).all()
    known = Flip(0.1, fixed=True)
    assert known.updated(posterior, paths) is known
    assert len(known.parameters) == len(known.score(posterior, paths)) == 0


def test_outliers_pull_the_student_less():
    paths, state = signalled(100, 20, student=True)
    gauss, student = GaussianEmission.start(paths), StudentEmission.start(paths)
    intervals = Intervals.from_paths(paths)
    errors = []
    for emission in (gauss, student):
        for _ in range(25):
            found = smooth(Q, intervals, emission.likelihood(paths), stationary(Q))
            emission = emission.updated(found.posterior, paths)
        errors.append((np.abs(emission.mean - MEANS).max(), (found.posterior.argmax(1) != state.ravel()).mean()))
    assert errors[1][0] < 0.15
    assert errors[1][1] < errors[0][1]
    assert 2 < emission.df < 5


def test_far_values_rule_nothing_out():
    paths = looks(np.full((1, 4), -1), np.full((1, 4), JumpPaths.SIGNAL), n=2, signal=torch.tensor([[0.0], [5000.0], [0.0], [1.0]]).double())
    emission = GaussianEmission(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    q = from_rates(np.ones((2, 2)))
    assert loglik(emission, paths, q) == pytest.approx(-0.5 * 4999**2, rel=1e-3)
    once = from_rates(np.array([[0, 1.0], [0, 0]]))  # the far value speaks for the state that is never left, the last look says no
    kind = np.array([[JumpPaths.SIGNAL] * 3 + [JumpPaths.PANEL]])
    paths = paths.replace(observed=torch.as_tensor(kind[0]), label=torch.tensor([-1, -1, -1, 0]))
    found = smooth(once, Intervals.from_paths(paths), emission.likelihood(paths), np.array([1.0, 0.0]))
    assert np.isfinite(found.loglik)
    np.testing.assert_allclose(found.posterior[:, 0], 1)


def test_starts():
    paths, state = signalled(200, 10)
    for kind in (GaussianEmission, StudentEmission):
        emission = kind.start(paths, seed=3)
        assert (emission.parameters == kind.start(paths, seed=3).parameters).all()
        assert np.abs(emission.mean - MEANS).max() < 0.25  # numbered by the first dimension
        np.testing.assert_allclose(emission.unit, np.nanstd(paths.signal.numpy(), 0))
    guess = first_guess(paths, emission)
    kept = (paths.observed != JumpPaths.MISSING).numpy()
    assert (guess.label.numpy() == state.ravel()[kept]).mean() > 0.9
    assert pair_counts(guess)[0].weight.sum() == kept.sum() - 200
    # a second look at one time is left out, and so is a missing one; the jump after it becomes a look, a later one stays a jump
    kind = np.array([[0, 0, JumpPaths.MISSING, JumpPaths.EXACT, JumpPaths.EXACT]])
    few = looks([[0, 1, -1, 2, 0]], kind).replace(time=torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0]).double())
    short = first_guess(few, Flip(0.1))
    assert short.label.tolist() == [0, 2, 0]
    assert short.observed.tolist() == [JumpPaths.PANEL, JumpPaths.PANEL, JumpPaths.EXACT]
    again = first_guess(labelled(), Flip(0.1))
    assert set(again.observed.tolist()) == {JumpPaths.PANEL, JumpPaths.ENTRY}
    assert pair_counts(again)


def test_unit_of_the_signal_does_not_matter():
    paths, _ = signalled()
    small = paths.replace(signal=paths.signal * 1e-6)
    for kind in (GaussianEmission, StudentEmission):
        one, two = kind.start(paths), kind.start(small)
        posterior = np.asarray(one.likelihood(paths))
        posterior = posterior / posterior.sum(1, keepdims=True)
        np.testing.assert_allclose(one.parameters, two.parameters, atol=1e-8)
        np.testing.assert_allclose(one.score(posterior, paths), two.score(posterior, small), atol=1e-6)
        np.testing.assert_allclose(one.updated(posterior, paths).parameters, two.updated(posterior, small).parameters, atol=1e-6)


def test_no_state_shrinks_to_a_point():
    paths, _ = signalled()
    posterior = np.zeros((len(paths.label), 3))
    posterior[0, 0] = posterior[1:, 1] = 1.0
    for emission in SIGNALS[:3]:
        found = emission.updated(posterior, paths)
        assert np.isfinite(found.parameters).all()
        widths = found.scale if isinstance(found, StudentEmission) else np.diagonal(found.factor, axis1=1, axis2=2)
        assert (widths[0] >= 0.99e-3 * found.unit).all()
        assert (found.mean[2] == emission.mean[2]).all()


def test_double_well_of_deeptime(reference):
    data = np.load(reference / "jumps" / "hmm-doublewell-2d-100k.npz")
    x, truth, matrix = data["trajectory"], data["discrete_trajectory"].ravel(), data["transition_matrix"]
    paths = JumpPaths(torch.full((len(x),), -1), torch.arange(len(x)).double(), torch.zeros(len(x), dtype=torch.long), 2,
                      observed=torch.full((len(x),), JumpPaths.SIGNAL), signal=torch.as_tensor(x))
    emission, intervals = GaussianEmission.start(paths, full=True), Intervals.from_paths(paths)
    counts = pair_counts(first_guess(paths, emission))[0].matrix
    step = counts / counts.sum(1, keepdims=True)
    for _ in range(4):  # one lag: the transition matrix itself stands in for the generator
        rate = -np.log(1 - step[0, 1] - step[1, 0]) / (step[0, 1] + step[1, 0])
        q = from_rates(rate * step)
        found = smooth(q, intervals, emission.likelihood(paths), stationary(q))
        emission = emission.updated(found.posterior, paths)
        counts = found.counts[0].matrix
        step = counts / counts.sum(1, keepdims=True)
    states = found.posterior.argmax(1)
    same = (states == truth).mean()
    swap = slice(None, None, 1 if same > 0.5 else -1)
    assert max(same, 1 - same) > 0.99
    np.testing.assert_allclose(step[swap, swap], matrix, atol=0.005)


def test_bad_input():
    labels, (signals, _) = labelled(), signalled()
    with pytest.raises(ValueError, match=r"eps is 1\.5"):
        Flip(1.5)
    with pytest.raises(ValueError, match="are of a signal, which labels say nothing of"):
        Flip(0.1).likelihood(signals)
    with pytest.raises(ValueError, match="no observation is of a signal"):
        SIGNALS[0].likelihood(labels)
    with pytest.raises(ValueError, match="the signal has 2 dimensions, the emission 1"):
        GaussianEmission(np.zeros(3), np.ones(3)).likelihood(signals)
    with pytest.raises(ValueError, match="2 states, the paths 3"):
        GaussianEmission(np.zeros((2, 2)), np.ones((2, 2))).likelihood(signals)
    with pytest.raises(ValueError, match="2 states, the paths 3"):
        Misclassification(np.eye(2)).likelihood(labels)
    with pytest.raises(ValueError, match="sum to one"):
        Misclassification(np.ones((3, 3)))
    with pytest.raises(ValueError, match="state 0 is seen as 1 with probability"):
        Misclassification(np.array([[0.5, 0.5], [0, 1]]), np.eye(2, dtype=bool))
    with pytest.raises(ValueError, match="the means have shape"):
        GaussianEmission(np.zeros((3, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="positive"):
        StudentEmission(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="not positive definite"):
        GaussianEmission(np.zeros((1, 2)), np.array([[[1.0, 2.0], [2.0, 1.0]]]))
    with pytest.raises(ValueError, match="df is -1"):
        StudentEmission(np.zeros(3), np.ones(3), -1.0)
    flat = looks(np.full((1, 4), -1), np.full((1, 4), JumpPaths.SIGNAL), n=2, signal=torch.ones(4, 1).double())
    with pytest.raises(ValueError, match="dimension 0 of the signal is constant"):
        GaussianEmission.start(flat)
    few = flat.replace(signal=torch.tensor([[0.0], [1.0], [1.0], [0.0]]).double(), n_states=3)
    with pytest.raises(ValueError, match="fewer than 3 distinct values"):
        GaussianEmission.start(few)
    unseen = looks(np.full((1, 3), -1), np.full((1, 3), JumpPaths.MISSING))
    with pytest.raises(ValueError, match="that tell its state"):
        first_guess(unseen, Flip(0.1))
