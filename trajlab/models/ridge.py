"""Ridge-harmonic propagators: linear and quadratic ridge regression in a frame that moves with the molecule or the lattice.

A harmonic system is propagated exactly by a linear map of mass-weighted positions and velocities. Molecules are first turned onto their
mean structure (mass-weighted Kabsch, proper rotations); crystals are described by displacements from lattice sites, with one
map for each sort of site, shared over all lattice translations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.particles import Particles
from trajlab.metrics.lattice import Lattice
from trajlab.types import Trajectories

PENALTIES = tuple(10.0**k for k in range(-8, 3))
Normal = tuple[Tensor, Tensor, float]  #: Gram matrix of features, their products with the targets, squared norm of the targets
CHUNK = 8_000_000  #: numbers of features held at a time


class Ridge:
    """Ridge regression of (d - v D, v' - v) on aligned positions and velocities, all weighted by sqrt(m).

    ``degree=2`` adds all products of the aligned inputs (molecules only; about 18 N^2 features, one solve). The penalties of inputs
    and of products, relative to the variance of each feature, are chosen one after the other on the last fifth of the runs, then
    the fit is done on all. Predictions keep total momentum. It knows atoms by their place, so their order must be that of the
    training data.

    After `fit`, ``stride`` (fs) and ``penalty`` (of inputs, of products) are set.

    Raises:
        ValueError: the degree is not 1 or 2.
    """

    def __init__(self, degree: int = 1, penalties: tuple[float, ...] = PENALTIES):
        if degree not in (1, 2):
            raise ValueError(f"a ridge of degree {degree} was asked for; there are degree 1 (harmonic) and 2 (all products)")
        self.degree, self.penalties = degree, tuple(penalties)
        self.stride, self.penalty = math.nan, (math.nan, math.nan)

    def fit(self, trajectories: Trajectories) -> Self:
        """Fit on all pairs of neighbouring frames.

        Raises:
            ValueError: the scenes are not all of one system with one atom order, the cell is periodic in some directions only, or
                ``degree=2`` was asked for a crystal.
        """
        start, after = _pairs(trajectories)
        self.stride, n = trajectories.spacing, int(trajectories.sizes[0])
        self.kind, self.mass = trajectories.kind[:n], start.mass[:n]
        _same_system(self.kind, start)
        self.frame = self._frame(start)
        parts = [_normal_equations(self, start.replace(**s), after.replace(**a)) for s, a in _folds(trajectories, start, after)]
        linear = 1 + 6 * n
        first = rest = _chosen(parts, self.penalties, linear)
        if self.degree == 2:
            rest = _chosen(parts, self.penalties, linear, first)
        self.penalty = (first, rest)
        self.weights = [_solve(g0 + g1, c0 + c1, _penalties(g0, linear, first, rest)) for (g0, c0, _), (g1, c1, _) in zip(*parts)]
        return self

    def _frame(self, start: Particles) -> _Molecule | _Crystal:
        if start.pbc is None or not bool(start.pbc.any()):
            return _Molecule.of(start, self.mass)
        if self.degree > 1:
            raise ValueError("the quadratic ridge is for molecules; a crystal has too many products: use degree=1")
        return _Crystal.of(start, self.mass)

    def propagate(self, p: Particles, cache: MutableMapping[str, Any] | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Displacements and new velocities.

        Raises:
            ValueError: the ridge was not fitted, another molecule or another atom order came, or another cell.
        """
        if not hasattr(self, "weights"):
            raise ValueError("this Ridge was not fitted; call fit(trajectories) first")
        _same_system(self.kind, p)
        out = self.frame.answers(p, self)
        root = self.mass.sqrt().repeat(p.n_scenes)[:, None]
        d = p.v * self.stride + out[..., :3] / root
        v = p.v + out[..., 3:] / (root * self.stride)
        return _keep_momentum(p, d, p.v * self.stride), _keep_momentum(p, v, p.v)

    def features(self, linear: Float[Tensor, "sample input"]) -> Float[Tensor, "sample feature"]:
        """A constant, the inputs, and for ``degree=2`` their products."""
        parts = [torch.ones_like(linear[:, :1]), linear]
        if self.degree == 2:
            i, j = torch.triu_indices(linear.shape[1], linear.shape[1], device=linear.device)
            parts.append(linear[:, i] * linear[:, j])
        return torch.cat(parts, 1)


@dataclass(frozen=True, eq=False)
class _Molecule:
    """The mean structure, centred: ``[atom 3]``."""

    mean: Float[Tensor, "atom 3"]
    orbits = 1

    @classmethod
    def of(cls, p: Particles, mass: Tensor) -> Self:
        """The mean after turning all onto it, by iteration from the first (generalised Procrustes)."""
        x = _centred(p.x.reshape(p.n_scenes, -1, 3), mass)
        mean = x[0]
        for _ in range(10):
            before, mean = mean, torch.einsum("sij,saj->sai", kabsch(x, mean, mass), x).mean(0)
            mean = _centred(mean[None], mass)[0]
            if float((mean - before).abs().max()) < 1e-9:
                break
        return cls(mean)

    def inputs(self, p: Particles, ridge: Ridge, orbit: int = 0) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Aligned inputs ``[sample input]`` and the rotations ``[sample 3 3]`` that made them."""
        n = len(self.mean)
        x, v = _centred(p.x.reshape(-1, n, 3), ridge.mass), _centred(p.v.reshape(-1, n, 3), ridge.mass)
        turn, root = kabsch(x, self.mean, ridge.mass), ridge.mass.sqrt()[:, None]
        aligned = torch.einsum("sij,saj->sai", turn, x) - self.mean
        return torch.cat([(root * aligned).flatten(1), (root * torch.einsum("sij,saj->sai", turn, v) * ridge.stride).flatten(1)], 1), turn

    def samples(self, p: Particles, ridge: Ridge, orbit: int, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets ``[sample output]``; ``target[node 6]``."""
        inputs, turn = self.inputs(p, ridge, orbit)
        turned = torch.einsum("sij,sakj->saki", turn, target.reshape(len(turn), -1, 2, 3)).flatten(1)
        size = max(1, CHUNK // (inputs.shape[1] ** ridge.degree))
        yield from zip(inputs.split(size), turned.split(size))

    def answers(self, p: Particles, ridge: Ridge) -> Float[Tensor, "node 6"]:
        inputs, turn = self.inputs(p, ridge)
        out = (ridge.features(inputs) @ ridge.weights[0]).reshape(len(turn), -1, 2, 3)
        return torch.einsum("sji,sakj->saki", turn, out).reshape(-1, 6)


@dataclass(frozen=True, eq=False)
class _Crystal:
    lattice: Lattice

    @property
    def orbits(self) -> int:
        return len(self.lattice.representatives)

    @classmethod
    def of(cls, p: Particles, mass: Tensor) -> Self:
        if p.cell is None or p.pbc is None or not bool(p.pbc.all()) or not torch.allclose(p.cell, p.cell[:1].expand_as(p.cell)):
            raise ValueError("the lattice ridge needs one cell, periodic in 3 directions, for all scenes; fit other scenes apart")
        x = p.x.reshape(p.n_scenes, -1, 3)
        rough = Lattice(x[0], p.kind[: x.shape[1]], p.cell[0], torch.arange(x.shape[1], device=x.device)[None])
        return cls(Lattice.of(x[0] + rough.displacement(x, mass).mean(0), rough.kind, rough.cell))

    def inputs(self, p: Particles, ridge: Ridge) -> Float[Tensor, "sample atom 6"]:
        if p.cell is None or not torch.allclose(p.cell, self.lattice.cell.expand_as(p.cell), atol=1e-4):
            raise ValueError("this ridge was fitted in another cell; fit one for this cell")
        n, root = len(ridge.mass), ridge.mass.sqrt()[:, None]
        u = self.lattice.displacement(p.x.reshape(-1, n, 3), ridge.mass)
        return torch.cat([root * u, root * _centred(p.v.reshape(-1, n, 3), ridge.mass) * ridge.stride], 2)

    def samples(self, p: Particles, ridge: Ridge, orbit: int, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, atom = self.inputs(p, ridge), self.lattice.representatives[orbit]
        target = target.reshape(len(inputs), -1, 6)
        seen = self.lattice.image
        size = max(1, CHUNK // (seen.numel() * 6))
        for some, wanted in zip(inputs.split(size), target.split(size)):
            yield some[:, seen].flatten(0, 1).flatten(1), wanted[:, seen[:, atom]].flatten(0, 1)

    def answers(self, p: Particles, ridge: Ridge) -> Float[Tensor, "node 6"]:
        inputs, seen = self.inputs(p, ridge), self.lattice.image
        out = torch.zeros_like(inputs)
        for orbit, atom in enumerate(self.lattice.representatives.tolist()):
            for image in seen:
                out[:, image[atom]] = ridge.features(inputs[:, image].flatten(1)) @ ridge.weights[orbit]
        return out.reshape(-1, 6)


def kabsch(
    x: Float[Tensor, "sample atom 3"], reference: Float[Tensor, "atom 3"], mass: Float[Tensor, "atom"]
) -> Float[Tensor, "sample 3 3"]:
    """Proper rotations R that bring centred structures onto a reference: R x is nearest to it, weighted by mass (Kabsch, 1976)."""
    u, _, w = torch.linalg.svd(torch.einsum("a,ai,saj->sij", mass, reference, x))
    sign = torch.ones_like(u[:, 0])
    sign[:, 2] = torch.linalg.det(u @ w).sign()
    return (u * sign[:, None]) @ w


def _centred(value: Float[Tensor, "sample atom 3"], mass: Float[Tensor, "atom"]) -> Float[Tensor, "sample atom 3"]:
    return value - (value * mass[:, None]).sum(1, keepdim=True) / mass.sum()


def _keep_momentum(p: Particles, value: Tensor, wanted: Tensor) -> Tensor:
    """``value`` with the mass-weighted mean that ``wanted`` has in each system."""
    excess = p.scene_sum(p.mass[:, None] * (value - wanted)) / p.scene_sum(p.mass)[:, None]
    return value - excess[p.scene]


def _pairs(trajectories: Trajectories) -> tuple[Particles, Particles]:
    """All neighbouring frames as two batches of systems; refuses masked frames."""
    if not bool(trajectories.mask.all()):
        raise ValueError("some frames are masked; fit on whole pairs: choose scenes that were observed throughout")
    frames = [Particles.of(trajectories, k) for k in range(trajectories.n_frames)]
    return _joined(frames[:-1]), _joined(frames[1:])


def _joined(frames: list[Particles]) -> Particles:
    first, n = frames[0], len(frames)
    if n == 1:
        return first
    many = lambda value: None if value is None else torch.cat([value] * n)  # noqa: E731
    scene = torch.cat([first.scene + k * first.n_scenes for k in range(n)])
    return Particles(torch.cat([f.x for f in frames]), torch.cat([f.v for f in frames]), many(first.mass), many(first.kind), scene,
                     n * first.n_scenes, many(first.cell), many(first.pbc))


def _same_system(kind: Int[Tensor, "atom"], p: Particles) -> None:
    """All systems must be the one that was fitted, atom by atom."""
    from ase.formula import Formula
    from ase.symbols import Symbols

    n = len(kind)
    sizes = p.sizes
    formula = lambda numbers: f"{Formula.from_list(list(Symbols(numbers.cpu().numpy()))):hill}"  # noqa: E731
    for s in (sizes != n).nonzero().flatten()[:1].tolist():
        raise ValueError(f"system {s} is {formula(p.kind[p.scene == s])}, but this ridge knows only {formula(kind)}; fit one for each molecule")
    table = p.kind.reshape(-1, n)
    wrong = (table != kind).any(1).nonzero().flatten()
    if not len(wrong):
        return
    other = table[wrong[0]]
    if torch.equal(other.sort().values, kind.sort().values):
        at = int((other != kind).nonzero()[0])
        raise ValueError(
            f"the atom order of system {int(wrong[0])} differs from that of the training data (atom {at} has atomic number {int(other[at])}, "
            f"not {int(kind[at])}); a ridge knows atoms by their place: bring them into the same order"
        )
    raise ValueError(f"system {int(wrong[0])} is {formula(other)}, but this ridge knows only {formula(kind)}; fit one for each molecule")


def _folds(trajectories: Trajectories, start: Particles, after: Particles) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Fields of (start, after) for the first four fifths of the runs (or of time) and for the rest."""
    key = trajectories.context.get("run", torch.arange(trajectories.n_scenes))
    if len(key.unique()) < 2:
        key = torch.arange(trajectories.n_scenes)
    rank = key.unique(return_inverse=True)[1].repeat(trajectories.n_frames - 1).to(start.x.device)
    late = rank >= max(1, int(0.8 * (int(rank.max()) + 1)))
    if not bool(late.any()):  # a single scene: the late frames
        late = torch.arange(start.n_scenes, device=late.device) >= 0.8 * start.n_scenes
    return [(_some(start, rows), _some(after, rows)) for rows in (~late, late)]


def _some(p: Particles, rows: Tensor) -> dict[str, Any]:
    nodes, count = rows[p.scene], int(rows.sum())
    pick = lambda value: None if value is None else value[rows]  # noqa: E731
    scene = torch.arange(count, device=p.x.device).repeat_interleave(p.sizes[rows])
    return {"x": p.x[nodes], "v": p.v[nodes], "mass": p.mass[nodes], "kind": p.kind[nodes], "scene": scene, "n_scenes": count,
            "cell": pick(p.cell), "pbc": pick(p.pbc)}


def _normal_equations(ridge: Ridge, start: Particles, after: Particles) -> list[Normal]:
    """For each orbit: the Gram matrix of the features, their products with the targets, and the squared norm of the targets."""
    root = start.mass.sqrt()[:, None]
    target = torch.cat([root * (after.x - start.x - start.v * ridge.stride), root * (after.v - start.v) * ridge.stride], 1)
    found = []
    for orbit in range(ridge.frame.orbits):
        gram, cross, norm = 0.0, 0.0, 0.0
        for inputs, wanted in ridge.frame.samples(start, ridge, orbit, target):
            features = ridge.features(inputs)
            gram, cross, norm = gram + features.T @ features, cross + features.T @ wanted, norm + float(wanted.square().sum())
        found.append((gram, cross, norm))
    return found


def _solve(gram: Tensor, cross: Tensor, penalty: Tensor) -> Tensor | None:
    """Ridge weights with a penalty for each feature, relative to its variance; None where the matrix is not positive."""
    scale = gram.diagonal().clamp_min(1e-300).rsqrt()
    scaled = gram * scale[:, None] * scale
    scaled.diagonal().add_(penalty)
    factor, info = torch.linalg.cholesky_ex(scaled)
    return None if int(info) else scale[:, None] * torch.cholesky_solve(scale[:, None] * cross, factor)


def _chosen(parts: list[list[Normal]], penalties: tuple[float, ...], linear: int, given: float | None = None) -> float:
    """The penalty that predicts the second fold best from the first: of the ``linear`` first features alone, or, where theirs is
    ``given``, of all others."""
    scores = {}
    for penalty in penalties:
        error = 0.0
        for (gram, cross, _), (held_gram, held_cross, norm) in zip(*parts):
            n = linear if given is None else len(gram)
            w = _solve(gram[:n, :n], cross[:n], _penalties(gram[:n], linear, penalty if given is None else given, penalty))
            error += math.inf if w is None else norm - 2 * float((w * held_cross[:n]).sum()) + float((w * (held_gram[:n, :n] @ w)).sum())
        scores[penalty] = error
    best = min(scores, key=scores.__getitem__)
    if scores[best] == math.inf:
        raise ValueError(f"no penalty of {penalties} makes the ridge solvable; pass larger ones, Ridge(penalties=(1e-2, 1.0))")
    return best


def _penalties(gram: Tensor, linear: int, first: float, rest: float) -> Tensor:
    """One penalty a feature: ``first`` for the constant and the inputs, ``rest`` for products."""
    penalty = torch.full_like(gram[:, 0], rest)
    penalty[:linear] = first
    return penalty
