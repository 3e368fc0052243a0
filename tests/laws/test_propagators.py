"""Laws of every one-step map: symmetries, conservation, and independence of batch mates. Tolerances are those of float64."""

from __future__ import annotations

import pytest
import torch
from e3nn.o3 import rand_matrix
from laws.systems import CONFIGS, crystal, joined, molecule, untrained
from torch.testing import assert_close

from trajlab.dynamics import kinetics

TIGHT = {"rtol": 1e-9, "atol": 1e-10}


@pytest.fixture(params=CONFIGS)
def model(request):
    return untrained(request.param)


def turned(p, matrix):
    return p.replace(x=p.x @ matrix.T, v=p.v @ matrix.T, cell=None if p.cell is None else p.cell @ matrix.T)


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["rotation", "reflection"])
@pytest.mark.parametrize("make", [lambda g: molecule(9, g, drift=0.003), crystal], ids=["molecule", "crystal"])
def test_turns_with_its_input(model, generator, make, sign):
    p = make(generator)
    torch.manual_seed(3)
    matrix = sign * rand_matrix(dtype=torch.float64)
    for plain, after in zip(model.propagate(p), model.propagate(turned(p, matrix)), strict=True):
        assert_close(plain @ matrix.T, after, rtol=1e-6, atol=1e-9)  # e3nn's matrices are orthogonal to about 1e-8
        assert plain.abs().max() > 1e-4


def test_translation_changes_nothing(model, generator):
    for p in (molecule(9, generator), crystal(generator)):
        moved = p.replace(x=p.x + torch.tensor([3.0, -50.0, 0.7], dtype=torch.float64))
        for a, b in zip(model.propagate(p), model.propagate(moved), strict=True):
            assert_close(a, b, **TIGHT)


def test_wrapping_changes_nothing(model, generator):
    p = crystal(generator)
    image = p.replace(x=p.x + torch.tensor([[1.0, -2.0, 0.0], [0.0, 3.0, 1.0]], dtype=torch.float64) @ p.cell[0])
    for a, b in zip(model.propagate(p), model.propagate(image), strict=True):
        assert_close(a, b, **TIGHT)


def test_permutes_with_its_input(model, generator):
    p = molecule(9, generator)
    order = torch.randperm(9, generator=generator)
    shuffled = p.replace(x=p.x[order], v=p.v[order], mass=p.mass[order], kind=p.kind[order])
    for a, b in zip(model.propagate(p), model.propagate(shuffled), strict=True):
        assert_close(a[order], b, **TIGHT)


def test_replicated_cell_is_the_same_crystal(model, generator):
    p = crystal(generator)
    copies = 3
    shift = (torch.arange(copies, dtype=torch.float64)[:, None, None] * p.cell[0, 0]).expand(copies, 2, 3).reshape(-1, 3)
    cell = p.cell.clone()
    cell[:, 0] *= copies
    big = p.replace(x=p.x.repeat(copies, 1) + shift, v=p.v.repeat(copies, 1), mass=p.mass.repeat(copies), kind=p.kind.repeat(copies),
                    scene=torch.zeros(2 * copies, dtype=torch.long), cell=cell)
    for a, b in zip(model.propagate(p), model.propagate(big), strict=True):
        assert_close(a.repeat(copies, 1), b, **TIGHT)


def test_batch_of_mixed_sizes_equals_single_runs(model, generator):
    parts = [molecule(n, generator, drift) for n, drift in ((9, 0.0), (1, 0.004), (2, 0.0), (14, 0.002))]
    together = model.propagate(joined(*parts))
    for k, (a, b) in enumerate(zip(together, zip(*[model.propagate(p) for p in parts], strict=True), strict=True)):
        assert_close(a, torch.cat(b), **TIGHT, msg=lambda m, k=k: f"output {k}: {m}")


@pytest.mark.parametrize("drift", [0.0, 1e-9, 0.003, 1.0])
def test_conservation_for_any_momentum(model, generator, drift):
    p = joined(*[molecule(n, generator, drift) for n in (9, 2, 1, 5)])
    d, v = model.propagate(p)
    after = p.replace(x=p.x + d, v=v)
    assert_close(kinetics.momentum(after), kinetics.momentum(p), **TIGHT)
    assert_close(kinetics.centre_of_mass(after) - kinetics.centre_of_mass(p), kinetics.momentum(p) / kinetics.total_mass(p)[:, None] * 7.0,
                 rtol=1e-9, atol=1e-11)
    assert_close(kinetics.angular_momentum(after), kinetics.angular_momentum(p), rtol=1e-8, atol=1e-9)


def test_galilean_boost_moves_the_frame_alone(model, generator):
    if model.config.targets == "plain" and model.config.net == "trajcast":
        boost = torch.tensor([0.01, 0.0, -0.02], dtype=torch.float64)
    else:
        boost = torch.tensor([0.5, 0.0, -0.2], dtype=torch.float64)
    p = molecule(9, generator)
    d, v = model.propagate(p)
    boosted_d, boosted_v = model.propagate(p.replace(v=p.v + boost))
    assert_close(boosted_d, d + 7.0 * boost, **TIGHT)
    assert_close(boosted_v, v + boost, **TIGHT)


def test_single_atom_goes_straight(model, generator):
    p = molecule(1, generator, drift=0.01)
    d, v = model.propagate(p)
    assert_close(v, p.v, **TIGHT)
    assert_close(d, 7.0 * p.v, **TIGHT)


def test_linear_molecule_stays_finite_and_keeps_its_momenta(model):
    p = molecule(3, torch.Generator().manual_seed(1))
    p = p.replace(x=torch.tensor([[0.0, 0, -1.1], [0, 0, 0], [0, 0, 1.1]], dtype=torch.float64), v=torch.zeros(3, 3, dtype=torch.float64))
    p = p.replace(v=torch.tensor([[0.004, 0, 0.001], [0, 0, 0], [-0.004, 0, -0.001]], dtype=torch.float64))
    d, v = model.propagate(p)
    assert bool(torch.isfinite(d).all() and torch.isfinite(v).all())
    after = p.replace(x=p.x + d, v=v)
    assert_close(kinetics.momentum(after), kinetics.momentum(p), **TIGHT)
    assert_close(kinetics.angular_momentum(after), kinetics.angular_momentum(p), rtol=1e-6, atol=1e-8)


def test_zero_velocities_are_fine_in_a_single_step(model, generator):
    p = molecule(6, generator)
    d, v = model.propagate(p.replace(v=torch.zeros_like(p.v)))
    assert bool(torch.isfinite(d).all() and torch.isfinite(v).all())


def test_hot_atoms_are_seen(generator):
    """The published speed basis is blind far above its top: there the direction alone counts. Ours must still tell speeds apart."""
    model = untrained("polar")
    p = molecule(6, generator)
    fast = p.replace(v=p.v * 40)
    faster = p.replace(v=p.v * 60)
    _, v = model.propagate(fast)
    other_d, other_v = model.propagate(faster)
    assert (v - other_v).abs().max() > 1e-3
    assert bool(torch.isfinite(other_d).all())


def test_cached_neighbours_change_nothing(model, generator):
    """Slots kept with a skin give the same step as fresh ones."""
    p = molecule(12, generator)
    cache: dict = {}
    model.propagate(p, cache)
    near = p.replace(x=p.x + 0.1 * torch.rand(12, 3, generator=generator, dtype=torch.float64))
    for a, b in zip(model.propagate(near, cache), model.propagate(near), strict=True):
        assert_close(a, b, **TIGHT)
