"""Calibration inputs from the denoising trajectory, at skewed times (PTQ4DM, Shang et al. 2023).

What a net sees while it denoises differs from noised data, and from level to level; a quantiser fitted at one level fails at the others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.distil.quantise import QuantiseConfig, Quantised, quantise
from trajlab.paths.denoiser import Denoiser, Denoises
from trajlab.samplers.grids import Grid, uniform_t
from trajlab.samplers.hooks import Step
from trajlab.samplers.sample import sample
from trajlab.samplers.solver import Solver

#: Steps of the run that calibration states are taken from, and rows replayed at once.
STEPS, ROWS = 50, 256


@dataclass(frozen=True)
class Calibration:
    """States of denoising runs, each at its own level.

    Attributes:
        x: ``[row ...]``.
        lam: ``[row]``, float64, log-SNR.
    """

    x: Float[Tensor, "row *event"]
    lam: Float[Tensor, " row"]

    def driver(self, denoiser: Denoiser) -> Callable[[nn.Module], None]:
        """For `quantise`: calls a net as the denoiser calls its own, on every state."""

        def drive(net: nn.Module) -> None:
            other = with_net(denoiser, net)
            for x, lam in zip(self.x.split(ROWS), self.lam.split(ROWS)):
                other(x, other.path.level(lam, like=x))

        return drive


def skewed_times(count: int, generator: torch.Generator, mean: float = 0.4, spread: float = 0.4) -> Float[Tensor, " count"]:
    """Generative times t = 1 - n/T with the noise index n ~ N(mean T, (spread T)^2) clamped to [0, T].

    So t has its mean at 0.6 (nearer to the data); with the defaults some 16 % pile up at the clean end t = 1 and 7 % at t = 0.

    Raises:
        ValueError: spread is negative.
    """
    if spread < 0:
        raise ValueError(f"spread = {spread:g}; a number >= 0 was wanted")
    z = torch.randn(count, generator=generator, dtype=torch.float64, device=generator.device)
    return 1 - (mean + spread * z).clamp(0, 1)


def calibrate(
    denoiser: Denoises,
    start: Float[Tensor, "row *event"],
    times: Float[Tensor, " row"],
    grid: Grid | None = None,
    solver: Solver | None = None,
    generator: torch.Generator | None = None,
) -> Calibration:
    """One state a row, taken from its denoising run at the node nearest to its time.

    Args:
        denoiser: in floating point.
        start: states at the first node; 1024 are the paper's number.
        times: generative times, from `skewed_times`.
        grid: of the run; 50 steps uniform in t by default.
        solver: third-order DEIS by default.
        generator: for stochastic solvers.

    Raises:
        ValueError: not one time within [0, 1] a row.
    """
    times = times.double().cpu()
    if times.shape != start.shape[:1] or not bool(((times >= 0) & (times <= 1)).all()):
        raise ValueError(f"times of shape {tuple(times.shape)} came for {len(start)} rows; one number within [0, 1] a row was wanted")
    grid = grid or uniform_t(denoiser.path, STEPS)
    places = torch.tensor([k.t for k in grid.levels if k.sigma > 0], dtype=torch.float64)
    nearest = (times[:, None] - places).abs().argmin(1)
    x = start.clone()

    def keep(step: Step) -> None:
        rows = nearest == step.index + 1
        x[rows.to(x.device)] = step.x[rows.to(x.device)]

    sample(denoiser, grid, start, solver, generator=generator, watch=keep)
    return Calibration(x, grid.lam[nearest])


def with_net(denoiser: Denoiser, net: nn.Module) -> Denoiser:
    """The same denoiser around another net."""
    other = copy.copy(denoiser)
    other.net = net
    return other


def quantise_denoiser(denoiser: Denoiser, start: Float[Tensor, "row *event"], generator: torch.Generator, config: QuantiseConfig | None = None,
                      **calibration: Any) -> tuple[Denoiser, Quantised]:
    """The denoiser with a quantised net, calibrated on its own denoising runs from ``start`` at skewed times.

    Raises:
        TypeError: the denoiser's net is no torch module.
        ValueError: as `calibrate` and `quantise` do.
    """
    net = denoiser.net
    if not isinstance(net, nn.Module):
        raise TypeError(f"a Denoiser around a torch.nn.Module was wanted; this is a {type(denoiser).__name__} around a {type(net).__name__}")
    with torch.no_grad():
        found = calibrate(denoiser, start, skewed_times(len(start), generator).to(start.device), **calibration)
    made = quantise(net, found.driver(denoiser), config)
    return with_net(denoiser, made.module), made
