"""Random systems and untrained models for the laws."""

from __future__ import annotations

import torch

from trajlab.dynamics.particles import Particles
from trajlab.models.trajcast import TrajCast, TrajCastConfig
from trajlab.models.trajcast_step import TrajCastStep

MASS = {1: 1.008, 6: 12.011, 8: 15.999, 29: 63.546}
CONFIGS = {
    "polar": TrajCastConfig(cutoff=4.0, channels=8, blocks=2, radial=(16, 16), width=16, dtype="float64"),
    **{
        f"trajcast l={top}": TrajCastConfig(net="trajcast", cutoff=4.0, channels=4, blocks=2, l_max=top, radial=(8, 8), targets="plain",
                                            scaling="global", dtype="float64")
        for top in (1, 2)
    },
}


def untrained(name: str, seed: int = 0, stride: float = 7.0) -> TrajCast:
    """A model with random weights and scales of a molecule at room temperature."""
    model = TrajCast(CONFIGS[name])
    torch.manual_seed(seed)
    model.step = TrajCastStep(model.config, (1, 6, 8), (stride,), 8.0).double().eval().requires_grad_(False)
    model.step.displacement_scale.fill_(0.05)
    model.step.velocity_scale.fill_(0.01)
    model.step.speed_scale.fill_(0.01)
    model.stride = stride
    return model


def molecule(size: int, generator: torch.Generator, drift: float = 0.0) -> Particles:
    """A cluster with no symmetry."""
    x = torch.randn(size, 3, generator=generator, dtype=torch.float64) * 1.5
    v = torch.randn(size, 3, generator=generator, dtype=torch.float64) * 0.01 + drift
    kind = torch.tensor([1, 6, 8])[torch.randint(0, 3, (size,), generator=generator)]
    mass = torch.tensor([MASS[int(z)] for z in kind], dtype=torch.float64)
    return Particles(x, v, mass, kind, torch.zeros(size, dtype=torch.long), 1)


def crystal(generator: torch.Generator, pbc: tuple[bool, bool, bool] = (True, True, True)) -> Particles:
    """Two atoms in a skewed cell that is smaller than the cutoff."""
    cell = torch.tensor([[[3.1, 0.0, 0.0], [0.4, 2.9, 0.0], [0.2, 0.3, 3.3]]], dtype=torch.float64)
    x = torch.rand(2, 3, generator=generator, dtype=torch.float64) @ cell[0]
    v = torch.randn(2, 3, generator=generator, dtype=torch.float64) * 0.01
    return Particles(x, v, torch.tensor([12.011, 15.999], dtype=torch.float64), torch.tensor([6, 8]), torch.zeros(2, dtype=torch.long), 1, cell,
                     torch.tensor([pbc]))


def joined(*parts: Particles) -> Particles:
    """Open systems of different sizes in one batch."""
    scene = torch.cat([torch.full((len(p.x),), k) for k, p in enumerate(parts)])
    stack = lambda name: torch.cat([getattr(p, name) for p in parts])  # noqa: E731
    return Particles(stack("x"), stack("v"), stack("mass"), stack("kind"), scene, len(parts))
