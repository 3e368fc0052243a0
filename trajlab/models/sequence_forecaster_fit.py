"""Training a sequence forecaster: stretches of series, their loss, the judgement on the tail, and the linear readout solved at the end."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.models.sequence_forecaster_config import SequenceConfig
from trajlab.models.sequence_forecaster_module import SequenceModule
from trajlab.train.config import TrainConfig

__all__ = ["fitted"]

STARTS = 8  #: free runs of a judgement, over all series
WARM = 256  #: frames before each of them that fill the state


class Stretches:
    """All stretches of ``length`` frames of some standardised series, for `trajlab.train.loop.train`."""

    def __init__(self, series: list[Tensor], length: int) -> None:
        self.rows = torch.cat([s.unfold(0, length, 1) for s in series]).transpose(1, 2)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor) -> Float[Tensor, "batch time dim"]:
        return self.rows[indices]


@dataclass(frozen=True)
class NextAndFreeRun:
    """Mean square error of the next increment at true frames, plus that of a short free run in units of persistence's error after as many frames."""

    config: SequenceConfig
    stray: Float[Tensor, "step"]

    def __call__(self, module: SequenceModule, batch: Tensor) -> Tensor:
        steps, lags = len(self.stray), module.lags
        given = batch.shape[1] - max(1, steps)
        moves, path = module(batch[:, :given], steps)
        truth = batch[:, lags + 1 : given + 1] - batch[:, lags:given]
        skip = min(self.config.washout, moves.shape[1] - 1)
        loss = (moves - truth / module.pace)[:, skip:].square().mean()
        if steps:
            apart = (path - batch[:, given:]).square().mean((0, 2)) / self.stray.square()
            loss = loss + apart.mean()
        return loss


class Judge:
    """Mean logarithm of the root mean square error of free runs that start within the tails, in standard deviations, kept within 1e-9 and 2."""

    def __init__(self, series: list[Tensor], config: SequenceConfig) -> None:
        each = max(1, STARTS // len(series))
        rows = [self._starts(s, config, each) for s in series[: STARTS if each == 1 else None]]
        shortest = min(len(past) for part in rows for past, _ in part)
        self.past = torch.stack([past[len(past) - shortest :] for part in rows for past, _ in part])
        self.truth = torch.stack([truth for part in rows for _, truth in part])

    @staticmethod
    def _starts(u: Tensor, config: SequenceConfig, number: int) -> list[tuple[Tensor, Tensor]]:
        first, steps = trained(len(u), config), judged(len(u), config)
        at = torch.linspace(first, len(u) - steps, number).round().long().tolist()
        return [(u[max(0, k - WARM) : k], u[k : k + steps]) for k in at]

    @torch.no_grad()
    def __call__(self, module: SequenceModule) -> dict[str, float]:
        dtype = module.readout.weight.dtype
        _, path = module(self.past.to(dtype), self.truth.shape[1])
        return {"error": float((path - self.truth.to(dtype)).square().mean(-1).sqrt().clamp(1e-9, 2).log().mean())}


def trained(frames: int, config: SequenceConfig) -> int:
    """How many of the first frames of a series train."""
    return frames - max(2, round(config.tail * frames))


def judged(frames: int, config: SequenceConfig) -> int:
    """Frames of a free run that is judged."""
    return max(1, min(config.horizon, (frames - trained(frames, config)) // 2))


def fitted(module: SequenceModule, series: list[Tensor], config: SequenceConfig, steps: int, seed: int) -> SequenceModule:
    """Train on the heads of series ``[time dim]``, judged on their tails; then choose the readout's penalty likewise and solve it on all frames.

    The net as it was before training, with a readout solved for in the same way (an echo state network of another kind), is a candidate too: on a
    short budget its features are sometimes the better ones. The result computes in float64.
    """
    from trajlab.train.loop import train

    standard = [module.standard(s) for s in series]
    heads = [u[: trained(len(u), config)] for u in standard]
    length = min(config.window + config.lags + max(1, config.unroll), *(len(u) for u in heads))
    unroll = min(config.unroll, length - module.lags - 2)
    judge = Judge(standard, config)
    stray = torch.tensor([float(torch.cat([u[k:] - u[:-k] for u in heads]).square().mean().sqrt()) for k in range(1, unroll + 1)])
    budget = {"steps": steps} if config.seconds is None else {"minutes": config.seconds / 60}
    how = TrainConfig(**budget, batch=config.batch, lr=config.lr, warmup=10, clip=1.0, ema=0.0, seed=seed, accelerator="cpu",
                      validate_every=max(1, steps // 8), patience=config.patience, keep="best", log_every=10**6)
    solve(module, heads, config, 1e-4)
    before = copy.deepcopy(module)
    train(module, NextAndFreeRun(config, stray.clamp(min=1e-9)), Stretches(heads, length), how, validate=judge, progress=False)
    tried = [chosen(net.double().requires_grad_(False), [u.double() for u in standard], config, judge) for net in (module, before)]
    return min(tried, key=lambda found: found[1])[0]


def chosen(module: SequenceModule, standard: list[Tensor], config: SequenceConfig, judge: Judge) -> tuple[SequenceModule, float]:
    """The module with the best readout by the judge, and its error: the readout it has, or one solved for with a penalty of the config."""
    heads = [u[: trained(len(u), config)] for u in standard]
    best, penalty = judge(module)["error"], None
    kept, parts = copy.deepcopy(module.readout.state_dict()), rows(module, heads, config.washout)
    for candidate in config.ridge:
        put(module, parts, candidate)
        error = judge(module)["error"]
        if error < best:
            best, penalty = error, candidate
    if penalty is None:
        module.readout.load_state_dict(kept)
    else:
        put(module, rows(module, standard, config.washout), penalty)
    return module, best


def solve(module: SequenceModule, series: list[Tensor], config: SequenceConfig, penalty: float) -> None:
    """Put the readout of least squares, in place."""
    put(module, rows(module, series, config.washout), penalty)


@torch.no_grad()
def rows(module: SequenceModule, series: list[Tensor], washout: int) -> tuple[Tensor, Tensor]:
    """Features and true increments in units of ``pace`` at all frames after the washout, of all series."""
    features, targets = [], []
    for u in series:
        told, _ = module.features(u[None, :-1])
        skip = min(washout, told.shape[1] - 1)
        features.append(told[0, skip:].double())
        targets.append((u.diff(dim=0) / module.pace)[module.lags + skip :].double())
    return torch.cat(features), torch.cat(targets)


@torch.no_grad()
def put(module: SequenceModule, samples: tuple[Tensor, Tensor], penalty: float) -> None:
    """Ridge regression on columns scaled to unit root mean square, lambda N I on them; the constant is not penalised."""
    told, target = samples
    centre, aim = told.mean(0), target.mean(0)
    scale = (told - centre).square().mean(0).sqrt().clamp(min=1e-12)
    z = (told - centre) / scale
    root = torch.eye(z.shape[1], dtype=z.dtype) * (penalty * len(z)) ** 0.5
    q, r = torch.linalg.qr(torch.cat([z, root]))  # squares of small singular values would be lost in z^T z
    weight = torch.linalg.solve_triangular(r, q[: len(z)].T @ (target - aim), upper=True) / scale[:, None]
    module.readout.weight.copy_(weight.T)
    module.readout.bias.copy_(aim - centre @ weight)
