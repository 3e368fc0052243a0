"""The prior of rates, in the data's own clock, and the crude estimate that fits start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.pair_counts import PairCounts

__all__ = ["RatePrior", "all_links", "crude", "jump_rate_per_link", "rate_prior"]

PLENTY = 20.0  #: label changes for each link from where on the data speak for themselves
STRONG, WEAK = 1.0, 0.1  #: pseudo-jumps of each link before and after that


@dataclass(frozen=True)
class RatePrior:
    """``q_ij ~ Gamma(1 + a_ij, a_ij / centre_ij)``: the prior knowledge of ``a`` jumps seen in the time that they take at the rate ``centre``.

    As a function of log q its mode is ``centre`` (the density of log q has the extra factor q): ``a log q - a q / centre + const``.

    Attributes:
        strength: a, in jumps, ``[state state]`` or one number for all links; 0 is no prior (maximum likelihood).
        centre: 1/time, ``[state state]``; the diagonal is not read.
    """

    strength: Any
    centre: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", np.broadcast_to(np.asarray(self.strength, dtype=np.float64), self.centre.shape).copy())

    def __bool__(self) -> bool:
        return bool(self.strength.any())

    def log_density(self, q: Float[np.ndarray, "state state"], links: Bool[np.ndarray, "state state"]) -> float:
        """Sum over the links of ``a (log(q / centre) + 1 - q / centre)``: zero at the centre."""
        ratio = np.maximum(q[links] / self.centre[links], 1e-300)
        return float((self.strength[links] * (np.log(ratio) + 1 - ratio)).sum())

    def by_log_rate(self, q: Float[np.ndarray, "state state"], links: Bool[np.ndarray, "state state"]) -> Float[np.ndarray, "state state"]:
        """Derivative of `log_density` by each log-rate, ``a (1 - q / centre)``."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(links, self.strength * (1 - q / self.centre), 0.0)

    def mode(self, jumps: Float[np.ndarray, "state state"], time: Float[np.ndarray, "state"],
             links: Bool[np.ndarray, "state state"]) -> Float[np.ndarray, "state state"]:
        """The rates ``(n_ij + a) / (tau_i + a / centre_ij)`` that these jumps and times make most likely, zero off the links."""
        rates = np.zeros_like(jumps)
        pseudo = self.strength / np.where(links, self.centre, 1.0)
        denominator = time[:, None] + pseudo
        np.divide(jumps + self.strength, denominator, out=rates, where=links & (denominator > 0))
        return rates


def all_links(n_states: int) -> Bool[np.ndarray, "state state"]:
    """Every state may jump to every other."""
    return ~np.eye(n_states, dtype=bool)


def jump_rate_per_link(counts: list[PairCounts], links: Bool[np.ndarray, "state state"]) -> float:
    """Label changes a unit of time and link: ``(changes + 1/2) / (total time) / (links of a state)``.

    Where labels change with almost every look the true rate is higher than what is seen; it is a scale, not an estimate.
    """
    time = sum(c.total_time for c in counts)
    per_state = links.sum() / max(int(links.any(1).sum()), 1)
    return (sum(c.changes for c in counts) + 0.5) / time / max(per_state, 1.0)


def rate_prior(counts: list[PairCounts], links: Bool[np.ndarray, "state state"], strength: float | None = None,
               centre: Float[np.ndarray, "state state"] | None = None) -> RatePrior:
    """The default prior: one pseudo-jump for each link where fewer than 20 label changes fall on a link, a tenth of one otherwise."""
    if strength is None:
        strength = STRONG if sum(c.changes for c in counts) < PLENTY * max(int(links.sum()), 1) else WEAK
    scale = jump_rate_per_link(counts, links)
    return RatePrior(strength, np.full(links.shape, scale) if centre is None else centre)


def crude(counts: list[PairCounts], links: Bool[np.ndarray, "state state"]) -> Float[np.ndarray, "state state"]:
    """Label changes over the time that followed a look at the state, a tenth of a change added: biased low where looks are far apart.

    A state that was never watched gets the mean rate of a link.
    """
    changes = sum(c.matrix for c in counts)
    time = sum(c.exposure for c in counts)
    floor = 0.1 / jump_rate_per_link(counts, links)
    return from_rates(np.where(links, (changes + 0.1) / (time + floor)[:, None], 0.0))
