"""Right-hand sides written here against those of the catalogue."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numba import njit

from trajlab.dynamics import compiled
from trajlab.sources import chaos_ported_maps
from trajlab.sources.chaos import chaos, names
from trajlab.sources.chaos_ported import PORTED


def catalogue(name):
    from dysts import flows, maps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(flows if hasattr(flows, name) else maps, name)()


def states(system, count=6):
    return system.start * (1 + 0.2 * np.random.default_rng(0).uniform(-1, 1, (count, system.dim))) + 0.01


@pytest.mark.parametrize("name", sorted(PORTED))
def test_each_port_is_the_catalogues(name):
    system, theirs = chaos(name), catalogue(name)
    x = states(system)
    wanted = np.array([np.asarray(theirs.rhs(row, 0.3), dtype=float) for row in x])
    np.testing.assert_allclose(system.field(0.3, x), wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())
    np.testing.assert_allclose(system.field(0.3, x[0]), wanted[0], rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["MacArthur", "MultiChua", "Colpitts", "InteriorSquirmer"])
def test_an_imaginary_step_has_the_derivative_of_the_branch(name):
    system = chaos(name)
    x, v = states(system, 1)[0], np.random.default_rng(1).normal(size=system.dim)
    there = [np.asarray(system.field.function(0.0, z, system.field.p)) for z in (x + 1e-20j * v, x + 1e-6 * v, x - 1e-6 * v)]
    slope = (there[1] - there[2]) / 2e-6
    np.testing.assert_allclose(there[0].imag / 1e-20, slope, rtol=1e-5, atol=1e-7 * np.abs(slope).max())


@pytest.mark.parametrize("name", ["MacArthur", "Hopfield", "BickleyJet", "Thomas"])
def test_compiled_is_as_called(name):
    system = chaos(name)
    out = np.empty(system.dim)
    system.field.rhs(0.3, system.start, system.field.p, out)
    np.testing.assert_allclose(out, system.field(0.3, system.start), rtol=1e-13)


def test_every_other_right_hand_side_takes_batches():
    for name in set(names("ode")) - set(PORTED):
        system = chaos(name)
        x = states(system, 3)
        rates = system.field(0.3, x)
        assert rates.shape == x.shape
        np.testing.assert_allclose(rates[1], system.field(0.3, x[1]), rtol=1e-12, atol=1e-13 * np.abs(rates).max())


def test_the_blinking_vortex():
    r, theta = np.array([0.3, 0.5, 0.8]), np.array([0.4, -2.0, 3.0])
    turn = chaos_ported_maps.half_turn
    here = turn(r, theta, 1.0, 0.5, 1.0, 1.5)
    theirs = catalogue("BlinkingVortexMap").rhs(np.stack([r, theta], 1))
    np.testing.assert_allclose(np.stack(here, 1), theirs, atol=1e-9)
    # two turns of the same vortex are one of twice the time; a fast one keeps its distance from the vortex
    np.testing.assert_allclose(turn(*turn(r, theta, 1.0, 0.5, 1.0, 0.7), 1.0, 0.5, 1.0, 0.8), here, atol=1e-12)
    # velocity of a vortex of strength 1 at b with its image, by a small time
    z = r * np.exp(1j * theta)
    after = turn(r, theta, 1.0, 0.5, 1.0, 1e-6)
    moved = (after[0] * np.exp(1j * after[1]) - z) / 1e-6
    wanted = np.conj((1 / (z - 0.5) - 1 / (z - 2.0)) / (2j * np.pi))
    np.testing.assert_allclose(moved, wanted, atol=1e-4)


@pytest.mark.parametrize("name", sorted(chaos_ported_maps.INVERSES))
def test_inverses_undo_their_maps(name):
    system = chaos(name)
    x = states(system)
    np.testing.assert_allclose(system.field.backward()(system.field(x)), x, rtol=1e-9, atol=1e-9)


def test_the_helpers_compile_for_complex_numbers():
    from trajlab.sources import chaos_ported as ported

    ramp, lesser = njit(lambda x: ported.ramp(x)), njit(lambda a, b: ported.lesser(a, b))
    assert [ramp(x) for x in (-2.0, 0.25, 3.0)] == [-1.0, 0.25, 1.0]
    assert ramp(0.25 + 1e-20j).imag == 1e-20
    assert lesser(1.0 + 1j, 2.0 + 2j) == 1.0 + 1j
    assert compiled.available()


def test_every_right_hand_side_takes_tensors():
    import torch

    for name in names("ode"):
        system = chaos(name)
        x = torch.tensor(states(system, 2), requires_grad=True)
        rates = system.field(0.3, x)
        np.testing.assert_allclose(rates.detach().numpy(), system.field(0.3, x.detach().numpy()), rtol=1e-12, atol=1e-12)
        if name == "Torus":  # depends on time alone
            continue
        rates.sum().backward()
        assert bool(torch.isfinite(x.grad).all()), name
