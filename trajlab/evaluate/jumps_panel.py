"""Panel data with deaths of known date: log-likelihoods beside those that R's msm documents for its heart-transplant data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from trajlab.data.adapters.jump_tables import read_jumps
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.models.jumps.markov_jump import MarkovJump
from trajlab.models.jumps.markov_jump_config import MarkovJumpConfig
from trajlab.types import JumpPaths

__all__ = ["LINKS", "Panel", "heart_transplants", "panel_figures", "starting_rates"]

#: jumps that the documented model allows: three grades, up and down, and death
LINKS = ((0, 1), (0, 3), (1, 0), (1, 2), (1, 3), (2, 1), (2, 3))


@dataclass(frozen=True)
class Panel:
    """Figures of one panel data set.

    Attributes:
        start: -2 log-likelihood at the documented starting rates.
        optimum: the same at the maximum, all lags kept.
        q: the generator there.
        seconds: CPU seconds of the fit.
    """

    start: float
    optimum: float
    q: Float[np.ndarray, "state state"]
    seconds: float


def heart_transplants(folder: str | Path) -> JumpPaths:
    """Angiograms of 622 heart-transplant patients (Sharples et al. 2003), ``cav.csv`` of that folder; state 4 is death, of known date.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return read_jumps(Path(folder) / "cav.csv", subject="PTNUM", time="years", state="state", death=4)


def starting_rates() -> Float[np.ndarray, "state state"]:
    """The starting rates in msm's manual (Jackson 2011, Journal of Statistical Software 38, 8)."""
    q = np.zeros((4, 4))
    for (i, j), rate in zip(LINKS, (0.25, 0.25, 0.166, 0.166, 0.166, 0.25, 0.25)):
        q[i, j] = rate
    return from_rates(q)


def panel_figures(paths: JumpPaths, links: Sequence[tuple[int, int]] = LINKS) -> Panel:
    """Log-likelihoods at the documented start and at the optimum, and what the fit took (one fit before it, to compile)."""
    start = sum(evaluate(starting_rates(), counts).loglik for counts in pair_counts(paths, most_lags=None))
    config = MarkovJumpConfig(method="mle", noise="none", links=tuple(links), most_lags=None)
    MarkovJump(config).infer(paths)
    began = time.process_time()
    fit = MarkovJump(config).infer(paths)
    return Panel(-2 * start, -2 * fit.loglik, fit.generator, time.process_time() - began)
