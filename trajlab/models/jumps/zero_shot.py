"""Rates of a Markov jump process from labelled paths in one pass through a network: `ZeroShot`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float

import trajlab
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.lag_features import FEATURES, LagFeatures, features_of_arrays, lag_features
from trajlab.models.jumps.zero_shot_config import ZeroShotConfig
from trajlab.models.jumps.zero_shot_fit import NOISE_CENTRE, Objective, TaskStream, log_point, noise_of
from trajlab.models.jumps.zero_shot_validation import Validation
from trajlab.models.model_files import read, write
from trajlab.nets.count_network import CountNetwork, CountOutputs
from trajlab.sources.jump_prior_config import PriorConfig
from trajlab.train.config import TrainConfig
from trajlab.types import JumpPaths

__all__ = ["ZeroShot", "ZeroShotAnswer"]

WEIGHTS = Path(__file__).with_name("weights")  #: where the shipped weights are


@dataclass(frozen=True)
class ZeroShotAnswer:
    """What the network says of a data set. Rates are in one over the unit of the data's clock; diagonals hold nothing, zero.

    Attributes:
        generator: point estimate, ``[state state]``: the mean of each rate over what the network holds possible, absent links included, which is
            what minimises the expected relative entropy; rows sum to zero.
        mean: mean of the logarithm of each rate, if the link exists, ``[state state]``.
        std: standard deviation of that logarithm, ``[state state]``.
        link: probability that the link exists, ``[state state]``.
        eps: level of label noise: the probability that a label was replaced by one uniform over all states.
        initial: distribution at the first look of a path, ``[state]``.
        names: of the states.
    """

    generator: Float[np.ndarray, "state state"]
    mean: Float[np.ndarray, "state state"]
    std: Float[np.ndarray, "state state"]
    link: Float[np.ndarray, "state state"]
    eps: float
    initial: Float[np.ndarray, "state"]
    names: tuple[str, ...] = ()

    def interval(self, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Limits between which each rate lies with this probability, if the link exists, ``[state state]`` each.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        from scipy.special import ndtri

        if not 0 < level < 1:
            raise ValueError(f"the level of an interval is {level}; a number between 0 and 1 was wanted")
        half = float(ndtri(0.5 + level / 2)) * self.std
        off = ~np.eye(len(self.mean), dtype=bool)
        return np.exp(self.mean - half) * off, np.exp(self.mean + half) * off

    def among(self, seen: Bool[np.ndarray, "all"], names: tuple[str, ...] = ()) -> Self:
        """The same answer among more states, of which these ``seen`` ones were asked for, in their order; the others have no links."""
        places = np.flatnonzero(seen)

        def wide(table: np.ndarray) -> np.ndarray:
            out = np.zeros((len(seen), len(seen)))
            out[np.ix_(places, places)] = table
            return out

        initial = np.zeros(len(seen))
        initial[places] = self.initial
        return replace(self, generator=wide(self.generator), mean=wide(self.mean), std=wide(self.std), link=wide(self.link), initial=initial,
                       names=names)


@dataclass
class ZeroShot:
    """Zero-shot inference: the network was trained on random processes, and sees a new data set once.

    After foundation inference for Markov jump processes (Berghaus et al., arXiv 2406.06419, 2024), whose task and prior it takes over; the network is
    another one: it reads counts of pairs by gap and duration (`trajlab.dynamics.jumps.lag_features`) instead of the paths one by one, takes any
    number of states and of paths, and is exactly equivariant to numbering the states otherwise and to the unit of time (`CountNetwork`).

    Example: ``ZeroShot.load().infer(paths).generator``.

    Attributes:
        config: size of the network.
        net: the network; untrained where nothing was loaded or fitted.
        about: how the weights came about: command, prior, seed, steps, accuracy.
    """

    config: ZeroShotConfig = field(default_factory=ZeroShotConfig)
    net: CountNetwork | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Self:
        """The shipped weights (read once), or those that `save` wrote into a folder.

        Raises:
            ValueError: the folder holds no such weights.
        """
        return cls._read(folder) if folder is not None else _shipped(cls)

    @classmethod
    def _read(cls, folder: str | Path) -> Self:
        record, tensors, config = read(folder, "zero_shot_jumps", ZeroShotConfig)
        if record["features"] != FEATURES:
            raise ValueError(f"the weights in {folder} read {record['features']} features, this version makes {FEATURES}; train them again")
        net = CountNetwork(FEATURES, config.width, config.layers)
        net.load_state_dict({name: value.float() for name, value in tensors.items()})
        return cls(config, net.eval().requires_grad_(False), record["about"])

    @classmethod
    def from_checkpoint(cls, folder: str | Path, config: ZeroShotConfig | None = None) -> Self:
        """The averaged weights of a training that is not finished, from its newest checkpoint.

        Raises:
            ValueError: the folder holds no checkpoint.
        """
        from trajlab.train import checkpoint

        found = checkpoint.latest(Path(folder))
        if found is None:
            raise ValueError(f"{folder} holds no checkpoint; the folder of a training was wanted")
        tensors, state = checkpoint.load(found)
        config = config or ZeroShotConfig()
        net = CountNetwork(FEATURES, config.width, config.layers)
        net.load_state_dict(tensors["ema"])
        return cls(config, net.eval().requires_grad_(False), {"train": state["config"], "steps": state["step"], "seconds": round(state["elapsed"])})

    def save(self, folder: str | Path, half: bool = True) -> Path:
        """Write weights (as float16, or as they are) and a record beside them."""
        record = {"method": "zero_shot_jumps", "version": trajlab.__version__, "config": asdict(self.config), "features": FEATURES,
                  "about": dict(self.about)}
        return write(folder, record, {name: v.half() if half else v for name, v in self._trained().state_dict().items()})

    def fit(self, prior: PriorConfig, train: TrainConfig | None = None, folder: str | Path | None = None, progress: bool = True) -> Self:
        """Train on processes and data sets of a prior, drawn on the fly; a step sees ``config.groups`` groups of data sets.

        Args:
            prior: over processes and observations.
            train: budget and optimiser; `recipe` where it is left out. Its batch is one (a batch of tasks counts as one sample), in steps.
            folder: for checkpoints; a killed run goes on from there to the same weights.
            progress: show a bar.

        Raises:
            ValueError: the budget is not in steps, or the batch not one.
        """
        train = train or recipe()
        if train.steps is None or train.batch != 1:
            raise ValueError(f"zero-shot training wants TrainConfig(steps=..., batch=1), and got steps={train.steps}, batch={train.batch}")
        from trajlab.train import train as run

        torch.manual_seed(train.seed)
        net = CountNetwork(FEATURES, self.config.width, self.config.layers)
        stream, objective = TaskStream(prior, self.config, train.steps, train.seed), Objective(self.config)
        result = run(net, objective, stream, train, folder, Validation(prior, objective), progress)
        self.net = net.eval().requires_grad_(False)
        self.about = {"prior": asdict(prior), "train": train.to_dict(), "steps": result.step, "seconds": round(result.elapsed),
                      "tasks": "drawn on the fly", "validation": (result.history[-1] if result.history else {}).get("validation", {})}
        return self

    def infer(self, paths: Any) -> ZeroShotAnswer:
        """Rates of one data set of looks at states; irregular times, missing looks and paths of any length are welcome.

        Raises:
            TypeError: something else than `JumpPaths`.
            ValueError: something other than looks at states was observed, or no path has two looks.
        """
        return self.infer_many([paths])[0]

    def infer_many(self, many: Sequence[Any]) -> list[ZeroShotAnswer]:
        """The same for many data sets, those with equally many states in one pass."""
        for paths in many:
            if not isinstance(paths, JumpPaths):
                raise TypeError(f"zero-shot inference wants JumpPaths, and got {type(paths).__name__}; make them from labels, times and paths")
        return self.answers([lag_features(paths) for paths in many], [tuple(paths.names) for paths in many])

    def infer_arrays(self, label: np.ndarray, time: np.ndarray, first: np.ndarray, n_states: int) -> ZeroShotAnswer:
        """The same from plain arrays, the looks of path k being ``first[k] .. first[k + 1]``: for thousands of small data sets."""
        return self.answers([features_of_arrays(label, time, first, n_states)], [()])[0]

    def answers(self, found: Sequence[LagFeatures], names: Sequence[tuple[str, ...]]) -> list[ZeroShotAnswer]:
        """From features that were computed already."""
        net, answers = self._trained(), [None] * len(found)
        for n in sorted({len(f.base) for f in found}):
            mine = [k for k, f in enumerate(found) if len(f.base) == n]
            with torch.inference_mode():
                out = net(torch.from_numpy(np.stack([found[k].pairs for k in mine])))
            for at, k in enumerate(mine):
                answers[k] = _answer(out, at, found[k], names[k])
        return answers

    def _trained(self) -> CountNetwork:
        if self.net is None:
            raise ValueError("this network has no weights; use ZeroShot.load() for the shipped ones, or fit it")
        return self.net


@lru_cache(maxsize=2)
def _shipped(cls: type[ZeroShot]) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the model in .* was trained by trajlab")  # they come with this version, whichever made them
        return cls._read(WEIGHTS)


def recipe(steps: int = 30_000, seed: int = 0, lr: float = 2e-3) -> TrainConfig:
    """Budget and optimiser of the shipped weights."""
    return TrainConfig(steps=steps, batch=1, lr=lr, warmup=100, optimiser="adamw", weight_decay=1e-4, clip=1.0, ema=0.999, seed=seed, log_every=100)


def _answer(out: CountOutputs, at: int, found: LagFeatures, names: tuple[str, ...]) -> ZeroShotAnswer:
    mean, spread, link, rate, noise, initial = (v[at].double() for v in out)
    base, clock = torch.from_numpy(found.base), np.log(found.unit)
    off = ~np.eye(len(found.base), dtype=bool)
    return ZeroShotAnswer(
        from_rates((log_point(base, rate) - clock).exp().numpy()), ((base + mean).numpy() - clock) * off, (0.5 * spread).exp().numpy() * off,
        torch.sigmoid(link).numpy() * off, float(noise_of(float(noise[0]) + NOISE_CENTRE)), torch.softmax(initial, 0).numpy(), names)
