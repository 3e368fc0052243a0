"""A system from reference data to verdict: data, models, one-step errors, roll-outs, figures, bars. Users judge their own systems with it.

    plan = Plan.of(tomllib.loads(text)["uracil"])
    suite = Suite("uracil", plan, Cache(Path("runs/md/uracil")), minutes=20)
    verdict = trajlab.evaluate.verdict.assess(suite)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

import trajlab
from trajlab.catalog import unknown
from trajlab.data.batches import concat
from trajlab.dynamics.particles import Particles, Potential, Propagator
from trajlab.dynamics.thermostats import CSVR, NVE, Langevin
from trajlab.evaluate.bars import Bar
from trajlab.evaluate.cache import Cache, key_of
from trajlab.evaluate.equilibrium import relaxed
from trajlab.models.baselines import Ballistic, LargeStepVerlet, Ridge
from trajlab.models.rollout import RolloutConfig, RolloutError, rollout
from trajlab.models.trajcast import TrajCast
from trajlab.models.trajcast_config import TrajCastConfig
from trajlab.sources.recipes import MDRecipe
from trajlab.sources.simulate import build, find, simulate, simulate_long
from trajlab.types import Forecast, Trajectories

STRIDES_OF_TAU = 50  #: relaxation time of the thermostats


@dataclass(frozen=True)
class Plan:
    """What is done for one system.

    Attributes:
        title: for the report.
        recipe: name of the reference system.
        files: folder of the reference's files, below the data folder; empty where it needs none.
        runs: independent replicas for training, validation and test.
        simulation: changes of the recipe for the training pairs.
        cold: further training pairs, changes of the recipe such as ``temperature`` and ``pairs``. Thermal states all lie on a shell about
            the rest geometry; without some pairs from inside it, a net is free to do anything near rest, and does.
        minutes: of training for each model.
        reference: ``replicas`` and ``length_ps`` of the long runs.
        segments: ``frames`` and ``replicas`` of the runs without thermostat for the error against the horizon.
        nve_ps: length of the models' runs without thermostat.
        cutoff: of the graph, Angstrom.
        config: changes of the configuration of our default model.
        train: changes of `trajlab.train.config.TrainConfig` for all models.
        ridges: degrees of the ridge baselines.
        verlet: numbers of large steps a stride.
        window_fs: of the spectra.
        bars: what must be reached.
    """

    title: str
    recipe: str
    files: str = ""
    runs: tuple[int, int, int] = (64, 8, 8)
    simulation: Mapping[str, Any] = field(default_factory=dict)
    cold: Mapping[str, Any] = field(default_factory=dict)
    minutes: float = 10.0
    reference: Mapping[str, Any] = field(default_factory=lambda: {"replicas": 20, "length_ps": 50.0})
    segments: Mapping[str, int] = field(default_factory=lambda: {"frames": 33, "replicas": 16})
    nve_ps: float = 5.0
    cutoff: float = 6.5
    config: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    ridges: tuple[int, ...] = (1,)
    verlet: tuple[int, ...] = (1, 2, 3)
    window_fs: float = 3336.0
    bars: tuple[Bar, ...] = ()

    @classmethod
    def of(cls, record: Mapping[str, Any], quick: bool = False) -> Self:
        """From a table of a TOML file, with the changes of its ``quick`` table where asked for.

        Raises:
            ValueError: an entry is not known.
        """
        values = {k: v for k, v in record.items() if k != "quick"} | (dict(record.get("quick", {})) if quick else {})
        names = [f.name for f in fields(cls)]
        for name in values:
            if name not in names:
                raise ValueError(unknown("entry of a plan", name, names))
        values["bars"] = tuple(Bar.of(b) for b in values.get("bars", ()))
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


#: Models that are trained: a config for a cutoff, and how it is trained where that differs.
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "TrajCast, our default": (TrajCastConfig.default, {}),
    "TrajCast, published small": (TrajCastConfig.small, {"lr": 1e-2, "optimiser": "amsgrad", "clip": 0.5}),
}


@dataclass(frozen=True)
class Suite:
    """The stages of one system, each cached under the hash of its inputs.

    Attributes:
        name: of the system.
        plan: what is done.
        cache: where results are kept.
        data: folder of reference files, or None to download them.
        minutes: of training for each model.
        models: which of `MODELS`; the first is the one that the bars are for.
        train: changes of the training settings that hold for all (devices, seed).
        say: receives a line about every stage.
    """

    name: str
    plan: Plan
    cache: Cache
    data: Path | None = None
    minutes: float = 40.0
    models: tuple[str, ...] = tuple(MODELS)
    train: Mapping[str, Any] = field(default_factory=dict)
    say: Any = print

    @cached_property
    def folder(self) -> Path | None:
        return None if self.data is None or not self.plan.files else self.data / self.plan.files

    @cached_property
    def recipe(self) -> MDRecipe:
        return replace(find(self.plan.recipe), replicas=sum(self.plan.runs), **self.plan.simulation)

    @cached_property
    def built(self) -> tuple[Potential, Particles]:
        return build(self.recipe, self.folder)

    @property
    def potential(self) -> Potential:
        return self.built[0]

    @cached_property
    def rest(self) -> Particles:
        return relaxed(*self.built)

    def _key(self, **inputs: Any) -> str:
        return key_of(version=trajlab.__version__, recipe=asdict(self.recipe), **inputs)

    # ---- data

    @cached_property
    def pairs(self) -> tuple[Trajectories, Trajectories, Trajectories]:
        """Training, validation and test pairs, from different replicas."""
        data = self.cache.noun("pairs", self._key(), lambda: simulate(self.recipe, folder=self.folder))
        bounds = torch.tensor(self.plan.runs).cumsum(0)
        part = torch.bucketize(data.context["run"], bounds, right=True)
        train, validation, test = (data.scenes((part == k).nonzero().flatten()) for k in range(3))
        if self.plan.cold:
            colder = replace(self.recipe, seed=self.recipe.seed + 3, **self.plan.cold)
            more = self.cache.noun("cold", self._key(cold=asdict(colder)), lambda: simulate(colder, folder=self.folder))
            runs = more.context["run"] + self.recipe.replicas  # runs of their own
            train = concat([train, more.replace(context={**more.context, "run": runs})])
        return train, validation, test

    @cached_property
    def segments(self) -> Trajectories:
        """Longer runs without thermostat, for the error against the horizon."""
        changes = {**self.plan.segments, "pairs": self.plan.segments["replicas"], "seed": self.recipe.seed + 7}
        return self.cache.noun("segments", self._key(**changes), lambda: simulate(self.recipe, folder=self.folder, **changes))

    def thermostat(self, name: str) -> Any:
        tau = STRIDES_OF_TAU * self.recipe.stride
        return {"Langevin": Langevin(self.recipe.temperature, tau), "CSVR": CSVR(self.recipe.temperature, tau), "NVE": NVE()}[name]

    def reference(self, name: str) -> Trajectories:
        """Reference runs under a thermostat, acting once a stride as in the roll-outs."""
        length, replicas, thermostat = 1000 * self.plan.reference["length_ps"], self.plan.reference["replicas"], self.thermostat(name)

        def make() -> Trajectories:
            self.say(f"{self.name}: {replicas} reference runs of {length / 1000:g} ps under {name}")
            return simulate_long(self.recipe, length, thermostat=thermostat, folder=self.folder, replicas=replicas)

        return self.cache.noun(f"reference-{name}", self._key(length=length, replicas=replicas, thermostat=repr(thermostat)), make)

    # ---- models

    @cached_property
    def baselines(self) -> dict[str, Propagator]:
        """Fitted without a budget: ballistic and the ridges."""
        stride, train = self.recipe.stride, self.pairs[0]
        names = {1: "linear ridge", 2: "quadratic ridge"}
        return {"ballistic": Ballistic(stride), **{names[k]: Ridge(k).fit(train) for k in self.plan.ridges}}

    @cached_property
    def verlet(self) -> dict[str, Propagator]:
        """Large steps with the reference forces: listed apart, since each costs force calls."""
        return {f"Verlet {k} x {self.recipe.stride / k:.3g} fs": LargeStepVerlet(self.potential, self.recipe.stride, k) for k in self.plan.verlet}

    def trained(self, name: str) -> tuple[TrajCast, str]:
        """A trained model and its key; a training that was killed goes on from its checkpoint."""
        from trajlab.train.config import TrainConfig

        preset, changes = MODELS[name]
        config = preset(cutoff=self.plan.cutoff)
        config = replace(config, **self.plan.config) if config.net == "polar" else config
        settings = TrainConfig(minutes=self.minutes, **{**self.plan.train, **changes, **self.train})
        key = self._key(config=asdict(config), train=asdict(settings), runs=self.plan.runs, **({"cold": self.plan.cold} if self.plan.cold else {}))
        folder = self.cache.path("model", key)
        if not (folder / "fitted" / "model.json").is_file():
            self.say(f"{self.name}: training {name} for {self.minutes:g} minutes ({folder})")
            train, validation, _ = self.pairs
            TrajCast(config).fit(train, validation, train=settings, folder=folder).save(folder / "fitted")
        return TrajCast.load(folder / "fitted"), key

    # ---- roll-outs

    def rolled(self, name: str, thermostat: str) -> Forecast | None:
        """A roll-out of a trained model from the starts of the reference runs; None where not even one stride was possible."""
        model, key = self.trained(name)
        start = self.reference("Langevin").frames([0])
        length = self.plan.nve_ps if thermostat == "NVE" else self.plan.reference["length_ps"]
        settings = {"thermostat": self.thermostat(thermostat), "steps": round(1000 * length / self.recipe.stride), "scenes": start.n_scenes}

        def make() -> Forecast:
            self.say(f"{self.name}: {name}, {start.n_scenes} roll-outs of {length:g} ps, {thermostat}")
            try:
                return rollout(model, start, settings["steps"], RolloutConfig(thermostat=settings["thermostat"], seed=1))
            except RolloutError as error:
                if error.forecast is None:
                    raise
                return error.forecast

        try:
            return self.cache.noun(f"rollout-{thermostat}", self._key(model=key, **{k: repr(v) for k, v in settings.items()}), make)
        except RolloutError as error:
            self.say(f"{self.name}: {name} under {thermostat}: {error}")
            return None
