"""A small regression problem for the tests of the training loop."""

from __future__ import annotations

import os
import signal

import torch
from torch import nn


class Samples:
    """Vectors and the sum of their sines; can do something at a given call of `batch`."""

    def __init__(self, size: int = 60, at: int | None = None, do=None):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(size, 4, generator=generator)
        self.y = torch.sin(self.x).sum(1, keepdim=True)
        self.seen, self.at, self.do = [], at, do

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        self.seen.append(indices.tolist())
        if self.at == len(self.seen):
            self.do()
        return self.x[indices], self.y[indices]


class Ragged(Samples):
    """Samples of one to six rows each; the loss is a mean over rows."""

    def batch(self, indices):
        self.seen.append(indices.tolist())
        rows = torch.cat([i.repeat(1 + int(i) % 6) for i in indices])
        within = torch.cat([torch.arange(1 + int(i) % 6) for i in indices])
        return self.x[rows] * (1 + within[:, None]), self.y[rows]


def net(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Dropout(dropout), nn.Linear(16, 1))


def squares(module, batch):
    x, y = batch
    return (module(x) - y).square().mean()


def sum_of_squares(module, batch):
    x, y = batch
    return (module(x) - y).square().sum(), len(x)


@torch.no_grad()
def validate(module):
    samples = Samples()
    return {"mse": float(squares(module, (samples.x, samples.y))), "max": float(module(samples.x).abs().max())}


def weights(module):
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
