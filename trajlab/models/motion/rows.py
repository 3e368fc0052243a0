"""Windows as a net of motion reads them: every agent in its own frame, with what is hidden out of the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.data.dense import Dense
from trajlab.dynamics.kinematics import Start
from trajlab.models.given_frames import filled, seen_nodes
from trajlab.models.motion.frames import AgentFrames, agent_frames, last_seen, turned, wrapped
from trajlab.models.motion.motion_config import INPUTS, MotionConfig

__all__ = ["Layout", "Rows", "available", "mirrored", "rows_of"]

WHEELBASE = 2.8  #: m, where no length was recorded
MOVES = 0.3  #: m/s, above which the velocity of an agent without a recorded heading tells it


@dataclass(frozen=True)
class Rows:
    """Some scenes; vectors are in the frame of the agent.

    Attributes:
        told: what is said of each agent and given frame, ``[scene node past told]``.
        static: of each agent, ``[scene node static]``.
        seen: given frames that were observed, ``[scene node past]``.
        known: agents that were observed in any, ``[scene node]``.
        velocity: at time zero, ``[scene node 2]``, m/s.
        heading: at time zero, ``[scene node]``, rad.
        wheelbase: ``[scene node]``, m.
        origin, angle: of the frames in the world (its zero moved to the first agent), ``[scene node 2]``, ``[scene node]``.
        truth: ``[scene node time 2]``, 0 where hidden.
        future: where the truth was observed, ``[scene node time]``.
    """

    told: Float[Tensor, "scene node past told"]
    static: Float[Tensor, "scene node static"]
    seen: Bool[Tensor, "scene node past"]
    known: Bool[Tensor, "scene node"]
    velocity: Float[Tensor, "scene node 2"]
    heading: Float[Tensor, "scene node"]
    wheelbase: Float[Tensor, "scene node"]
    origin: Float[Tensor, "scene node 2"]
    angle: Float[Tensor, "scene node"]
    truth: Float[Tensor, "scene node time 2"]
    future: Bool[Tensor, "scene node time"]

    def __len__(self) -> int:
        return len(self.known)

    def map(self, change: Any) -> Self:
        """Every tensor changed."""
        return replace(self, **{f.name: change(getattr(self, f.name)) for f in fields(self)})

    def to(self, device: torch.device | str) -> Self:
        """On another device."""
        return self.map(lambda value: value.to(device))

    def scenes(self, which: Tensor) -> Self:
        """Some scenes, without slots that all of them leave empty."""
        some = self.map(lambda value: value[which])
        used = (some.known * torch.arange(1, some.known.shape[1] + 1, device=some.known.device)).max()
        return some.map(lambda value: value[:, : max(1, int(used))])

    def alone(self) -> Self:
        """Each agent that can be learned from as a scene of its own."""
        pick = self.known & self.future.any(-1)
        return self.map(lambda value: value[pick].unsqueeze(1))

    @property
    def start(self) -> Start:
        """Where the agents are at time zero, in their frames."""
        return Start(torch.zeros_like(self.velocity), self.velocity, self.heading)

    def pairs(self) -> Float[Tensor, "scene node node 7"]:
        """Agent j as agent i sees it: where, how far, which way it is turned and moves (relative velocity); lengths are compressed by asinh."""
        apart = turned(self.origin.unsqueeze(1) - self.origin.unsqueeze(2), -self.angle.unsqueeze(2))
        turn = self.angle.unsqueeze(1) - self.angle.unsqueeze(2)
        moves = turned(self.velocity.unsqueeze(1).expand_as(apart), turn) - self.velocity.unsqueeze(2)
        far = apart.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
        return torch.cat((torch.asinh(apart), torch.asinh(far), torch.stack((turn.cos(), turn.sin()), -1), torch.asinh(moves)), -1)


@dataclass(frozen=True)
class Layout:
    """What the columns are: fixed when a model is fitted.

    Attributes:
        inputs: names, in the order of `INPUTS`.
        kinds: classes of agents that were trained on.
    """

    inputs: tuple[str, ...]
    kinds: tuple[int, ...]

    @property
    def signs(self) -> list[float]:
        """Of the told columns under a mirror image."""
        width = {"position": [1.0, -1.0], "displacement": [1.0, -1.0], "velocity": [1.0, -1.0], "heading": [1.0, -1.0], "mask": [1.0]}
        return [sign for name in self.inputs for sign in width.get(name, [])]

    @property
    def static(self) -> int:
        """Numbers of each agent."""
        return 2 * ("size" in self.inputs) + len(self.kinds) * ("kind" in self.inputs)


def available(block: Dense, given: int) -> tuple[str, ...]:
    """Inputs that the windows have."""
    has = {"position": True, "displacement": given > 1, "velocity": "velocity" in block.extra, "heading": "heading" in block.extra,
           "mask": bool((~block.mask[:, :, :given] & block.there[..., None]).any()), "size": {"length", "width"} <= set(block.static),
           "kind": len(block.kind[block.there].unique()) > 1}
    return tuple(name for name in INPUTS if has[name])


def rows_of(block: Dense, given: int, config: MotionConfig, layout: Layout, dt: float) -> Rows:
    """Rows of windows; whatever follows the given frames is the truth.

    Raises:
        ValueError: an input that the windows lack, or classes of agents that were not trained on.
    """
    missing = [name for name in layout.inputs if name not in (*available(block, given), "mask", "kind")]
    if missing:
        raise ValueError(f"the windows have no {', '.join(missing)}, which this forecaster reads; read them from the recording, or fit with inputs="
                         f"{available(block, given)}")
    strange = sorted(set(block.kind[block.there].tolist()) - set(layout.kinds)) if "kind" in layout.inputs else []
    if strange:
        raise ValueError(f"agents of class {strange} came, and this forecaster was fitted on classes {list(layout.kinds)}; fit it on all of them, or "
                         "leave 'kind' out of its inputs")
    frames = agent_frames(block, given, config.heading)
    path, seen = frames.to_agent(filled(block, given)), block.mask[:, :, :given]
    velocity, heading = _start(block, frames, (path, seen), config, dt)
    after = block.mask[:, :, given:] & seen_nodes(block, given)[..., None]
    truth = torch.where(after[..., None], frames.to_agent(block.x[:, :, given:]), 0.0)
    length = block.static.get("length")
    wheelbase = torch.full_like(heading, WHEELBASE)
    if length is not None:
        wheelbase = torch.where(block.there & (length > 0), config.wheelbase * length.to(wheelbase), wheelbase)
    float_ = lambda value: value.float()  # noqa: E731
    return Rows(float_(_told(block, frames, (path, seen), layout, dt)), float_(_static(block, layout)), seen, seen_nodes(block, given),
                float_(velocity), float_(heading), float_(wheelbase), float_(frames.origin - frames.origin[:, :1]), float_(frames.angle),
                float_(truth), after)


def _start(block: Dense, frames: AgentFrames, past: tuple[Tensor, Tensor], config: MotionConfig, dt: float) -> tuple[Tensor, Tensor]:
    """Velocity and heading at time zero."""
    path, seen = past
    recorded = block.extra.get("velocity")
    if config.velocity == "recorded" and recorded is None:
        raise ValueError("no velocity was recorded (extra['velocity']); read it, or set velocity='difference'")
    if recorded is not None and config.velocity != "difference":
        velocity = frames.vectors_to_agent(last_seen(recorded[:, :, : seen.shape[2]], seen).unsqueeze(2)).squeeze(2).to(path)
    else:
        velocity = (path[:, :, -1] - path[:, :, -2]) / dt if path.shape[2] > 1 else torch.zeros_like(path[:, :, -1])
    if "heading" in block.extra and config.heading != "path":
        return velocity, wrapped(last_seen(block.extra["heading"][:, :, : seen.shape[2]], seen).to(frames.angle) - frames.angle)
    return velocity, torch.where(velocity.norm(dim=-1) > MOVES, torch.atan2(velocity[..., 1], velocity[..., 0]), 0.0)


def _told(block: Dense, frames: AgentFrames, past: tuple[Tensor, Tensor], layout: Layout, dt: float) -> Float[Tensor, "scene node past told"]:
    path, seen = past
    given, both = seen.shape[2], torch.nn.functional.pad(seen[..., 1:] & seen[..., :-1], (1, 0))
    parts: list[Tensor] = []
    for name in layout.inputs:
        if name == "position":
            parts.append(torch.where(seen[..., None], path, 0.0))
        elif name == "displacement":
            moved = torch.nn.functional.pad(path.diff(dim=2) / dt, (0, 0, 1, 0))
            parts.append(torch.where(both[..., None], moved, 0.0))
        elif name == "velocity":
            parts.append(torch.where(seen[..., None], frames.vectors_to_agent(block.extra["velocity"][:, :, :given].to(path)), 0.0))
        elif name == "heading":
            off = block.extra["heading"][:, :, :given].to(path) - frames.angle.unsqueeze(-1)
            parts.append(torch.where(seen[..., None], torch.stack((off.cos() - 1, off.sin()), -1), 0.0))
        elif name == "mask":
            parts.append(seen.to(path).unsqueeze(-1))
    return torch.cat(parts, -1) if parts else path.new_zeros(*seen.shape, 0)


def _static(block: Dense, layout: Layout) -> Float[Tensor, "scene node static"]:
    parts: Sequence[Tensor] = [block.x.new_zeros(*block.there.shape, 0)]
    if "size" in layout.inputs:
        parts = [*parts, torch.stack((block.static["length"], block.static["width"]), -1).to(block.x) / torch.tensor([5.0, 2.0]).to(block.x)]
    if "kind" in layout.inputs:
        parts = [*parts, (block.kind.unsqueeze(-1) == torch.tensor(layout.kinds, device=block.kind.device)).to(block.x)]
    return torch.cat(list(parts), -1)


def mirrored(rows: Rows, flip: Bool[Tensor, "scene"], signs: Sequence[float]) -> Rows:
    """Some scenes in a mirror: left is right."""
    one = torch.where(flip, -1.0, 1.0)
    y = torch.stack((torch.ones_like(one), one), -1)[:, None]
    turn = torch.where(flip[:, None, None, None], torch.tensor(list(signs)), torch.ones(len(signs)))
    return replace(rows, told=rows.told * turn, velocity=rows.velocity * y, heading=rows.heading * one[:, None], origin=rows.origin * y,
                   angle=rows.angle * one[:, None], truth=rows.truth * y[:, None])
