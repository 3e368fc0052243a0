"""The optimiser and its learning-rate schedule."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trajlab.train.config import TrainConfig


def build(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam, AMSGrad or AdamW over the parameters that require a gradient, in one fused call a step where torch has it.

    Raises:
        ValueError: nothing in the model requires a gradient.
    """
    params = [p for p in module.parameters() if p.requires_grad]
    if not params:
        raise ValueError(f"{type(module).__name__} has no parameters that require a gradient; there is nothing to train")
    # The scaler of 16-mixed cannot clip the gradients of a fused optimiser, and there is no fused kernel for complex numbers.
    fused = config.precision != "16-mixed" and all(p.is_floating_point() for p in params)
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return kind(params, lr=config.lr, weight_decay=config.weight_decay, amsgrad=config.optimiser == "amsgrad", fused=fused)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """The learning rate of step ``step`` (from 0) when the fraction ``progress`` of the budget is spent.

    Linear warm-up, which ends after ``warmup`` steps or a tenth of the budget, whichever comes first, times
    (1 + cos(pi progress)) / 2 with the cosine schedule.
    """
    warm = 1.0 if config.warmup == 0 else min(1.0, max((step + 1) / config.warmup, 10 * progress))
    fall = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))) if config.schedule == "cosine" else 1.0
    return config.lr * warm * fall


def state(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors under ``"parameter name/moment"``."""
    found = {}
    for name, p in module.named_parameters():
        for key, value in optimiser.state.get(p, {}).items():
            found[f"{name}/{key}"] = value
    return found


def load(module: nn.Module, optimiser: torch.optim.Optimizer, stored: dict[str, Tensor]) -> None:
    """Put the tensors of `state` back."""
    params = dict(module.named_parameters())
    for key, value in stored.items():
        name, _, moment = key.rpartition("/")
        # The step count lives beside the parameters only in the fused optimiser; elsewhere torch wants it on the CPU.
        beside = moment != "step" or optimiser.defaults["fused"]
        optimiser.state[params[name]][moment] = value.to(params[name].device if beside else "cpu").clone()
