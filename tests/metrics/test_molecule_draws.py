import pytest
import torch

from trajlab.metrics.molecule_draws import is_molecular, molecule_draws
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

WATER = torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def water(scenes=40, frames=6, shake=0.02, seed=0):
    x = WATER.repeat(scenes, 1)[:, None] + shake * torch.randn(3 * scenes, frames, 3, generator=torch.Generator().manual_seed(seed))
    return Trajectories(x, torch.arange(float(frames)).expand(scenes, -1), torch.arange(scenes).repeat_interleave(3),
                        kind=torch.tensor([8, 1, 1]).repeat(scenes), units=Units("angstrom", "fs", "amu"))


def forecast(truth, draws):
    return Forecast(draws[:, :, 2:], truth.frames(slice(0, 2)), truth.time[:, 2:])


def test_equal_laws_have_equal_statistics_and_broken_bonds_show():
    truth, other = water(), torch.stack([water(seed=s).x for s in (1, 2, 3)])
    good = {s.name: s for s in molecule_draws(forecast(truth, other), truth)}
    assert set(good) == {"H-O bond", "angle at O"}
    bond, angle = good["H-O bond"], good["angle at O"]
    assert bond.mean == pytest.approx(0.96, abs=0.01)
    assert bond.drawn_mean == pytest.approx(bond.mean, abs=0.005)
    assert bond.drawn_std == pytest.approx(bond.std, rel=0.15)
    assert angle.mean == pytest.approx(104.5, abs=1.0)
    assert bond.difference < 0.5
    torn = {s.name: s for s in molecule_draws(forecast(truth, 2 * other), truth)}
    assert torn["H-O bond"].drawn_mean == pytest.approx(1.92, abs=0.02)
    assert torn["H-O bond"].difference == pytest.approx(1.0, abs=0.05)  # nothing of it lies in the true range


def test_energies_are_those_of_the_given_law():
    truth = water()
    energy = lambda x: (x.reshape(-1, 3, 3)[:, 0] - x.reshape(-1, 3, 3)[:, 1]).norm(dim=-1)  # noqa: E731
    exact = molecule_draws(forecast(truth, truth.x[None]), truth, energy)[-1]
    assert (exact.name, exact.difference) == ("potential energy", 0.0)
    assert exact.mean == pytest.approx(0.96, abs=0.01)


def test_what_is_no_molecule_is_none():
    assert is_molecular(water())
    assert not is_molecular(water().replace(units=Units()))
    points = Trajectories(torch.randn(2, 4, 3) * 100, torch.arange(4.0)[None], torch.zeros(2, dtype=torch.long), kind=torch.tensor([6, 6]),
                          units=Units("angstrom", "fs", "amu"))
    with pytest.raises(ValueError, match="no atoms are bonded"):
        molecule_draws(Forecast(points.x[None, :, 2:], points.frames(slice(0, 2)), points.time[:, 2:]), points)
