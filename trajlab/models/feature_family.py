"""Drifts linear in their parameters: fixed features of the state with fitted weights, by ridge regression in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.dynamics.references import CallableReference, Reference
from trajlab.models.bridge_evidence import Evidence, Interval
from trajlab.models.family import Family

__all__ = ["Features"]

KINDS = ("rbf", "polynomial")


@dataclass
class Features(Family):
    """f(x) = W phi(z), z = (x - mean) / deviation over all cells, phi = (1, z, further features).

    Attributes:
        kind: ``rbf``: exp(-|z - c|^2 / (2 width^2)) about cells picked far from each other; ``polynomial``: all monomials up to the degree.
        count: of radial features.
        degree: of the polynomial.
        width: of the radial features; None for the median distance of a centre to the nearest other one, twice.
        ridge: penalty on all weights but the constant's, in units of the variance of each feature.

    Raises:
        ValueError: an unknown kind, or a count, degree, width or ridge out of range.
    """

    kind: str = "rbf"
    count: int = 30
    degree: int = 2
    width: float | None = None
    ridge: float = 1e-2
    _about: tuple[Tensor, Tensor, Tensor, float] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(unknown("kind of features", self.kind, KINDS))
        if self.count < 1 or self.degree < 1 or self.ridge < 0 or (self.width is not None and not self.width > 0):
            raise ValueError(f"Features: count={self.count}, degree={self.degree}, width={self.width}, ridge={self.ridge}; "
                             "positive values were wanted (a ridge may be 0)")

    def start(self, intervals: Sequence[Interval], D: Tensor) -> Tensor:
        cells = torch.cat([intervals[0].x, *(one.y for one in intervals)])
        deviation = cells.std(0, correction=0)
        deviation = torch.where(deviation > 1e-12, deviation, 1.0)
        z = (cells - cells.mean(0)) / deviation
        centres = farthest(z, min(self.count, len(z)))
        near = torch.cdist(centres, centres).fill_diagonal_(float("inf")).amin(1)
        width = self.width or (2 * float(near.median()) if len(centres) > 1 and bool((near > 0).any()) else 1.0)
        self._about = cells.mean(0), deviation, centres, width
        return torch.zeros(len(D) * self.features(cells[:1]).shape[1], dtype=torch.float64)

    def reference(self, theta: Tensor, D: Tensor) -> Reference:
        W = theta.reshape(len(D), -1)
        return CallableReference(lambda x: self.features(x) @ W.mT, D)

    def refit(self, evidence: Evidence, theta: Tensor | None) -> Tensor:  # noqa: ARG002
        x, u, weight = evidence.regression
        phi = self.features(x)
        share = weight[:, None] / weight.sum()
        second, cross = phi.mT @ (share * phi), u.mT @ (share * phi)
        spread = (second.diagonal() - (share * phi).sum(0).square()).clamp(min=1e-12)
        penalty = self.ridge * spread
        penalty[0] = 0.0
        return torch.linalg.solve(second + torch.diag(penalty), cross.mT).mT.flatten()

    def features(self, x: Float[Tensor, "row dim"]) -> Float[Tensor, "row feature"]:
        """phi of states in the coordinates of the fit.

        Raises:
            ValueError: before the first fit, which places the features.
        """
        if self._about is None:
            raise ValueError("the features have no places yet; fit first")
        mean, deviation, centres, width = self._about
        z = (x - mean) / deviation
        columns = [torch.ones_like(z[:, :1]), z]
        if self.kind == "rbf":
            square = (z[:, None] - centres).square().sum(-1)
            columns.append(torch.exp(-square / (2 * width**2)))
        else:
            sets = [pick for k in range(2, self.degree + 1) for pick in combinations_with_replacement(range(z.shape[1]), k)]
            columns += [z[:, list(pick)].prod(1, keepdim=True) for pick in sets]
        return torch.cat(columns, 1)


def farthest(z: Float[Tensor, "cell dim"], count: int) -> Float[Tensor, "centre dim"]:
    """Cells far from each other: each next one the farthest from those picked (Gonzalez 1985), from the one nearest the mean on."""
    picked = [int(z.square().sum(1).argmin())]
    distance = torch.cdist(z, z[picked])[:, 0]
    while len(picked) < count:
        picked.append(int(distance.argmax()))
        distance = torch.minimum(distance, torch.cdist(z, z[picked[-1:]])[:, 0])
    return z[picked]
