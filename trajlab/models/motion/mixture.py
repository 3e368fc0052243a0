"""A mixture of Gaussian paths: what a probabilistic forecaster of motion says of each agent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.dynamics.kinematics import Positions
from trajlab.types import Forecast, Trajectories

__all__ = ["PathMixture", "cholesky"]


def cholesky(covariance: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch 3"]:
    """``(l11, l21, l22)`` with ``L L^T`` the covariance. A variance that is zero up to rounding has the factor of 1e-12 m^2."""
    xx, xy, yy = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    first = xx.clamp(min=1e-12).sqrt()
    cross = xy / first
    return torch.stack((first, cross, (yy - cross.square()).clamp(min=1e-12).sqrt()), -1)


@dataclass(frozen=True)
class PathMixture:
    """K Gaussian paths an agent, each with its probability.

    Attributes:
        logits: of the modes, ``[*agent mode]``.
        mean: ``[*agent mode time 2]``, m.
        covariance: of the position at each time, ``[*agent mode time 2 2]``, m^2.
    """

    logits: Float[Tensor, "*agent mode"]
    mean: Float[Tensor, "*agent mode time 2"]
    covariance: Float[Tensor, "*agent mode time 2 2"]

    @property
    def n_modes(self) -> int:
        return self.logits.shape[-1]

    @property
    def probability(self) -> Float[Tensor, "*agent mode"]:
        return self.logits.softmax(-1)

    def log_density(self, truth: Float[Tensor, "*agent time 2"]) -> Float[Tensor, "*agent mode time"]:
        """log N(y_t; mean_kt, cov_kt), nats."""
        first, cross, second = cholesky(self.covariance).unbind(-1)
        off = truth.unsqueeze(-3) - self.mean
        u = off[..., 0] / first
        v = (off[..., 1] - cross * u) / second
        return -0.5 * (u.square() + v.square()) - first.log() - second.log() - math.log(2 * math.pi)

    def nll_joint(self, truth: Float[Tensor, "*agent time 2"], mask: Bool[Tensor, "*agent time"] | None = None) -> Float[Tensor, "*agent"]:
        """``-log sum_k p_k prod_t N_kt`` over the frames that were seen; a path keeps its mode. 0 where none was seen."""
        at = self.log_density(truth)
        at = at if mask is None else torch.where(mask.unsqueeze(-2), at, 0.0)
        return -torch.logsumexp(self.logits.log_softmax(-1) + at.sum(-1), -1)

    def nll_marginal(self, truth: Float[Tensor, "*agent time 2"], mask: Bool[Tensor, "*agent time"] | None = None) -> Float[Tensor, "*agent"]:
        """``-(1/T) sum_t log sum_k p_k N_kt`` over the frames that were seen: every frame may choose its mode anew. 0 where none was seen."""
        at = -torch.logsumexp(self.logits.log_softmax(-1).unsqueeze(-1) + self.log_density(truth), -2)
        return at.mean(-1) if mask is None else torch.where(mask, at, 0.0).sum(-1) / mask.sum(-1).clamp(min=1)

    def distances(self, truth: Float[Tensor, "*agent time 2"]) -> Float[Tensor, "*agent mode time"]:
        """Of the mean paths from the truth, m."""
        return (self.mean - truth.unsqueeze(-3)).square().sum(-1).clamp(min=1e-12).sqrt()

    def rotated(self, angle: Float[Tensor, "*agent"], origin: Float[Tensor, "*agent 2"]) -> PathMixture:
        """From frames with their x axis along ``angle`` and zero at ``origin`` to the world."""
        modes = (*angle.shape, self.n_modes)
        at = Positions(self.mean, self.covariance).rotated(angle.unsqueeze(-1).expand(modes), origin.unsqueeze(-2).expand(*modes, 2))
        return PathMixture(self.logits, at.mean, at.covariance)

    def with_floor(self, std: float) -> PathMixture:
        """With the noise of an observation: ``cov + std^2``."""
        at = Positions(self.mean, self.covariance).with_floor(std)
        return PathMixture(self.logits, at.mean, at.covariance)

    def first(self, steps: int) -> PathMixture:
        """Its first steps."""
        return PathMixture(self.logits, self.mean[..., :steps, :], self.covariance[..., :steps, :, :])

    def choose(self, draws: int, generator: torch.Generator | None = None) -> Int[Tensor, "draw *agent"]:
        """A mode for each draw and agent."""
        flat = torch.multinomial(self.probability.reshape(-1, self.n_modes).double().cpu(), draws, replacement=True, generator=generator)
        return flat.T.reshape(draws, *self.logits.shape[:-1]).to(self.logits.device)

    def sample(self, draws: int, generator: torch.Generator | None = None, mode: Int[Tensor, "draw *agent"] | None = None,
               ) -> Float[Tensor, "draw *agent time 2"]:
        """Paths: a mode each, then ``mean + L z`` with one standard normal z for the whole path, so that it stays as smooth as the mean.

        Positions have the law of the mixture at every time; between times they are fully correlated, which a mixture of positions doesn't tell.
        """
        mode = self.choose(draws, generator) if mode is None else mode
        z = torch.randn(*mode.shape, 2, generator=generator, dtype=torch.float64).to(self.mean)
        mean, factor = self.picked(self.mean, mode), self.picked(cholesky(self.covariance), mode)
        first, second = z[..., None, 0], z[..., None, 1]
        return mean + torch.stack((factor[..., 0] * first, factor[..., 1] * first + factor[..., 2] * second), -1)

    @staticmethod
    def picked(value: Float[Tensor, "*agent mode time entry"], mode: Int[Tensor, "draw *agent"]) -> Float[Tensor, "draw *agent time entry"]:
        """The chosen mode of every agent and draw."""
        index = mode[..., None, None, None].expand(*mode.shape, 1, *value.shape[-2:])
        return value.expand(len(mode), *value.shape).gather(-3, index).squeeze(-3)

    def parameters(self) -> dict[str, Tensor]:
        """For `Forecast.mixture`: ``logits[node mode]``, ``mean[node mode time 2]``, ``covariance[node mode time 2 2]``."""
        return {"logits": self.logits, "mean": self.mean, "covariance": self.covariance}

    @classmethod
    def of(cls, forecast: Forecast) -> PathMixture:
        """That of a forecast.

        Raises:
            ValueError: the forecast has none.
        """
        missing = [name for name in ("logits", "mean", "covariance") if name not in forecast.mixture]
        if missing:
            raise ValueError(f"this forecast of {forecast.provenance.get('method', 'a method')} has no mixture of paths ({', '.join(missing)} "
                             "missing); score its draws instead")
        return cls(*(forecast.mixture[name] for name in ("logits", "mean", "covariance")))

    def to_forecast(self, past: Trajectories, answer: Answer) -> Forecast:
        """A forecast that carries the mixture, in the frame of the world and one entry a node of ``past``."""
        return Forecast(answer.draws, past, answer.time, answer.mask, mixture=self.parameters(), provenance=answer.provenance)


@dataclass(frozen=True)
class Answer:
    """What a forecast has beside its mixture.

    Attributes:
        draws: ``[draw node time 2]``.
        time: ``[scene time]``.
        mask: ``[draw node time]``; all there where it is left out.
        provenance: of the method.
    """

    draws: Float[Tensor, "draw node time 2"]
    time: Float[Tensor, "scene time"]
    mask: Any = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
