"""The sGDML kernel against its formula, finite differences, and stored energies and forces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trajlab.dynamics.particles import Particles
from trajlab.sources.calculator import from_atoms
from trajlab.sources.recipes import MDRecipe
from trajlab.sources.sampling import nve_pairs, replicate
from trajlab.sources.sgdml import SGDML
from trajlab.units import KCAL_MOL

PERMS = np.array([[1, 2, 3, 4], [1, 3, 4, 2], [1, 4, 2, 3], [1, 3, 2, 4], [1, 2, 4, 3], [1, 4, 3, 2]])


@pytest.fixture
def toy():
    """Ten training points of ammonia-like shapes with random coefficients: what a model file holds."""
    rng = np.random.default_rng(0)
    shape = np.array([[0, 0, 0.3], [0.9, 0, 0], [-0.4, 0.8, 0], [-0.4, -0.8, 0]])
    points = np.stack([descriptor(shape + 0.1 * rng.normal(size=shape.shape)) for _ in range(10)])
    return {"z": np.array([7, 1, 1, 1]), "Rt_desc": points.T, "Rt_d_desc_alpha": rng.normal(size=points.shape), "perms": PERMS,
            "sig": np.int64(3), "c": np.float64(-1000.0)}


@pytest.fixture
def toy_path(toy, tmp_path):
    np.savez(tmp_path / "toy.npz", **toy)
    return tmp_path / "toy.npz"


def descriptor(x):
    i, j = np.tril_indices(len(x), -1)
    return 1 / np.linalg.norm(x[i] - x[j], axis=1)


def ammonia(n=1, seed=1):
    shape = torch.tensor([[0, 0, 0.3], [0.9, 0, 0], [-0.4, 0.8, 0], [-0.4, -0.8, 0]], dtype=torch.float64).repeat(n, 1)
    x = shape + 0.05 * torch.randn(4 * n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Particles(x, torch.zeros_like(x), torch.ones(4 * n, dtype=torch.float64), torch.tensor([7, 1, 1, 1]).repeat(n),
                     torch.arange(n).repeat_interleave(4), n)


def plain_energy(toy, x):
    """The formula, term by term: training points permuted, entry (i, j) of row (t, s) = entry (s(i), s(j)) of row t."""
    i, j = np.tril_indices(4, -1)
    d, sigma, total = descriptor(x), float(toy["sig"]), 0.0
    for point, alpha in zip(toy["Rt_desc"].T, toy["Rt_d_desc_alpha"]):
        full, weight = np.zeros((4, 4)), np.zeros((4, 4))
        full[i, j] = full[j, i] = point
        weight[i, j] = weight[j, i] = alpha
        for perm in toy["perms"] - 1:
            u = d - full[perm][:, perm][i, j]
            rho = 5**0.5 * np.linalg.norm(u) / sigma
            total += 5 / (3 * sigma**2) * np.exp(-rho) * (1 + rho) * (u @ weight[perm][:, perm][i, j])
    return (float(toy["c"]) + total) * KCAL_MOL


def test_energy_is_the_formula(toy, toy_path):
    p = ammonia()
    assert float(SGDML(toy_path)(p)[0]) == pytest.approx(plain_energy(toy, p.x.numpy()), abs=1e-10)


def test_forces_are_the_slope(toy_path):
    potential, p = SGDML(toy_path), ammonia()
    force = potential(p)[1]
    for k in range(12):
        step = torch.zeros(12, dtype=torch.float64)
        step[k] = 1e-5
        up, down = (float(potential(p.replace(x=p.x + s * step.view(4, 3)))[0]) for s in (1, -1))
        assert -(up - down) / 2e-5 == pytest.approx(float(force.flatten()[k]), abs=1e-6)


def test_batch_is_single_runs(toy_path):
    potential, p = SGDML(toy_path), ammonia(50)  # more than one chunk of rows
    energy, force = potential(p)
    for k in (0, 17, 49):
        one = Particles(p.x[4 * k : 4 * k + 4], p.v[:4], p.mass[:4], p.kind[:4], p.scene[:4], 1)
        e, f = potential(one)
        torch.testing.assert_close(e[0], energy[k], rtol=0, atol=1e-11)
        torch.testing.assert_close(f, force[4 * k : 4 * k + 4], rtol=0, atol=1e-11)


def test_turns_mirrors_and_permutes(toy_path, generator):
    potential, p = SGDML(toy_path), ammonia()
    energy, force = potential(p)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))[0]
    for matrix in (turn, -turn):
        e, f = potential(p.replace(x=p.x @ matrix + 1.0))
        torch.testing.assert_close(e, energy)
        torch.testing.assert_close(f, force @ matrix, rtol=0, atol=1e-10)
    swap = [0, 2, 1, 3]
    torch.testing.assert_close(potential(p.replace(x=p.x[swap]))[1], force[swap], rtol=0, atol=1e-10)


def test_geometry_has_the_distances_of_a_training_point(toy, toy_path):
    x = SGDML(toy_path).geometry(3).numpy()
    np.testing.assert_allclose(descriptor(x), toy["Rt_desc"][:, 3], rtol=1e-9)


def test_wrong_order_of_atoms(toy_path):
    p = ammonia()
    with pytest.raises(ValueError, match=r"toy.npz is the force field of N H H H .*H N H H"):
        SGDML(toy_path)(p.replace(kind=p.kind[[1, 0, 2, 3]]))


def test_another_molecule_of_the_same_elements(toy_path):
    p = ammonia()
    SGDML(toy_path).check(p)
    x = p.x.clone()
    x[3] += 3.0
    with pytest.raises(ValueError, match=r"atoms 3 and 0 are .* Angstrom apart"):
        SGDML(toy_path).check(p.replace(x=x))


def test_a_run_does_not_begin_outside_the_training(toy_path):
    p = ammonia()
    with pytest.raises(ValueError, match="isomer it was trained on"):
        nve_pairs(SGDML(toy_path), p.replace(x=1.5 * p.x), MDRecipe("ammonia", pairs=1, replicas=1), quiet=True)


def test_another_order_of_atoms_of_a_real_molecule(reference):
    """The same molecule from another program: refused, whether the elements or only the distances show it."""
    from ase.io import read

    potential = SGDML(reference / "md/sgdml_models/aspirin.npz")
    with pytest.raises(ValueError, match=r"order of"):
        potential.check(from_atoms(read(reference / "md/aspirin.xyz")))
    atoms = read(reference / "md/sgdml_geometries/aspirin_sgdml.xyz")
    carbons = [k for k, z in enumerate(atoms.numbers) if z == 6]
    order = list(range(len(atoms)))
    order[carbons[0]], order[carbons[3]] = carbons[3], carbons[0]
    with pytest.raises(ValueError, match=r"order of"):
        potential.check(from_atoms(atoms[order]))


def test_truncated_file(toy_path):
    toy_path.write_bytes(toy_path.read_bytes()[:700])
    with pytest.raises(ValueError, match="may be truncated"):
        SGDML(toy_path)


def test_other_files(toy, tmp_path):
    with pytest.raises(FileNotFoundError, match="no sGDML model"):
        SGDML(tmp_path / "nowhere.npz")
    np.savez(tmp_path / "a.npz", z=toy["z"])
    with pytest.raises(ValueError, match="lacks Rt_desc"):
        SGDML(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", **{**toy, "Rt_desc": toy["Rt_desc"][:4]})
    with pytest.raises(ValueError, match="4 atoms and so 6 pairs"):
        SGDML(tmp_path / "b.npz")


MOLECULES = ["aspirin", "ethanol", "malonaldehyde", "naphthalene", "paracetamol", "salicylic_acid", "toluene", "uracil"]


@pytest.mark.parametrize("name", MOLECULES)
def test_stored_energies_and_forces(reference, name):
    from ase import units
    from ase.io import read

    atoms = read(reference / f"md/sgdml_geometries/{name}_sgdml.xyz")
    potential = SGDML(reference / f"md/sgdml_models/{name}.npz")
    p = from_atoms(atoms)
    potential.check(p)
    energy, force = potential(p)
    # The file was written with the kilocalorie of ASE, which differs from ours in the ninth digit. Terms of the sum reach 2e8 kcal/mol
    # for ethanol, which leaves 5e-8 eV of rounding.
    assert float(energy) * (units.kcal / units.mol) / KCAL_MOL == pytest.approx(atoms.get_potential_energy(), abs=5e-8 if name != "ethanol" else 1e-7)
    np.testing.assert_allclose(force.numpy(), atoms.get_forces(), rtol=0, atol=8e-7)


def test_labels_of_paracetamol(reference):
    """The only file with its training frames: forces to 1e-3 kcal/mol/Angstrom."""
    potential = SGDML(reference / "md/sgdml_models/paracetamol.npz")
    with np.load(reference / "md/sgdml_models/paracetamol.npz") as file:
        x, label = torch.as_tensor(file["R"][:20]), torch.as_tensor(file["TG"][:20])
    one = replace(ammonia(), x=x[0], v=0 * x[0], mass=torch.ones(20, dtype=torch.float64), kind=potential.z, scene=torch.zeros(20, dtype=torch.long))
    p = replicate(one, 20).replace(x=x.reshape(-1, 3))
    force = potential(p)[1].view(20, 20, 3) / KCAL_MOL
    assert float((force - label).square().mean().sqrt()) < 2e-3
