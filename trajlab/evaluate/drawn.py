"""Windows chosen to be played: draws beside what came, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.evaluate.figures import numbers
from trajlab.evaluate.results import DrawnScene
from trajlab.metrics.forecasts import aligned
from trajlab.metrics.structure import bonds
from trajlab.types import Forecast, Trajectories

__all__ = ["drawn_scenes"]

MOST_DRAWS = 20  #: in the page


def drawn_scenes(
    forecasts: Mapping[str, Forecast], truth: Trajectories | None, most: int = 5, rank: Float[Tensor, "scene"] | None = None,
) -> list[DrawnScene]:
    """Some windows with the draws of each method; none where the space has neither 2 nor 3 dimensions.

    Args:
        forecasts: by name, the judged one first.
        truth: what came; frames at the times of the forecasts are taken.
        most: how many windows.
        rank: an error of each scene. The windows are then chosen evenly from small to large, the median first; otherwise evenly by number.
    """
    first = next(iter(forecasts.values()))
    if first.past.dim not in (2, 3) or not first.past.n_scenes or not first.draws.shape[2] or most < 1:
        return []
    came = None
    if truth is not None:
        _, true, _, mask = aligned(first, truth, "skip")
        came = _hidden(true, mask)
    return [_scene(forecasts, came, k, words) for k, words in chosen(first.past.n_scenes, most, rank)]


def chosen(scenes: int, most: int, rank: Tensor | None) -> list[tuple[int, str]]:
    """Which scenes, and the place of each in words."""
    if rank is None:
        return [(k * scenes // most, "") for k in range(most)] if most < scenes else [(k, "") for k in range(scenes)]
    rank = rank.cpu()
    order = rank.argsort()[: int((~rank.isnan()).sum())]  # what has no error is sorted behind
    count = min(most, len(order))
    middles = sorted(range(count), key=lambda i: abs(2 * i + 1 - count))[:1]
    parts = middles + [i for i in range(count) if i not in middles]
    found = []
    for place in (int((i + 0.5) * len(order) / count) for i in parts):
        found.append((int(order[place]), f"ADE {float(rank[order[place]]):.3g}, rank {place + 1} of {len(order)}"))
    return found


def _scene(forecasts: Mapping[str, Forecast], came: np.ndarray | None, k: int, words: str) -> DrawnScene:
    first = next(iter(forecasts.values()))
    past = first.past.scenes([k])
    nodes = slice(int(first.past.ptr[k]), int(first.past.ptr[k + 1]))
    drawn = {name: _hidden(one.draws[:MOST_DRAWS, nodes], one.mask[:MOST_DRAWS, nodes]).swapaxes(1, 2) for name, one in forecasts.items()}
    clock = numbers(torch.cat([past.time, first.time[k : k + 1]], 1)[0] - past.time[0, -1])
    note = f"{MOST_DRAWS} of {first.n_draws} draws are shown." if first.n_draws > MOST_DRAWS else ""
    title = f"window {k}" + (f": {words}" if words else "")
    return DrawnScene(title, _hidden(past.x, past.mask).swapaxes(0, 1), drawn, clock, None if came is None else came[nodes].swapaxes(0, 1),
                      _elements(past), _joined(past), _marks(past), past.units.length, past.units.time, note)


def _hidden(x: Tensor, mask: Tensor) -> np.ndarray:
    return np.where(numbers(mask)[..., None], numbers(x.double()), np.nan)


def _elements(past: Trajectories) -> np.ndarray | None:
    """Atomic numbers, where lengths are in Angstrom and kinds are elements."""
    atoms = past.units.length == "angstrom" and past.dim == 3 and bool(((past.kind > 0) & (past.kind < 119)).all())
    return numbers(past.kind) if atoms else None


def _joined(past: Trajectories) -> np.ndarray | None:
    """Bonds: hop 1 where the data say so, springs, or distances of atoms at the last given frame they were all seen."""
    n = past.n_nodes
    matrix = next((past.static[name][:, :n] for name in ("hop", "spring") if name in past.static and past.static[name].ndim == 2), None)
    if matrix is not None and matrix.shape == (n, n):
        joined = matrix == 1 if "hop" in past.static else matrix != 0
        return numbers(torch.triu(joined, 1).nonzero())
    whole = past.mask.all(0).nonzero().flatten()
    if _elements(past) is None or not len(whole):
        return None
    return numbers(bonds(past.replace(extra={}), int(whole[-1])).T)


def _marks(past: Trajectories) -> list[str]:
    """The sign of the charge of things that are no atoms."""
    charge = past.static.get("charge")
    if charge is None or charge.ndim != 1 or _elements(past) is not None:
        return []
    return ["+" if q > 0 else "−" if q < 0 else "" for q in charge.tolist()]
