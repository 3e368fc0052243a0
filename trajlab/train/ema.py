"""Exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """The moving average w_n = d_n w_{n-1} + (1 - d_n) p_n of the trained parameters p.

    The decay warms up, d_n = min(d, (1 + n) / (10 + n)), so that the random weights of the start are forgotten early in a run
    (the rule of TensorFlow's ``ExponentialMovingAverage``). Averages of half-precision weights are kept in float32. With ``decay`` 0 there is
    no average, and the weights themselves stand in for it.

    Args:
        module: the model; only parameters that require a gradient are averaged, buffers are used as they are.
        decay: d, from 0 (off) to below 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad} if decay else {}
        self._mean = {name: _wide(p.detach()).clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after an optimiser step into the average."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self._mean.values()), [_wide(p.detach()) for p in self._live.values()], 1 - decay)

    @torch.no_grad()
    def copy_to_module(self) -> None:
        """Overwrite the model's weights by the average."""
        for name, p in self._live.items():
            p.copy_(self._mean[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the averaged weights inside, and gets its own back afterwards."""
        kept = {name: p.detach().clone() for name, p in self._live.items()}
        self.copy_to_module()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, p in self._live.items():
                    p.copy_(kept[name])

    def state(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._mean)

    @torch.no_grad()
    def load(self, state: dict[str, Tensor], updates: int) -> None:
        """Go on from stored averages."""
        for name, mean in self._mean.items():
            mean.copy_(state[name])
        self.updates = updates


def _wide(p: Tensor) -> Tensor:
    return p.float() if p.dtype in (torch.float16, torch.bfloat16) else p
