"""Training of the published network of foundation inference for jump processes: its batches and its loss."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from trajlab.models.jumps.fim_mjp_config import FIMMJPConfig
from trajlab.models.jumps.task_stream import Stream
from trajlab.nets.fim_mjp import FIMMJPNet
from trajlab.sources.jump_prior import JumpPrior, JumpTask
from trajlab.sources.jump_prior_config import PriorConfig

__all__ = ["FIMBatch", "FIMObjective", "FIMStream", "padded"]

SIZES = 10  #: numbers of paths that occur in training


@dataclass(frozen=True)
class FIMBatch:
    """Data sets with equally many paths, padded to the same number of looks and of states; times and rates are normalised.

    Attributes:
        label, time: ``[batch path look]``; length: looks of each path, ``[batch path]``.
        rate: true rates times c, zero where there is no link, ``[batch state state]``; there: links that could be, ``[batch state state]``.
        initial: most probable first state, ``[batch]``; clock: c, ``[batch]``.
    """

    label: Tensor
    time: Tensor
    length: Tensor
    rate: Tensor
    there: Tensor
    initial: Tensor
    clock: Tensor

    def to(self, device: torch.device | str) -> FIMBatch:
        """A copy on another device."""
        return FIMBatch(*(getattr(self, f.name).to(device) for f in fields(self)))


def padded(label: np.ndarray, time: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ragged looks as rectangles, ``[path look]`` twice and ``[path]``: labels, times since the first look of the path, lengths; the rest is zero."""
    length = np.diff(first)
    shape = (len(length), max(int(length.max(initial=0)), 1))
    inside = np.arange(shape[1]) < length[:, None]
    out, since = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    out[inside], since[inside] = label, time
    return out, np.where(inside, since - since[:, :1], 0.0), length.astype(np.int64)


class FIMStream(Stream):
    """Batches with a tenth, two tenths, ..., all of the most paths, drawn on the fly."""

    def __init__(self, prior: PriorConfig, config: FIMMJPConfig, steps: int, seed: int) -> None:
        super().__init__(steps, seed, [asdict(prior), asdict(config)])
        self.prior, self.config = JumpPrior(prior), config

    def draw(self, index: int) -> list[FIMBatch]:
        rng = np.random.default_rng((self.seed, index))
        count = max(1, self.config.paths * int(rng.integers(1, SIZES + 1)) // SIZES)
        return [self._joined([self.prior.task(rng, K=count) for _ in range(self.config.batch)])]

    def _joined(self, tasks: list[JumpTask]) -> FIMBatch:
        n, batch, count = self.config.states, len(tasks), tasks[0].n_paths
        looks = np.array([task.label.shape[1] for task in tasks])
        label, time = np.zeros((batch, count, looks.max()), dtype=np.int64), np.zeros((batch, count, looks.max()), dtype=np.float32)
        rate, there = np.zeros((batch, n, n), dtype=np.float32), np.zeros((batch, n, n), dtype=bool)
        clock = np.zeros(batch, dtype=np.float32)
        for k, task in enumerate(tasks):
            since, m = task.time - task.time[:, :1], task.n_states
            clock[k] = since.max()
            label[k, :, : looks[k]], time[k, :, : looks[k]] = task.label, since / since.max()
            rate[k, :m, :m], there[k, :m, :m] = task.q * since.max(), True
        index = np.arange(n)
        rate[:, index, index], there[:, index, index] = 0.0, False
        initial = np.array([int(np.argmax(task.initial)) for task in tasks])
        length = np.repeat(looks[:, None], count, 1)
        return FIMBatch(*map(torch.from_numpy, (label, time, length, rate, there, initial, clock)))


@dataclass(frozen=True)
class FIMObjective:
    """The published loss: the sum, with weights, of

    - the Gaussian negative log-likelihood of the rates of links that exist, mean exp(a) and standard deviation exp(b) in normalised time;
    - the cross-entropy of the initial state, for which the most probable one stands;
    - over absent links the mean of ``c (mean^2 + std^2)``, mean and std in the clock of the data.
    """

    config: FIMMJPConfig

    def __call__(self, module: FIMMJPNet, batch: list[FIMBatch]) -> dict[str, Tensor]:
        (data,) = batch
        out = module(data.label, data.time, data.length)
        mean, std = out.log_mean.exp(), out.log_std.exp()
        link, absent = data.rate > 0, data.there & (data.rate == 0)
        nll = (out.log_std + 0.5 * ((data.rate - mean) / std) ** 2)[link].mean()
        clock = data.clock[:, None, None]
        penalty = (mean**2 + std**2) / clock
        gone = penalty[absent].mean() if absent.any() else penalty.new_zeros(())
        start = torch.nn.functional.cross_entropy(out.initial, data.initial)
        c = self.config
        return {"loss": c.rates * nll + c.initial * start + c.absent * gone, "nll": nll.detach(), "initial": start.detach(), "absent": gone.detach()}
