"""The alternation of bridge step and reference step, with acceleration, a damped way back where a reference blows up, and the stopping rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.linear_noise import Diverged
from trajlab.models.acceleration import extrapolated, likelihood_step
from trajlab.models.bridge_evidence import Evidence, Interval
from trajlab.models.bridge_step import bridge_step
from trajlab.models.family import Family
from trajlab.models.reference_families import Brownian
from trajlab.models.sbirr_config import SchrodingerBridgeConfig

__all__ = ["Refined", "Step", "refine"]

WARM = 2  #: reference steps before an acceleration, which must not start from Brownian motion
SHORTER = 3  #: lengths of an extrapolation that are tried
HALVINGS = 6  #: of a reference step that makes the process blow up


@dataclass(frozen=True, eq=False)
class Step:
    """One iteration.

    Attributes:
        objective: KL of the bridge from the reference, up to a constant; it falls as far as the linear-noise law is exact.
        score: energy distance to the snapshot held out, None where none was.
        error: largest marginal error of the plans.
        theta: parameters of the reference of this iteration; empty for the Brownian motion at the start of families that have no better one.
        how: it was reached: ``start``, ``drift`` (the reference step), ``likelihood`` or ``extrapolated``.
    """

    objective: float
    score: float | None
    error: float
    theta: Tensor
    how: str


@dataclass(frozen=True, eq=False)
class Refined:
    """The iterate of lowest objective (of best score where there is a judge), all steps, and whether the parameters settled."""

    evidence: Evidence
    theta: Tensor
    history: list[Step]
    converged: bool
    last: tuple[Tensor, Evidence]  # whatever its objective

    @property
    def chosen(self) -> int:
        """The number of the iterate."""
        return min(range(len(self.history)), key=lambda k: _figure(self.history[k]))


def refine(family: Family, D: Float[Tensor, "dim dim"], intervals: Sequence[Interval], config: SchrodingerBridgeConfig,
           iterations: int, judge: Callable[[Evidence], float] | None = None) -> Refined:
    """Alternate.

    Args:
        family: of references.
        D: diffusion.
        intervals: neighbouring snapshots, scaled.
        config: of the bridge.
        iterations: at most.
        judge: scores an iterate, lower is better; without it the objective decides and stops.

    Raises:
        Diverged: the first reference blows up, or every shortened reference step does.
    """
    theta, how, rising, settled, accelerate = family.start(intervals, D), "start", 0, False, config.acceleration
    evidence = bridge_step(_reference(family, theta, D), intervals, config)
    history: list[Step] = []
    kept: tuple[Evidence, Tensor | None] = evidence, theta
    last: list[Tensor] = []  # thetas of unbroken reference steps
    while True:
        history.append(Step(evidence.objective, None if judge is None else judge(evidence), max(plan.error for plan in evidence.plans),
                            torch.zeros(0, dtype=torch.float64) if theta is None else theta, how))
        if _figure(history[-1]) <= min(_figure(step) for step in history):
            kept = evidence, theta
        rising = rising + 1 if len(history) > 1 and evidence.objective > history[-2].objective else 0
        if len(history) > iterations or settled or (judge is None and rising >= config.patience):
            break
        how = "drift"
        if accelerate == "likelihood" and theta is not None and len(history) > WARM:
            how, new = "likelihood", likelihood_step(evidence, family, theta)
        else:
            new = family.refit(evidence, theta)
        settled = theta is not None and bool(((new - theta).abs() <= config.settle * theta.abs().clamp(min=config.settle)).all())
        old, before = evidence, evidence.plans if len(history) > WARM else None
        theta, evidence = _damped(family, theta, new, old, config, before)
        settled = settled or (how == "likelihood" and old.objective - evidence.objective < config.settle)
        last = [*last[-2:], theta] if how == "drift" else []
        if accelerate == "squarem" and len(last) == 3 and not settled and len(history) + 1 <= iterations:
            jump = _jumped(family, last, evidence, config)
            last = []
            if jump is None:
                accelerate = "none"  # close to the solution the jumps only overshoot
            else:
                (theta, evidence), how = jump, "extrapolated"
    best = kept[1] if kept[1] is not None else torch.zeros(0, dtype=torch.float64)
    return Refined(kept[0], best, history, settled, (history[-1].theta, evidence))


def _figure(step: Step) -> float:
    return step.objective if step.score is None else step.score


def _reference(family: Family, theta: Tensor | None, D: Tensor) -> object:
    return Brownian().reference(torch.zeros(0), D) if theta is None else family.reference(theta, D)


def _damped(family: Family, theta: Tensor | None, new: Tensor, old: Evidence, config: SchrodingerBridgeConfig,
            before: Sequence[object] | None) -> tuple[Tensor, Evidence]:
    """The bridge step of the new reference; where that blows up, of one on the way to it."""
    for _ in range(HALVINGS):
        try:
            return new, bridge_step(family.reference(new, old.reference.D), old.intervals, config, before)
        except Diverged:
            if theta is None:
                raise
            new = (new + theta) / 2
    return new, bridge_step(family.reference(new, old.reference.D), old.intervals, config, before)


def _jumped(family: Family, last: list[Tensor], evidence: Evidence, config: SchrodingerBridgeConfig) -> tuple[Tensor, Evidence] | None:
    """The extrapolation from three iterates, if the objective does not rise by it, else a shorter one."""
    for shortened in range(SHORTER):
        theta = family.bound(extrapolated(*(family.free(one) for one in last), shortened))
        try:
            found = bridge_step(family.reference(theta, evidence.reference.D), evidence.intervals, config, evidence.plans)
        except Diverged:
            continue
        if found.objective <= evidence.objective:
            return theta, found
    return None
