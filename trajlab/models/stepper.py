"""One stride of a batch of systems: thermostat, map, watchdogs, thermostat. The loop is somebody else's (`rollout`, `driver`)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trajlab.dynamics import kinetics
from trajlab.dynamics.geometry import moved
from trajlab.dynamics.particles import Particles, Propagator
from trajlab.dynamics.streams import Streams
from trajlab.dynamics.thermostats import Thermostat
from trajlab.models import restart
from trajlab.models.limits import Limits
from trajlab.models.watchdogs import Guard, Watch, select


@dataclass(frozen=True)
class Rules:
    """What a `Stepper` does beside the map. ``zero_every``: strides between two removals of P and L, 0 for none."""

    thermostat: Thermostat
    watch: Watch | None
    zero_every: int = 0


class Stepper:
    """Systems on their way.

    Attributes:
        p: the systems that still run.
        step: strides done.
        alive: which of the original systems they are, ``[scene]``.
        nodes: which of the original nodes they are, ``[node]``.
        stopped: for each original system why it stopped, or ``""``.
    """

    def __init__(self, propagator: Propagator, p: Particles, rules: Rules, streams: Streams) -> None:
        self.propagator, self.rules, self.streams = propagator, rules, streams
        self.stride = float(propagator.stride)
        self.thermostat = rules.thermostat
        self.p, self.start_x = p, p.x
        self.step = 0
        self.alive = torch.arange(p.n_scenes, device=p.x.device)
        self.nodes = torch.arange(len(p.x), device=p.x.device)
        self.stopped = [""] * p.n_scenes
        self.cache: dict[str, Any] = {}
        self.guard = self._guard()

    @property
    def time(self) -> float:
        """Femtoseconds since the start."""
        return self.step * self.stride

    def _guard(self) -> Guard | None:
        if self.rules.watch is None:
            return None
        limits = getattr(self.propagator, "limits", None)
        if isinstance(limits, Mapping):
            limits = Limits.from_dict(limits)
        return Guard(self.p.replace(x=self.start_x), self.stride, limits, self.rules.watch)

    @torch.no_grad()
    def advance(self) -> bool:
        """One stride; False when no system is left.

        Raises:
            ValueError, RuntimeError: the propagator refused all systems at the first step, or the batch but none of them alone.
        """
        before = self.thermostat.before(self.p, self.stride, self.streams, self.step)
        self.p = before
        answer = self._moves()
        if answer is None:
            return False
        p = moved(self.p, self.p.x + answer[0], answer[1])
        p = self.thermostat.after(p, self.stride, self.streams, self.step)
        self.step += 1
        if self.rules.zero_every and self.step % self.rules.zero_every == 0:
            p = kinetics.remove_momentum(p)
        self.p = p
        if self.guard is not None and self.step % self.rules.watch.every == 0:
            self.stop(self.guard.check_state(p))
        return self.p.n_scenes > 0

    def stop(self, reasons: Mapping[int, str]) -> None:
        """End some of the systems (numbered among those that run) with a reason; the others go on."""
        if not reasons:
            return
        for scene, reason in reasons.items():
            self.stopped[int(self.alive[scene])] = f"{reason} after {self.time / 1000:.4g} ps"
        stays = torch.ones(self.p.n_scenes, dtype=torch.bool, device=self.p.x.device)
        stays[list(reasons)] = False
        nodes = stays[self.p.scene]
        self.p = select(self.p, stays, nodes)
        self.alive, self.nodes, self.start_x = self.alive[stays], self.nodes[nodes], self.start_x[nodes]
        self.thermostat = self.thermostat.scenes(stays) if hasattr(self.thermostat, "scenes") else self.thermostat
        self.streams.keep(stays, nodes)
        self.cache = {}  # what a propagator kept belongs to the old batch
        if self.guard is not None:
            self.guard.keep(nodes)

    def _moves(self) -> tuple[Tensor, Tensor] | None:
        """What the propagator says of the systems that pass the watchdogs; None when none is left."""
        while self.p.n_scenes:
            try:
                d, v = self.propagator.propagate(self.p, self.cache)
            except (ValueError, RuntimeError) as error:  # torch's LinAlgError is a RuntimeError
                self._stop_culprits(error)
                continue
            reasons = self._suspects(d, v)
            if not reasons:
                return d, v
            stays = torch.ones(self.p.n_scenes, dtype=torch.bool, device=d.device)
            stays[list(reasons)] = False
            nodes = stays[self.p.scene]
            self.stop(reasons)
            if self.p.n_scenes:
                return d[nodes], v[nodes]
        return None

    def _suspects(self, d: Tensor, v: Tensor) -> dict[int, str]:
        if self.guard is not None:
            return self.guard.check_move(self.p, d, v)
        bad = ~torch.isfinite(d + v).all(1)
        return dict.fromkeys(self.p.scene[bad].unique().tolist(), "not finite: a displacement or velocity")

    def _stop_culprits(self, error: Exception) -> None:
        """Find the systems that the propagator refuses by trying each alone; stop them."""
        reasons: dict[int, str] = {}
        for scene in range(self.p.n_scenes):
            only = torch.arange(self.p.n_scenes, device=self.p.x.device) == scene
            try:
                self.propagator.propagate(select(self.p, only, only[self.p.scene]), {})
            except (ValueError, RuntimeError) as own:
                reasons[scene] = f"propagator: {own}"
        if not reasons or (self.step == 0 and len(reasons) == self.p.n_scenes):
            raise error
        self.stop(reasons)

    # ---- restart

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that decides how it goes on, as tensors and plain values."""
        p, streams = self.p, self.streams.state()
        kept, plain = restart.flatten(self.cache, "cache/")
        tensors = {"x": p.x, "v": p.v, "mass": p.mass, "kind": p.kind, "scene": p.scene, "start_x": self.start_x, "alive": self.alive,
                   "nodes": self.nodes, "generators": streams["generators"], **kept}
        if p.cell is not None and p.pbc is not None:
            tensors |= {"cell": p.cell, "pbc": p.pbc, "x_wrapped": wrapped(p)}
        about = {"step": self.step, "n_scenes": p.n_scenes, "row": streams["row"], "stopped": self.stopped, "cache": plain,
                 "stride": self.stride, "model": restart.fingerprint(self.propagator), "method": type(self.propagator).__name__}
        return tensors, about

    @classmethod
    def resumed(cls, propagator: Propagator, rules: Rules, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Stepper:
        """Go on from a `state`. ``rules.thermostat`` is that of the systems that still ran.

        Raises:
            ValueError: the stride of the model is another.
        """
        if abs(propagator.stride - about["stride"]) > 1e-9 * about["stride"]:
            raise ValueError(f"the restart file was written with a stride of {about['stride']:g} fs, but this model has {propagator.stride:g} fs")
        mine = f"{restart.fingerprint(propagator)} ({type(propagator).__name__})"
        if mine != f"{about['model']} ({about['method']})":
            warnings.warn(f"the restart file was written with model {about['model']} ({about['method']}), this is {mine}: "
                          "the run will not be the one that was interrupted", stacklevel=3)
        p = Particles(tensors["x"], tensors["v"], tensors["mass"], tensors["kind"], tensors["scene"], about["n_scenes"],
                      tensors.get("cell"), tensors.get("pbc"))
        streams = Streams([torch.Generator() for _ in range(p.n_scenes)])
        streams.restore({"generators": tensors["generators"], "row": about["row"]}, p)
        made = cls(propagator, p, rules, streams)
        made.start_x, made.alive, made.nodes = tensors["start_x"], tensors["alive"], tensors["nodes"]
        made.step, made.stopped = about["step"], list(about["stopped"])
        cached = {name: value for name, value in tensors.items() if name.startswith("cache/")}
        made.cache = restart.nest({**cached, **about["cache"]}).get("cache", {})
        made.guard = made._guard()
        return made


def wrapped(p: Particles) -> Tensor:
    """Positions in the cell, along periodic directions only."""
    if p.cell is None or p.pbc is None:
        return p.x
    open_space = torch.eye(3, dtype=p.x.dtype, device=p.x.device)
    cell = torch.where(p.pbc[..., None], p.cell, open_space)  # rows of open directions may be zero
    fraction = torch.linalg.solve(cell.mT[p.scene], p.x[..., None])[..., 0]
    return p.x - ((fraction.floor() * p.pbc[p.scene])[:, None, :] @ cell[p.scene])[:, 0]
