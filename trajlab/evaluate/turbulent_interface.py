"""Barriers about a turbulent interface: averages of FTLE and of momentum barriers conditioned on the distance to it, over integration times.

The scalar of each run is split into layers at each start time; the outermost border is the turbulent/non-turbulent interface (TNTI), the next one
an internal interface. Particles start on the grid, and their flow map, FTLE and Lagrangian momentum barrier field are found over each of the
durations, in one go: gradients of successive pieces are multiplied. Points of islands and holes are left out. Blocks for the errors are groups of
columns of a run, with all start times together. What is seen of the interface while it moves is seen in the frame of its mean motion; FTLE and
barrier fields are objective, so that they do not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trajlab.dynamics.active_barriers import diagnose, lagrangian_field, level_field
from trajlab.dynamics.cauchy_green import largest_stretch
from trajlab.dynamics.flow_fields import Flow
from trajlab.dynamics.flow_maps import flow_map
from trajlab.dynamics.sampled_velocity import SampledVelocity
from trajlab.evaluate.turbulent_interface_config import InterfaceConfig
from trajlab.metrics.interface import Interface, cluster_levels, find_interface
from trajlab.metrics.interface_averages import Conditional, conditional_average, side_correlation
from trajlab.metrics.interface_motion import Motion, mean_motion, persistence
from trajlab.metrics.interface_scales import integral_time, taylor_microscale
from trajlab.metrics.uncertainty import Estimate
from trajlab.sources.jet import Jet, plane_jet

__all__ = ["FIELDS", "INTERFACES", "InterfaceConfig", "Snapshot", "Study", "study_interface"]

FIELDS = {"ftle": "FTLE, U/h", "barrier": "momentum barrier strength, U/h^2", "active": "active FTLE, U/h^3"}
INTERFACES = {"outer": "turbulent/non-turbulent interface", "inner": "internal interface"}
FINER = 2  #: grid of the stream function over that of the jet


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is known at one start time of one run.

    Attributes:
        run, time: which.
        axis: places of the starts along x and y.
        interfaces: by the names of `INTERFACES`.
        distance: ``[x y]`` to each, at the starts; NaN on islands and in holes.
        fields: ``[duration x y]`` each, by the names of `FIELDS`.
        vorticity, force: ``[x y]``, omega and |grad omega|, the strength of the Eulerian barrier field.
        scalar: ``[x y]``.
        microscale: Taylor's, inside the outer interface.
        volume: largest |det DF - 1| after the longest duration.
    """

    run: int
    time: float
    axis: np.ndarray
    interfaces: Mapping[str, Interface]
    distance: Mapping[str, np.ndarray]
    fields: Mapping[str, np.ndarray]
    vorticity: np.ndarray
    force: np.ndarray
    scalar: np.ndarray
    microscale: float
    volume: float


@dataclass(frozen=True, eq=False)
class Study:
    """What was found.

    Attributes:
        config: of the procedure.
        snapshots: of all runs and start times.
        microscale, integral: Taylor microscale in h and Lagrangian integral time in h/U inside the outer interface, averages.
        motions: of the upper and lower outer interface of each run.
        persistence: ``(times, in the moving frame, in the frame of the box)``, correlation of the outer interface with what it first was.
        resolution: smallest k_max eta of the runs.
        provenance: of the runs.
    """

    config: InterfaceConfig
    snapshots: Sequence[Snapshot]
    microscale: float
    integral: float
    motions: Sequence[Mapping[str, Motion]]
    persistence: tuple[np.ndarray, np.ndarray, np.ndarray]
    resolution: float
    provenance: Mapping[str, Any]

    def average(self, name: str, which: str = "outer", duration: float | None = None, time: float | None = None) -> Conditional:
        """The conditional average of one of `FIELDS` over a duration, or of ``"force"`` or ``"vorticity"`` (its size), of all start times or one."""
        c, unit = self.config, self.microscale
        low, high = round(c.outside * c.bins), round(c.inside * c.bins)
        d, f, b = self._points(name, which, duration, time)
        return conditional_average(d, f, b, np.arange(-low, high + 1) * (unit / c.bins))

    def jump(self, name: str, which: str = "outer", duration: float | None = None, time: float | None = None) -> Estimate:
        """Average over the band inside minus that over the band outside."""
        return self.average(name, which, duration, time).jump(self.config.band * self.microscale)

    def correlation(self, name: str, which: str = "outer", duration: float | None = None) -> Estimate:
        """Between the field and the side of the interface, within the band."""
        d, f, b = self._points(name, which, duration, None)
        return side_correlation(d, f, b, self.config.band * self.microscale)

    def thickness(self, name: str, which: str = "outer", duration: float | None = None, time: float | None = None) -> Estimate:
        """Of the layer over which the average changes, in Taylor microscales."""
        found = self.average(name, which, duration, time).thickness(self.config.band * self.microscale)
        return Estimate(found.value / self.microscale, found.error / self.microscale)

    def _points(self, name: str, which: str, duration: float | None, time: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances, values and blocks ``[snapshot x y]``."""
        used = [s for s in self.snapshots if time is None or s.time == time]
        if name in FIELDS:
            k = self.config.durations.index(self.config.durations[0] if duration is None else duration)
            values = [s.fields[name][k] for s in used]
        else:
            values = [np.abs(getattr(s, name)) for s in used]
        count = len(used[0].axis)
        group = np.arange(count)[:, None] * self.config.columns // count
        blocks = [np.broadcast_to(s.run * self.config.columns + group, (count, count)) for s in used]
        return np.stack([s.distance[which] for s in used]), np.stack(values), np.stack(blocks)


def study_interface(config: InterfaceConfig | None = None, jets: Sequence[Jet] | None = None, tell: Callable[[str], None] | None = None) -> Study:
    """Find out how barriers are placed about the interfaces of a jet.

    Args:
        jets: computed before, in place of those that the config asks for.
        tell: is called with a line on what is being done.

    Raises:
        ValueError: as `InterfaceConfig`, `trajlab.sources.jet.plane_jet`, `find_interface`.
    """
    c, tell = config or InterfaceConfig(), tell or (lambda _: None)
    snapshots, motions, kept, times, told, sharp = [], [], [], [], {}, math.inf
    for run in range(len(jets) if jets else c.runs):
        tell(f"run {run + 1}: jet of {c.jet.points} x {c.jet.points} points to t = {c.jet.spin_up + c.jet.duration:g}")
        jet = jets[run] if jets else plane_jet(replace(c.jet, seed=c.jet.seed + run))
        tell(f"run {run + 1}: interfaces, flow maps and barriers")
        flow = jet.flow(FINER)
        found = [_snapshot(c, jet, flow, run, start) for start in c.starts]
        snapshots += found
        times.append(_integral_time(flow, found[0]))
        motion, stays = _motions(c, jet, found[0].microscale)
        motions.append(motion)
        kept.append(stays)
        told, sharp = dict(jet.provenance), min(sharp, jet.resolution)
    microscale = float(np.mean([s.microscale for s in snapshots]))
    lasting = (motions[0]["upper"].times - motions[0]["upper"].times[0], *np.mean(kept, 0))
    return Study(c, snapshots, microscale, float(np.mean(times)), motions, lasting, sharp, told)


def _frame(jet: Jet, time: float) -> int:
    k = int(np.abs(jet.times - time).argmin())
    if abs(jet.times[k] - time) > 1e-6:
        raise ValueError(f"there is no frame at t = {time:g}; frames are {jet.config.interval:g} apart from {jet.times[0]:g} to {jet.times[-1]:g}")
    return k


def _outer_inner(c: InterfaceConfig, jet: Jet, k: int) -> dict[str, Interface]:
    levels = cluster_levels(jet.scalar[k], c.clusters, by=c.clustering, seed=c.jet.seed)
    size = jet.config.length
    return {name: find_interface(jet.scalar[k], (jet.axis, jet.axis), level, (size, size), c.keep) for name, level in zip(INTERFACES, levels)}


def _snapshot(c: InterfaceConfig, jet: Jet, flow: Flow, run: int, start: float) -> Snapshot:
    k, n = _frame(jet, start), c.stride
    interfaces = _outer_inner(c, jet, k)
    u = jet.box.velocity(jet.vorticity[k])
    slope = np.stack([jet.box.gradient(u[..., i]) for i in (0, 1)], -2)
    force = np.linalg.norm(jet.box.gradient(jet.vorticity[k]), axis=-1)
    distance = {name: np.where(i.aside[::n, ::n], np.nan, i.distance(n)) for name, i in interfaces.items()}
    fields, volume = _barriers(c, jet, flow, start)
    return Snapshot(run, start, jet.axis[::n], interfaces, distance, fields, jet.vorticity[k, ::n, ::n], force[::n, ::n], jet.scalar[k, ::n, ::n],
                    taylor_microscale(u, slope, interfaces["outer"].inside), volume)


def _barriers(c: InterfaceConfig, jet: Jet, flow: Flow, start: float) -> tuple[dict[str, np.ndarray], float]:
    """Fields over each duration, piece by piece: DF of a later piece times that of the earlier ones, and averages pulled back by the earlier ones."""
    axis, size = jet.axis[:: c.stride], jet.config.length
    grid = (axis, axis)
    force = SampledVelocity.stream(jet.vorticity, (jet.axis, jet.axis), jet.times, periodic=(size, size), name="viscous force")
    places = np.stack(np.meshgrid(*grid, indexing="ij"), -1)
    gradient = np.broadcast_to(np.eye(2), (*places.shape, 2))
    pulled, average, done = np.zeros_like(places), np.zeros(places.shape[:-1]), 0.0
    found: dict[str, list[np.ndarray]] = {name: [] for name in FIELDS}
    for duration in c.durations:
        piece = duration - done
        steps = 2 * math.ceil(piece / (2.0 * c.step))
        step = flow_map(flow, places, start + done, piece, steps=steps)
        here = lagrangian_field(flow, places, start + done, piece, force=force, steps=steps)
        pulled = (done * pulled + piece * np.linalg.solve(gradient, here[..., None])[..., 0]) / duration
        average = (done * average + piece * step.vorticity) / duration
        places, gradient, done = step.end, step.gradient @ gradient, duration
        found["ftle"].append(np.log(largest_stretch(gradient)) / duration)
        found["barrier"].append(np.linalg.norm(pulled, axis=-1))
        found["active"].append(diagnose(level_field(average, grid, (size, size)), grid, c.reach, steps=32).ftle)
    return {name: np.stack(values) for name, values in found.items()}, float(np.abs(np.linalg.det(gradient) - 1.0).max())


def _integral_time(flow: Flow, first: Snapshot) -> float:
    """From some 200 particles inside the outer interface."""
    where = np.argwhere(first.distance["outer"] > 0)
    chosen = where[np.linspace(0, len(where) - 1, min(200, len(where))).astype(int)]
    return integral_time(flow, first.axis[chosen], first.time, flow.span[1] - first.time)


def _motions(c: InterfaceConfig, jet: Jet, width: float) -> tuple[dict[str, Motion], np.ndarray]:
    """Mean motion of both sides of the outer interface, and how it persists, ``[frame(moving, box) time]``, averages over both sides."""
    n, axis, size = c.stride, jet.axis[:: c.stride], jet.config.length
    hop = max(1, round(c.looks / jet.config.interval))
    frames = range(_frame(jet, c.starts[0]), len(jet.times), hop)
    seen = [_outer_inner(c, jet, k)["outer"] for k in frames]
    pattern = np.stack([np.clip(i.distance(n), -0.5 * width, 0.5 * width) for i in seen])
    motions, lasting = {}, []
    for name, side in (("upper", axis >= 0), ("lower", axis < 0)):
        heights = np.array([_height(i, name == "upper") for i in seen])
        motion = mean_motion(pattern[:, :, side], heights, jet.times[list(frames)], size)
        still = Motion(motion.times, np.zeros_like(motion.along), np.zeros_like(motion.across))
        part = np.broadcast_to(side & (np.abs(axis) < 0.25 * size), (len(axis), len(axis)))
        lasting.append([persistence(pattern, m, (size, size), part) for m in (motion, still)])
        motions[name] = motion
    return motions, np.mean(lasting, 0)


def _height(interface: Interface, upper: bool) -> float:
    """Mean y of the pieces of the curves above or below the middle, weighted by their length."""
    first, last = interface.pieces
    y, weight = 0.5 * (first + last)[:, 1], np.linalg.norm(last - first, axis=1)
    side = (y >= 0) == upper
    return float((y[side] * weight[side]).sum() / max(weight[side].sum(), 1e-300))
