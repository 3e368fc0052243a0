"""Estimators of Markov jump processes side by side: each answers the same paths, timed, and a failure is an answer too."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.evaluate.jumps_peers import PEERS
from trajlab.models.jumps.markov_jump import MarkovJump
from trajlab.models.jumps.markov_jump_config import MarkovJumpConfig
from trajlab.models.jumps.rate_prior import all_links, crude, jump_rate_per_link
from trajlab.models.jumps.zero_shot import ZeroShot
from trajlab.types import JumpPaths

__all__ = ["AUTO", "CRUDE", "MAP", "MLE", "NETWORK", "Guess", "Method", "answered", "by_network", "completed", "methods", "ours", "plain"]

CRUDE, MLE, MAP, NETWORK, AUTO = "crude estimate", "MLE", "MAP-EM", "network alone", "network + refinement (auto)"

EM = {"start": "crude", "optimiser": "em", "tolerance": 1e-8}  #: expectation and maximisation proper, from the crude estimate

#: Paths in; a generator and the level of flips (None where labels are taken as they are) out.
Method = Callable[[JumpPaths], tuple[np.ndarray, float | None]]


@dataclass(frozen=True)
class Guess:
    """What one estimator said of one set of paths.

    Attributes:
        q: the generator, ``[state state]``; None where it failed.
        level: estimated probability that a label is replaced, or None.
        seconds: CPU time of the process.
        failed: why there is no answer.
    """

    q: np.ndarray | None
    level: float | None
    seconds: float
    failed: str = ""


def answered(method: Method, paths: JumpPaths) -> Guess:
    """The answer of a method and its CPU seconds; what it raises is kept as a sentence. Warnings are not shown: they are part of the answer."""
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            q, level = method(paths)
        spent, why = time.process_time() - began, "" if np.isfinite(q).all() else "rates that are not finite"
    except (ValueError, RuntimeError, ArithmeticError, np.linalg.LinAlgError) as error:
        return Guess(None, None, time.process_time() - began, " ".join(str(error).split()) or type(error).__name__)
    return Guess(None if why else np.asarray(q, dtype=np.float64), level, spent, why)


def ours(**settings: Any) -> Method:
    """`MarkovJump` with these settings as a method."""

    def infer(paths: JumpPaths) -> tuple[np.ndarray, float | None]:
        fit = MarkovJump(MarkovJumpConfig(**settings)).infer(paths)
        return fit.generator, fit.level

    return infer


def by_network(paths: JumpPaths) -> tuple[np.ndarray, float | None]:
    """The network's own answer, also about states that no look saw."""
    found = ZeroShot.load().infer(paths)
    return found.generator, found.eps


def completed(q: Float[np.ndarray, "state state"], paths: JumpPaths) -> Float[np.ndarray, "state state"]:
    """Rates from and to states that no look saw, where an answer leaves all of them at zero: what one pseudo-jump at the mean rate of a link makes
    of them.

    Into such a state j ``1 / (tau_i + 1 / r)``, tau the time after looks at i and r label changes a unit of time and link; out of it r. It is the
    same for every method: nothing is known of these rates, and zeros would cost more than all else.
    """
    counts, links = pair_counts(paths), all_links(paths.n_states)
    unseen = np.bincount(np.asarray(paths.label), minlength=paths.n_states) == 0
    silent = unseen & ~np.any(np.where(links, q, 0.0) > 0, axis=0) & ~np.any(np.where(links, q, 0.0) > 0, axis=1)
    guess = 1 / (sum(c.exposure for c in counts) + 1 / jump_rate_per_link(counts, links))
    return from_rates(np.where(links & (silent[:, None] | silent), guess[:, None], q))


def plain(paths: JumpPaths) -> tuple[np.ndarray, float | None]:
    """Changes of label over the time that follows a look."""
    return crude(pair_counts(paths), all_links(paths.n_states)), None


def methods(noisy: bool, peers: bool = True) -> Mapping[str, Method]:
    """The rows of every table, ours first. All are told how many states there are, whether a look names them or not.

    MLE and MAP-EM start from the crude estimate and are told whether labels are flipped, not how often; where they are, both are shown without the
    noise model too. The network and what refines it are told nothing.
    """
    noise, all_there = "flip" if noisy else "none", {"unseen": "keep"}
    found: dict[str, Method] = {CRUDE: plain, MLE: ours(method="mle", noise=noise, start="crude", **all_there),
                                MAP: ours(method="map", noise=noise, **EM, **all_there)}
    if noisy:
        found |= {f"{MLE}, no noise model": ours(method="mle", noise="none", start="crude", **all_there),
                  f"{MAP}, no noise model": ours(method="map", noise="none", **EM, **all_there)}
    found |= {NETWORK: by_network, AUTO: ours(method="auto", **all_there)}
    return found | (dict(PEERS) if peers else {})
