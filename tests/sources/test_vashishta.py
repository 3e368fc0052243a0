"""The Vashishta potential: quartz as known, forces as slopes, energy conserved."""

from __future__ import annotations

import pytest
import torch

from trajlab.dynamics.kinetics import kinetic_energy, maxwell_boltzmann
from trajlab.dynamics.verlet import verlet
from trajlab.sources.calculator import from_atoms, to_atoms
from trajlab.sources.crystals import QUARTZ_START, quartz, relax_quartz, vashishta
from trajlab.sources.sampling import replicate
from trajlab.sources.vashishta import NAKANO_1994, Vashishta, read_parameters


def rattled(copies=1, by=0.1):
    p = replicate(from_atoms(quartz()), copies)
    return p.replace(x=p.x + by * torch.randn(p.x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))


def test_quartz_relaxes_to_the_known_cell():
    potential = Vashishta()
    a, c, *_ = found = relax_quartz(potential)
    assert (a, c) == (pytest.approx(5.046, abs=1e-3), pytest.approx(5.365, abs=1e-3))
    energy, force = potential(from_atoms(quartz(found)))
    assert float(energy) / 9 == pytest.approx(-7.65, abs=0.005)
    assert float(force.abs().max()) < 1e-3


def test_forces_are_the_slope():
    potential, p = Vashishta(), rattled()
    force = potential(p)[1]
    for k in range(0, 27, 2):
        step = torch.zeros(27, dtype=torch.float64)
        step[k] = 1e-5
        up, down = (float(Vashishta()(p.replace(x=p.x + s * step.view(9, 3)))[0]) for s in (1, -1))
        assert -(up - down) / 2e-5 == pytest.approx(float(force.flatten()[k]), abs=1e-5)


def test_batch_is_single_runs_and_the_list_is_kept(generator):
    potential, p = Vashishta(), rattled(3, 0.02)
    for _ in range(6):
        p = p.replace(x=p.x + 0.05 * torch.randn(p.x.shape, dtype=torch.float64, generator=generator))
        energy, force = potential(p)
        single = [Vashishta()(from_atoms(atoms)) for atoms in to_atoms(p)]
        torch.testing.assert_close(energy, torch.cat([e for e, _ in single]), rtol=0, atol=1e-9)
        torch.testing.assert_close(force, torch.cat([f for _, f in single]), rtol=0, atol=1e-9)
    assert 1 < potential.pairs.builds < 6


def test_a_repeated_cell_has_the_energy_of_its_copies():
    atoms = quartz()
    one, many = (float(Vashishta()(from_atoms(a))[0]) for a in (atoms, atoms.repeat((2, 1, 2))))
    assert many == pytest.approx(4 * one, abs=1e-9)


def test_energy_is_conserved(generator):
    potential, start = vashishta("quartz")
    p = maxwell_boltzmann(start, 600.0, generator)
    first = float(potential(p)[0] + kinetic_energy(p))
    p, _, energy = verlet(p, potential, 0.5, 120)
    assert abs(float(energy + kinetic_energy(p)) - first) / 243 < 1e-4  # eV/atom
    assert float((p.x - start.x).norm(dim=1).max()) > 0.05  # and it moved


def test_files_of_lammps(reference):
    table = read_parameters(reference / "md/SiO.1994.vashishta")
    p = rattled()
    assert set(NAKANO_1994) <= set(table)
    torch.testing.assert_close(Vashishta(table)(p), Vashishta()(p), rtol=1e-6, atol=1e-6)
    soft = Vashishta(reference / "md/SiO.1997.vashishta")
    a, c, *_ = found = relax_quartz(soft)
    assert (a, c) == (pytest.approx(4.959, abs=1e-3), pytest.approx(5.317, abs=1e-3))
    assert float(soft(from_atoms(quartz(found)))[0]) / 9 == pytest.approx(-1.57, abs=0.005)


def test_bad_files(tmp_path):
    path = tmp_path / "a.vashishta"
    path.write_text("# comment\nSi Si Si 0.8 11 1.76\n")
    with pytest.raises(ValueError, match="6 words, not a multiple of 17"):
        Vashishta(path)
    path.write_text("Si O O " + "x " * 14)
    with pytest.raises(ValueError, match="not a Vashishta potential"):
        Vashishta(path)
    with pytest.raises(ValueError, match="no pair entry O Si Si"):
        Vashishta({k: v for k, v in NAKANO_1994.items() if k != ("O", "Si", "Si")})


def test_unknown_element_and_crystal():
    atoms = quartz(QUARTZ_START)
    atoms.numbers[0] = 6
    with pytest.raises(ValueError, match="no parameters for C"):
        Vashishta()(from_atoms(atoms))
    with pytest.raises(ValueError, match="did you mean 'quartz'"):
        vashishta("quarz")
