"""The exact denoiser of a finite set of points: what a net that has learned its data by heart would predict."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trajlab.paths.centre import spread_mask
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import Prediction


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
        there = spread_mask(mask, x).flatten(1)
        y = self.points.to(x.device).double().flatten(1)
        alpha, sigma = (torch.as_tensor(w, dtype=torch.float64, device=x.device).reshape(-1, 1) for w in (level.alpha, level.sigma))
        seen = torch.where(there, x.double().flatten(1), x.new_zeros((), dtype=torch.float64))
        weight = there.double()
        square = (seen**2).sum(1, keepdim=True) - 2 * alpha * (seen @ y.T) + alpha**2 * (weight @ (y**2).T)
        kernel = getattr(self.path, "log_kernel", _normal)
        count = weight.sum(1, keepdim=True) if self.degrees is None else self.degrees
        share = torch.softmax(kernel(square.clamp(min=0), sigma, count), -1)
        return Prediction(x, level, "x0", (share @ y).reshape(x.shape).to(x.dtype))


def _normal(square: Tensor, sigma: Tensor, _: Any) -> Tensor:
    return -square / (2 * sigma**2)
