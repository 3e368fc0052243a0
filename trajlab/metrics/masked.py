"""Errors of forecasts of sensors over what was seen: absolute, root mean square (pooled) and percentage errors, up to or at a lead time.

Values are masked because they are missing, never because they are zero. Root mean squares are roots of pooled means, not means of roots.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.types import Forecast, Trajectories

__all__ = ["MaskedErrors", "masked_errors", "masked_scores"]

OVER = ("windows", "values")


@dataclass(frozen=True)
class MaskedErrors:
    """Errors of a forecast of windows.

    Attributes:
        mae: mean absolute error.
        rmse: root of the pooled mean square error.
        mape: mean absolute percentage error where the truth exceeds the threshold, or NaN where none was asked for or nothing exceeds it.
        count: values that were compared.
        per_scene: mean absolute error of each window, ``[scene]``; NaN where nothing was seen.
        lead: of what, in words.
    """

    mae: float
    rmse: float
    mape: float
    count: int
    per_scene: Float[Tensor, "scene"]
    lead: str


def masked_errors(forecast: Forecast, truth: Trajectories, frames: int | None = None, *, at: bool = False, over: str = "windows",
                  threshold: float | None = None) -> MaskedErrors:
    """Errors of the mean over draws.

    Args:
        forecast: of one quantity.
        truth: what came, with a mask, at the times of the forecast.
        frames: mean up to this frame of the forecast; all of it by default.
        at: the error at that frame alone instead.
        over: ``"windows"``: means over what was seen in a window, then over windows (the root comes last); ``"values"``: over all values.
        threshold: of the truth, for the percentage error.

    Raises:
        ValueError: truth of another shape or clock, a number of frames out of range, nothing was seen, or an unknown way to average.
    """
    if truth.x.shape != forecast.draws.shape[1:]:
        raise ValueError(f"the truth has shape {tuple(truth.x.shape)}, the forecast {tuple(forecast.draws.shape[1:])}; give the frames that were "
                         "forecast")
    if not torch.allclose(truth.time, forecast.time):
        raise ValueError(f"the truth begins at {float(truth.time[0, 0]):g}, the forecast at {float(forecast.time[0, 0]):g}: other clocks; give the "
                         "frames that were forecast")
    mask = truth.mask & forecast.mask.all(0)
    said = forecast.draws.double().mean(0)[..., 0]
    return masked_scores(said, truth.x[..., 0].double(), mask, truth.scene, frames, at=at, over=over, threshold=threshold)


def masked_scores(said: Float[Tensor, "node time"], truth: Tensor, mask: Tensor, scene: Tensor, frames: int | None = None, *, at: bool = False,
                  over: str = "windows", threshold: float | None = None) -> MaskedErrors:
    """`masked_errors` of plain tensors ``[node time]``, with the window of each node.

    Raises:
        ValueError: as there.
    """
    frames = said.shape[1] if frames is None else frames
    if not 1 <= frames <= said.shape[1] or over not in OVER:
        raise ValueError(f"frames={frames}, over={over!r}: 1 to {said.shape[1]}, and one of {', '.join(OVER)} were wanted")
    part = slice(frames - 1 if at else 0, frames)
    seen = mask[:, part]
    if not bool(seen.any()):
        raise ValueError("nothing was seen in these frames of the truth; there is nothing to compare with")
    off = torch.where(seen, said[:, part] - truth[:, part], 0.0)
    scenes = int(scene.max()) + 1
    add = lambda v: torch.zeros(scenes, dtype=torch.float64).index_add_(0, scene, v.double().sum(1))  # noqa: E731
    count, absolute, square = add(seen), add(off.abs()), add(off.square())
    there = count > 0
    each, squares = (torch.where(there, v / count.clamp(min=1), torch.nan) for v in (absolute, square))
    mae, mse = (each.nanmean(), squares.nanmean()) if over == "windows" else (v.sum() / count.sum() for v in (absolute, square))
    mape = torch.nan
    if threshold is not None:
        big = seen & (truth[:, part].abs() > threshold)
        mape = float((off.abs() / truth[:, part].abs())[big].mean()) if bool(big.any()) else torch.nan
    lead = f"at frame {frames}" if at else f"mean up to frame {frames}"
    return MaskedErrors(float(mae), float(mse.sqrt()), mape, int(seen.sum()), each, lead)
