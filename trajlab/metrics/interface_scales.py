"""Scales of the motion within a region: Taylor microscale and Lagrangian integral time."""

from __future__ import annotations

from typing import Any

import numpy as np

from trajlab.dynamics.flow_fields import Flow
from trajlab.dynamics.flow_maps import flow_map

__all__ = ["integral_time", "taylor_microscale"]


def taylor_microscale(velocity: Any, gradient: Any, inside: Any) -> float:
    """lambda = ((<u'^2> + <v'^2>)/(<u_x^2> + <v_y^2>))^(1/2) over a region of the plane (Taylor 1935); the flow is to be alike along x.

    Args:
        velocity: ``[x y 2]``; u' is what differs from the mean along x.
        gradient: ``[x y 2 2]``, du_i/dx_j.
        inside: ``[x y]``, the region.

    Raises:
        ValueError: shapes disagree, or an empty region.
    """
    u, g, region = np.asarray(velocity, dtype=float), np.asarray(gradient, dtype=float), np.asarray(inside, dtype=bool)
    if u.ndim != 3 or u.shape[2] != 2 or g.shape != (*u.shape, 2) or region.shape != u.shape[:2] or not region.any():
        raise ValueError(f"velocity {u.shape}, gradient {g.shape} and region {region.shape} with {region.sum()} points; [x y 2], [x y 2 2] and "
                         "[x y] with some points were wanted")
    fluctuation = (u - u.mean(0))[region]
    return float(np.sqrt((fluctuation**2).sum() / (g[..., 0, 0][region] ** 2 + g[..., 1, 1][region] ** 2).sum()))


def integral_time(flow: Flow, starts: Any, t0: float, duration: float, frames: int = 32, steps: int = 4) -> float:
    """The Lagrangian integral time scale: the integral of the autocorrelation of velocities along trajectories, up to its first zero or the duration.

    The mean velocity of the particles at each time is subtracted.

    Args:
        starts: ``[particle 2]``.
        frames, steps: times at which velocities are correlated, and steps of the method between them.

    Raises:
        ValueError: as `trajlab.dynamics.flow_maps.flow_map`, or fewer than 2 particles that stay.
    """
    places, times, seen = np.asarray(starts, dtype=float), np.linspace(t0, t0 + duration, frames + 1), []
    for k, t in enumerate(times):
        seen.append(np.array([flow(t, place) for place in places]))
        if k < frames:
            places = flow_map(flow, places, t, times[k + 1] - t, steps=steps, workers=1).end
    u = np.array(seen)
    u = u[:, np.isfinite(u).all((0, 2))]
    if u.shape[1] < 2:
        raise ValueError(f"{u.shape[1]} of {len(places)} particles stay within the data; at least 2 were wanted")
    u = u - u.mean(1, keepdims=True)
    size = (u**2).sum(2).mean(1)
    correlation = (u * u[0]).sum(2).mean(1) / np.sqrt(size * size[0])
    gone = np.flatnonzero(correlation <= 0)
    last = gone[0] + 1 if len(gone) else len(times)
    return float(np.trapezoid(np.maximum(correlation[:last], 0.0), times[:last]))
