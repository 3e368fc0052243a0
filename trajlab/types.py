"""The nouns: what is followed (`Trajectories`), what is only seen as a population (`Snapshots`), what jumps (`JumpPaths`),
who talks to whom (`Graph`) and what a method answers (`Forecast`).

Every noun is immutable, checks itself once when it is built, and says what is wrong with names and numbers. Physical time is
called ``time``; the ``t`` of generative models never appears here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab import _checks as check
from trajlab.units import Units

__all__ = ["Forecast", "Forecaster", "Graph", "JumpPaths", "Snapshots", "Trajectories", "Units"]


class Noun:
    """What all nouns share: `replace` (checked again), `to` a device or dtype, and a short repr."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)  # type: ignore[type-var]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """A copy on another device; ``dtype`` applies to floating-point fields other than clocks, which stay float64."""
        changes: dict[str, Any] = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            keep = f.name == "time"
            if isinstance(value, Tensor):
                changes[f.name] = _moved(value, device, None if keep else dtype)
            elif isinstance(value, Mapping):
                changes[f.name] = {k: _moved(v, device, dtype) if isinstance(v, Tensor) else v for k, v in value.items()}
        return self.replace(**changes)


def _moved(value: Tensor, device: torch.device | str | None, dtype: torch.dtype | None) -> Tensor:
    return value.to(device=device, dtype=dtype if dtype is not None and value.is_floating_point() else None)


def _freeze(noun: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(noun, name, MappingProxyType(dict(value)) if isinstance(value, Mapping) else value)


@dataclass(frozen=True, eq=False)
class Trajectories(Noun):
    """Things that are followed: atoms, agents, the states of an ODE, sensors. Nodes are packed, time is dense.

    Attributes:
        x: positions or states, ``[node time dim]``, in ``units.length``. Unwrapped where the cell is periodic.
        time: one clock a scene, ``[scene time]``, float64, strictly increasing, in ``units.time``.
        scene: the scene of each node, sorted, ``[node]``.
        mask: True where the node was observed, ``[node time]``; what is masked out may hold anything and is never looked at.
        kind: atomic number, class of agent, ..., ``[node]``.
        extra: named values a node and frame, ``[node time ...]``: ``velocity`` in length/time, ``heading``, ...
        static: named values a node, ``[node ...]``: ``mass``, ...
        context: named values a scene, ``[scene ...]``: ``run`` (the independent run a scene was cut from), ``temperature``, ...
        cell: periodic cell vectors as rows, ``[scene 3 3]``; absent means open space.
        pbc: which of the cell vectors are periodic, ``[scene 3]``.
        units: the units of all of this.
        source: provenance: where it came from, by which command, with which seed.

    Raises:
        ValueError: shapes disagree, a clock does not increase, or a value is not finite where it was observed.
    """

    x: Float[Tensor, "node time dim"]
    time: Float[Tensor, "scene time"]
    scene: Int[Tensor, "node"]
    mask: Bool[Tensor, "node time"] = None  # type: ignore[assignment]  # filled in: all observed
    kind: Int[Tensor, "node"] = None  # type: ignore[assignment]  # filled in: all zero
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    static: Mapping[str, Tensor] = field(default_factory=dict)
    context: Mapping[str, Tensor] = field(default_factory=dict)
    cell: Float[Tensor, "scene 3 3"] | None = None
    pbc: Bool[Tensor, "scene 3"] | None = None
    units: Units = field(default_factory=Units)
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.rank("Trajectories", x=(self.x, 3), time=(self.time, 2), scene=(self.scene, 1))
        nodes, frames, _ = self.x.shape
        mask = torch.ones(nodes, frames, dtype=torch.bool, device=self.x.device) if self.mask is None else self.mask
        kind = torch.zeros(nodes, dtype=torch.long, device=self.x.device) if self.kind is None else self.kind
        cell, pbc = self.cell, self.pbc
        if cell is not None and pbc is None:
            pbc = torch.ones(len(self.time), 3, dtype=torch.bool, device=self.x.device)
        if cell is None and pbc is not None:
            raise ValueError("Trajectories got pbc without cell; pass cell[scene 3 3], or neither for open space")
        _freeze(self, mask=mask, kind=kind, pbc=pbc, time=self.time.double(), extra=self.extra,
                static=self.static, context=self.context, source=self.source)
        check.trajectories(self)

    @property
    def n_nodes(self) -> int:
        return self.x.shape[0]

    @property
    def n_frames(self) -> int:
        return self.x.shape[1]

    @property
    def n_scenes(self) -> int:
        return self.time.shape[0]

    @property
    def dim(self) -> int:
        return self.x.shape[2]

    @property
    def sizes(self) -> Int[Tensor, "scene"]:
        """Nodes in each scene."""
        return torch.bincount(self.scene, minlength=self.n_scenes)

    @property
    def ptr(self) -> Int[Tensor, "scene_plus_1"]:
        """Where each scene's nodes begin, and the end of the last."""
        return torch.nn.functional.pad(self.sizes.cumsum(0), (1, 0))

    @property
    def velocity(self) -> Float[Tensor, "node time dim"]:
        """The stored velocities; a ValueError where there are none (`trajlab.data.finite_differences` can make them)."""
        if "velocity" not in self.extra:
            raise ValueError(
                "these trajectories have no velocities. Read them from a file that has them, or call "
                "trajlab.data.finite_differences(trajectories) to estimate them from positions, which is second order in the frame spacing"
            )
        return self.extra["velocity"]

    @property
    def mass(self) -> Float[Tensor, "node"]:
        """The stored masses; a ValueError where there are none."""
        if "mass" not in self.static:
            raise ValueError("these trajectories have no masses; pass static={'mass': ...} (readers of atoms fill it from the elements)")
        return self.static["mass"]

    @property
    def spacing(self) -> float:
        """The time between frames, in ``units.time``; a ValueError where it is not one number for all scenes and frames."""
        if self.n_frames < 2:
            raise ValueError("a single frame has no spacing; this needs at least 2 frames")
        step = self.time.diff(dim=1)
        low, high = float(step.min()), float(step.max())
        if high - low > 1e-6 * high + 1e-12 * float(self.time.abs().max()):
            raise ValueError(f"the frames are not evenly spaced: from {low:g} to {high:g} {self.units.time}; resample first")
        return float(step.double().mean())

    def frames(self, which: slice | Sequence[int] | Tensor) -> Trajectories:
        """Some frames of every scene, in rising order."""
        index = torch.arange(self.n_frames, device=self.x.device)[which]
        extra = {k: v[:, index] for k, v in self.extra.items()}
        return self.replace(x=self.x[:, index], time=self.time[:, index], mask=self.mask[:, index], extra=extra)

    def last(self, n: int = 1) -> Trajectories:
        """The last ``n`` frames: what a forecast starts from."""
        if not 1 <= n <= self.n_frames:
            raise ValueError(f"asked for the last {n} frames of {self.n_frames}; choose 1 to {self.n_frames}")
        return self.frames(slice(self.n_frames - n, None))

    def scenes(self, which: slice | Sequence[int] | Tensor) -> Trajectories:
        """Some scenes, in the order asked for."""
        chosen = torch.arange(self.n_scenes, device=self.x.device)[which]
        sizes, ptr = self.sizes, self.ptr
        count = sizes[chosen]
        scene = torch.repeat_interleave(torch.arange(len(chosen), device=self.x.device), count)
        offset = count.cumsum(0) - count
        node = torch.arange(int(count.sum()), device=self.x.device) - (offset - ptr[chosen])[scene]
        pick = lambda value: None if value is None else value[chosen]  # noqa: E731
        return self.replace(
            x=self.x[node], time=self.time[chosen], scene=scene, mask=self.mask[node], kind=self.kind[node],
            extra={k: v[node] for k, v in self.extra.items()}, static={k: v[node] for k, v in self.static.items()},
            context={k: v[chosen] for k, v in self.context.items()}, cell=pick(self.cell), pbc=pick(self.pbc),
        )

    def __repr__(self) -> str:
        has = ", ".join([*self.extra, *self.static, *self.context]) or "nothing else"
        return f"Trajectories({self.n_scenes} scenes, {self.n_nodes} nodes, {self.n_frames} frames, {self.dim}-d, units {self.units}, with {has})"


@dataclass(frozen=True, eq=False)
class Snapshots(Noun):
    """Populations that are not followed: cells at days 0, 3 and 7.

    Attributes:
        x: states, ``[cell dim]``.
        snapshot: which snapshot each cell belongs to, sorted, ``[cell]``.
        time: when each snapshot was taken, ``[snapshot]``, float64, strictly increasing, in ``units.time``.
        weight: weight of each cell within its snapshot, non-negative, ``[cell]``; all one by default.
        names: the name of each dimension.

    Raises:
        ValueError: shapes disagree, times do not increase, a snapshot is empty, a value is not finite or a weight is negative.
    """

    x: Float[Tensor, "cell dim"]
    snapshot: Int[Tensor, "cell"]
    time: Float[Tensor, "snapshot"]
    weight: Float[Tensor, "cell"] = None  # type: ignore[assignment]  # filled in: all one
    names: tuple[str, ...] = ()
    units: Units = field(default_factory=Units)
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.rank("Snapshots", x=(self.x, 2), snapshot=(self.snapshot, 1), time=(self.time, 1))
        weight = torch.ones(len(self.x), dtype=self.x.dtype, device=self.x.device) if self.weight is None else self.weight
        _freeze(self, weight=weight, names=tuple(self.names), time=self.time.double(), source=self.source)
        check.snapshots(self)

    @property
    def n_snapshots(self) -> int:
        return len(self.time)

    def at(self, index: int) -> Float[Tensor, "some dim"]:
        """The cells of one snapshot."""
        return self.x[self.snapshot == range(self.n_snapshots)[index]]

    def __repr__(self) -> str:
        return f"Snapshots({len(self.x)} cells in {self.n_snapshots} snapshots, {self.x.shape[1]}-d)"


@dataclass(frozen=True, eq=False)
class JumpPaths(Noun):
    """Discrete states at irregular times, ragged: the observations of all paths one after another.

    Attributes:
        label: state seen, ``0 .. n_states-1``, or -1 where the observation names no state (censored, missing, signal), ``[obs]``.
        time: when, ``[obs]``, float64, never decreasing within a path, in ``units.time``. Clocks of paths are independent of each other.
        path: which path, sorted, ``[obs]``.
        n_states: number of states.
        observed: how to read an observation, ``[obs]``, one of

            - `PANEL`: a look at the state, nothing is known of the time since the last look;
            - `EXACT`: a jump into ``label`` happened just then, and none since the last observation (or, where ``label`` is the last state seen,
              none happened at all);
            - `CENSORED`: a look that tells no more than that the state is in ``allowed`` (without it: any state);
            - `MISSING`: a look that gave nothing, or the end of following;
            - `ENTRY`: a jump into ``label`` happened just then, and nothing is known of what was before it (a death of known date);
            - `SIGNAL`: a value of ``signal`` was seen, from which the state has to be guessed.

            All panel where it is left out.
        allowed: states that a censored observation may be in, ``[obs state]``; read at `CENSORED` alone.
        signal: continuous values, ``[obs dim]``, read at `SIGNAL` alone.
        covariates: numbers that rates may depend on, each ``[obs]``; a value holds from its observation to the next.
        names: of the states.

    Raises:
        ValueError: shapes disagree, a label is outside the states, a clock runs backwards within a path, an observation lacks what its kind needs.
    """

    label: Int[Tensor, "obs"]
    time: Float[Tensor, "obs"]
    path: Int[Tensor, "obs"]
    n_states: int
    observed: Int[Tensor, "obs"] = None  # type: ignore[assignment]  # filled in: all panel
    units: Units = field(default_factory=Units)
    source: Mapping[str, Any] = field(default_factory=dict)
    allowed: Bool[Tensor, "obs state"] | None = None
    signal: Float[Tensor, "obs dim"] | None = None
    covariates: Mapping[str, Tensor] = field(default_factory=dict)
    names: Sequence[str] = ()

    PANEL, EXACT, CENSORED, MISSING, ENTRY, SIGNAL = 0, 1, 2, 3, 4, 5

    def __post_init__(self) -> None:
        check.rank("JumpPaths", label=(self.label, 1), time=(self.time, 1), path=(self.path, 1))
        observed = torch.zeros_like(self.label) if self.observed is None else self.observed
        _freeze(self, observed=observed, time=self.time.double(), source=self.source, covariates=self.covariates, names=tuple(self.names))
        check.jump_paths(self)

    @property
    def n_paths(self) -> int:
        return int(self.path[-1]) + 1 if len(self.path) else 0

    def __repr__(self) -> str:
        return f"JumpPaths({self.n_paths} paths, {len(self.label)} observations, {self.n_states} states)"


@dataclass(frozen=True, eq=False)
class Graph(Noun):
    """Who talks to whom.

    Attributes:
        edges: ``edges[0]`` sends and ``edges[1]`` receives, as in PyTorch Geometric; sorted by receiver, ``[2 edge]``.
        n_nodes: number of nodes.
        shift: what is added to ``x[sender] - x[receiver]`` to reach the sender's periodic image, ``[edge dim]``, in units of length.
        weight: ``[edge]``.

    Raises:
        ValueError: an edge names a node that is not there, the receivers are not sorted, or lengths disagree.
    """

    edges: Int[Tensor, "2 edge"]
    n_nodes: int
    shift: Float[Tensor, "edge dim"] | None = None
    weight: Float[Tensor, "edge"] | None = None

    def __post_init__(self) -> None:
        check.graph(self)

    @property
    def sender(self) -> Int[Tensor, "edge"]:
        return self.edges[0]

    @property
    def receiver(self) -> Int[Tensor, "edge"]:
        return self.edges[1]

    @property
    def n_edges(self) -> int:
        return self.edges.shape[1]

    def __repr__(self) -> str:
        return f"Graph({self.n_nodes} nodes, {self.n_edges} edges)"


@dataclass(frozen=True, eq=False)
class Forecast(Noun):
    """An answer: what a method says comes after `past`.

    Attributes:
        draws: ``[draw node time dim]``; a deterministic method has one draw.
        past: the trajectories it continues (at least one frame), with the same nodes.
        time: the clock of the answer, ``[scene time]``, later than the past.
        mask: False from where a scene was stopped, ``[draw node time]``.
        extra: further drawn values, ``[draw node time ...]``: ``velocity``, ...
        log_weight: log-weight of each draw and scene, ``[draw scene]``, where the method has one.
        mixture: parameters of a predictive mixture, where the method has one.
        stopped: for each scene why it ended early, or ``""``.
        provenance: method, configuration, seed, version, checksum of the data.

    Raises:
        ValueError: shapes disagree with the past, the clock does not follow it, or a value is not finite where ``mask`` is True.
    """

    draws: Float[Tensor, "draw node time dim"]
    past: Trajectories
    time: Float[Tensor, "scene time"]
    mask: Bool[Tensor, "draw node time"] = None  # type: ignore[assignment]  # filled in: all there
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    log_weight: Float[Tensor, "draw scene"] | None = None
    mixture: Mapping[str, Tensor] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.is_a("Forecast.past", self.past, Trajectories, "a forecast continues things that are followed")
        check.rank("Forecast", draws=(self.draws, 4), time=(self.time, 2))
        mask = torch.ones(self.draws.shape[:3], dtype=torch.bool, device=self.draws.device) if self.mask is None else self.mask
        stopped = tuple(self.stopped) or ("",) * self.past.n_scenes
        _freeze(self, mask=mask, stopped=stopped, time=self.time.double(), extra=self.extra, mixture=self.mixture, provenance=self.provenance)
        check.forecast(self)

    @property
    def n_draws(self) -> int:
        return self.draws.shape[0]

    def trajectories(self, draw: int = 0) -> Trajectories:
        """One draw as trajectories, without the past."""
        extra = {k: v[draw] for k, v in self.extra.items()}
        return self.past.replace(x=self.draws[draw], time=self.time, mask=self.mask[draw], extra=extra, source=self.provenance)

    def __repr__(self) -> str:
        ended = sum(bool(reason) for reason in self.stopped)
        return f"Forecast({self.n_draws} draws, {self.past.n_scenes} scenes, {self.draws.shape[2]} frames, {ended} stopped early)"


@runtime_checkable
class Forecaster(Protocol):
    """A method that is fitted on trajectories and continues them."""

    def fit(self, trajectories: Trajectories) -> Self: ...

    def forecast(self, past: Trajectories, steps: int) -> Forecast: ...
