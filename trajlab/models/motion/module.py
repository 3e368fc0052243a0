"""The trained part of a `Motion` forecaster: standardised inputs, a backbone and a head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.models.motion.head import KinematicHead
from trajlab.models.motion.mixture import PathMixture
from trajlab.models.motion.motion_config import MotionConfig
from trajlab.models.motion.rows import Layout, Rows
from trajlab.nets.motion_perceptron import MotionPerceptron
from trajlab.nets.social_transformer import SocialSettings, SocialTransformer

__all__ = ["MotionModule"]

PAIR = 7


class MotionModule(nn.Module):
    """Rows in, mixtures in the frames of the agents out.

    Args:
        config: of the forecaster.
        layout: of the columns.
        frames: given and predicted.
        dt: time between frames, s.
    """

    def __init__(self, config: MotionConfig, layout: Layout, frames: tuple[int, int], dt: float) -> None:
        super().__init__()
        given, ahead = frames
        self.config, self.layout, self.frames, self.dt = config, layout, frames, dt
        told = len(layout.signs)
        self.social = config.backbone == "social"
        if self.social:
            settings = SocialSettings(config.width, config.heads, config.layers, config.layers, config.modes, given, config.dropout)
            self.net: nn.Module = SocialTransformer(told, layout.static, PAIR, settings)
        else:
            columns = given * told - 2 * ("displacement" in layout.inputs)  # there is no displacement before the first frame
            self.net = MotionPerceptron(columns + layout.static, config.width, config.layers, config.dropout)
        self.head = KinematicHead(config.width, ahead, dt, config.head_settings(), own=not self.social)
        self.register_buffer("scale", torch.ones(told))
        self.register_buffer("keep", self._columns())

    def _columns(self) -> Tensor:
        """Which of the flattened told columns the perceptron reads."""
        keep = torch.ones(self.frames[0], len(self.layout.signs), dtype=torch.bool)
        if "displacement" in self.layout.inputs:
            first = 2 * (self.layout.inputs.index("displacement"))  # only positions, of two columns too, come before
            keep[0, first : first + 2] = False
        return keep.flatten()

    def features(self, rows: Rows) -> Float[Tensor, "scene node mode feature"]:
        """Of every agent (and mode)."""
        told = rows.told / self.scale
        if self.social:
            return self.net(told, rows.static, rows.pairs(), rows.seen)
        return self.net(torch.cat((told.flatten(2)[..., self.keep], rows.static), -1)).unsqueeze(2)

    def forward(self, rows: Rows) -> PathMixture:
        """The mixture of every agent."""
        return self.head(self.features(rows), rows.start, rows.wheelbase)

    @torch.no_grad()
    def measure(self, rows: Rows) -> None:
        """Set the scales of inputs and of the head from the rows that are trained on.

        Raises:
            ValueError: no agent was seen both in the given and in the predicted frames.
        """
        if not bool(rows.future.any()):
            raise ValueError("no agent was seen both in the given and in the predicted frames; there is nothing to learn")
        told = rows.told[rows.seen]
        groups = torch.tensor(_groups(self.layout))
        power = told.square().mean(0)
        mean = torch.zeros(int(groups.max()) + 1).index_add_(0, groups, power) / torch.bincount(groups)
        self.scale.copy_(mean.sqrt().clamp(min=1e-3)[groups])
        t = self.dt * torch.arange(1, self.frames[1] + 1)[:, None]
        off = rows.truth - t * rows.velocity.unsqueeze(2)
        weight = rows.future.unsqueeze(-1)
        spread = (torch.where(weight, off, 0.0).square().sum((0, 1)) / weight.sum((0, 1)).clamp(min=1)).sqrt()
        speed = float(rows.velocity[rows.future.any(-1)].square().sum(-1).mean().sqrt())
        self.head.measure(_rising(spread), speed)


def _groups(layout: Layout) -> list[int]:
    """The input of each told column, numbered."""
    width = {"position": 2, "displacement": 2, "velocity": 2, "heading": 2, "mask": 1}
    return [k for k, name in enumerate(n for n in layout.inputs if n in width) for _ in range(width[name])]


def _rising(spread: Float[Tensor, "time 2"]) -> Float[Tensor, "time 2"]:
    """Never falling; frames that nobody was seen in have what was there before."""
    return spread.cummax(0).values
