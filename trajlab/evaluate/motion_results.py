"""What pictures of motion show: forecasts of agents over lanes, how they move along, and plumes over stations, as plain arrays without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

__all__ = ["MotionProfile", "MotionScene", "PlumeMap"]


@dataclass(frozen=True)
class MotionProfile:
    """One quantity along the path of one agent.

    Attributes:
        name: of the quantity, with its unit.
        time: since the last given frame, s, ``[time]``.
        forecast: NaN where there is no forecast, ``[time]``.
        truth: of the given frames and of what came, as far as it is known, ``[time]``.
        limit: what a vehicle can do, either way; None where nothing limits it.
    """

    name: str
    time: np.ndarray
    forecast: np.ndarray
    truth: np.ndarray
    limit: float | None = None


@dataclass(frozen=True)
class MotionScene:
    """A window seen from above, in metres.

    Attributes:
        title: above.
        past: given positions, NaN where an agent was not seen, ``[agent past 2]``.
        paths: the modes or draws of the forecast, ``[agent mode time 2]``.
        probability: of each, ``[agent mode]``.
        ahead: time of the predicted frames since the last given one, s, ``[time]``.
        covariance: of the position about each path, m^2, ``[agent mode time 2 2]``; None for draws.
        truth: what came, NaN where an agent was not seen, ``[agent time 2]``; None where nobody knows.
        heading: at the last given frame, rad counter-clockwise from x, NaN where it is not known, ``[agent]``.
        size: length and width, NaN where they are not known, ``[agent 2]``.
        focal: agents whose forecast is drawn, ``[agent]``; others are shown where they are.
        lines: kind of polyline -> polylines ``[point 2]``, as in `trajlab.data.lanes.LaneMap`.
        areas: drivable polygons, ``[vertex 2]``.
        profiles: of the first focal agent.
        note: what else is to be said.
    """

    title: str
    past: np.ndarray
    paths: np.ndarray
    probability: np.ndarray
    ahead: np.ndarray
    covariance: np.ndarray | None = None
    truth: np.ndarray | None = None
    heading: np.ndarray | None = None
    size: np.ndarray | None = None
    focal: np.ndarray | None = None
    lines: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    areas: Sequence[np.ndarray] = ()
    profiles: Sequence[MotionProfile] = ()
    note: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From what was stored."""
        return cls(**{**values, "profiles": [MotionProfile(**p) for p in values.get("profiles", [])]})


@dataclass(frozen=True)
class PlumeMap:
    """What a source sends downwind, at a few times, over a raster with stations in it.

    Attributes:
        title: above.
        lon, lat: of the raster's points, degrees, ``[row column]``.
        amount: after 0, 1, ... hours, ``[hour row column]``, from 0 up.
        station_lon, station_lat: degrees, ``[station]``.
        station_wind: towards (east, north), m/s, in each of the hours from one amount to the next (one after the last may follow),
            ``[hour station 2]``.
        stations: names; none are written where there are none.
        source: longitude and latitude of the emission.
        hours: numbers of the hours that are shown; four spread evenly where it is left out.
        unit: of the amount.
        note: what else is to be said.
    """

    title: str
    lon: np.ndarray
    lat: np.ndarray
    amount: np.ndarray
    station_lon: np.ndarray
    station_lat: np.ndarray
    station_wind: np.ndarray
    stations: Sequence[str] = ()
    source: Sequence[float] | None = None
    hours: Sequence[int] = ()
    unit: str = "hours of the emission"
    note: str = ""

    @classmethod
    def of(cls, picture: Any, title: str = "Plume in the measured wind", **more: Any) -> Self:
        """From a `trajlab.evaluate.air_quality_pictures.PlumePicture`, without the rim of its raster, where what leaves is gathered."""
        inner = (slice(1, -1), slice(1, -1))
        raster = {"lon": picture.lon[inner], "lat": picture.lat[inner], "amount": picture.amount[(slice(None), *inner)]}
        taken = ("station_lon", "station_lat", "station_wind", "stations", "source")
        return cls(title, **raster, **{name: getattr(picture, name) for name in taken}, **more)
