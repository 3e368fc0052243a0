"""The equilibrium geometry of a potential, where the one-step Jacobian of a surrogate is taken."""

from __future__ import annotations

import numpy as np
import torch

from trajlab.dynamics.particles import Particles, Potential


def relaxed(potential: Potential, p: Particles, tolerance: float = 1e-4, steps: int = 2000) -> Particles:
    """One system at rest at the nearest minimum of the energy, by L-BFGS; the cell is kept.

    Args:
        potential: the reference.
        p: one system.
        tolerance: largest force component left, eV/Angstrom.
        steps: most iterations.

    Raises:
        ValueError: more than one system came.
        RuntimeError: the forces did not become small enough.
    """
    from scipy.optimize import minimize

    if p.n_scenes != 1:
        raise ValueError(f"one system is relaxed at a time, but {p.n_scenes} came")

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.as_tensor(flat.reshape(-1, 3), dtype=p.x.dtype, device=p.x.device)
        energy, force = potential(p.replace(x=x))
        return float(energy[0]), -force.cpu().numpy().flatten()

    found = minimize(objective, p.x.cpu().numpy().flatten(), jac=True, method="L-BFGS-B",
                     options={"maxiter": steps, "maxfun": 2 * steps, "gtol": tolerance, "ftol": 1e-16})
    left = float(np.abs(objective(found.x)[1]).max())
    if left > 10 * tolerance:
        raise RuntimeError(f"after {found.nit} iterations the largest force component is still {left:.2g} eV/A ({found.message}); "
                           "start nearer to a minimum, or allow a larger tolerance")
    x = torch.as_tensor(found.x.reshape(-1, 3), dtype=p.x.dtype, device=p.x.device)
    return p.replace(x=x, v=torch.zeros_like(p.v))
