"""Pictures of the page on flow barriers: ridges and shrink lines of the double gyre, closed curves of the Bickley jet, and momentum barriers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trajlab.dynamics.active_barriers import averaged_vorticity, diagnose, level_field
from trajlab.dynamics.cauchy_green import grid_tensor
from trajlab.dynamics.elliptic import elliptic_barriers, vortex_cores
from trajlab.dynamics.flow_maps import flow_map
from trajlab.dynamics.ftle import exponents, ridges
from trajlab.dynamics.shrink_lines import shrink_lines
from trajlab.report.flow_pictures import Panel, draw
from trajlab.sources.flows import DAY, flow


def draw_all(folder: Path) -> None:
    for picture in (hyperbolic, elliptic, momentum):
        print(picture(folder))


def hyperbolic(folder: Path) -> Path:
    """FTLE of the double gyre, forward and backward, with ridges and with shrink lines."""
    gyre, panels = flow("double_gyre"), []
    for word, duration in (("repelling", 10.0), ("attracting", -10.0)):
        found = flow_map(gyre, gyre.axes(301), 0.0, duration, steps=50)
        lines = [line.points for line in shrink_lines(gyre, gyre.axes(301), 0.0, duration, steps=50)]
        panels += [Panel(f"{word}: ridges of the FTLE", found.axes, exponents(found), "FTLE", points=ridges(found).points),
                   Panel(f"{word}: shrink lines", found.axes, exponents(found), "FTLE", lines=lines)]
    return draw(folder / "flow-barriers-hyperbolic.png", panels, columns=2, width=9.0, dots=90)


def elliptic(folder: Path) -> Path:
    """Outermost closed curves of even stretching around the vortices of the Bickley jet, over eleven days."""
    jet = flow("bickley_jet")
    axes = (np.linspace(0.0, 20.0, 401), np.linspace(-3.0, 3.0, 121))
    found = flow_map(jet, axes, 0.0, 11.0 * DAY, steps=400)
    cores = vortex_cores(found.vorticity - found.vorticity.mean(), axes, 0.8, share=0.3)
    curves = elliptic_barriers(grid_tensor(found), cores, 2.0)
    panel = Panel("Bickley jet, 11 days: averaged vorticity and elliptic barriers", axes, 1e6 * found.vorticity, "1e-6 1/s", "RdBu_r",
                  closed=[curve.points for curve in curves])
    return draw(folder / "flow-barriers-elliptic.png", [panel], width=7.5, dots=90)


def momentum(folder: Path) -> Path:
    """Lagrangian momentum barriers of the double gyre: level curves of the averaged vorticity, and the active FTLE."""
    gyre = flow("double_gyre")
    axes = gyre.axes(301)
    average = averaged_vorticity(gyre, axes, 0.0, 10.0, steps=50)
    inner = tuple(a[3:-3] for a in axes)
    active = diagnose(level_field(average, axes), inner, 0.02, steps=100)
    panels = [Panel("averaged vorticity and its level curves", axes, average, "1", "RdBu_r", levels=14),
              Panel("active FTLE of the barrier field", inner, active.ftle, "aFTLE")]
    return draw(folder / "flow-barriers-momentum.png", panels, columns=2, width=9.0, dots=90)
