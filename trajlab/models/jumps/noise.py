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

__all__ = ["chosen_emission", "flips_help", "guide"]

START = 0.02  #: level of flips that a fit starts from, where the network says nothing
PRIOR = (20.0, 0.4)  #: pseudo-looks with right and with wrong labels
MATRIX_PRIOR = 20.4  #: pseudo-looks a state, of which 20 are right
HARDLY = 1e-4  #: level at which it is asked whether a higher one would be likelier


def chosen_emission(data: Prepared, config: MarkovJumpConfig, network: Any = None) -> Any:
    """The emission to start from, or None where labels are taken as they are.

    Raises:
        ValueError: a signal is there but the noise is one of labels, or the other way round.
    """
    noise = config.noise
    if data.signal:
        if noise not in ("auto", "gaussian", "student"):
            raise ValueError(f"noise={noise!r} is about labels, but these paths are seen through a signal; take 'gaussian' or 'student'")
        from trajlab.dynamics.jumps.emissions import GaussianEmission, StudentEmission

        kind = StudentEmission if noise == "student" else GaussianEmission
        return kind.start(data.paths, data.paths.n_states, seed=config.seed)
    if noise in ("gaussian", "student"):
        raise ValueError(f"noise={noise!r} needs a signal, but these paths have labels alone; take 'flip' or 'matrix'")
    if noise == "matrix":
        from trajlab.dynamics.jumps.emissions import Misclassification

        return Misclassification.start(data.paths, data.paths.n_states, seed=config.seed)
    if noise == "flip":
        return flip(config, network)
    return Exactly() if data.hidden else None


def flip(config: MarkovJumpConfig, network: Any = None) -> Flip:
    """Flips of unknown level, or of the level that is known."""
    if config.level is not None:
        return Flip(config.level, fixed=True)
    start = START if network is None else float(np.clip(network.eps, 1e-3, 0.3))
    return Flip(start, prior=(0.0, 0.0) if config.method == "mle" else PRIOR)


def flips_help(q: np.ndarray, data: Prepared, config: MarkovJumpConfig) -> Flip | None:
    """Flips, where the likelihood of these rates rises with their level from zero on; None where it falls."""
    hardly = Flip(HARDLY)
    intervals = Intervals.from_paths(data.paths, config.covariates, config.most_lags)
    initial = np.where(data.seen, 1.0, 0.0) / data.seen.sum()
    found = smooth(q, intervals, hardly.likelihood(data.paths), initial)
    return flip(config) if np.isfinite(found.loglik) and hardly.score(found.posterior, data.paths)[0] > 0 else None


def guide(data: Prepared, emission: Any) -> list[PairCounts]:
    """Pairs of labels, or of the states that a signal suggests: what the clock of the prior, the bounds and the crude start are taken from."""
    if not data.signal:
        return data.counts
    from trajlab.dynamics.jumps.emissions import first_guess

    guessed: JumpPaths = first_guess(data.paths, emission)
    return pair_counts(guessed)
