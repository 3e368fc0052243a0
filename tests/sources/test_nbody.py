"""N-body systems: known orbits, conserved quantities, and the published recipe with what is known about it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from trajlab.sources import nbody_kernels as kernels
from trajlab.sources.nbody import CHARGED, GRAVITY, SPRINGS, find, invariants, nbody, starts

FREE = float("inf")


def drift(quantity):
    """The largest change of a conserved quantity since the first frame, a scene."""
    change = (quantity - quantity[:, :1]).abs()
    return change.flatten(1).max(1).values


@pytest.fixture(scope="module")
def published():
    return {"charged": nbody("charged", 400), "springs": nbody("springs", 60), "gravity": nbody("gravity", 40)}


@pytest.fixture(scope="module")
def accurate():
    return {"charged": nbody("charged", 400, "accurate"), "springs": nbody("springs", 60, "accurate"), "gravity": nbody("gravity", 40, "accurate")}


@pytest.mark.parametrize(("system", "bodies", "first", "most"), [("charged", 5, 0.1, 49), ("springs", 5, 0.1, 49), ("gravity", 10, 0.0, 50)])
def test_shape_clock_and_names(published, system, bodies, first, most):
    t = published[system]
    assert (t.n_nodes, t.n_frames, t.dim) == (t.n_scenes * bodies, 30, 3)
    torch.testing.assert_close(t.time[0], first + 0.1 * torch.arange(30, dtype=torch.float64))
    assert torch.equal(t.context["run"], torch.arange(t.n_scenes))
    assert bool((t.mass == 1).all())
    assert ("charge" in t.static, "spring" in t.static) == (system == "charged", system == "springs")
    assert t.source["system"] == system
    assert nbody(system, 1, frames=most).n_frames == most
    with pytest.raises(ValueError, match=f"which has {most}"):
        nbody(system, 1, frames=most + 1)
    assert nbody(system, 1, "accurate", frames=most + 1).n_frames == most + 1


def test_starts_are_as_published():
    charged, springs, gravity = (starts(s, 4000, 1, s.bodies) for s in (CHARGED, SPRINGS, GRAVITY))
    assert charged.x.std() == pytest.approx(1.0, abs=0.02)
    assert springs.x.std() == pytest.approx(0.5, abs=0.01)
    assert gravity.x.std() == pytest.approx(1.0, abs=0.02)
    for s in (charged, springs):
        np.testing.assert_allclose(np.linalg.norm(s.v, axis=-1), 0.5, rtol=1e-12)
        assert abs(s.v.mean()) < 0.01
    np.testing.assert_allclose(gravity.v.mean(1), 0, atol=1e-14)
    assert gravity.v.std() == pytest.approx(math.sqrt(0.9), abs=0.02)
    assert set(np.unique(charged.sign)) == {-1.0, 1.0}
    assert charged.sign.mean() == pytest.approx(0, abs=0.03)
    np.testing.assert_array_equal(charged.coupling, charged.sign[:, :, None] * charged.sign[:, None])
    np.testing.assert_array_equal(springs.coupling, springs.coupling.transpose(0, 2, 1))
    assert not np.diagonal(springs.coupling, axis1=1, axis2=2).any()
    assert springs.coupling[:, *np.triu_indices(5, 1)].mean() == pytest.approx(0.5, abs=0.01)
    assert starts(CHARGED, 2000, 1, 10).x.std() == pytest.approx(2 ** (1 / 3), abs=0.02)


def test_starts_are_reflected_once_and_there_are_no_walls_later():
    wide = replace(CHARGED, spread=4.0)  # a tenth of the coordinates start beyond 5
    inside, free = starts(wide, 400, 0, 5), starts(replace(wide, cap=FREE), 400, 0, 5)
    np.testing.assert_array_equal(inside.x, np.where(free.x > 5, 10 - free.x, np.where(free.x < -5, -10 - free.x, free.x)))
    np.testing.assert_array_equal(inside.v, np.where(free.x > 5, -abs(free.v), np.where(free.x < -5, abs(free.v), free.v)))
    assert (np.abs(free.x) > 5).mean() > 0.1
    assert float(nbody("charged", 300, frames=49).x.abs().max()) > 6.0


def test_first_trajectories_do_not_depend_on_their_number(published):
    few = nbody("charged", 3)
    torch.testing.assert_close(few.x, published["charged"].x[:15], rtol=0, atol=0)
    assert not torch.equal(nbody("charged", 3, seed=1).x, few.x)


def test_published_steps_by_hand():
    """Two unit charges on a line: v += dt F, x += dt v, with the force cut off at 100."""
    x, v = np.array([[[0.05, 0, 0], [-0.05, 0, 0.0]]]), np.zeros((1, 2, 3))
    c = np.ones((1, 2, 2))
    out, speed = kernels.euler(kernels.COULOMB, x, v, c, 1e-3, 1, 2, 99.0)
    np.testing.assert_allclose(speed[0, 0, 0], [0.099, 0, 0], rtol=1e-14)  # force 1/0.1^2 = 100, cut off at 99
    np.testing.assert_allclose(out[0, 0, 0], [0.05 + 0.099e-3, 0, 0], rtol=1e-14)
    r = 0.1 + 2 * 0.099e-3
    np.testing.assert_allclose(speed[0, 1, 0], [0.099 + min(1e-3 / r**2, 0.099), 0, 0], rtol=1e-14)


def test_forces_and_energies_by_hand():
    x, c, f = np.array([[0.1, 0, 0], [0, 0, 0.0]]), np.ones((2, 2)), np.empty((2, 3))
    for law, energy, force in ((kernels.COULOMB, 10.0, 100.0), (kernels.HOOKE, 0.05 * 0.01, -0.01),
                               (kernels.NEWTON, -1 / math.sqrt(0.02), -0.1 / 0.02**1.5)):
        assert kernels.forces(law, x, c, f) == pytest.approx(energy, rel=1e-12)
        np.testing.assert_allclose(f, [[force, 0, 0], [-force, 0, 0]], rtol=1e-12)
    assert CHARGED.cap == SPRINGS.cap == 100
    assert GRAVITY.cap == FREE


def test_invariants_by_hand(accurate):
    t = accurate["gravity"]
    kept = invariants(t)
    x, v = t.x[:10].numpy(), t.velocity[:10].numpy()
    np.testing.assert_allclose(kept.angular[0], np.cross(x, v).sum(0), atol=1e-12)
    np.testing.assert_allclose(kept.momentum[0], v.sum(0), atol=1e-12)
    d2 = np.square(x[:, None, 5] - x[None, :, 5]).sum(-1)
    energy = 0.5 * np.square(v[:, 5]).sum() - np.triu(1 / np.sqrt(d2 + 0.01), 1).sum()
    assert float(kept.energy[0, 5]) == pytest.approx(energy, rel=1e-12)


def test_springs_are_an_oscillator():
    """Two bodies and a spring of 0.1: the distance oscillates at omega^2 = 0.2."""
    x, v, c = np.array([[[0.5, 0, 0], [-0.5, 0, 0.0]]]), np.zeros((1, 2, 3)), np.ones((1, 2, 2))
    times = np.linspace(0.5, 20, 40)
    out, _, _ = kernels.dormand_prince(kernels.HOOKE, x, v, c, times, 1e-11, 10**6)
    np.testing.assert_allclose(out[0, :, 0, 0], 0.5 * np.cos(math.sqrt(0.2) * times), atol=1e-9)


@pytest.mark.parametrize("eccentricity", [0.0, 0.9, 0.999])
def test_kepler_orbits_close(eccentricity):
    """Opposite unit charges: reduced mass 1/2, so a period of 2 pi sqrt(a^3/2); one revolution returns to the start."""
    a = 1.0
    far = a * (1 + eccentricity)
    speed = math.sqrt(2 * (2 / far - 1 / a))  # of the relative motion
    x = np.array([[[far / 2, 0, 0], [-far / 2, 0, 0.0]]])
    v = np.array([[[0, speed / 2, 0], [0, -speed / 2, 0.0]]])
    c = -np.ones((1, 2, 2))
    period = 2 * math.pi * math.sqrt(a**3 / 2)
    out, back, _ = kernels.dormand_prince(kernels.COULOMB, x, v, c, np.array([period]), 1e-12, 10**6)
    np.testing.assert_allclose(out[0, 0], x[0], atol=2e-7)
    np.testing.assert_allclose(back[0, 0], v[0], atol=2e-7)


def test_verlet_is_of_second_order():
    s = starts(GRAVITY, 4, 3, 10)
    exact = kernels.dormand_prince(kernels.NEWTON, s.x, s.v, s.coupling, np.array([0.5]), 1e-12, 10**6)[0][:, 0]
    error = [np.abs(kernels.verlet(kernels.NEWTON, s.x, s.v, s.coupling, 0.5 / k, k, 2)[0][:, 1] - exact).max() for k in (500, 1000)]
    assert error[0] / error[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("system", ["charged", "springs", "gravity"])
def test_accurate_recipe_conserves(accurate, system):
    kept = invariants(accurate[system])
    energy = drift(kept.energy) / (1 + kept.energy[:, 0].abs())
    assert float(energy.quantile(0.99)) < 1e-6
    assert float(energy.max()) < 1e-3
    assert float(drift(kept.momentum).max()) < 1e-10
    assert float(drift(kept.angular).quantile(0.99)) < 1e-7


def test_published_recipe_conserves_what_it_is_known_to(published):
    springs, gravity = invariants(published["springs"]), invariants(published["gravity"])
    assert float((drift(springs.energy) / springs.energy[:, 0].abs()).median()) < 1e-7
    assert float(drift(springs.momentum).max()) < 1e-13
    assert float((drift(gravity.energy) / (1 + gravity.energy[:, 0].abs())).quantile(0.95)) < 3e-4
    for kept in (springs, gravity):
        assert float(drift(kept.angular).max()) < 1e-11


def test_published_charges_are_artefacts_in_two_trajectories_of_five(published, accurate):
    t = published["charged"]
    assert float((t.context["energy_change"] > 0.1).double().mean()) == pytest.approx(0.39, abs=0.06)
    assert float(drift(invariants(t).momentum).max()) > 0.01  # the cap acts by components
    moved = (t.x - accurate["charged"].x)[:, 10:].norm(dim=-1).reshape(400, 5, 20).mean((1, 2))
    assert float((moved > 0.1).double().mean()) == pytest.approx(0.34, abs=0.06)
    assert float(moved.mean()) == pytest.approx(0.17, abs=0.05)
    quiet = t.context["energy_change"] < 1e-3
    assert float(moved[quiet].median()) < 1e-2


@pytest.mark.parametrize(("system", "last"), [("charged", (0.80, 1.48)), ("springs", (0.486, 0.898)), ("gravity", (1.36, 2.2))])
def test_last_position_errs_as_is_known(system, last):
    n = 300 if system != "gravity" else 100
    x = nbody(system, n, seed=5).x.reshape(n, -1, 30, 3)
    error = (x[:, :, 10:] - x[:, :, 9:10]).norm(dim=-1)
    assert float(error.mean()) == pytest.approx(last[0], rel=0.08)
    assert float(error[..., -1].mean()) == pytest.approx(last[1], rel=0.08)


def test_invariants_follow_the_saved_velocities(published):
    """Without the half step between velocities and positions, the energy of springs seems to wander a thousand times more."""
    t = published["springs"]
    naive = invariants(t.replace(source={**t.source, "lag": 0.0}))
    assert float(drift(naive.energy).median()) > 100 * float(drift(invariants(t).energy).median())


def test_other_numbers_of_bodies():
    t = nbody("charged", 2, "accurate", frames=4, bodies=3)
    assert t.n_nodes == 6
    assert nbody("springs", 2, frames=4, bodies=7).static["spring"].shape == (14, 7)


@pytest.mark.parametrize(("arguments", "words"), [
    ({"system": "charge", "n": 1}, "did you mean 'charged'"),
    ({"system": "charged", "n": 1, "recipe": "acurate"}, "did you mean 'accurate'"),
    ({"system": "charged", "n": 0}, "n=0"),
    ({"system": "charged", "n": 1, "frames": 0}, "frames=0"),
    ({"system": "charged", "n": 1, "bodies": 1}, "bodies=1"),
    ({"system": "charged", "n": 1, "tolerance": 0.5}, "tolerance=0.5"),
])
def test_bad_input(arguments, words):
    with pytest.raises(ValueError, match=words):
        nbody(**arguments)


def test_invariants_of_something_else(published):
    with pytest.raises(ValueError, match="not made by"):
        invariants(published["charged"].replace(source={}))
    assert find("springs") is SPRINGS
