"""What is seen of a hidden state: labels as they are, labels that may be wrong, continuous signals.

Every emission says how likely each state is at each observation (`likelihood`), how its parameters are set given the probabilities of the hidden
states (`updated`, the M-step), and the derivative of the expected complete-data log-likelihood by its parameters in unconstrained coordinates
(`score`; by Fisher's identity that of the log-likelihood itself).

All read the kinds of observation in the same way: a censored look has likelihood one in each allowed state, a missing one in every state. Only panel
looks may be wrong; jumps and entries of known date (deaths) are what they say, unless ``noisy`` names their kinds too.
"""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

import numpy as np
import torch

from trajlab.dynamics.jumps.gaussian_emission import GaussianEmission
from trajlab.dynamics.jumps.label_emissions import Exactly, Flip
from trajlab.dynamics.jumps.misclassification import Misclassification
from trajlab.dynamics.jumps.smoothing import Likelihood
from trajlab.dynamics.jumps.student_emission import StudentEmission
from trajlab.types import JumpPaths

__all__ = ["Emission", "Exactly", "Flip", "GaussianEmission", "Misclassification", "StudentEmission", "first_guess"]


@runtime_checkable
class Emission(Protocol):
    """The interface of all emissions.

    ``parameters`` are in unconstrained coordinates, with ``bounds`` ``[parameter 2]`` beyond which an optimiser should not look; ``log_prior`` and
    ``prior_score`` are those of the pseudo-counts, zero where there are none.
    """

    def likelihood(self, paths: JumpPaths) -> Likelihood: ...
    def updated(self, posterior: np.ndarray, paths: JumpPaths) -> Self: ...
    def score(self, posterior: np.ndarray, paths: JumpPaths) -> np.ndarray: ...
    def with_parameters(self, parameters: np.ndarray) -> Self: ...
    def log_prior(self, n_states: int) -> float: ...
    def prior_score(self, n_states: int) -> np.ndarray: ...
    @property
    def parameters(self) -> np.ndarray: ...
    @property
    def bounds(self) -> np.ndarray: ...
    @property
    def names(self) -> tuple[str, ...]: ...


def first_guess(paths: JumpPaths, emission: Emission) -> JumpPaths:
    """These paths with the most likely label at each observation, for a first estimate of rates.

    Observations that do not tell one state from another, and second ones at the same time, are left out. A jump of known date whose last observation
    was left out becomes a mere look.

    Raises:
        ValueError: no path keeps two observations.
    """
    rows = np.asarray(emission.likelihood(paths))
    best = rows.argmax(1)
    told = (rows == rows.max(1, keepdims=True)).sum(1) == 1 if paths.n_states > 1 else np.ones(len(rows), dtype=bool)
    path, time, kind = (np.asarray(v.cpu()) for v in (paths.path, paths.time, paths.observed))
    kept = np.flatnonzero(told)
    again = (np.diff(path[kept], prepend=-1) == 0) & (np.diff(time[kept], prepend=-np.inf) == 0)
    kept = kept[~again]
    _, number, sizes = np.unique(path[kept], return_inverse=True, return_counts=True)
    if not (sizes > 1).any():
        raise ValueError(f"none of the {paths.n_paths} paths has two observations that tell its state; two of one path were wanted")
    seen = np.where(np.isin(kind, (JumpPaths.EXACT, JumpPaths.ENTRY)), kind, JumpPaths.PANEL)[kept]
    broken = np.diff(kept, prepend=-1) != 1
    seen[broken & (seen == JumpPaths.EXACT)] = JumpPaths.PANEL
    values = {k: v[torch.as_tensor(kept, device=v.device)] for k, v in paths.covariates.items()}
    label, path = torch.as_tensor(best[kept]), torch.as_tensor(number.reshape(-1))
    return paths.replace(label=label, time=torch.as_tensor(time[kept]), path=path, observed=torch.as_tensor(seen), covariates=values,
                         allowed=None, signal=None)
