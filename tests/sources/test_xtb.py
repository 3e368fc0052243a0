"""GFN2-xTB through tblite (where it is installed)."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk, molecule

from trajlab.sources.calculator import from_atoms
from trajlab.sources.molecules import xtb
from trajlab.sources.sampling import replicate
from trajlab.sources.xtb import XTB


def water():
    pytest.importorskip("tblite.interface", reason="needs tblite: pip install 'trajlab[md]'")
    return xtb("water")


def test_known_energy():
    """The energy of water at the G2 geometry, as tblite prints it for the same structure through its own calculator."""
    potential, p = water()
    from tblite.ase import TBLite

    atoms = molecule("H2O")
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0)
    energy, force = potential(p)
    assert float(energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    torch.testing.assert_close(force, torch.as_tensor(atoms.get_forces()), rtol=0, atol=1e-5)


def test_forces_are_the_slope_and_batch_is_single(generator):
    potential, one = water()
    p = replicate(one, 2)
    p = p.replace(x=p.x + 0.05 * torch.randn(p.x.shape, dtype=torch.float64, generator=generator))
    energy, force = potential(p)
    for k in (0, 4, 8, 17):
        step = torch.zeros(18, dtype=torch.float64)
        step[k] = 1e-3
        up, down = (potential(p.replace(x=p.x + s * step.view(6, 3)))[0].sum() for s in (1, -1))
        assert -float(up - down) / 2e-3 == pytest.approx(float(force.flatten()[k]), abs=1e-3)
    single, _ = XTB()(one.replace(x=p.x[3:]))
    assert float(single) == pytest.approx(float(energy[1]), abs=1e-6)


def test_files_and_names(tmp_path):
    water()
    molecule("CH3OH").write(tmp_path / "mine.xyz")
    assert len(xtb("mine.xyz", tmp_path)[1].x) == 6
    assert len(xtb("methanol")[1].x) == 6
    with pytest.raises(ValueError, match="no molecule or file 'methanool'"):
        xtb("methanool")


def test_periodic_systems_are_refused():
    water()
    with pytest.raises(ValueError, match="open space"):
        XTB()(from_atoms(bulk("Cu")))
