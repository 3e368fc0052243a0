"""Figures of molecular dynamics from what was measured: plain numbers for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trajlab.evaluate.results import Curve, Figure, Scene3D
from trajlab.evaluate.rollouts import Measured
from trajlab.metrics import molecular as m
from trajlab.types import Trajectories

LABELS = {
    "bonded": ("Distances of bonded pairs", "distance, A", "density, 1/A"),
    "shell": ("Distances of first neighbours", "distance, A", "density, 1/A"),
    "all": ("Distances of all pairs", "distance, A", "density, 1/A"),
    "angles": ("Bond angles", "angle, degrees", "density, 1/degree"),
    "vdos": ("Vibrational density of states", "wavenumber, 1/cm", "density, cm"),
    "msd": ("Mean-square displacement", "lag, fs", "A^2"),
}


def numbers(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()


def rollout_figures(runs: Mapping[str, Measured], reference: Measured | None, stride: float, suffix: str = "") -> list[Figure]:
    """All figures of several roll-outs beside their reference; ``suffix`` ends their titles."""
    shown = {**({} if reference is None else {"reference": reference}), **runs}
    target = next(iter(runs.values())).target
    kinetic = {name: run.kinetic for name, run in shown.items()}
    found = [temperature_figure(shown, target), kinetic_figure(kinetic, target), element_figure(shown)]
    for name in LABELS:
        profiles = {who: run.profiles[name] for who, run in shown.items() if name in run.profiles}
        if profiles:
            found.append(profile_figure(name, profiles, stride))
    drifts = {name: run.drift for name, run in runs.items() if run.drift is not None}
    found += ([drift_figure(drifts)] if drifts else []) + [stability_figure(runs)]
    return [replace(figure, title=figure.title + suffix) for figure in found]


def profile_figure(name: str, runs: Mapping[str, m.Profile], stride: float, note: str = "") -> Figure:
    """Curves of several runs, the reference among them, with bands of one standard error."""
    title, xlabel, ylabel = LABELS[name]
    low, high = 0, None
    if name != "msd":  # the others have the same bins in all runs; lags are as many as a run is long
        seen = torch.stack([p.curve() for p in runs.values()]).sum(0).nonzero().flatten()
        low, high = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, None)
    curves = [Curve(who, numbers(p.axis[low:high]), numbers(p.curve()[low:high]), numbers(p.band()[low:high]), "line") for who, p in runs.items()]
    if name != "vdos":
        return Figure(title, xlabel, ylabel, curves, note=note)
    folding = (f"Frames are {stride:g} fs apart, so lines beyond the Nyquist wavenumber {m.nyquist(stride):.0f} 1/cm appear folded back; the "
               "reference is seen through the same frames and window.")
    return Figure(title, xlabel, ylabel, curves, {"Nyquist": m.nyquist(stride)}, note=f"{folding} {note}".strip())


def temperature_figure(runs: Mapping[str, Measured], target: float) -> Figure:
    """Temperature against time, averaged over the systems alive, with the spread of one system as a band."""
    curves = []
    for name, run in runs.items():
        series, clock = run.course, run.stops.time
        count = series.alive.sum(0)
        weight = torch.where(series.alive, series.temperature, 0.0)
        mean = weight.sum(0) / count.clamp_min(1)
        spread = (torch.where(series.alive, (series.temperature - mean).square(), 0.0).sum(0) / count.clamp_min(1)).sqrt()
        keep = count > 0
        curves.append(Curve(name, numbers(clock[keep] / 1000), numbers(mean[keep]), numbers(spread[keep])))
    span = np.array([min(c.x[0] for c in curves), max(c.x[-1] for c in curves)])
    return Figure("Temperature", "time, ps", "temperature, K", [*curves, Curve("target", span, np.full(2, target))],
                  note="Mean over the systems; the band is the standard deviation between them.")


def kinetic_figure(runs: Mapping[str, m.Kinetic], target: float) -> Figure:
    """Histogram of the kinetic energy against the canonical law."""
    curves, law = [], None
    for name, series in runs.items():
        profile, law = m.energy_histogram(series, target)
        curves.append(Curve(name, numbers(profile.axis), numbers(profile.curve()), numbers(profile.band()), "step"))
    if law is not None:
        curves.append(Curve("canonical: Gamma(n/2)", curves[0].x, numbers(law)))
    return Figure("Kinetic energy", "K / K0 with K0 = n k_B T/2", "density", curves)


def element_figure(runs: Mapping[str, Measured]) -> Figure:
    """Temperature of each element over the target, with standard errors."""
    symbols = list(next(iter(runs.values())).elements)
    curves = []
    for name, measured in runs.items():
        value = np.array([measured.elements[s].value / measured.target for s in symbols])
        error = np.array([measured.elements[s].error / measured.target for s in symbols])
        curves.append(Curve(name, np.array(symbols), value, error, "points"))
    return Figure("Temperature by element", "element", "kinetic energy / canonical", curves,
                  note="Canonical expectation with the removed degrees of freedom shared by mass and geometry; 1 is equipartition.")


def drift_figure(runs: Mapping[str, m.Drift]) -> Figure:
    """Change of the reference energy along runs without thermostat."""
    curves = []
    for name, drift in runs.items():
        keep = torch.isfinite(drift.rms)
        curves.append(Curve(f"{name}, rms", numbers(drift.time[keep] / 1000), numbers(drift.rms[keep])))
        curves.append(Curve(f"{name}, mean", numbers(drift.time[keep] / 1000), numbers(drift.mean[keep])))
    return Figure("Energy without thermostat", "time, ps", "change of the reference energy, meV/atom", curves,
                  note="Potential plus kinetic energy under the reference potential, over the systems that are still running.")


def stability_figure(runs: Mapping[str, Measured]) -> Figure:
    """Share of the systems still running against time."""
    curves = [Curve(name, numbers(r.stops.time / 1000), numbers(r.stops.share), style="step") for name, r in runs.items()]
    return Figure("Stability", "time, ps", "share of systems still running", curves)


def structure_scenes(trajectories: Trajectories, title: str, replicas: int = 3) -> list[Scene3D]:
    """The first systems, playable from their start, as many frames in a row as 250 kB hold."""
    shown = trajectories.scenes(slice(0, replicas))
    return [_scene(shown.scenes([k]), f"{title}, replica {k}" if shown.n_scenes > 1 else title) for k in range(shown.n_scenes)]


def _scene(one: Trajectories, title: str, most: int = 250_000) -> Scene3D:
    seen = m.alive(one)[0].nonzero().flatten()[: max(1, most // (6 * one.n_nodes))]
    kept = one.frames(seen)
    x = kept.x.double()
    x = x - x.mean(0, keepdim=True) if one.cell is None else x
    cell = None if one.cell is None else numbers(one.cell[0].double())
    note = "" if len(seen) == one.n_frames else f"The first {len(seen)} of {one.n_frames} frames."
    return Scene3D(title, numbers(one.kind), numbers(x.transpose(0, 1)), one.spacing if one.n_frames > 1 else 0.0, cell, note)
