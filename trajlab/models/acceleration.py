"""Quicker reference steps: maximum likelihood over the plan, and squared extrapolation (SQUAREM, Varadhan & Roland 2008)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.linear_noise import Diverged, linear_noise
from trajlab.models.bridge_evidence import Evidence
from trajlab.models.family import Family

__all__ = ["extrapolated", "likelihood_step"]

MOST = 60  #: parameters of a likelihood step: each costs two laws a gradient
STEPS = 5  #: of L-BFGS
FAR = 1e30  #: stands for the objective where the reference blows up
LONGEST = 8.0  #: of an extrapolation


def likelihood_step(evidence: Evidence, family: Family, theta: Float[Tensor, "parameter"]) -> Float[Tensor, "parameter"]:
    """argmax over theta of  sum_ij P_ij log p_theta(y_j | x_i)  with the plans P fixed, some steps of L-BFGS in the free coordinates of the family.

    It lowers the same objective as the reference step, and with the same law as the bridge step, so that the objective cannot rise.

    Raises:
        ValueError: more parameters than differences are quick for.
    """
    from scipy.optimize import minimize

    if len(theta) > MOST:
        raise ValueError(f"a likelihood step of {len(theta)} parameters; at most {MOST} were wanted. Use acceleration='squarem' or 'none'")
    D, steps = evidence.reference.D, evidence.laws[0].steps

    def loss(free: np.ndarray) -> float:
        try:
            reference = family.reference(family.bound(torch.from_numpy(free)), D)
            laws = [linear_noise(reference, one.x, one.duration, steps) for one in evidence.intervals]
            value = -sum(float((plan.P * law.log_density(one.y)).sum()) for one, law, plan in zip(evidence.intervals, laws, evidence.plans))
        except Diverged:
            return FAR
        return value if np.isfinite(value) else FAR

    def slope(free: np.ndarray) -> np.ndarray:
        step = 1e-5 * np.maximum(np.abs(free), 1)
        return np.array([(loss(free + row) - loss(free - row)) / (2 * size) for row, size in zip(np.diag(step), step)])

    start = family.free(theta).numpy()
    found = minimize(loss, start, jac=slope, method="L-BFGS-B", options={"maxiter": STEPS})
    return family.bound(torch.from_numpy(found.x)) if found.fun <= loss(start) else theta


def extrapolated(first: Float[Tensor, "parameter"], second: Float[Tensor, "parameter"],
                 third: Float[Tensor, "parameter"], shortened: int = 0) -> Float[Tensor, "parameter"]:
    """l0 + 2 c r + c^2 v  with r = l1 - l0, v = (l2 - l1) - r, c = |r| / |v| kept within 1 (which is l2) and 8; every time it is
    shortened, half-way back to 1."""
    r = second - first
    v = (third - second) - r
    size = float(v.norm())
    c = min(max(float(r.norm()) / size, 1.0), LONGEST) if size > 0 else 1.0
    c = 1 + (c - 1) / 2**shortened
    return first + 2 * c * r + c**2 * v
