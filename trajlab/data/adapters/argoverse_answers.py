"""Answers to the Argoverse 2 motion forecasting challenge: a parquet table of one row a predicted path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajlab.catalog import need, unknown
from trajlab.data.adapters.argoverse import CATEGORIES
from trajlab.types import Forecast

__all__ = ["read_argoverse_answers", "write_argoverse_answers"]

STEPS, MOST = 60, 6
COLUMNS = ("scenario_id", "track_id", "probability", "predicted_trajectory_x", "predicted_trajectory_y")
TRACKS = ("focal", "scored")


def write_argoverse_answers(path: str | Path, forecast: Forecast, tracks: str = "focal") -> Path:
    """Write the paths of a forecast as the challenge takes them.

    For the focal track, the modes of a mixture are written with their probabilities where the forecast has one (``mixture["logits"]`` and
    ``["mean"]``), else its draws with their weights. A joint submission (``tracks="scored"``) needs paths that belong together: the draws.

    Args:
        path: to write, ``.parquet``.
        forecast: of 60 frames, of trajectories that `read_argoverse` made.
        tracks: ``"focal"``: the one of each scenario; ``"scored"``: those scored too (the challenge of many agents).

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: the forecast has other than 60 frames or more than 6 paths, is not of Argoverse, breaks off, or ``tracks`` is unknown.
    """
    need("pyarrow", "traffic", "writing parquet")
    import pandas as pd

    if tracks not in TRACKS:
        raise ValueError(unknown("tracks", tracks, TRACKS))
    past = forecast.past
    if "category" not in past.static or "scenario" not in past.source:
        raise ValueError("the past of this forecast is not of trajlab.read_argoverse: it has no static['category'] or no source['scenario']")
    if len(past.source["scenario"]) != past.n_scenes or len(past.source["id"]) != past.n_nodes:
        raise ValueError(f"{past.n_scenes} scenes and {past.n_nodes} tracks, but names of {len(past.source['scenario'])} and "
                         f"{len(past.source['id'])}; forecast whole files, not some scenes of them")
    paths, probability = _paths(forecast, mixture=tracks == "focal")
    least = CATEGORIES.index(tracks)
    rows: list[dict[str, Any]] = []
    for node in (past.static["category"] >= least).nonzero().flatten().tolist():
        scene = int(past.scene[node])
        rows += [dict(zip(COLUMNS, (past.source["scenario"][scene], past.source["id"][node], float(p), xy[:, 0], xy[:, 1])))
                 for p, xy in zip(probability[node], paths[node])]
    path = Path(path)
    part = path.with_name(path.name + ".part")
    pd.DataFrame(rows, columns=list(COLUMNS)).to_parquet(part)
    part.replace(path)
    return path


def _paths(forecast: Forecast, mixture: bool) -> tuple[np.ndarray, np.ndarray]:
    """Paths ``[node mode time 2]`` and their probabilities ``[node mode]``."""
    if mixture and {"logits", "mean"} <= set(forecast.mixture):
        paths, probability = forecast.mixture["mean"].double(), forecast.mixture["logits"].double().softmax(-1)
    else:
        paths, draws = forecast.draws.transpose(0, 1).double(), forecast.n_draws
        weight = torch.zeros(draws, forecast.past.n_scenes) if forecast.log_weight is None else forecast.log_weight
        probability = weight.double().softmax(0)[:, forecast.past.scene.cpu()].T
        if not bool(forecast.mask.all()):
            raise ValueError("the forecast breaks off before its end; the challenge wants all 60 frames of every path")
    if paths.shape[2] != STEPS or paths.shape[1] > MOST:
        raise ValueError(f"the forecast has {paths.shape[2]} frames and {paths.shape[1]} paths; {STEPS} frames and at most {MOST} paths were wanted")
    if not bool(torch.isfinite(paths).all()):
        raise ValueError("the forecast is not finite")
    return paths.detach().cpu().numpy()[..., :2], probability.detach().cpu().numpy()


def read_argoverse_answers(path: str | Path) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """What `write_argoverse_answers` (or anyone) wrote: scenario -> track -> (paths ``[mode 60 2]`` in m, probabilities ``[mode]``).

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: pyarrow is not installed.
        ValueError: a column is missing, a path has other than 60 points, or the probabilities of a track don't sum to 1.
    """
    need("pyarrow", "traffic", "reading parquet")
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    table = pd.read_parquet(path)
    for name in COLUMNS:
        if name not in table:
            raise ValueError(f"{path} holds no answers: {unknown('column', name, map(str, table.columns))}")
    answers: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for (scenario, track), rows in table.groupby(["scenario_id", "track_id"], sort=False):
        lengths = {len(v) for c in COLUMNS[3:] for v in rows[c]}
        probability = rows["probability"].to_numpy(np.float64)
        if lengths != {STEPS} or abs(probability.sum() - 1) > 1e-4:
            raise ValueError(f"{path}: track {track} of {scenario} has paths of {sorted(lengths)} points with probabilities that sum to "
                             f"{probability.sum():g}; {STEPS} points and 1 were wanted")
        xy = np.stack([np.stack(rows[c].to_list()) for c in COLUMNS[3:]], axis=-1)
        answers.setdefault(str(scenario), {})[str(track)] = (xy, probability)
    return answers
