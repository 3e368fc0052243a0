"""The compiled part of Lyapunov spectra: an orbit, its tangent vectors and its divergence as one state, re-orthonormalised as often as is needed.

The state is y = [x, v_1 .. v_k, w] with dx/dt = f, dv/dt = J v and dw/dt = tr J. Error control acts on all of it: the vectors are of length one after
each re-orthonormalisation, so that contraction is resolved even where the orbit itself would allow a longer step. A vector that shrinks below the
tolerance times its fellows is lost in rounding; hence the number of steps between two re-orthonormalisations adapts itself, and a stretch over which
the vectors' growth factors came too far apart is taken again in smaller pieces.
Source: Benettin, Galgani, Giorgilli & Strelcyn, Meccanica 15, 9 (1980).
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from trajlab.dynamics.compiled import only
from trajlab.dynamics.dop853 import DONE, EXTRA, NOT_FINITE, RHS, STAGES, TOO_MANY_STEPS, TOO_SMALL, advance

__all__ = ["augmented", "orthonormalise", "spectrum", "spectrum_driver"]

WIDE, NARROW, TOO_WIDE = 6.0, 3.0, 10.0  #: differences of log growth between two re-orthonormalisations: fewer steps, more steps, once more
LONGEST = 64  #: steps between two re-orthonormalisations, at most
JUMPS = 2_000  #: steps forced over jumps of the field, at most


def augmented(rhs: Any, tangent: Any, dim: int, count: int) -> Any:
    """The right-hand side of orbit, ``count`` tangent vectors and divergence, of type `trajlab.dynamics.dop853.RHS`.

    The Jacobian is formed once per evaluation from its columns; its trace is the divergence, so that both are of the same derivatives.
    """
    first, last = dim, dim + count * dim

    @nb.njit(RHS, nogil=True)
    def whole(t, y, p, out):  # type: ignore[no-untyped-def]
        x = y[:dim]
        rhs(t, x, p, out[:dim])
        columns = np.empty((dim, dim))
        tangent(t, x, np.eye(dim), p, columns)
        trace = 0.0
        for i in range(dim):
            trace += columns[i, i]
        for k in range(count):
            for i in range(dim):
                total = 0.0
                for j in range(dim):
                    total += columns[j, i] * y[first + k * dim + j]
                out[first + k * dim + i] = total
        out[last] = trace

    return whole


@nb.njit(nogil=True)
def orthonormalise(v, logs):  # type: ignore[no-untyped-def]
    """Modified Gram-Schmidt, twice, on the rows of v ``[k dim]``; ``logs[k]`` gets log |R_kk|. Returns whether all of them are finite."""
    count, dim = v.shape
    for k in range(count):
        length = 1.0
        for _ in range(2):
            for j in range(k):
                dot = 0.0
                for i in range(dim):
                    dot += v[j, i] * v[k, i]
                for i in range(dim):
                    v[k, i] -= dot * v[j, i]
            norm = 0.0
            for i in range(dim):
                norm += v[k, i] * v[k, i]
            norm = np.sqrt(norm)
            if not (norm > 0.0 and np.isfinite(norm)):
                return False
            for i in range(dim):
                v[k, i] /= norm
            length *= norm
        logs[k] = np.log(length)
    return True


@nb.njit(cache=True, nogil=True)
def spectrum(whole, y, t, span, p, rtol, atol, most, grown, divergence):  # type: ignore[no-untyped-def]
    """Carry y = [x, v, w] over blocks of length ``span``, one after the other.

    Args:
        whole: of type `RHS`, from `augmented`.
        y: ``[dim + k dim + 1]``, overwritten; the vectors orthonormal.
        most: number of evaluations, at most.
        grown: ``[block k]``, filled with the logarithms of the growth of each vector over each block.
        divergence: ``[block]``, filled with the integrals of the divergence.

    Returns:
        (status, blocks filled, time reached, evaluations)
    """
    blocks, count = grown.shape
    size = y.shape[0]
    dim = (size - 1) // (count + 1)
    slopes, work = np.empty((STAGES + 1 + EXTRA, size)), np.empty((2, size))
    logs, saved = np.empty(count), np.empty(size)
    v = y[dim : size - 1].reshape((count, dim))
    grown[:] = 0.0
    begin, h, steps, calls, jumps = t, 0.0, 1, 0, 0
    for block in range(blocks):
        stop, w = begin + (block + 1) * span, 0.0
        while t != stop:
            if calls >= most:
                return TOO_MANY_STEPS, block, t, calls
            saved[:] = y
            before, tried = t, h
            y[size - 1] = 0.0
            status, t, h, more = advance(whole, t, stop, y, h, p, rtol, atol, steps, slopes, work)
            calls += more
            if status == TOO_SMALL and jumps < JUMPS:  # a jump, where no step is small enough: one of a few roundings of t is taken as it is
                jumps += 1
                tiny = 1e-13 * max(abs(t), 1e-3)
                status, t, h, more = advance(whole, t, t + tiny, y, tiny, p, 1e30, 1e30, 1, slopes, work)
                calls, h = calls + more, 100.0 * tiny
                if status != DONE and status != TOO_MANY_STEPS:
                    return status, block, t, calls
                if t > stop:
                    t = stop
            elif status == DONE:
                t = stop
            elif status != TOO_MANY_STEPS:
                return status, block, t, calls
            if not orthonormalise(v, logs):
                return NOT_FINITE, block, t, calls
            spread = logs.max() - logs.min()
            if spread > TOO_WIDE and steps > 1:
                y[:] = saved
                t, h, steps = before, tried, max(1, steps // 4)
                continue
            w += y[size - 1]
            for k in range(count):
                grown[block, k] += logs[k]
            if spread > WIDE:
                steps = max(1, steps // 2)
            elif spread < NARROW and steps < LONGEST:
                steps += 1
        divergence[block] = w
    return DONE, blocks, t, calls


def spectrum_driver() -> Any:
    """`spectrum`, compiled once for every field."""
    one, f8 = nb.float64[::1], nb.float64
    return only(spectrum, nb.types.FunctionType(RHS), one, f8, f8, one, f8, f8, nb.int64, nb.float64[:, ::1], one)
