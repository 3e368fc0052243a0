"""Scenes of any size as one padded block: the layout ``[scene node time dim]`` that diffusion models of trajectories work on, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.types import Trajectories

__all__ = ["Dense", "dense"]


@dataclass(frozen=True)
class Dense:
    """Padded scenes; what is hidden or padded is zero.

    Attributes:
        x: ``[scene node time dim]``.
        mask: True where a node was observed, ``[scene node time]``; False in the padding.
        there: True where there is a node at all, ``[scene node]``.
        kind: ``[scene node]``, 0 in the padding.
        time: ``[scene time]``.
        extra: ``[scene node time ...]``.
        static: ``[scene node ...]``.
        context: ``[scene ...]``.
        place: of every packed node, its scene and its slot in it, ``[node 2]``; None for some scenes of a block.
    """

    x: Float[Tensor, "scene node time dim"]
    mask: Bool[Tensor, "scene node time"]
    there: Bool[Tensor, "scene node"]
    kind: Int[Tensor, "scene node"]
    time: Float[Tensor, "scene time"]
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    static: Mapping[str, Tensor] = field(default_factory=dict)
    context: Mapping[str, Tensor] = field(default_factory=dict)
    place: Int[Tensor, "packed 2"] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def pack(self, value: Tensor) -> Tensor:
        """``[scene node ...]`` back to ``[node ...]``, in the order of the trajectories.

        Raises:
            ValueError: this is a part of a block.
        """
        if self.place is None:
            raise ValueError("some scenes of a block cannot be packed; pack the block that dense(trajectories) made")
        return value[self.place[:, 0], self.place[:, 1]]

    def scenes(self, which: Tensor) -> Dense:
        """Some scenes. The result cannot be packed."""
        pick = lambda named: {k: v[which] for k, v in named.items()}  # noqa: E731
        return Dense(self.x[which], self.mask[which], self.there[which], self.kind[which], self.time[which], pick(self.extra),
                     pick(self.static), pick(self.context))

    def to(self, device: torch.device | str) -> Dense:
        """On another device."""
        move = lambda named: {k: v.to(device) for k, v in named.items()}  # noqa: E731
        place = None if self.place is None else self.place.to(device)
        return Dense(self.x.to(device), self.mask.to(device), self.there.to(device), self.kind.to(device), self.time.to(device),
                     move(self.extra), move(self.static), move(self.context), place)


def dense(trajectories: Trajectories, slots: int | None = None) -> Dense:
    """Pad the scenes of ``trajectories`` to ``slots`` nodes (the largest scene by default).

    Raises:
        ValueError: a scene has more nodes than ``slots``.
    """
    sizes = trajectories.sizes
    most = int(sizes.max()) if len(sizes) else 0
    slots = most if slots is None else slots
    if most > slots:
        raise ValueError(f"scene {int(sizes.argmax())} has {most} nodes, and slots={slots}; choose at least {most}")
    slot = torch.arange(trajectories.n_nodes, device=sizes.device) - trajectories.ptr[trajectories.scene]
    place = torch.stack([trajectories.scene, slot], 1)

    def spread(value: Tensor) -> Tensor:
        out = value.new_zeros(trajectories.n_scenes, slots, *value.shape[1:])
        out[place[:, 0], place[:, 1]] = value
        return out

    mask = trajectories.mask
    shown = lambda value: torch.where(mask.reshape(*mask.shape, *[1] * (value.ndim - 2)), value, torch.zeros_like(value))  # noqa: E731
    there: Any = spread(torch.ones_like(trajectories.scene, dtype=torch.bool))
    return Dense(
        x=spread(shown(trajectories.x)), mask=spread(mask), there=there, kind=spread(trajectories.kind), time=trajectories.time,
        extra={k: spread(shown(v)) for k, v in trajectories.extra.items()}, static={k: spread(v) for k, v in trajectories.static.items()},
        context=dict(trajectories.context), place=place,
    )
