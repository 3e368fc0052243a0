"""Active barriers: surfaces that no momentum, or no vorticity, crosses by viscosity in an incompressible flow.

They are invariant under a steady field of the flow at time t0, in a parameter s that is no time: x' = Laplacian u(x, t0) (Eulerian), or
x0' = average over t of DF^-1 Laplacian u(F(x0, t), t) (Lagrangian); for vorticity, u in the Laplacian is replaced by the vorticity. Both fields are
free of divergence. In the plane, momentum barriers are level curves of the vorticity omega, respectively of its average W along trajectories:
Laplacian u = (-omega_y, omega_x), and the Lagrangian field is (-W_y, W_x). Source: Haller, Katsanoulis, Holzner, Frohnapfel & Gatti (2020).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from trajlab.catalog import unknown
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.flow_fields import Flow, joint
from trajlab.dynamics.flow_maps import enough_steps, flow_map, points_of, shared, span_of
from trajlab.dynamics.ftle import exponents, rotation_angle
from trajlab.dynamics.sampled_velocity import SampledVelocity

__all__ = ["Diagnosis", "averaged_vorticity", "barrier_field", "diagnose", "eulerian_field", "lagrangian_field", "level_field", "viscous_force",
           "vorticity"]

KINDS = {"momentum": "laplacian", "vorticity": "curl_laplacian"}


def vorticity(flow: VectorField, starts: Any, t: float = 0.0) -> Float[np.ndarray, "..."]:
    """omega = v_x - u_y of a flow in the plane at places, whose level curves are its Eulerian momentum barriers.

    Raises:
        ValueError: the flow is not in 2-D, or starts as for `trajlab.dynamics.flow_maps.points_of`.
    """
    _, points = points_of(_planar(flow), starts)
    velocity, u, g = joint(flow), np.empty(2), np.empty((2, 2))
    found = np.empty(points.shape[:-1])
    for i, x in enumerate(np.ascontiguousarray(points.reshape(-1, 2))):
        velocity(float(t), x, flow.p, u, g)
        found.flat[i] = g[1, 0] - g[0, 1]
    return found


def averaged_vorticity(flow: VectorField, starts: Any, t0: float = 0.0, duration: float | None = None, *, steps: int | None = None,
                       workers: int | None = None) -> Float[np.ndarray, "..."]:
    """W, the average of omega along trajectories in the plane, whose level curves are the Lagrangian momentum barriers; NaN for lost particles.

    Args: as for `trajlab.dynamics.flow_maps.flow_map`.

    Raises:
        ValueError: the flow is not in 2-D, or as `flow_map`.
    """
    return flow_map(_planar(flow), starts, t0, duration, steps=steps, workers=workers).vorticity


def level_field(values: Float[np.ndarray, "x y"], axes: tuple[np.ndarray, ...], periodic: Any = False) -> SampledVelocity:
    """The steady field (-W_y, W_x) along the level curves of W on a grid: the barrier field of omega or of W.

    Args:
        periodic: as for `trajlab.dynamics.sampled_velocity.SampledVelocity.on_grid`.

    Raises:
        ValueError: shapes disagree, values are not finite (lost particles), axes are uneven or do not repeat where they should.
    """
    return SampledVelocity.stream(values, axes, periodic=periodic, name="barrier field")


def viscous_force(flow: VectorField, kind: str = "momentum") -> VectorField:
    """The Laplacian of u (``"momentum"``) or of the vorticity (``"vorticity"``), where the flow has it in closed form.

    Raises:
        ValueError: an unknown kind, no closed form, or vorticity in the plane, where it points out of the plane and crosses no curve.
    """
    if kind not in KINDS:
        raise ValueError(unknown("kind of barrier", kind, KINDS))
    if kind == "vorticity" and flow.dim == 2:
        raise ValueError(f"{flow.name}: in the plane the Laplacian of the vorticity is normal to the plane, so that every curve is a barrier to "
                         "vorticity; take kind='momentum', or a flow in 3-D")
    function = getattr(flow, KINDS[kind], None)
    if function is None:
        raise ValueError(f"{flow.name} has no {KINDS[kind]} in closed form; pass force= as a VectorField b(t, x, p), for example "
                         "SampledVelocity.on_grid of Laplacians of the data" + (", or use vorticity and averaged_vorticity" if flow.dim == 2 else ""))
    return VectorField(function, flow.dim, flow.p, flow.names, f"{kind} force of {flow.name}")


def eulerian_field(flow: VectorField, starts: Any, t: float = 0.0, *, kind: str = "momentum",
                   force: VectorField | None = None) -> Float[np.ndarray, "... dim"]:
    """The Eulerian barrier field at places, in 2-D or 3-D.

    Args:
        force: b(t, x), in place of that of the flow.

    Raises:
        ValueError: as `viscous_force` and `points_of`.
    """
    _, points = points_of(flow, starts)
    return np.asarray((force or viscous_force(flow, kind))(t, points.reshape(-1, flow.dim))).reshape(points.shape)


def lagrangian_field(flow: VectorField, starts: Any, t0: float = 0.0, duration: float | None = None, *, kind: str = "momentum",
                     force: VectorField | None = None, steps: int | None = None, workers: int | None = None) -> Float[np.ndarray, "... dim"]:
    """The Lagrangian barrier field at starts, in 2-D or 3-D: the average of DF^-1 b(F(x0, t), t) by Simpson's rule over the steps.

    Args:
        force: b(t, x), in place of that of the flow.
        steps: rounded up to an even number; the rest is as for `trajlab.dynamics.flow_maps.flow_map`.

    Raises:
        ValueError: as `viscous_force` and `flow_map`.
    """
    from trajlab.dynamics.flow_kernels import pullback_driver

    force = force or viscous_force(flow, kind)
    _, points = points_of(flow, starts)
    duration, flat = span_of(flow, t0, duration), np.ascontiguousarray(points.reshape(-1, flow.dim))
    if flow.dim not in (2, 3) or force.dim != flow.dim or (steps is not None and steps < 1):
        raise ValueError(f"flow in {flow.dim}-D, force in {force.dim}-D, steps={steps}; 2 or 3 dimensions for both and at least 1 step wanted")
    if force.rhs is None:
        raise ValueError(f"{force.name}: numba does not compile it, or there is no compiler; write it with arithmetic and functions of math or numpy")
    steps = steps or enough_steps(flow, flat, t0, duration)
    steps += steps % 2
    velocity, driver, out = joint(flow), pullback_driver(), np.empty_like(flat)

    def some(first: int, last: int) -> None:
        driver(velocity, force.rhs, flat, t0, duration, steps, flow.p, force.p, first, last, out)

    shared(some, len(flat), len(flat) * steps, workers)
    return out.reshape(points.shape)


def barrier_field(values: Float[np.ndarray, "*grid dim"], axes: tuple[np.ndarray, ...], periodic: Any = False) -> SampledVelocity:
    """The steady field through values of a barrier field on a grid, to be followed and diagnosed.

    Raises:
        ValueError: as `level_field`.
    """
    return SampledVelocity.on_grid(values, axes, periodic=periodic, name="barrier field")


class Diagnosis(NamedTuple):
    """``ftle[...]`` and polar ``rotation[...]`` of a barrier field in its own parameter, and ``reach``, over which it was followed."""

    ftle: Float[np.ndarray, "..."]
    rotation: Float[np.ndarray, "..."]
    reach: float


def diagnose(field: Flow, starts: Any, reach: float, *, steps: int | None = None, workers: int | None = None) -> Diagnosis:
    """Active FTLE and active polar rotation angle: ridges of the first show barriers that repel or attract others, level sets of the second vortices.

    No particle moves: the steady barrier field is followed over a parameter s from 0 to ``reach``, of unit length over the unit of the field.

    Raises:
        ValueError: as `trajlab.dynamics.flow_maps.flow_map`.
    """
    found = flow_map(field, starts, 0.0, reach, steps=steps, workers=workers)
    return Diagnosis(exponents(found), rotation_angle(found.gradient), reach)


def _planar(flow: VectorField) -> VectorField:
    if flow.dim != 2:
        raise ValueError(f"{flow.name} is a flow in {flow.dim}-D; vorticity as one number needs a flow in the plane")
    return flow


