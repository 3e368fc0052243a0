"""Stochastic differential equations with one noise for each component: dx = f(t, x) dt + g(t, x) dW, by torchsde, for batches of starts.

torchsde interpolates linearly between its steps, which takes variance from what lies between; here steps end at every time that is asked for. Each
row has its own stream of random numbers, from the seed and its place in the batch, so that a row stays the same when the batch grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np

from trajlab.dynamics.compiled import only
from trajlab.dynamics.dop853 import DIVERGED, FAR, RHS
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.ode import Solution, _monotone, _starts
from trajlab.dynamics.on_tensors import on_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["METHODS", "solve_sde"]

#: methods of torchsde by calculus, the first being the default; strong orders for noise of this kind
METHODS = {"ito": {"srk": 1.5, "milstein": 1.0, "euler": 0.5}, "stratonovich": {"midpoint": 1.0, "heun": 1.0, "milstein": 1.0, "euler_heun": 1.0}}
CHUNK = 256  #: steps for which a row draws its numbers at once


def solve_sde(field: Any, x0: Any, times: Sequence[float] | np.ndarray, *, noise: Any, seed: int = 0, method: str | None = None,
              dt: float | None = None, calculus: str = "ito", failed: str = "raise") -> Solution:
    """Solve dx = f dt + g dW for a batch.

    Args:
        field: the drift: a `VectorField`, or any callable ``f(t, x[batch dim]) -> [batch dim]`` of tensors, such as a module.
        x0: ``[batch dim]`` or ``[dim]``, numpy or torch; a tensor stays on its device, and gradients pass through.
        times: rising.
        noise: strength g: a number, one for each component ``[dim]``, or a function ``g(t, x[batch dim]) -> [batch dim]`` of tensors. In units of x
            per square root of time.
        seed: row i draws from ``numpy.random.default_rng([seed, i])``, the same numbers for every method with the same steps.
        method: "srk" (strong order 1.5), "milstein" (1) or "euler" (1/2) for Ito; "midpoint", "heun", "milstein" or "euler_heun" (all 1) for
            Stratonovich. By default the first.
        dt: longest step; by default a thousandth of the field's period where it has one, else a tenth of the smallest interval between the times.
        calculus: "ito" or "stratonovich"; the same where the noise does not depend on the state.
        failed: ``"raise"``, or ``"keep"`` to get rows that left the range of 1e12, NaN from where they did.

    Returns:
        a `Solution` whose x is of the kind of x0.

    Raises:
        ValueError: shapes disagree, times do not rise, an unknown method or calculus, a step that is not positive, a noise that is not finite, or
            (``failed="raise"``) a row diverged.
        TypeError: the drift cannot be called.
    """
    import torch

    grid = _monotone(times)
    if len(grid) > 1 and grid[1] < grid[0]:
        raise ValueError(f"times fall from {grid[0]:g} to {grid[-1]:g}; a stochastic equation is solved forward in time only")
    method = _chosen(calculus, method)
    if failed not in ("raise", "keep"):
        raise ValueError(f"failed={failed!r}; 'raise' or 'keep' was wanted")
    if not callable(field):
        raise TypeError(f"the drift is a {type(field).__name__}; a VectorField or a function f(t, x[batch dim]) was wanted")
    x = _state(field, x0)
    step = _longest(field, grid, dt)
    problem = _problem(_drift(field, x), _diffusion(noise, x), calculus)
    solution = _solved(problem, x, grid, step, _row_noise(len(x), x.shape[1], seed, x), method, isinstance(x0, torch.Tensor))
    if failed == "raise" and not solution.complete:
        raise ValueError(solution.failures(getattr(field, "name", "drift")) + f". Take a shorter step than dt={step:g}, less noise, or failed='keep'")
    return solution


def _chosen(calculus: str, method: str | None) -> str:
    from trajlab.catalog import unknown

    if calculus not in METHODS:
        raise ValueError(unknown("calculus", calculus, METHODS))
    method = method or next(iter(METHODS[calculus]))
    if method not in METHODS[calculus]:
        raise ValueError(unknown(f"method for {calculus}", method, METHODS[calculus]))
    return method


def _state(field: Any, x0: Any) -> torch.Tensor:
    import torch

    if not isinstance(x0, torch.Tensor):
        if isinstance(field, VectorField):
            return torch.from_numpy(_starts(field, x0))
        x0 = torch.as_tensor(np.asarray(x0, dtype=np.float64))
    x = x0[None] if x0.ndim == 1 else x0
    if x.ndim != 2 or not x.is_floating_point() or not bool(torch.isfinite(x).all()):
        raise ValueError(f"starts of shape {tuple(x0.shape)} and type {x0.dtype}; finite floating-point numbers [batch dim] were wanted")
    return x


def _longest(field: Any, grid: np.ndarray, dt: float | None) -> float:
    if dt is None:
        period = getattr(field, "period", None)
        dt = 1e-3 * period if period else 0.1 * float(np.diff(grid).min(initial=np.inf))
    if not dt > 0:
        raise ValueError(f"dt={dt!r}; a positive step was wanted")
    return dt


def _drift(field: Any, x: torch.Tensor) -> Callable[..., Any]:
    """The drift on a batch: compiled where it can be, else as the field does it."""
    import torch

    if isinstance(field, VectorField) and x.dtype == torch.float64 and x.device.type == "cpu" and not x.requires_grad and field.rhs is not None:
        each = only(batch_rates, nb.types.FunctionType(RHS), nb.float64, nb.float64[:, ::1], nb.float64[::1], nb.float64[:, ::1])
        rhs, p = field.rhs, field.p

        def rates(t: Any, state: torch.Tensor) -> torch.Tensor:
            out = np.empty(tuple(state.shape))
            each(rhs, float(t), np.ascontiguousarray(state.detach().numpy()), p, out)
            return torch.from_numpy(out)

        return rates
    return (lambda t, state: on_tensors(field, float(t), state)) if isinstance(field, VectorField) else field


@nb.njit(cache=True, nogil=True)
def batch_rates(rhs, t, x, p, out):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        rhs(t, x[i], p, out[i])


def _diffusion(noise: Any, x: torch.Tensor) -> Callable[..., Any]:
    import torch

    if callable(noise):
        return noise
    strength = torch.as_tensor(noise, dtype=x.dtype, device=x.device)
    if strength.ndim > 1 or (strength.ndim == 1 and len(strength) != x.shape[1]) or not bool(torch.isfinite(strength).all()):
        raise ValueError(f"noise of shape {tuple(strength.shape)}; a finite number, [{x.shape[1]}] of them, or a function g(t, x) was wanted")
    return lambda _t, state: strength.expand(state.shape)


def _problem(f: Callable[..., Any], g: Callable[..., Any], calculus: str) -> Any:
    import torch

    class Problem(torch.nn.Module):
        noise_type, sde_type = "diagonal", calculus

        def f(self, t: Any, x: Any) -> Any:
            return f(t, x)

        def g(self, t: Any, x: Any) -> Any:
            return g(t, x)

    return Problem()


def _row_noise(count: int, dim: int, seed: int, like: torch.Tensor) -> Any:
    """Brownian increments, each row from its own generator; asked for step after step."""
    import torch
    import torchsde

    class RowNoise(torchsde.BaseBrownian):
        dtype, device, shape, levy_area_approximation = like.dtype, like.device, torch.Size((count, dim)), "space-time"

        def __init__(self) -> None:
            self.generators = [np.random.default_rng([seed, i]) for i in range(count)]
            self.place, self.drawn, self.last, self.answer = CHUNK, np.empty(0), None, None

        def __repr__(self) -> str:
            return f"RowNoise({count}, {dim})"

        def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, **_: Any) -> Any:
            h = float(tb) - float(ta)
            if self.last != (float(ta), float(tb)):
                if self.place == CHUNK:
                    self.drawn = np.stack([g.standard_normal((CHUNK, 2, dim)) for g in self.generators], 2)  # [step 2 row dim]
                    self.place = 0
                w, area = torch.as_tensor(self.drawn[self.place], dtype=like.dtype, device=like.device)
                self.place += 1
                w = h**0.5 * w
                self.last, self.answer = (float(ta), float(tb)), (w, h * (0.5 * w + (h / 12.0) ** 0.5 * area))  # the second: integral of W
            return self.answer if return_U else self.answer[0]

    return RowNoise()


def _solved(problem: Any, x: torch.Tensor, grid: np.ndarray, longest: float, noise: Any, method: str, tensors: bool) -> Solution:
    import torch
    import torchsde

    out, count = [x], len(x)
    status, filled, steps = np.zeros(count, dtype=int), np.ones(count, dtype=int), np.zeros(count, dtype=int)
    for begin, end in zip(grid[:-1].tolist(), grid[1:].tolist()):
        pieces = max(1, int(np.ceil((end - begin) / longest * (1.0 - 1e-9))))
        span = torch.tensor([begin, end], dtype=torch.float64, device=x.device)
        x = torchsde.sdeint(problem, x, span, bm=noise, method=method, dt=(end - begin) / pieces * (1.0 + 1e-9))[-1]
        x = x if tensors else x.detach()
        out.append(x)
        live = status == 0
        steps[live] += pieces
        status[live & ~(x.detach().abs() < FAR).all(1).cpu().numpy()] = DIVERGED
        filled[status == 0] += 1
    states = torch.stack(out, 1)
    early = torch.as_tensor(np.arange(len(grid)) >= filled[:, None], device=x.device)
    states = torch.where(early[..., None], torch.nan, states) if bool(early.any()) else states
    return Solution(states if tensors else states.numpy(), grid, status, grid[filled - 1], steps, steps)
