"""Records as gluonts and its kin hold them, ``{"start", "target", "item_id"}``, to and from `Trajectories`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from trajlab.types import Trajectories
from trajlab.units import Units

__all__ = ["from_gluonts", "to_gluonts"]


def to_gluonts(trajectories: Trajectories, *, start: str = "2000-01-01", freq: str = "s") -> list[dict[str, Any]]:
    """One record a node: ``start`` (a pandas Period), ``target`` and ``item_id``. A list of them is a gluonts dataset.

    Calendars are what gluonts counts in, so every series begins at ``start`` and one frame is one ``freq``, whatever the clock says.

    Args:
        trajectories: evenly spaced.
        start: calendar date of the first frame.
        freq: of the calendar, as pandas names it.

    Returns:
        Records whose ``target`` is ``[time]`` for one channel and ``[dim time]`` for more, float32 as gluonts has it, NaN where nothing was observed.

    Raises:
        ValueError: the frames are not evenly spaced, or pandas does not know the date or the frequency.
    """
    import pandas as pd

    if trajectories.n_frames > 1:
        _ = trajectories.spacing  # refuses uneven clocks
    x = torch.where(trajectories.mask[..., None], trajectories.x, torch.nan).detach().cpu().numpy().astype(np.float32)
    first = pd.Period(start, freq=freq)
    names = [f"{int(scene)}-{node}" for node, scene in enumerate(trajectories.scene)]
    return [{"start": first, "target": series[:, 0] if series.shape[1] == 1 else series.T.copy(), "item_id": name} for series, name in zip(x, names)]


def from_gluonts(records: Iterable[Mapping[str, Any]], *, spacing: float = 1.0, units: Units | None = None) -> Trajectories:
    """Trajectories from records with a ``target``; each becomes a scene with one node.

    Args:
        records: ``target`` is ``[time]`` or ``[dim time]``; NaN means not observed (a frame counts as observed where all channels are). Shorter
            series are filled up at the end and masked there. ``start`` and all other keys but ``item_id`` are left aside.
        spacing: time between frames, in ``units.time``.
        units: none by default.

    Returns:
        The series, with their ``item_id`` in ``source["items"]``.

    Raises:
        ValueError: no records, a record without target, or different numbers of channels.
    """
    targets, items = [], []
    for number, record in enumerate(records):
        if "target" not in record:
            raise ValueError(f"record {number} has {sorted(record)}; a target was wanted, [time] or [dim time]")
        target = np.atleast_2d(np.asarray(record["target"], dtype=np.float64))
        if target.ndim != 2 or not target.size:
            raise ValueError(f"record {number} has a target of shape {target.shape}; [time] or [dim time] was wanted")
        targets.append(target.T)
        items.append(str(record.get("item_id", number)))
    widths = sorted({t.shape[1] for t in targets})
    if len(widths) != 1 or not spacing > 0:
        raise ValueError(f"{len(targets)} records with {widths} channels, spacing {spacing:g}; at least one record, equal numbers of channels and a "
                         "positive spacing were wanted")
    frames = max(map(len, targets))
    x = np.full((len(targets), frames, targets[0].shape[1]), np.nan)
    for row, target in zip(x, targets):
        row[: len(target)] = target
    mask = np.isfinite(x).all(-1)
    time = spacing * torch.arange(frames, dtype=torch.float64).expand(len(x), -1)
    return Trajectories(x=torch.as_tensor(np.where(mask[..., None], x, 0.0)), time=time, scene=torch.arange(len(x)), mask=torch.as_tensor(mask),
                        units=units or Units(), source={"reader": "gluonts", "items": tuple(items)})
