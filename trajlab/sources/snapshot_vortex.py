"""Snapshots of drifters in an ocean eddy such as those of the Gulf of Mexico.

The published task lets particles drift in a velocity field of an ocean model, which is not shipped. Here the eddy is one of two laws instead, with
the published start, noise and times: an elliptic linear field or a Lamb-Oseen vortex, whose turn-over of about 7 units is that of the published one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.sources.snapshots_simulated import SnapshotRecipe, fresh_snapshots
from trajlab.types import Snapshots

__all__ = ["ELLIPTIC", "LAMB_OSEEN", "snapshot_vortex"]

#: s, x0, y0, l of  dx/dt = s (y - y0) e^-l,  dy/dt = -s (x - x0)
ELLIPTIC = (0.9, 0.05, 0.0, -0.1)
#: circulation, x0, y0, l of  Gamma (1 - e^{-r^2}) / r  around (x0, y0), the first axis stretched by e^-l; negative: clockwise
LAMB_OSEEN = (-1.2, 0.05, 0.0, 0.1)
#: As in Shen, Berlinghieri & Broderick (2024): nine snapshots 1 apart of 111 drifters; noise as in the published field of 2025.
RECIPE = SnapshotRecipe(tuple(float(t) for t in range(9)), cells=111, sigma=0.01)
LAWS = {"elliptic": ELLIPTIC, "lamb_oseen": LAMB_OSEEN}


def snapshot_vortex(recipe: SnapshotRecipe = RECIPE, law: str = "elliptic", theta: Sequence[float] | None = None) -> Snapshots:
    """Drifters from U[-.05, .05] x U[-.80, -.70] about the middle of an eddy, degrees.

    Args:
        recipe: of snapshots.
        law: ``elliptic`` (linear: all drifters turn alike) or ``lamb_oseen`` (Lamb 1932, Oseen 1912: the inner ones turn faster, so that the patch is
            sheared, as in the ocean model).
        theta: of the law, four parameters; `ELLIPTIC` or `LAMB_OSEEN` by default.

    Raises:
        ValueError: an unknown law, or not four parameters.
    """
    if law not in LAWS:
        raise ValueError(unknown("law of a vortex", law, LAWS))
    chosen = tuple(map(float, LAWS[law] if theta is None else theta))
    if len(chosen) != 4:
        raise ValueError(f"snapshot_vortex: {len(chosen)} parameters came; four were wanted: strength, x0, y0 and stretch")
    strength, x0, y0, stretch = chosen
    e = float(torch.tensor(-stretch, dtype=torch.float64).exp())

    def elliptic(x: Float[Tensor, "cell dim"]) -> Float[Tensor, "cell dim"]:
        return strength * torch.stack([(x[:, 1] - y0) * e, -(x[:, 0] - x0)], 1)

    def lamb_oseen(x: Float[Tensor, "cell dim"]) -> Float[Tensor, "cell dim"]:
        a, b = (x[:, 0] - x0) * e, x[:, 1] - y0
        square = (a**2 + b**2).clamp(min=1e-12)
        return (-strength * torch.expm1(-square) / square)[:, None] * torch.stack([-b, a], 1)

    drift = elliptic if law == "elliptic" else lamb_oseen
    return fresh_snapshots(drift, (-0.05, -0.80), (0.05, -0.70), recipe, ("longitude", "latitude"), system=f"vortex, {law}", theta=chosen)
