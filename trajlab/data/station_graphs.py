"""Graphs of stations from their coordinates: great-circle distances, bearings, and who is linked to whom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.types import Graph

__all__ = ["EARTH", "StationGraph", "bearing", "gaussian_weights", "haversine", "station_graph"]

EARTH = 6_371_008.8  #: mean radius, m


@dataclass(frozen=True)
class StationGraph:
    """Stations and their links.

    Attributes:
        distance: great-circle distances, at least the floor off the diagonal, m, ``[node node]``.
        direction: unit vectors (east, north), ``[i, j]`` from i to j and the opposite of ``[j, i]``; zero on the diagonal, ``[node node 2]``.
        linked: symmetric, False on the diagonal, ``[node node]``.
    """

    distance: Float[Tensor, "node node"]
    direction: Float[Tensor, "node node 2"]
    linked: Bool[Tensor, "node node"]

    def __len__(self) -> int:
        return len(self.distance)

    def conductance(self, scale: float | None = None) -> Float[Tensor, "node node"]:
        """exp(-(d/s)^2) between linked stations, with s the median distance of links by default, m."""
        if not bool(self.linked.any()):
            return torch.zeros_like(self.distance)
        s = float(self.distance[self.linked].median()) if scale is None else scale
        return torch.where(self.linked, torch.exp(-((self.distance / s) ** 2)), torch.zeros_like(self.distance))

    def graph(self) -> Graph:
        """As a `Graph`, weighted by 1/km."""
        receiver, sender = self.linked.nonzero(as_tuple=True)
        return Graph(torch.stack([sender, receiver]), len(self), weight=1e3 / self.distance[sender, receiver])


def haversine(lon: Float[Tensor, "node"], lat: Float[Tensor, "node"]) -> Float[Tensor, "node node"]:
    """Great-circle distances on the mean sphere, m, from coordinates in degrees.

    Raises:
        ValueError: a latitude is beyond 90 or a longitude beyond 360 degrees: columns exchanged, or metres given.
    """
    lon, lat = _degrees(lon, lat)
    half = lambda a: torch.sin((a[:, None] - a[None]) / 2) ** 2  # noqa: E731
    h = half(lat) + torch.cos(lat)[:, None] * torch.cos(lat)[None] * half(lon)
    return 2 * EARTH * torch.asin(h.clamp(0, 1).sqrt())


def bearing(lon: Float[Tensor, "node"], lat: Float[Tensor, "node"]) -> Float[Tensor, "node node"]:
    """Initial bearing of the great circle from i to j, degrees clockwise from north in [0, 360).

    Raises:
        ValueError: as `haversine`.
    """
    lon, lat = _degrees(lon, lat)
    ahead = lon[None] - lon[:, None]
    east = torch.sin(ahead) * torch.cos(lat)[None]
    north = torch.cos(lat)[:, None] * torch.sin(lat)[None] - torch.sin(lat)[:, None] * torch.cos(lat)[None] * torch.cos(ahead)
    return torch.rad2deg(torch.atan2(east, north)) % 360


def station_graph(lon: Float[Tensor, "node"], lat: Float[Tensor, "node"], *, radius: float | None = None, nearest: int | None = None,
                  floor: float = 5_000.0) -> StationGraph:
    """Stations linked within a radius, or to their nearest, in either direction; both may be given, then both must hold.

    Args:
        lon, lat: degrees.
        radius: m.
        nearest: number of neighbours.
        floor: distances are at least this, m: rates of exchange grow with 1/d.

    Raises:
        ValueError: neither a radius nor a number, or one that is not positive; or coordinates out of range.
    """
    if radius is None and nearest is None:
        raise ValueError("neither radius= nor nearest= was given; without a limit every station would be linked to every other. Give one")
    if (radius is not None and not radius > 0) or (nearest is not None and nearest < 1) or not floor > 0:
        raise ValueError(f"radius={radius}, nearest={nearest}, floor={floor}: a positive radius and floor (m) and at least 1 neighbour were wanted")
    distance, n = haversine(lon, lat), len(lon)
    apart = ~torch.eye(n, dtype=torch.bool, device=lon.device)
    linked = apart.clone()
    if radius is not None:
        linked &= distance <= radius
    if nearest is not None:
        order = distance.masked_fill(~apart, torch.inf).argsort(dim=1, stable=True)[:, : min(nearest, n - 1)]
        near = torch.zeros_like(apart).scatter_(1, order, True)
        linked &= near | near.T
    return StationGraph(torch.where(apart, distance.clamp(min=floor), 0.0), _directions(lon, lat), linked)


def gaussian_weights(distance: Float[Tensor, "node node"], sigma: float | None = None, threshold: float = 0.1) -> Float[Tensor, "node node"]:
    """exp(-(d/sigma)^2) where at least ``threshold``, else 0; sigma is the standard deviation of all distances by default (Li et al., DCRNN, 2018).

    Raises:
        ValueError: sigma is not positive.
    """
    sigma = float(distance.std()) if sigma is None else sigma
    if not sigma > 0:
        raise ValueError(f"sigma={sigma:g}; a positive length was wanted")
    weight = torch.exp(-((distance / sigma) ** 2))
    return torch.where(weight >= threshold, weight, torch.zeros_like(weight))


def _directions(lon: Tensor, lat: Tensor) -> Float[Tensor, "node node 2"]:
    """Unit vectors in the plane that touches the sphere halfway: antisymmetric, unlike initial bearings, whose norths converge."""
    lon, lat = _degrees(lon, lat)
    around = torch.remainder(lon[None] - lon[:, None] + torch.pi, 2 * torch.pi) - torch.pi
    step = torch.stack([around * torch.cos((lat[None] + lat[:, None]) / 2), lat[None] - lat[:, None]], -1)
    return step / step.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def _degrees(lon: Tensor, lat: Tensor) -> tuple[Tensor, Tensor]:
    """Checked, in radians."""
    if lon.shape != lat.shape or lon.ndim != 1:
        raise ValueError(f"longitudes {tuple(lon.shape)} and latitudes {tuple(lat.shape)}; [node] each was wanted")
    if bool((lat.abs() > 90).any()) or bool((lon.abs() > 360).any()) or not bool((lon + lat).isfinite().all()):
        raise ValueError(f"latitudes up to {float(lat.abs().max()):g}, longitudes up to {float(lon.abs().max()):g}: at most 90 and 360 degrees "
                         "were wanted. Are the columns exchanged, or the coordinates metres?")
    return torch.deg2rad(lon.double()), torch.deg2rad(lat.double())
