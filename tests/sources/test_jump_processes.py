"""Reference jump processes: their published numbers, their laws, cards, and what bad parameters are told."""

from __future__ import annotations

import numpy as np
import pytest

import trajlab as tl
from trajlab.dynamics.jumps.from_mfpt import generator_from_mfpt
from trajlab.dynamics.jumps.generator import from_rates, mean_jump_rate, stationary
from trajlab.sources import JUMP_PROCESSES
from trajlab.sources.jump_process_cards import CARDS

KOEHS = np.array([[0, 0.068, 0.054], [0.133, 0, 0.033], [0.181, 0.092, 0]])


def entropy_production(q, pi):
    flux = pi[:, None] * q
    both = (flux > 0) & (flux.T > 0)
    return 0.5 * ((flux - flux.T)[both] * np.log(flux[both] / flux.T[both])).sum()


def relaxation(q):
    values = np.linalg.eigvals(q)
    return np.sort(-1 / values[np.abs(values) > 1e-9 * np.abs(values).max()].real)[::-1]


def passages(q):
    n = len(q)
    m = np.zeros((n, n))
    for j in range(n):
        rest = np.arange(n) != j
        m[rest, j] = np.linalg.solve(q[np.ix_(rest, rest)], -np.ones(n - 1))
    return m


@pytest.mark.parametrize(("V", "sigma"), [(0, 0.0), (1, 0.17919), (2, 0.56565), (3, 0.99274)])
def test_flashing_ratchet(V, sigma):
    p = tl.jump_process("flashing_ratchet", V=float(V))
    assert entropy_production(p.q, p.stationary) == pytest.approx(sigma, abs=6e-6)
    assert relaxation(p.q)[0] == pytest.approx(0.5, abs=1e-9)
    if V == 1:
        assert p.stationary == pytest.approx([0.30119, 0.13654, 0.06227, 0.20030, 0.15914, 0.14057], abs=6e-6)
        assert mean_jump_rate(p.q) == pytest.approx(2.87, abs=0.005)
        assert p.q[0, 2] == pytest.approx(np.exp(-1.0))
        assert p.q[1, 0] == pytest.approx(np.exp(0.5))
    hot = tl.jump_process("flashing_ratchet", V=2.0, T=2.0, r=3.0, b=0.5).q
    assert hot[:3, :3] == pytest.approx(tl.jump_process("flashing_ratchet", r=3.0).q[:3, :3])
    assert (hot[0, 3], hot[3, 4]) == (3.0, 0.5)


def test_ion_channel_has_the_published_passages():
    p = tl.jump_process("ion_channel")
    assert p.q == pytest.approx(np.array([[-29.9, 18.7, 11.3], [24.0, -69.5, 45.5], [2.8, 10.1, -13.0]]), abs=0.06)
    assert passages(p.q) == pytest.approx(KOEHS, abs=1e-14)
    assert p.stationary == pytest.approx([0.180, 0.150, 0.671], abs=0.004)
    assert relaxation(p.q) == pytest.approx([0.034, 0.012], abs=5e-4)
    assert p.units.time == "s"


def test_alanine_dipeptide():
    p = tl.jump_process("alanine_dipeptide")
    assert p.stationary == pytest.approx([0.298, 0.312, 0.232, 0.097, 0.053, 0.008], abs=6e-4)
    assert relaxation(p.q) == pytest.approx([0.691, 0.068, 0.039, 0.009, 0.009], abs=6e-4)
    assert entropy_production(p.q, p.stationary) == pytest.approx(1.03, abs=0.005)
    balanced = tl.jump_process("alanine_dipeptide", reversible=True)
    assert balanced.stationary == pytest.approx(p.stationary, abs=1e-12)
    assert entropy_production(balanced.q, balanced.stationary) < 1e-12


def test_small_ones():
    assert relaxation(tl.jump_process("two_mode_switching", up=0.3, down=0.1).q) == pytest.approx([2.5])
    assert tl.jump_process("protein_folding").stationary == pytest.approx([0.752, 0.248], abs=5e-4)
    p = tl.jump_process("ring", n=5, forward=2.0, backward=0.5)
    assert p.stationary == pytest.approx(np.full(5, 0.2))
    assert entropy_production(p.q, p.stationary) == pytest.approx(1.5 * np.log(4.0))
    assert (np.linalg.eigvals(p.q).imag != 0).sum() == 4
    assert np.count_nonzero(tl.jump_process("ring", n=5, backward=0.0).q) == 10
    queue = tl.jump_process("birth_death", n=6, birth=2.0, death=1.0)
    assert queue.stationary == pytest.approx(2.0 ** np.arange(6) / 63)
    each = tl.jump_process("birth_death", n=4, birth=2.0, each=True)
    assert each.stationary == pytest.approx(np.array([6, 12, 12, 8]) / 38)
    assert np.diag(tl.jump_process("illness_death").q)[-1] == 0
    drawn = tl.jump_process("random", seed=3, n=7, family="absorbing", prior="wide")
    assert drawn.n_states == 7
    assert drawn.q == pytest.approx(tl.jump_process("random", seed=3, n=7, family="absorbing", prior="wide").q)


@pytest.mark.parametrize("name", JUMP_PROCESSES)
def test_each_can_be_simulated_and_has_a_card(name):
    p = tl.jump_process(name)
    paths = p.simulate(40, seed=2)
    assert (paths.n_paths, len(paths.label), paths.n_states) == (40, 40 * p.times[1], p.n_states)
    assert paths.units.time == p.card.time
    assert paths.names == p.names
    assert paths.source["process"] == name
    assert paths.source["seed"] == 2
    assert p.card is CARDS[name]
    assert p.card.what.endswith(".")
    assert p.card.citation
    assert repr(p).startswith(f"JumpProcess({name}(")
    changes = ((paths.label.diff() != 0) & (paths.path.diff() == 0)).sum()
    assert changes > 40, "customary times see jumps"
    assert p.simulate(3, (1.0, 4), initial=0, keep="jumps").time.max() == 1.0
    with pytest.raises(ValueError, match="read-only"):
        p.q[0, 0] = 1.0


def test_cards_and_table_agree():
    assert set(CARDS) == set(JUMP_PROCESSES)


@pytest.mark.parametrize(("name", "given", "message"), [
    ("flashing_rachet", {}, "did you mean 'flashing_ratchet'"),
    ("ion_channel", {"V": 1.0}, "ion_channel has no parameters"),
    ("ring", {"foward": 1.0}, "did you mean 'forward'"),
    ("ring", {"n": 2}, "at least 3 states"),
    ("ring", {"backward": -1.0}, "not negative"),
    ("birth_death", {"birth": 0.0}, "birth = 0.0; a positive number"),
    ("flashing_ratchet", {"T": float("nan")}, "T = nan"),
    ("flashing_ratchet", {"V": float("inf")}, "V = inf is not finite"),
    ("illness_death", {"recovery": -0.1}, "recovery = -0.1"),
    ("random", {"prior": "wid"}, "did you mean 'wide'"),
    ("random", {"family": "rings"}, "did you mean 'ring'"),
])
def test_bad_names_and_parameters_are_told(name, given, message):
    with pytest.raises(ValueError, match=message):
        tl.jump_process(name, **given)


def test_generators_come_back_from_their_passages():
    rng = np.random.default_rng(0)
    for n in (2, 3, 6, 15):
        q = from_rates(rng.gamma(1.0, 1.0, (n, n)) * (rng.random((n, n)) < 0.6) + np.roll(np.eye(n), 1, 0))
        back = generator_from_mfpt(1e-9 * passages(q)) * 1e-9
        assert back == pytest.approx(q, abs=1e-10 * np.abs(q).max())
        assert stationary(back) == pytest.approx(stationary(q))


def test_passages_of_no_process_are_told():
    with pytest.raises(ValueError, match=r"belong to no Markov jump process: they imply a rate of -8\.26 from 2 to 0"):
        generator_from_mfpt(np.array([[0, 0.019, 0.031], [0.083, 0, 0.014], [0.119, 0.018, 0]]))
    with pytest.raises(ValueError, match="imply the stationary distribution"):
        generator_from_mfpt(np.array([[0, 1.0, 9.0], [1.0, 0, 1.0], [9.0, 1.0, 0]]))
    for bad, message in ((np.eye(3), "zero on the diagonal"), (np.zeros((2, 3)), r"shape \(2, 3\)"), (np.zeros((2, 2)), "positive elsewhere"),
                         (np.zeros((1, 1)), "at least two states")):
        with pytest.raises(ValueError, match=message):
            generator_from_mfpt(bad)
