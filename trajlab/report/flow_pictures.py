"""Pictures of flows in the plane: fields such as FTLE or averaged vorticity with ridges, shrink lines, closed curves and level curves on top."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["Panel", "draw"]

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "trajlab", "font.size": 9, "axes.titlesize": 9}


@dataclass(frozen=True, eq=False)
class Panel:
    """One field and what is drawn on it.

    Attributes:
        title: above the panel.
        axes: ``x[x]`` and ``y[y]``, evenly spaced.
        values: ``[x y]``; NaN is left white.
        label: of the colour bar, with the unit.
        colours: name of a colour map of matplotlib.
        limits: of the colours; by default the quantiles 0.5 and 99.5 %.
        points: ``[point 2]``, such as ridges, in red.
        lines: each ``[point 2]``, in red.
        closed: curves ``[point 2]`` that are closed, in white.
        levels: number of level curves of the field, in black; 0 for none.
    """

    title: str
    axes: Sequence[np.ndarray]
    values: np.ndarray
    label: str = ""
    colours: str = "viridis"
    limits: tuple[float, float] | None = None
    points: np.ndarray | None = None
    lines: Sequence[np.ndarray] = ()
    closed: Sequence[np.ndarray] = field(default=())
    levels: int = 0

    def __post_init__(self) -> None:
        if len(self.axes) != 2 or np.shape(self.values) != tuple(len(a) for a in self.axes):
            raise ValueError(f"panel {self.title!r}: values of shape {np.shape(self.values)} on axes of {[len(a) for a in self.axes]} points; "
                             "[x y] was wanted")


def draw(path: str | Path, panels: Sequence[Panel], columns: int = 1, width: float = 6.0, dots: int = 110) -> Path:
    """Draw panels, row by row, into a file whose ending (``.png``, ``.svg``, ``.pdf``) says how; an existing file is replaced at once.

    Raises:
        ValueError: no panel.
    """
    if not panels:
        raise ValueError("no panel to draw; pass a list of at least one Panel")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path = Path(path)
    rows = -(-len(panels) // columns)
    (x, y), each = panels[0].axes, width / columns
    tall = each * 0.85 * (y[-1] - y[0]) / (x[-1] - x[0]) + 0.55
    with rc_context(STYLE):
        figure = Figure(figsize=(width, rows * tall), layout="constrained")
        places = figure.subplots(rows, columns, squeeze=False)
        for ax, panel in zip(places.flat, panels):
            _panel(figure, ax, panel)
        for ax in places.flat[len(panels) :]:
            ax.set_axis_off()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}.tmp{path.suffix}")
        figure.savefig(partial, dpi=dots, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None} if path.suffix == ".png" else None)
    os.replace(partial, path)
    return path


def _panel(figure, ax, panel: Panel) -> None:  # type: ignore[no-untyped-def]
    x, y = panel.axes
    hx, hy = 0.5 * (x[1] - x[0]), 0.5 * (y[1] - y[0])
    low, high = panel.limits or np.nanquantile(panel.values, [0.005, 0.995])
    extent = (x[0] - hx, x[-1] + hx, y[0] - hy, y[-1] + hy)
    image = ax.imshow(panel.values.T, origin="lower", extent=extent, cmap=panel.colours, vmin=low, vmax=high, interpolation="nearest")
    figure.colorbar(image, ax=ax, label=panel.label, shrink=0.9)
    if panel.levels:
        ax.contour(x, y, panel.values.T, levels=np.linspace(low, high, panel.levels + 2)[1:-1], colors="k", linewidths=0.5, linestyles="solid")
    if panel.points is not None:
        ax.plot(*panel.points.T, ".", color="red", markersize=1.5, markeredgewidth=0)
    for line in panel.lines:
        ax.plot(*line.T, "-", color="red", linewidth=1.2)
    for curve in panel.closed:
        ax.plot(*np.concatenate([curve, curve[:1]]).T, "-", color="white", linewidth=1.5)
    ax.set(title=panel.title, xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel="x", ylabel="y")
