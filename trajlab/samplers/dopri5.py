"""The pair of Dormand and Prince (1980) with a step for each row, so that a row does not depend on its batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.paths.bridge import spread
from trajlab.samplers.ode import Field, Flow, Tableau, combined, sum_of

#: Dormand & Prince 1980: the last inner point is the step itself, so its slope opens the next step.
DORMAND_PRINCE = Tableau(
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    5,
)
#: Weights of the fifth-order step less those of the embedded fourth-order one.
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


@dataclass(frozen=True)
class Control:
    """How an adaptive integrator chooses its steps.

    The error of a row is the root mean square over its numbers, compared with ``atol + rtol rms(x)``: one scale for all components, so that
    a turned, reflected or permuted sample takes the same steps.

    Attributes:
        rtol, atol: tolerances of a step.
        first: length of the first step; chosen from the field if None (one more call).
        most: tried steps after which a row is given up.

    Raises:
        ValueError: a tolerance, a step or the bound is not positive.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    first: float | None = None
    most: int = 10_000

    def __post_init__(self) -> None:
        if not (self.rtol >= 0 and self.atol > 0):
            raise ValueError(f"rtol={self.rtol:g}, atol={self.atol:g} came; rtol must not be negative and atol must be positive")
        if self.most < 1 or (self.first is not None and not self.first > 0):
            raise ValueError(f"first={self.first}, most={self.most} came; both must be positive")


def rms(x: Tensor, count: Tensor | None = None) -> Float[Tensor, " batch"]:
    """Root mean square of every row, float64; over ``count`` numbers where not all are there."""
    square = x.reshape(len(x), -1).double().square().sum(1)
    return (square / (count if count is not None else max(1, x[0].numel()))).sqrt()


#: Error of a row in units of what is allowed: ``norm(error, x, new) -> [batch]``.
Norm = Callable[[Tensor, Tensor, Tensor], Tensor]


def tolerated(control: Control, count: Tensor | None = None) -> Norm:
    """The norm that `Control` describes."""

    def norm(error: Tensor, x: Tensor, new: Tensor) -> Tensor:
        return rms(error, count) / (control.atol + control.rtol * torch.maximum(rms(x, count), rms(new, count)))

    return norm


@dataclass
class Front:
    """How far each row of a batch has come: state, slope there, place, length of the next step, tried steps."""

    x: Tensor
    slope: Tensor
    t: Tensor
    h: Tensor
    steps: Int[Tensor, " batch"]


def dopri5(field: Field, x: Float[Tensor, "batch *event"], start: float | Tensor, stop: float | Tensor, control: Control = Control(), *,
           norm: Norm | None = None, drop: bool = False) -> Flow:
    """dx/dt = field(x, t) by the pair of Dormand and Prince (1980), each row with steps of its own: a row does not depend on its batch.

    Args:
        field: ``field(x, t) -> velocity``; x ``[batch ...]``, t ``[batch]`` float64.
        x: the state at ``start``.
        start, stop: times, one number or one a row; backwards where stop < start.
        control: tolerances and bounds.
        norm: error of a row in units of what is allowed, ``norm(error, x, new) -> [batch]``; that of ``control`` if None.
        drop: call the field on the rows that still run, packed, rather than on all. Only for fields that take any rows (no masks and no
            condition inside them).

    Raises:
        RuntimeError: a row took ``control.most`` steps, or its step became too short to move; the field is stiff or not finite there.
    """
    norm = norm or tolerated(control)
    calls = 0

    def evaluate(point: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        return point, field(point, t)

    begin, end = (torch.as_tensor(w, dtype=torch.float64, device=x.device).expand(len(x)) for w in (start, stop))
    front = advance(evaluate, opened(evaluate, x, begin, end, control, norm), end, control, norm, drop)
    return Flow(front.x, calls, front.steps)


def opened(evaluate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], x: Tensor, start: Tensor, stop: Tensor, control: Control,
           norm: Norm) -> Front:
    """The front at the start, with the first step after Hairer, Norsett & Wanner 1993 (II.4)."""
    x, slope = evaluate(x, start)
    span = stop - start
    steps = torch.zeros(len(x), dtype=torch.long, device=x.device)
    if control.first is not None:
        return Front(x, slope, start, torch.full_like(span, control.first).minimum(span.abs()), steps)
    size, speed = norm(x, x, x), norm(slope, x, x)
    h = torch.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed, torch.full_like(size, 1e-6)).minimum(span.abs())
    signed = torch.copysign(h, span)
    _, ahead = evaluate(combined(x, [slope], [1.0], signed), start + signed)
    bend = torch.maximum(speed, norm(ahead - slope, x, x) / h.clamp(min=1e-300))
    guess = torch.where(bend > 1e-15, (0.01 / bend.clamp(min=1e-300)) ** 0.2, torch.maximum(h * 1e-3, torch.full_like(h, 1e-6)))
    return Front(x, slope, start, torch.minimum(100 * h, guess).minimum(span.abs()), steps)


def advance(evaluate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], front: Front, stop: Tensor, control: Control, norm: Norm,
            drop: bool = False) -> Front:
    """Bring every row to its ``stop``. ``evaluate`` gives (the state as it leaves it, slope)."""
    running = front.t != stop
    while bool(running.any()):
        if drop and not bool(running.all()):
            rows = running.nonzero()[:, 0]
            part = Front(*(getattr(front, name)[rows] for name in ("x", "slope", "t", "h", "steps")))
            part = _step(evaluate, part, stop[rows], control, norm)
            front = Front(*(getattr(front, name).index_copy(0, rows, getattr(part, name)) for name in ("x", "slope", "t", "h", "steps")))
        else:
            front = _step(evaluate, front, stop, control, norm)
        running = front.t != stop
    return front


def _step(evaluate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], front: Front, stop: Tensor, control: Control, norm: Norm) -> Front:
    """One tried step of every row that is not there yet; the others are called along and stay."""
    left = stop - front.t
    last = front.h >= left.abs() * (1 - 1e-9)  # a sliver left over would cost a whole step
    h = torch.where(last, left, torch.copysign(front.h, left))
    slopes, point, place = [front.slope], front.x, front.t
    for weights, c in zip(DORMAND_PRINCE.a, DORMAND_PRINCE.c[1:]):
        place = torch.where(last, stop, front.t + h) if c == 1.0 else front.t + c * h
        point, slope = evaluate(combined(front.x, slopes, weights, h), place)
        slopes.append(slope)
    error = norm(spread(h, point) * sum_of(slopes, ERROR), front.x, point)
    active = left != 0
    good = active & (error <= 1)
    factor = (0.9 * error.clamp(min=1e-10) ** -0.2).nan_to_num(0.2, 10.0, 0.2).clamp(0.2, 10.0)
    factor = torch.where(good, factor, factor.clamp(max=1.0))
    steps = front.steps + active
    _moving(front, h, good | ~active, steps, control)
    # A last step may have been cut short by the stop: its length is no verdict on the step that was planned.
    length = torch.where(good & last, torch.maximum(front.h, h.abs() * factor), h.abs() * factor)
    keep = spread(good, point).bool() if point.ndim > 1 else good
    return Front(torch.where(keep, point, front.x), torch.where(keep, slopes[-1], front.slope), torch.where(good, place, front.t),
                 torch.where(active, length, front.h), steps)


def _moving(front: Front, h: Tensor, fine: Tensor, steps: Tensor, control: Control) -> None:
    """Refuse rows that get nowhere."""
    stuck = ~fine & ((steps >= control.most) | (h.abs() <= 16 * math.ulp(1.0) * front.t.abs().clamp(min=1e-3)))
    if bool(stuck.any()):
        row = int(stuck.nonzero()[0])
        why = "the field is stiff there: loosen the tolerances, allow more steps (most=), or keep away from the ends"
        if not bool(torch.isfinite(front.slope[row]).all()):
            why = "the field is not finite there: mend it, or stop before"
        where = f"row {row} is at t = {float(front.t[row]):g} after {int(steps[row])} tried steps"
        raise RuntimeError(f"{where}, the last of length {float(h[row]):.3g}; {why}")
