"""Wind and plumes on the coordinates of stations: small maps of a few hours side by side. Takes arrays; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trajlab.evaluate.motion_results import PlumeMap
from trajlab.report import figures
from trajlab.report.jump_pictures import _finished

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["full_colour", "plume_map", "plume_svg", "shown_hours"]

COLOURS = {"ink": "#1c1e22", "muted": "#777777", "beyond": "#d55e00"}
DEGREE = 111.195  #: km in a degree of latitude
MOST = 4  #: maps, where nobody says which


def plume_map(ax: Axes, plume: PlumeMap, hour: int, top: float, colours: Mapping[str, str] | None = None, names: bool = False) -> Any:
    """Draw the amount after so many hours, the wind at the stations in the last of them and where the source is; returns the arrows.

    Args:
        ax: to draw on.
        plume: arrays.
        hour: which.
        top: amount with the full colour.
        colours: of ``ink`` and ``muted``.
        names: write those of the stations.

    Raises:
        ValueError: shapes that do not fit, or there is no such hour.
    """
    checked(plume)
    if not 0 <= hour < len(plume.amount):
        raise ValueError(f"plume {plume.title!r} has no hour {hour}; 0 to {len(plume.amount) - 1} are there")
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    shades = COLOURS | dict(colours or {})
    hot = to_rgb("#d55e00")
    warm = LinearSegmentedColormap.from_list("plume", [(*hot, 0.0), (*hot, 0.45), (*hot, 0.75), (0.62, 0.16, 0.0, 0.95)])
    half = np.array([np.ptp(plume.lon) / (plume.lon.shape[1] - 1), np.ptp(plume.lat) / (plume.lat.shape[0] - 1)]) / 2
    extent = (plume.lon.min() - half[0], plume.lon.max() + half[0], plume.lat.min() - half[1], plume.lat.max() + half[1])
    rows = slice(None) if plume.lat[0, 0] < plume.lat[-1, 0] else slice(None, None, -1)
    image = warm(np.clip(plume.amount[hour][rows] / max(top, 1e-300), 0, 1) ** 0.5)
    ax.imshow(image, origin="lower", extent=extent, interpolation="nearest", zorder=1)
    ax.set_aspect(1 / np.cos(np.radians(float(plume.station_lat.mean()))))
    ax.grid(visible=False)
    ax.set(xticks=[], yticks=[])
    ax.plot(plume.station_lon, plume.station_lat, "o", color=shades["ink"], markersize=2.4, markeredgewidth=0, zorder=3)
    arrows = ax.quiver(plume.station_lon, plume.station_lat, *plume.station_wind[max(0, hour - 1)].T, color=shades["ink"], width=0.006,
                       scale=_scale(plume), scale_units="width", zorder=4)
    if plume.source is not None:
        ax.plot(*plume.source, "*", color=shades["beyond"], markeredgecolor=shades["ink"], markeredgewidth=0.6, markersize=10, zorder=5)
    if names and len(plume.stations) == len(plume.station_lon):
        _names(ax, plume, shades["muted"])
    return arrows


def _names(ax: Axes, plume: PlumeMap, colour: str) -> None:
    """Names of stations, as far as they don't run into each other."""
    span = np.array([np.ptp(plume.lon), np.ptp(plume.lat)])
    written: list[np.ndarray] = []
    for name, *place in zip(plume.stations, plume.station_lon, plume.station_lat):
        at = np.array(place) / span
        if any((np.abs(at - other) < (0.24, 0.045)).all() for other in written):
            continue
        written.append(at)
        ax.annotate(name, tuple(place), xytext=(4, 2), textcoords="offset points", fontsize=6.5, color=colour, va="bottom", zorder=6)


def checked(plume: PlumeMap) -> None:
    """Refuse shapes that do not fit."""
    hours, stations = len(plume.amount), len(plume.station_lon)
    blown = hours if len(plume.station_wind) == hours else max(hours - 1, 1)
    wanted = {"lat": (plume.lat, plume.lon.shape), "amount": (plume.amount, (hours, *plume.lon.shape)),
              "station_lat": (plume.station_lat, (stations,)), "station_wind": (plume.station_wind, (blown, stations, 2))}
    for name, (value, shape) in wanted.items():
        if np.shape(value) != shape:
            raise ValueError(f"plume {plume.title!r}: {name}{list(np.shape(value))}, and {name}{list(shape)} was wanted")
    if plume.lon.ndim != 2 or min(plume.lon.shape) < 2 or not hours:
        raise ValueError(f"plume {plume.title!r}: a raster lon[row column] of at least 2 by 2 points and one hour were wanted, got "
                         f"lon{list(plume.lon.shape)} and {hours} hours")


def _scale(plume: PlumeMap) -> float:
    """Metres a second across a map: the strongest wind is a seventh of it."""
    return 7 * max(float(np.nanmax(np.linalg.norm(plume.station_wind, axis=-1), initial=0.0)), 1e-6)


def shown_hours(plume: PlumeMap) -> list[int]:
    """Which hours are drawn: those that were chosen, or a few spread evenly up to the last."""
    spread = np.unique(np.linspace(0, len(plume.amount) - 1, min(MOST, len(plume.amount)) + 1).round().astype(int))
    return [int(h) for h in plume.hours] or [int(h) for h in (spread[1:] if len(spread) > 1 else spread)]


def full_colour(plume: PlumeMap) -> float:
    """The amount from which on the colour is full."""
    shown = plume.amount[shown_hours(plume)]
    return float(np.quantile(shown, 0.995)) or float(shown.max(initial=0.0)) or 1.0


def plume_svg(plume: PlumeMap, colours: Mapping[str, str], index: int = 0) -> str:
    """A plume as an ``<svg>`` element: a row of maps with one scale of colours and one of wind."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    checked(plume)
    hours = shown_hours(plume)
    top = full_colour(plume)
    columns = min(2, len(hours))
    rows = -(-len(hours) // columns)
    shape = np.ptp(plume.lat) / (np.ptp(plume.lon) * np.cos(np.radians(float(plume.station_lat.mean()))))
    with mpl.rc_context(figures._STYLE | {"svg.hashsalt": f"trajlab{5000 + index}", "axes.spines.top": True, "axes.spines.right": True}):
        wide = 3.7
        canvas = Canvas(figsize=(wide * columns, (wide * float(np.clip(shape, 0.4, 1.6)) + 0.25) * rows), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.subplots(rows, columns, squeeze=False)
        for k, (ax, hour) in enumerate(zip(axes.flat, hours)):
            arrows = plume_map(ax, plume, hour, top, colours, names=k == 0)
            ax.set_title(f"after {hour} h" if hour else "at the beginning", fontsize=9, loc="left")
        for ax in list(axes.flat)[len(hours):]:
            ax.set_axis_off()
        _scales(axes[0, 0], axes[0, -1], plume, arrows, colours)
        return _finished(canvas, plume.title)


def _scales(first: Axes, last: Axes, plume: PlumeMap, arrows: Any, colours: Mapping[str, str]) -> None:
    """A bar of kilometres in the first map, and an arrow of wind above the last."""
    strongest = _scale(plume) / 7
    power = 10.0 ** np.floor(np.log10(strongest))
    speed = max(n * power for n in (1, 2, 5) if n * power <= strongest * (1 + 1e-9))
    last.quiverkey(arrows, 0.86, 1.045, speed, f"{speed:g} m/s", labelpos="W", coordinates="axes", color=colours["ink"], labelcolor=colours["ink"],
                   fontproperties={"size": 8})
    left, right = first.get_xlim()
    degree = DEGREE * np.cos(np.radians(float(plume.station_lat.mean())))
    most = 0.3 * (right - left) * degree
    size = 10.0 ** np.floor(np.log10(most))
    length = max(n * size for n in (1, 2, 5) if n * size <= most)
    start = left + 0.05 * (right - left)
    where = first.get_xaxis_transform()
    first.plot([start, start + length / degree], [0.06] * 2, transform=where, color=colours["ink"], linewidth=2, solid_capstyle="butt", zorder=6)
    first.annotate(f"{length:g} km", (start + length / degree, 0.06), xycoords=where, xytext=(4, 0), textcoords="offset points", va="center",
                   fontsize=8, color=colours["ink"])
