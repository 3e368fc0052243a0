"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class EMA:
    """The moving average w_n = d_n w_{n-1} + (1 - d_n) p_n of weights p, updated after every step of the optimiser.

    The decay warms up, d_n = min(d, (1 + n) / (10 + n)), so that the random weights of the start are forgotten early in a run
    (the rule of TensorFlow's ``ExponentialMovingAverage``). Averages of half-precision weights are kept in float32. With ``decay`` 0
    there is no average, and the weights themselves stand in for it.

    Args:
        weights: tensors by name, such as ``dict(module.named_parameters())``; they are read by every `update`.
        decay: d, from 0 (off) to below 1.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._live = {name: p.detach() for name, p in weights.items()} if decay else {}
        self.mean = {name: _wide(p).clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self.mean.values()), [_wide(p) for p in self._live.values()], 1 - decay)

    @torch.no_grad()
    def overwrite(self) -> None:
        """Replace the weights by their average."""
        for name, p in self._live.items():
            p.copy_(self.mean[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The weights are their averages inside, and themselves again afterwards, also after an error."""
        kept = {name: p.clone() for name, p in self._live.items()}
        self.overwrite()
        try:
            yield
        finally:
            for name, p in self._live.items():
                p.copy_(kept[name])


def _wide(p: Tensor) -> Tensor:
    return p.float() if p.dtype in (torch.float16, torch.bfloat16) else p
