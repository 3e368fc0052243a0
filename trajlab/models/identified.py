"""Forecasts by the differential equation that generates a series, identified from its context.

The channels are taken for the whole state of an autonomous equation dz/dt = f(z) with f from a library: polynomials, polynomials with sines and
cosines of the channels, or quotients of polynomials. Coefficients come from least squares on the derivatives of a spline (the regression of SINDy:
Brunton, Proctor & Kutz 2016), and are then made exact by shooting, which does not depend on the frame spacing: either from frame to frame, or, where
the observations are noisy, by multiple shooting (Bock 1983; Baake, Baake, Bock & Briggs 1992, for chaotic data), which finds the states without noise
too. The library, and whether the states are taken for noisy, are chosen on the tail of the context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.models.identified_library import Equation, Library, library
from trajlab.models.identified_shooting import Fitted, multiple, one_step
from trajlab.models.identified_smooth import first_guess, smoothed
from trajlab.models.series_local import Learned, LocalForecaster, Runner, Scale
from trajlab.models.tuning import log_error

__all__ = ["Identified", "IdentifiedConfig", "Model"]

#: names of libraries: degree of the polynomial, degree of the denominator, whether with waves
LIBRARIES = {"quadratic": (2, 0, False), "cubic": (3, 0, False), "quartic": (4, 0, False), "waves": (2, 0, True), "quintic": (5, 0, False),
             "sextic": (6, 0, False), "rational": (3, 2, False)}


SURE = -2.0  #: mean logarithm of the error on the tail that a found equation must stay below
FLOOR = 2.0  #: an error of one frame below so many deviations of the noise is noise: that of two frames, and of the slope


@dataclass(frozen=True)
class IdentifiedConfig:
    """Settings of `Identified`.

    Attributes:
        libraries: tried in this order, up to the first that is exact or comes down to the noise that smoothing finds: polynomials (``quadratic`` to
            ``sextic``), ``waves`` (quadratic, and the sine and cosine of each channel in its own units), ``rational`` (cubic over quadratic).
        noisy: those of them that are also fitted by multiple shooting.
        exact: error of one frame, in standard deviations, below which an equation that also forecasts the tail is taken for found.
        most: coefficients, at most; larger libraries are left out, as are those with fewer than two frames a coefficient of one channel.
        segment: frames of a segment of multiple shooting.
        window: segments that are fitted to find the state where a forecast starts.
        share: of the context, that is held back to choose.
        origins: forecasts of the tail that are compared.

    Raises:
        ValueError: an unknown library, or a setting outside its range.
    """

    libraries: tuple[str, ...] = ("quadratic", "cubic", "waves", "quartic", "quintic", "rational", "sextic")
    noisy: tuple[str, ...] = ("quadratic", "cubic", "waves")
    exact: float = 1e-6
    most: int = 260
    segment: int = 8
    window: int = 12
    share: float = 0.2
    origins: int = 4

    def __post_init__(self) -> None:
        for name in (*self.libraries, *self.noisy):
            if name not in LIBRARIES:
                from trajlab.catalog import unknown

                raise ValueError(unknown("library of functions", name, LIBRARIES))
        if not self.libraries or min(self.most, self.segment, self.window, self.origins) < 1 or not 0 < self.share < 1 or not self.exact >= 0:
            raise ValueError(f"{self}: at least one library, positive numbers and a share between 0 and 1 were wanted")


@dataclass(frozen=True, eq=False)
class Model:
    """An identified equation that can be started from any history.

    Attributes:
        name: of its library, with ``noisy`` before it where the states were taken for noisy.
        fitted: the equation in standardised channels, time in frames.
        segment, window: see `IdentifiedConfig`; 0 where the states are taken as they are.
        noise: standard deviation of the observations.
        end: number of frames it was fitted to, after which its own last state is the best one.
        score: `trajlab.models.tuning.log_error` on the tail of the context, mean over the origins, when it was fitted to what is before.
    """

    name: str
    fitted: Fitted
    segment: int = 0
    window: int = 0
    noise: float = 0.0
    end: int = -1
    score: float = np.inf

    def state(self, z: Float[np.ndarray, "time dim"]) -> Float[np.ndarray, "dim"]:
        """The state at the last frame of a history."""
        if not self.segment:
            return z[-1]
        if len(z) == self.end and self.fitted.states is not None:
            return self.fitted.states[-1]
        recent = z[-(self.window * self.segment + 1) :]
        fixed = replace(self.fitted.equation, active=np.zeros((0, 3), dtype=np.int64))
        found = multiple(fixed, recent, smoothed(recent)[0], self.segment, noise=self.noise, iterations=6)
        return z[-1] if found.states is None or not np.isfinite(found.states).all() else found.states[-1]

    def __call__(self, z: np.ndarray, origins: Sequence[int], steps: Sequence[int]) -> list[np.ndarray]:
        tolerance = 1e-8 if self.segment else 1e-11
        return [self.fitted.equation.solve(self.state(z[:origin]), n, tolerance) for origin, n in zip(origins, steps)]


class Identified(LocalForecaster):
    """Identify the equation of a series, and integrate it."""

    name = "identified"
    scale_free = False  # sines and cosines are of the channels in their own units

    def __init__(self, config: IdentifiedConfig | None = None) -> None:
        self.config = config or IdentifiedConfig()
        self.shortest = 40

    def fits(self, x: Float[np.ndarray, "time dim"]) -> bool:
        """Whether some library is small enough for this context."""
        return len(x) >= self.shortest and bool(self._libraries(x, Scale.of(x)))

    def learn(self, x: Float[np.ndarray, "time dim"], designs: dict[Any, Any] | None = None) -> Learned:  # noqa: ARG002
        if len(x) < self.shortest:
            raise ValueError(f"{self.name} needs a context of at least {self.shortest} frames, got {len(x)}; give a longer past")
        scale = Scale.of(x)
        return Learned(scale, self.identify(x, scale))

    def learned(self, z: Float[np.ndarray, "time dim"], design: Any = None) -> Runner:  # noqa: ARG002
        return self.learn(z).runner

    def identify(self, x: Float[np.ndarray, "time dim"], scale: Scale | None = None) -> Model:
        """The equation of a context, in channels standardised by ``scale``.

        Raises:
            ValueError: no library is small enough for the context.
        """
        scale = scale or Scale.of(x)
        z = scale.to(x)
        libraries = self._libraries(z, scale)
        if not libraries:
            raise ValueError(f"{self.name}: none of the libraries {', '.join(self.config.libraries)} of {z.shape[1]} channels has at most "
                             f"{self.config.most} coefficients and two of the {len(z)} frames for each; give a longer context, fewer channels or a "
                             "larger most")
        cut = len(z) - max(1, round(self.config.share * len(z)))
        curve, noise = smoothed(z[:cut])
        found: list[tuple[Model, float]] = []
        for name, made in libraries.items():
            if any(error < FLOOR * noise for _, error in found):
                break
            model = Model(name, one_step(first_guess(Equation.zero(made, z.shape[1]), z[:cut]), z[:cut], iterations=16 if made.below else 8))
            if model.fitted.error < self.config.exact:
                score = self._score(model, z, cut)
                if score < SURE:
                    return replace(self._again(model, z), score=score)
            found.append((model, model.fitted.error))
        models = [model for model, error in sorted(found, key=lambda pair: pair[1])[:2] if np.isfinite(error)]
        for name in self.config.noisy:
            if name in libraries:
                guess = first_guess(Equation.zero(libraries[name], z.shape[1]), curve, 1e-6)
                fitted = multiple(guess, z[:cut], curve, self.config.segment, noise=noise)
                if np.isfinite(fitted.error):
                    models.append(Model(f"noisy {name}", fitted, self.config.segment, self.config.window, fitted.error, cut))
        if not models:
            return found[0][0]
        scores = [self._score(model, z, cut) for model in models]
        best = int(np.argmin(scores))
        return replace(self._again(models[best], z), score=scores[best])

    def _libraries(self, z: np.ndarray, scale: Scale) -> dict[str, Library]:
        made = {}
        for name in self.config.libraries:
            degree, below, waves = LIBRARIES[name]
            built = library(z.shape[1], degree, below=below, waves=(scale.mean, scale.std) if waves else None)
            if 2 * built.size <= len(z) and built.size * z.shape[1] <= self.config.most:
                made[name] = built
        return made

    def _score(self, model: Model, z: np.ndarray, cut: int) -> float:
        starts = [int(s) for s in np.unique(np.linspace(cut, cut + (len(z) - cut) // 2, self.config.origins).astype(int))]
        unit = Scale(np.zeros(z.shape[1]), np.ones(z.shape[1]))
        return float(np.mean([log_error(run, z[s:], unit) for run, s in zip(model(z, starts, [len(z) - s for s in starts]), starts)]))

    def _again(self, model: Model, z: np.ndarray) -> Model:
        """Fitted again to all frames, starting from what was found."""
        if not model.segment:
            again = one_step(model.fitted.equation, z, iterations=3)
            return replace(model, fitted=again) if again.error < 3 * model.fitted.error else model
        fitted = multiple(model.fitted.equation, z, smoothed(z)[0], self.config.segment, noise=model.noise)
        return replace(model, fitted=fitted, noise=fitted.error, end=len(z)) if np.isfinite(fitted.error) else model
