"""Transport on a graph of places: diffusion by its Laplacian, upwind advection by wind, both conservative, and plumes.

The amount X_i at node i obeys dX/dt = M X + q with a generator M whose columns sum to 0: what leaves a node arrives at another, so that
without sources q the total does not change. Diffusion is M = -k L with the Laplacian L = D - A of symmetric conductances A. Advection is upwind:
with the unit vector e_ij from i to j, the rate at which i is emptied into j is

    f_ij = max(0, u_i . e_ij) / d_ij,      dX_i/dt = sum_j f_ji X_j - sum_j f_ij X_i,

the donor-cell scheme (Courant, Isaacson and Rees, 1952) between linked nodes. Wind is (east, north), where the air moves *to*; meteorologists
name where it comes *from*: `wind_vector` turns theirs into ours. Everything is differentiable and batched over leading axes. SI units: metres,
m/s, 1/s.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown

__all__ = ["advance", "advection_generator", "diffusion_generator", "laplacian", "plume", "stable_step", "transported", "upwind_rates", "wind_vector"]

METHODS = ("exact", "euler", "rk4")


def wind_vector(speed: Tensor, direction: Tensor) -> Float[Tensor, "*batch 2"]:
    """Where the air moves to, (east, north), m/s, of a wind that comes from ``direction`` (degrees clockwise from north): -speed (sin, cos).

    Raises:
        ValueError: a speed is negative.
    """
    if bool((speed < 0).any()):
        raise ValueError(f"the smallest wind speed is {float(speed.min()):g} m/s; speeds of at least 0 were wanted, with the direction in degrees")
    angle = torch.deg2rad(direction)
    return torch.stack([-speed * torch.sin(angle), -speed * torch.cos(angle)], -1)


def laplacian(conductance: Tensor) -> Float[Tensor, "*batch node node"]:
    """L = D - A of symmetric, non-negative conductances A, ``[*batch node node]``; the diagonal of A is not looked at.

    Raises:
        ValueError: A is not square, not symmetric, or has a negative entry.
    """
    a = _square("conductance", conductance)
    if bool((a < 0).any()) or not torch.allclose(a, a.transpose(-1, -2), rtol=1e-5, atol=1e-12):
        raise ValueError("conductances must be symmetric and at least 0, otherwise diffusion makes or loses mass; "
                         "use (A + A.T) / 2, or advection for what has a direction")
    a = a - torch.diag_embed(a.diagonal(dim1=-2, dim2=-1))
    return torch.diag_embed(a.sum(-1)) - a


def diffusion_generator(conductance: Float[Tensor, "*batch node node"], k: Tensor | float = 1.0) -> Float[Tensor, "*batch node node"]:
    """M = -L of the conductances k A, or, with k of every node ``[*batch node]``, of sqrt(k_i k_j) A_ij, which keeps them symmetric.

    Raises:
        ValueError: k is negative, or as `laplacian`.
    """
    k = torch.as_tensor(k, dtype=conductance.dtype, device=conductance.device)
    if bool((k < 0).any()):
        raise ValueError(f"the smallest diffusion coefficient is {float(k.min()):g}; at least 0 was wanted")
    edge = k if k.ndim == 0 else (k[..., :, None] * k[..., None, :]).sqrt()
    return -laplacian(edge * conductance)


def upwind_rates(wind: Float[Tensor, "*batch node 2"], direction: Tensor, distance: Tensor, linked: Tensor) -> Float[Tensor, "*batch node node"]:
    """f_ij, 1/s: how fast node i is emptied into node j.

    Args:
        wind: (east, north) at every node, m/s.
        direction: unit vectors, ``[i, j]`` from i to j, ``[node node 2]``.
        distance: m, ``[node node]``; what is not linked is not looked at.
        linked: ``[node node]``, who exchanges with whom; without a radius or a number of neighbours every far node would be one.

    Raises:
        ValueError: shapes disagree, or linked nodes lie at one place (their rate would be infinite: give distances a floor).
    """
    nodes = wind.shape[-2]
    if wind.shape[-1] != 2 or direction.shape != (nodes, nodes, 2) or distance.shape != (nodes, nodes) or linked.shape != (nodes, nodes):
        raise ValueError(f"wind {tuple(wind.shape)}, direction {tuple(direction.shape)}, distance {tuple(distance.shape)} and linked "
                         f"{tuple(linked.shape)}: [... node 2], [node node 2], [node node] and [node node] were wanted")
    on = linked.bool() & ~torch.eye(nodes, dtype=torch.bool, device=wind.device)
    if bool((on & ~(distance > 0)).any()):
        i, j = (on & ~(distance > 0)).nonzero()[0].tolist()
        raise ValueError(f"the distance from node {i} to node {j} is {float(distance[i, j]):g} m and they are linked; give distances a floor "
                         "of some km")
    inverse = torch.where(on, 1 / torch.where(on, distance, torch.ones_like(distance)), torch.zeros_like(distance))
    return torch.einsum("...ic,ijc->...ij", wind, direction).clamp(min=0) * inverse


def advection_generator(rates: Float[Tensor, "*batch node node"]) -> Float[Tensor, "*batch node node"]:
    """M of dX/dt = M X from rates f_ij of i into j: the transpose of f, less what leaves on the diagonal."""
    f = _square("rates", rates)
    f = f - torch.diag_embed(f.diagonal(dim1=-2, dim2=-1))
    return f.transpose(-1, -2) - torch.diag_embed(f.sum(-1))


def stable_step(generator: Float[Tensor, "*batch node node"]) -> float:
    """The longest explicit Euler step that keeps amounts non-negative, s: 1 over the fastest rate of leaving a node; infinite where nothing moves."""
    fastest = float(-generator.detach().diagonal(dim1=-2, dim2=-1).min())
    return 1 / fastest if fastest > 0 else math.inf


def advance(x: Float[Tensor, "*batch node channel"], generator: Float[Tensor, "*batch node node"], dt: float, *, source: Tensor | None = None,
            method: str = "exact", steps: int | None = None) -> Float[Tensor, "*batch node channel"]:
    """X after ``dt`` seconds of dX/dt = M X + q with constant M and q.

    Args:
        x: amounts, any number of channels.
        generator: M, 1/s.
        dt: s.
        source: q, in amounts a second, of the shape of ``x``; the system is closed without.
        method: ``"exact"``: the matrix exponential, of M beside q; ``"euler"``, ``"rk4"``: explicit steps.
        steps: of the explicit methods; as many as `stable_step` wants by default.

    Raises:
        ValueError: an unknown method, no positive time, or explicit steps that are too long to be stable.
    """
    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))
    if not dt > 0 or (steps is not None and steps < 1):
        raise ValueError(f"dt={dt:g} s in {steps} steps: a positive time and at least 1 step were wanted")
    q = torch.zeros_like(x) if source is None else source.expand_as(x)
    if method == "exact":
        return _exact(x, generator, q, dt, source is not None)
    most = stable_step(generator)
    steps = max(1, math.ceil(dt / most * (1 - 1e-9))) if steps is None else steps
    if dt / steps > most * (1 + 1e-6):
        raise ValueError(f"{steps} explicit steps of {dt / steps:g} s are unstable: the fastest node is emptied in {most:g} s; "
                         f"take at least {math.ceil(dt / most)} steps, or method='exact'")
    for _ in range(steps):
        x = _explicit(x, generator, q, dt / steps, method)
    return x


def _exact(x: Tensor, generator: Tensor, q: Tensor, dt: float, driven: bool) -> Tensor:
    if not driven:
        return torch.linalg.matrix_exp(generator * dt) @ x
    channels = x.shape[-1]  # exp of [[M, q], [0, 0]] carries the integral of exp(M s) q
    batch = torch.broadcast_shapes(x.shape[:-2], generator.shape[:-2])
    top = torch.cat([generator.expand(*batch, *generator.shape[-2:]), q.expand(*batch, *q.shape[-2:])], -1)
    whole = torch.cat([top, torch.zeros_like(top[..., :channels, :])], -2)
    big = torch.linalg.matrix_exp(whole * dt)
    nodes = x.shape[-2]
    return big[..., :nodes, :nodes] @ x + big[..., :nodes, nodes:]


def _explicit(x: Tensor, m: Tensor, q: Tensor, h: float, method: str) -> Tensor:
    a = m @ x + q
    if method == "euler":
        return x + h * a
    b = m @ (x + h / 2 * a) + q
    c = m @ (x + h / 2 * b) + q
    return x + h / 6 * (a + 2 * b + 2 * c + m @ (x + h * c) + q)


def transported(x: Float[Tensor, "node channel"], generators: Float[Tensor, "time node node"], dt: float, *, source: Tensor | None = None,
                method: str = "exact") -> Float[Tensor, "time_plus_1 node channel"]:
    """X at the beginning and after each interval of ``dt`` seconds, each with its own generator (a wind that changes); ``source`` as in `advance`."""
    out = [x]
    for m in generators:
        out.append(advance(out[-1], m, dt, source=source, method=method))
    return torch.stack(out)


def plume(emission: Float[Tensor, "node"], wind: Float[Tensor, "time node 2"], direction: Float[Tensor, "node node 2"],
          distance: Float[Tensor, "node node"], linked: Tensor, *, dt: float = 3600.0, diffusivity: float = 0.0, decay: float = 0.0,
          start: Tensor | None = None) -> Float[Tensor, "time_plus_1 node"]:
    """Amounts that sources send downwind.

    Args:
        emission: amount a second at every node.
        wind: one an interval of ``dt``, m/s, (east, north).
        direction, distance, linked: as in `upwind_rates`.
        dt: s.
        diffusivity: K, m^2/s; linked nodes exchange at K / d^2.
        decay: 1/s, of what is deposited.
        start: amounts at the beginning; none by default.

    Raises:
        ValueError: a coefficient is negative, or as `upwind_rates`.
    """
    if diffusivity < 0 or decay < 0:
        raise ValueError(f"diffusivity={diffusivity:g} m^2/s, decay={decay:g} 1/s: at least 0 was wanted")
    m = advection_generator(upwind_rates(wind, direction, distance, linked))
    eye = torch.eye(len(emission), dtype=m.dtype, device=m.device)
    if diffusivity > 0:
        on = linked.bool() & ~eye.bool()
        m = m + diffusion_generator(torch.where(on, 1 / torch.where(on, distance, torch.ones_like(distance)) ** 2, 0.0), diffusivity)
    x = torch.zeros_like(emission) if start is None else start
    return transported(x[:, None], m - decay * eye, dt, source=emission[:, None])[..., 0]


def _square(name: str, a: Tensor) -> Tensor:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"{name} has shape {tuple(a.shape)}; [... node node] was wanted")
    return a
