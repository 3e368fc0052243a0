"""What trains a mixture of paths, in positions always: the mode nearest to the truth and its name (winner takes all), or the likelihood of all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.models.motion.mixture import PathMixture
from trajlab.models.motion.motion_config import MotionConfig

__all__ = ["MotionLoss", "likelihood", "shared_logits", "winner_takes_all"]


@dataclass(frozen=True)
class Truth:
    """What came, and where it counts.

    Attributes:
        path: ``[scene node time 2]``.
        mask: ``[scene node time]``.
    """

    path: Float[Tensor, "scene node time 2"]
    mask: Bool[Tensor, "scene node time"]

    @property
    def counted(self) -> Bool[Tensor, "scene node"]:
        """Agents that count."""
        return self.mask.any(-1)


def over_time(value: Float[Tensor, "*mode time"], mask: Bool[Tensor, "*_mask"]) -> Float[Tensor, "*mode"]:
    """Mean over the frames that were seen; 0 where none was."""
    return torch.where(mask, value, 0.0).sum(-1) / mask.sum(-1).clamp(min=1)


def over_agents(value: Float[Tensor, "scene node mode"], counted: Bool[Tensor, "scene node"]) -> Float[Tensor, "scene node mode"]:
    """The mean over the agents of the scene that count, for each of them."""
    weight = counted.unsqueeze(-1).to(value.dtype)
    return ((value * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)).expand_as(value)


def shared_logits(mixture: PathMixture, there: Bool[Tensor, "scene node"]) -> PathMixture:
    """One set of logits a scene: the mean over its agents."""
    return replace(mixture, logits=over_agents(mixture.logits, there))


def winner_takes_all(mixture: PathMixture, truth: Truth, config: MotionConfig) -> Float[Tensor, "scene node"]:
    """Of the mode with the least mean distance (of the scene where modes are joint): its loss, and the cross-entropy of the logits to it."""
    far = over_time(mixture.distances(truth.path), truth.mask.unsqueeze(2))
    chosen = (over_agents(far, truth.counted) if config.joint else far).argmin(-1, keepdim=True)
    if config.regression == "nll":
        found = over_time(-_of(mixture, chosen).log_density(truth.path), truth.mask.unsqueeze(2)).squeeze(-1)
    else:
        found = far.gather(-1, chosen).squeeze(-1)
    if config.spread:
        found = found + config.spread * far.mean(-1)
    if config.classify and mixture.n_modes > 1:
        found = found - config.classify * mixture.logits.log_softmax(-1).gather(-1, chosen).squeeze(-1)
    return found


def _of(mixture: PathMixture, mode: Tensor) -> PathMixture:
    """The chosen mode alone, ``mode[*agent 1]``."""
    pick = lambda value: value.gather(2, mode.reshape(*mode.shape, *[1] * (value.ndim - 3)).expand(*mode.shape, *value.shape[3:]))  # noqa: E731
    return PathMixture(mixture.logits.gather(-1, mode), pick(mixture.mean), pick(mixture.covariance))


def likelihood(mixture: PathMixture, truth: Truth, config: MotionConfig) -> Float[Tensor, "scene node"]:
    """``-log sum_k p_k prod_t N_kt``, a frame; with joint modes the product is over all agents of a scene, and each has its share."""
    if not config.joint:
        return mixture.nll_joint(truth.path, truth.mask) / truth.mask.sum(-1).clamp(min=1)
    at = torch.where(truth.mask.unsqueeze(2), mixture.log_density(truth.path), 0.0).sum((1, 3))
    whole = -torch.logsumexp(mixture.logits[:, 0].log_softmax(-1) + at, -1) / truth.mask.sum((1, 2)).clamp(min=1)
    return whole.unsqueeze(1).expand(truth.counted.shape)


class MotionLoss:
    """``loss(module, rows)`` for `trajlab.train`: the mean over agents."""

    def __init__(self, config: MotionConfig) -> None:
        self.config = config

    def __call__(self, module: torch.nn.Module, rows: object) -> tuple[Tensor, Tensor]:
        mixture = module(rows)
        truth = Truth(rows.truth, rows.future)  # type: ignore[attr-defined]
        if self.config.joint:
            mixture = shared_logits(mixture, rows.known)  # type: ignore[attr-defined]
        one = (winner_takes_all if self.config.loss == "wta" else likelihood)(mixture, truth, self.config)
        counted = truth.counted
        return torch.where(counted, one, 0.0).sum(), counted.sum()
