"""How the states of simulated paths are seen: as they are, with wrong labels, or through a continuous signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trajlab.dynamics import compiled
from trajlab.dynamics.jumps import simulate_kernels as kernels
from trajlab.dynamics.jumps import simulate_plain as plain
from trajlab.dynamics.jumps.simulate_grid import Grid
from trajlab.types import JumpPaths

__all__ = ["SignalModel", "seen"]


@dataclass(frozen=True)
class SignalModel:
    """A continuous signal around a level of each state, with independent noise that is Gaussian, or Student's t.

    Attributes:
        level: of each state, ``[state]`` or ``[state dim]``, in the units of the signal.
        scale: of the noise (the standard deviation where it is Gaussian), one number, ``[state]`` or ``[state dim]``.
        freedom: degrees of freedom of Student's t; infinite means Gaussian.

    Raises:
        ValueError: a scale or freedom that is not positive, or shapes that do not fit.
    """

    level: Any
    scale: Any = 1.0
    freedom: float = np.inf

    def __post_init__(self) -> None:
        level = np.asarray(self.level, dtype=np.float64)
        level = level[:, None] if level.ndim == 1 else level
        scale = np.asarray(self.scale, dtype=np.float64)
        scale = scale[:, None] if scale.ndim == 1 else scale
        if level.ndim != 2 or scale.ndim not in (0, 2) or (scale.ndim and (len(scale) != len(level) or scale.shape[1] not in (1, level.shape[1]))):
            raise ValueError(f"level has shape {np.shape(self.level)} and scale {np.shape(self.scale)}; [state] or [state dim] were wanted")
        if not (np.isfinite(level).all() and (scale > 0).all() and self.freedom > 0):
            raise ValueError(f"levels must be finite, scale and freedom positive; got {self.level}, {self.scale}, {self.freedom}")
        object.__setattr__(self, "level", level)
        object.__setattr__(self, "scale", np.broadcast_to(scale, level.shape))

    def draw(self, state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A value of the signal for each state, ``[obs dim]``."""
        shape = (len(state), self.level.shape[1])
        noise = rng.standard_normal(shape) if np.isinf(self.freedom) else rng.standard_t(self.freedom, shape)
        return self.level[state] + self.scale[state] * noise


def seen(label: np.ndarray, grid: Grid, n_states: int, noise: Any, key: np.uint64, about: dict[str, Any]) -> JumpPaths:
    """The looks as a noun; ``noise`` as in `simulate.simulate`, ``key`` of its random numbers; ``about``: names, units, source.

    Raises:
        ValueError: no probability, rows that do not sum to one, or a signal of another number of states.
    """
    path, time = torch.from_numpy(grid.path), torch.from_numpy(np.ascontiguousarray(grid.clock))
    if isinstance(noise, SignalModel):
        if len(noise.level) != n_states:
            raise ValueError(f"the signal has levels of {len(noise.level)} states, the process {n_states}")
        signal = torch.from_numpy(noise.draw(label, np.random.default_rng(int(key))))
        kind = torch.full_like(path, JumpPaths.SIGNAL)
        return JumpPaths(torch.full_like(path, -1), time, path, n_states, kind, signal=signal, **about)
    if np.ndim(noise) == 0:
        _flip(label, float(noise), n_states, key)
    else:
        label = _misread(label, np.asarray(noise, dtype=np.float64), n_states, key)
    return JumpPaths(torch.from_numpy(label), time, path, n_states, **about)


def _flip(label: np.ndarray, eps: float, n_states: int, key: np.uint64) -> None:
    if not 0 <= eps <= 1:
        raise ValueError(f"noise = {eps}; a probability was wanted")
    if eps and compiled.available():
        kernels.flip(label, eps, n_states, key, 0, len(label))
    elif eps:
        plain.flip(label, eps, n_states, key)


def _misread(label: np.ndarray, chance: np.ndarray, n_states: int, key: np.uint64) -> np.ndarray:
    if chance.shape != (n_states, n_states) or not (chance >= 0).all() or (np.abs(chance.sum(1) - 1) > 1e-6).any():
        raise ValueError(f"noise has shape {chance.shape}; a probability, or [state state] with the probabilities of labels in rows was wanted")
    u = plain.uniform(key + np.arange(1, len(label) + 1, dtype=np.uint64) * kernels.GOLDEN)
    return (kernels.picking(chance)[label] <= u[:, None]).sum(1)
