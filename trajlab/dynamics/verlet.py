"""Velocity Verlet: the reference integrator, second order, time-reversible and symplectic."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles, Potential
from trajlab.units import ACCELERATION


def verlet(
    p: Particles, potential: Potential, dt: float, steps: int, forces: Float[Tensor, "node 3"] | None = None
) -> tuple[Particles, Float[Tensor, "node 3"], Float[Tensor, "scene"]]:
    """``steps`` steps of ``dt`` femtoseconds for all systems at once:

        v <- v + a dt/2,   x <- x + v dt,   a <- F(x)/m,   v <- v + a dt/2.

    Two half kicks between drifts are done as one. Source: Swope et al., J. Chem. Phys. 76, 637 (1982).

    Args:
        p: the start; its tensors are not changed.
        potential: energies and forces; it may refuse a configuration, and that error passes through.
        dt: fs; negative runs backwards.
        steps: number of steps; with 0 the start is returned.
        forces: forces at the start, eV/Angstrom, ``[node 3]``, where they are known already.

    Returns:
        The end, the forces there in eV/Angstrom, ``[node 3]``, and the energies in eV, ``[scene]``.
    """
    energy = None
    if forces is None or steps == 0:
        energy, forces = potential(p)
    kick = (ACCELERATION * dt / p.mass)[:, None]
    x, v = p.x.clone(), p.v + 0.5 * kick * forces if steps else p.v
    for step in range(steps):
        x.add_(v, alpha=dt)
        energy, forces = potential(p.replace(x=x))
        v = v + (kick if step < steps - 1 else 0.5 * kick) * forces
    return p.replace(x=x, v=v), forces, energy
