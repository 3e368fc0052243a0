"""One global flow and score of a fitted Schrodinger bridge: simulation from any cell, velocity anywhere, and likelihood.

After convergence the process is Markov within intervals, with a drift that depends on the state and the time alone. Two nets learn it without
simulation (`trajlab.models.bridge_flow_rows`): the velocity v of the ODE with the process's marginals, and the score, q = D grad log p / 2:

    dX/dt = v(X, t),        dX = (v + q)(X, t) dt + D^1/2 dW.

For a Brownian reference this is score and flow matching (Tong et al. 2024, arXiv 2307.03672); here the reference is any. The nets are
fitted to means over pairs instead of single pairs (`trajlab.models.bridge_flow_exact`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

import trajlab
from trajlab.catalog import unknown
from trajlab.dynamics.references import Reference
from trajlab.models import bridge_flow_files as files
from trajlab.models.bridge_flow_config import BridgeFlowConfig, training
from trajlab.models.bridge_flow_density import KernelDensity
from trajlab.models.bridge_flow_exact import points_of
from trajlab.models.bridge_flow_net import FlowNets, flow_loss, flow_nets
from trajlab.models.bridge_flow_paths import Drifts, diffuse, flow_along, repeats, start_cells, states, within
from trajlab.models.bridge_flow_rows import rows_of, thread
from trajlab.types import Trajectories

__all__ = ["BridgeFlow", "BridgeFlowConfig"]

KINDS = ("sde", "ode")


class BridgeFlow:
    """Velocity and score nets of a fitted `SchrodingerBridge`; everything that goes in and comes out is in the coordinates of the snapshots.

    Within the snapshots' times the nets are smooth in time, and smooth out the kinks that a bridge has at its snapshots. After the last snapshot
    nothing but the reference is known: there the process is the reference itself, and the ODE and the likelihood are not defined.

    Args:
        config: see `BridgeFlowConfig`.
    """

    def __init__(self, config: BridgeFlowConfig | None = None) -> None:
        self.config = config or BridgeFlowConfig()
        self.nets: FlowNets | None = None
        self.reference: Reference | None = None
        self.about: dict[str, Any] = {}

    def fit(self, bridge: Any, minutes: float | None = None, *, train: Any = None, folder: str | Path | None = None, progress: bool = False,
            seed: int = 0) -> Self:
        """Fit.

        Args:
            bridge: a `SchrodingerBridge` that was fitted.
            minutes: of training; 3,000 steps (under ten seconds) where neither this nor ``train`` is given.
            train: a `TrainConfig`, for everything else.
            folder: for checkpoints.
            progress: show a progress bar.
            seed: of weights, pairs and noise; ``train`` has its own.

        Raises:
            TypeError: not a bridge.
            ValueError: a bridge that was not fitted, or ``minutes`` beside ``train``.
        """
        from trajlab.data.fields import checksum
        from trajlab.train.loop import train as run

        if not hasattr(bridge, "evidence"):
            raise TypeError(f"BridgeFlow.fit got a {type(bridge).__name__}; a SchrodingerBridge that was fitted was wanted")
        if bridge.evidence is None:
            raise ValueError("BridgeFlow.fit got a SchrodingerBridge that was not fitted; call its fit(snapshots) first")
        if minutes is not None and train is not None:
            raise ValueError("BridgeFlow.fit got minutes and train; one was wanted, such as train=TrainConfig(minutes=1)")
        self._take(bridge)
        chosen, pool = train or training(minutes, seed), self.config.pool
        rows = rows_of(bridge.evidence, self.time, pool if self.reference.linear is not None else 4 * pool, chosen.seed)
        points = points_of(bridge.evidence, rows, pool, chosen.seed)
        points = points.less(self.reference.drift(points.x) if self.config.residual else torch.zeros_like(points.x))
        data = replace(points, fingerprint=checksum(bridge.snapshots))
        result = run(flow_nets(points, self.config, self.time, chosen.seed), flow_loss, data, chosen, folder=folder, progress=progress)
        self.nets = result.module.double().eval().requires_grad_(False)
        self.about = {"method": "bridge_flow", "version": trajlab.__version__, "bridge": bridge.provenance(), "train": chosen.to_dict(),
                      "steps": result.step, "elapsed_s": result.elapsed, "stopped": result.stopped, "data": data.fingerprint}
        return self

    def _take(self, bridge: Any) -> None:
        """What is kept of a bridge."""
        evidence = bridge.evidence
        self.reference, self.D, self.scale, self.theta = evidence.reference, evidence.reference.D, bridge.scale, bridge.theta
        self.time, self.units = bridge.snapshots.time, bridge.snapshots.units
        self.first, self.weight = evidence.intervals[0].x, thread(evidence)[0].sum(1)
        self.law = {"family": bridge.config.family, "options": dict(bridge.config.options)}

    def fitted(self) -> FlowNets:
        """The nets.

        Raises:
            ValueError: no fit yet.
        """
        if self.nets is None:
            raise ValueError("this BridgeFlow was not fitted; call fit(bridge) first")
        return self.nets

    # ---- what it is for

    def simulate(self, cells: Any = None, times: Any = None, kind: str = "sde", n: int | None = None, seed: int = 0) -> Trajectories:
        """Paths from cells.

        Args:
            cells: states at ``times[0]``, ``[cell dim]``; None for cells of the first snapshot, from its time on.
            times: rising, from the first snapshot on; those of the snapshots by default. After the last one paths follow the reference.
            kind: ``sde``, by Euler and Maruyama's method with ``substeps`` steps in the shortest interval; or ``ode``, by Runge and Kutta's of order
                4, whose paths have the same distribution at each time, but are smooth: within the snapshots only.
            n: number of paths, which start at the cells in turn; one a cell by default.
            seed: of the noise.

        Returns:
            Each path a scene of one node.

        Raises:
            ValueError: an unknown kind; cells that are not finite (row and column are named) or of another dimension; times that do not rise, or
                lie outside; or paths that leave every bound.
        """
        drifts = self._drifts()
        if kind not in KINDS:
            raise ValueError(unknown("kind of simulation", kind, KINDS))
        asked = within(self.time if times is None else times, self.time, beyond=kind == "sde")
        generator = torch.Generator().manual_seed(seed)
        if cells is None:
            x, clock = start_cells(self.first, self.weight, n, generator), torch.cat([self.time[:1], asked])
        else:
            x = (states(cells, len(self.D), "cells") - self.scale.shift) / self.scale.divisor
            x, clock = x[repeats(len(x), n)], torch.cat([asked[:1], asked])
        h = float(self.time.diff().min()) / self.config.substeps
        path = diffuse(drifts, x, clock, h, generator) if kind == "sde" else flow_along(drifts, x, clock, h)
        return Trajectories(self.scale.back(path[:, 1:]), asked.expand(len(x), -1).clone(), torch.arange(len(x)), units=self.units,
                            source={**self.about, "kind": kind, "seed": seed})

    def velocity(self, x: Any, t: Any) -> Float[Tensor, "cell dim"]:
        """Drift of the process, v + q: the mean velocity with which cells leave x at time t; that of the reference after the last snapshot.

        Args:
            x: states, ``[cell dim]``; differentiable in them.
            t: one time, or one a cell.

        Raises:
            ValueError: states that are not finite or of another dimension, or times before the first snapshot.
        """
        return self._at(x, t, "drift", beyond=True) * self.scale.divisor

    def flow_velocity(self, x: Any, t: Any) -> Float[Tensor, "cell dim"]:
        """Velocity v of the ODE with the same marginals; see `velocity`. Times within the snapshots."""
        return self._at(x, t, "flow") * self.scale.divisor

    def score(self, x: Any, t: Any) -> Float[Tensor, "cell dim"]:
        """grad log p(x, t); see `velocity`. Times within the snapshots."""
        return self._at(x, t, "score") / self.scale.divisor

    def log_prob(self, x: Any, t: float) -> Float[Tensor, "cell"]:
        """log p(x, t) of the flow, by the instantaneous change of variables (Chen et al. 2018) back to the first snapshot, with exact divergence:

            log p(x, t) = log p_0(z_0) - integral of div v along the path from z_0 to x.

        p_0 is a Gaussian kernel density of the first snapshot's cells, with the shape of their covariance and Scott's width, n^(-1/(dim + 4)): it is
        too wide for populations with several separate parts.

        Raises:
            ValueError: as `flow_velocity`; or several times.
        """
        from trajlab.samplers.likelihood import flow_log_density

        drifts, first, x = self._drifts(), KernelDensity.of(self.first, self.weight), states(x, len(self.D), "x")
        inside, stop = (x - self.scale.shift) / self.scale.divisor, float(within([t], self.time)[0])
        start, unit = float(self.time[0]), self.scale.divisor.log().sum()
        if stop == start:
            return first.log_density(inside) - unit
        return flow_log_density(drifts.flow, inside, start, stop, lambda z, _: first.log_density(z)).log_density - unit

    def _drifts(self) -> Drifts:
        return Drifts(self.fitted(), self.reference, self.D, float(self.time[-1]), self.config.residual)

    def _at(self, x: Any, t: Any, what: str, beyond: bool = False) -> Float[Tensor, "cell dim"]:
        drifts, x = self._drifts(), states(x, len(self.D), "x")
        t = within(t, self.time, beyond, rising=False)
        if len(t) not in (1, len(x)):
            raise ValueError(f"{len(t)} times for {len(x)} states; one time, or one a state, was wanted")
        return getattr(drifts, what)((x - self.scale.shift) / self.scale.divisor, t.expand(len(x)))

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``model.json``.

        Raises:
            ValueError: no fit yet, or a velocity that contains the drift of a reference which is neither linear nor of a named parametric family.
        """
        return files.save(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """A saved flow; the numbers it gives are the same to the bit.

        Raises:
            ValueError: there is none in the folder.
        """
        return files.load(cls(), folder)
