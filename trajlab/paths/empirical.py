"""The exact denoiser of a finite set of points: what a net that has learned its data by heart would predict."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trajlab.paths.centre import spread_mask
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import Prediction

#: Distances held in memory at once.
HELD = 1 << 22


class Empirical:
    """E[x0 | x_t] where x0 is one of ``points``, each equally likely.

        Gaussian noise: softmax_i[-|x - alpha y_i|^2 / (2 sigma^2)] y_i;     a path may bring its own `log_kernel` (PFGM++ does)

    Args:
        points: ``[point *event]``.
        path: the path.
        degrees: free numbers of an event, where that is not all that are observed (PFGM++ after a projection).

    Raises:
        ValueError: there is no point.
    """

    def __init__(self, points: Tensor, path: GaussianPath, degrees: int | None = None) -> None:
        if points.ndim < 2 or not len(points):
            raise ValueError(f"points of shape {tuple(points.shape)}; at least one point and an axis after the first were wanted")
        self.points, self.path, self.degrees = points, path, degrees

    def __call__(self, x: Tensor, level: Level, mask: Tensor | None = None, **_: Any) -> Prediction:
        """The prediction at ``x`` ``[batch *event]``; where ``mask`` is False, x says nothing."""
        y = self.points.to(x.device).double().flatten(1)
        there = None if mask is None else spread_mask(mask, x).flatten(1)
        seen = x.double().flatten(1) if there is None else torch.where(there, x.double().flatten(1), 0.0)
        alpha, sigma = (torch.as_tensor(w, dtype=torch.float64, device=x.device).reshape(-1, 1).expand(len(x), 1) for w in (level.alpha, level.sigma))
        rows = max(1, HELD // len(y))
        parts = [self._mean(y, seen[k : k + rows], None if there is None else there[k : k + rows], alpha[k : k + rows], sigma[k : k + rows])
                 for k in range(0, len(x), rows)]
        return Prediction(x, level, "x0", torch.cat(parts).reshape(x.shape).to(x.dtype))

    def _mean(self, y: Tensor, seen: Tensor, there: Tensor | None, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The posterior mean of rows with a size [row d]."""
        square = (seen @ y.T).mul_(-2 * alpha).add_((seen**2).sum(1, keepdim=True))
        square = square.addcmul_(alpha**2, (y**2).sum(1) if there is None else there.double() @ (y**2).T).clamp_(min=0)
        count = seen.shape[1] if there is None else there.sum(1, keepdim=True)
        kernel = getattr(self.path, "log_kernel", _normal)
        return torch.softmax(kernel(square, sigma, count if self.degrees is None else self.degrees), -1) @ y


def _normal(square: Tensor, sigma: Tensor, _: Any) -> Tensor:
    return -square / (2 * sigma**2)
