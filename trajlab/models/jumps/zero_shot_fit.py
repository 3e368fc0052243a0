"""Training of the zero-shot network: tasks drawn on the fly, and what is minimised on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor, nn

from trajlab.dynamics.jumps.generator import stationary
from trajlab.dynamics.jumps.lag_features import features_of_arrays
from trajlab.models.jumps.task_stream import Stream
from trajlab.models.jumps.zero_shot_config import ZeroShotConfig
from trajlab.sources.jump_prior import JumpPrior, JumpTask
from trajlab.sources.jump_prior_config import PriorConfig

__all__ = ["NOISE_CENTRE", "Group", "Objective", "TaskStream", "group_of", "log_point", "noise_of", "noise_to", "stretched"]

FLOOR = 1e-4  #: smallest rate, in jumps per unit, that is told from smaller ones
NOISE = 0.003  #: the level eps of noise is learned as log(eps + NOISE)
NOISE_CENTRE = -4.5  #: of that logarithm over the published prior, where an untrained network stands
LARGE = 0.3  #: weighted relative entropies above this count by their logarithm; 1 is about what the data allow
REACH = 10.0  #: largest correction of the logarithm of a point estimate


@dataclass(frozen=True)
class Group:
    """Data sets of equally many states, as tensors, with what is to be found out. Rates are in jumps per unit of the data's own clock.

    Attributes:
        pairs: input of the network, ``[batch state state feature]``.
        base: logarithm of the first estimate, ``[batch state state]``.
        rate: the true rates, zero on the diagonal, ``[batch state state]``.
        weight: of states in the relative entropy, divided by the mean number of jumps a unit, ``[batch state]``.
        scale: weight of each data set's relative entropy, a function of what was seen alone, ``[batch]``.
        noise: transformed level of label noise, ``[batch]``.
        initial: distribution at the first look, ``[batch state]``.
    """

    pairs: Tensor
    base: Tensor
    rate: Tensor
    weight: Tensor
    scale: Tensor
    noise: Tensor
    initial: Tensor

    def to(self, device: torch.device | str) -> Group:
        """A copy on another device."""
        return Group(*(getattr(self, f.name).to(device) for f in fields(self)))


def noise_to(eps: np.ndarray | float) -> np.ndarray:
    """The scale on which the level of noise is learned."""
    return np.asarray(np.log(np.asarray(eps) + NOISE))


def noise_of(value: np.ndarray | float) -> np.ndarray:
    """The level of noise, from 0 to 1."""
    return np.asarray(np.clip(np.exp(value) - NOISE, 0.0, 1.0))


def log_point(base: Tensor, correction: Tensor) -> Tensor:
    """Logarithm of the point estimate in jumps per unit."""
    return base + REACH * torch.tanh(correction / REACH)


def group_of(tasks: Sequence[JumpTask]) -> Group:
    """Tasks with equally many states as tensors."""
    columns: list[list[np.ndarray]] = [[] for _ in fields(Group)]
    for task in tasks:
        count, looks = task.label.shape
        found = features_of_arrays(task.label.reshape(-1), task.time.reshape(-1), np.arange(count + 1) * looks, task.n_states)
        rate = task.q * found.unit
        np.fill_diagonal(rate, 0.0)
        links = task.n_states * (task.n_states - 1)
        scale = 1.0 / (0.01 + links / (2.0 * (found.changes + 1.0)))
        values = (found.pairs, found.base, rate, _weight(task, rate), scale, noise_to(task.eps), task.initial)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return Group(*(torch.from_numpy(np.stack(column).astype(np.float32)) for column in columns))


def _weight(task: JumpTask, rate: np.ndarray) -> np.ndarray:
    """Stationary occupation of states over the mean number of jumps; where nothing jumps in the long run, the share of looks instead."""
    weight = stationary(task.q)
    jumps = weight @ rate.sum(1)
    if not jumps > 1e-6 * rate.sum(1).max():
        weight = (np.bincount(task.label.reshape(-1), minlength=task.n_states) + 1.0) / (task.label.size + task.n_states)
        jumps = weight @ rate.sum(1)
    return weight / jumps


def stretched(prior: PriorConfig, factor: float) -> PriorConfig:
    """Paths so many times as long, with as many times more looks, and as many times fewer."""
    looks = tuple(max(2, round(k * factor)) for k in prior.looks)
    most = max(prior.paths[0], round(prior.paths[1] / factor))
    return replace(prior, horizon=prior.horizon * factor, looks=looks, paths=(prior.paths[0], most))


class TaskStream(Stream):
    """Batches of groups of tasks with equally many states.

    Args:
        prior: over processes and observations.
        config: sizes of groups.
        steps: number of batches.
        seed: of tasks and of the order of batches; that of the training.
    """

    def __init__(self, prior: PriorConfig, config: ZeroShotConfig, steps: int, seed: int) -> None:
        super().__init__(steps, seed, [asdict(prior), asdict(config)])
        self.prior, self.config = prior, config

    def draw(self, index: int) -> list[Group]:
        rng = np.random.default_rng((self.seed, index))
        c, p = self.config, self.prior
        found = []
        for _ in range(c.groups):
            prior = JumpPrior(stretched(p, math.exp(rng.uniform(*np.log(c.stretch))))) if rng.random() < c.stretched else JumpPrior(p)
            n = int(rng.choice(p.states, p=np.array(p.state_weights) / sum(p.state_weights)))
            count = min(c.most, max(4, c.pairs // n**2))
            found.append(group_of([prior.task(rng, n=n) for _ in range(count)]))
        return found


@dataclass(frozen=True)
class Objective:
    """What is minimised, a mean over data sets.

    - Gaussian negative log-likelihood (without log(2 pi)/2) of the logarithms of rates, floored at 1e-4 jumps per unit, over links that exist;
    - cross-entropy of whether each link exists;
    - relative entropy per jump of the point estimate h, ``sum_ij w_i (q_ij log(q_ij/h_ij) - q_ij + h_ij)``, ``w = pi / sum_ij pi_i q_ij``. Given the
      data it is least for ``h_ij = E[w_i q_ij] / E[w_i]``, the mean of the rate over the posterior, links that may be absent included; each data set
      counts with a weight that depends on what was seen alone, so that this stays the optimum. What is above a third of the usual counts by
      its logarithm, ``a log(1 + x / a)``: the usual data sets matter then, not the few of which nothing can be known because jumps are much faster
      than the looks. For it the estimate lies off the posterior mean where that is broad: at one path the median falls by 5 % and the mean
      rises by 3 % (measured);
    - Gaussian negative log-likelihood of log(eps + 0.003), eps the level of label noise; cross-entropy of the initial distribution.
    """

    config: ZeroShotConfig

    def __call__(self, module: nn.Module, batch: list[Group]) -> dict[str, Tensor]:
        parts = [self.parts(module, group) for group in batch]
        means = {name: torch.stack([part[name].mean() for part in parts]).mean() for name in parts[0]}
        c = self.config
        total = means["nll"] + c.links * means["link"] + c.point * means["point"] + c.noise * means["noise"] + c.initial * means["initial"]
        return {"loss": total, **{name: value.detach() for name, value in means.items()}}

    def parts(self, module: nn.Module, group: Group) -> dict[str, Tensor]:
        """Each part by data set, ``[batch]``; ``kl`` is the relative entropy without the weight of the data set."""
        out = module(group.pairs)
        n = group.rate.shape[-1]
        off = ~torch.eye(n, dtype=torch.bool)
        there = (group.rate > 0).float()
        log_rate = group.rate.clamp(min=FLOOR).log()
        squared = (log_rate - group.base - out.mean) ** 2
        nll = 0.5 * (out.log_variance + squared * torch.exp(-out.log_variance))
        link = torch.nn.functional.binary_cross_entropy_with_logits(out.link, there, reduction="none")
        log_h = log_point(group.base, out.rate)
        ratio = torch.where(group.rate > 0, group.rate.clamp(min=1e-30).log() - log_h, torch.zeros(()))
        kl = ((group.rate * ratio - group.rate + log_h.exp()) * off * group.weight[:, :, None]).sum((1, 2))
        mean, spread = out.noise.unbind(-1)
        spread = spread.clamp(-7, 4)
        return {
            "nll": (nll * there).sum((1, 2)) / there.sum((1, 2)),
            "link": (link * off).sum((1, 2)) / (n * (n - 1)),
            "point": LARGE * torch.log1p(kl * group.scale / LARGE),
            "noise": 0.5 * (spread + (group.noise - NOISE_CENTRE - mean) ** 2 * torch.exp(-spread)),
            "initial": -(group.initial * torch.log_softmax(out.initial, -1)).sum(-1),
            "kl": kl,
        }
