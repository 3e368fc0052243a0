"""Models of other libraries as forecasters of series: functions, gluonts predictors, darts models and sktime forecasters.

None of these packages is needed to import this file; models are called through the methods that they publish.
"""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.models.series_forecaster import SeriesForecaster

__all__ = ["Foreign", "from_darts", "from_function", "from_gluonts", "from_sktime"]


class Foreign(SeriesForecaster):
    """A model from elsewhere: a name, and how it is asked."""

    def __init__(self, model: Any, name: str, shortest: int = 2) -> None:
        self.model, self.name, self.shortest = model, name, shortest

    @abstractmethod
    def ask(self, context: np.ndarray, steps: int, draws: int, rng: np.random.Generator) -> Any:
        """``[steps dim]`` or ``[draw steps dim]``; one channel may be left out."""

    def continuation(self, context: Float[np.ndarray, "time dim"], steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        """What the model says, as ``[draw steps dim]``.

        Raises:
            ValueError: an answer of another shape.
        """
        out = np.asarray(self.ask(context, steps, draws, rng), dtype=np.float64)
        dim = context.shape[1]
        if out.ndim == 1 or (out.ndim == 2 and out.shape != (steps, dim) and dim == 1):
            out = out[..., None]
        out = out[None] if out.ndim == 2 else out
        if out.ndim != 3 or out.shape[1:] != (steps, dim):
            raise ValueError(f"{self.name} answered with an array of shape {out.shape}; [{steps} {dim}] or [draw {steps} {dim}] was wanted")
        return out


def from_function(function: Any, name: str | None = None, shortest: int = 2) -> Foreign:
    """A forecaster from ``function(context[time dim], steps) -> [steps dim]`` or ``[draw steps dim]``.

    Args:
        function: where it has arguments ``draws`` or ``rng`` (a `numpy.random.Generator`) it is given them.
        name: in tables; that of the function by default.
        shortest: frames of context that it needs.

    Raises:
        TypeError: not a function.
    """
    if not callable(function):
        raise TypeError(f"from_function got a {type(function).__name__}; a function f(context, steps) was wanted")
    return _Function(function, name or getattr(function, "__name__", "function"), shortest)


class _Function(Foreign):
    def ask(self, context: np.ndarray, steps: int, draws: int, rng: np.random.Generator) -> Any:
        known = inspect.signature(self.model).parameters
        return self.model(context.copy(), steps, **{k: v for k, v in (("draws", draws), ("rng", rng)) if k in known})


def from_gluonts(predictor: Any, name: str | None = None, *, multivariate: bool = False, freq: str = "s", shortest: int = 2) -> Foreign:
    """A forecaster from a gluonts predictor: ``predict(dataset)`` yields forecasts with ``samples``.

    Forecasts longer than its ``prediction_length`` go on from their own samples, block after block. Random numbers are the predictor's own.

    Args:
        predictor: trained; also what answers with ``quantile(q)`` alone, whose deciles are then the draws.
        multivariate: whether it takes targets ``[dim time]``; by default each channel is forecast by itself.
        freq: of the calendar that it is shown: the one that it was trained with. Every context begins at 2000-01-01.
        name, shortest: as in `from_function`.

    Raises:
        TypeError: no such predictor.
    """
    _wanted(predictor, "from_gluonts", "a gluonts predictor", "predict")
    made = _Gluonts(predictor, name or type(predictor).__name__, shortest)
    made.multivariate, made.freq = multivariate, freq
    return made


class _Gluonts(Foreign):
    multivariate, freq = False, "s"

    def ask(self, context: np.ndarray, steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        histories, blocks, made = [context], [], 0
        while made < steps:
            new = self._block(histories, draws)  # a list of [draw block dim], one a history
            block = new[0] if len(histories) == 1 else np.stack([n[k % len(n)] for k, n in enumerate(new)])
            if not blocks:
                histories = [context] * len(block)
            histories = [np.concatenate([past, ahead]) for past, ahead in zip(histories, block)]
            blocks.append(block)
            made += block.shape[1]
        return np.concatenate(blocks, 1)[:, :steps]

    def _block(self, histories: list[np.ndarray], draws: int) -> list[np.ndarray]:
        import pandas as pd

        targets = [h.T if self.multivariate else c for h in histories for c in ([None] if self.multivariate else h.T)]
        start = pd.Period("2000-01-01", freq=self.freq)
        records = [{"start": start, "target": np.asarray(t, dtype=np.float32), "item_id": str(k)} for k, t in enumerate(targets)]
        told = [_drawn(forecast, draws) for forecast in self._predicted(records, draws)]
        if len(told) != len(records):
            raise ValueError(f"{self.name} answered {len(told)} of {len(records)} series; it may want longer contexts")
        if self.multivariate:
            return told
        dim = histories[0].shape[1]
        return [np.stack(told[k : k + dim], -1) for k in range(0, len(told), dim)]

    def _predicted(self, records: list[dict[str, Any]], draws: int) -> Any:
        known = inspect.signature(self.model.predict).parameters
        takes = "num_samples" in known
        return self.model.predict(records, num_samples=draws) if takes else self.model.predict(records)


def _drawn(forecast: Any, draws: int) -> np.ndarray:
    """Draws ``[draw time ...]`` of a gluonts forecast."""
    if not hasattr(forecast, "samples") and hasattr(forecast, "to_sample_forecast"):
        forecast = forecast.to_sample_forecast(draws)
    if hasattr(forecast, "samples"):
        return np.asarray(forecast.samples, dtype=np.float64)[:draws]
    levels = (np.arange(draws) + 0.5) / draws
    return np.stack([np.asarray(forecast.quantile(float(q)), dtype=np.float64) for q in levels])


def from_darts(model: Any, name: str | None = None, *, fitted: bool = False, shortest: int = 2) -> Foreign:
    """A forecaster from a darts model: ``fit(TimeSeries)`` and ``predict(n)``. It is fitted anew to every context, on a copy.

    Args:
        model: of one or several channels, as the series are.
        fitted: a global model that was fitted before: contexts are given to ``predict(n, series=...)``.
        name, shortest: as in `from_function`.

    Raises:
        TypeError: no such model.
        ImportError: when it forecasts and darts is not installed.
    """
    _wanted(model, "from_darts", "a darts model", "fit", "predict")
    made = _Darts(model, name or type(model).__name__, shortest)
    made.fitted = fitted
    return made


class _Darts(Foreign):
    fitted = False

    def ask(self, context: np.ndarray, steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        try:
            from darts import TimeSeries
        except ImportError as error:
            raise ImportError("darts models are told series as darts.TimeSeries, and darts is not installed: pip install darts") from error
        series = TimeSeries.from_values(context)
        options: dict[str, Any] = {"num_samples": draws} if draws > 1 else {}
        if self.fitted:
            out = self.model.predict(steps, series=series, **options)
        else:
            fresh = self.model.untrained_model() if hasattr(self.model, "untrained_model") else copy.deepcopy(self.model)
            fresh.fit(series)
            out = fresh.predict(steps, **options)
        return np.moveaxis(out.all_values(), -1, 0)  # [time component sample]


def from_sktime(forecaster: Any, name: str | None = None, *, shortest: int = 2) -> Foreign:
    """A forecaster from an sktime one: ``fit(y, fh=[1, ..., steps])`` and ``predict()``, on a fresh clone for every context.

    One channel is given as a pandas Series, more as a DataFrame, which sktime's univariate forecasters take column by column.

    Args:
        forecaster: not fitted.
        name, shortest: as in `from_function`.

    Raises:
        TypeError: no such forecaster.
    """
    _wanted(forecaster, "from_sktime", "an sktime forecaster", "fit", "predict")
    return _Sktime(forecaster, name or type(forecaster).__name__, shortest)


class _Sktime(Foreign):
    def ask(self, context: np.ndarray, steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        import pandas as pd

        one = context.shape[1] == 1
        y = pd.Series(context[:, 0]) if one else pd.DataFrame(context, columns=[f"x{k}" for k in range(context.shape[1])])
        fresh = self.model.clone() if hasattr(self.model, "clone") else copy.deepcopy(self.model)
        fresh.fit(y, fh=list(range(1, steps + 1)))
        return np.asarray(fresh.predict(), dtype=np.float64).reshape(steps, -1)


def _wanted(model: Any, door: str, what: str, *methods: str) -> None:
    missing = [m for m in methods if not callable(getattr(model, m, None))]
    if missing or inspect.isclass(model):
        raise TypeError(f"{door} got {'the class' if inspect.isclass(model) else 'a'} {getattr(model, '__name__', type(model).__name__)}; "
                        f"{what} was wanted, an object with {' and '.join(methods)}")
