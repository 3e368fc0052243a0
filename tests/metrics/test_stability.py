"""The Jacobian and the energy of propagators that are known exactly: an elastic network, in open space and in a crystal."""

from __future__ import annotations

import pytest
import torch

from trajlab.dynamics.particles import Particles
from trajlab.metrics.lattice import Lattice
from trajlab.metrics.stability import energy_drift, jacobian, jacobian_radius
from trajlab.types import Trajectories
from trajlab.units import ACCELERATION, AMU_A2_FS2, Units


class Springs:
    """Exact propagator of an elastic network linearised at its equilibrium; ``gain`` spoils it."""

    def __init__(self, rest: Particles, stride: float, gain: float = 1.0, stiffness: float = 10.0):
        self.rest, self.stride, self.gain = rest, stride, gain
        n, root = len(rest.x), rest.mass.sqrt().repeat_interleave(3)
        between = rest.x[:, None] - rest.x[None]
        if rest.cell is not None:
            between = between - (between @ torch.linalg.inv(rest.cell[0])).round() @ rest.cell[0]
        length = between.norm(dim=-1)
        near = (length < 3.0) & (length > 0)
        unit = between / length.clamp_min(1e-9)[..., None]
        blocks = -stiffness * near[..., None, None] * unit[..., :, None] * unit[..., None, :]
        blocks[range(n), range(n)] = -blocks.sum(1)
        self.hessian = blocks.transpose(1, 2).reshape(3 * n, 3 * n)
        square, self.modes = torch.linalg.eigh(ACCELERATION * self.hessian / root[:, None] / root)
        self.omega, self.root = square.clamp_min(0).sqrt(), root

    def propagate(self, p, cache=None):
        q = ((p.x.reshape(-1, *self.rest.x.shape) - self.rest.x).flatten(1) * self.root) @ self.modes
        w = (p.v.reshape(-1, *self.rest.x.shape).flatten(1) * self.root) @ self.modes
        angle = self.omega * self.stride
        sinc = torch.where(angle > 1e-6, angle.sin() / self.omega.clamp_min(1e-12), self.stride)
        d, v = q * (angle.cos() - 1) + w * sinc, w * angle.cos() - q * self.omega * angle.sin()
        back = lambda value: ((value @ self.modes.T) / self.root).reshape(-1, 3)  # noqa: E731
        return back(d), self.gain * back(v)

    def energy(self, p):
        u = (p.x.reshape(-1, *self.rest.x.shape) - self.rest.x).flatten(1)
        force = -u @ self.hessian
        return 0.5 * (u * -force).sum(1), force.reshape(-1, 3)


def molecule() -> Particles:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mass = torch.tensor([12.0, 1, 16, 1, 14, 1, 12], dtype=torch.float64)
    return Particles(x, torch.zeros_like(x), mass, mass.round().long(), torch.zeros(7, dtype=torch.long), 1)


def crystal() -> Particles:
    """Two sorts of sites (CsCl), 2 x 2 x 2 cells."""
    corner = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 3)
    x = 3.0 * torch.cat([corner, corner + 0.5])
    mass = torch.tensor([133.0, 35.5], dtype=torch.float64).repeat_interleave(8)
    return Particles(x, torch.zeros_like(x), mass, mass.round().long(), torch.zeros(16, dtype=torch.long), 1,
                     6.0 * torch.eye(3, dtype=torch.float64)[None], torch.ones(1, 3, dtype=torch.bool))


@pytest.mark.parametrize("rest", [molecule(), crystal()], ids=["molecule", "crystal"])
def test_an_exact_harmonic_propagator_has_radius_one(rest):
    found = jacobian(Springs(rest, 7.0), rest)
    assert len(found.eigenvalues) == 2 * (3 * len(rest.x) - (3 if rest.cell is not None else 6))
    assert found.radius == pytest.approx(1.0, abs=1e-7)
    assert float(found.eigenvalues.abs().min()) == pytest.approx(1.0, abs=1e-7)


def test_a_propagator_that_heats_is_found_out():
    rest = molecule()
    assert jacobian_radius(Springs(rest, 7.0, gain=1.02), rest) > 1.005


def test_the_frequencies_are_those_of_the_springs():
    rest = molecule()
    springs = Springs(rest, 7.0)
    angles = jacobian(springs, rest).eigenvalues.angle().abs().sort().values[::2]
    wanted = (springs.omega[6:] * 7.0) % (2 * torch.pi)
    assert torch.allclose(angles, torch.minimum(wanted, 2 * torch.pi - wanted).sort().values, atol=1e-6)


def test_lattice_translations_save_work_and_change_nothing():
    rest = crystal()
    lattice = Lattice.of(rest.x, rest.kind, rest.cell[0])
    assert len(lattice.image) == 8
    assert lattice.representatives.tolist() == [0, 8]
    springs = Springs(rest, 20.0, gain=1.01)
    assert jacobian_radius(springs, rest) == pytest.approx(jacobian_radius(springs, rest, lattice=False), abs=1e-9)


def test_noisy_sites_are_symmetrised():
    rest = crystal()
    noisy = rest.x + 0.05 * torch.randn(rest.x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lattice = Lattice.of(noisy, rest.kind, rest.cell[0])
    assert len(lattice.image) == 8
    again = Lattice.of(lattice.site, rest.kind, rest.cell[0], tolerance=1e-9)
    assert torch.equal(again.image, lattice.image)
    mass = torch.ones(16, dtype=torch.float64)
    u = lattice.displacement(lattice.site[None] + 5.0 + torch.tensor([6.0, 0, 0]) * (torch.arange(16)[:, None] % 3), mass)
    assert float(u.abs().max()) < 1e-9


def test_one_system_only():
    two = molecule()
    two = two.replace(x=two.x.repeat(2, 1), v=two.v.repeat(2, 1), mass=two.mass.repeat(2), kind=two.kind.repeat(2),
                      scene=torch.arange(2).repeat_interleave(7), n_scenes=2)
    with pytest.raises(ValueError, match="one system"):
        jacobian(Springs(molecule(), 7.0), two)


def test_energy_along_a_run():
    rest = molecule()
    generator = torch.Generator().manual_seed(0)
    runs = []
    for gain in (1.0, 1.01):
        springs = Springs(rest, 7.0, gain)
        p = rest.replace(v=0.01 * torch.randn(7, 3, generator=generator, dtype=torch.float64))
        p = p.replace(v=p.v - (p.mass[:, None] * p.v).sum(0) / p.mass.sum())
        frames = [p]
        for _ in range(20):
            d, v = springs.propagate(frames[-1])
            frames.append(p.replace(x=frames[-1].x + d, v=v))
        runs.append(Trajectories(
            x=torch.stack([f.x for f in frames], 1), time=7.0 * torch.arange(21, dtype=torch.float64)[None], scene=p.scene, kind=p.kind,
            extra={"velocity": torch.stack([f.v for f in frames], 1)}, static={"mass": p.mass}, units=Units.md()))
    good, bad = (energy_drift(run, Springs(rest, 7.0).energy, points=5) for run in runs)
    assert float(good.rms.max()) < 1e-9
    assert good.time.tolist() == [0, 35, 70, 105, 140]
    start = AMU_A2_FS2 * 0.5 * float((rest.mass[:, None] * runs[1].velocity[:, 0] ** 2).sum()) / 7 * 1000
    assert float(bad.rms[-1]) > 0.05 * start
    dead = runs[0].mask.clone()
    dead[:, 15:] = False
    assert bool(energy_drift(runs[0].replace(mask=dead), Springs(rest, 7.0).energy, points=5).rms.isnan()[-1])
