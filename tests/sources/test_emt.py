"""Effective medium theory against the calculator of ASE."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT as AseEMT

from trajlab.sources.calculator import CalculatorPotential, from_atoms, to_atoms
from trajlab.sources.emt import EMT
from trajlab.sources.sampling import replicate


def structure(name):
    if name == "primitive cell":  # a cell far smaller than the cutoff: every atom is its own neighbour
        return bulk("Cu", "fcc", a=3.63)
    atoms = bulk("Cu", "fcc", a=3.63, cubic=True).repeat(2 if name != "copper" else 3)
    atoms.rattle(0.1, seed=1)
    if name == "alloy":
        atoms.numbers[::3], atoms.numbers[1::7] = 79, 13
    if name == "cluster":
        atoms.pbc, atoms.cell = False, None
        atoms.numbers[::2] = 28
        atoms.positions[0] += 30.0  # and an isolated atom
    return atoms


@pytest.mark.parametrize("name", ["copper", "alloy", "cluster", "primitive cell"])
def test_agrees_with_ase(name):
    atoms = structure(name)
    p = from_atoms(atoms)
    energy, force = EMT()(p)
    atoms.calc = AseEMT()
    assert float(energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    torch.testing.assert_close(force, torch.as_tensor(atoms.get_forces()), rtol=0, atol=1e-8)


def test_batch_is_single_runs_and_the_list_is_kept(generator):
    potential = EMT()
    p = replicate(from_atoms(structure("alloy")), 3)
    for _ in range(6):  # drifts until the list is made again
        p = p.replace(x=p.x + 0.06 * torch.randn(p.x.shape, dtype=torch.float64, generator=generator))
        energy, force = potential(p)
        single = [EMT()(from_atoms(atoms)) for atoms in to_atoms(p)]
        torch.testing.assert_close(energy, torch.cat([e for e, _ in single]), rtol=0, atol=1e-10)
        torch.testing.assert_close(force, torch.cat([f for _, f in single]), rtol=0, atol=1e-10)
    assert 1 < potential.pairs.builds < 6


def test_any_ase_calculator():
    p = replicate(from_atoms(structure("alloy")), 2)
    energy, force = CalculatorPotential(AseEMT())(p)
    ours = EMT()(p)
    torch.testing.assert_close(energy, ours[0], rtol=0, atol=1e-8)
    torch.testing.assert_close(force, ours[1], rtol=0, atol=1e-8)
    with pytest.raises(TypeError, match="ASE calculator was wanted"):
        CalculatorPotential(EMT())


def test_unknown_element():
    with pytest.raises(ValueError, match=r"no parameters for Fe; it has them for .*Cu"):
        EMT()(from_atoms(bulk("Fe")))
