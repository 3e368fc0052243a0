"""Settings chosen on the tail of the context: each candidate learns from the first part and continues it over the rest, which it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.models.esn import Esn, EsnConfig
from trajlab.models.nvar import Nvar, NvarConfig
from trajlab.models.parrot import Parrot, ParrotConfig
from trajlab.models.series_forecaster import SeriesForecaster
from trajlab.models.series_local import LocalForecaster, Scale

__all__ = ["Tuned", "TunedEsn", "TunedNvar", "TunedParrot", "WideNvar", "log_error"]

FLOOR, CEILING = 1e-9, 2.0  #: standard deviations; an error outside counts as the nearest of them


def log_error(made: Float[np.ndarray, "step dim"], truth: Float[np.ndarray, "step dim"], scale: Scale) -> float:
    """Mean over the steps of the logarithm of the root-mean-square error over the channels, in standard deviations of the context.

    Errors of chaotic forecasts grow exponentially, so that their logarithm weighs all stages alike; it does not depend on the origin of the
    coordinates as relative errors do. What is not finite counts as the ceiling of two standard deviations.
    """
    error = np.sqrt((((made - truth) / scale.std) ** 2).mean(1))
    return float(np.log(np.clip(np.nan_to_num(error, nan=CEILING, posinf=CEILING), FLOOR, CEILING)).mean())


class Tuned(SeriesForecaster):
    """The best of several forecasters on the tail of the context, learned again from all of it.

    Args:
        candidates: forecasters; the first of equals wins.
        share: of the context, that is held back for the choice.
        origins: forecasts that are compared for each candidate; they start evenly over the first half of the tail and all end with it.

    Raises:
        ValueError: no candidates, a share outside 0 to 1, or fewer than one origin.
    """

    name = "tuned"

    def __init__(self, candidates: Sequence[SeriesForecaster], share: float = 0.2, origins: int = 4) -> None:
        if not candidates or not 0 < share < 1 or origins < 1:
            raise ValueError(f"{len(candidates)} candidates, share={share}, origins={origins}; at least one candidate and origin and a share "
                             "between 0 and 1 were wanted")
        self.candidates, self.share, self.origins = list(candidates), share, origins

    @property
    def scale_free(self) -> bool:
        return all(getattr(c, "scale_free", False) for c in self.candidates)

    @property
    def shortest(self) -> int:  # type: ignore[override]
        need = min(c.shortest for c in self.candidates)
        return next(n for n in range(need + 1, 10 * need + 10) if self._cut(n) >= need)

    def _fit(self, trajectories: Any) -> None:
        for candidate in self.candidates:
            candidate._fit(trajectories)

    def _cut(self, count: int) -> int:
        return count - max(1, round(self.share * count))

    def scores(self, context: Float[np.ndarray, "time dim"]) -> Float[np.ndarray, "candidate"]:
        """`log_error` of each candidate on the tail, mean over the origins; infinite where the context is too short for it."""
        count, cut = len(context), self._cut(len(context))
        starts = np.unique(np.linspace(cut, cut + (count - cut) // 2, self.origins).astype(int))
        scale, designs = Scale.of(context[:cut]), {}
        found = []
        for number, candidate in enumerate(self.candidates):
            if candidate.shortest > cut:
                found.append(np.inf)
                continue
            runs = self._runs(candidate, number, context, cut, starts, designs)
            found.append(float(np.mean([log_error(run, context[start:], scale) for run, start in zip(runs, starts)])))
        return np.array(found)

    def _runs(self, candidate: SeriesForecaster, number: int, context: np.ndarray, cut: int, starts: np.ndarray,
              designs: dict[Any, Any]) -> list[np.ndarray]:
        if isinstance(candidate, LocalForecaster):
            return candidate.learn(context[:cut], designs).runs(context, starts.tolist(), (len(context) - starts).tolist())
        rng = np.random.default_rng([number, len(context)])
        return [np.median(candidate.continuation(context[:s], len(context) - s, 1, rng), 0) for s in starts.tolist()]

    def chosen(self, context: Float[np.ndarray, "time dim"]) -> SeriesForecaster:
        """The candidate that is best on the tail of a context."""
        if len(self.candidates) == 1:
            return self.candidates[0]
        return self.candidates[int(np.argmin(self.scores(context)))]

    def continuation(self, context: Float[np.ndarray, "time dim"], steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        return self.chosen(context).continuation(context, steps, draws, rng)

    def provenance(self, seed: int = 0) -> Mapping[str, Any]:
        candidates = [dict(c.provenance(seed)) for c in self.candidates]
        return {**super().provenance(seed), "config": {"share": self.share, "origins": self.origins, "candidates": candidates}}


RIDGES = tuple(10.0**p for p in range(-12, -1))


class TunedNvar(Tuned):
    """`Nvar` with two lags and cubic monomials, its ridge chosen on the tail."""

    name = "nvar"

    def __init__(self, share: float = 0.2, origins: int = 4, ridges: Sequence[float] = RIDGES) -> None:
        super().__init__([Nvar(NvarConfig(ridge=r)) for r in ridges], share, origins)


class WideNvar(Tuned):
    """`Nvar` with lags, degree and ridge chosen on the tail."""

    name = "nvar_wide"

    def __init__(self, share: float = 0.2, origins: int = 4, ridges: Sequence[float] = RIDGES) -> None:
        shapes = ((1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (3, 2), (4, 2), (12, 1), (25, 1))
        super().__init__([Nvar(NvarConfig(lags=k, degree=d, ridge=r)) for (k, d), r in product(shapes, ridges)], share, origins)


class TunedEsn(Tuned):
    """`Esn` with leak, spectral radius, input scale and ridge chosen on the tail."""

    name = "esn"

    def __init__(self, share: float = 0.2, origins: int = 4, ridges: Sequence[float] = (1e-9, 1e-7, 1e-5, 1e-3)) -> None:
        shapes = product((0.3, 1.0), (0.4, 0.9), (0.2, 0.8))
        super().__init__([Esn(EsnConfig(leak=a, radius=r, input_scale=s, ridge=q)) for (a, r, s), q in product(shapes, ridges)], share, origins)


class TunedParrot(Tuned):
    """`Parrot` with its window chosen on the tail."""

    name = "parrot"

    def __init__(self, share: float = 0.2, origins: int = 4, windows: Sequence[int] = (2, 5, 10, 20, 30, 50, 75, 100, 150)) -> None:
        super().__init__([Parrot(ParrotConfig(w)) for w in windows], share, origins)
