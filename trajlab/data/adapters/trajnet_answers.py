"""TrajNet++ files to write, and predictions to and from forecasts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from trajlab.data.adapters.trajnet import STEP, content
from trajlab.types import Forecast, Trajectories

__all__ = ["read_trajnet_answers", "write_trajnet", "write_trajnet_answers"]


def write_trajnet(path: str | Path, trajectories: Trajectories) -> Path:
    """Write scenes of one recording, such as `read_trajnet` or windows of pedestrians make; values are rounded to 1 mm.

    The primary of a scene is its first node with ``static["focal"]``, or its first node; ``static["id"]`` names the pedestrians.

    Raises:
        ValueError: scenes are of several recordings or have no ``static["id"]``, or one pedestrian is at two places in one frame.
    """
    runs = trajectories.context.get("run", torch.zeros(1)).unique()
    if "id" not in trajectories.static or len(runs) > 1:
        has = "id" in trajectories.static
        raise ValueError(f"scenes of {len(runs)} recordings came {'with' if has else 'without'} static['id']; one recording a file, and pedestrians "
                         "named by static['id'], were wanted")
    place: dict[tuple[int, int], tuple[float, float]] = {}
    for frame, node, x, y in _sightings(trajectories.x, trajectories.mask, trajectories.time[trajectories.scene], trajectories):
        key = frame, int(trajectories.static["id"][node])
        if place.setdefault(key, (x, y)) != (x, y):
            raise ValueError(f"pedestrian {key[1]} is at {place[key]} and at {(x, y)} in frame {frame}; these are not scenes of one recording")
    tracks = [{"track": {"f": f, "p": p, "x": x, "y": y}} for (f, p), (x, y) in sorted(place.items())]
    return _written(path, [*_marks(trajectories), *tracks])


def write_trajnet_answers(path: str | Path, forecast: Forecast) -> Path:
    """Write every draw of a forecast as a prediction; values are rounded to 1 mm.

    Raises:
        ValueError: the past has no ``static["id"]``.
    """
    past = forecast.past
    if "id" not in past.static:
        raise ValueError("the past of this forecast doesn't name its pedestrians (static['id']); TrajNet++ wants them by number")
    numbers = _scene_numbers(past)
    tracks = [{"track": {"f": f, "p": int(past.static["id"][node]), "x": x, "y": y, "prediction_number": k, "scene_id": numbers[past.scene[node]]}}
              for k in range(forecast.n_draws)
              for f, node, x, y in _sightings(forecast.draws[k], forecast.mask[k], forecast.time[past.scene], past)]
    return _written(path, [*_marks(past, forecast.time[:, -1]), *tracks])


def read_trajnet_answers(path: str | Path, past: Trajectories) -> Forecast:
    """Predictions as a forecast.

    Args:
        path: as `write_trajnet_answers` (or anyone) wrote it.
        past: the observed frames of the scenes, as ``read_trajnet(...).frames(slice(9))`` gives them.

    Returns:
        One draw a prediction number; pedestrians that were not predicted are masked out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no predictions, or one of a scene, pedestrian or frame that does not follow the past.
    """
    path = Path(path)
    rows = [row for row in content(path)[1] if row.number is not None]
    if not rows:
        raise ValueError(f"{path} holds no predictions (tracks with a prediction_number)")
    numbers = _scene_numbers(past)
    node_of = {(numbers[int(s)], int(i)): k for k, (s, i) in enumerate(zip(past.scene, past.static["id"]))}
    last = torch.round(past.time[:, -1] * _clock(past)).long()
    step = round(_clock(past) * past.spacing)
    after = [(row.frame - int(last[past.scene[node_of[row.scene, row.person]]])) / step if (row.scene, row.person) in node_of else 0 for row in rows]
    for row, ahead in zip(rows, after):
        if ahead < 1 or ahead != int(ahead):
            raise ValueError(f"{path} predicts pedestrian {row.person} of scene {row.scene} at frame {row.frame}; the past has "
                             + ("no such pedestrian there" if not ahead else "that frame already, or its clock has no such frame"))
    steps, draws = int(max(after)), 1 + max(row.number for row in rows)  # type: ignore[type-var]
    x, mask = torch.zeros(draws, past.n_nodes, steps, 2, dtype=torch.float64), torch.zeros(draws, past.n_nodes, steps, dtype=torch.bool)
    for row, ahead in zip(rows, after):
        at = row.number, node_of[row.scene, row.person], int(ahead) - 1
        x[at], mask[at] = torch.tensor([row.x, row.y], dtype=torch.float64), True
    time = past.time[:, -1:] + past.spacing * torch.arange(1, steps + 1, dtype=torch.float64)
    return Forecast(x, past, time, mask, provenance={"method": "TrajNet++ predictions", "file": path.name})


def _clock(trajectories: Trajectories) -> float:
    """Frame numbers a second."""
    source = trajectories.source
    return source["frame_step"] * source["rate"] if {"frame_step", "rate"} <= set(source) else STEP / trajectories.spacing


def _scene_numbers(trajectories: Trajectories) -> list[int]:
    return trajectories.context["number"].tolist() if "number" in trajectories.context else list(range(trajectories.n_scenes))


def _sightings(x: torch.Tensor, mask: torch.Tensor, time: torch.Tensor, like: Trajectories) -> Iterator[tuple[int, int, float, float]]:
    """Frame number, node, x and y of everything seen."""
    frame = torch.round(time.cpu() * _clock(like)).long()
    node, at = mask.cpu().nonzero(as_tuple=True)
    yield from zip(frame[node, at].tolist(), node.tolist(), *(x.detach().cpu()[node, at, k].double().numpy().round(3).tolist() for k in (0, 1)))


def _marks(trajectories: Trajectories, end: torch.Tensor | None = None) -> list[dict[str, Any]]:
    focal = trajectories.static.get("focal", torch.zeros(trajectories.n_nodes, dtype=torch.bool))
    tags = trajectories.source.get("tags", [0] * trajectories.n_scenes)
    clock, marks = _clock(trajectories), []
    for scene, number in enumerate(_scene_numbers(trajectories)):
        node = (trajectories.scene == scene).nonzero().flatten()
        primary = node[int(focal[node].int().argmax())]
        seen = trajectories.time[scene][trajectories.mask[node].any(0)]
        first, last = float(seen[0]), float(seen[-1] if end is None else end[scene])
        marks.append({"scene": {"id": number, "p": int(trajectories.static["id"][primary]), "s": round(first * clock), "e": round(last * clock),
                                "fps": round(1 / trajectories.spacing, 6), "tag": tags[scene] if len(tags) > scene else 0}})
    return marks


def _written(path: str | Path, lines: list[dict[str, Any]]) -> Path:
    path = Path(path)
    part = path.with_name(path.name + ".part")
    part.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    part.replace(path)
    return path
