"""Maps x -> f(x; p): iterated for a batch of starts, compiled, with exact tangents and Lyapunov exponents."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numba as nb
import numpy as np

from trajlab.dynamics import compiled
from trajlab.dynamics.compiled import only
from trajlab.dynamics.dop853 import DIVERGED, DONE, FAR, RHS
from trajlab.dynamics.ode import Solution

__all__ = ["Map", "iterate"]


@dataclass(frozen=True, eq=False)
class Map:
    """A dynamical system in discrete time.

    Attributes:
        function: ``f(x, p) -> next``: ``x[i]`` are the ``dim`` components, ``p`` the flat parameters; returns a sequence of ``dim`` values,
            or a single value where ``dim`` is 1. It may use arithmetic, `math` or `numpy` functions of single components, and other numba functions.
        dim: number of components.
        p: parameters, ``[parameter]`` float64.
        names: of the parameters, for messages.
        name: of the map.
        inverse: ``g(x, p) -> previous``, where there is one.
        derivative: ``d(x, v, p) -> J(x) v``, where it is known in closed form; else by an imaginary step or differences, as in `VectorField`.

    Raises:
        ValueError: no function, or a dimension below 1.
    """

    function: Any
    dim: int
    p: np.ndarray = field(default_factory=lambda: np.zeros(0))
    names: tuple[str, ...] = ()
    name: str = "map"
    inverse: Callable[..., Any] | None = None
    derivative: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"{self.name}: the map must be a function f(x, p), got {type(self.function).__name__}")
        if self.dim < 1:
            raise ValueError(f"{self.name}: dimension {self.dim}; at least 1 was wanted")
        object.__setattr__(self, "p", np.ascontiguousarray(self.p, dtype=np.float64).reshape(-1))

    @cached_property
    def step(self) -> Any:
        """One iteration compiled as ``step(t, x, p, out)``, of type `trajlab.dynamics.dop853.RHS` (t is not used), or None without a compiler."""
        try:
            return compiled.rhs(_timed(self.function, self.dim, self.p), self.dim)
        except compiled.Refused as why:
            warnings.warn(f"{self.name}: numba does not compile the map and the slower vectorised loop is used ({why})", stacklevel=2)
            return None

    @cached_property
    def tangent(self) -> Any:
        """Compiled directional derivatives ``tangent(t, x, v[direction dim], p, out[direction dim])``; see ``derivative``.

        Raises:
            trajlab.dynamics.compiled.Refused: no compiler, or it does not take the function.
        """
        states = np.random.default_rng(0).uniform(0.05, 0.95, (4, self.dim)) * np.array([[1.0], [1.0], [-1.0], [0.5]])
        closed = None if self.derivative is None else _timed_derivative(self.derivative)
        return compiled.tangent(_timed(self.function, self.dim, self.p), self.dim, closed, (states, self.p))

    @cached_property
    def exact(self) -> bool:
        """Whether `tangent` is exact to rounding rather than by central differences."""
        return compiled.is_exact(self.tangent)

    def backward(self) -> Map:
        """The inverse map.

        Raises:
            ValueError: no inverse was given.
        """
        if self.inverse is None:
            raise ValueError(f"{self.name} has no inverse; give one as Map(..., inverse=g) if the map can be inverted")
        return Map(self.inverse, self.dim, self.p, self.names, f"{self.name}, inverse", self.function)

    def __call__(self, x: Any) -> Any:
        """Images ``[dim]`` or ``[batch dim]`` of states of that shape, numpy or torch."""
        function = getattr(self.function, "py_func", self.function)
        after = function(x.T if x.ndim == 2 else x, self.p)
        if self.dim == 1 and not isinstance(after, tuple | list) and np.ndim(after) < x.ndim:
            after = (after,)
        if isinstance(after, np.ndarray):
            return after.T if x.ndim == 2 else after
        return compiled.stacked(after, x)

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v:g}" for k, v in zip(self.names, self.p)) if len(self.names) == len(self.p) <= 8 else f"{len(self.p)} parameters"
        return f"Map({self.name}, {self.dim}-d{', ' + given if given else ''})"


def _timed(function: Callable[..., Any], dim: int, p: np.ndarray) -> Callable[..., Any]:
    """The map with the arguments of a vector field, so that the same compiled types serve it; a single value becomes a tuple."""
    if not compiled.available():
        return function
    import numba as nb

    inner = function if hasattr(function, "py_func") else nb.njit(inspect.unwrap(function))

    @nb.njit
    def several(_t, x, p):  # type: ignore[no-untyped-def]
        return inner(x, p)

    @nb.njit
    def single(_t, x, p):  # type: ignore[no-untyped-def]
        return (inner(x, p),)

    return single if dim == 1 and _scalar(function, p) else several


def _timed_derivative(derivative: Callable[..., Any]) -> Callable[..., Any]:
    import numba as nb

    inner = derivative if hasattr(derivative, "py_func") else nb.njit(inspect.unwrap(derivative))

    @nb.njit
    def timed(_t, x, v, p):  # type: ignore[no-untyped-def]
        return inner(x, v, p)

    return timed


def _scalar(function: Callable[..., Any], p: np.ndarray) -> bool:
    """Whether a map of one dimension returns a bare number."""
    try:
        return np.ndim(getattr(function, "py_func", function)(np.array([0.3]), p)) == 0
    except (TypeError, ValueError, IndexError, ArithmeticError):
        return False


def iterate(map: Map, x0: Any, steps: int, *, failed: str = "raise", workers: int | None = None) -> Solution:
    """Orbits of a batch of starts.

    Args:
        map: the map.
        x0: ``[batch dim]`` or ``[dim]``.
        steps: number of iterations; the orbits hold ``steps + 1`` states, the start first.
        failed: ``"raise"``, or ``"keep"`` to get orbits that leave the range of 1e12, NaN from where they did.
        workers: threads; by default as many as there are processors, where there is enough to do.

    Returns:
        a `Solution` whose times are 0, 1, ..., steps.

    Raises:
        ValueError: shapes disagree, a start is not finite, the number of steps is negative, or (``failed="raise"``) an orbit diverged.
    """
    starts = orbits_from(map, x0, steps)
    if failed not in ("raise", "keep"):
        raise ValueError(f"failed={failed!r}; 'raise' or 'keep' was wanted")
    x = np.full((len(starts), steps + 1, map.dim), np.nan)
    filled = _loop(map, starts, x) if map.step is None else _compiled(map, starts, x, workers)
    short = filled < steps + 1
    solution = Solution(x, np.arange(steps + 1.0), np.where(short, DIVERGED, DONE), filled - 1.0, filled - 1, filled - 1 + short)
    if failed == "raise" and not solution.complete:
        raise ValueError(solution.failures(map.name) + ". Start elsewhere, or pass failed='keep' to get what there is")
    return solution


def orbits_from(map: Map, x0: Any, steps: int) -> np.ndarray:
    """Starts ``[batch dim]``, checked."""
    starts = np.ascontiguousarray(np.atleast_2d(np.asarray(x0, dtype=np.float64)))
    if starts.ndim != 2 or starts.shape[1] != map.dim:
        raise ValueError(f"{map.name}: starts of shape {starts.shape}; [batch {map.dim}] was wanted")
    bad = np.flatnonzero(~np.isfinite(starts).all(1))
    if len(bad):
        raise ValueError(f"{map.name}: {len(bad)} of {len(starts)} starts are not finite (rows {bad[:5].tolist()})")
    if steps < 0:
        raise ValueError(f"{map.name}: {steps} iterations; at least 0 was wanted (an inverse is iterated by map.backward())")
    return starts


@nb.njit(cache=True, nogil=True)
def orbit(step, x0, p, out):  # type: ignore[no-untyped-def]
    """One orbit into ``out[time dim]``; returns the number of states filled."""
    dim = x0.shape[0]
    out[0] = x0
    for k in range(1, out.shape[0]):
        step(float(k), out[k - 1], p, out[k])
        for i in range(dim):
            if not abs(out[k, i]) < FAR:
                return k
    return out.shape[0]


def _compiled(map: Map, starts: np.ndarray, x: np.ndarray, workers: int | None) -> np.ndarray:
    driver = only(orbit, nb.types.FunctionType(RHS), nb.float64[::1], nb.float64[::1], nb.float64[:, ::1])
    filled = np.zeros(len(starts), dtype=int)

    def row(i: int) -> None:
        filled[i] = driver(map.step, starts[i], map.p, x[i])
        x[i, filled[i] :] = np.nan

    over(row, len(starts), x.size, workers)
    return filled


def _loop(map: Map, starts: np.ndarray, x: np.ndarray) -> np.ndarray:
    """All orbits at once, where there is no compiler."""
    filled = np.ones(len(starts), dtype=int)
    x[:, 0] = starts
    live = np.arange(len(starts))
    with np.errstate(all="ignore"):
        for k in range(1, x.shape[1]):
            after = map(x[live, k - 1])
            good = (np.abs(after) < FAR).all(1)
            live = live[good]
            x[live, k] = after[good]
            filled[live] = k + 1
    return filled


def over(row: Callable[[int], None], count: int, size: int, workers: int | None) -> None:
    """Call ``row`` for every row, with threads where they bring more than they cost."""
    threads = min(count, workers or os.cpu_count() or 1)
    if threads == 1 or size < 20_000:
        for i in range(count):
            row(i)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(row, range(count)))
