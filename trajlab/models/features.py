"""Features of nodes and pairs, and who talks to whom, from a padded block of scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import one_hot, pad

from trajlab.data.dense import Dense
from trajlab.models.features_config import FeatureConfig
from trajlab.models.given_frames import filled, seen_nodes
from trajlab.types import Trajectories

__all__ = ["FeatureConfig", "Features"]

HOPS = 5  #: 0, 1, 2, 3, and 4 or more bonds


@dataclass(frozen=True)
class Features:
    """What `FeatureConfig` asks for, with what was learned from the training data.

    Attributes:
        config: which features.
        kinds: the kinds of the training data, in rising order: the places of the one-hot.
        slots: nodes of the largest training scene: the places of the identity.
    """

    config: FeatureConfig
    kinds: tuple[int, ...]
    slots: int

    @classmethod
    def learn(cls, config: FeatureConfig, windows: Trajectories) -> Self:
        """Look up the kinds and the largest scene of the training windows.

        Raises:
            ValueError: there are no nodes, or ``static`` lacks something that was asked for.
        """
        if not windows.n_nodes:
            raise ValueError("the windows hold no nodes, so there are no kinds to learn; give at least one scene with a node")
        made = cls(config, tuple(sorted(set(windows.kind.tolist()))), int(windows.sizes.max()))
        for name in made._statics():
            if name not in windows.static:
                raise ValueError(_missing(name, windows.static))
        return made

    def _statics(self) -> list[str]:
        return [*self.config.node, *(name.partition(":")[2] or name for name in self.config.pair)]

    @property
    def n_node(self) -> int:
        """Number of node features."""
        return len(self.kinds) + len(self.config.node) + self.slots * self.config.identity

    @property
    def n_pair(self) -> int:
        """Number of pair features."""
        return sum(HOPS if name == "hop" else 1 for name in self.config.pair)

    def of(
        self, block: Dense, given: int | None = None
    ) -> tuple[Float[Tensor, "scene node a"], Float[Tensor, "scene node other b"], Bool[Tensor, "scene node other"] | None]:
        """Node features, pair features and neighbours of the scenes of a block; 0 and False in the padding.

        Pair features are [i, j] for receiver i and sender j. ``given`` is the number of given frames, of which the last decides on neighbours; by
        default all frames of the block. Neighbours are None for ``edges="full"``.

        Raises:
            ValueError: a kind that was not in the training data, a scene larger than those where ``identity`` is used, or a static value that is
                missing or of the wrong shape.
        """
        return self.node(block), self.pair(block), self.adjacent(block, given)

    def node(self, block: Dense) -> Float[Tensor, "scene node a"]:
        """One-hot of the kind, static values, one-hot of the place."""
        known = torch.tensor(self.kinds, device=block.kind.device)
        match = block.kind[..., None] == known
        strange = ~match.any(-1) & block.there
        if bool(strange.any()):
            came = sorted(set(block.kind[strange].tolist()))
            raise ValueError(f"kinds {came} were not in the training data, which had {list(self.kinds)}; fit on data that holds them")
        parts = [match.to(block.x.dtype)]
        parts += [_scalar(block, name)[..., None] for name in self.config.node]
        if self.config.identity:
            parts.append(self._identity(block))
        return torch.cat(parts, -1) * block.there[..., None]

    def _identity(self, block: Dense) -> Tensor:
        nodes = block.x.shape[1]
        if bool(block.there[:, self.slots:].any()):
            raise ValueError(f"a scene has more than the {self.slots} nodes of the training data, and identity=True tells them apart by place; "
                             "use identity=False, or scenes of the same nodes")
        place = torch.eye(nodes, self.slots, dtype=block.x.dtype, device=block.x.device)
        return place.expand(len(block), nodes, self.slots)

    def pair(self, block: Dense) -> Float[Tensor, "scene node other b"]:
        """Products, matrices and hops."""
        scenes, nodes = block.there.shape
        parts = [block.x.new_zeros(scenes, nodes, nodes, 0), *(_pair(block, name) for name in self.config.pair)]
        both = block.there[:, :, None] & block.there[:, None, :]
        return torch.cat(parts, -1) * both[..., None]

    def adjacent(self, block: Dense, given: int | None = None) -> Bool[Tensor, "scene node other"] | None:
        """Who talks to whom: [i, j] is True where j talks to i; never a node to itself, nor one that was not seen in the given frames.

        Raises:
            ValueError: neighbours are wanted and no frame is given.
        """
        if self.config.edges == "full":
            return None
        given = block.x.shape[2] if given is None else given
        if given < 1:
            raise ValueError(f"edges={self.config.edges!r} are taken from the last given frame, but no frame is given; use edges='full'")
        last, seen = filled(block, given)[:, :, -1], seen_nodes(block, given)
        apart = (last[:, :, None] - last[:, None]).norm(dim=-1)
        possible = seen[:, :, None] & seen[:, None] & ~torch.eye(last.shape[1], dtype=torch.bool, device=last.device)
        if self.config.edges == "cutoff":
            return possible & (apart <= self.config.cutoff)
        if last.shape[1] < 2:
            return possible
        near = apart.masked_fill(~possible, torch.inf).topk(min(self.config.k or 1, last.shape[1] - 1), -1, largest=False).indices
        return torch.zeros_like(possible).scatter_(2, near, True) & possible


def _missing(name: str, static: object) -> str:
    return f"there is no static value {name!r}; there are {sorted(static) or 'none'}. Add it to the trajectories, or take it out of the features"  # type: ignore[call-overload]


def _static(block: Dense, name: str, axes: int, wanted: str) -> Tensor:
    if name not in block.static:
        raise ValueError(_missing(name, block.static))
    value = block.static[name]
    if value.ndim != axes:
        raise ValueError(f"static[{name!r}] has shape {tuple(value.shape[2:])} a node; {wanted} was wanted")
    return value


def _scalar(block: Dense, name: str) -> Tensor:
    return _static(block, name, 2, "one number").to(block.x.dtype)


def _pair(block: Dense, name: str) -> Float[Tensor, "scene node other b"]:
    sort, _, field = name.partition(":")
    if sort == "product":
        q = _scalar(block, field)
        return (q[:, :, None] * q[:, None, :])[..., None]
    nodes = block.x.shape[1]
    row = _static(block, field or name, 3, "a row with one entry a node of the scene")
    if bool(block.there[:, row.shape[2]:].any()):
        raise ValueError(f"static[{field or name!r}] has rows of {row.shape[2]} entries, but a scene has "
                         f"{int(block.there.sum(1).max())} nodes; one entry a node was wanted")
    row = pad(row, (0, max(0, nodes - row.shape[2])))[..., :nodes]
    if sort == "matrix":
        return row.to(block.x.dtype)[..., None]
    if bool((row < 0).any()):
        raise ValueError(f"static['hop'] holds {int(row.min())}; numbers of bonds are at least 0 (unconnected: {HOPS - 1})")
    return one_hot(row.long().clamp(max=HOPS - 1), HOPS).to(block.x.dtype)
