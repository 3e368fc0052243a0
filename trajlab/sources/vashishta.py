"""Silica with the potential of Vashishta and others: pair terms with screened charges, and angles O-Si-O and Si-O-Si.

    U2(r) = H/r^eta + Z_i Z_j k/r exp(-r/lambda1) - D/r^4 exp(-r/lambda4) - W/r^6,    shifted so that U2 and U2' vanish at r_c,
    U3 = B d^2/(1 + C d^2) exp(gamma/(r_ij - r0)) exp(gamma/(r_ik - r0)),   d = cos(angle at i) - cos0,   both distances below r0.

Sources: Vashishta, Kalia, Rino and Ebbsjoe, Phys. Rev. B 41, 12197 (1990); Nakano, Kalia and Vashishta, J. Non-Cryst. Solids 171,
157 (1994), whose values are the default. Files in the format of LAMMPS (``pair_style vashishta``, metal units) can be read instead;
beware of the 1997 set, which is far too soft: its highest mode of quartz lies at 586 per cm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles
from trajlab.sources.pairs import PairList, dot, scatter

COULOMB = 14.399645  #: e^2/(4 pi eps0), eV Angstrom
FIELDS = ("H", "eta", "Zi", "Zj", "lambda1", "D", "lambda4", "W", "rc", "B", "gamma", "r0", "C", "cos0")
Table = Mapping[tuple[str, str, str], tuple[float, ...]]

#: Nakano, Kalia and Vashishta 1994: (centre, neighbour, neighbour): `FIELDS`, in eV, Angstrom and elementary charges. What is missing is zero.
NAKANO_1994: Table = {
    ("Si", "Si", "Si"): (0.80603, 11, 1.76, 1.76, 4.43, 0.0, 2.5, 0.0, 5.5, 0.0, 0.0, 0.0, 0.0, 0.0),
    ("O", "O", "O"): (730.17, 7, -0.88, -0.88, 4.43, 26.7447, 2.5, 0.0, 5.5, 0.0, 0.0, 0.0, 0.0, 0.0),
    ("O", "Si", "Si"): (160.849, 9, -0.88, 1.76, 4.43, 53.4894, 2.5, 0.0, 5.5, 19.972, 1.0, 2.60, 0.0, -0.77714596),
    ("Si", "O", "O"): (160.849, 9, 1.76, -0.88, 4.43, 53.4894, 2.5, 0.0, 5.5, 4.993, 1.0, 2.60, 0.0, -1 / 3),
}


def read_parameters(path: str | Path) -> Table:
    """The entries of a potential file in the format of LAMMPS, by (centre, neighbour, neighbour).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not in that format, or is truncated.
    """
    words = [w for line in Path(path).read_text().splitlines() for w in line.partition("#")[0].split()]
    size = 3 + len(FIELDS)
    if not words or len(words) % size:
        raise ValueError(f"{path} holds {len(words)} words, not a multiple of {size} (3 elements and {', '.join(FIELDS)}); it may be truncated")
    try:
        return {(a, b, c): tuple(float(n) for n in numbers) for a, b, c, *numbers in (words[k : k + size] for k in range(0, len(words), size))}
    except ValueError as error:
        raise ValueError(f"{path} is not a Vashishta potential in the format of LAMMPS: {error}") from error


class Vashishta:
    """Energies in eV and forces in eV/Angstrom, batched over replicas.

    Args:
        parameters: a file in the format of LAMMPS, or a table as `NAKANO_1994`, the default.
        skin: of the list of pairs, Angstrom.

    Raises:
        FileNotFoundError, ValueError: as `read_parameters`; or the pair entries are incomplete.
    """

    def __init__(self, parameters: str | Path | Table | None = None, skin: float = 0.6) -> None:
        from ase.data import atomic_numbers

        table = NAKANO_1994 if parameters is None else read_parameters(parameters) if isinstance(parameters, str | Path) else parameters
        self.symbols = sorted({element for entry in table for element in entry})
        missing = [pair for pair in product(self.symbols, repeat=2) if (pair[0], pair[1], pair[1]) not in table]
        if missing:
            raise ValueError(f"the table has no pair entry {missing[0][0]} {missing[0][1]} {missing[0][1]}; every pair of {self.symbols} needs one")
        self.columns = {atomic_numbers[symbol]: k for k, symbol in enumerate(self.symbols)}
        n = len(self.symbols)
        entries = [table.get(key, (0.0,) * len(FIELDS)) for key in product(self.symbols, repeat=3)]
        self.table = torch.tensor(entries, dtype=torch.float64).view(n, n, n, -1).movedim(-1, 0)
        self.two = torch.stack([self.table[:9, a, b, b] for a in range(n) for b in range(n)], 1)  # [field, pair of elements]
        edge, slope = _pair_energy(self.two, self.two[8])
        self.edge = torch.stack([edge, slope])
        self.pairs = PairList(float(self.two[8].max()), skin)
        self._kept: _Kept | None = None
        name = "1994" if parameters is None else Path(parameters).name if isinstance(parameters, str | Path) else "given"
        self.provenance = {"potential": "Vashishta", "parameters": name,
                           "citation": "Nakano, Kalia, Vashishta, J. Non-Cryst. Solids 171, 157 (1994)"}

    def __call__(self, p: Particles) -> tuple[Float[Tensor, "scene"], Float[Tensor, "node 3"]]:
        """Energies ``[scene]`` in eV and forces ``[node 3]`` in eV/Angstrom.

        Raises:
            ValueError: an element has no parameters.
        """
        column = self._columns(p)
        pairs = self.pairs(p)
        if self._kept is None or self._kept.builds != self.pairs.builds:
            self._kept = self._prepare(column, *pairs)
        energy, *forces = self._two_body(self._kept, *pairs)
        bent, *more = self._three_body(self._kept, pairs[2])
        atoms = p.x.new_zeros(len(p.x)).index_add_(0, pairs[0], energy).index_add_(0, self._kept.centre, bent)
        return p.scene_sum(atoms), scatter(len(p.x), *forces, *more)

    def _columns(self, p: Particles) -> Tensor:
        lookup = torch.full((120,), -1, dtype=torch.long, device=p.x.device)
        for z, k in self.columns.items():
            lookup[z] = k
        column = lookup[p.kind]
        if bool((column < 0).any()):
            from ase.data import chemical_symbols

            bad = chemical_symbols[int(p.kind[column < 0][0])]
            raise ValueError(f"this Vashishta potential has no parameters for {bad}; it has them for {', '.join(self.symbols)}")
        return column

    def _two_body(self, kept: _Kept, i: Tensor, j: Tensor, span: Tensor, square: Tensor) -> tuple[Any, ...]:
        """Energy of each pair, and the forces on its atoms."""
        r = square.sqrt()
        reach = kept.two[8]
        inside = (r < reach).to(r.dtype)
        value, slope = _pair_energy(kept.two, r)
        push = ((slope - kept.edge[1]) * inside / r) * span
        return (value - kept.edge[0] - (r - reach) * kept.edge[1]) * inside, (i, push), (j, -push)

    def _three_body(self, kept: _Kept, span: Tensor) -> tuple[Any, ...]:
        """Energy of each angle, and the forces on its three atoms."""
        u, v = span[:, kept.bond_u] * kept.sign_u, span[:, kept.bond_v] * kept.sign_v
        value, grad_u, grad_v = _angle_energy(kept.three, *kept.reach, u, v)
        return value, (kept.end_u, -grad_u), (kept.end_v, -grad_v), (kept.centre, grad_u + grad_v)

    def _prepare(self, column: Tensor, i: Tensor, j: Tensor, span: Tensor, square: Tensor) -> _Kept:
        """What stays the same until the list of pairs is made anew. Bond k runs from i to j for k < len(i), from j to i beyond."""
        table, n = self.table.to(span.device), len(i)
        code = column[i] * len(self.symbols) + column[j]
        centre, end = torch.cat([i, j]), torch.cat([j, i])
        reach = table[11, column[centre], column[end], column[end]]
        bond = ((reach > 0) & (square.repeat(2).sqrt() < reach + self.pairs.skin)).nonzero()[:, 0]
        bond = bond[torch.argsort(centre[bond], stable=True)]
        first, second = (bond[k] for k in _within_groups(centre[bond]))
        three = table[:, column[centre[first]], column[end[first]], column[end[second]]]
        active = three[9] != 0
        first, second = first[active], second[active]
        sign_u, sign_v = (torch.where(k < n, 1.0, -1.0).to(span.dtype) for k in (first, second))
        return _Kept(self.pairs.builds, self.two.to(span.device)[:, code], self.edge.to(span.device)[:, code], three[:, active],
                     (reach[first], reach[second]), centre[first], end[first], end[second], first % n, second % n, sign_u, sign_v)


@dataclass(frozen=True)
class _Kept:
    """Parameters of each pair and angle, and which bonds make an angle."""

    builds: int
    two: Tensor
    edge: Tensor
    three: Tensor
    reach: tuple[Tensor, Tensor]
    centre: Tensor
    end_u: Tensor
    end_v: Tensor
    bond_u: Tensor
    bond_v: Tensor
    sign_u: Tensor
    sign_v: Tensor


def _pair_energy(two: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """U2 before the shift, and its derivative."""
    height, eta, zi, zj, lambda1, dipole, lambda4, waals, _ = two
    core = height * torch.exp(-eta * r.log())
    charge = COULOMB * zi * zj / r * torch.exp(-r / lambda1)
    r2 = (r * r).reciprocal()
    polar, attraction = dipole * r2 * r2 * torch.exp(-r / lambda4), waals * r2 * r2 * r2
    value = core + charge - polar - attraction
    slope = -eta * core / r - charge * (1 / r + 1 / lambda1) + polar * (4 / r + 1 / lambda4) + 6 * attraction / r
    return value, slope


def _angle_energy(three: Tensor, reach_u: Tensor, reach_v: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U3 of two bond vectors and its gradients by them."""
    strength, gamma, _, damping, target = three[9:14]
    ru, rv = dot(u, u).sqrt(), dot(v, v).sqrt()
    inside = (ru < reach_u) & (rv < reach_v)
    gap_u, gap_v = torch.where(inside, ru - reach_u, -1.0), torch.where(inside, rv - reach_v, -1.0)
    decay = torch.where(inside, strength * torch.exp(gamma / gap_u + gamma / gap_v), 0.0)
    cosine = dot(u, v) / (ru * rv)
    delta = cosine - target
    soft = 1 + damping * delta.square()
    value = decay * delta.square() / soft
    by_cosine = 2 * decay * delta / soft.square()
    side = by_cosine / (ru * rv)
    along_u = (-value * gamma / gap_u.square() - by_cosine * cosine / ru) / ru
    along_v = (-value * gamma / gap_v.square() - by_cosine * cosine / rv) / rv
    return value, side * v + along_u * u, side * u + along_v * v


def _within_groups(group: Tensor) -> tuple[Tensor, Tensor]:
    """All unordered pairs of positions with the same value in a sorted tensor."""
    _, count = group.unique_consecutive(return_counts=True)
    size = count.repeat_interleave(count)
    start = (count.cumsum(0) - count).repeat_interleave(count)
    first = torch.arange(len(group), device=group.device).repeat_interleave(size)
    place = torch.arange(len(first), device=group.device) - (size.cumsum(0) - size)[first]
    second = start[first] + place
    keep = first < second
    return first[keep], second[keep]
