"""The optimiser and its learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trajlab.train.config import TrainConfig


def build(weights: Mapping[str, Tensor], config: TrainConfig) -> torch.optim.Optimizer:
    """Adam, AMSGrad or AdamW over tensors by name, in one fused call a step where torch has it."""
    # The scaler of 16-mixed cannot clip the gradients of a fused optimiser, and there is no fused kernel for complex numbers.
    fused = config.precision != "16-mixed" and all(p.is_floating_point() for p in weights.values())
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return kind(weights.values(), lr=config.lr, weight_decay=config.weight_decay, amsgrad=config.optimiser == "amsgrad", fused=fused)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """The learning rate of step ``step`` (from 0) when the fraction ``progress`` of the budget is spent.

    Linear warm-up, which ends after ``warmup`` steps or a tenth of the budget, whichever comes first, times
    (1 + cos(pi progress)) / 2 with the cosine schedule.
    """
    warm = 1.0 if config.warmup == 0 else min(1.0, max((step + 1) / config.warmup, 10 * progress))
    fall = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))) if config.schedule == "cosine" else 1.0
    return config.lr * warm * fall


def state(weights: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors under ``"weight name/moment"``."""
    return {f"{name}/{key}": value for name, p in weights.items() for key, value in optimiser.state.get(p, {}).items()}


def load(weights: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, stored: Mapping[str, Tensor]) -> None:
    """Put the tensors of `state` back."""
    for key, value in stored.items():
        name, _, moment = key.rpartition("/")
        # The step count lives beside the weights only in the fused optimiser; elsewhere torch wants it on the CPU.
        beside = moment != "step" or optimiser.defaults["fused"]
        optimiser.state[weights[name]][moment] = value.to(weights[name].device if beside else "cpu").clone()
