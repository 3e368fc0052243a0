"""A run as data: stages of calls and linear combinations, with coefficients computed once in float64, and the one loop that executes them.

Every update is affine in states, predictions and noise with scalar coefficients, so a run turns, reflects and permutes with its input
exactly, whatever the solver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from trajlab.paths.denoiser import Denoises
from trajlab.paths.gaussian import Level
from trajlab.paths.prediction import Prediction
from trajlab.samplers.hooks import Hook, Step
from trajlab.samplers.noise import RowNoise


@dataclass(frozen=True, slots=True)
class Stage:
    """Call the denoiser on the newest state (if ``level`` is there), then make the next state:

        x_new = sum_i states[i] x_(-1-i) + sum_j predictions[j] m_(-1-j) + noise z

    Attributes:
        to: level of the new state.
        level: where the denoiser is called; None makes no call.
        states: weights of the newest state, the one before, ...; every stage adds one state.
        predictions: weights of the newest prediction, the one before, ...; every call adds one.
        kind: how predictions are read here.
        noise: weight of a fresh standard normal draw.
        node: whether the new state is a node of the grid (hooks' `after_step`, watchers and traces see nodes).

    Weights are floats, or tensors that broadcast against a state where a method needs more than one number.
    """

    to: Level
    level: Level | None
    states: tuple[Any, ...]
    predictions: tuple[Any, ...]
    kind: str = "x0"
    noise: float = 0.0
    node: bool = True


@dataclass(frozen=True)
class Table:
    """A run.

    Attributes:
        start: level of the first state.
        stages: what is done, in order.
    """

    start: Level
    stages: tuple[Stage, ...]

    @property
    def nfe(self) -> int:
        """Calls of the denoiser."""
        return sum(stage.level is not None for stage in self.stages)

    @cached_property
    def depth(self) -> tuple[int, int]:
        """How many states and predictions must be kept."""
        return max(1, *(len(s.states) for s in self.stages)), max(1, *(len(s.predictions) for s in self.stages))

    @cached_property
    def nodes(self) -> int:
        """How many of the new states are nodes."""
        return sum(stage.node for stage in self.stages)

    @cached_property
    def plain(self) -> bool:
        """Whether it begins with a call, and all weights and levels are numbers."""
        numbers = [w for s in self.stages for w in (*s.states, *s.predictions, s.noise)]
        numbers += [w for s in self.stages if s.level is not None for w in (s.level.lam, s.level.alpha, s.level.sigma)]
        return bool(self.stages) and self.stages[0].level is not None and all(isinstance(w, (float, int)) for w in numbers)

    @cached_property
    def programs(self) -> dict[Any, Any]:
        """What `fused` makes of the table, by what a denoiser returns."""
        return {}


@dataclass
class Run:
    """What belongs to one run: who predicts, who may interfere, where noise comes from, who watches.

    Attributes:
        denoiser: the predictor.
        hooks: in the order in which they act.
        noise: random numbers by row.
        mask: shaped to multiply a state, or None.
        condition: handed to the denoiser.
        watch: called at every node.
        nfe: calls so far.
    """

    denoiser: Denoises
    hooks: Sequence[Hook] = ()
    noise: RowNoise = field(default_factory=lambda: RowNoise(None))
    mask: Tensor | None = None
    condition: dict[str, Any] = field(default_factory=dict)
    watch: Callable[[Step], None] | None = None
    nfe: int = 0
    nodes: int = 0

    def predict(self, x: Tensor, level: Level) -> tuple[Tensor, Prediction]:
        """The state, as hooks leave it, and the prediction there."""
        for hook in self.hooks:
            x = self._hidden(hook.before_model(x, level))
        self.nfe += 1
        # Without a state that asks for gradients, a net's parameters must not make a run keep every activation.
        with torch.set_grad_enabled(x.requires_grad and torch.is_grad_enabled()):
            found = self.denoiser(x, level, **self.condition)
        if self.hooks:
            x0 = found.x0
            for hook in self.hooks:
                x0 = hook.on_x0(x0, x, level)
            if x0 is not found.x0:
                found = Prediction(x, level, "x0", self._hidden(x0))
        if self.mask is not None:
            found = Prediction(x, level, "x0", found.x0 * self.mask)
        return x, found

    def draw(self, like: Tensor) -> Tensor:
        """A standard normal draw, as hooks leave it."""
        z = self.noise.normal(like)
        for hook in self.hooks:
            z = hook.noise(z)
        return self._hidden(z)

    def begin(self, x: Tensor, level: Level) -> Tensor:
        """The first state, as hooks leave it."""
        x = self._hidden(x)
        for hook in self.hooks:
            x = self._hidden(hook.start(x, level))
        return x

    def arrived(self, x: Tensor, prediction: Prediction, level: Level) -> Tensor:
        """A new node: hooks may move it, watchers see it."""
        for hook in self.hooks:
            x = self._hidden(hook.after_step(x, prediction, level))
        if self.watch is not None:
            self.watch(Step(self.nodes, level, x, prediction))
        self.nodes += 1
        return x

    def _hidden(self, x: Tensor) -> Tensor:
        return x if self.mask is None else x * self.mask


def execute(table: Table, run: Run, x: Tensor) -> Tensor:
    """Go through the stages from ``x`` at ``table.start``; the sample at the last one's level. By `fused` where that serves."""
    from trajlab.samplers import fused

    x = run.begin(x, table.start)
    return fused.execute(table, run, x) if fused.serves(table, run, x) else loop(table, run, x)


def loop(table: Table, run: Run, x: Tensor) -> Tensor:
    """`execute` after `Run.begin`, for every kind of run."""
    keep_states, keep_predictions = table.depth
    states, predictions = [x], []
    for stage in table.stages:
        if stage.level is not None:
            states[0], found = run.predict(states[0], stage.level)
            predictions.insert(0, found)
            del predictions[keep_predictions:]
        new = combine(stage, states, predictions)
        if stage.noise:
            new = new.add_(run.draw(new), alpha=stage.noise)
        if stage.node:
            new = run.arrived(new, predictions[0], stage.to)
        states.insert(0, new)
        del states[keep_states:]
    return states[0]


def combine(stage: Stage, states: Sequence[Tensor], predictions: Sequence[Prediction]) -> Tensor:
    """The linear combination of a stage, in as few passes as there are terms."""
    out: Tensor | None = None
    for weight, value in zip(stage.states, states):
        out = _added(out, weight, value)
    for weight, prediction in zip(stage.predictions, predictions):
        if not isinstance(weight, float) or weight != 0.0:
            out = _added(out, weight, prediction.view(stage.kind))
    return states[0] * 0 if out is None else out


def _added(out: Tensor | None, weight: Any, value: Tensor) -> Tensor | None:
    if isinstance(weight, float):
        if weight == 0.0:
            return out
        return value * weight if out is None else out.add_(value, alpha=weight)
    weight = weight.to(value)
    return value * weight if out is None else out.addcmul_(weight.expand_as(value), value)
