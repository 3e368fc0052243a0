"""Compiled forward and backward sums over the hidden states of paths that are looked at now and then.

An interval between two observations has one of four kinds, by what is known of it:

- `SOFT`: nothing; the step is ``P(dt)``, or ``P(dt) (q - diag q)`` where the state was entered just at its end. Such matrices are shared by all
  intervals of one lag and kind and come in a table.
- `JUMP`: no jump but one at the end; the step is ``exp(q_ii dt) q_ij``, i != j.
- `STAY`: no jump; the step is ``exp(q_ii dt)`` on the diagonal.
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np

SOFT, JUMP, STAY = 0, 1, 2


class Steps(NamedTuple):
    """Observations of path p are ``first[p] .. first[p + 1]``; the rest describes the interval that ends at an observation, ``[obs]``."""

    first: np.ndarray
    kind: np.ndarray
    kernel: np.ndarray
    group: np.ndarray
    lag: np.ndarray


class Law(NamedTuple):
    """Tables of step matrices and of their transposes, ``[kernel state state]``, generators ``[group state state]``, start ``[path or 1, state]``."""

    table: np.ndarray
    turned: np.ndarray
    q: np.ndarray
    initial: np.ndarray


class Looks(NamedTuple):
    """Likelihood of each state at observation l: ``rows[index[l]]``."""

    rows: np.ndarray
    index: np.ndarray


@nb.njit(cache=True, nogil=True)
def _exact_weights(kind, q, lag, a, v, out):
    """``out_i = exp(q_ii lag - shift) sum_j step_ij v_j`` for steps that are known exactly, where ``a_i > 0``; returns the shift.

    The shift is the largest exponent that counts, so that a long stay does not underflow.
    """
    n = len(a)
    shift = -np.inf
    for i in range(n):
        total = 0.0
        if a[i] > 0.0:
            if kind == STAY:
                total = v[i]
            else:
                for j in range(n):
                    if j != i:
                        total += q[i, j] * v[j]
        out[i] = total
        if total > 0.0:
            shift = max(shift, q[i, i] * lag)
    if shift == -np.inf:
        return 0.0
    for i in range(n):
        if out[i] > 0.0:
            out[i] *= np.exp(q[i, i] * lag - shift)
    return shift


@nb.njit(cache=True, nogil=True)
def _exact_forward(kind, q, lag, a, e, out, scratch):
    """``out_j = sum_i a_i step_ij e_j`` times ``exp(-shift)``; returns the shift."""
    n = len(a)
    shift = _exact_weights(kind, q, lag, a, e, scratch)
    for j in range(n):
        out[j] = 0.0
    for i in range(n):
        if scratch[i] > 0.0:
            x = a[i] * np.exp(q[i, i] * lag - shift)
            if kind == STAY:
                out[i] = x * e[i]
            else:
                for j in range(n):
                    if j != i:
                        out[j] += x * q[i, j] * e[j]
    return shift


@nb.njit(cache=True, nogil=True)
def _forward(steps, begin, end, start, law, looks, alpha, scratch):
    """Normalised forward weights of one path into ``alpha``; returns its log-likelihood and the first observation that cannot be (-1: none)."""
    n = alpha.shape[1]
    loglik, product = 0.0, 1.0
    for t in range(begin, end):
        e = looks.rows[looks.index[t]]
        now = alpha[t]
        total = 0.0
        if t == begin:
            for j in range(n):
                now[j] = start[j] * e[j]
                total += now[j]
        elif steps.kind[t] == SOFT:
            before = alpha[t - 1]
            p = law.table[steps.kernel[t]]
            for j in range(n):
                scratch[j] = 0.0
            for i in range(n):
                x = before[i]
                if x != 0.0:
                    for j in range(n):
                        scratch[j] += x * p[i, j]
            for j in range(n):
                now[j] = scratch[j] * e[j]
                total += now[j]
        else:
            loglik += _exact_forward(steps.kind[t], law.q[steps.group[t]], steps.lag[t], alpha[t - 1], e, now, scratch)
            for j in range(n):
                total += now[j]
        if not (total > 0.0 and total < np.inf):
            return -np.inf, t
        scale = 1.0 / total
        for j in range(n):
            now[j] *= scale
        if 1e-100 < total < 1e100:  # one logarithm for many observations
            product *= total
            if not 1e-150 < product < 1e150:
                loglik += np.log(product)
                product = 1.0
        else:
            loglik += np.log(total)
    return loglik + np.log(product), -1


@nb.njit(cache=True, nogil=True)
def _backward(steps, begin, end, law, looks, posterior, pull, known, scratch):
    """Turns the forward weights of one path into posterior probabilities; adds up what the intervals hold.

    ``pull[kernel, i, j]`` gains ``alpha_i v_j / sum``: expected steps i -> j divided by the step's probability, the weights of its derivative.
    ``known[group, i, j]`` gains expected jumps of the exact intervals, and on its diagonal the expected time in state i.
    """
    n = posterior.shape[1]
    v, b = scratch[0], scratch[1]
    for j in range(n):
        b[j] = 1.0
    for t in range(end - 1, begin, -1):
        e = looks.rows[looks.index[t]]
        a = posterior[t - 1]
        for j in range(n):
            v[j] = e[j] * b[j]
        soft = steps.kind[t] == SOFT
        if soft:
            back = law.turned[steps.kernel[t]]
            for i in range(n):
                b[i] = 0.0
            for j in range(n):
                x = v[j]
                if x != 0.0:
                    for i in range(n):
                        b[i] += x * back[j, i]
            shift = 0.0
        else:
            shift = _exact_weights(steps.kind[t], law.q[steps.group[t]], steps.lag[t], a, v, b)
        total, top = 0.0, 0.0
        for i in range(n):
            total += a[i] * b[i]
            top = max(top, b[i])
        if not total > 0.0:  # forward and backward weights share no state within the range of numbers
            for i in range(n):
                b[i] = 1.0
            continue
        scale = 1.0 / total
        if soft:
            w = pull[steps.kernel[t]]
            for i in range(n):
                x = a[i] * scale
                if x != 0.0:
                    for j in range(n):
                        w[i, j] += x * v[j]
        else:
            _exact_counts(steps.kind[t], law.q[steps.group[t]], steps.lag[t], shift, a, v, scale, known[steps.group[t]])
        top = 1.0 / top
        for i in range(n):
            a[i] *= b[i] * scale
            b[i] *= top


@nb.njit(cache=True, nogil=True)
def _exact_counts(kind, q, lag, shift, a, v, scale, known):
    n = len(a)
    for i in range(n):
        if a[i] > 0.0:
            x = a[i] * scale * np.exp(min(q[i, i] * lag - shift, 700.0))
            if kind == STAY:
                known[i, i] += lag * x * v[i] if v[i] > 0.0 else 0.0
            else:
                for j in range(n):
                    if j != i and q[i, j] * v[j] > 0.0:
                        share = x * q[i, j] * v[j]
                        known[i, j] += share
                        known[i, i] += lag * share


@nb.njit(cache=True, nogil=True)
def sweep(steps, begin, end, law, looks, posterior, pull, known):
    """Forward and backward over the paths ``begin .. end``; returns their log-likelihood and the first observation that cannot be (-1: none)."""
    n = posterior.shape[1]
    scratch = np.zeros((2, n))
    loglik = 0.0
    for path in range(begin, end):
        start = law.initial[path if len(law.initial) > 1 else 0]
        lo, hi = steps.first[path], steps.first[path + 1]
        found, bad = _forward(steps, lo, hi, start, law, looks, posterior, scratch[0])
        if bad >= 0:
            return -np.inf, bad
        loglik += found
        _backward(steps, lo, hi, law, looks, posterior, pull, known, scratch)
    return loglik, -1
