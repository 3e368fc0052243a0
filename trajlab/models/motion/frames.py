"""The frame of each agent: zero at its last given position, x along its heading; what a forecaster sees and says is in it.

The heading is the recorded one (vehicles), or the direction of the whole given path (pedestrians); an agent that moved less than `MOVED` without a
recorded heading has the axes of the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.data.dense import Dense
from trajlab.models.given_frames import filled

__all__ = ["MOVED", "SOURCES", "AgentFrames", "agent_frames", "turned", "wrapped"]

MOVED = 0.3  #: m, below which a path has no direction
SOURCES = ("auto", "recorded", "path", "world")


def wrapped(angle: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Into (-pi, pi]."""
    return torch.atan2(angle.sin(), angle.cos())


def turned(vector: Float[Tensor, "*batch 2"], angle: Float[Tensor, "*_angle"]) -> Float[Tensor, "*batch 2"]:
    """Counter-clockwise by ``angle``, which is broadcast."""
    c, s = angle.cos(), angle.sin()
    x, y = vector.unbind(-1)
    return torch.stack((c * x - s * y, s * x + c * y), -1)


@dataclass(frozen=True)
class AgentFrames:
    """Where the frames lie in the world.

    Attributes:
        origin: ``[*agent 2]``, m.
        angle: of the x axis, ``[*agent]``, rad, counter-clockwise from the x axis of the world.
    """

    origin: Float[Tensor, "*agent 2"]
    angle: Float[Tensor, "*agent"]

    def to_agent(self, points: Float[Tensor, "*agent time 2"]) -> Float[Tensor, "*agent time 2"]:
        """From the world to each agent's frame."""
        return turned(points - self.origin.unsqueeze(-2), -self.angle.unsqueeze(-1))

    def to_world(self, points: Float[Tensor, "*agent time 2"]) -> Float[Tensor, "*agent time 2"]:
        """Back."""
        return turned(points, self.angle.unsqueeze(-1)) + self.origin.unsqueeze(-2)

    def vectors_to_agent(self, vectors: Float[Tensor, "*agent time 2"]) -> Float[Tensor, "*agent time 2"]:
        """Velocities and the like: turned, not shifted."""
        return turned(vectors, -self.angle.unsqueeze(-1))

    def covariance_to_world(self, covariance: Float[Tensor, "*agent time 2 2"]) -> Float[Tensor, "*agent time 2 2"]:
        """``R cov R^T``."""
        c, s = self.angle.cos(), self.angle.sin()
        turn = torch.stack((torch.stack((c, -s), -1), torch.stack((s, c), -1)), -2).unsqueeze(-3)
        return turn @ covariance @ turn.mT


def agent_frames(block: Dense, given: int, source: str = "auto") -> AgentFrames:
    """The frames of the agents of some scenes, ``[scene node]``.

    Positions that are hidden at the last given frame are extrapolated from those seen. A recorded heading is that of the last frame it was seen in.

    Args:
        block: scenes with ``given`` frames or more, in two dimensions; ``extra["heading"]`` where there is one.
        given: frames.
        source: ``recorded`` heading, direction of the given ``path``, the axes of the ``world``, or ``auto``: recorded where there is one.

    Raises:
        ValueError: an unknown source, no recorded heading where it is wanted, or positions that have not two dimensions.
    """
    if source not in SOURCES:
        raise ValueError(unknown("source of headings", source, SOURCES))
    if block.x.shape[-1] != 2:
        raise ValueError(f"positions have {block.x.shape[-1]} dimensions; motion on a plane was wanted, so take two of them")
    path = filled(block, given)
    recorded = block.extra.get("heading")
    if source == "recorded" and recorded is None:
        raise ValueError("no heading was recorded (extra['heading']); read it, or set heading='path'")
    origin = path[:, :, -1]
    if source == "world":
        return AgentFrames(origin, torch.zeros_like(origin[..., 0]))
    if recorded is not None and source != "path":
        return AgentFrames(origin, wrapped(last_seen(recorded[:, :, :given], block.mask[:, :, :given])))
    way = origin - path[:, :, 0]
    return AgentFrames(origin, torch.where(way.norm(dim=-1) < MOVED, 0.0, torch.atan2(way[..., 1], way[..., 0])))


def last_seen(value: Float[Tensor, "scene node time *event"], mask: Any) -> Float[Tensor, "scene node *event"]:
    """Of every node the value at the last frame it was seen in; at the first frame where it never was."""
    frames = torch.arange(mask.shape[2], device=mask.device)
    last = torch.where(mask, frames, -1).amax(2).clamp(min=0)
    index = last.reshape(*last.shape, *[1] * (value.ndim - 2)).expand(*last.shape, 1, *value.shape[3:])
    return value.gather(2, index).squeeze(2)
