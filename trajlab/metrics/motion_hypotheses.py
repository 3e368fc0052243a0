"""What a forecast of motion says of every agent, in one form: paths with probabilities, from a mixture or from draws, and their covariances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.types import Forecast

__all__ = ["PATHS", "Hypotheses", "hypotheses"]

PATHS = ("auto", "mixture", "draws")
MIXTURE = ("logits", "mean", "covariance")
TOLERANCE = 1e-3  #: by which probabilities may miss a sum of 1


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """K paths an agent with their probabilities.

    Attributes:
        path: ``[node mode time dim]``, in the unit of length.
        probability: ``[node mode]``, not negative, with a sum of 1 for every agent.
        covariance: of the position about its path at each time, ``[node mode time dim dim]``; None for draws.

    Raises:
        ValueError: shapes disagree, or probabilities are negative or don't sum to 1.
    """

    path: Float[Tensor, "node mode time dim"]
    probability: Float[Tensor, "node mode"]
    covariance: Float[Tensor, "node mode time dim dim"] | None = None

    def __post_init__(self) -> None:
        if self.path.ndim != 4 or self.path.shape[:2] != self.probability.shape or self.path.shape[1] < 1:
            raise ValueError(f"path{tuple(self.path.shape)} and probability{tuple(self.probability.shape)}: path[node mode time dim] and "
                             "probability[node mode] were wanted, with at least 1 mode")
        total = self.probability.double().sum(-1)
        wrong = ~((total - 1).abs() <= TOLERANCE) | (self.probability < 0).any(-1)
        if bool(wrong.any()):
            node = int(wrong.nonzero()[0])
            raise ValueError(f"the probabilities of node {node} are {[round(p, 4) for p in self.probability[node].tolist()]} with a sum of "
                             f"{float(total[node]):.4g}; probabilities that are not negative and sum to 1 were wanted (softmax of logits?)")

    @property
    def n_modes(self) -> int:
        return self.path.shape[1]

    @property
    def equal(self) -> bool:
        """Whether all are equally likely: draws, of which no one is first."""
        return bool((self.probability - 1 / self.n_modes).abs().max() < 1e-6) if self.probability.numel() else True

    def joint(self, scene: Int[Tensor, "node"]) -> bool:
        """Whether one index can mean one future of a whole scene: all agents of a scene have the same probabilities."""
        if not len(scene):
            return True
        same = scene[1:] == scene[:-1]
        return bool(((self.probability.diff(dim=0).abs().amax(-1) < 1e-5) | ~same).all())

    def top(self, best_of: int) -> Hypotheses:
        """The K likeliest of each agent, in falling order, with probabilities that sum to 1 again; equal ones stay in their order.

        Raises:
            ValueError: there are fewer.
        """
        if not 1 <= best_of <= self.n_modes:
            raise ValueError(f"the best of {best_of} was asked for, and there are {self.n_modes} paths an agent; draw more, or lower best_of")
        order = self.probability.argsort(dim=-1, descending=True, stable=True)[:, :best_of]
        chosen = self.probability.gather(-1, order)
        rows = torch.arange(len(order), device=order.device)[:, None]
        covariance = None if self.covariance is None else self.covariance[rows, order]
        return Hypotheses(self.path[rows, order], chosen / chosen.sum(-1, keepdim=True), covariance)

    @property
    def mean(self) -> Float[Tensor, "node time dim"]:
        """The mean path, float64."""
        return torch.einsum("nk,nktd->ntd", self.probability.double(), self.path.double())

    @property
    def point(self) -> Float[Tensor, "node time dim"]:
        """The one path if one must be said: the likeliest, or the mean of equally likely ones; float64."""
        if self.equal:
            return self.mean
        best = self.probability.argmax(-1)
        return self.path[torch.arange(len(best), device=best.device), best].double()


def hypotheses(forecast: Forecast, paths: str = "auto") -> Hypotheses:
    """The mixture of a forecast, or its draws.

    Args:
        forecast: with ``mixture`` (``logits[node mode]``, ``mean[node mode time 2]``, ``covariance[node mode time 2 2]``), or draws, whose
            ``log_weight`` (of whole scenes) counts.
        paths: ``mixture``, ``draws``, or ``auto``: the mixture where there is one.

    Raises:
        ValueError: an unknown name, no mixture where it is asked for, or one of another shape than the draws.
    """
    if paths not in PATHS:
        raise ValueError(unknown("kind of paths", paths, PATHS))
    missing = [name for name in MIXTURE if name not in forecast.mixture]
    if paths == "mixture" and missing:
        raise ValueError(f"this forecast has no mixture of paths ({', '.join(missing)} missing in Forecast.mixture); pass paths='draws'")
    if paths == "draws" or missing:
        return _drawn(forecast)
    logits, mean, covariance = (forecast.mixture[name] for name in MIXTURE)
    nodes, frames, dim = forecast.draws.shape[1:]
    modes = logits.shape[-1]
    if logits.shape != (nodes, modes) or mean.shape != (nodes, modes, frames, dim) or covariance.shape != (nodes, modes, frames, dim, dim):
        raise ValueError(f"logits{tuple(logits.shape)}, mean{tuple(mean.shape)} and covariance{tuple(covariance.shape)} do not fit draws"
                         f"{tuple(forecast.draws.shape)}; a mixture is [node mode], [node mode time dim] and [node mode time dim dim] in the frame "
                         "of the draws")
    return Hypotheses(mean, logits.double().softmax(-1), covariance)


def _drawn(forecast: Forecast) -> Hypotheses:
    draws, weight = forecast.draws, forecast.log_weight
    if weight is None:
        probability = torch.full(draws.shape[:2], 1 / len(draws), dtype=torch.float64, device=draws.device)
    else:
        probability = weight.double().softmax(0)[:, forecast.past.scene]
    return Hypotheses(draws.transpose(0, 1), probability.T)
