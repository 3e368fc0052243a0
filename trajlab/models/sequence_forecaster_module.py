"""A sequence backbone with a linear readout: the next increment of a standardised series."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.catalog import load
from trajlab.models.sequence_forecaster_config import BACKBONES, SequenceConfig
from trajlab.models.series_local import LIMIT

__all__ = ["SequenceModule"]

class SequenceModule(nn.Module):
    """x(t+1) = x(t) + pace * W (1, i, h, h^2): i are the present frame and the last increments, h the backbone's features of them and all before.

    Frames are standardised by ``mean`` and ``std``, increments by ``pace``, their root mean square.

    Args:
        config: the settings.
        dim: channels of the series.
    """

    mean: Tensor
    std: Tensor
    pace: Tensor

    def __init__(self, config: SequenceConfig, dim: int) -> None:
        super().__init__()
        self.lags, self.dim = config.lags, dim
        inputs = dim * (1 + config.lags)
        self.net = load(BACKBONES[config.backbone])(inputs, config.width, config.layers, **config.options)
        self.readout = nn.Linear(inputs + 2 * config.width, dim)
        for name in ("mean", "std", "pace"):
            self.register_buffer(name, torch.ones(dim))

    def measure(self, series: list[Tensor]) -> None:
        """Set the units by series ``[time dim]``; a channel that stands still has the unit 1."""
        every, moves = torch.cat(series).double(), torch.cat([s.double().diff(dim=0) for s in series])
        std = every.std(0)
        std = torch.where(std > 1e-12 * every.abs().amax(0).clamp(min=1e-300), std, torch.ones_like(std))
        pace = (moves / std).square().mean(0).sqrt()
        self.mean.copy_(every.mean(0))
        self.std.copy_(std)
        self.pace.copy_(torch.where(pace > 1e-12, pace, torch.ones_like(pace)))

    def standard(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        """In units of the standard deviation, about the mean, in the dtype of the weights."""
        return ((x.double() - self.mean) / self.std).to(self.readout.weight.dtype)

    def inputs(self, u: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch rest inputs"]:
        """What the backbone sees at every frame but the first ``lags``."""
        moves, frames = u.diff(dim=1) / self.pace, u.shape[1] - self.lags
        return torch.cat([u[:, self.lags :], *(moves[:, k : k + frames] for k in range(self.lags))], -1)

    def features(self, u: Float[Tensor, "batch time dim"], state: Any = None) -> tuple[Float[Tensor, "batch rest feature"], Any]:
        """What is read out at every frame but the first ``lags``, and the state after the last."""
        told = self.inputs(u)
        h, state = self.net(told, state)
        return torch.cat([told, h, h * h], -1), state

    def forward(self, u: Float[Tensor, "batch time dim"], steps: int, state: Any = None) -> tuple[Tensor, Tensor]:
        """Predicted increments in units of ``pace`` at every true frame but the first ``lags``, and ``steps`` frames of free run after the last.

        Args:
            u: standardised frames, more than ``lags`` of them.
            steps: of the free run.
            state: of the backbone before the first of them that it sees.

        Returns:
            ``[batch rest dim]`` and ``[batch steps dim]``.
        """
        told, state = self.features(u, state)
        moves = self.readout(told)
        last, move, path = u[:, -self.lags - 1 :], moves[:, -1], []
        for k in range(steps):
            path.append(held(last[:, -1], last[:, -1] + self.pace * move))
            last = torch.cat([last[:, 1:], path[-1][:, None]], 1)
            if k + 1 < steps:
                told, state = self.features(last, state)
                move = self.readout(told)[:, -1]
        return moves, torch.stack(path, 1) if path else u[:, :0]


def held(before: Float[Tensor, "batch dim"], after: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """The next frame, or the one before it where that runs away."""
    fine = (after.abs() <= LIMIT).all(-1, keepdim=True)  # false for NaN too
    return torch.where(fine, after, before)
