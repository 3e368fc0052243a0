"""Contenders of a task: fitted within its budget, with their forecasts of the test windows, kept in a cache. Safe to call in other processes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trajlab.evaluate.cache import Cache
from trajlab.evaluate.geotdm_task import Task
from trajlab.models.geotdm import GeoTDM, GeoTDMConfig, Sampling
from trajlab.types import Forecast, Trajectories

__all__ = ["Entry", "Samplers", "contend", "samplers"]

LINEAR = {"last": "LastPosition", "velocity": "ConstantVelocity", "ridge": "ParticleRidge", "equivariant_ridge": "EquivariantRidge"}
LEARNED = ("weight", "prior.weight", "residual.own", "residual.shared")  #: entries of the state of a linear method that were learned


@dataclass(frozen=True)
class Entry:
    """A contender that was fitted.

    Attributes:
        name: of the contender.
        forecast: of the test windows.
        parameters: numbers that were learned.
        minutes: of training; 0 for methods that are solved for.
        about: further plain values, such as optimiser steps.
    """

    name: str
    forecast: Forecast
    parameters: int
    minutes: float
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Samplers:
    """The default sampler and the long one on the same windows.

    Attributes:
        few, many: forecasts.
        calls: of the net, of both.
        seconds: CPU time a trajectory (one draw of one window), of both.
    """

    few: Forecast
    many: Forecast
    calls: tuple[int, int]
    seconds: tuple[float, float]

    @property
    def gain(self) -> float:
        """How many times faster the default is, end to end."""
        return self.seconds[1] / self.seconds[0]


def key_of(task: Task, name: str) -> str:
    """Content key of a contender: whatever its forecast depends on."""
    budget = {"minutes": task.minutes, "epochs": task.epochs, "train": dict(task.train)} if name in task.trained else {}
    mine = {"config": dict(task.config), "evaluations": task.evaluations} if name == task.judged else {}
    return task.key(contender=dict(task.contenders[name]), draws=task.draws, seed=task.seed, **budget, **mine)


def contend(task: Task, name: str, folder: Path, data: Path | None) -> Entry:
    """Fit a contender and forecast the test windows, or take both from the cache.

    Args:
        task: the data set.
        name: of the contender.
        folder: of the cache.
        data: folder of reference files, or None to download them.

    Raises:
        ValueError: the task has no such contender, or the method refuses the data.
    """
    if name not in task.contenders:
        raise ValueError(f"{task.name} has no contender {name!r}; it has {', '.join(task.contenders)}")
    torch.set_num_threads(1)
    cache, key = Cache(folder), key_of(task, name)
    stem = "".join(c if c.isalnum() else "-" for c in name)
    record = cache.path(f"{stem}-about", key, ".json")
    train, validation, test = task.windows(cache, data)
    if not record.exists():
        forecast, parameters, about = _fitted(task, name, train, validation, test, cache.path(stem, key))
        cache.noun(f"{stem}-forecast", key, lambda: forecast)
        cache.numbers(f"{stem}-about", key, lambda: {"parameters": parameters, **about})
    told = cache.numbers(f"{stem}-about", key, dict)
    found = cache.noun(f"{stem}-forecast", key, lambda: None)
    return Entry(name, found, told["parameters"], told.get("elapsed_s", 0.0) / 60, told)


def _fitted(task: Task, name: str, train: Trajectories, validation: Trajectories, test: Trajectories, folder: Path,
            ) -> tuple[Forecast, int, dict[str, Any]]:
    past = test.frames(slice(0, task.given))
    settings = task.contenders[name]
    if settings["kind"] == "geotdm":
        return _geotdm(task, name, train, validation, past, folder)
    if settings["kind"] == "egnn":
        return _egnn(task, settings, train, validation, past)
    return _linear(task, settings, train, past)


def _linear(task: Task, settings: Mapping[str, Any], train: Trajectories, past: Trajectories) -> tuple[Forecast, int, dict[str, Any]]:
    from trajlab.models import linear_forecasts
    from trajlab.models.window_gaussian import WindowGaussian

    gaussian = settings["kind"] == "gaussian"
    model = WindowGaussian(settings["around"]) if gaussian else getattr(linear_forecasts, LINEAR[settings["kind"]])()
    model.fit(train, task.given)
    generator = torch.Generator().manual_seed(task.seed)
    forecast = model.forecast(past, draws=task.draws if gaussian else 1, generator=generator if gaussian else None)
    return _plain(forecast), sum(value.numel() for name, value in model.state().items() if name in LEARNED), {}


def _egnn(task: Task, settings: Mapping[str, Any], train: Trajectories, validation: Trajectories, past: Trajectories,
          ) -> tuple[Forecast, int, dict[str, Any]]:
    from trajlab.models.egnn_rollout import EgnnRollout, EgnnRolloutConfig
    from trajlab.models.features_config import FeatureConfig

    features = FeatureConfig(**_tuples(settings.get("features", {})))
    config = EgnnRolloutConfig(**_tuples(settings.get("config", {})), features=features)
    how = _budget(task, {"batch": 64, "lr": 2e-3, "clip": 1.0, "keep": "best", **settings.get("train", {})}, train)
    model = EgnnRollout(config).fit(train, task.given, validation, train=how)
    parameters = sum(p.numel() for p in model.step.parameters()) if model.step is not None else 0
    return _plain(model.forecast(past)), parameters, {k: model.about[k] for k in ("steps", "elapsed_s")}


def configured(task: Task, name: str) -> GeoTDMConfig:
    """Config of a contender of kind ``geotdm``."""
    settings = task.contenders[name]
    preset = getattr(GeoTDMConfig, settings.get("preset", "default"))()
    changes = {**settings.get("config", {}), **(task.config if name == task.judged else {})}
    return replace(preset, **{"given": task.given, **_tuples(changes)})


def _geotdm(task: Task, name: str, train: Trajectories, validation: Trajectories, past: Trajectories, folder: Path,
            ) -> tuple[Forecast, int, dict[str, Any]]:
    config = configured(task, name)
    config = replace(config, predicted=train.n_frames - task.given)
    settings = {"batch": 64, "lr": 2e-3, "clip": 0.3, **task.contenders[name].get("train", {})}
    model = GeoTDM(config).fit(train, validation, train=_budget(task, settings, train), folder=folder, progress=False)
    model.save(folder / "fitted")
    forecast = model.forecast(past, draws=task.draws, seed=task.seed, how=default_sampling(task, name))
    reference = getattr(model.fitted.reference, "about", {})  # a reference forecast that was trained first, within the same budget
    step = getattr(model.fitted.reference, "step", None)
    parameters = sum(p.numel() for part in (model.fitted, step) if part is not None for p in part.parameters())
    told = {"steps": model.about["steps"], "scale": model.about["scale"], "elapsed_s": model.about["elapsed_s"] + reference.get("elapsed_s", 0.0)}
    return _plain(forecast), parameters, told


def default_sampling(task: Task, name: str) -> Sampling:
    """The default sampler, or ancestral sampling where a judged contender is given very many evaluations."""
    from trajlab.samplers.ancestral import Ancestral

    calls = task.evaluations if name == task.judged else min(task.evaluations, Sampling().evaluations)
    return Sampling(evaluations=calls, solver=Ancestral() if calls >= 100 else None)


def _budget(task: Task, settings: Mapping[str, Any], train: Trajectories) -> Any:
    """Training settings with the budget of the task, in minutes or in epochs."""
    from trajlab.train.config import TrainConfig

    chosen = {**settings, **task.train, "seed": task.seed}
    if task.epochs is None:
        return TrainConfig(minutes=task.minutes, **chosen)
    return TrainConfig(steps=task.epochs * -(-train.n_scenes // chosen["batch"]), **chosen)


def samplers(task: Task, folder: Path, data: Path | None, repeats: int = 3) -> Samplers | None:
    """The judged contender sampled by the default and by many steps of ancestral sampling; None where the task leaves it out."""
    if not task.many:
        return None
    torch.set_num_threads(1)
    contend(task, task.judged, folder, data)
    cache, key, stem = Cache(folder), key_of(task, task.judged), task.judged
    model = GeoTDM.load(cache.path(stem, key) / "fitted")
    test = task.windows(cache, data)[2]
    past = some(test, task.many["windows"]).frames(slice(0, task.given))
    full = task.key(model=key, many=dict(task.many))
    record = cache.path("samplers", full, ".json")
    if not record.exists():
        _sampled(task, model, past, cache, full, repeats)
    seconds = cache.numbers("samplers", full, dict)["seconds"]
    few, many = (cache.noun(f"samplers-{which}", full, lambda: None) for which in ("few", "many"))
    return Samplers(few, many, (task.evaluations, task.many["evaluations"]), tuple(seconds))


def _sampled(task: Task, model: GeoTDM, past: Trajectories, cache: Cache, key: str, repeats: int) -> None:
    from trajlab.samplers.ancestral import Ancestral

    draws = task.many["draws"]
    long = Sampling(evaluations=task.many["evaluations"], solver=Ancestral())
    model.forecast(past, draws=1, how=Sampling(evaluations=4))  # the first call is slower than all others
    runs = [_timed(lambda: model.forecast(past, draws=draws, seed=task.seed + 1, how=Sampling(evaluations=task.evaluations)))
            for _ in range(repeats)]
    slow, many = _timed(lambda: model.forecast(past, draws=draws, seed=task.seed + 1, how=long))
    cache.noun("samplers-few", key, lambda: _plain(runs[0][1]))
    cache.noun("samplers-many", key, lambda: _plain(many))
    each = past.n_scenes * draws
    cache.numbers("samplers", key, lambda: {"seconds": [statistics.median(s for s, _ in runs) / each, slow / each]})


def _timed(call: Callable[[], Forecast]) -> tuple[float, Forecast]:
    began = time.process_time()
    made = call()
    return time.process_time() - began, made


def some(windows: Trajectories, count: int) -> Trajectories:
    """So many scenes, evenly over all."""
    count = min(count, windows.n_scenes)
    return windows.scenes(torch.arange(count) * windows.n_scenes // count)


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def _plain(forecast: Forecast) -> Forecast:
    """Without what a store cannot hold."""
    return replace(forecast, provenance={"method": forecast.provenance.get("method", "forecast")})
