"""Rates in detailed balance: ``q_ij = s_ij sqrt(pi_j / pi_i)`` with s symmetric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from trajlab.models.jumps.parameters import LogRates, allowed_links, link_name, state_names

__all__ = ["reversible_rates"]


def reversible_rates(n_states: int, mask: Any = None, stationary: Any = None, names: Sequence[str] = ()) -> LogRates:
    """Log-rates of a process in detailed balance, ``log q_ij = log s_ij + (log pi_j - log pi_i) / 2``.

    The parameters are log s of each pair of linked states and ``log(pi_k / pi_0)``, k = 1, 2, ...; where `stationary` is given, log s alone (as in
    Kalbfleisch and Lawless 1985, with the constraint built in). States without a link are left out, and 0 stands for the first that has one.

    Args:
        n_states: number of states.
        mask: where jumps may happen, ``[state state]``, symmetric, connecting all states that have a link; everywhere, where it is None.
        stationary: the stationary distribution, where it is known, ``[state]``, all positive.
        names: of the states.

    Raises:
        ValueError: the mask is not symmetric or falls into parts, or the stationary distribution has zeros or another length.
    """
    allowed = allowed_links(n_states, mask)
    states = state_names(n_states, names)
    if (allowed != allowed.T).any():
        i, j = np.argwhere(allowed & ~allowed.T)[0]
        raise ValueError(f"the mask allows {link_name((i, j), states)} but not its reverse; in detailed balance a link goes both ways")
    _connected(allowed, states)
    pairs = np.argwhere(np.triu(allowed))
    links = np.concatenate([pairs, pairs[:, ::-1]])
    at, pair = np.arange(len(links)), np.tile(np.arange(len(pairs)), 2)
    entries = [(np.ones(len(links)), at, pair)]
    offset = np.zeros(len(links))
    labels = [link_name(p, states, "<->") for p in pairs]
    if stationary is None:
        linked = np.flatnonzero(allowed.any(1))
        for end, half in ((links[:, 1], 0.5), (links[:, 0], -0.5)):
            place = np.searchsorted(linked, end)
            free = place > 0
            entries.append((np.full(free.sum(), half), at[free], len(pairs) + place[free] - 1))
        labels += [f"log pi_{states[s]}" for s in linked[1:]]
    else:
        pi = np.asarray(stationary, dtype=np.float64)
        if pi.shape != (n_states,) or not (pi > 0).all() or not np.isfinite(pi).all():
            raise ValueError(f"the stationary distribution is {pi.tolist()}; {n_states} positive numbers were wanted")
        offset = (np.log(pi[links[:, 1]]) - np.log(pi[links[:, 0]])) / 2
    value, row, column = (np.concatenate(v) for v in zip(*entries, strict=True))
    base = csr_array((value, (row, column)), shape=(len(links), len(labels)))
    kind = ("rate",) * len(pairs) + ("ratio",) * (len(labels) - len(pairs))
    return LogRates(n_states, tuple(labels), links, offset, base, csr_array((len(links), 0)), np.zeros(0, dtype=np.int64), (),
                    np.ones(len(links), dtype=bool), kind)


def _connected(allowed: np.ndarray, states: Sequence[str]) -> None:
    reached = ~allowed.any(1)
    first = int(np.argmin(reached))
    reached[first] = True
    for _ in range(len(allowed)):
        reached |= allowed[reached].any(0)
    if not reached.all():
        lost = states[int(np.argmin(reached))]
        raise ValueError(f"no links lead from state {states[first]} to state {lost}, so that their probabilities cannot be compared; connect them")
