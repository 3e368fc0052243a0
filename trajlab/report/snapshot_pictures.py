"""Pictures of populations in the plane: cells by time, streamlines of a velocity, fates, and trends of genes. Takes arrays; no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["fate_map", "picture", "scatter_by_time", "stream_grid", "streamlines", "trends"]

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "trajlab", "font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False,
         "legend.frameon": False}
MOST = 20_000  #: cells drawn; more are thinned evenly
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f")  # told apart by the colour-blind


def picture(path: str | Path | None, panels: Sequence[Callable[[Axes], None]], columns: int = 2, size: float = 3.4, dots: int = 110) -> Figure:
    """Panels in rows; each is a function that draws on axes, such as ``lambda ax: streamlines(ax, x, velocity)``.

    Args:
        path: where to save it (``.png``, ``.svg``, ``.pdf``), replaced at once; None for the figure alone.
        panels: at least one.
        columns: at most.
        size: of a panel, in inches.
        dots: an inch.

    Raises:
        ValueError: no panel.
    """
    if not panels:
        raise ValueError("no panel to draw; functions of axes were wanted, such as lambda ax: scatter_by_time(ax, x, time)")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(1.2 * size * columns, size * rows), layout="constrained")
        places = figure.subplots(rows, columns, squeeze=False)
        for ax, draw in zip(places.flat, panels):
            draw(ax)
        for ax in places.flat[len(panels) :]:
            ax.set_axis_off()
        if path is not None:
            _saved(figure, Path(path), dots)
    return figure


def _saved(figure: Figure, path: Path, dots: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.tmp{path.suffix}")
    figure.savefig(partial, dpi=dots, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None} if path.suffix == ".png" else None)
    os.replace(partial, path)


def scatter_by_time(ax: Axes, x: Any, time: Any, unit: str = "", names: Sequence[str] = (), paths: Any = None, title: str = "Cells by time") -> None:
    """Cells on their first two dimensions, coloured by time, with paths of a bridge on top.

    Args:
        ax: to draw on.
        x: ``[cell dim]``.
        time: ``[cell]``.
        unit: of time.
        names: of the dimensions.
        paths: ``[path time dim]``, or None.
        title: above.
    """
    x, time = _plane(x), np.asarray(time, dtype=np.float64)
    _same(x, time=time)
    shown = _thinned(len(x))
    dots = ax.scatter(*x[shown].T, c=time[shown], s=_dot(len(shown)), cmap="viridis", linewidths=0, rasterized=True)
    ax.figure.colorbar(dots, ax=ax, label=f"time ({unit})" if unit not in ("", "1") else "time", shrink=0.9)
    for path in () if paths is None else np.asarray(paths)[..., :2]:
        ax.plot(*path.T, "-", color="black", linewidth=0.5, alpha=0.5)
    _dress(ax, names, title)


def streamlines(ax: Axes, x: Any, velocity: Any, time: Any = None, names: Sequence[str] = (), density: float = 1.0, title: str = "Velocity") -> None:
    """Streamlines of a velocity on the first two dimensions, over the cells (coloured by time where it is given). They show the mean velocity of the
    cells near a point, whatever their time, and only where there are cells; motion along further dimensions is not seen.

    Args:
        ax: to draw on.
        x, velocity: ``[cell dim]``; cells whose velocity is NaN are passed over.
        time: ``[cell]``, or None.
        names: of the dimensions.
        density: of lines, as in matplotlib.
        title: above.
    """
    x, v = _plane(x), _plane(velocity)
    _same(x, velocity=v)
    colour: dict[str, Any] = {"color": "#c8c8c8"}
    shown = _thinned(len(x))
    if time is not None:
        _same(x, time=np.asarray(time))
        colour = {"c": np.asarray(time, dtype=np.float64)[shown], "cmap": "viridis", "alpha": 0.5}
    ax.scatter(*x[shown].T, s=_dot(len(shown)), linewidths=0, rasterized=True, **colour)
    one, two, field = stream_grid(x, v)
    speed = np.nan_to_num(np.hypot(*np.moveaxis(field, -1, 0)))
    if speed.max() > 0:
        thick = 0.4 + 0.9 * speed.T / speed.max()
        ax.streamplot(one, two, field[..., 0].T, field[..., 1].T, density=density, color="black", linewidth=thick, arrowsize=0.8)
    _dress(ax, names, title)


def stream_grid(x: np.ndarray, velocity: np.ndarray, points: int = 40, smooth: float = 0.5, least: float = 0.02,
                ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean velocity of the cells near each point of an even grid, with Gaussian weights (Nadaraya 1964, Watson 1964).

    Args:
        x, velocity: ``[cell 2]``.
        points: along each axis.
        smooth: standard deviation of the weights, in cells of a grid of 20 points.
        least: points whose total weight is under this share of the largest are NaN.

    Returns:
        Both axes, and the field ``[x y 2]``.
    """
    known = np.isfinite(velocity).all(1)
    x, velocity = x[known], velocity[known]
    if not len(x):
        raise ValueError("no cell has a velocity that is finite; nothing to draw streamlines of")
    low, high = x.min(0), x.max(0)
    span = np.where(high > low, high - low, 1.0)
    axes = [np.linspace(low[k] - 0.02 * span[k], high[k] + 0.02 * span[k], points) for k in range(2)]
    weight = [np.exp(-0.5 * ((axes[k][:, None] - x[:, k]) / (smooth * span[k] / 20)) ** 2) for k in range(2)]  # the Gaussian is a product over axes
    total = weight[0] @ weight[1].T
    field = np.stack([(weight[0] * velocity[:, k]) @ weight[1].T for k in range(2)], -1)
    seen = total >= least * total.max()
    return axes[0], axes[1], np.divide(field, total[..., None], out=np.full_like(field, np.nan), where=seen[..., None])


def fate_map(ax: Axes, x: Any, probability: Any, names: Sequence[str], axes: Sequence[str] = (), title: str = "Fates") -> None:
    """Cells on their first two dimensions, each in the colour of its likeliest fate, the paler the less certain.

    Args:
        ax: to draw on.
        x: ``[cell dim]``.
        probability: ``[cell fate]``; what a row lacks to 1 is none of them; NaN is drawn as none.
        names: of the fates.
        axes: names of the dimensions.
        title: above.
    """
    from matplotlib.colors import to_rgb

    x, p = _plane(x), np.nan_to_num(np.asarray(probability, dtype=np.float64))
    if p.ndim != 2 or p.shape[1] != len(names):
        raise ValueError(f"probabilities of shape {p.shape} for {len(names)} fates; [cell fate] was wanted")
    _same(x, probability=p)
    base = np.array([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(len(names))])
    best, top = p.argmax(1), p.max(1, keepdims=True)
    even = 1 / max(len(names), 2)
    sure = np.clip((top - even) / (1 - even), 0, 1)
    shown = _thinned(len(x))
    shown = shown[np.argsort(sure[shown, 0], kind="stable")]
    ax.scatter(*x[shown].T, c=(sure * base[best] + (1 - sure) * 0.88)[shown], s=_dot(len(shown)), linewidths=0, rasterized=True)
    for name, colour in zip(names, base):
        ax.scatter([], [], color=colour, s=20, label=str(name))
    ax.legend(loc="best", fontsize=8)
    _dress(ax, axes, title)


def trends(ax: Axes, lines: Mapping[str, tuple[Any, Any, Any]], unit: str = "", title: str = "", label: str = "expression") -> None:
    """A gene along its lineages, each with a band of two standard errors.

    Args:
        ax: to draw on.
        lines: lineage -> times, means and standard errors (or None), ``[time]`` each.
        unit: of time.
        title: above, such as the gene.
        label: of the vertical axis.
    """
    if not lines:
        raise ValueError("no trend to draw; {'lineage': (time, mean, error)} was wanted")
    for k, (name, (time, mean, error)) in enumerate(lines.items()):
        time, mean, colour = np.asarray(time), np.asarray(mean), COLOURS[k % len(COLOURS)]
        if time.shape != mean.shape or time.ndim != 1:
            raise ValueError(f"trend {name!r}: times {time.shape} and means {mean.shape}; [time] of both was wanted")
        ax.plot(time, mean, color=colour, label=str(name), linewidth=1.6)
        if error is not None:
            ax.fill_between(time, mean - 2 * np.asarray(error), mean + 2 * np.asarray(error), color=colour, alpha=0.2, linewidth=0)
    ax.legend(fontsize=8)
    ax.set(xlabel=f"time ({unit})" if unit not in ("", "1") else "time", ylabel=label, title=title)


def _plane(x: Any) -> np.ndarray:
    """The first two dimensions; a second one of zeros where there is one."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or not len(x) or not x.shape[1]:
        raise ValueError(f"an array of shape {x.shape}; [cell dim] with at least one cell was wanted")
    return x[:, :2] if x.shape[1] > 1 else np.concatenate([x, np.zeros_like(x)], 1)


def _same(x: np.ndarray, **others: np.ndarray) -> None:
    for name, value in others.items():
        if len(value) != len(x):
            raise ValueError(f"{name} has {len(value)} rows for {len(x)} cells")


def _thinned(count: int) -> np.ndarray:
    return np.arange(count) if count <= MOST else np.linspace(0, count - 1, MOST).astype(int)


def _dot(count: int) -> float:
    return float(np.clip(6000 / count, 1.5, 18))


def _dress(ax: Axes, names: Sequence[str], title: str) -> None:
    one, two = [str(n) for n in (*names, *("dimension 1", "dimension 2")[len(names) :])][:2]
    ax.set(xlabel=one, ylabel=two, title=title, xticks=[], yticks=[])
