"""Coefficients of an equation by shooting: its flow map must carry each state to the next.

`one_step` takes the states as exact. `multiple` takes them as noisy: it estimates the states at the starts of segments along with the coefficients,
such that each segment fits its observations and ends where the next one starts (multiple shooting; Bock 1983, Baake et al. 1992). Both are
Gauss-Newton iterations, damped as by Levenberg and Marquardt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from trajlab.models.identified_library import Equation

__all__ = ["Fitted", "multiple", "one_step"]

RIDGE = 1e-13  #: relative to the diagonal
LARGE = 1e100  #: derivatives beyond this are of no use


@dataclass(frozen=True, eq=False)
class Fitted:
    """An equation after shooting.

    Attributes:
        equation: with its coefficients.
        states: estimated states at the starts of the segments and at the last frame, ``[segment+1 dim]``; None of `one_step`.
        error: root mean square of the residuals of the observations; infinite where the flow could not be followed.
        variance: of the active coefficients over the variance of the residuals, ``[parameter]``.
    """

    equation: Equation
    states: np.ndarray | None
    error: float
    variance: np.ndarray


def _solved(matrix: np.ndarray, vector: np.ndarray, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """Solution of a damped, symmetrically scaled positive system, and the diagonal of the inverse."""
    size = np.sqrt(np.diag(matrix)) + 1e-150
    scaled = matrix / size / size[:, None]
    scaled[np.diag_indices_from(scaled)] += damping + RIDGE
    for _ in range(6):
        try:
            factor = cho_factor(scaled, check_finite=False)
            break
        except LinAlgError:
            scaled[np.diag_indices_from(scaled)] += 1e-12 + 10 * damping
            damping = 1e-11 + 10 * damping
    else:
        return np.zeros_like(vector), np.full(len(vector), np.inf)
    return cho_solve(factor, vector / size, check_finite=False) / size, size


def one_step(equation: Equation, z: Float[np.ndarray, "time dim"], *, iterations: int = 8, accuracy: float = 1e-11, good: float = 1e-11) -> Fitted:
    """Minimise sum |z[i+1] - flow(z[i])|^2 over the coefficients."""
    starts, ends = z[:-1], z[1:]
    equation = equation.stepped(starts[:: max(1, len(starts) // 100)], accuracy)

    def loss(e: Equation) -> float:
        r = ends - e.flow(starts, 1)[:, 0]
        return float(np.sqrt((r**2).mean())) if np.isfinite(r).all() else np.inf

    error, damping = loss(equation), 0.0
    for _ in range(iterations):
        if error < good or not np.isfinite(error):
            break
        out, _, by = equation.tangents(starts, 1)
        jacobian = by[:, 0].reshape(-1, by.shape[-1])
        if not np.abs(jacobian).max() < LARGE:
            break
        matrix, vector = jacobian.T @ jacobian, jacobian.T @ (ends - out[:, 0]).ravel()
        for _ in range(5):
            tried = equation.moved(_solved(matrix, vector, damping)[0])
            now = loss(tried)
            if now < error:
                break
            damping = max(10 * damping, 1e-6)
        else:
            break
        done = now > 0.9 * error
        equation, error, damping = tried, now, 0.0 if damping < 1e-8 else damping * 0.1
        if done:
            break
    return Fitted(equation, None, error, np.zeros(len(equation.active)))


def multiple(equation: Equation, z: Float[np.ndarray, "time dim"], curve: Float[np.ndarray, "time dim"], frames: int, *, noise: float = 1.0,
             iterations: int = 12, ties: tuple[float, ...] = (1.0, 30.0, 1000.0)) -> Fitted:
    """Minimise sum |z - flow(states)|^2 + tie sum |gaps between segments|^2 over coefficients and states.

    Args:
        z: observations.
        curve: a first guess of the states.
        frames: of a segment; frames at the beginning that do not fill one are left out.
        noise: guess of the noise, for the accuracy of the flow.
        ties: weights of the gaps, one after the other; the last is kept until it converges.
    """
    segments = (len(z) - 1) // frames
    skip = len(z) - 1 - segments * frames
    seen = z[skip:]
    first, target = seen[0], seen[1:].reshape(segments, frames, -1)
    states = curve[skip::frames].copy()
    equation = equation.stepped(states[:-1], max(1e-3 * noise, 1e-11))
    problem = _Problem(first, target)
    stage, damping = 0, 0.0
    cost = problem.cost(equation, states, ties[0])
    for _ in range(iterations):
        if not np.isfinite(cost):
            break
        tie = ties[stage]
        matrix, vector = problem.normal(equation, states, tie)
        if not np.isfinite(matrix).all():
            break
        for _ in range(6):
            step = _solved(matrix, vector, damping)[0]
            moved, shifted = equation.moved(step[states.size :]), states + step[: states.size].reshape(states.shape)
            now = problem.cost(moved, shifted, tie)
            if now < cost:
                break
            damping = max(10 * damping, 1e-5)
        else:
            if stage == len(ties) - 1:
                break
            now, moved, shifted = cost, equation, states
        close = now > (0.9 if stage < len(ties) - 1 else 0.9995) * cost
        equation, states, cost, damping = moved, shifted, now, 0.0 if damping < 1e-7 else damping * 0.1
        if close and stage == len(ties) - 1:
            break
        if stage < len(ties) - 1:
            stage += 1
            cost, damping = problem.cost(equation, states, ties[stage]), 0.0
    return Fitted(equation, states, problem.error(equation, states), np.zeros(len(equation.active)))


class _Problem:
    """Residuals of multiple shooting and their normal equations. Unknowns: states ``[segment+1 dim]``, the last of them at the last frame, then
    coefficients."""

    def __init__(self, first: np.ndarray, target: np.ndarray) -> None:
        self.first, self.target = first, target

    def cost(self, equation: Equation, states: np.ndarray, tie: float) -> float:
        out = equation.flow(states[:-1], self.target.shape[1])
        fit = ((self.target - out) ** 2).sum() + ((self.first - states[0]) ** 2).sum()
        total = fit + tie * ((states[1:] - out[:, -1]) ** 2).sum()
        return float(total) if np.isfinite(total) else np.inf

    def error(self, equation: Equation, states: np.ndarray) -> float:
        r = self.target - equation.flow(states[:-1], self.target.shape[1])
        return float(np.sqrt((r**2).mean())) if np.isfinite(r).all() else np.inf

    def normal(self, equation: Equation, states: np.ndarray, tie: float) -> tuple[np.ndarray, np.ndarray]:
        segments, frames, dim = self.target.shape
        out, by_start, by = equation.tangents(states[:-1], frames)
        rest, gap = self.target - out, states[1:] - out[:, -1]
        free = by.shape[-1]
        joint = np.concatenate([by_start, by], -1).reshape(segments, frames * dim, dim + free)
        last = joint[:, -dim:]
        turned = np.swapaxes(joint, 1, 2)
        block = turned @ joint + tie * np.swapaxes(last, 1, 2) @ last
        right = (turned @ rest.reshape(segments, -1, 1))[..., 0] + tie * np.einsum("kic,ki->kc", last, gap)
        unknown = states.size
        matrix, vector = np.zeros((unknown + free, unknown + free)), np.zeros(unknown + free)
        eye = np.eye(dim)
        for k in range(segments):
            mine, following = slice(k * dim, (k + 1) * dim), slice((k + 1) * dim, (k + 2) * dim)
            matrix[mine, mine] += block[k, :dim, :dim]
            matrix[mine, unknown:] += block[k, :dim, dim:]
            matrix[following, following] += tie * eye
            matrix[following, mine] -= tie * last[k, :, :dim]
            matrix[mine, following] -= tie * last[k, :, :dim].T
            matrix[following, unknown:] -= tie * last[k, :, dim:]
            vector[mine] += right[k, :dim]
            vector[following] -= tie * gap[k]
        matrix[:dim, :dim] += eye
        vector[:dim] += self.first - states[0]
        matrix[unknown:, :unknown] = matrix[:unknown, unknown:].T
        matrix[unknown:, unknown:] = block[:, dim:, dim:].sum(0)
        vector[unknown:] = right[:, dim:].sum(0)
        return matrix, vector
