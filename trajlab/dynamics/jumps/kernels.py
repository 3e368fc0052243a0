"""Compiled sums: ``exp(q lag)`` and the integral behind the gradient of the likelihood, without a subtraction.

With ``a = q + mu`` and ``mu = max |q_ii|`` all entries are non-negative: ``exp(q h) = exp(-mu h) exp(a h)`` by a Taylor series for a small step
``h``, then by squaring. The integral ``S(t) = int_0^t exp(q^T s) w exp(q^T (t - s)) ds`` follows the same steps, since
``S(2 h) = P^T S + S P^T``. For ``w >= 0`` no term is negative either.
"""

from __future__ import annotations

import numba as nb
import numpy as np

ORDER = 13  #: of the Taylor series; with a step of at most HALF / mu its remainder is below rounding
HALF = 0.5
NEAR = 6  #: states that are fewer jumps apart than this need no squarings for their digits


@nb.njit(cache=True, nogil=True)
def _multiply(a, b, out):
    """``out = a b`` for small matrices; the library is called for large ones."""
    n = a.shape[0]
    if n > 24:
        out[:] = np.dot(a, b)
        return
    for i in range(n):
        for j in range(n):
            out[i, j] = 0.0
        for k in range(n):
            x = a[i, k]
            if x != 0.0:
                for j in range(n):
                    out[i, j] += x * b[k, j]


@nb.njit(cache=True, nogil=True)
def halvings(q, lag):
    """How often a lag is halved until the step is short enough: for the series, and for states that are many jumps apart.

    The series alone reaches no further than ORDER jumps. After s squarings a way of k jumps is mostly made of k / 2^s in each step; with at most two
    of them the probabilities of the longest ways, n - 1 jumps, keep twelve digits of 20 states in a row, and seven of 100.
    """
    n, mu = q.shape[0], 0.0
    for i in range(n):
        mu = max(mu, -q[i, i])
    steps, h = 0, mu * lag
    while h > HALF and steps < 1100:
        h *= 0.5
        steps += 1
    if n > NEAR:
        while 2 * 2**steps < n - 1:
            steps += 1
    return mu, steps


@nb.njit(cache=True, nogil=True)
def powers(q, mu, h, out):
    """``out[k] = (q + mu)^k h^k / k!``, ``[order + 1 state state]``."""
    n = q.shape[0]
    a = q.copy() * h
    for i in range(n):
        a[i, i] += mu * h
        if a[i, i] < 0.0:
            a[i, i] = 0.0
    out[0] = np.eye(n)
    for k in range(1, ORDER + 1):
        _multiply(out[k - 1], a, out[k])
        out[k] /= k


@nb.njit(cache=True, nogil=True)
def levels(q, lag, series):
    """``P(h), P(2 h), ..., P(lag)``, ``[squarings + 1 state state]``; `series` is filled with the powers of the shortest step."""
    mu, steps = halvings(q, lag)
    h = lag / 2.0**steps
    n = q.shape[0]
    powers(q, mu, h, series)
    found = np.zeros((steps + 1, n, n))
    for k in range(ORDER, -1, -1):
        found[0] += series[k]
    found[0] *= np.exp(-mu * h)
    for s in range(steps):
        _multiply(found[s], found[s], found[s + 1])
        for i in range(n):  # rows sum to one; rounding would grow by two with every squaring
            found[s + 1, i] /= found[s + 1, i].sum()
    return found


@nb.njit(cache=True, nogil=True)
def integral(series, found, weight, lag, mu):
    """``int_0^lag exp(q s)^T w exp(q (lag - s))^T ds`` from the powers and levels of the same lag, ``[state state]``.

    Taylor: ``S(h) = exp(-mu h) h sum_{a, b} (A^T)^a w (A^T)^b / (a + b + 1)!`` with ``A = (q + mu) h``; summed by its rows.
    """
    n = weight.shape[0]
    h = lag / 2.0 ** (found.shape[0] - 1)
    # right[a] = sum_b w (A^T)^b a! / (a + b + 1)!  is summed by Horner in the outer index a
    total = np.zeros((n, n))
    scratch = np.zeros((n, n))
    first = np.ascontiguousarray(series[1].T)
    for a in range(ORDER, -1, -1):
        # total <- A^T total + sum_b w (A^T)^b / (a + b + 1)!
        if a < ORDER:
            _multiply(first, total, scratch)
            total[:] = scratch
        mixed = np.zeros((n, n))
        for b in range(ORDER - a + 1):
            factor = 1.0  # b! / (a + b + 1)!
            for k in range(b + 1, a + b + 2):
                factor /= k
            for i in range(n):
                for j in range(n):
                    mixed[i, j] += factor * series[b, j, i]
        _multiply(weight, mixed, scratch)
        total += scratch
    total *= h * np.exp(-mu * h)
    other = np.zeros((n, n))
    for s in range(found.shape[0] - 1):
        p = np.ascontiguousarray(found[s].T)
        _multiply(p, total, scratch)
        _multiply(total, p, other)
        total[:] = scratch + other
    return total


@nb.njit(cache=True, nogil=True)
def transition_blocks(q, lag):
    """``exp(q lag)`` for each lag, ``[lag state state]``."""
    n = q.shape[0]
    series = np.zeros((ORDER + 1, n, n))
    out = np.zeros((len(lag), n, n))
    for m in range(len(lag)):
        found = levels(q, lag[m], series)
        out[m] = found[-1]
    return out


@nb.njit(cache=True, nogil=True)
def panel_gradient(q, lag, first, start, stop, weight, entry):
    """Log-likelihood of weighted pairs of looks and ``D``, its derivative by every entry of the generator taken as free.

    Pairs ``first[m] .. first[m + 1]`` are seen at ``lag[m]``: from ``start`` to ``stop`` with ``weight``; where ``entry`` is set, ``stop`` was
    entered just at the end, from a state that is not known: ``p = sum_{r != stop} P(start, r) q(r, stop)``.

    Returns the log-likelihood (minus infinity where a pair cannot be), D and the number of the first pair that cannot be (-1: none).
    """
    n = q.shape[0]
    series = np.zeros((ORDER + 1, n, n))
    gradient = np.zeros((n, n))
    loglik = 0.0
    for m in range(len(lag)):
        found = levels(q, lag[m], series)
        p = found[-1]
        w = np.zeros((n, n))
        for e in range(first[m], first[m + 1]):
            i, j, c = start[e], stop[e], weight[e]
            if c == 0.0:
                continue
            if not entry[e]:
                if not p[i, j] > 0.0:
                    return -np.inf, gradient, e
                loglik += c * np.log(p[i, j])
                w[i, j] += c / p[i, j]
                continue
            density = 0.0
            for r in range(n):
                if r != j:
                    density += p[i, r] * q[r, j]
            if not density > 0.0:
                return -np.inf, gradient, e
            loglik += c * np.log(density)
            for r in range(n):
                if r != j:
                    w[i, r] += c * q[r, j] / density
                    gradient[r, j] += c * p[i, r] / density
        mu, _ = halvings(q, lag[m])
        gradient += integral(series, found, w, lag[m], mu)
    return loglik, gradient, -1
