"""What a picture of wind and plumes shows, as plain arrays without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["PlumePicture"]


@dataclass(frozen=True)
class PlumePicture:
    """A plume over a raster, with the stations around it.

    Attributes:
        lon, lat: of the raster's points, degrees, ``[row column]``.
        amount: at every hour, ``[hour row column]``; in hours of the source's emission.
        wind: towards (east, north), m/s, over the raster at every hour, ``[hour 2]``.
        stations: names. station_lon, station_lat: degrees, ``[station]``. station_wind: ``[hour station 2]``.
        source: longitude and latitude of the emission.
        start: the first hour, since 1970-01-01 00:00 of the local clock.
    """

    lon: np.ndarray
    lat: np.ndarray
    amount: np.ndarray
    wind: np.ndarray
    stations: Sequence[str]
    station_lon: np.ndarray
    station_lat: np.ndarray
    station_wind: np.ndarray
    source: tuple[float, float]
    start: float
