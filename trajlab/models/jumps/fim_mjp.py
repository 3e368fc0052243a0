"""Foundation inference for Markov jump processes as published: `FIMMJP`.

Kept as a record, and to compare with. What is published (Berghaus et al., arXiv 2406.06419, 2024, and its released code): the task, the network and
its sizes, the normalisation of time, the loss, the optimiser, the split of many paths with the average of the generators. What is ours: the prior is
`JumpPrior`, since the generating code is not public; clocks are shifted to their own origin first (published: absolute times, so that an offset
changes the answer); the diagonal of the answer is minus the sum of its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float

import trajlab
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.lag_features import looks
from trajlab.models.jumps.fim_mjp_config import FIMMJPConfig
from trajlab.models.jumps.fim_mjp_fit import FIMObjective, FIMStream, padded
from trajlab.models.model_files import read, write
from trajlab.nets.fim_mjp import FIMMJPNet
from trajlab.sources.jump_prior_config import PriorConfig
from trajlab.train.config import TrainConfig
from trajlab.types import JumpPaths

__all__ = ["FIMMJP", "FIMAnswer"]


@dataclass(frozen=True)
class FIMAnswer:
    """Attributes:
    generator: mean of the rates, in one over the unit of the data's clock, ``[state state]``; rows sum to zero.
    std: their standard deviations, zero on the diagonal, ``[state state]``.
    initial: distribution of the first state, ``[state]``.
    """

    generator: Float[np.ndarray, "state state"]
    std: Float[np.ndarray, "state state"]
    initial: Float[np.ndarray, "state"]


@dataclass
class FIMMJP:
    """A recurrent network reads every path, attention pools them, perceptrons say the rates; see the head of the file for what is ours.

    Times are divided by the largest one, c; a rate is ``exp(head) / c``. More than ``config.paths`` paths are split into equal parts, and the
    generators averaged, which is biased where parts are small; fewer states than six use the first ones.

    Example: ``FIMMJP(FIMMJPConfig()).fit(PriorConfig.published()).infer(paths).generator``; a step takes minutes of a CPU.
    """

    config: FIMMJPConfig = field(default_factory=FIMMJPConfig)
    net: FIMMJPNet | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def fit(self, prior: PriorConfig, train: TrainConfig | None = None, folder: str | Path | None = None, progress: bool = True) -> Self:
        """Train on data sets of a prior, drawn on the fly.

        Args:
            prior: over processes; of at most ``config.states`` states.
            train: budget in steps and optimiser, batch 1 (a batch of ``config.batch`` processes counts as one sample); `recipe` where left out.
            folder: for checkpoints; a killed run goes on from there.
            progress: show a bar.

        Raises:
            ValueError: the prior has more states than the network, the budget is not in steps, or the batch is not one.
        """
        from trajlab.train import train as run

        train = train or recipe()
        if max(prior.states) > self.config.states:
            raise ValueError(f"the prior has up to {max(prior.states)} states, the network {self.config.states}; use fewer, or ZeroShot")
        if train.steps is None or train.batch != 1:
            raise ValueError(f"FIMMJP wants TrainConfig(steps=..., batch=1), and got steps={train.steps}, batch={train.batch}")
        torch.manual_seed(train.seed)
        net = self._built()
        result = run(net, FIMObjective(self.config), FIMStream(prior, self.config, train.steps, train.seed), train, folder, progress=progress)
        self.net = net.eval().requires_grad_(False)
        self.about = {"prior": asdict(prior), "train": train.to_dict(), "steps": result.step, "seconds": round(result.elapsed)}
        return self

    def infer(self, paths: JumpPaths) -> FIMAnswer:
        """Rates of one data set of looks at states.

        Raises:
            TypeError: something else than `JumpPaths`.
            ValueError: too many states, something other than looks, no time that passes, or no weights.
        """
        if not isinstance(paths, JumpPaths):
            raise TypeError(f"FIMMJP wants JumpPaths, and got {type(paths).__name__}")
        if self.net is None:
            raise ValueError("this network has no weights; fit it, or load what save wrote")
        n = paths.n_states
        if n > self.config.states:
            raise ValueError(f"{n} states are more than the {self.config.states} that this network has; ZeroShot takes any number")
        label, time, first = looks(paths)
        label, time, length = padded(label, time, first)
        clock = time.max()
        if not clock > 0:
            raise ValueError("no time passes between the looks of any path, so nothing is known of rates")
        parts = -(-len(label) // self.config.paths)
        found = [self._part(label[k], time[k] / clock, length[k]) for k in np.array_split(np.arange(len(label)), parts)]
        mean, std, initial = (np.mean(values, 0) for values in zip(*found, strict=True))
        return FIMAnswer(from_rates(mean[:n, :n] / clock), std[:n, :n] / clock, initial[:n] / initial[:n].sum())

    def _part(self, label: np.ndarray, time: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with torch.inference_mode():
            out = self.net(torch.from_numpy(label)[None], torch.from_numpy(time.astype(np.float32))[None], torch.from_numpy(length)[None])
        off = ~np.eye(self.config.states, dtype=bool)
        mean, std = (v[0].double().exp().numpy() * off for v in (out.log_mean, out.log_std))
        return mean, std, out.initial[0].double().softmax(-1).numpy()

    def _built(self) -> FIMMJPNet:
        c = self.config
        return FIMMJPNet(c.states, c.hidden, c.queries, c.attention, c.perceptron)

    def save(self, folder: str | Path) -> Path:
        """Write weights and a record beside them."""
        if self.net is None:
            raise ValueError("there are no weights to save; fit first")
        return write(folder, {"method": "fim_mjp", "version": trajlab.__version__, "config": asdict(self.config), "about": dict(self.about)},
                     self.net.state_dict())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What `save` wrote.

        Raises:
            ValueError: the folder holds no such weights.
        """
        record, tensors, config = read(folder, "fim_mjp", FIMMJPConfig)
        model = cls(config, about=record["about"])
        net = model._built()
        net.load_state_dict(tensors)
        model.net = net.eval().requires_grad_(False)
        return model


def recipe(steps: int = 100_000, seed: int = 0) -> TrainConfig:
    """The published optimiser; its budget was up to 5 000 passes over 45 000 processes."""
    return TrainConfig(steps=steps, batch=1, lr=1e-3, warmup=50, optimiser="adamw", weight_decay=1e-4, clip=None, ema=0.0, seed=seed)
