"""The transverse Mercator projection of the WGS 84 ellipsoid (UTM), from degrees to metres."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["utm"]

RADIUS, FLATTENING = 6378137.0, 1 / 298.257223563  #: WGS 84, m
SCALE = 0.9996  #: of UTM on its central meridian


def utm(
    latitude: Float[np.ndarray, "point"], longitude: Float[np.ndarray, "point"], origin: tuple[float, float] = (0.0, 0.0)
) -> Float[np.ndarray, "point 2"]:
    """East and north of an origin, m, in the UTM zone of the origin.

    The series of Krüger (1912) in the third flattening n to third order, as in Karney, Transverse Mercator with an accuracy of a few nanometers
    (2011): better than 0.1 mm within the zone.

    Args:
        latitude, longitude: degrees, north and east.
        origin: latitude and longitude that become (0, 0).

    Raises:
        ValueError: a latitude beyond 84 degrees, or a longitude further than 30 degrees from the middle of the zone.
    """
    centre = 6 * np.floor(origin[1] / 6) + 3
    away = (np.asarray(longitude) - centre + 180) % 360 - 180
    if (np.abs(latitude) > 84).any() or (np.abs(away) > 30).any():
        raise ValueError(f"latitudes of up to {np.abs(latitude).max():g} and longitudes of up to {np.abs(away).max():g} degrees from the meridian "
                         f"{centre:g}; at most 84 and 30 were wanted (is the origin right?)")
    here = _project(np.asarray(latitude, dtype=np.float64), away)
    zero = _project(np.array([origin[0]], dtype=np.float64), np.array([origin[1] - centre]))
    return here - zero


def _project(latitude: np.ndarray, away: np.ndarray) -> np.ndarray:
    n = FLATTENING / (2 - FLATTENING)
    mean = RADIUS / (1 + n) * (1 + n**2 / 4 + n**4 / 64)  # of the meridian
    alpha = (n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16, 13 * n**2 / 48 - 3 * n**3 / 5, 61 * n**3 / 240)
    phi, lam, e = np.radians(latitude), np.radians(away), 2 * np.sqrt(n) / (1 + n)
    t = np.sinh(np.arctanh(np.sin(phi)) - e * np.arctanh(e * np.sin(phi)))  # tangent of the conformal latitude
    xi, eta = np.arctan2(t, np.cos(lam)), np.arctanh(np.sin(lam) / np.sqrt(1 + t**2))
    east = eta + sum(a * np.cos(2 * k * xi) * np.sinh(2 * k * eta) for k, a in enumerate(alpha, 1))
    north = xi + sum(a * np.sin(2 * k * xi) * np.cosh(2 * k * eta) for k, a in enumerate(alpha, 1))
    return SCALE * mean * np.stack([east, north], axis=1)
