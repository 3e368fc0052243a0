"""Structure with known answers: an ideal gas, rigid triangles, a random walk."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.metrics import structure
from trajlab.metrics.profiles import l1
from trajlab.types import Trajectories
from trajlab.units import Units


def gas(scenes: int = 2, atoms: int = 60, frames: int = 60, side: float = 10.0, sheared: bool = True) -> Trajectories:
    generator = torch.Generator().manual_seed(0)
    cell = side * torch.eye(3, dtype=torch.float64)
    if sheared:
        cell[1, 0] = 0.4 * side
    share = torch.rand(scenes * atoms, frames, 3, generator=generator, dtype=torch.float64)
    return Trajectories(x=share @ cell, time=torch.arange(frames, dtype=torch.float64).expand(scenes, -1),
                        kind=torch.ones(scenes * atoms, dtype=torch.long), scene=torch.arange(scenes).repeat_interleave(atoms),
                        cell=cell.expand(scenes, 3, 3), units=Units.md(),
                        static={"mass": torch.ones(scenes * atoms, dtype=torch.float64)})


def water(bond: float = 0.96, angle: float = 104.5, frames: int = 3, copies: int = 2) -> Trajectories:
    half = math.radians(angle) / 2
    one = bond * torch.tensor([[0, 0, 0], [math.sin(half), math.cos(half), 0], [-math.sin(half), math.cos(half), 0]], dtype=torch.float64)
    x = one[:, None].expand(3, frames, 3).repeat(copies, 1, 1)
    return Trajectories(x=x, time=torch.arange(frames, dtype=torch.float64).expand(copies, -1), scene=torch.arange(copies).repeat_interleave(3),
                        kind=torch.tensor([8, 1, 1]).repeat(copies), static={"mass": torch.tensor([16.0, 1.0, 1.0]).repeat(copies)}, units=Units.md())


def test_an_ideal_gas_has_g_of_one():
    g = structure.radial_distribution(gas(), width=0.25)
    assert float(g.axis[-1]) < structure.half_height(gas()) + 0.01
    far = g.curve()[g.axis > 1]
    assert float((far - 1).abs().max()) < 0.08
    assert float(far.mean()) == pytest.approx(1.0, abs=0.01)


def test_minimum_images_are_nearest_in_a_sheared_cell():
    some = gas(1, 12, 4)
    pairs = structure.all_pairs(some)
    images = torch.cartesian_prod(*[torch.arange(-2.0, 3.0, dtype=torch.float64)] * 3) @ some.cell[0]
    between = some.x[pairs[1]] - some.x[pairs[0]]
    exact = (between[:, :, None] + images).norm(dim=-1).amin(-1)
    found, near = structure.distances(some, pairs), exact < structure.half_height(some)
    assert near.any()
    assert torch.allclose(found[near], exact[near])


def test_range_beyond_half_the_cell_is_refused():
    with pytest.raises(ValueError, match="half of the smallest cell height"):
        structure.pair_distances(gas(), r_max=9.0)
    with pytest.raises(ValueError, match="periodic in 3 directions"):
        structure.radial_distribution(water())


def test_bonds_and_angles_of_water():
    molecule = water()
    pairs = structure.bonds(molecule)
    assert sorted(pairs.T.tolist()) == [[0, 1], [0, 2], [3, 4], [3, 5]]
    angles = structure.bond_angles(pairs)
    assert sorted(angles.T.tolist()) == [[1, 0, 2], [4, 3, 5]]
    spectrum = structure.angle_distribution(molecule, angles)
    assert float(spectrum.axis[spectrum.curve().argmax()]) == pytest.approx(104.5)
    lengths = structure.pair_distances(molecule, pairs, r_max=2.0)
    assert float(lengths.axis[lengths.curve().argmax()]) == pytest.approx(0.96, abs=0.02)
    assert float(lengths.curve().sum() * 0.02) == pytest.approx(1.0)
    named = structure.by_elements(structure.all_pairs(molecule), molecule.kind)
    assert {k: int(v.sum()) for k, v in named.items()} == {"H-O": 4, "H-H": 2}


def test_angles_of_a_centre_with_four_bonds():
    pairs = torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]])
    angles = structure.bond_angles(pairs)
    assert angles.shape == (3, 6)
    assert bool((angles[1] == 0).all())


def test_longer_bonds_are_a_distance_of_two():
    a = structure.pair_distances(water(), structure.bonds(water()), r_max=2.0)
    b = structure.pair_distances(water(bond=1.1), structure.bonds(water()), r_max=2.0)
    assert l1(a.curve(), b.curve()) == pytest.approx(2.0)


def test_dead_frames_do_not_count():
    molecule = water(frames=4)
    x, mask = molecule.x.clone(), molecule.mask.clone()
    x[:3, 2:], mask[:3, 2:] = float("nan"), False
    cut = molecule.replace(x=x, mask=mask)
    counts = structure.pair_distances(cut, structure.bonds(cut), r_max=2.0).total.sum(1)
    assert counts.tolist() == [4, 8]
    assert float(structure.mean_square_displacement(cut, torch.tensor([1])).weight.sum(0)) == 3 * 1 + 3 * 3
    assert structure.pair_distances(cut).curve().isfinite().all()


def test_first_shell_of_fcc():
    from ase.build import bulk

    atoms = bulk("Cu", "fcc", a=3.63, cubic=True) * (3, 3, 3)
    atoms.rattle(0.05, seed=0)
    crystal = Trajectories(x=torch.as_tensor(atoms.positions)[:, None], time=torch.zeros(1, 1), scene=torch.zeros(108, dtype=torch.long),
                           kind=torch.as_tensor(atoms.numbers), cell=torch.as_tensor(atoms.cell.array)[None])
    assert structure.first_shell(crystal).shape[1] == 108 * 12 // 2


def test_mean_square_displacement_of_a_random_walk():
    generator = torch.Generator().manual_seed(0)
    steps = 0.1 * torch.randn(200, 400, 3, generator=generator, dtype=torch.float64)
    walk = Trajectories(x=steps.cumsum(1) + torch.tensor([5.0, 0, 0]) * torch.arange(400)[:, None], time=2.0 * torch.arange(400.0)[None].double(),
                        scene=torch.zeros(200, dtype=torch.long), static={"mass": torch.ones(200, dtype=torch.float64)})
    msd = structure.mean_square_displacement(walk, torch.tensor([1, 10, 50]))
    assert msd.axis.tolist() == [2, 20, 100]
    assert torch.allclose(msd.curve(), 3 * 0.01 * torch.tensor([1.0, 10.0, 50.0], dtype=torch.float64), rtol=0.1)
