"""What a model has seen: the extremes of its training data, beyond which a forecast is a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.data.graphs import neighbours
from trajlab.dynamics import kinetics
from trajlab.dynamics.particles import Particles
from trajlab.types import Trajectories

BONDED = 1.2  #: pairs closer than this many sums of covalent radii are bonded
SAMPLE = 64  #: frames of long trajectories that are looked at


@dataclass(frozen=True)
class Limits:
    """Extremes of training data, JSON-able.

    Attributes:
        stride: femtoseconds between the frames that ``max_displacement`` belongs to.
        max_speed: the largest speed of each element, Angstrom/fs.
        max_displacement: the largest displacement of each element over a stride, Angstrom.
        bonds: shortest and longest distance of bonded pairs, Angstrom, by pair of elements (``"C-H"``).
        temperature: lowest and highest instantaneous temperature of a system, K.
        mean_temperature: K.
    """

    stride: float
    max_speed: Mapping[str, float]
    max_displacement: Mapping[str, float]
    bonds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    temperature: tuple[float, float] = (0.0, float("inf"))
    mean_temperature: float | None = None

    @classmethod
    def measure(cls, trajectories: Trajectories) -> Self:
        """The extremes of trajectories in MD units. Bonds are those of each scene's first frame.

        Raises:
            ValueError: a single frame, no velocities, no masses, or other units.
        """
        if trajectories.n_frames < 2:
            raise ValueError("a single frame has no displacements; limits are measured on at least 2 frames a scene")
        stride = float((trajectories.time[:, 1] - trajectories.time[:, 0]).mean())
        first = Particles.of(trajectories, 0)
        seen = trajectories.mask
        speed = torch.where(seen, trajectories.velocity.norm(dim=2), 0.0).amax(1)
        step = torch.where(seen[:, 1:] & seen[:, :-1], trajectories.x.diff(dim=1).norm(dim=2), 0.0)
        gap = trajectories.time.diff(dim=1)[trajectories.scene]
        moved = (step / gap).amax(1) * stride  # frames of several strides: as if each were the first
        heat = _temperatures(trajectories)
        return cls(stride, _by_element(first.kind, speed), _by_element(first.kind, moved), _bond_extremes(trajectories, first),
                   (float(heat.min()), float(heat.max())), float(heat.mean()))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"bonds": {k: list(v) for k, v in self.bonds.items()}, "temperature": list(self.temperature)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        bonds = {k: (float(v[0]), float(v[1])) for k, v in values["bonds"].items()}
        low, high = values["temperature"]
        return cls(**{**values, "bonds": bonds, "temperature": (low, high)})


def symbol(number: int) -> str:
    """The symbol of an element."""
    from ase.data import chemical_symbols

    return chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"Z{number}"


def pair_name(a: int, b: int) -> str:
    """``"C-H"``: two elements in alphabetical order."""
    return "-".join(sorted((symbol(a), symbol(b))))


def bonded_pairs(p: Particles) -> tuple[Int[Tensor, "bond"], Int[Tensor, "bond"], Float[Tensor, "bond 3"] | None]:
    """Bonded pairs i < j (an atom and its own image once), and the shift of j's image: the bond vector is x[i] - x[j] + shift.

    Bonded are pairs within `BONDED` times the sum of their covalent radii.
    """
    from ase.data import covalent_radii

    radius = p.x.new_tensor(covalent_radii)[p.kind.clamp(0, len(covalent_radii) - 1)]
    graph = neighbours(p.x, p.scene, p.n_scenes, 2 * BONDED * float(radius.max()), p.cell, p.pbc)
    i, j = graph.sender, graph.receiver
    shift = graph.shift
    vector = p.x[i] - p.x[j] + (0 if shift is None else shift)
    keep = (vector.norm(dim=1) < BONDED * (radius[i] + radius[j])) & (i <= j)
    return i[keep], j[keep], None if shift is None else shift[keep]


def are_metals(kind: Int[Tensor, "node"]) -> Tensor:
    """True for metals: their bonds come and go as atoms diffuse, and only their shortness says something."""
    nonmetals = torch.tensor([0, 1, 2, *range(5, 11), *range(14, 19), *range(32, 37), *range(51, 55), 85, 86], device=kind.device)
    return ~torch.isin(kind, nonmetals)


def _chosen(n_frames: int) -> list[int]:
    return sorted({round(k * (n_frames - 1) / (SAMPLE - 1)) for k in range(SAMPLE)}) if n_frames > SAMPLE else list(range(n_frames))


def _temperatures(trajectories: Trajectories) -> Float[Tensor, "frame scene"]:
    """Of scenes that are observed completely."""
    holes = trajectories.scene[(~trajectories.mask).any(1)].unique()
    if len(holes) == trajectories.n_scenes:
        raise ValueError("no scene is observed completely; limits of a model need whole systems")
    if len(holes):
        every = torch.arange(trajectories.n_scenes, device=holes.device)
        trajectories = trajectories.scenes(every[~torch.isin(every, holes)])
    return torch.stack([kinetics.temperature(Particles.of(trajectories, f)) for f in _chosen(trajectories.n_frames)])


def _by_element(kind: Tensor, value: Tensor) -> dict[str, float]:
    return {symbol(z): float(value[kind == z].max()) for z in kind.unique().tolist()}


def _bond_extremes(trajectories: Trajectories, first: Particles) -> dict[str, tuple[float, float]]:
    i, j, shift = bonded_pairs(first)
    if not len(i):
        return {}
    frames = _chosen(trajectories.n_frames)
    low = torch.full((len(i),), torch.inf, dtype=torch.float64, device=i.device)
    high = torch.zeros_like(low)
    for f in frames:
        length = (trajectories.x[i, f] - trajectories.x[j, f] + (0 if shift is None else shift)).double().norm(dim=1)
        seen = trajectories.mask[i, f] & trajectories.mask[j, f]
        low = torch.where(seen, torch.minimum(low, length), low)
        high = torch.where(seen, torch.maximum(high, length), high)
    a, b = torch.minimum(first.kind[i], first.kind[j]), torch.maximum(first.kind[i], first.kind[j])
    key = a * 1000 + b
    return {pair_name(k // 1000, k % 1000): (float(low[key == k].min()), float(high[key == k].max())) for k in key.unique().tolist()}
