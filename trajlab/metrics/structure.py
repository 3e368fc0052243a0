"""Structure: bonds and angles of the start frame, pair-distance distributions, radial distribution functions, shells of a crystal,
mean-square displacements."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.data.cells import complete, heights
from trajlab.metrics.profiles import Profile, alive, bins, histogram
from trajlab.types import Trajectories

CHUNK = 4_000_000  #: distances held at a time
BOND_FACTOR = 1.25  #: atoms closer than this times the sum of their covalent radii are bonded


def all_pairs(trajectories: Trajectories) -> Int[Tensor, "2 pair"]:
    """All pairs i < j of nodes in the same scene."""
    pairs = [torch.combinations(torch.arange(a, b, device=trajectories.x.device)) for a, b in zip(trajectories.ptr[:-1], trajectories.ptr[1:])]
    return torch.cat(pairs).T if pairs else torch.zeros(2, 0, dtype=torch.long)


def bonds(trajectories: Trajectories, frame: int = 0) -> Int[Tensor, "2 pair"]:
    """Pairs bonded in a frame (the start frame by default): closer than 1.25 times the sum of the covalent radii."""
    from ase.data import covalent_radii

    pairs = all_pairs(trajectories)
    radius = torch.as_tensor(covalent_radii, device=trajectories.x.device)[trajectories.kind]
    return pairs[:, _at(trajectories, pairs, frame) < BOND_FACTOR * (radius[pairs[0]] + radius[pairs[1]])]


def first_shell(trajectories: Trajectories, frame: int = 0) -> Int[Tensor, "2 pair"]:
    """Pairs that are nearest neighbours in a frame of a crystal, best one at the lattice sites: closer than 1.2 times the median over
    atoms of the distance to the nearest neighbour (half way to the second shell of fcc, below that of bcc after the thermal spread)."""
    pairs = all_pairs(trajectories)
    distance = _at(trajectories, pairs, frame)
    nearest = torch.full((trajectories.n_nodes,), math.inf, dtype=distance.dtype, device=distance.device)
    nearest = nearest.scatter_reduce(0, pairs.flatten(), distance.repeat(2), "amin")
    return pairs[:, distance < 1.2 * float(nearest.median())]


def bond_angles(pairs: Int[Tensor, "2 pair"]) -> Int[Tensor, "3 angle"]:
    """All angles a - centre - b that bonds make, the centre in the middle row, a < b."""
    both = torch.cat([pairs, pairs.flip(0)], 1)
    centre, end = both[:, both[0].argsort(stable=True)]
    found = [torch.zeros(3, 0, dtype=torch.long, device=pairs.device)]
    for step in range(1, int(torch.bincount(centre).max()) if len(centre) else 1):
        same = centre[step:] == centre[:-step]
        found.append(torch.stack([end[:-step], centre[step:], end[step:]])[:, same])
    return torch.cat(found, 1)


def _at(trajectories: Trajectories, pairs: Tensor, frame: int) -> Tensor:
    frames = trajectories.frames([range(trajectories.n_frames)[frame]])
    return distances(frames, pairs)[:, 0]


def distances(trajectories: Trajectories, pairs: Int[Tensor, "2 pair"]) -> Float[Tensor, "pair time"]:
    """Distances of pairs, to the nearest periodic image; right up to half of the smallest height of the cell."""
    between = trajectories.x[pairs[1]] - trajectories.x[pairs[0]]
    return minimum_image(between.double(), trajectories, trajectories.scene[pairs[0]]).norm(dim=-1)


def minimum_image(
    between: Float[Tensor, "item time 3"], trajectories: Trajectories, scene: Int[Tensor, "item"]
) -> Float[Tensor, "item time 3"]:
    """Vectors reduced by whole cell vectors along the periodic directions; unchanged in open space."""
    if trajectories.cell is None or trajectories.pbc is None or not bool(trajectories.pbc.any()):
        return between
    cell = complete(trajectories.cell, trajectories.pbc)
    turns = (between @ torch.linalg.inv(cell)[scene]).round() * trajectories.pbc[scene, None]
    return between - turns @ cell[scene]


def half_height(trajectories: Trajectories) -> float:
    """Half of the smallest height of the cells along periodic directions: up to here nearest images are right. Infinite in open space."""
    if trajectories.cell is None or trajectories.pbc is None or not bool(trajectories.pbc.any()):
        return math.inf
    return float(heights(complete(trajectories.cell, trajectories.pbc))[trajectories.pbc].min()) / 2


def pair_distances(
    trajectories: Trajectories, pairs: Int[Tensor, "2 pair"] | None = None, width: float = 0.02, r_max: float | None = None
) -> Profile:
    """Distribution of the distances of pairs (all by default), normalised to 1 over the bins, per Angstrom.

    ``r_max`` is by default half of the smallest cell height, or beyond the longest distance in open space; pass the same
    to whatever is compared.

    Raises:
        ValueError: there are no pairs, or ``r_max`` is beyond half of a cell height.
    """
    edges, counts, _ = _distance_counts(trajectories, pairs, width, r_max)
    weight = counts.sum(1, keepdim=True) * width
    return Profile((edges[1:] + edges[:-1]) / 2, counts, weight.expand_as(counts))


def radial_distribution(
    trajectories: Trajectories, pairs: Int[Tensor, "2 pair"] | None = None, width: float = 0.02, r_max: float | None = None
) -> Profile:
    """Radial distribution function g(r) of a fully periodic system: 1 for an ideal gas.

    Raises:
        ValueError: a scene is not periodic in all three directions, there are no pairs, or ``r_max`` is beyond half a cell height.
    """
    if trajectories.cell is None or trajectories.pbc is None or not bool(trajectories.pbc.all()):
        raise ValueError("a radial distribution function needs scenes that are periodic in 3 directions; use pair_distances in open space")
    edges, counts, weighed = _distance_counts(trajectories, pairs, width, r_max)
    shell = 4 / 3 * math.pi * edges.pow(3).diff()
    volume = torch.linalg.det(trajectories.cell.double()).abs()
    return Profile((edges[1:] + edges[:-1]) / 2, counts, (weighed / volume)[:, None] * shell)


def _distance_counts(trajectories: Trajectories, pairs: Tensor | None, width: float, r_max: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Edges, counts [scene bin] and the number of distances looked at [scene]."""
    pairs = all_pairs(trajectories) if pairs is None else pairs
    if not pairs.shape[1]:
        raise ValueError("there are no pairs to measure; single atoms have no distances, and `bonds` finds none where atoms are far apart")
    limit = half_height(trajectories)
    if r_max is None:
        r_max = limit if math.isfinite(limit) else _longest(trajectories, pairs)
    elif r_max > limit * (1 + 1e-9):
        raise ValueError(f"r_max {r_max:g} is beyond half of the smallest cell height, {limit:g}; nearer images would be missed")
    edges = bins(0.0, r_max, width, trajectories.x.device)
    edges = edges if math.isinf(limit) or float(edges[-1]) <= limit + 1e-9 else edges[:-1]
    scene, live = trajectories.scene[pairs[0]], alive(trajectories)
    counts = torch.zeros(trajectories.n_scenes, len(edges) - 1, dtype=torch.float64, device=trajectories.x.device)
    for part in _frame_chunks(trajectories, pairs.shape[1]):
        cut = trajectories.frames(part)
        counts += histogram(distances(cut, pairs), scene, live[:, part][scene], edges, trajectories.n_scenes)
    looked = torch.bincount(scene, minlength=trajectories.n_scenes) * live.sum(1)
    return edges, counts, looked.double()


def _longest(trajectories: Trajectories, pairs: Tensor) -> float:
    live = alive(trajectories)[trajectories.scene[pairs[0]]]
    longest = [torch.where(live[:, p], distances(trajectories.frames(p), pairs), 0.0).max() for p in _frame_chunks(trajectories, pairs.shape[1])]
    return 1.1 * float(torch.stack(longest).max()) + 0.1


def _frame_chunks(trajectories: Trajectories, items: int) -> list[slice]:
    step = max(1, CHUNK // max(items, 1))
    return [slice(a, min(a + step, trajectories.n_frames)) for a in range(0, trajectories.n_frames, step)]


def angle_distribution(trajectories: Trajectories, angles: Int[Tensor, "3 angle"], width: float = 1.0) -> Profile:
    """Distribution of bond angles in degrees, normalised to 1, per degree.

    Raises:
        ValueError: there are no angles.
    """
    if not angles.shape[1]:
        raise ValueError("there are no angles to measure; `bond_angles(bonds(trajectories))` lists those of a molecule")
    scene, live = trajectories.scene[angles[1]], alive(trajectories)
    edges = bins(0.0, 180.0, width, trajectories.x.device)
    counts = torch.zeros(trajectories.n_scenes, len(edges) - 1, dtype=torch.float64, device=trajectories.x.device)
    for part in _frame_chunks(trajectories, angles.shape[1]):
        cut = trajectories.frames(part)
        arms = [minimum_image((cut.x[angles[k]] - cut.x[angles[1]]).double(), cut, scene) for k in (0, 2)]
        cosine = torch.nn.functional.cosine_similarity(*arms, dim=-1).clamp(-1, 1)
        # 180 degrees itself belongs to the last bin
        degree = torch.rad2deg(torch.acos(cosine)).clamp_max(180.0 - 1e-9)
        counts += histogram(degree, scene, live[:, part][scene], edges, trajectories.n_scenes)
    return Profile((edges[1:] + edges[:-1]) / 2, counts, (counts.sum(1, keepdim=True) * width).expand_as(counts))


def by_elements(pairs: Int[Tensor, "2 pair"], kind: Int[Tensor, "node"]) -> dict[str, Bool[Tensor, "pair"]]:
    """For each pair of elements (``"C-H"``) which of the pairs are of it."""
    from ase.data import chemical_symbols

    low, high = kind[pairs].sort(0).values
    names = {}
    for a, b in torch.stack([low, high]).unique(dim=1).T.tolist():
        names["-".join(sorted((chemical_symbols[a], chemical_symbols[b])))] = (low == a) & (high == b)
    return names


def mean_square_displacement(trajectories: Trajectories, lags: Int[Tensor, "lag"] | None = None, n_lags: int = 40) -> Profile:
    """Mean-square displacement, Angstrom^2, over all atoms and time origins, against the lag in time units.

    Positions must be unwrapped. The motion of the centre of mass is taken out. ``lags`` are numbers of frames; by default
    ``n_lags`` of them, log-spaced up to half of the run.
    """
    frames = trajectories.n_frames
    if lags is None:
        lags = torch.logspace(0, math.log10(max(frames // 2, 1)), n_lags, dtype=torch.float64).round().long().unique()
    mass, scene, live = trajectories.mass.double(), trajectories.scene, alive(trajectories)
    x = torch.where(trajectories.mask[..., None], trajectories.x.double(), 0.0)
    moment = x.new_zeros(trajectories.n_scenes, frames, 3).index_add_(0, scene, x * mass[:, None, None])
    x = x - (moment / mass.new_zeros(trajectories.n_scenes).index_add_(0, scene, mass)[:, None, None])[scene]
    total, weight = [], []
    for lag in lags.tolist():
        both = live[:, lag:] & live[:, : frames - lag]
        square = (x[:, lag:] - x[:, : frames - lag]).square().sum(-1) * both[scene]
        total.append(square.new_zeros(trajectories.n_scenes).index_add_(0, scene, square.sum(1)))
        weight.append(both.sum(1).double() * trajectories.sizes)
    return Profile(lags.double().to(x.device) * trajectories.spacing, torch.stack(total, 1), torch.stack(weight, 1))
