"""Forecasts of agents seen from above: past, truth, modes with ellipses, over lanes, with boxes and a scale; and how the paths move. Takes arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from trajlab.evaluate.motion_results import MotionProfile, MotionScene, PlumeMap
from trajlab.report import figures
from trajlab.report.jump_pictures import _card, _finished
from trajlab.report.plume_pictures import full_colour, plume_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["forecast_map", "motion_cards", "motion_svg", "plume_cards", "profile", "scale_bar", "seconds"]

COLOURS = {"ink": "#1c1e22", "muted": "#777777", "road": "#f1f3f5", "forecast": "#0072b2", "beyond": "#d55e00"}
ROAD = "#0e0d0c"  # a placeholder that becomes the page's colour of stages
LEAST = 0.02  #: probability below which a mode is not drawn, and half of which its ellipses are not
CROWD = 3  #: agents beyond which the first alone has all its ellipses, the others one at the end
LEAST_SPAN = {True: 15.0, False: 6.0}  #: m, that a map shows at least, of agents with and without a length
WIDTH, TALLEST, LOWEST = 6.2, 5.6, 2.2  #: of a map, inches
#: how lines of a map are drawn
DRAWN = {"centre": {"linewidth": 0.7, "linestyle": (0, (6, 5))}, "left": {"linewidth": 0.9}, "right": {"linewidth": 0.9},
         "boundary": {"linewidth": 1.4}, "crosswalk": {"linewidth": 0.9, "linestyle": (0, (1.5, 1.5))}, "stop": {"linewidth": 2.2}}


def forecast_map(ax: Axes, scene: MotionScene, colours: Mapping[str, str] | None = None) -> None:
    """Draw a window from above, in equal aspect, with a scale in place of axes.

    Paths of the forecast are as opaque as they are likely; ellipses hold one and two standard deviations (39 % and 86 % of a Gaussian) at every whole
    second, where dots lie on the paths and on the truth.

    Args:
        ax: to draw on; its box is filled.
        scene: arrays.
        colours: of ``ink``, ``muted``, ``road`` and ``forecast``.

    Raises:
        ValueError: shapes that do not fit, or nothing that was seen.
    """
    checked(scene)
    shades = COLOURS | dict(colours or {})
    view(ax, scene)
    _ground(ax, scene, shades)
    focal = _focal(scene)
    for k in np.flatnonzero(~focal):
        ax.plot(*scene.past[k].T, color=shades["muted"], linewidth=1.0, alpha=0.6, zorder=2)
    _boxes(ax, scene, focal, shades)
    leads = np.flatnonzero(focal)
    for k in leads[::-1]:
        _agent(ax, scene, int(k), shades, whole=len(leads) <= CROWD or bool(k == leads[0]))
    _key(ax, scene, shades)
    scale_bar(ax, shades["ink"])
    ax.set_axis_off()


def checked(scene: MotionScene) -> None:
    """Refuse shapes that do not fit."""
    agents, modes, steps = scene.paths.shape[:3] if scene.paths.ndim == 4 else (-1, -1, -1)
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "paths": (scene.paths, (agents, modes, steps, 2)), "probability": (scene.probability, (agents, modes)), "ahead": (scene.ahead, (steps,)),
        "covariance": (scene.covariance, (agents, modes, steps, 2, 2)), "truth": (scene.truth, (agents, steps, 2)),
        "heading": (scene.heading, (agents,)), "size": (scene.size, (agents, 2)), "focal": (scene.focal, (agents,))}
    for name, (value, shape) in wanted.items():
        if value is not None and (np.shape(value) != shape or min(shape) < 1):
            raise ValueError(f"motion scene {scene.title!r}: {name}{list(np.shape(value))}; with paths{list(scene.paths.shape)}, {name}{list(shape)} "
                             "was wanted, and paths[agent mode time 2] of at least one of each")
    if scene.past.ndim != 3 or len(scene.past) != agents or not np.isfinite(scene.past).any():
        raise ValueError(f"motion scene {scene.title!r}: past{list(scene.past.shape)}; past[{agents} past 2] with somebody in it was wanted")


def seconds(ahead: Float[np.ndarray, "time"]) -> list[int]:
    """The frames nearest to whole seconds ahead (to the nearest tenth of the horizon, where this is longer); the last one where there is none."""
    step = max(1.0, float(np.ceil(ahead[-1] / 10)))
    whole = np.arange(step, ahead[-1] + 1e-6, step)
    return sorted({int(np.abs(ahead - s).argmin()) for s in whole}) or [len(ahead) - 1]


def extent(scene: MotionScene) -> tuple[np.ndarray, np.ndarray]:
    """Middle and size of what is to be seen: pasts, truths and likely paths of focal agents with one and a half standard deviations, m."""
    focal = _focal(scene)
    likely = np.where(scene.probability[focal] >= max(LEAST, 0.2 * scene.probability.max()), 1.0, np.nan)[:, :, None, None]
    parts = [scene.past[focal], scene.paths[focal] * likely]
    parts += [] if scene.truth is None else [scene.truth[focal]]
    if scene.covariance is not None:
        far = 1.5 * np.sqrt(np.einsum("amtii->amti", scene.covariance[focal])) * likely
        parts += [parts[1] + far, parts[1] - far]
    every = np.concatenate([p.reshape(-1, 2) for p in parts])
    every = every[np.isfinite(every).all(1)]
    every = every if len(every) else scene.past[np.isfinite(scene.past).all(-1)]
    low, high = every.min(0), every.max(0)
    long = scene.size is not None and bool(np.isfinite(scene.size[focal]).any())
    return (low + high) / 2, np.maximum(1.12 * (high - low) + (4 if long else 1), LEAST_SPAN[long])


def view(ax: Axes, scene: MotionScene) -> None:
    """Limits that hold what is to be seen and fill the box of the axes in equal aspect."""
    middle, span = extent(scene)
    box = ax.get_window_extent()
    shape = np.array([box.width, box.height])
    half = shape * (span / shape).max() / 2
    ax.set(xlim=(middle[0] - half[0], middle[0] + half[0]), ylim=(middle[1] - half[1], middle[1] + half[1]), aspect="equal")
    ax.grid(visible=False)


def _focal(scene: MotionScene) -> np.ndarray:
    return np.ones(len(scene.past), dtype=bool) if scene.focal is None else np.asarray(scene.focal, dtype=bool)


def _ground(ax: Axes, scene: MotionScene, shades: Mapping[str, str]) -> None:
    from matplotlib.collections import LineCollection, PolyCollection

    if len(scene.areas):
        areas = [np.asarray(a) for a in scene.areas]
        ax.add_collection(PolyCollection(areas, facecolors=shades["road"], linewidths=0, zorder=0), autolim=False)
    for kind, lines in scene.lines.items():
        drawn = [np.asarray(line) for line in lines]
        ax.add_collection(LineCollection(drawn, colors=shades["muted"], alpha=0.5, zorder=1, **DRAWN.get(kind, {})), autolim=False)


def _boxes(ax: Axes, scene: MotionScene, focal: np.ndarray, shades: Mapping[str, str]) -> None:
    """Each agent where it was last given: an oriented box with a line to its front, or a dot where size or heading are not known."""
    from matplotlib.patches import Polygon

    for k, past in enumerate(scene.past):
        seen = np.isfinite(past).all(-1)
        if not seen[-1]:
            continue
        angle = np.nan if scene.heading is None else float(scene.heading[k])
        length, width = (np.nan, np.nan) if scene.size is None else scene.size[k]
        lead = k == np.flatnonzero(focal)[0] if focal.any() else False
        colour = shades["ink"] if focal[k] else shades["muted"]
        if not np.isfinite([angle, length, width]).all() or min(length, width) <= 0:
            ax.plot(*past[-1], "o", color=shades["forecast"] if lead else colour, markersize=5.5 if lead else 4.5, markeredgewidth=0, zorder=5)
            continue
        along, across = np.array([np.cos(angle), np.sin(angle)]) * length / 2, np.array([-np.sin(angle), np.cos(angle)]) * width / 2
        corners = [past[-1] + a * along + b * across for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
        ax.add_patch(Polygon(corners, facecolor=shades["forecast"] if lead else colour, alpha=0.75 if lead else 0.3, linewidth=0, zorder=3))
        ax.add_patch(Polygon(corners, fill=False, edgecolor=colour, linewidth=0.9, zorder=3.1))
        ax.plot(*np.stack([past[-1], past[-1] + along]).T, color=colour, linewidth=0.9, zorder=3.1)


def _agent(ax: Axes, scene: MotionScene, k: int, shades: Mapping[str, str], whole: bool) -> None:
    """Past, forecast and truth of one agent; with all ellipses, or one standard deviation at the end."""
    ax.plot(*scene.past[k].T, color=shades["muted"], linewidth=2.4, solid_capstyle="round", zorder=4)
    dots = seconds(scene.ahead)
    last = scene.past[k][np.isfinite(scene.past[k]).all(-1)][-1:]
    draws = scene.covariance is None and scene.paths.shape[1] > 1
    for mode in np.argsort(scene.probability[k]):
        p, path = float(scene.probability[k, mode]), scene.paths[k, mode]
        if p < LEAST and not draws:
            continue
        alpha = min(0.7, max(0.25, 3 / scene.paths.shape[1])) if draws else 0.2 + 0.8 * p
        look = {"color": shades["forecast"], "alpha": alpha, "zorder": 6}
        ax.plot(*np.concatenate([last, path]).T, linewidth=0.9 if draws else 1.7, solid_joinstyle="round", **look)
        ax.plot(*path[dots].T, "o", markersize=2.0 if draws else 3.2, markeredgewidth=0, **look)
        if scene.covariance is not None:
            for t in dots if whole else dots[-1:]:
                _ellipses(ax, path[t], scene.covariance[k, mode, t], (alpha, (2, 1) if whole else (1,)), shades["forecast"])
    if scene.truth is not None:
        ax.plot(*np.concatenate([last, scene.truth[k]]).T, color=shades["ink"], linewidth=1.3, linestyle=(0, (4, 1.6)), zorder=7)
        ax.plot(*scene.truth[k][dots].T, "o", color=shades["ink"], markersize=2.6, markeredgewidth=0, zorder=7)


def _ellipses(ax: Axes, centre: np.ndarray, covariance: np.ndarray, look: tuple[float, Sequence[int]], colour: str) -> None:
    """Standard deviations about a position, with an opacity and how many of them."""
    from matplotlib.patches import Ellipse

    if not (np.isfinite(covariance).all() and np.isfinite(centre).all()):
        return
    variance, axes = np.linalg.eigh(covariance)
    angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))
    small, large = 2 * np.sqrt(np.maximum(variance, 0))
    alpha, many = look
    for k in many:
        place = {"xy": (float(centre[0]), float(centre[1])), "width": k * large, "height": k * small, "angle": angle, "zorder": 5}
        if len(many) > 1:
            ax.add_patch(Ellipse(**place, facecolor=colour, alpha=0.1 * alpha, linewidth=0))
        ax.add_patch(Ellipse(**place, fill=False, edgecolor=colour, alpha=0.55 * alpha, linewidth=0.7))


def _key(ax: Axes, scene: MotionScene, shades: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    what = "forecast" if scene.paths.shape[1] == 1 else "modes" if scene.covariance is not None else "draws"
    lines = [Line2D([], [], color=shades["muted"], linewidth=2.4, label="given"),
             Line2D([], [], color=shades["forecast"], linewidth=1.7, marker="o", markersize=3.2, label=what)]
    if scene.truth is not None:
        lines.insert(1, Line2D([], [], color=shades["ink"], linewidth=1.3, linestyle=(0, (4, 1.6)), marker="o", markersize=2.6, label="what came"))
    if scene.covariance is not None:
        lines.append(Line2D([], [], color=shades["forecast"], marker="o", markersize=9, markerfacecolor="none", markeredgewidth=0.7,
                            linestyle="none", label="1 and 2 std"))
    ax.legend(handles=lines, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderaxespad=0.2, handlelength=2.2, columnspacing=1.4,
              frameon=False)


def scale_bar(ax: Axes, colour: str, unit: str = "m", factor: float = 1.0) -> None:
    """A bar of a round length under the map; ``factor`` units of the axis are one of ``unit``."""
    left, right = ax.get_xlim()
    most = 0.28 * (right - left) / factor
    power = 10.0 ** np.floor(np.log10(most))
    length = max(n * power for n in (1, 2, 5) if n * power <= most)
    where = ax.get_xaxis_transform()
    ax.plot([left, left + length * factor], [-0.035] * 2, transform=where, color=colour, linewidth=2.2, clip_on=False, solid_capstyle="butt")
    ax.annotate(f"{length:g} {unit}", (left + length * factor, -0.035), xycoords=where, xytext=(5, 0), textcoords="offset points", va="center",
                fontsize=9, color=colour, annotation_clip=False)


def profile(ax: Axes, result: MotionProfile, colours: Mapping[str, str] | None = None) -> None:
    """Draw a quantity along a path, with what no vehicle can do shaded."""
    shades = COLOURS | dict(colours or {})
    ax.axvline(0, color=shades["muted"], linewidth=0.8, linestyle=(0, (2, 2)))
    ax.plot(result.time, result.truth, color=shades["ink"], linewidth=1.2, linestyle=(0, (4, 1.6)))
    ax.plot(result.time, result.forecast, color=shades["forecast"], linewidth=1.5)
    values = np.concatenate([result.forecast, result.truth])
    values = values[np.isfinite(values)]
    ax.set_title(result.name, fontsize=9, color=shades["ink"])
    ax.locator_params(nbins=4)
    most = float(np.abs(values).max(initial=0.0))
    if result.limit is None:
        ax.set_ylim(-1.25 * max(most, 1.0) if values.min(initial=0.0) < 0 else 0.0, 1.25 * max(most, 1.0))
        return
    reach = min(max(1.25 * most, 0.2 * result.limit), 2.0 * result.limit)
    ax.set_ylim(-reach, reach)
    for sign in (-1, 1):
        ax.axhspan(sign * result.limit, sign * 2.5 * result.limit, color=shades["beyond"], alpha=0.15, linewidth=0)


def motion_svg(scene: MotionScene, index: int = 0) -> str:
    """A window as an ``<svg>`` element in the page's colours: the map, and under it how the first focal agent moves."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    checked(scene)
    with mpl.rc_context(figures._STYLE | {"svg.hashsalt": f"trajlab{4000 + index}"}):
        span = extent(scene)[1]
        tall, below = float(np.clip(WIDTH * span[1] / span[0], LOWEST, TALLEST)), 1.85 if scene.profiles else 0.0
        canvas = Canvas(figsize=(WIDTH, tall + below))
        FigureCanvasSVG(canvas)
        total = tall + below
        forecast_map(canvas.add_axes((0, below / total, 1, tall / total)), scene, shades())
        across = len(scene.profiles)
        for k, one in enumerate(scene.profiles):
            wide = 1 / across
            ax = canvas.add_axes((k * wide + 0.055, 0.34 / total, wide - 0.085, 0.88 / total))
            profile(ax, one, shades())
            ax.set_xlabel("time, s", fontsize=9)
        return _finished(canvas, scene.title).replace(ROAD, "var(--stage)")


def shades() -> dict[str, str]:
    """The placeholders that become the page's colours."""
    return {"ink": figures._INK, "muted": figures._MUTED, "road": ROAD, "forecast": figures._PALETTE[1], "beyond": figures._PALETTE[2]}


def motion_cards(scenes: Sequence[MotionScene]) -> str:
    """One card a window."""
    return "".join(_card(s.title, motion_svg(s, k), s.note, 44) for k, s in enumerate(scenes))


def plume_cards(plumes: Sequence[PlumeMap]) -> str:
    """One card a plume."""
    def note(p: PlumeMap) -> str:
        return f"{p.note} The fullest colour is {full_colour(p):.2g} {p.unit}; colour goes with the root of the amount.".strip()

    return "".join(_card(p.title, plume_svg(p, shades(), k), note(p), 52) for k, p in enumerate(plumes))
