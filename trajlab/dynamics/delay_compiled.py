"""Right-hand sides with delays, and with their tangents, as compiled functions of one type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trajlab.dynamics.compiled import EPSILON, H, Refused, _built, _jitted

__all__ = ["agree", "delayed_rhs", "linearised_rhs"]


def _uniform(function: Callable[..., Any], single: bool) -> Any:
    """The function with ``delayed[delay dim]`` also where there is one delay only."""
    import numba as nb

    inner = _jitted(function)
    if not single:
        return inner

    @nb.njit
    def first(t, x, delayed, p):  # type: ignore[no-untyped-def]
        return inner(t, x, delayed[0], p)

    return first


def delayed_rhs(function: Callable[..., Any], dim: int, single: bool) -> Any:
    """Compile ``f(t, x, delayed, p) -> rates`` as ``rhs(t, x, delayed, p, out)`` of type `trajlab.dynamics.delay_driver.DELAYED`.

    Raises:
        Refused: no compiler, or it does not take the function.
    """

    def make() -> Any:
        import numba as nb

        from trajlab.dynamics.delay_driver import DELAYED

        inner = _uniform(function, single)

        @nb.njit(DELAYED, nogil=True)
        def filled(t, x, delayed, p, out):  # type: ignore[no-untyped-def]
            rates = inner(t, x, delayed, p)
            for i in range(dim):
                out[i] = rates[i]

        return filled

    return _built(make, "right-hand side with delays")


def linearised_rhs(function: Callable[..., Any], dim: int, single: bool) -> tuple[Any, Any]:
    """The system together with any number of its linearisations, as one system of states [x, y1, y2, ...].

    Returns:
        two compiled functions of type `DELAYED`: with derivatives by an imaginary step, exact to rounding where the function is analytic (None where
        it does not take complex numbers), and by central differences. See `agree`.

    Raises:
        Refused: no compiler, or it does not take the function.
    """
    differences = _built(lambda: _differences(_uniform(function, single), dim), "differences")
    try:
        return _built(lambda: _imaginary(_uniform(function, single), dim), "complex right-hand side"), differences
    except Refused:
        return None, differences


def _imaginary(inner: Any, dim: int) -> Any:
    import numba as nb

    from trajlab.dynamics.delay_driver import DELAYED

    @nb.njit(DELAYED, nogil=True)
    def imaginary(t, x, delayed, p, out):  # type: ignore[no-untyped-def]
        rates = inner(t, x[:dim], delayed[:, :dim], p)
        for i in range(dim):
            out[i] = rates[i]
        z, past = np.empty(dim, np.complex128), np.empty((delayed.shape[0], dim), np.complex128)
        for k in range(1, x.shape[0] // dim):
            for i in range(dim):
                z[i] = complex(x[i], H * x[k * dim + i])
                for d in range(delayed.shape[0]):
                    past[d, i] = complex(delayed[d, i], H * delayed[d, k * dim + i])
            slopes = inner(t, z, past, p)
            for i in range(dim):
                out[k * dim + i] = (slopes[i] + 0j).imag / H

    return imaginary


def _differences(inner: Any, dim: int) -> Any:
    import numba as nb

    from trajlab.dynamics.delay_driver import DELAYED

    @nb.njit(DELAYED, nogil=True)
    def differences(t, x, delayed, p, out):  # type: ignore[no-untyped-def]
        rates = inner(t, x[:dim].copy(), delayed[:, :dim].copy(), p)
        for i in range(dim):
            out[i] = rates[i]
        z, past = np.empty(dim), np.empty((delayed.shape[0], dim))
        for k in range(1, x.shape[0] // dim):
            size, length = 1.0, 1e-300
            for i in range(dim):
                size, length = max(size, abs(x[i])), max(length, abs(x[k * dim + i]))
                for d in range(delayed.shape[0]):
                    size, length = max(size, abs(delayed[d, i])), max(length, abs(delayed[d, k * dim + i]))
            h = EPSILON * size / length
            for side in (1.0, -1.0):
                for i in range(dim):
                    z[i] = x[i] + side * h * x[k * dim + i]
                    for d in range(delayed.shape[0]):
                        past[d, i] = delayed[d, i] + side * h * delayed[d, k * dim + i]
                slopes = inner(t, z, past, p)
                for i in range(dim):
                    out[k * dim + i] = slopes[i] / (2.0 * h) if side > 0.0 else out[k * dim + i] - slopes[i] / (2.0 * h)

    return differences


def agree(exact: Any, differences: Any, x: np.ndarray, delayed: np.ndarray, p: np.ndarray) -> bool:
    """Whether two linearisations are the same at a state: an imaginary step is silently wrong through abs and roots of negative numbers.

    Args:
        x, delayed: ``[dim]`` and ``[delay dim]``; the direction is 1 in all components.
    """
    x, delayed = np.concatenate([x, np.ones_like(x)]), np.concatenate([delayed, np.ones_like(delayed)], -1)
    one, two = np.empty(len(x)), np.empty(len(x))
    exact(0.37, x, delayed, p, one)
    differences(0.37, x, delayed, p, two)
    return np.allclose(one, two, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(two).max())))
