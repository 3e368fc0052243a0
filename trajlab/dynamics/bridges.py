"""Bridges between given ends under the linear-noise approximation: their moments, whole paths, and their drift.

With the law from a start x (means m, covariances S, end derivatives G; T the end) and an end y:

    C_s = S_s G_s^T,   mean  mu_s = m_s + C_s S_T^-1 (y - m_T),   covariance  Gamma_s = S_s - C_s S_T^-1 C_s^T
    drift  u_s(X) = f(m_s) + Df(m_s)(X - m_s) + D G_s^T R_s^-1 [y - m_T - G_s (X - m_s)],   R_s = S_T - G_s S_s G_s^T

Exact for linear processes, where the law is; otherwise as good as the linearisation about the path from the start.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.linear_noise import LinearNoise
from trajlab.dynamics.linear_sde import symmetric
from trajlab.dynamics.references import Reference

__all__ = ["BridgeField", "Moments", "bridge_field", "bridge_moments", "bridge_paths", "pairs_of", "pinned_drift"]

JITTER = 1e-12  #: of the largest variance, added to a covariance before it is factorised


class Moments(NamedTuple):
    """Mean ``[pair dim]`` and covariance ``[pair dim dim]`` of bridges at one grid point."""

    mean: Tensor
    cov: Tensor


def bridge_moments(law: LinearNoise, y: Float[Tensor, "pair dim"], k: int) -> Moments:
    """Moments at grid point k of the bridges from the starts of ``law`` to ``y``, row by row."""
    cross = law.S[:, k] @ law.G[:, k].mT
    gain = torch.linalg.solve(law.S[:, -1], cross.mT).mT
    mean = law.m[:, k] + apply(gain, y - law.m[:, -1])
    return Moments(mean, symmetric(law.S[:, k] - gain @ cross.mT).expand(len(y), -1, -1))


def bridge_paths(law: LinearNoise, y: Float[Tensor, "pair dim"], generator: torch.Generator) -> Float[Tensor, "pair step_plus_1 dim"]:
    """One path of each bridge on the grid, ends included (Matheron's rule): an unconditioned path, corrected towards the end,

        X_k = X~_k + S_k G_k^T S_T^-1 (y - X~_T).
    """
    pairs, dim = y.shape
    noise = torch.randn(law.steps, pairs, dim, generator=generator, dtype=y.dtype, device=generator.device).to(y.device)
    roots = root(law.Q)
    z = [torch.zeros_like(y)]
    for k in range(law.steps):
        z.append(apply(law.P[:, k], z[-1]) + apply(roots[:, k], noise[k]))
    free = law.m + torch.stack(z, 1)
    pull = torch.linalg.solve(law.S[:, -1], (y - free[:, -1])[..., None])  # [pair dim 1]
    gain = law.S @ law.G.mT  # [pair step+1 dim dim]
    path = free + (gain @ pull[:, None])[..., 0]
    return torch.cat([path[:, :-1], y[:, None]], 1)  # the end exactly, free of rounding


def pinned_drift(reference: Reference, law: LinearNoise, x: Float[Tensor, "pair dim"], y: Float[Tensor, "pair dim"],
                 k: int) -> Float[Tensor, "pair dim"]:
    """Drift at grid point k < K of the bridges from the starts of ``law`` to ``y``, at states ``x``.

    Raises:
        ValueError: k is the last grid point, where the drift is singular.
    """
    if not 0 <= k < law.steps:
        raise ValueError(f"the drift of a bridge at grid point {k} of {law.steps}; it is singular at the end, so 0 to {law.steps - 1} were wanted")
    m, G, centre = law.m[:, k], law.G[:, k], law.centre[:, k]
    off = x - m
    left = symmetric(law.S[:, -1] - G @ law.S[:, k] @ G.mT)
    miss = y - law.m[:, -1] - apply(G, off)
    pull = torch.linalg.solve(left, miss[..., None])[..., 0]
    return reference.drift(centre) + apply(reference.jacobian(centre), x - centre) + apply(reference.D.to(x) @ G.mT, pull)


class BridgeField(NamedTuple):
    """Moments and drifts of the bridges from every start, linear in the end y, at some grid points: mean m + gain (y - m_T) with covariance
    L L^T, drift  slope (x - mean) + f + (Df gain + pull (1 - G gain)) (y - m_T).

    All ``[cell node ...]``; the first axis of the matrices is 1 where the starts share them.
    """

    m: Tensor
    end: Tensor
    gain: Tensor
    L: Tensor
    slope: Tensor
    f: Tensor
    rate: Tensor

    def points(self, node: int, cell: Int[Tensor, "pair"], y: Float[Tensor, "pair dim"],
               xi: Float[Tensor, "point dim"]) -> tuple[Float[Tensor, "point_pair dim"], Float[Tensor, "point_pair dim"]]:
        """States mean + L xi of the bridges of some pairs at one grid point, for every xi, and the drifts there; points slowest."""
        pick = lambda value: value[:, node] if len(value) == 1 else value[cell, node]  # noqa: E731
        miss = y - self.end[cell]
        off = torch.einsum("cij,pj->pci", pick(self.L), xi).expand(-1, len(y), -1)
        mean, rate = self.m[cell, node] + apply(pick(self.gain), miss), self.f[cell, node] + apply(pick(self.rate), miss)
        return (mean + off).flatten(0, 1), (rate + apply(pick(self.slope), off)).flatten(0, 1)


def bridge_field(reference: Reference, law: LinearNoise, nodes: list[int]) -> BridgeField:
    """The field at grid points 0 < k < K.

    Raises:
        ValueError: a grid point at an end, where there is nothing to draw or the drift is singular.
    """
    if min(nodes) < 1 or max(nodes) >= law.steps:
        raise ValueError(f"the field of bridges at grid points {nodes} of {law.steps}; inner ones, 1 to {law.steps - 1}, were wanted")
    m, S, G, end = law.m[:, nodes], law.S[:, nodes], law.G[:, nodes], law.S[:, -1:]
    cross = S @ G.mT
    gain = torch.linalg.solve(end, cross.mT).mT
    left = symmetric(end - G @ cross)
    pull = torch.linalg.solve(left, G @ reference.D.to(m)).mT
    centre = law.centre[:, nodes]
    jacobian = reference.jacobian(centre[:1] if law.shared and reference.linear is not None else centre)
    drift = reference.drift(centre) + apply(jacobian, m - centre)
    eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    rate = jacobian @ gain + pull @ (eye - G @ gain)
    return BridgeField(m, law.m[:, -1], gain, root(symmetric(S - gain @ cross.mT)), jacobian - pull @ G, drift, rate)


def apply(matrix: Float[Tensor, "*one dim dim"], vector: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*out dim"]:
    """Matrix times vector, row by row; a first axis of 1 is shared."""
    return (matrix @ vector[..., None])[..., 0]


def root(cov: Float[Tensor, "*batch dim dim"]) -> Float[Tensor, "*batch dim dim"]:
    """A lower factor of covariances that may be singular but for rounding."""
    dim = cov.shape[-1]
    top = cov.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None].clamp(min=1e-300)
    jittered = symmetric(cov) + JITTER * top * torch.eye(dim, dtype=cov.dtype, device=cov.device)
    factor, bad = torch.linalg.cholesky_ex(jittered)
    if bool(bad.any()):  # indefinite by more than rounding: the nearest that is not, by its eigenvalues
        value, vector = torch.linalg.eigh(jittered[bad > 0])
        value = value.clamp(min=JITTER * float(top.max()))
        factor = factor.clone()
        factor[bad > 0] = torch.linalg.qr((vector * value.sqrt()[..., None, :]).mT).R.mT
    return factor


def pairs_of(plan: Float[Tensor, "source target"], count: int, generator: torch.Generator) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
    """Pairs drawn from a plan, one from each of ``count`` strata of its mass, so that each is drawn about its expected number of times.

    One offset for all strata would resonate with plans whose rows have equal mass, and draw the same few targets.
    """
    mass = plan.flatten().double().cumsum(0)
    place = (torch.rand(count, generator=generator, dtype=torch.float64) + torch.arange(count, dtype=torch.float64)) / count * mass[-1].cpu()
    index = torch.searchsorted(mass.cpu(), place, right=True).clamp(max=plan.numel() - 1)
    return (index // plan.shape[1]).to(plan.device), (index % plan.shape[1]).to(plan.device)
