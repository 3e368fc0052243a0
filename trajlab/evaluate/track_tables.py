"""How a table of tracks was read, as a table of the page, and forecasts of tracks as a table."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import torch

from trajlab.evaluate.results import Table
from trajlab.types import Forecast, Trajectories

__all__ = ["doubts", "reading_table", "write_csv"]


def doubts(recording: Trajectories) -> list[str]:
    """What is implausible about a recording, as its reader found it."""
    return [f"Doubt about the data: {doubt}" for doubt in recording.source.get("doubts", ())]


def reading_table(recording: Trajectories) -> Table:
    """What was read: how much, in which units, by which columns, and what was dropped for which reason."""
    source = recording.source
    dropped = {k: v for k, v in source.get("dropped", {}).items() if k != "rows" and v}
    seen = int(recording.mask.sum())
    speed = recording.extra["velocity"].double().norm(dim=-1)[recording.mask] if "velocity" in recording.extra else torch.zeros(0)
    rows: dict[str, Any] = {
        "read as": source.get("reader") or source.get("what"), "rows": source.get("dropped", {}).get("rows"), "sightings": seen,
        "dropped": ", ".join(f"{n} {reason}" for reason, n in dropped.items()) or "nothing",
        "tracks": recording.n_nodes, "recordings": recording.n_scenes, "frames": recording.n_frames,
        "time between frames, s": recording.spacing if recording.n_frames > 1 else None,
        "frames that nobody was seen in": source.get("missing_frames"),
        "gaps within tracks": source.get("gaps"), "speed, m/s: median": float(speed.median()) if len(speed) else None,
        "speed, m/s: greatest": float(speed.max()) if len(speed) else None,
        "columns": ", ".join(f"{role}: {name}" for role, name in source.get("columns", {}).items()) or None,
        "units": ", ".join(f"{what} in {unit}" for what, unit in source.get("units", {}).items()) or None,
        "unused columns": ", ".join(source.get("unused", ())) or None,
        "velocities made from positions": source.get("estimated", {}).get("velocity"),
        "headings made from motion": source.get("estimated", {}).get("heading"), "agents without any heading": source.get("no_heading"),
        "kinds": ", ".join(map(str, source.get("kinds", ()))) or None}
    split = lambda value: ("", value) if isinstance(value, str) else (value, "")  # noqa: E731  # words and numbers each have a column
    unless = ("frames that nobody was seen in", "gaps within tracks", "velocities made from positions", "headings made from motion",
              "agents without any heading")
    rows = {name: value for name, value in rows.items() if value is not None and not (name in unless and not value)}
    return Table("What was read", ["", "number", "words"], [[name, *split(value)] for name, value in rows.items()],
                 "Everything is in metres, seconds and radians counter-clockwise from x after reading.")


def write_csv(forecast: Forecast, path: str | Path) -> Path:
    """A forecast as a table, by a temporary file and a rename: a row for each window, agent, path and time.

    With a mixture, columns ``window, id, mode, probability, time, x, y, var_x, cov_xy, var_y``; else ``window, id, draw, time, x, y``. In metres and
    seconds, in the frame of reference and on the clock of the recording.
    """
    path = Path(path)
    past = forecast.past
    names = past.source.get("ids")
    ident = past.static["id"].tolist() if "id" in past.static else list(range(past.n_nodes))
    who = [names[i] if names else i for i in ident]
    mixture = {"logits", "mean", "covariance"} <= set(forecast.mixture)
    label, more = (["mode", "probability"], ["var_x", "cov_xy", "var_y"]) if mixture else (["draw"], [])
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["window", "id", *label, "time", "x", "y", *more])
        for node in range(past.n_nodes):
            scene = int(past.scene[node])
            seen = forecast.mask[:, node].all(0).tolist()
            clock = [round(t, 6) for t in forecast.time[scene].tolist()]
            for one, rows in _of_mixture(forecast, node) if mixture else _of_draws(forecast, node):
                out.writerows([scene, who[node], *one, t, *values] for t, values, there in zip(clock, rows, seen) if there)
    os.replace(temporary, path)
    return path


def _of_mixture(forecast: Forecast, node: int) -> list[tuple[list[Any], list[list[str]]]]:
    p = forecast.mixture["logits"][node].double().softmax(-1).tolist()
    mean, cov = forecast.mixture["mean"][node], forecast.mixture["covariance"][node]
    values = torch.cat([mean, torch.stack([cov[..., 0, 0], cov[..., 0, 1], cov[..., 1, 1]], -1)], -1)
    return [([k, f"{p[k]:.6g}"], _short(values[k])) for k in range(len(p))]


def _of_draws(forecast: Forecast, node: int) -> list[tuple[list[Any], list[list[str]]]]:
    return [([k], _short(forecast.draws[k, node])) for k in range(forecast.n_draws)]


def _short(values: torch.Tensor) -> list[list[str]]:
    return [[f"{v:.6g}" if abs(v) < 1e5 else f"{v:.3f}" for v in row] for row in values.double().tolist()]
