"""The linear-noise approximation of a process from many starts: means along the deterministic path, and covariances of the linearised noise.

For a linear process it is exact, and shared by all starts. Source: van Kampen (1976); for diffusions as here Sarkka & Solin, Applied Stochastic
Differential Equations (2019), 9.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.linear_sde import symmetric
from trajlab.dynamics.references import Reference

__all__ = ["Diverged", "LinearNoise", "linear_noise"]

STEPS = 40  #: of the second-order Runge-Kutta method over an interval


class Diverged(ValueError):
    """A reference process that blows up."""


@dataclass(frozen=True, eq=False)
class LinearNoise:
    """Gaussian law of paths from each start, on a grid of ``step + 1`` times. The first axis of P, S, Q, G is 1 where all starts share them.

    Attributes:
        h: time between grid points.
        m: means, ``[cell step+1 dim]``; ``m[:, 0]`` are the starts.
        P: propagators of each step, ``[cell step dim dim]``.
        S: covariances, ``[cell step+1 dim dim]``; 0 at the start.
        Q: covariance added by each step, S_{k+1} - P_k S_k P_k^T, ``[cell step dim dim]``.
        G: derivative of the end by each grid point, ``[cell step+1 dim dim]``; the identity at the end.
        about: points that the process was linearised about, ``[cell step+1 dim]``; None for the means.
    """

    h: float
    m: Tensor
    P: Tensor
    S: Tensor
    Q: Tensor
    G: Tensor
    about: Tensor | None = None

    @property
    def centre(self) -> Tensor:
        """Points of linearisation."""
        return self.m if self.about is None else self.about

    @property
    def steps(self) -> int:
        return self.m.shape[1] - 1

    @property
    def shared(self) -> bool:
        """Whether all starts share their covariances."""
        return self.S.shape[0] == 1

    def of(self, cell: Tensor) -> LinearNoise:
        """The laws from some starts, in the order asked for."""
        pick = lambda value: value if self.shared else value[cell]  # noqa: E731
        return LinearNoise(self.h, self.m[cell], pick(self.P), pick(self.S), pick(self.Q), pick(self.G),
                           None if self.about is None else self.about[cell])

    def log_density(self, y: Float[Tensor, "other dim"]) -> Float[Tensor, "cell other"]:
        """log p(y | x) of every start and every y at the end: one matrix product where covariances are shared, else start by start."""
        mean, cov = self.m[:, -1], self.S[:, -1]
        factor, bad = torch.linalg.cholesky_ex(cov)
        if bool(bad.any()):
            raise Diverged(f"the covariance from start {int(bad.nonzero()[0, 0])} is not positive definite: noise of zero in some direction, or "
                           "a reference so fast that the steps of the interval do not resolve it; take more steps or bound its parameters")
        constant = -factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * y.shape[1] * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
        if self.shared:
            one, two = (torch.linalg.solve_triangular(factor[0], v.mT, upper=False).mT for v in (mean, y))
            return constant - 0.5 * torch.cdist(one, two, compute_mode="donot_use_mm_for_euclid_dist" if len(y) < 32 else
                                                "use_mm_for_euclid_dist_if_necessary").square()
        inverse = torch.linalg.inv(factor)  # dim is small: one product for all pairs
        white_y, white_m = torch.einsum("cij,nj->cni", inverse, y), torch.einsum("cij,cj->ci", inverse, mean)
        return constant[:, None] - 0.5 * (white_y - white_m[:, None]).square().sum(-1)


def linear_noise(reference: Reference, x: Float[Tensor, "cell dim"], duration: float, steps: int = STEPS) -> LinearNoise:
    """The law of paths from ``x`` over a duration.

        m' = f(m),   F' = Df(m) F,   S' = Df S + S Df^T + D

    by the midpoint rule, F restarted at every step; G is the product of the propagators backwards, so nothing is inverted.

    Raises:
        ValueError: a duration or number of steps that is not positive.
        Diverged: a mean or covariance that is not finite: the reference blows up (a ValueError).
    """
    if not duration > 0 or steps < 1:
        raise ValueError(f"a law over {duration:g} in {steps} steps; a positive time and at least one step were wanted")
    x, h = x.double(), duration / steps
    exact = reference.linear
    if exact is not None:
        one = exact.transition(h)
        means = [x]
        for _ in range(steps):
            means.append(means[-1] @ one.phi.mT + one.c)
        P, Q = one.phi.expand(1, steps, -1, -1), one.cov.expand(1, steps, -1, -1)
        covs = [torch.zeros_like(one.cov)[None]]
        for _ in range(steps):
            covs.append(symmetric(one.phi @ covs[-1] @ one.phi.mT + one.cov))
    else:
        means, props, covs = _midpoint(reference, x, h, steps)
        P = torch.stack(props, 1)
        Q = torch.stack([symmetric(covs[k + 1] - props[k] @ covs[k] @ props[k].mT) for k in range(steps)], 1)
    m = torch.stack(means, 1)
    finite(m, torch.stack(covs, 1), x, duration)
    return LinearNoise(h, m, P, torch.stack(covs, 1), Q, backwards(P))


def finite(m: Float[Tensor, "..."], S: Float[Tensor, "..."], x: Float[Tensor, "cell dim"], duration: float) -> None:
    """Refuse means and covariances that are not finite.

    Raises:
        Diverged: naming the first start that they are not finite from.
    """
    bad = ~torch.isfinite(m).flatten(1).all(1)
    bad = bad | ~torch.isfinite(S).flatten(1).all(1)
    if bool(bad.any()):
        cell = int(bad.nonzero()[0])
        raise Diverged(f"the reference leaves every bound from start {cell}, x = {[round(v, 4) for v in x[cell].tolist()]}, within {duration:g}: "
                       "its parameters make it blow up. Bound them, start them elsewhere, or shorten the interval")


def _midpoint(reference: Reference, x: Tensor, h: float, steps: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    D = reference.D.to(x)
    means, props, covs = [x], [], [torch.zeros(len(x), *eye.shape, dtype=x.dtype, device=x.device)]
    for _ in range(steps):
        m, S = means[-1], covs[-1]
        half = m + h / 2 * reference.drift(m)
        first, second = reference.jacobian(m), reference.jacobian(half)
        props.append(eye + h * second @ (eye + h / 2 * first))
        growth = first @ S
        middle = S + h / 2 * (growth + growth.mT + D)
        growth = second @ middle
        covs.append(symmetric(S + h * (growth + growth.mT + D)))
        means.append(m + h * reference.drift(half))
    return means, props, covs


def backwards(P: Float[Tensor, "cell step dim dim"]) -> Float[Tensor, "cell step_plus_1 dim dim"]:
    G = [torch.eye(P.shape[-1], dtype=P.dtype, device=P.device).expand(P.shape[0], -1, -1)]
    for k in range(P.shape[1] - 1, -1, -1):
        G.append(G[-1] @ P[:, k])
    return torch.stack(G[::-1], 1)
