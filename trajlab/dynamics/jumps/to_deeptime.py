"""A generator as a Markov state model of deeptime, at any lag."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.catalog import need
from trajlab.dynamics.jumps.cycles import detailed_balance
from trajlab.dynamics.jumps.elimination import stack
from trajlab.dynamics.jumps.generator import stationary, transition

__all__ = ["to_deeptime"]


def to_deeptime(q: Float[np.ndarray, "state state"], lag: float, time_step: float = 1.0) -> Any:
    """deeptime's ``MarkovStateModel`` with transition matrix ``exp(q lag)``.

    Args:
        q: rates.
        lag: in the unit of time of the rates.
        time_step: length of a frame in that unit; the model's ``lagtime``, and the timescales and passage times that it reports, are then in frames.
            1 keeps the unit of the rates.

    Raises:
        ImportError: deeptime is not installed.
        ValueError: this is no generator, or the lag or time step is not positive.
    """
    q = stack(q)
    if q.ndim != 2:
        raise ValueError(f"the generator has shape {q.shape}; one of [state state] was wanted: deeptime models have one transition matrix")
    if not 0 < lag < np.inf or not 0 < time_step < np.inf:
        raise ValueError(f"a lag of {lag:g} with time steps of {time_step:g} was asked for; both must be positive")
    msm = need("deeptime.markov.msm", "dev", "the export to a deeptime model")
    reversible = len(q) == 1 or detailed_balance(q).holds
    return msm.MarkovStateModel(transition(q, np.array(float(lag))), stationary_distribution=stationary(q), reversible=reversible,
                                lagtime=lag / time_step)
