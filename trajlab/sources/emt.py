"""Effective medium theory for fcc metals, batched over replicas.

Sources: Jacobsen, Stoltze and Noerskov, Surf. Sci. 366, 394 (1996); the parameters and the cutoff are those of ASE's calculator, which
are read from there, so that energies and forces agree with it to rounding. With r the distance of a pair, beta s the nearest-neighbour
distance of an fcc crystal of neutral-sphere radius s, and a smooth cutoff w(r) = 1/(1 + exp(a (r - r_c))),

    sigma1_i = sum_j chi_ij exp(-eta_j (r - beta s0_j)) w,   chi_ij = n0_j / n0_i,   q_i = s_i - s0_i = -ln(sigma1_i / 12 gamma1_i) / (beta eta_i),
    E = sum_i [ E0 (1 + lambda q) exp(-lambda q) + 6 V0 exp(-kappa q) ]_i - sum_i V0_i/(2 gamma2_i) sum_j chi_ij exp(-kappa_j (r/beta - s0_j)) w.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles
from trajlab.sources.pairs import PairList, scatter

BETA = 1.809  #: the value in use since the first programs; exactly (16 pi/3)^(1/3) / sqrt(2) = 1.8094
EDGE = 0.5  #: pairs are dropped this far beyond the middle of the cutoff, Angstrom


class EMT:
    """Energies in eV and forces in eV/Angstrom of Al, Cu, Ag, Au, Ni, Pd, Pt and their alloys.

    Args:
        skin: of the list of pairs, Angstrom.
    """

    def __init__(self, skin: float = 0.5) -> None:
        from ase.calculators.emt import parameters
        from ase.data import atomic_numbers
        from ase.units import Bohr

        table = {atomic_numbers[symbol]: np.array(values) for symbol, values in parameters.items()}
        self.columns = {z: k for k, z in enumerate(sorted(table))}
        e0, s0, v0, eta, kappa, lam, n0 = (torch.tensor([float(table[z][k]) for z in sorted(table)], dtype=torch.float64) for k in range(7))
        s0, eta, kappa, lam, n0 = s0 * Bohr, eta / Bohr, kappa / Bohr, lam / Bohr, n0 / Bohr**3
        nearest = BETA * float(s0.max())
        self.middle = nearest * 0.5 * (3**0.5 + 2)  # between the third and fourth neighbours of the largest element
        self.slope = math.log(1e4 - 1) / (2 * nearest - self.middle)  # w is 1e-4 at the fourth
        shell = BETA * s0[:, None] * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).sqrt()
        count = torch.tensor([12.0, 6.0, 24.0], dtype=torch.float64) / 12 / (1 + torch.exp(self.slope * (shell - self.middle)))
        gamma1 = (count * torch.exp(-eta[:, None] * (shell - BETA * s0[:, None]))).sum(1)
        gamma2 = (count * torch.exp(-kappa[:, None] * (shell / BETA - s0[:, None]))).sum(1)
        self.per_element = torch.stack([e0, s0, v0, eta, kappa, lam, n0, 12 * gamma1, v0 / (2 * gamma2)])
        self.pairs = PairList(self.middle + EDGE, skin)
        self.provenance = {"potential": "EMT", "parameters": "ase.calculators.emt", "citation": "Jacobsen et al., Surf. Sci. 366, 394 (1996)"}

    def __call__(self, p: Particles) -> tuple[Float[Tensor, "scene"], Float[Tensor, "node 3"]]:
        """Energies ``[scene]`` in eV, zero for bulk metals at their equilibrium, and forces ``[node 3]`` in eV/Angstrom.

        Raises:
            ValueError: an element has no parameters.
        """
        column = self._columns(p)
        i, j, span, square = self.pairs(p)
        r = square.sqrt()
        w = torch.where(square < self.pairs.cutoff**2, torch.sigmoid(self.slope * (self.middle - r)), 0.0)
        fall = self.slope * (w - 1)  # d ln w / dr
        atom = self.per_element.to(p.x.device)[:, column]
        single = bool((column == column[0]).all())
        at_i, at_j = (atom[:, 0], atom[:, 0]) if single else (atom[:, i], atom[:, j])
        # "to i": what j adds to the density at i. In a pure metal both directions are the same numbers.
        to_i = _pair_terms(at_i, at_j, r, w, fall)
        to_j = to_i if single else _pair_terms(at_j, at_i, r, w, fall)
        sigma = p.x.new_zeros(len(p.x)).index_add_(0, i, to_i[0]).index_add_(0, j, to_j[0])
        energy, rate = _embedding(atom, sigma)
        push = rate.index_select(0, i) * to_i[1] + rate.index_select(0, j) * to_j[1] + to_i[3] + to_j[3]  # dE/dr of the pair
        force = (push / r) * span
        per_atom = energy.index_add_(0, i, to_i[2]).index_add_(0, j, to_j[2])
        return p.scene_sum(per_atom), scatter(len(p.x), (i, force), (j, -force))

    def _columns(self, p: Particles) -> Tensor:
        column = torch.full((120,), -1, dtype=torch.long, device=p.x.device)
        for z, k in self.columns.items():
            column[z] = k
        column = column[p.kind]
        if bool((column < 0).any()):
            from ase.data import chemical_symbols

            bad = chemical_symbols[int(p.kind[column < 0][0])]
            known = ", ".join(chemical_symbols[z] for z in self.columns)
            raise ValueError(f"EMT has no parameters for {bad}; it has them for {known}. Use another potential for this material")
        return column


def _pair_terms(here: Tensor, there: Tensor, r: Tensor, w: Tensor, fall: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Density and pair energy that the atom ``there`` gives the atom ``here``, each followed by its derivative by r:
    density, its derivative, energy, its derivative."""
    _, s0, _, eta, kappa, _, n0, _, _ = there
    strength = n0 / here[6] * w
    density = strength * torch.exp(-eta * (r - BETA * s0))
    energy = -here[8] * strength * torch.exp(-kappa * (r / BETA - s0))
    return density, density * (fall - eta), energy, energy * (fall - kappa / BETA)


def _embedding(atom: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """The energy of each atom in its density and its derivative by the density; an isolated atom has the constant -E0."""
    e0, _, v0, eta, kappa, lam, _, norm, _ = atom
    alone = sigma <= 0
    sigma = torch.where(alone, 1.0, sigma)
    q = -(sigma / norm).log() / (BETA * eta)
    cohesive, compact = torch.exp(-lam * q), 6 * v0 * torch.exp(-kappa * q)
    energy = e0 * (1 + lam * q) * cohesive + compact
    rate = (e0 * lam**2 * q * cohesive + kappa * compact) / (BETA * eta * sigma)
    return torch.where(alone, 0.0, energy) - e0, torch.where(alone, 0.0, rate)
