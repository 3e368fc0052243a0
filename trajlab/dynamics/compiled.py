"""Right-hand sides and their derivatives as compiled functions of one type each, so that one compiled driver serves all of them."""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Refused", "available", "is_exact", "only", "rhs", "stacked", "tangent"]

H = 1e-20  #: imaginary step: far below rounding of x, so that the real part stays what it is
EPSILON = 6e-6  #: relative step of central differences, near the cube root of the rounding error
OFF = "TRAJLAB_NO_COMPILER"  #: environment variable that turns the compiler off


class Refused(Exception):
    """There is no compiler, or it does not take this function."""


def available() -> bool:
    """Whether there is a compiler."""
    if os.environ.get(OFF):
        return False
    try:
        import numba  # noqa: F401
    except ImportError:  # pragma: no cover - numba is a dependency
        return False
    return True


def only(driver: Any, *types: Any) -> Any:
    """The driver, compiled (or read from the disk) for exactly these argument types, so that no right-hand side makes it compile again.

    A right-hand side is of type ``numba.types.FunctionType(RHS)``; left to itself, numba would specialise the driver to every function it is given,
    and keep in its index on the disk a reference to that function's module, which other programs cannot read. Only drivers are kept on the disk, not
    what they call.
    """
    if not driver.signatures:
        try:
            driver.compile(types)
        except (ImportError, AttributeError, EOFError, pickle.UnpicklingError):  # an index that refers to code that is gone: start it anew
            driver._cache.flush()
            driver.compile(types)
        driver.disable_compile()
    return driver


def _jitted(function: Callable[..., Any]) -> Any:
    import numba as nb

    return function if hasattr(function, "py_func") else nb.njit(inspect.unwrap(function))


def _built(make: Callable[[], Any], what: str) -> Any:
    if not available():
        raise Refused("no compiler")
    from numba.core.errors import NumbaError

    try:
        return make()
    except (NumbaError, TypeError, AttributeError, NotImplementedError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Refused(f"{what}: {lines[0][:200]}") from error


def rhs(function: Callable[..., Any], dim: int) -> Any:
    """Compile ``f(t, x, p) -> rates`` as ``rhs(t, x, p, out)``.

    Raises:
        Refused: no compiler, or it does not take the function.
    """

    def make() -> Any:
        import numba as nb

        from trajlab.dynamics.dop853 import RHS

        inner = _jitted(function)

        @nb.njit(RHS, nogil=True)
        def filled(t, x, p, out):  # type: ignore[no-untyped-def]
            rates = inner(t, x, p)
            for i in range(dim):
                out[i] = rates[i]

        return filled

    return _built(make, "right-hand side")


def tangent(function: Callable[..., Any], dim: int, derivative: Callable[..., Any] | None, probe: tuple[np.ndarray, np.ndarray]) -> Any:
    """Compile derivatives along vectors: closed form, else by an imaginary step, else by central differences.

    Args:
        probe: states ``[probe dim]`` and parameters at which an exact derivative must agree with differences.

    Raises:
        Refused: no compiler, or it does not take the function.
    """
    differences = _built(lambda: _differences(function, dim), "differences")
    if derivative is not None:
        return _built(lambda: _closed(derivative, dim), "derivative")
    try:
        exact = _built(lambda: _imaginary(function, dim), "complex right-hand side")
    except Refused:
        return differences
    return exact if _agree(exact, differences, dim, *probe) else differences


def is_exact(compiled: Any) -> bool:
    """Whether these derivatives are exact to rounding."""
    return compiled.py_func.__name__ != "differences"


def _closed(derivative: Callable[..., Any], dim: int) -> Any:
    import numba as nb

    from trajlab.dynamics.dop853 import TANGENT

    inner = _jitted(derivative)

    @nb.njit(TANGENT, nogil=True)
    def closed(t, x, v, p, out):  # type: ignore[no-untyped-def]
        for k in range(v.shape[0]):
            rates = inner(t, x, v[k], p)
            for i in range(dim):
                out[k, i] = rates[i]

    return closed


def _imaginary(function: Callable[..., Any], dim: int) -> Any:
    import numba as nb

    from trajlab.dynamics.dop853 import TANGENT

    inner = _jitted(function)

    @nb.njit(TANGENT, nogil=True)
    def imaginary(t, x, v, p, out):  # type: ignore[no-untyped-def]
        z = np.empty(dim, np.complex128)
        for k in range(v.shape[0]):
            for i in range(dim):
                z[i] = complex(x[i], H * v[k, i])
            rates = inner(t, z, p)
            for i in range(dim):
                out[k, i] = (rates[i] + 0j).imag / H

    return imaginary


def _differences(function: Callable[..., Any], dim: int) -> Any:
    import numba as nb

    from trajlab.dynamics.dop853 import TANGENT

    inner = _jitted(function)

    @nb.njit(TANGENT, nogil=True)
    def differences(t, x, v, p, out):  # type: ignore[no-untyped-def]
        up, down = np.empty(dim), np.empty(dim)
        for k in range(v.shape[0]):
            ratio = 1e-300
            for i in range(dim):  # each component moves in proportion to itself: a phase that has grown large must not coarsen the others
                ratio = max(ratio, abs(v[k, i]) / max(1.0, abs(x[i])))
            h = EPSILON / ratio
            for i in range(dim):
                up[i] = x[i] + h * v[k, i]
                down[i] = x[i] - h * v[k, i]
            above, below = inner(t, up, p), inner(t, down, p)
            for i in range(dim):
                out[k, i] = (above[i] - below[i]) / (2.0 * h)

    return differences


def _agree(exact: Any, differences: Any, dim: int, states: np.ndarray, p: np.ndarray) -> bool:
    """An imaginary step is silently wrong through abs and the like, which drop or keep imaginary parts as they please, and through powers above 2 of
    negative numbers, whose compiled code goes by the angle. So states of other signs and sizes are probed too;
    where the function itself is not finite there,
    they say nothing."""
    one, two, eye = np.empty((dim, dim)), np.empty((dim, dim)), np.eye(dim)
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=states.shape)
    for state in np.concatenate([states, -states, signs * states, 0.1 * states]):
        exact(0.37, state, eye, p, one)
        differences(0.37, state, eye, p, two)
        good = np.isfinite(two)
        if not np.allclose(one[good], two[good], rtol=1e-4, atol=1e-5 * max(1.0, np.abs(two[good]).max(initial=0.0))):
            return False
    return True


def stacked(rates: Any, like: Any) -> Any:
    """A sequence of rates as one array of the kind and shape of ``like``, components last."""
    if isinstance(like, np.ndarray):
        shape = like.shape[:-1]
        return np.stack([np.broadcast_to(np.asarray(r, dtype=np.float64), shape) for r in rates], -1)
    import torch

    return torch.stack([torch.as_tensor(r, dtype=like.dtype, device=like.device).expand(like.shape[:-1]) for r in rates], -1)
