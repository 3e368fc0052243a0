"""What predicts a failing roll-out: the one-step Jacobian at an equilibrium, and the change of the reference energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from trajlab.dynamics import kinetics
from trajlab.dynamics.particles import Particles, Potential, Propagator
from trajlab.metrics.lattice import Lattice
from trajlab.metrics.profiles import alive
from trajlab.types import Trajectories


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Eigenvalues of the one-step map, without the rigid translations and rotations, whose eigenvalue is 1 by conservation."""

    eigenvalues: Complex[Tensor, "mode"]

    @property
    def radius(self) -> float:
        """Largest modulus: 1 for a harmonic (symplectic) propagator; r > 1 heats every step by about r^2 - 1 in its worst mode."""
        return float(self.eigenvalues.abs().max())


def jacobian(
    propagator: Propagator, p: Particles, *, step_x: float = 1e-3, step_v: float = 1e-4, batch_nodes: int = 4096, lattice: bool = True
) -> Jacobian:
    """The Jacobian of (x, v) -> (x + d, v') of one system by central differences over perturbed copies in packed calls, float64.

    The basis is (sqrt(m) x, sqrt(m) v D), in which the reference map is near to orthogonal, projected onto the complement
    of rigid translations (and rotations in open space). In a crystal only one site of each translational orbit is
    perturbed; the other columns follow from the lattice translations.

    Args:
        propagator: the map.
        p: one system at an equilibrium of the reference, at rest.
        step_x: perturbation of positions, Angstrom. A float32 network needs about 1e-3.
        step_v: perturbation of velocities, Angstrom/fs.
        batch_nodes: most nodes in one call.
        lattice: use the lattice translations of a fully periodic system.

    Raises:
        ValueError: more than one system was passed, it has fewer than 2 atoms, or the propagator answers with values that are not finite.
    """
    if p.n_scenes != 1 or len(p.x) < 2:
        raise ValueError(f"the Jacobian is that of one system of 2 or more atoms, but {p.n_scenes} systems with {len(p.x)} atoms came")
    crystal = None
    if lattice and p.cell is not None and p.pbc is not None and bool(p.pbc.all()):
        crystal = Lattice.of(p.x, p.kind, p.cell[0])
    atoms = torch.arange(len(p.x), device=p.x.device) if crystal is None else crystal.representatives
    columns = _columns(propagator, p, atoms, (step_x, step_v), batch_nodes)
    full = columns if crystal is None else _spread(columns, crystal)
    n = len(p.x)
    matrix = full.permute(2, 3, 4, 0, 1, 5).reshape(6 * n, 6 * n)  # rows (part, node, axis), columns likewise
    basis = torch.block_diag(*[_internal_basis(p)] * 2)
    return Jacobian(torch.linalg.eigvals(basis.T @ matrix @ basis))


def jacobian_radius(propagator: Propagator, p: Particles, **options: Any) -> float:
    """Spectral radius of the one-step map at an equilibrium; see `jacobian`."""
    return jacobian(propagator, p, **options).radius


def _columns(propagator: Propagator, p: Particles, atoms: Tensor, steps: tuple[float, float], batch_nodes: int) -> Tensor:
    """d(part, node, axis) / d(part', atom, axis'), scaled: ``[part' atom part node axis axis']``."""
    n, per_call = len(p.x), max(1, batch_nodes // (2 * len(p.x)))
    todo = [(part, a, axis) for part in (0, 1) for a in range(len(atoms)) for axis in range(3)]
    out = p.x.new_zeros(2, len(atoms), 2, n, 3, 3)
    root = p.mass.sqrt()
    for first in range(0, len(todo), per_call):
        some = todo[first : first + per_call]
        moved = p.x.new_zeros(2 * len(some), 2, n, 3)
        for k, (part, a, axis) in enumerate(some):
            moved[2 * k : 2 * k + 2, part, atoms[a], axis] = torch.tensor([1.0, -1.0], dtype=p.x.dtype, device=p.x.device) * steps[part]
        after = _propagated(propagator, p, moved)
        difference = (after[0::2] - after[1::2]) * torch.stack([root, root * propagator.stride])[:, :, None]
        for k, (part, a, axis) in enumerate(some):
            unit = float(root[atoms[a]]) * (propagator.stride if part else 1.0)
            out[part, a, :, :, :, axis] = difference[k] / (2 * steps[part] * unit)
    return out


def _propagated(propagator: Propagator, p: Particles, moved: Tensor) -> Tensor:
    """The state after one stride of copies displaced by ``moved[copy part node axis]``: ``[copy part node axis]``."""
    copies, n = len(moved), len(p.x)
    x, v = (p.x + moved[:, 0]).reshape(-1, 3), (p.v + moved[:, 1]).reshape(-1, 3)
    scene = torch.arange(copies, device=p.x.device).repeat_interleave(n)
    box = [None if value is None else value.expand(copies, *value.shape[1:]) for value in (p.cell, p.pbc)]
    with torch.no_grad():
        d, after = propagator.propagate(Particles(x, v, p.mass.repeat(copies), p.kind.repeat(copies), scene, copies, *box))
    if not bool(torch.isfinite(d).all() and torch.isfinite(after).all()):
        raise ValueError("the propagator answers with values that are not finite near the equilibrium; it has no Jacobian there")
    return torch.stack([moved[:, 0] + d.double().reshape(copies, n, 3), after.double().reshape(copies, n, 3)], 1)


def _spread(columns: Tensor, crystal: Lattice) -> Tensor:
    """All columns from those of the representatives: J(g i, g j) = J(i, j) for every translation g."""
    n = len(crystal.site)
    full = columns.new_zeros(2, n, *columns.shape[2:])
    for a, atom in enumerate(crystal.representatives.tolist()):
        for image in crystal.image:
            column = torch.zeros_like(columns[:, a])
            column[:, :, image] = columns[:, a]
            full[:, image[atom]] = column
    return full


def _internal_basis(p: Particles) -> Float[Tensor, "coordinate mode"]:
    """Orthonormal basis of what is left of 3N mass-weighted coordinates without rigid translations and, in open space, rotations."""
    root, r = p.mass.sqrt(), p.x - kinetics.centre_of_mass(p)
    axes = torch.eye(3, dtype=p.x.dtype, device=p.x.device)
    rigid = [root[:, None] * axis for axis in axes]
    if bool(p.isolated[0]):
        rigid += [root[:, None] * torch.linalg.cross(axis.expand_as(r), r) for axis in axes]
    u, s, _ = torch.linalg.svd(torch.stack(rigid).flatten(1).T, full_matrices=True)
    return u[:, int((s > 1e-3 * s[0]).sum()) :]


def total_energy(trajectories: Trajectories, potential: Potential, frames: Int[Tensor, "frame"]) -> Float[Tensor, "scene frame"]:
    """Potential plus kinetic energy under the reference, eV per atom, at some frames; NaN where a scene was no longer alive."""
    live = alive(trajectories)
    sizes = trajectories.sizes
    out = torch.full((trajectories.n_scenes, len(frames)), math.nan, dtype=torch.float64, device=trajectories.x.device)
    for column, frame in enumerate(frames.tolist()):
        here = live[:, frame].nonzero().flatten()
        if not len(here):
            continue
        p = Particles.of(trajectories.scenes(here), frame)
        # peculiar motion only: a drift of the whole is conserved anyway, and exactly
        out[here, column] = (potential(p)[0] + kinetics.kinetic_energy(p)) / sizes[here]
    return out


@dataclass(frozen=True)
class Drift:
    """Change of the reference energy along an energy-conserving run, meV/atom: at each time the mean, rms and worst over scenes."""

    time: Float[Tensor, "frame"]
    mean: Float[Tensor, "frame"]
    rms: Float[Tensor, "frame"]
    worst: Float[Tensor, "frame"]


def energy_drift(trajectories: Trajectories, potential: Potential, points: int = 21, until: float | None = None) -> Drift:
    """Change of the total energy under the reference along a run without thermostat, over the scenes that are still alive.

    Args:
        trajectories: the run; its first frame is the start.
        potential: the reference.
        points: number of frames looked at, evenly spaced.
        until: in fs from the start; the whole run by default.
    """
    clock = trajectories.time[0] - trajectories.time[0, 0]
    last = trajectories.n_frames - 1 if until is None else int((clock <= until + 1e-6).sum()) - 1
    frames = torch.linspace(0, last, min(points, last + 1), dtype=torch.float64).round().long().unique()
    energy = total_energy(trajectories, potential, frames)
    change = 1000 * (energy - energy[:, :1])
    count = torch.isfinite(change).sum(0)
    known = change.nan_to_num()
    some = torch.where(count > 0, 1.0, math.nan)
    return Drift(clock[frames], some * known.sum(0) / count.clamp_min(1), some * (known.square().sum(0) / count.clamp_min(1)).sqrt(),
                 some * known.abs().amax(0))
