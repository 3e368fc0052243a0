"""Linear autoregression of all channels on the last lags of all channels, by ridge regression of the increments."""

from __future__ import annotations

from trajlab.models.nvar import Nvar, NvarConfig

__all__ = ["Linear"]


class Linear(Nvar):
    """`Nvar` of degree 1; 25 lags and a ridge of 1e-6 by default, fewer lags where the context is shorter than four of them."""

    name = "linear"

    def __init__(self, config: NvarConfig | None = None) -> None:
        super().__init__(config or NvarConfig(lags=25, degree=1, ridge=1e-6))
