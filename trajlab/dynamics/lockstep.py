"""DOP853 in lockstep: all rows of a batch share their steps, as numpy arrays or torch tensors of any device.

It is used where there is no compiler, and for tensors, through which it can be differentiated: every operation on states is one of the array library,
and the sizes of the steps are plain numbers that no gradient passes through. The error norm is the largest of the rows', so that each row keeps the
tolerance; the shared steps make rows depend on their batch mates, but only within it. Method and coefficients: `trajlab.dynamics.dop853`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float64

from trajlab.dynamics.dop853 import (
    _A,
    _C,
    _D,
    _E3,
    _E5,
    DIVERGED,
    DONE,
    EXPONENT,
    EXTRA,
    FAR,
    GROW,
    NOT_FINITE,
    SAFETY,
    SHRINK,
    STAGES,
    TOO_MANY_STEPS,
    TOO_SMALL,
)
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.ode import Solution
from trajlab.dynamics.on_tensors import on_tensors

__all__ = ["at", "march", "solve_arrays", "solve_tensors"]

Slope = Callable[[float, Any], Any]


@dataclass
class Rows:
    """How far each row of a batch has come."""

    count: int
    status: np.ndarray = field(init=False)
    reached: np.ndarray = field(init=False)
    filled: np.ndarray = field(init=False)
    steps: np.ndarray = field(init=False)
    calls: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.status, self.filled, self.steps, self.calls = np.zeros((4, self.count), dtype=int)
        self.reached = np.zeros(self.count)

    @property
    def live(self) -> np.ndarray:
        return self.status == DONE

    def end(self, which: np.ndarray, status: int) -> None:
        self.status[which & self.live] = status


@dataclass(frozen=True)
class Control:
    """What a march keeps to: tolerances, the number of steps, times at which steps must end, and how long one may be."""

    rtol: float
    atol: float
    most: int
    stops: Sequence[float] = ()
    longest: float = np.inf
    fixed: float = 0.0


def solve_arrays(field: VectorField, starts: Float64[np.ndarray, "batch dim"], grid: Float64[np.ndarray, "time"], rtol: float, atol: float,
                 most: int) -> Solution:
    """Integrate a batch of numpy arrays; called by `trajlab.dynamics.ode.solve` where there is no compiler.

    Args:
        starts: ``[batch dim]``.
        grid: times, rising or falling.
    """
    with np.errstate(all="ignore"):
        return march(_vectorised(field, starts, grid[0]), starts, grid, Control(rtol, atol, most))


def solve_tensors(field: Any, x0: Any, grid: np.ndarray, rtol: float, atol: float, most: int) -> Solution:
    """Integrate a batch of tensors, differentiably; called by `trajlab.dynamics.ode.solve`.

    Args:
        field: ``f(t, x[batch dim]) -> rates[batch dim]``, for example a module; t is a tensor without axes. Or a `VectorField`, see `on_tensors`.
        x0: ``[batch dim]`` or ``[dim]``, float32 or float64. In float32, tolerances below 100 roundings, 1.2e-5, are raised to that.
        grid: times, rising or falling.

    Raises:
        TypeError: x0 is no tensor, or the field cannot be called, or is a `VectorField` whose function does not take batches.
        ValueError: x0 is not of a floating-point type, has no or more than two axes, or is not finite; or rates have another shape than the state.
    """
    import torch

    if not isinstance(x0, torch.Tensor) or not callable(field):
        raise TypeError(f"a field f(t, x) and a tensor were wanted, got {type(field).__name__} and {type(x0).__name__}")
    if x0.dtype not in (torch.float32, torch.float64) or x0.ndim not in (1, 2):
        raise ValueError(f"starts of type {x0.dtype} and shape {tuple(x0.shape)}; float32 or float64 and [batch dim] were wanted")
    x = x0 if x0.ndim == 2 else x0[None]
    bad = (~torch.isfinite(x.detach()).all(1)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"{len(bad)} of {len(x)} starts are not finite (rows {bad[:5]})")

    def slope(t: float, state: Any) -> Any:
        rates = on_tensors(field, t, state) if isinstance(field, VectorField) else field(torch.tensor(t, dtype=x.dtype, device=x.device), state)
        if rates.shape != state.shape:
            raise ValueError(f"the field returned rates of shape {tuple(rates.shape)} for states of shape {tuple(state.shape)}; the same was wanted")
        return rates

    least = 100.0 * torch.finfo(x.dtype).eps
    return march(slope, x, grid, Control(max(rtol, least), max(atol, least if x.dtype == torch.float32 else 0.0), most))


def _vectorised(field: VectorField, starts: np.ndarray, t: float) -> Slope:
    """The field on a batch at once, or row by row where its function branches on single values."""
    try:
        field(t, starts[:2].repeat(2, 0))
    except (TypeError, ValueError):
        return lambda t, x: np.stack([field(t, row) for row in x])
    return field


def march(slope: Slope, x: Any, grid: np.ndarray, control: Control, keep: Callable[..., None] | None = None) -> Solution:
    """All rows from ``grid[0]`` to ``grid[-1]``.

    Args:
        slope: ``f(t, x[batch dim]) -> rates[batch dim]``.
        x: ``[batch dim]``, array or tensor.
        grid: times, rising or falling.
        keep: called with (t, h, x, table) of each accepted step.
    """
    xp = _library(x)
    rows, sign = Rows(len(x)), (1.0 if grid[-1] >= grid[0] else -1.0)
    t, out, first = float(grid[0]), [x], slope(float(grid[0]), x)
    calls = 1
    h = good = control.fixed or _first_step(slope, t, x, first, sign * min(abs(grid[-1] - t), control.longest), control, xp)
    failed = False
    ends = [*(s for s in control.stops if s > t), float(grid[-1])]
    while len(out) < len(grid) and rows.live.any():
        while len(ends) > 1 and ends[0] <= t:
            ends.pop(0)
        step, cut = _cut(min(h, control.longest), abs(ends[0] - t), bool(control.fixed))
        new, slopes = _attempt(slope, t, x, sign * step, first)
        calls += STAGES
        rows.steps[rows.live] += 1
        errors = np.where(rows.live, _errors(x, new, step, slopes, control, xp), 0.0)
        worst = float(errors.max(initial=0.0))
        if worst > 1.0 and not (control.fixed and np.isfinite(worst)):
            failed = True
            h = 0.25 * step if not np.isfinite(worst) else step * max(SHRINK, SAFETY * worst ** (-EXPONENT))
            if h < 1e-15 * max(abs(t), 1e-3) or control.fixed:
                rows.end(~np.isfinite(errors), NOT_FINITE)
                rows.end(errors > 1.0, TOO_SMALL)
                h = good
            continue
        after = ends[0] if cut else t + sign * step
        new = xp.where(_like(rows.live[:, None], x), new, x) if not rows.live.all() else new
        if keep is not None or sign * grid[len(out)] <= sign * after:
            table = _interpolant(slope, t, x, sign * step, new, slopes)
            calls += EXTRA
            if keep is not None:
                keep(t, step, x, table)
            while len(out) < len(grid) and sign * grid[len(out)] <= sign * after:
                out.append(at(x, table, (float(grid[len(out)]) - t) / (sign * step)))
        t, x, first = after, new, slopes[STAGES]
        rows.reached[rows.live], rows.filled[rows.live], rows.calls[rows.live] = t, len(out), calls
        rows.end(~(_plain(xp.abs(x)) < FAR).all(1), DIVERGED)
        if rows.steps.max() >= control.most and len(out) < len(grid):
            rows.end(rows.live, TOO_MANY_STEPS)
        factor = GROW if worst == 0.0 else min(GROW, max(SHRINK, SAFETY * worst ** (-EXPONENT)))
        grown = step * (min(1.0, factor) if failed else factor)
        h = good = control.fixed or (max(h, grown) if cut and not failed else grown)
        failed = False
    return _solution(out, grid, rows, xp)


def _cut(h: float, left: float, fixed: bool) -> tuple[float, bool]:
    """The step that fits into what is left, and whether it ends there; two equal ones rather than a long and a tiny one."""
    if h >= left * (1.0 - 1e-12):
        return left, True
    return (h if fixed or h <= 0.5 * left else 0.5 * left), False


def _solution(out: list[Any], grid: np.ndarray, rows: Rows, xp: ModuleType) -> Solution:
    out = out + [out[-1]] * (len(grid) - len(out))
    x = xp.stack(out, 1)
    rows.filled = np.where(rows.live, len(grid), np.maximum(rows.filled, 1))
    early = np.arange(len(grid)) >= rows.filled[:, None]
    if early.any():
        x = xp.where(_like(early[..., None], x), np.nan, x)
    if len(grid) == 1:
        rows.reached[:] = grid[0]
    return Solution(x, grid, rows.status, rows.reached, rows.steps, rows.calls)


def _library(x: Any) -> ModuleType:
    if isinstance(x, np.ndarray):
        return np
    import torch

    return torch


def _plain(x: Any) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else x.detach().cpu().numpy()


def _like(mask: np.ndarray, x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return mask
    import torch

    return torch.as_tensor(mask, device=x.device)


def _combined(weights: np.ndarray, slopes: list[Any]) -> Any:
    terms = [float(w) * k for w, k in zip(weights, slopes) if w != 0.0]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _attempt(slope: Slope, t: float, x: Any, h: float, first: Any) -> tuple[Any, list[Any]]:
    """One step: the new state and the 13 slopes."""
    slopes = [first]
    for s in range(1, STAGES + 1):
        point = x + h * _combined(_A[s], slopes)
        slopes.append(slope(t + float(_C[s]) * h, point))
    return point, slopes


def _errors(x: Any, new: Any, h: float, slopes: list[Any], control: Control, xp: ModuleType) -> np.ndarray:
    """Norm of the local error of each row in units of the tolerance, ``[batch]``; infinite where it is not finite."""
    x, new, slopes = (x, new, slopes) if xp is np else (x.detach(), new.detach(), [k.detach() for k in slopes])
    scale = control.atol + control.rtol * xp.maximum(xp.abs(x), xp.abs(new))
    five = _plain(((_combined(_E5, slopes) / scale) ** 2).sum(-1)).astype(np.float64)
    three = _plain(((_combined(_E3, slopes) / scale) ** 2).sum(-1)).astype(np.float64)
    with np.errstate(all="ignore"):
        norm = h * five / np.sqrt((five + 0.01 * three) * x.shape[1])
    norm[(five == 0.0) & (three == 0.0)] = 0.0
    return np.where(np.isfinite(norm), norm, np.inf)


def _interpolant(slope: Slope, t: float, x: Any, h: float, new: Any, slopes: list[Any]) -> list[Any]:
    """The seven coefficients of the interpolant of order 7 over a step."""
    slopes = list(slopes)
    for s in range(STAGES + 1, STAGES + 1 + EXTRA):
        slopes.append(slope(t + float(_C[s]) * h, x + h * _combined(_A[s], slopes)))
    delta = new - x
    return [delta, h * slopes[0] - delta, 2.0 * delta - h * (slopes[STAGES] + slopes[0]), *(h * _combined(_D[k], slopes) for k in range(4))]


def at(x: Any, table: Any, place: float) -> Any:
    """The interpolant at a place from 0 to 1 within the step from x; ``table`` holds its seven coefficients."""
    value = 0.0
    for k in range(7):
        value = (value + table[6 - k]) * (place if k % 2 == 0 else 1.0 - place)
    return x + value


def _first_step(slope: Slope, t: float, x: Any, first: Any, span: float, control: Control, xp: ModuleType) -> float:
    """A first step that suits all rows, by the size of the slope and of its change (Hairer et al., II.4)."""
    x, first = (x, first) if xp is np else (x.detach(), first.detach())
    scale = control.atol + control.rtol * xp.abs(x)

    def norm(v: Any) -> np.ndarray:
        return np.sqrt(_plain(((v / scale) ** 2).mean(-1)).astype(np.float64))

    d0, d1 = norm(x), norm(first)
    with np.errstate(all="ignore"):
        h = np.where((d0 < 1e-5) | (d1 < 1e-5) | ~np.isfinite(d1), 1e-6, 0.01 * d0 / d1).min(initial=abs(span))
        ahead = slope(t + np.sign(span) * h, x + float(np.sign(span) * h) * first)
        d2 = norm((ahead if xp is np else ahead.detach()) - first) / max(h, 1e-300)
        top = np.maximum(d1, d2)
        better = np.where(top <= 1e-15, max(1e-6, h * 1e-3), (0.01 / top) ** EXPONENT)
    better = better[np.isfinite(better)]
    return float(min(100.0 * h, better.min(initial=np.inf), abs(span)))
