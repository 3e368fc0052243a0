"""The best of unlike forecasters on the tail of the context: an identified equation, nonlinear autoregression, echo state networks and the parrot.

An identified equation that is right cannot be beaten, and one that is wrong is often worse than a method without assumptions; the tail tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.models.esn import Esn, EsnConfig
from trajlab.models.identified import Identified, IdentifiedConfig
from trajlab.models.nvar import Nvar, NvarConfig
from trajlab.models.parrot import Parrot, ParrotConfig
from trajlab.models.series_forecaster import SeriesForecaster
from trajlab.models.tuning import Tuned

__all__ = ["Portfolio", "assorted"]


def assorted() -> list[SeriesForecaster]:
    """Methods that assume little: 22 settings of NVAR, 8 of echo state networks, 5 of the parrot."""
    nvar = [Nvar(NvarConfig(lags=k, degree=d, ridge=10.0**p)) for (k, d), p in product(((2, 3), (1, 3)), range(-12, -1))]
    esn = [Esn(EsnConfig(leak=a, radius=r, ridge=q)) for a, r, q in product((0.3, 1.0), (0.4, 0.9), (1e-8, 1e-5))]
    return [*nvar, *esn, *(Parrot(ParrotConfig(window)) for window in (5, 10, 20, 30, 50))]


class Portfolio(Tuned):
    """`Identified`, or whichever other method is better on the tail of the context.

    Args:
        identified: settings of the identification, which has its own choice of libraries on the same tail.
        others: what it is compared with; by default `assorted`.
        sure: mean logarithm of the error on the tail (standard deviations) below which the equation is kept without trying the others.

    Raises:
        ValueError: no others.
    """

    name = "portfolio"
    scale_free = False

    def __init__(self, identified: IdentifiedConfig | None = None, others: Sequence[SeriesForecaster] | None = None, sure: float = -3.0) -> None:
        self.first, self.sure = Identified(identified), sure
        config = self.first.config
        super().__init__(assorted() if others is None else others, config.share, config.origins)

    @property
    def shortest(self) -> int:  # type: ignore[override]
        return self.first.shortest

    def continuation(self, context: Float[np.ndarray, "time dim"], steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        if not self.first.fits(context):
            return self.chosen(context).continuation(context, steps, draws, rng)
        learned = self.first.learn(context)
        if learned.runner.score > self.sure:
            scores = self.scores(context)
            if scores.min() < learned.runner.score:
                return self.candidates[int(np.argmin(scores))].continuation(context, steps, draws, rng)
        return learned.runs(context, [len(context)], [steps])[0][None]

    def provenance(self, seed: int = 0) -> Mapping[str, Any]:
        told = super().provenance(seed)
        return {**told, "config": {**told["config"], "sure": self.sure, "identified": self.first.provenance(seed)["config"]}}
