"""Pictures of `samplers.py`, as SVG on white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trajlab.catalog import find
from trajlab.evaluate.samplers import Problem, grid_for
from trajlab.samplers.hooks import Step
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "trajlab", "font.size": 9, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.5}
#: Rows of the table of errors that are drawn; the colour is the solver's, the dash the grid's.
DRAWN = {"ddim": "C0", "deis": "C1", "dpmpp_2m": "C2", "unipc": "C3"}
DASHES = {"uniform_lam": "-", "uniform_t": ":", "karras": "--"}


def errors(folder: Path, calls: Sequence[int], found: Mapping[str, Mapping[str, Sequence[Any]]]) -> Path:
    """Error against calls, by solver (colour) and grid (dash), a panel a mixture."""
    with _canvas(10, 4.2, 1, len(found)) as (figure, axes):
        for ax, (title, table) in zip(axes[0], found.items()):
            for name, colour in DRAWN.items():
                for grid, dash in DASHES.items():
                    values = table.get(f"trajlab: {name}, {grid}")
                    if values is not None:
                        ax.plot(calls, _numbers(values), dash, color=colour, label=f"{name}, {grid}")
            for name, marker in (("DDIM leading", "x"), ("DPM++2M", "+"), ("DEIS3", "1")):
                ax.plot(calls, _numbers(table[f"diffusers: {name}"]), marker, color="#555555", label=f"diffusers {name}, its defaults")
            _log_log(ax, calls, title, "calls of the denoiser", "median distance to the exact end")
        axes[0][-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return _saved(figure, folder, "errors")


def paths(folder: Path, problem: Problem, calls: int = 10, solvers: Sequence[str] = ("ddim", "deis"),
          grids: Sequence[str] = ("uniform_t", "karras", "uniform_lam"), shown: int = 16) -> Path:
    """What samples do on their way on the ring: rows are grids, columns solvers. States are drawn over alpha sqrt(1 + rho^2), so that all levels
    have the same size; ellipses are the modes at two standard deviations, open circles the exact ends, red dots where the solver ends."""
    some, modes = slice(0, shown), _ellipses(problem.mixture)
    with _canvas(2.6 * len(solvers), 2.6 * len(grids), len(grids), len(solvers)) as (figure, axes):
        for row, grid in zip(axes, grids):
            for ax, name in zip(row, solvers):
                solver = find(name, "samplers")()
                nodes = grid_for(solver, problem.path, grid, calls)
                if nodes is None:
                    continue
                found = sample(problem.mixture.denoiser(problem.path), nodes, problem.start, solver, trace=True)
                lines = np.array([problem.start[some].numpy(), *(_sized(step, some) for step in found.trace)])
                ax.fill(modes[0], modes[1], color="#dddddd", linewidth=0)
                ax.plot(lines[..., 0], lines[..., 1], "-", color="C0", linewidth=0.7, alpha=0.8)
                ax.plot(*problem.end[some].T, "o", markerfacecolor="none", markeredgecolor="k", markersize=4.5, markeredgewidth=0.7)
                ax.plot(*found.x[some].T, ".", color="C3", markersize=4)
                ax.set(xlim=(-1.8, 1.8), ylim=(-1.8, 1.8), aspect="equal", title=f"{name}, {grid}: {problem.error(found.x):.3f}")
                ax.set_xticks([])
                ax.set_yticks([])
        return _saved(figure, folder, "paths")


def overhead(folder: Path, found: Mapping[str, float]) -> Path:
    """Bars of microseconds a step, trajlab and diffusers by colour."""
    names = sorted(found, key=lambda name: found[name])
    with _canvas(7, 0.2 * len(names) + 0.8, 1, 1) as (figure, axes):
        ax = axes[0][0]
        colours = ["C1" if n.startswith("trajlab") else "#888888" for n in names]
        ax.barh([n.replace("trajlab: ", "") for n in names], [found[n] for n in names], color=colours)
        ax.set(xscale="log", xlabel="microseconds a step, net for nothing: trajlab (orange), diffusers (grey)")
        ax.grid(axis="y", visible=False)
        return _saved(figure, folder, "overhead")


def orders(folder: Path, steps: Sequence[int], found: Mapping[str, Sequence[float]]) -> Path:
    """Error against steps, with lines of slope 1 to 4."""
    with _canvas(7.5, 4.6, 1, 1) as (figure, axes):
        ax = axes[0][0]
        for number, (name, values) in enumerate(found.items()):
            ax.plot(steps, values, "-os"[0] + "o^sDv"[number % 5], color=f"C{number % 10}", markersize=4, label=name)
        for order in (1, 2, 3, 4):
            ax.plot(steps, 0.3 * (np.array(steps) / steps[0]) ** -float(order), ":", color="#999999", linewidth=0.8)
            ax.annotate(str(order), (steps[-1], 0.3 * (steps[-1] / steps[0]) ** -float(order)), color="#777777", fontsize=8)
        _log_log(ax, steps, "", "steps", "mean distance to the exact ODE")
        ax.legend(loc="center left", bbox_to_anchor=(1.03, 0.5))
        return _saved(figure, folder, "orders")


def _ellipses(mixture: GaussianMixture) -> np.ndarray:
    """Outlines of the modes of a 2-D mixture at two standard deviations ``[2 point mode]``."""
    angle = np.linspace(0, 2 * np.pi, 40)
    circle = 2 * np.stack([np.cos(angle), np.sin(angle)])
    roots = np.linalg.cholesky(mixture.covariance.numpy())
    return (mixture.mean.numpy()[:, :, None] + roots @ circle).transpose(1, 2, 0)


def _sized(step: Step, some: slice) -> np.ndarray:
    size = (step.level.alpha**2 + step.level.sigma**2) ** 0.5
    return (step.x[some] / size).numpy()


def _numbers(values: Sequence[Any]) -> list[float]:
    return [float(v) if isinstance(v, float) else float("nan") for v in values]


def _log_log(ax: Any, ticks: Sequence[int], title: str, xlabel: str, ylabel: str) -> None:
    ax.set(xscale="log", yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()


class _canvas:
    """A figure and its axes ``[row][column]``, in the style of this file."""

    def __init__(self, width: float, height: float, rows: int, columns: int) -> None:
        self.size, self.shape = (width, height), (rows, columns)

    def __enter__(self) -> tuple[Any, Any]:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self.context = mpl.rc_context(STYLE)
        self.context.__enter__()
        figure = Figure(figsize=self.size, layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.subplots(*self.shape, squeeze=False)

    def __exit__(self, *error: Any) -> None:
        self.context.__exit__(*error)


def _saved(figure: Any, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samplers-{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    print(f"picture: {path}")
    return path
