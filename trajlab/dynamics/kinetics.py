"""Kinetic quantities of packed systems: momenta, temperature, degrees of freedom, and starts at a temperature.

All in the units of `Particles` (Angstrom, fs, amu), energies in eV, temperatures in K. Kinetic energies are those of the peculiar
velocities v - V, where V = P/M is the velocity of the centre of mass: a system that drifts as a whole is not hot. The removed
degrees of freedom are shared by mass, not by head count (`species_expectation`).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.geometry import centred, inertia_of, inertia_tensor, masses, with_velocities
from trajlab.dynamics.particles import Particles
from trajlab.units import AMU_A2_FS2, BOLTZMANN


@runtime_checkable
class NormalSource(Protocol):
    """Anything that hands out independent standard normal numbers for every node; see `trajlab.dynamics.streams.Streams`."""

    def normal(self, p: Particles) -> Float[Tensor, "node 3"]: ...


def normal(p: Particles, generator: torch.Generator | NormalSource) -> Float[Tensor, "node 3"]:
    """Standard normal numbers for every node: from one generator for the whole batch, or from one stream a system (`Streams`)."""
    if isinstance(generator, torch.Generator):
        return torch.randn(p.v.shape, generator=generator, dtype=p.v.dtype, device=generator.device).to(p.v.device)
    return generator.normal(p)


def total_mass(p: Particles) -> Float[Tensor, "scene"]:
    """M, amu."""
    return p.scene_sum(p.mass)


def centre_of_mass(p: Particles) -> Float[Tensor, "scene 3"]:
    """X = sum m x / M of the unwrapped positions, Angstrom."""
    return p.scene_sum(p.mass[:, None] * p.x) / total_mass(p)[:, None]


def momentum(p: Particles) -> Float[Tensor, "scene 3"]:
    """P = sum m v, amu Angstrom/fs."""
    return p.scene_sum(p.mass[:, None] * p.v)


def angular_momentum(p: Particles) -> Float[Tensor, "scene 3"]:
    """L = sum r x m (v - V) about the centre of mass, amu Angstrom^2/fs. Meaningful for isolated systems only."""
    return p.scene_sum(torch.linalg.cross(centred(p, p.x), p.mass[:, None] * p.v))


def inertia(p: Particles) -> Float[Tensor, "scene 3 3"]:
    """I = sum m (|r|^2 1 - r r^T) about the centre of mass, amu Angstrom^2."""
    return inertia_tensor(p, centred(p, p.x))


def peculiar(p: Particles) -> Float[Tensor, "node 3"]:
    """v - V, Angstrom/fs."""
    return centred(p, p.v)


def kinetic_energy(p: Particles) -> Float[Tensor, "scene"]:
    """K = sum m |v - V|^2 / 2, eV."""
    return p.scene_sum(_node_energy(p))


def degrees_of_freedom(p: Particles) -> Float[Tensor, "scene"]:
    """How many squares K has: 3N - 3 - rank(I) for isolated systems, whose P and L are conserved, 3N - 3 otherwise.

    The rank of the inertia tensor is 3, 2 (all atoms on a line) or 0 (one atom). A single atom has 0 degrees of freedom left.
    """
    m = masses(p)
    return m.free - inertia_of(p).rank if m.spins else m.free


def temperature(p: Particles) -> Float[Tensor, "scene"]:
    """T = 2K/(n k_B), K; 0 for a system without degrees of freedom (a single atom)."""
    n = degrees_of_freedom(p)
    return torch.where(n > 0, 2 * kinetic_energy(p) / (n.clamp(min=1) * BOLTZMANN), 0.0)


def species(p: Particles) -> Int[Tensor, "species"]:
    """The atomic numbers that occur in the batch, rising: the columns of the tables by species."""
    return p.kind.unique()


def species_kinetic_energy(p: Particles) -> Float[Tensor, "scene species"]:
    """K of each species (columns: `species`), eV, of peculiar velocities."""
    return _by_species(p, _node_energy(p))


def species_degrees_of_freedom(p: Particles) -> Float[Tensor, "scene species"]:
    """<2 K_s>/(k_B T) of each species in the canonical ensemble with P (and L where isolated) removed.

    3 N_s - 3 M_s/M - sum_{i in s} m_i tr([r_i]x^T I^-1 [r_i]x), where the last term, the share in L, equals
    m_i (|r_i|^2 tr I^-1 - r_i I^-1 r_i) and belongs to isolated systems only. The sum over species is `degrees_of_freedom`.
    The shares depend on the geometry: average over frames for a floppy molecule.
    """
    share = 3 - 3 * p.mass / total_mass(p)[p.scene]
    if masses(p).spins:
        body = inertia_of(p)
        r, inverse = body.r, body.inverse[p.scene]
        trace = inverse.diagonal(dim1=1, dim2=2).sum(1)
        share = share - p.mass * ((r * r).sum(1) * trace - (r[:, None, :] @ inverse @ r[:, :, None])[:, 0, 0])
    return _by_species(p, share)


def species_expectation(p: Particles, temperature: float | Tensor) -> Float[Tensor, "scene species"]:
    """The canonical mean of `species_kinetic_energy` at ``temperature`` (K, one number or one a scene), eV."""
    t = torch.as_tensor(temperature, dtype=p.x.dtype, device=p.x.device).expand(p.n_scenes)
    return 0.5 * BOLTZMANN * t[:, None] * species_degrees_of_freedom(p)


def remove_momentum(p: Particles, *, linear: bool = True, angular: bool = True) -> Particles:
    """The same positions with P = 0, and L = 0 where the system is isolated: v - V - w x r with w = pinv(I) L.

    This is the mass-weighted projection: velocities drawn from the canonical distribution stay canonical on what remains.
    Linear molecules keep no rotation about their axis, and a single atom just stops. ``angular=False`` leaves L alone,
    ``linear=False`` leaves P alone.
    """
    v = centred(p, p.v)
    drift = None if linear else p.v - v
    if angular and masses(p).spins:
        v = _without_spin(p, v)
    return with_velocities(p, v if drift is None else v + drift)


def _without_spin(p: Particles, v: Tensor) -> Tensor:
    """Velocities without net momentum, less their rigid rotation."""
    body = inertia_of(p)
    if body.lever is not None and body.turn is not None:
        stacked = v.view(p.n_scenes, -1, 1)
        return torch.baddbmm(stacked, body.turn, torch.bmm(body.lever.mT, stacked), alpha=-1).view(-1, 3)
    spin = p.scene_sum(torch.linalg.cross(body.r, masses(p).column * v))
    turn = torch.bmm(spin[:, None], body.inverse)[:, 0].index_select(0, p.scene)
    return v - torch.linalg.cross(turn, body.r)


def maxwell_boltzmann(p: Particles, temperature: float | Tensor, generator: torch.Generator | NormalSource, exact: bool = False) -> Particles:
    """Velocities drawn from the Maxwell-Boltzmann distribution, v_i ~ N(0, k_B T/m_i), with P and L (where isolated) removed.

    ``temperature`` is in K, one number or one a scene. ``exact`` scales every system to exactly that temperature, which makes
    the ensemble of starts isokinetic instead of canonical. Systems without degrees of freedom (a single atom) come to rest.

    Raises:
        ValueError: a temperature is negative or not finite.
    """
    t = torch.as_tensor(temperature, dtype=p.v.dtype, device=p.v.device).expand(p.n_scenes)
    if not bool((torch.isfinite(t) & (t >= 0)).all()):
        raise ValueError(f"a temperature in K, zero or positive, was wanted; got {temperature}")
    v = (BOLTZMANN / AMU_A2_FS2 * t[p.scene] / p.mass).sqrt()[:, None] * normal(p, generator)
    drawn = remove_momentum(with_velocities(p, v))
    if not exact:
        return drawn
    now = temperature_of(drawn)
    scale = torch.where(now > 0, (t / now.clamp(min=1e-300)).sqrt(), 1.0)
    return with_velocities(drawn, drawn.v * scale[p.scene, None])


def _node_energy(p: Particles) -> Tensor:
    return (0.5 * AMU_A2_FS2) * p.mass * centred(p, p.v).square().sum(1)


def _by_species(p: Particles, value: Tensor) -> Tensor:
    kinds, index = p.kind.unique(return_inverse=True)
    table = value.new_zeros(p.n_scenes * len(kinds))
    return table.index_add_(0, p.scene * len(kinds) + index, value).reshape(p.n_scenes, len(kinds))


temperature_of = temperature  # `maxwell_boltzmann` has an argument of the same name
