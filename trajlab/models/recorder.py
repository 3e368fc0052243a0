"""The frames of a roll-out, kept in memory while it runs, and the forecast made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trajlab.models.stepper import Stepper
from trajlab.types import Forecast, Trajectories


class Recorder:
    """Keeps a frame every ``every`` strides, or with 0 the last alone. Nodes of stopped systems hold NaN and are masked.

    A propagator may name entries of its cache in ``records`` (``[node ...]`` each); they are kept beside the positions.
    """

    def __init__(self, run: Stepper, every: int, steps: int, n_nodes: int) -> None:
        self.every = every
        self.room = steps // every - run.step // every if every else 1
        self.steps: list[int] = []
        self.n_nodes = n_nodes
        self.held: dict[str, Tensor] = {}
        self.names: tuple[str, ...] = tuple(getattr(run.propagator, "records", ()))

    def note(self, run: Stepper) -> None:
        """Keep the present frame if it is one to be kept."""
        if self.every and run.step % self.every == 0:
            self._keep(run)

    def finish(self, run: Stepper) -> None:
        """With ``every`` 0, keep the frame at which the run ended."""
        if not self.every and run.step and run.p.n_scenes:
            self._keep(run)

    def _keep(self, run: Stepper) -> None:
        values = {"x": run.p.x, "v": run.p.v, **{name: run.cache[name] for name in self.names if name in run.cache}}
        whole = len(run.nodes) == self.n_nodes
        for name, value in values.items():
            if name not in self.held:
                self.held[name] = value.new_full((self.room, self.n_nodes, *value.shape[1:]), torch.nan)
            if whole:
                self.held[name][len(self.steps)] = value
            else:
                self.held[name][len(self.steps)].index_copy_(0, run.nodes, value)
        self.steps.append(run.step)

    def forecast(self, run: Stepper, past: Trajectories, draws: int, about: Mapping[str, Any], first: int) -> Forecast | None:
        """What was kept so far, or None if nothing was; ``first`` is the stride at which ``past`` ends."""
        n = len(self.steps)
        if not n:
            return None
        made = {name: self._by_draw(value[:n], draws) for name, value in self.held.items()}
        x = made.pop("x")
        mask = torch.isfinite(x).all(3)
        clock = (torch.tensor(self.steps, dtype=torch.float64, device=past.time.device) - first) * run.stride
        return Forecast(x, past, past.time[:, -1:] + clock, mask, {"velocity": made.pop("v"), **made}, stopped=_reasons(run.stopped, draws),
                        provenance=about)

    def _by_draw(self, value: Tensor, draws: int) -> Tensor:
        frames, nodes = value.shape[:2]
        return value.reshape(frames, draws, nodes // draws, *value.shape[2:]).movedim(0, 2).contiguous()


def _reasons(stopped: list[str], draws: int) -> tuple[str, ...]:
    """One reason a scene; with several draws each says which."""
    if draws == 1:
        return tuple(stopped)
    scenes = len(stopped) // draws
    return tuple("; ".join(f"draw {d}: {stopped[d * scenes + s]}" for d in range(draws) if stopped[d * scenes + s]) for s in range(scenes))
