"""Temperature, its share by element, and the distribution of the kinetic energy against the canonical one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.dynamics import kinetics
from trajlab.dynamics.particles import Particles
from trajlab.metrics.profiles import Profile, alive, bins, histogram
from trajlab.metrics.uncertainty import Estimate, blocked_mean
from trajlab.types import Trajectories
from trajlab.units import BOLTZMANN


def instants(trajectories: Trajectories) -> Particles:
    """All frames of all scenes as the systems of one batch, ordered by scene, then frame.

    What is masked out stands at the origin at rest; leave it out of averages by `trajlab.metrics.profiles.alive`.
    """
    frames, device = trajectories.n_frames, trajectories.x.device
    key = trajectories.scene[:, None] * frames + torch.arange(frames, device=device)
    order = key.flatten().argsort(stable=True)
    node = order // frames

    def flat(value: Tensor) -> Tensor:
        return torch.where(trajectories.mask[..., None], value.double(), 0.0).flatten(0, 1)[order]

    each = lambda value: None if value is None else value.repeat_interleave(frames, 0)  # noqa: E731
    cell = None if trajectories.cell is None else trajectories.cell.double()
    return Particles(flat(trajectories.x), flat(trajectories.velocity), trajectories.mass.double()[node], trajectories.kind[node],
                     key.flatten()[order], trajectories.n_scenes * frames, each(cell), each(trajectories.pbc))


class Kinetic(NamedTuple):
    """Kinetic energies of peculiar velocities, eV, ``[scene time]``, degrees of freedom, ``[scene]``, and what was alive, ``[scene time]``."""

    energy: Float[Tensor, "scene time"]
    freedom: Float[Tensor, "scene"]
    alive: Bool[Tensor, "scene time"]

    @property
    def temperature(self) -> Float[Tensor, "scene time"]:
        """T = 2K/(n k_B), K."""
        return 2 * self.energy / (self.freedom.clamp_min(1)[:, None] * BOLTZMANN)

    def mean_temperature(self) -> Estimate:
        """Mean temperature, K, with a blocked standard error."""
        return blocked_mean(self.temperature, self.alive)


def kinetic(trajectories: Trajectories) -> Kinetic:
    """Kinetic energies along trajectories; degrees of freedom (3N - 3, less the rank of the inertia tensor in open space) from the first frame;
    scenes that were not alive then count as dead."""
    energy = kinetics.kinetic_energy(instants(trajectories)).reshape(trajectories.n_scenes, trajectories.n_frames)
    live = alive(trajectories)
    begun, freedom = live[:, 0], torch.zeros(len(live), dtype=torch.float64, device=live.device)
    if bool(begun.any()):
        freedom[begun] = kinetics.degrees_of_freedom(Particles.of(trajectories.scenes(begun.nonzero().flatten()), 0))
    return Kinetic(energy, freedom, live & begun[:, None])


def element_temperatures(trajectories: Trajectories, every: int = 1) -> dict[str, Estimate]:
    """Temperature of each element, K: its kinetic energy over its canonical expectation at 1 K, with a blocked standard error.

    The expectation shares the removed degrees of freedom by mass and geometry (`kinetics.species_expectation`), frame by frame.
    All scenes must hold the same elements. ``every`` thins the frames.
    """
    from ase.data import chemical_symbols

    thinned = trajectories.frames(slice(None, None, every))
    live, p = alive(thinned), instants(thinned)
    energy, unit = kinetics.species_kinetic_energy(p), kinetics.species_expectation(p, 1.0)
    found = {}
    for column, number in enumerate(kinetics.species(p).tolist()):
        share = lambda value: value[:, column].reshape(live.shape)  # noqa: B023, E731
        scale = float(share(unit)[live].mean()) if bool(live.any()) else math.nan
        found[chemical_symbols[number]] = blocked_mean(share(energy) / scale, live)
    return found


@dataclass(frozen=True)
class CanonicalFit:
    """How canonical the kinetic energies are.

    Attributes:
        spread: std of K over ``sqrt(2/n) K0``, with K0 = n k_B T/2; 1 in the canonical ensemble, 0 where K does not fluctuate.
        distance: largest distance between the distribution of K and Gamma(n/2, k_B T) (Kolmogorov-Smirnov).
    """

    spread: Estimate
    distance: float


def canonical_fit(series: Kinetic, temperature: float) -> CanonicalFit:
    """Kinetic energies against the canonical law at ``temperature``, K (the target, or the mean where there is none).

    Raises:
        ValueError: the temperature is not positive, nothing is alive, or the scenes have different degrees of freedom.
    """
    if not temperature > 0:
        raise ValueError(f"the canonical law needs a temperature above 0 K, not {temperature:g}")
    n = _freedom(series)
    reduced = series.energy / (0.5 * n * BOLTZMANN * temperature)
    mean = blocked_mean(reduced, series.alive)
    square = blocked_mean((reduced - mean.value).square(), series.alive)
    spread, canonical = math.sqrt(square.value), math.sqrt(2 / n)
    error = square.error / (2 * spread * canonical) if spread else math.nan
    return CanonicalFit(Estimate(spread / canonical, error), _kolmogorov(reduced[series.alive], n))


def _freedom(series: Kinetic) -> float:
    """The number of degrees of freedom that all systems alive share."""
    counts = series.freedom[series.alive.any(1)].unique().tolist()
    if len(counts) != 1:
        raise ValueError(f"the systems have {counts or 'no'} degrees of freedom; judge systems of one sort, of which at least one is alive")
    return counts[0]


def _kolmogorov(reduced: Tensor, n: float) -> float:
    ordered = reduced.flatten().sort().values
    law = torch.special.gammainc(torch.full_like(ordered, n / 2), ordered * n / 2)
    rank = torch.arange(len(ordered) + 1, dtype=law.dtype, device=law.device) / len(ordered)
    return float(torch.maximum((law - rank[:-1]).abs(), (rank[1:] - law).abs()).max())


def energy_histogram(series: Kinetic, temperature: float, n_bins: int = 60) -> tuple[Profile, Float[Tensor, "bin"]]:
    """Distribution of K/K0 and the canonical density Gamma(n/2) on the same bins, from 0 to 6 canonical deviations above 1."""
    n = _freedom(series)
    edges = bins(0.0, 1 + 6 * math.sqrt(2 / n), (1 + 6 * math.sqrt(2 / n)) / n_bins, series.energy.device)
    reduced = series.energy / (0.5 * n * BOLTZMANN * temperature)
    counts = histogram(reduced, torch.arange(len(reduced), device=reduced.device), series.alive, edges, len(reduced))
    width = float(edges[1] - edges[0])
    centre = (edges[1:] + edges[:-1]) / 2
    half = n / 2
    density = torch.exp((half - 1) * (half * centre).log() - half * centre - math.lgamma(half)) * half
    return Profile(centre, counts, (counts.sum(1, keepdim=True) * width).expand_as(counts)), density
