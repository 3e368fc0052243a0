"""Langevin dynamics with reference forces: how canonical samples are made."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles, Potential
from trajlab.units import ACCELERATION, AMU_A2_FS2, BOLTZMANN


def baoab(p: Particles, potential: Potential, dt: float, steps: int, *, temperature: float, friction: float,
          generator: torch.Generator, forces: Float[Tensor, "node 3"] | None = None,
          ) -> tuple[Particles, Float[Tensor, "node 3"], Float[Tensor, "scene"]]:
    """``steps`` steps of the BAOAB splitting of Langevin dynamics, all systems at once:

        B: v <- v + a dt/2,   A: x <- x + v dt/2,   O: v <- c v + sqrt(1 - c^2) sqrt(k_B T/m) xi,   c = exp(-friction dt),

    then A and B again. The noise carries no net momentum, so the centre of mass does not wander; the angular momentum is
    thermal. Positions are sampled with an error of order dt^4 in harmonic wells. Source: Leimkuhler and Matthews, Appl. Math.
    Res. Express 2013, 34.

    Args:
        p: the start.
        potential: energies and forces.
        dt: fs.
        steps: number of steps.
        temperature: K.
        friction: 1/fs.
        generator: where the noise comes from.
        forces: forces at the start, eV/Angstrom, where they are known already.

    Returns:
        The end, the forces there in eV/Angstrom, ``[node 3]``, and the energies in eV, ``[scene]``.
    """
    keep = math.exp(-friction * dt)
    mass = p.mass[:, None]
    noise = (1 - keep**2) ** 0.5 * (BOLTZMANN * temperature / (AMU_A2_FS2 * mass)).sqrt()
    total = p.scene_sum(p.mass)[:, None]
    kick = 0.5 * dt * ACCELERATION / mass
    energy = None
    if forces is None or steps == 0:
        energy, forces = potential(p)
    x, v = p.x.clone(), p.v
    for _ in range(steps):
        v = v + kick * forces
        x.add_(v, alpha=0.5 * dt)
        v = keep * v + noise * torch.randn(v.shape, generator=generator, dtype=v.dtype, device=v.device)
        v = v - (p.scene_sum(mass * v) / total)[p.scene]
        x.add_(v, alpha=0.5 * dt)
        energy, forces = potential(p.replace(x=x))
        v = v + kick * forces
    return p.replace(x=x, v=v), forces, energy
