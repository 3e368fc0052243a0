"""PFGM++ (Xu et al. 2023): noise with heavy tails, from the electric field of charges in N + D dimensions.

    p_sigma(x | y) ~ (|x - y|^2 + r^2)^(-(N + D)/2),   r = sigma sqrt(D)

This is a multivariate Student t with D degrees of freedom and scale sigma: x = y + sigma z sqrt(D / chi^2_D), z ~ N(0, I). Its radius
has R^2 = r^2 G1/G2 with G1 ~ Gamma(N/2), G2 ~ Gamma(D/2). D -> infinity is EDM; small D is robust where data have outliers. The variance
of a coordinate is sigma^2 D/(D - 2), infinite for D <= 2. Any set of coordinates of such noise is such noise, and so is a projection, with
the same D: a mask or a removed centre of mass changes N alone.

The hyperparameters of EDM carry over, and the ODE dx/dsigma = (x - D_theta)/sigma is the same, so every deterministic solver works as it
is. Solvers that draw Gaussian noise on the way do not keep these marginals, and the reading ``score`` is not the gradient of log p_t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import special
from torch import Tensor

from trajlab.paths.centre import centred, degrees, spread_mask
from trajlab.paths.schedules import EDM


@dataclass(frozen=True)
class PFGM(EDM):
    """The path of EDM with PFGM++'s noise.

    Attributes:
        augmented: D > 0, the number of added dimensions; need not be whole. Infinity is EDM.

    Raises:
        ValueError: D is not positive.
    """

    augmented: float = 128.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.augmented > 0:
            raise ValueError(f"augmented = {self.augmented:g} dimensions; a positive number was wanted (infinity for Gaussian noise)")

    def noise(self, like: Float[Tensor, "batch *event"], generator: torch.Generator, mask: Bool[Tensor, "batch *part"] | None = None,
              axes: Sequence[int] | None = None) -> Float[Tensor, "batch *event"]:
        """Unit noise (sigma = 1) for training: zero where hidden, and with its mean over ``axes`` taken out, where they are named."""
        z = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)
        z = torch.where(spread_mask(mask, z), z, torch.zeros_like(z)) if axes is None else centred(z, mask, axes)
        return z * self._tail(len(like), generator).to(like).reshape(-1, *[1] * (like.ndim - 1))

    def radial(self, normal: Float[Tensor, "batch *event"], mask: Bool[Tensor, "batch *part"] | None = None,
               axes: Sequence[int] | None = None) -> Float[Tensor, "batch *event"]:
        """Unit noise that is a function of standard ``normal`` numbers: the direction is kept and the radius mapped, monotonically.

        With N numbers free, |z|^2 ~ chi^2_N has the same rank as R^2/(r^2 + R^2) ~ Beta(N/2, D/2). A row depends on its own numbers alone.

        Raises:
            ValueError: a row has nothing free, or the mask or the axes do not fit.
        """
        z = torch.where(spread_mask(mask, normal), normal, torch.zeros_like(normal)) if axes is None else centred(normal, mask, axes)
        free = degrees(normal, mask, axes)
        if bool((free < 1).any()):
            raise ValueError(f"row {int((free < 1).nonzero()[0])} has no number that is free to move; leave it out of the batch")
        if math.isinf(self.augmented):
            return z
        length = torch.linalg.vector_norm(z.double().flatten(1), dim=1)
        ratio = self._log_ratio(length.cpu().numpy(), free.cpu().numpy())
        scale = torch.from_numpy(np.exp(ratio)).to(z.device).to(z.dtype)
        return z * scale.reshape(-1, *[1] * (z.ndim - 1))

    def prior(self, shape: Sequence[int], noise: Tensor) -> Tensor:
        """A start at sigma_max from standard normal ``noise``: heavy-tailed, not sigma_max N(0, I)."""
        return self.radial(super().prior(shape, noise) / self.sigma_max) * self.sigma_max

    def log_kernel(self, square: Tensor, sigma: Any, count: Any) -> Tensor:
        """log p_sigma(x | y) without its constant, from |x - y|^2 and the number N of free coordinates."""
        if math.isinf(self.augmented):
            return -square / (2 * sigma**2)
        return -(count + self.augmented) / 2 * torch.log1p(square / (sigma**2 * self.augmented))

    def _tail(self, batch: int, generator: torch.Generator) -> Tensor:
        """sqrt(D / chi^2_D), in log space."""
        if math.isinf(self.augmented):
            return torch.ones(batch, dtype=torch.float64)
        seed = int(torch.randint(0, 2**62, (), generator=generator, device=generator.device))
        random, half = np.random.default_rng(seed), self.augmented / 2
        # Gamma(k) = Gamma(k + 1) U^(1/k), which does not underflow in the logarithm where k is small.
        log_gamma = np.log(random.standard_gamma(half + 1, batch)) + np.log1p(-random.random(batch)) / half
        return torch.from_numpy(np.exp((math.log(half) - log_gamma) / 2))

    def _log_ratio(self, length: np.ndarray, free: np.ndarray) -> np.ndarray:
        """log(R / |z|) at the same rank; each of the two tails from its own side, so that neither loses digits."""
        n, d, half = free / 2, self.augmented / 2, length**2 / 2
        inside = special.betaincinv(n, d, special.gammainc(n, half))
        outside = special.betaincinv(d, n, special.gammaincc(n, half))
        tiny = np.finfo(float).tiny
        lower = np.log(np.maximum(inside, tiny)) - np.log1p(-np.minimum(inside, 0.75))
        upper = np.log1p(-np.minimum(outside, 0.75)) - np.log(np.maximum(outside, tiny))
        return (math.log(self.augmented) + np.where(inside < 0.5, lower, upper)) / 2 - np.log(np.maximum(length, tiny))
