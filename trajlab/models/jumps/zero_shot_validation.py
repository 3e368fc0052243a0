"""How good a zero-shot network is on fresh tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trajlab.models.jumps.zero_shot_fit import Group, Objective, TaskStream
from trajlab.nets.count_network import CountNetwork
from trajlab.sources.jump_prior_config import PriorConfig

__all__ = ["Validation", "scores"]

SEED = 20_240_601  #: of the tasks that are never trained on
BATCHES = 16
COVERED = 1.6448536  #: half width of a 90 % interval in standard deviations


class Validation:
    """Scores on some fresh tasks of the prior, the same ones at every call; callable as the training loop wants it."""

    def __init__(self, prior: PriorConfig, objective: Objective, batches: int | None = None) -> None:
        self.objective = objective
        self.stream = TaskStream(prior, objective.config, batches or BATCHES, SEED)
        self.groups: list[Group] = []

    def __call__(self, module: CountNetwork) -> dict[str, float]:
        if not self.groups:
            self.groups = [group for k in range(len(self.stream)) for group in self.stream.draw(k)]
        return scores(module, self.objective, self.groups)


@torch.no_grad()
def scores(module: CountNetwork, objective: Objective, groups: Sequence[Group]) -> dict[str, float]:
    """Means over data sets: the loss, its parts, the median relative entropy, the mean absolute error of log-rates, and how often a log-rate lies
    outside its 90 % interval (0.10 is right)."""
    parts = [objective.parts(module, group) for group in groups]
    every = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    mean = {name: float(value.mean()) for name, value in every.items()}
    c = objective.config
    total = mean["nll"] + c.links * mean["link"] + c.point * mean["point"] + c.noise * mean["noise"] + c.initial * mean["initial"]
    z, error = zip(*(_errors(module, group) for group in groups), strict=True)
    outside = (torch.cat(z).abs() > COVERED).float().mean()
    return {"loss": total, **mean, "median_kl": float(np.median(every["kl"].numpy())), "mae": float(torch.cat(error).mean()),
            "outside_90": float(outside)}


def _errors(module: CountNetwork, group: Group) -> tuple[Tensor, Tensor]:
    """Standardised errors and absolute errors of the log-rates of links that are there, ``[link]``."""
    out = module(group.pairs)
    there = group.rate > 1e-4
    error = (group.rate.clamp(min=1e-4).log() - group.base - out.mean)[there]
    return error / torch.exp(0.5 * out.log_variance[there]), error.abs()
