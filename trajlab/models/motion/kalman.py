"""A Kalman filter of constant velocity: a Gaussian path whose spread grows as its noise says, and whose noise is fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.data.dense import Dense, dense
from trajlab.models.given_frames import filled, seen_nodes
from trajlab.models.motion.baselines import ahead
from trajlab.models.motion.mixture import Answer, PathMixture
from trajlab.models.window_forecaster import WindowForecaster
from trajlab.types import Forecast, Trajectories

__all__ = ["Belief", "KalmanVelocity", "filtered"]

OBJECTIVES = ("future", "path")
MOST = 4096  #: agents that noise is fitted on


class Belief(NamedTuple):
    """Of position and velocity at the last given frame; axes are independent and have the same covariance.

    Attributes:
        position, velocity: means, ``[row dim]``.
        xx, xv, vv: covariance, ``[row]``.
        log_density: of the positions seen from the second on, each given those before, summed over frames and axes, nats, ``[row]``.
    """

    position: Float[Tensor, "row dim"]
    velocity: Float[Tensor, "row dim"]
    xx: Float[Tensor, "row"]
    xv: Float[Tensor, "row"]
    vv: Float[Tensor, "row"]
    log_density: Float[Tensor, "row"]

    def after(self, elapsed: Float[Tensor, "row"], process: float) -> Belief:
        """Without further observations."""
        t, q = elapsed, process
        xx = self.xx + 2 * t * self.xv + t.square() * self.vv + q * t**3 / 3
        return Belief(self.position + t[:, None] * self.velocity, self.velocity, xx, self.xv + t * self.vv + q * t.square() / 2, self.vv + q * t,
                      self.log_density)


def filtered(x: Float[Tensor, "row time dim"], mask: Bool[Tensor, "row time"], time: Float[Tensor, "row time"], noise: Float[Tensor, "three"],
             ) -> Belief:
    """Filter positions forward in time; hidden ones are not looked at. Rows without any keep a belief that knows nothing of them.

    ``dx = v dt, dv = sqrt(q) dW``; what is seen is x with an independent error of variance r (Kalman 1960; Bar-Shalom, Li and Kirubarajan 2001,
    section 6.2). An agent begins where it is first seen, with a velocity of zero mean and variance v0.

    Args:
        x, mask, time: observations.
        noise: ``q`` in m^2/s^3, ``r`` in m^2, ``v0`` in m^2/s^2.
    """
    q, r, v0 = (float(v) for v in noise)
    rows, zero = len(x), x.new_zeros(len(x))
    begun = torch.zeros(rows, dtype=torch.bool, device=x.device)
    now = Belief(x[:, 0], torch.zeros_like(x[:, 0]), zero + r, zero, zero + v0, zero)
    for k in range(x.shape[1]):
        if k:
            now = now.after(time[:, k] - time[:, k - 1], q)
        seen = mask[:, k]
        fresh = Belief(x[:, k], torch.zeros_like(x[:, k]), zero + r, zero, zero + v0, zero)
        now = _where(seen, _where(begun, _updated(now, x[:, k], r), fresh), now)
        begun = begun | seen
    return now


def _updated(belief: Belief, seen: Float[Tensor, "row dim"], r: float) -> Belief:
    off, total = seen - belief.position, belief.xx + r
    to_x, to_v = belief.xx / total, belief.xv / total
    density = -0.5 * (off.square().sum(-1) / total + off.shape[-1] * (total.log() + math.log(2 * math.pi)))
    return Belief(belief.position + to_x[:, None] * off, belief.velocity + to_v[:, None] * off, (1 - to_x) * belief.xx, (1 - to_x) * belief.xv,
                  belief.vv - to_v * belief.xv, belief.log_density + density)


def _where(keep: Bool[Tensor, "row"], one: Belief, other: Belief) -> Belief:
    return Belief(*(torch.where(keep.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(one, other, strict=True)))


class KalmanVelocity(WindowForecaster):
    """Constant velocity with white acceleration, filtered from noisy positions; answers with a Gaussian path.

    `fit` finds the strength of the acceleration and the error of positions by maximum likelihood; the variance of velocities at the start is that of
    the windows. ``objective="future"`` takes the density of each predicted position given the past, which is what a forecast is scored by;
    ``"path"`` that of each position of the window given those before it (the likelihood of the filter proper; it fits the next step, and paths
    that are smoother or rougher than white acceleration then get too narrow or too wide a forecast).

    Args:
        objective: of the fit.

    Raises:
        ValueError: an unknown objective, or windows in which nobody is seen in the past and in the future.
    """

    name = "kalman"
    horizon_free = True

    def __init__(self, objective: str = "future") -> None:
        super().__init__()
        if objective not in OBJECTIVES:
            raise ValueError(unknown("objective", objective, OBJECTIVES))
        self.objective = objective
        self.noise = torch.tensor([1.0, 0.01, 1.0], dtype=torch.float64)  #: q, r, v0, see `filtered`

    # ---- fitting

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:  # noqa: ARG002
        from scipy.optimize import minimize

        rows = _rows(windows, self.given)
        x, mask, time = rows
        step = (x.diff(dim=1) / time.diff(dim=1)[..., None])[mask[:, 1:] & mask[:, :-1]]
        v0 = max(float(step.square().mean()) if step.numel() else 1.0, 1e-6)
        spread = max(_spread(rows, self.given), 1e-4)
        horizon = float((time[:, -1] - time[:, self.given - 1]).mean())
        begin = np.log([3 * spread**2 / horizon**3, max(1e-4 * v0 * self.spacing**2, 1e-8)])

        def cost(log: np.ndarray) -> float:
            noise = torch.tensor([*np.exp(np.clip(log, -30, 15)), v0], dtype=torch.float64)
            return -float(_density(rows, self.given, noise, self.objective))

        found = minimize(cost, begin, method="Nelder-Mead", options={"xatol": 0.01, "fatol": 1e-4, "maxfev": 200})
        self.noise = torch.tensor([*np.exp(np.clip(found.x, -30, 15)), v0], dtype=torch.float64)

    # ---- the verb

    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        """The mean path."""
        mean, _ = self._said(block, self.steps(steps))
        return torch.where(block.there[..., None, None], mean, 0.0).to(block.x.dtype)

    def _belief(self, block: Dense) -> Belief:
        self._check(block)
        given = self.given
        x = filled(block, given)[:, :, :given].double().flatten(0, 1)
        time = block.time[:, None, :given].expand(block.mask[:, :, :given].shape)
        return filtered(x, block.mask[:, :, :given].flatten(0, 1), time.flatten(0, 1), self.noise)

    def _said(self, block: Dense, steps: int) -> tuple[Float[Tensor, "scene node time dim"], Float[Tensor, "scene node time"]]:
        """Mean and variance (the same along both axes) of what will be seen."""
        now = self._belief(block)
        t = ahead(block, self.given, steps, self.spacing)[:, None].expand(*block.there.shape, steps).flatten(0, 1)
        mean = now.position[:, None] + t[..., None] * now.velocity[:, None]
        q, r, _ = (float(v) for v in self.noise)
        variance = now.xx[:, None] + 2 * t * now.xv[:, None] + t.square() * now.vv[:, None] + q * t**3 / 3 + r
        return mean.unflatten(0, block.there.shape), variance.unflatten(0, block.there.shape)

    def _draws(self, block: Dense, steps: int, draws: int, generator: torch.Generator | None) -> Tensor:
        """Paths of the model: velocity and position from the belief, white acceleration, and an error of each observation."""
        if generator is None:
            raise ValueError("KalmanVelocity draws random numbers; pass generator=torch.Generator().manual_seed(...)")
        now, q, r = self._belief(block), float(self.noise[0]), float(self.noise[1])
        rows, dim = now.position.shape
        t = ahead(block, self.given, steps, self.spacing)[:, None].expand(*block.there.shape, steps).flatten(0, 1)
        normal = lambda *shape: torch.randn(draws, rows, *shape, dim, generator=generator, dtype=torch.float64)  # noqa: E731
        z, w, e = normal(2), normal(steps, 2), normal(steps)
        root = now.xx.clamp(min=1e-18).sqrt()
        position = now.position + root[:, None] * z[:, :, 0]
        slope = (now.xv / root)[:, None]
        velocity = now.velocity + slope * z[:, :, 0] + (now.vv - (now.xv / root).square()).clamp(min=0).sqrt()[:, None] * z[:, :, 1]
        step = torch.diff(t, dim=1, prepend=torch.zeros_like(t[:, :1]))[..., None]
        kick = (q * step).sqrt() * w[:, :, :, 0]  # of the velocity in a step; what it does to the position in it has variance q step^3/3
        shift = step * (kick / 2 + (q * step / 12).sqrt() * w[:, :, :, 1])
        before = velocity[:, :, None] + kick.cumsum(2) - kick
        path = position[:, :, None] + (step * before + shift).cumsum(2) + math.sqrt(r) * e
        return path.unflatten(1, block.there.shape).to(block.x.dtype)

    def forecast(self, past: Trajectories, steps: int | None = None, draws: int = 1, generator: torch.Generator | None = None) -> Forecast:
        """As for all forecasters of windows; the answer carries a `PathMixture` of one mode, of positions as they will be seen (on a plane)."""
        plain = super().forecast(past, steps, draws, generator)
        if past.dim != 2:
            return plain
        block = dense(self.last_given(past))
        mean, variance = (block.pack(value) for value in self._said(block, self.steps(steps)))
        covariance = variance[:, None, :, None, None] * torch.eye(2, dtype=variance.dtype)
        mixture = PathMixture(torch.zeros_like(mean[:, :1, 0]), mean[:, None], covariance)
        return mixture.to_forecast(past, Answer(plain.draws, plain.time, plain.mask, plain.provenance))

    # ---- files

    def provenance(self) -> dict[str, Any]:
        q, r, v0 = self.noise.tolist()
        return {**super().provenance(), "objective": self.objective, "acceleration_m2_s3": q, "observation_m2": r, "velocity_m2_s2": v0}

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"noise": self.noise, "objective": torch.tensor(OBJECTIVES.index(self.objective))}

    def _load(self, state: Mapping[str, Tensor]) -> None:
        super()._load(state)
        self.noise, self.objective = state["noise"].double(), OBJECTIVES[int(state["objective"])]


Rows = tuple[Tensor, Tensor, Tensor]  #: positions ``[row time dim]`` from each agent's last given one, mask and clock ``[row time]``


def _rows(windows: Trajectories, given: int) -> Rows:
    """Agents that were seen twice before and once after, at most `MOST` of them, evenly taken."""
    block = dense(windows)
    good = (block.mask[:, :, :given].sum(2) >= min(2, given)) & block.mask[:, :, given:].any(2) & seen_nodes(block, given)
    scene, slot = good.nonzero(as_tuple=True)
    if not len(scene):
        raise ValueError("a Kalman filter is fitted on agents that are seen in two given frames and in a later one, and there are none")
    kept = torch.linspace(0, len(scene) - 1, min(MOST, len(scene))).round().long()
    scene, slot = scene[kept], slot[kept]
    origin = filled(block, given)[scene, slot, -1]
    return block.x[scene, slot].double() - origin[:, None].double(), block.mask[scene, slot], block.time[scene]


def _spread(rows: Rows, given: int) -> float:
    """Root mean square, an axis, of how far constant velocity is off at the end."""
    x, mask, time = rows
    velocity = (x[:, given - 1] - x[:, 0]) / (time[:, given - 1] - time[:, 0]).clamp(min=1e-9)[:, None] if given > 1 else torch.zeros_like(x[:, 0])
    off = x[:, -1] - x[:, given - 1] - (time[:, -1] - time[:, given - 1])[:, None] * velocity
    seen = mask[:, -1] & mask[:, 0] & mask[:, given - 1]
    return float(off[seen].square().mean().sqrt()) if bool(seen.any()) else 1.0


def _density(rows: Rows, given: int, noise: Tensor, objective: str) -> float:
    """Mean log-density of an observed position, nats."""
    x, mask, time = rows
    if objective == "path":
        seen = (mask.sum(1) - 1).clamp(min=0).sum()
        return float(filtered(x, mask, time, noise).log_density.sum() / seen.clamp(min=1))
    now = filtered(x[:, :given], mask[:, :given], time[:, :given], noise)
    q, r, _ = (float(v) for v in noise)
    t = time[:, given:] - time[:, given - 1, None]
    variance = now.xx[:, None] + 2 * t * now.xv[:, None] + t.square() * now.vv[:, None] + q * t**3 / 3 + r
    off = x[:, given:] - now.position[:, None] - t[..., None] * now.velocity[:, None]
    at = -0.5 * (off.square().sum(-1) / variance + x.shape[-1] * (variance.log() + math.log(2 * math.pi)))
    return float(at[mask[:, given:]].mean())
