"""How states are seen: which emission a configuration asks for, and whether the data speak for wrong labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from trajlab.dynamics.jumps.emissions import Exactly, Flip
from trajlab.dynamics.jumps.pair_counts import PairCounts, pair_counts
from trajlab.dynamics.jumps.smoothing import Intervals, smooth
from trajlab.models.jumps.markov_jump_config import MarkovJumpConfig
from trajlab.models.jumps.prepare import Prepared
from trajlab.types import JumpPaths

__all__ = ["chosen_emission", "first_states", "flip", "flips_help", "guide"]

START = 0.02  #: level of flips that a fit starts from, where the network says nothing
PRIOR = (20.0, 0.4)  #: pseudo-looks with right and with wrong labels; of each state, where they have a matrix
HARDLY = 1e-4  #: level at which it is asked whether a higher one would be likelier


def chosen_emission(data: Prepared, config: MarkovJumpConfig, network: Any = None) -> Any:
    """The emission to start from, or None where labels are taken as they are.

    Raises:
        ValueError: a signal is there but the noise is one of labels, or the other way round; confusions of labels that there are not.
    """
    noise = config.noise
    if data.signal:
        if noise not in ("auto", "gaussian", "student"):
            raise ValueError(f"noise={noise!r} is about labels, but these paths are seen through a signal; take 'gaussian' or 'student'")
        from trajlab.dynamics.jumps.emissions import GaussianEmission, StudentEmission

        kind = StudentEmission if noise == "student" else GaussianEmission
        return kind.start(data.paths, data.paths.n_states, seed=config.seed, silent=data.dated)
    if noise in ("gaussian", "student"):
        raise ValueError(f"noise={noise!r} needs a signal, but these paths have labels alone; take 'flip' or 'matrix'")
    if noise == "matrix":
        return matrix(data, config)
    if noise == "flip" or config.level is not None or data.clash:
        return flip(data, config, network)
    return Exactly() if data.hidden else None


def flip(data: Prepared, config: MarkovJumpConfig, network: Any = None) -> Flip:
    """Flips of unknown level, or of the level that is known."""
    if config.level is not None:
        return Flip(config.level, fixed=True, certain=data.dated)
    start = START if network is None else float(np.clip(network.eps, 1e-3, 0.3))
    return Flip(start, prior=(0.0, 0.0) if config.method == "mle" else PRIOR, certain=data.dated)


def matrix(data: Prepared, config: MarkovJumpConfig) -> Any:
    """A matrix of the confusions that are allowed. States that are left out, and those entered at known dates, are confused with none."""
    from trajlab.dynamics.jumps.emissions import Misclassification

    n = data.paths.n_states
    for pair in config.confusions or ():
        if len(pair) != 2 or not all(0 <= s < n for s in pair):
            raise ValueError(f"confusions names {pair}; a pair (true, seen) of labels of 0 .. {n - 1} was wanted")
    mask = np.outer(data.seen, data.seen)
    mask[list(data.dated)] = mask[:, list(data.dated)] = False
    if config.confusions is not None:
        allowed = np.zeros((n, n), dtype=bool)
        allowed[tuple(np.array(config.confusions, dtype=np.int64).reshape(-1, 2).T)] = True
        mask &= allowed
    np.fill_diagonal(mask, False)
    if config.method == "mle":
        return Misclassification.start(data.paths, n, seed=config.seed, mask=mask)
    right, wrong = PRIOR
    pseudo = right * np.eye(n) + wrong * mask / np.maximum(mask.sum(1, keepdims=True), 1)
    return Misclassification.start(data.paths, n, seed=config.seed, mask=mask, pseudo=pseudo)


def flips_help(q: np.ndarray, data: Prepared, config: MarkovJumpConfig) -> Flip | None:
    """Flips, where the likelihood of these rates rises with their level from zero on; None where it falls."""
    hardly = Flip(HARDLY, certain=data.dated)
    intervals = Intervals.from_paths(data.paths, config.covariates, config.most_lags)
    initial = first_states(data)
    found = smooth(q, intervals, hardly.likelihood(data.paths), initial)
    return flip(data, config) if np.isfinite(found.loglik) and hardly.score(found.posterior, data.paths)[0] > 0 else None


def first_states(data: Prepared) -> np.ndarray:
    """All states alike that a path may start in: those that are entered at known dates only where a path starts so."""
    path, label = np.asarray(data.paths.path.cpu()), np.asarray(data.paths.label.cpu())
    there = data.seen.copy()
    there[list(data.dated)] = False
    begin = label[np.flatnonzero(np.diff(path, prepend=-1))]
    there[begin[begin >= 0]] = True
    return there / there.sum()


def guide(data: Prepared, emission: Any) -> list[PairCounts]:
    """Pairs of labels, or of the states that a signal suggests: what the clock of the prior, the bounds and the crude start are taken from."""
    if not data.signal:
        return data.counts
    from trajlab.dynamics.jumps.emissions import first_guess

    guessed: JumpPaths = first_guess(data.paths, emission)
    return pair_counts(guessed)
