"""Gaussians and Gaussian mixtures: data whose denoiser is known exactly, to see what a solver, a guide or a diagnostic really does.

    p(x) = sum_k w_k N(m_k, C_k),   E[x0 | x_t] = sum_k r_k(x_t) [m_k + alpha C_k (alpha^2 C_k + sigma^2 I)^-1 (x_t - alpha m_k)]

with r_k the posterior weight of mode k at the noise level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import Prediction

#: Log-SNR from which on the denoised state is taken for the clean end.
CLEAN = 14.0


class GaussianMixture:
    """A mixture of Gaussians over events of any shape, float64.

    Args:
        mean: ``[mode *event]``.
        covariance: ``[mode d d]``, over flattened events.
        weight: ``[mode]``, positive; normalised here. Equal by default.

    Raises:
        ValueError: shapes disagree, a number is not finite, a weight is not positive, or a covariance is not symmetric and positive semi-definite.
            Zero eigenvalues are allowed: a mode may be a point, or lie on a line.
    """

    def __init__(self, mean: Tensor, covariance: Tensor, weight: Tensor | None = None) -> None:
        if mean.ndim < 1 or not mean.numel():
            raise ValueError(f"means of shape {tuple(mean.shape)} came; at least one mode was wanted, shape (mode, *event)")
        modes, self.event = len(mean), tuple(mean.shape[1:])
        self.mean = mean.double().reshape(modes, -1)
        self.covariance = covariance.double()
        d = self.mean.shape[1]
        if self.covariance.shape != (modes, d, d):
            raise ValueError(f"covariance has shape {tuple(covariance.shape)}; ({modes}, {d}, {d}) was wanted for means of shape {tuple(mean.shape)}")
        weight = torch.ones(modes, device=mean.device) if weight is None else weight
        if weight.shape != (modes,) or not bool(((weight > 0) & torch.isfinite(weight)).all()):
            raise ValueError(f"one positive weight a mode was wanted, shape ({modes},); {weight.tolist()} came")
        self.weight = weight.double() / weight.double().sum()
        self._values, self._vectors = _spectrum(self.mean, self.covariance)

    @classmethod
    def ring(cls, modes: int = 8, radius: float = 1.0, radial: float = 0.05, tangential: float = 0.2) -> Self:
        """Modes on a circle, each an ellipse: 2-D."""
        angle = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
        out = torch.stack([angle.cos(), angle.sin()], -1)
        along = torch.stack([-angle.sin(), angle.cos()], -1)
        return cls(radius * out, radial**2 * out[:, :, None] * out[:, None] + tangential**2 * along[:, :, None] * along[:, None])

    @classmethod
    def smooth_paths(cls, generator: torch.Generator, frames: int = 8, dim: int = 2, modes: int = 5, correlation: float = 0.9,
                     spread: float = 0.1) -> Self:
        """Trajectories of one node ``[1 frame dim]``: modes on smooth mean paths, with autoregressive noise of standard deviation ``spread``."""
        time = torch.linspace(0, 1, frames, dtype=torch.float64)
        waves = torch.stack([torch.ones_like(time), time, (math.pi * time).sin(), (2 * math.pi * time).sin()])
        amplitude = torch.randn(modes, dim, len(waves), generator=generator, dtype=torch.float64) * torch.tensor([0.7, 0.7, 0.4, 0.2])
        mean = (amplitude @ waves).mT[:, None]
        lag = (torch.arange(frames)[:, None] - torch.arange(frames)).abs()
        covariance = torch.kron(spread**2 * correlation**lag.double(), torch.eye(dim, dtype=torch.float64))
        return cls(mean, covariance.expand(modes, -1, -1).clone())

    @property
    def dim(self) -> int:
        """Numbers in an event."""
        return self.mean.shape[1]

    def moments(self) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
        """Mean and covariance of the whole mixture."""
        mean = self.weight @ self.mean
        off = self.mean - mean
        return mean, (self.weight[:, None, None] * (self.covariance + off[:, :, None] * off[:, None])).sum(0)

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *event"]:
        """Exact samples, float64."""
        mode = torch.multinomial(self.weight, n, replacement=True, generator=generator)
        z = torch.randn(n, self.dim, generator=generator, dtype=torch.float64)
        x = self.mean[mode] + torch.einsum("nij,nj->ni", self._vectors[mode], self._values[mode].sqrt() * z)
        return x.reshape(n, *self.event)

    def posterior(self, x: Float[Tensor, "batch *event"], alpha: Any, sigma: Any, cool: float = 0.0) -> tuple[Tensor, Tensor]:
        """E[x0 | x] and the responsibilities ``[batch mode]`` at x = alpha x0 + sigma eps.

        Args:
            x: states.
            alpha, sigma: numbers, or tensors ``[batch 1 ...]``.
            cool: tau, an error made on purpose: responsibilities are computed with noise variance sigma^2 + (tau alpha)^2, which blurs the borders
                between modes and makes samples between them (hallucinations).
        """
        flat = self._flat(x)
        a, s = (torch.as_tensor(w, dtype=torch.float64, device=x.device).reshape(-1, 1, 1) for w in (alpha, sigma))
        mean, values, vectors, weight = (w.to(x.device) for w in (self.mean, self._values, self._vectors, self.weight))
        off = torch.einsum("kdi,nkd->nki", vectors, flat[:, None] - a * mean)
        total = a**2 * values + s**2
        # Without noise a mode of no width is a point or a plane; its density is the limit of little noise, and is compared as such.
        soft = (total + (cool * a) ** 2).clamp(min=self._least)
        logits = weight.log() - 0.5 * (off**2 / soft + soft.log()).sum(-1)
        share = torch.softmax(logits, -1)
        # Where sigma = 0 and a direction has no width, total = 0: the state says nothing there, and the mean is the answer.
        gain = torch.where(total > 0, a * values / total.clamp(min=1e-300), torch.zeros_like(total))
        each = mean + torch.einsum("kdi,nki->nkd", vectors, gain * off)
        return (share[..., None] * each).sum(1).reshape(x.shape).to(x.dtype), share

    def log_density(self, x: Float[Tensor, "batch *event"], alpha: float = 1.0, sigma: float = 0.0) -> Float[Tensor, " batch"]:
        """log p of x = alpha x0 + sigma eps, float64; its gradient is the score.

        Raises:
            ValueError: a mode has no width and sigma = 0, so that there is no density; or x is no batch of events.
        """
        mean, values, vectors, weight = (w.to(x.device) for w in (self.mean, self._values, self._vectors, self.weight))
        total = alpha**2 * values + sigma**2
        if bool((total <= 0).any()):
            raise ValueError(f"at alpha = {alpha:g}, sigma = {sigma:g} a mode has no width in some direction, and so no density; take sigma > 0")
        off = torch.einsum("kdi,nkd->nki", vectors, self._flat(x)[:, None] - alpha * mean)
        each = weight.log() - 0.5 * (off**2 / total + total.log() + math.log(2 * math.pi)).sum(-1)
        return torch.logsumexp(each, -1)

    def denoiser(self, path: GaussianPath, cool: float = 0.0) -> ExactDenoiser:
        """The exact denoiser on a path (with ``cool`` > 0, an error of known size)."""
        return ExactDenoiser(self, path, cool)

    def ode_end(self, path: GaussianPath, x: Float[Tensor, "batch *event"], start: float, stop: float = math.inf,
                tolerance: float = 1e-11) -> Float[Tensor, "batch *event"]:
        """Where the probability-flow ODE takes ``x`` from log-SNR ``start`` to ``stop`` (inf: the clean end): DOP853 in lam, float64.

        Solved for x/sigma, which obeys d(x/sigma) = e^lam D d lam on every path. The clean end is D at lam = 14 or later, where sigma/alpha is
        below 1e-6 and its square, by which D still moves in directions wider than that, below 1e-12.

        Raises:
            ValueError: ``stop`` does not lie behind ``start``, or ``start`` is not finite, or x is no batch of events.
            RuntimeError: the reference solver gave up.
        """
        from scipy.integrate import solve_ivp

        if not math.isfinite(start) or not start < stop:
            raise ValueError(f"the ODE is solved from a finite log-SNR to a larger one, and {start:g} to {stop:g} came")
        last = stop if math.isfinite(stop) else max(CLEAN, start + 1.0)
        shape = self._flat(x).shape

        def slope(lam: float, z: np.ndarray) -> np.ndarray:
            level = path.level(lam)
            state = torch.from_numpy(z).reshape(shape) * level.sigma
            return (math.exp(lam) * self.posterior(state, level.alpha, level.sigma)[0]).reshape(-1).numpy()

        z = (x.detach().double().cpu().reshape(shape) / path.level(start).sigma).reshape(-1).numpy()
        found = solve_ivp(slope, (start, last), z, method="DOP853", rtol=tolerance, atol=tolerance)
        if not found.success:
            raise RuntimeError(f"the reference solver failed: {found.message}")
        level = path.level(last)
        end = torch.from_numpy(found.y[:, -1].copy()).reshape(shape) * level.sigma
        return (end if last == stop else self.posterior(end, level.alpha, level.sigma)[0]).reshape(x.shape).to(x.device)

    def _flat(self, x: Tensor) -> Tensor:
        """Flattened events, float64; refuses what is no batch of them."""
        if x.ndim < 1 or math.prod(x.shape[1:]) != self.dim:
            raise ValueError(f"x has shape {tuple(x.shape)}; a batch of events of {self.dim} numbers was wanted, shape {('batch', *self.event)}")
        return x.reshape(len(x), -1).double()

    @property
    def _least(self) -> float:
        """The least variance at which modes are told apart: rounding of a number of the mixture's size, squared."""
        return 1e-30 * max(1.0, float(self.mean.abs().max()) ** 2)


def _spectrum(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and -vectors of covariances, checked."""
    if not bool(torch.isfinite(mean).all()) or not bool(torch.isfinite(covariance).all()):
        raise ValueError("a mean or a covariance is not finite")
    values, vectors = torch.linalg.eigh(covariance)
    allowed = 1e-9 * max(float(covariance.abs().max()), 1e-300)
    wrong = float((covariance - covariance.mT).abs().max()), float(values.min())
    if wrong[0] > allowed or wrong[1] < -allowed:
        raise ValueError(f"a covariance must be symmetric (here up to {wrong[0]:.3g}) and positive semi-definite (least eigenvalue {wrong[1]:.3g})")
    return values.clamp(min=0), vectors


class ExactDenoiser:
    """The posterior mean of a `GaussianMixture` on a path; whatever condition it is given, it ignores."""

    def __init__(self, mixture: GaussianMixture, path: GaussianPath, cool: float = 0.0) -> None:
        self.mixture, self.path, self.cool = mixture, path, cool

    def __call__(self, x: Tensor, level: Level, **_: Any) -> Prediction:
        return Prediction(x, level, "x0", self.mixture.posterior(x, level.alpha, level.sigma, self.cool)[0])


def gaussian(mean: Tensor, covariance: Tensor | Sequence[Sequence[float]]) -> GaussianMixture:
    """One Gaussian: mean ``[*event]``, covariance ``[d d]``."""
    return GaussianMixture(mean[None], torch.as_tensor(covariance, dtype=torch.float64)[None])
