"""Small analytic systems that are moved exactly or nearly so, for the tests of roll-outs."""

from __future__ import annotations

import torch

from trajlab.dynamics.kinetics import maxwell_boltzmann
from trajlab.dynamics.particles import Particles
from trajlab.dynamics.verlet import verlet

WATER = torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], dtype=torch.float64)
BENT = torch.tensor([[0.0, 0, 0], [1.1, 0, 0], [1.5, 1.0, 0], [0.5, 1.2, 0.9], [-0.6, 0.3, 0.8]], dtype=torch.float64)
KINDS = {3: [8, 1, 1], 5: [6, 8, 6, 7, 1]}
MASS = {1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999, 13: 26.98}


def batch(*sizes: int, temperature: float = 300.0, seed: int = 0) -> Particles:
    """Molecules of 3 or 5 atoms, moving."""
    x = torch.cat([WATER if n == 3 else BENT for n in sizes])
    kind = torch.tensor([z for n in sizes for z in KINDS[n]])
    scene = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    mass = torch.tensor([MASS[z] for z in kind.tolist()], dtype=torch.float64)
    p = Particles(x.clone(), torch.zeros_like(x), mass, kind, scene, len(sizes))
    return maxwell_boltzmann(p, temperature, torch.Generator().manual_seed(seed))


def marked(p: Particles, node: int, mass: float) -> Particles:
    """One atom with a mass by which a `Failing` propagator knows it."""
    return p.replace(mass=p.mass.clone().index_fill_(0, torch.tensor(node), mass))


class Springs:
    """Springs between all atoms of a molecule (rest lengths: the geometry above), by velocity Verlet: conserves P and L."""

    stride = 4.0
    limits = None

    def __init__(self, stiffness: float = 4.0, steps: int = 2) -> None:
        self.stiffness, self.steps, self.calls = stiffness, steps, 0

    def __call__(self, p: Particles) -> tuple[torch.Tensor, torch.Tensor]:
        forces, energy, offset = torch.zeros_like(p.x), [], 0
        for n in p.sizes.tolist():
            rest = WATER if n == 3 else BENT
            part = p.x[offset:offset + n]
            delta = part[:, None] - part[None]
            eye = torch.eye(n, dtype=p.x.dtype)
            length = (delta.square().sum(2) + eye).sqrt()
            stretch = (length - ((rest[:, None] - rest[None]).square().sum(2) + eye).sqrt()) * (1 - eye)
            forces[offset:offset + n] = -(self.stiffness * stretch / length)[..., None].mul(delta).sum(1)
            energy.append(0.25 * self.stiffness * stretch.square().sum())
            offset += n
        return torch.stack(energy), forces

    def propagate(self, p, cache=None):
        self.calls += 1
        cache = {} if cache is None else cache
        cache["seen"] = torch.tensor(float(self.calls), dtype=torch.float64)
        end, _, _ = verlet(p, self, self.stride / self.steps, self.steps)
        return end.x - p.x, end.v


class Ballistic:
    """d = v D, v' = v."""

    stride = 5.0
    limits = None

    def propagate(self, p, cache=None):
        return p.v * self.stride, p.v


class Failing(Springs):
    """Does to one molecule, the one whose first atom has a given mass, what ``how`` says from some call on."""

    def __init__(self, how: str, mass: float, after: int) -> None:
        super().__init__()
        self.how, self.mass, self.after = how, mass, after

    def propagate(self, p, cache=None):
        d, v = super().propagate(p, cache)
        mine = p.scene[p.mass == self.mass]
        if not len(mine) or self.calls <= self.after:
            return d, v
        if self.how == "raise":
            raise ValueError("a matrix is singular")
        nodes = p.scene == mine[0]
        if self.how == "nan":
            return torch.where(nodes[:, None], torch.nan, d), v
        if self.how == "drift":  # the first atom walks away
            first = torch.nonzero(nodes)[0, 0]
            return d + 0.3 * torch.nn.functional.one_hot(first, len(d))[:, None], v
        return d, torch.where(nodes[:, None], 3 * v, v)


class Harmonic:
    """Independent oscillators about ``centre`` in a periodic box, exact: a rotation in phase space."""

    stride = 6.0
    limits = None

    def __init__(self, centre: torch.Tensor, omega: float) -> None:
        self.centre, self.omega = centre, omega

    def propagate(self, p, cache=None):
        u = p.x - self.centre
        angle = torch.tensor(self.omega * self.stride, dtype=torch.float64)
        c, s = angle.cos(), angle.sin()
        return u * c + p.v * (s / self.omega) - u, p.v * c - u * (self.omega * s)
