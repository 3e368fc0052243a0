"""Random starts whose rows don't depend on each other, and what is said of trajectories that could not be continued."""

from __future__ import annotations

import numpy as np

from trajlab.dynamics.ode import REASONS, Solution
from trajlab.sources.chaos_recipe import Recipe

__all__ = ["Lost", "rng", "starts"]

NEAR = 1e-3  #: distance of the starts from the tabulated one, relative to each component
START, PHASE, NOISE, DRIVE = 0, 1, 2, 3  #: what random numbers are for


def rng(seed: int, row: int, use: int) -> np.random.Generator:
    """Random numbers of one row, whatever the others."""
    return np.random.default_rng((seed, row, use))


def starts(start: np.ndarray, n: int, seed: int) -> np.ndarray:
    """``[n dim]`` states about a tabulated one: each component is changed by a thousandth of itself, or of 1 where it is 0, times a normal number."""
    size = NEAR * np.where(start != 0.0, np.abs(start), 1.0)
    return np.stack([start + size * rng(seed, i, START).standard_normal(start.shape) for i in range(n)])


class Lost:
    """Trajectories that could not be continued."""

    @staticmethod
    def check(name: str, recipe: Recipe, told: Solution, x: np.ndarray, ages: np.ndarray, rows: np.ndarray) -> None:
        """Raise where rows of ``x[row time dim]`` are incomplete and that is asked for.

        Args:
            told: how the integration went; its clock began ``ages[row]`` before the first frame.
            rows: their numbers.

        Raises:
            ValueError: names the system, rows, times and reasons.
        """
        lost = np.flatnonzero(~np.isfinite(x).all((1, 2)))
        if not len(lost) or recipe.failed != "raise":
            return
        some = "; ".join(f"row {rows[i]} at t = {told.reached[i] - ages[i]:.6g}: {REASONS[told.status[i]]}" for i in lost[:3])
        raise ValueError(f"{name}: {len(lost)} of {len(x)} trajectories could not be continued ({some}; times below 0 are in the transient). Start "
                         "elsewhere, change tolerances, seed or parameters, or pass failed='mask' to have them unobserved from there")
