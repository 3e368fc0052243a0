"""Pictures of the study of a turbulent interface: conditional averages, and fields of one run with the interface."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from trajlab.evaluate.turbulent_interface import FIELDS, INTERFACES, Study
from trajlab.report.flow_pictures import STYLE, Panel, draw

HEIGHT = 9.0  #: half of what is shown across the stream, in h


def averages(path: Path, study: Study) -> Path:
    """Conditional averages against the distance, a row for each interface, a column for each field; then correlations against integration time."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    durations = study.config.durations
    shades = [f"C{k}" for k in range(len(durations))]
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 5.6), layout="constrained")
        places = figure.subplots(len(INTERFACES), len(FIELDS) + 1, squeeze=False)
        for row, (which, title) in zip(places, INTERFACES.items()):
            for ax, (name, label) in zip(row, FIELDS.items()):
                for duration, shade in zip(durations, shades):
                    found = study.average(name, which, duration)
                    x, y, e = found.centres / study.microscale, found.mean, found.error
                    ax.plot(x, y, color=shade, linewidth=1.2, label=f"T = {duration:g} h/U")
                    ax.fill_between(x, y - e, y + e, color=shade, alpha=0.25, linewidth=0)
                ax.axvline(0.0, color="0.5", linewidth=0.8, linestyle=":")
                ax.set(xlabel="distance / Taylor microscale", ylabel=label, ylim=(0.0, None))
            for name in FIELDS:
                found = [study.correlation(name, which, d) for d in durations]
                row[-1].errorbar(np.array(durations) / study.integral, [e.value for e in found], [e.error for e in found], marker="o", markersize=3,
                                 linewidth=1.2, label=FIELDS[name].rpartition(",")[0])
            row[-1].axvline(1.0, color="0.5", linewidth=0.8, linestyle=":")
            row[-1].axhline(0.0, color="0.5", linewidth=0.8)
            row[-1].set(xlabel="T / integral time", ylabel="correlation with the side")
            row[0].set_title(f"{title}", loc="left")
        places[0, 0].legend(fontsize=7, frameon=False)
        places[0, -1].legend(fontsize=7, frameon=False)
        partial = path.with_name(f"{path.stem}.tmp{path.suffix}")
        figure.savefig(partial, dpi=90, metadata={"Software": None} if path.suffix == ".png" else None)
    os.replace(partial, path)
    return path


def fields(path: Path, study: Study, run: int = 0) -> Path:
    """Scalar, FTLE over a short and a long time, and momentum barriers at the last start, with the outer interface in red."""
    seen = [s for s in study.snapshots if s.run == run][-1]
    shown = np.abs(seen.axis) <= HEIGHT
    axes, durations = (seen.axis, seen.axis[shown]), study.config.durations
    lines = seen.interfaces["outer"].curves
    middle = len(durations) // 2

    def panel(title: str, values: np.ndarray, label: str, colours: str) -> Panel:
        return Panel(title, axes, values[:, shown], label, colours, lines=lines)

    panels = [
        panel(f"scalar, t = {seen.time:g} h/U", seen.scalar, "scalar", "gray_r"),
        panel("vorticity", seen.vorticity, "U/h", "RdBu_r"),
        panel(f"FTLE, T = {durations[0]:g} h/U", seen.fields["ftle"][0], "U/h", "viridis"),
        panel(f"FTLE, T = {durations[-1]:g} h/U", seen.fields["ftle"][-1], "U/h", "viridis"),
        panel(f"momentum barrier field, T = {durations[middle]:g} h/U", seen.fields["barrier"][middle], "U/h^2", "magma"),
        panel(f"active FTLE, T = {durations[middle]:g} h/U", seen.fields["active"][middle], "U/h^3", "magma"),
    ]
    return draw(path, panels, columns=2, width=9.0, dots=60)
