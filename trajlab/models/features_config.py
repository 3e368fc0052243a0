"""Which features of nodes and pairs a net is told, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FeatureConfig"]


@dataclass(frozen=True)
class FeatureConfig:
    """Features beside the positions; all are invariant, so the net stays equivariant.

    The kind of a node is always among its features, as a one-hot of the kinds seen in training.

    Attributes:
        node: names of scalar ``static`` values that become features of a node as they are, such as ``"charge"``.
        pair: features of a pair (i, j): ``"product:NAME"``, static[NAME]_i static[NAME]_j; ``"matrix:NAME"``, entry j of the row
            static[NAME]_i; ``"hop"``, the one-hot of the number of bonds 0, 1, 2, 3, 4 or more between i and j, from the rows static["hop"].
        edges: who talks to whom at the last given frame: everybody (``"full"``), those within ``cutoff``, or the ``k`` nearest (``"knn"``).
        cutoff: radius, in units of length.
        k: number of neighbours.
        identity: tell the net the place of a node in its scene, as a one-hot; for molecules whose atoms always come in the same order. The
            net is then no longer blind to permutations.

    Raises:
        ValueError: an unknown pair feature or sort of edges, or a cutoff or k that is missing or out of range.
    """

    node: tuple[str, ...] = ()
    pair: tuple[str, ...] = ()
    edges: Literal["full", "cutoff", "knn"] = "full"
    cutoff: float | None = None
    k: int | None = None
    identity: bool = False

    def __post_init__(self) -> None:
        for name in self.pair:
            sort, colon, field = name.partition(":")
            if name != "hop" and not (sort in ("product", "matrix") and colon and field):
                raise ValueError(f"unknown pair feature {name!r}; 'product:NAME', 'matrix:NAME' or 'hop' was wanted")
        if self.edges not in ("full", "cutoff", "knn"):
            raise ValueError(f"edges={self.edges!r}; 'full', 'cutoff' or 'knn' was wanted")
        if self.edges == "cutoff" and not (self.cutoff is not None and self.cutoff > 0):
            raise ValueError(f"edges='cutoff' needs a positive cutoff in units of length, and got cutoff={self.cutoff!r}")
        if self.edges == "knn" and not (self.k is not None and self.k >= 1):
            raise ValueError(f"edges='knn' needs k of at least 1, and got k={self.k!r}")
