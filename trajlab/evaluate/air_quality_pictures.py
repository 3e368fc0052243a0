"""What a picture of wind and plumes shows, from measured wind: places, wind, and amounts that a source sends downwind."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trajlab.data.station_graphs import station_graph
from trajlab.dynamics.graph_transport import plume
from trajlab.evaluate.air_quality_plume import PlumePicture
from trajlab.models.air.station_forecaster import by_scene
from trajlab.types import Trajectories

__all__ = ["PlumePicture", "station_plume", "wind_plume"]

DEGREE = 111_194.9  #: metres in a degree of latitude


def wind_plume(series: Trajectories, first: int, hours: int = 12, *, source: tuple[float, float] | None = None, cells: int = 24,
               margin: float = 0.15, diffusivity: float = 200.0) -> PlumePicture:
    """A steady source in the measured wind, mean over stations, on a raster around them.

    Args:
        series: one scene with static ``lon`` and ``lat`` and extra ``wind``.
        first: frame that it begins at.
        hours: frames that it lasts.
        source: longitude, latitude; the middle of the stations by default.
        cells: points of the raster along a side.
        margin: around the stations, degrees.
        diffusivity: m^2/s, beside what the upwind scheme spreads.

    Raises:
        ValueError: coordinates or wind are missing, or the frames are not there.
    """
    lon, lat, wind = _measured(series, first, hours)
    around = lambda v: torch.linspace(float(v.min()) - margin, float(v.max()) + margin, cells, dtype=torch.float64)  # noqa: E731
    north, east = torch.meshgrid(around(lat), around(lon), indexing="ij")
    x, y = east.flatten() * DEGREE * torch.cos(torch.deg2rad(lat.mean())), north.flatten() * DEGREE
    step = torch.stack([x[None] - x[:, None], y[None] - y[:, None]], -1)
    distance = step.norm(dim=-1)
    linked = _neighbours(cells)
    place = source or (float(lon.mean()), float(lat.mean()))
    emission = torch.zeros(cells**2, dtype=torch.float64)
    emission[int(((east.flatten() - place[0]) ** 2 + (north.flatten() - place[1]) ** 2).argmin())] = 1 / 3600
    mean = wind.mean(1)
    amount = plume(emission, mean[:, None].expand(-1, cells**2, -1), step / distance.clamp(min=1.0)[..., None], distance, linked,
                   diffusivity=diffusivity)
    return PlumePicture(east.numpy(), north.numpy(), amount.reshape(-1, cells, cells).numpy(), mean.numpy(), tuple(series.source.get("stations", ())),
                        lon.numpy(), lat.numpy(), wind.numpy(), place, float(series.time[0, first]))


def station_plume(series: Trajectories, first: int, hours: int = 12, *, source: int = 0, radius: float = 40_000.0) -> np.ndarray:
    """Amounts at the stations, ``[hour station]``, in hours of the emission of station number ``source``, on the stations' own graph.

    Raises:
        ValueError: as `wind_plume`.
    """
    lon, lat, wind = _measured(series, first, hours)
    graph = station_graph(lon, lat, radius=radius)
    emission = torch.zeros(len(lon), dtype=torch.float64)
    emission[source] = 1 / 3600
    return plume(emission, wind, graph.direction, graph.distance, graph.linked).numpy()


def _measured(series: Trajectories, first: int, hours: int) -> tuple[Tensor, Tensor, Tensor]:
    """Longitudes, latitudes and the wind ``[hour station 2]``; where a station saw none, the mean of the others."""
    missing = [k for k in ("lon", "lat") if k not in series.static] + [k for k in ("wind",) if k not in series.extra]
    if missing or series.n_scenes != 1:
        raise ValueError(f"a plume needs one scene with static lon, lat and extra wind; {', '.join(missing) or 'more than one scene'} "
                         "is what stands against it")
    if not 0 <= first < first + hours <= series.n_frames:
        raise ValueError(f"frames {first} to {first + hours} are not within the {series.n_frames} of the series")
    wind = by_scene(series.extra["wind"], 1)[0, :, first : first + hours].double()
    seen = series.extra.get("wind_seen", series.mask)[:, first : first + hours, None].double()
    mean = (wind * seen).sum(0) / seen.sum(0).clamp(min=1)
    return series.static["lon"].double(), series.static["lat"].double(), torch.where(seen > 0, wind, mean).transpose(0, 1)


def _neighbours(cells: int) -> Tensor:
    """The four neighbours of every point of a square raster."""
    at = torch.arange(cells**2)
    row, column = at // cells, at % cells
    return ((row[:, None] - row).abs() + (column[:, None] - column).abs()) == 1
