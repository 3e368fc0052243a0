"""Deterministic linear forecasts of windows: baselines of every table, and priors whose residual is left to a learned model.

All turn, reflect and shift with their input, and use given frames only. Hidden given frames are filled in first
(`trajlab.models.given_frames.filled`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.data.dense import Dense, dense
from trajlab.models.given_frames import filled, scene_mean, seen_nodes
from trajlab.models.window_forecaster import WindowForecaster, continued
from trajlab.types import Trajectories

__all__ = ["ConstantVelocity", "EquivariantRidge", "LastPosition", "ParticleRidge", "held_out"]

PENALTIES = tuple(10.0**k for k in range(-14, 3))
CHUNK = 4_000_000  #: numbers of features held at a time
Normal = tuple[Tensor, Tensor, Tensor]  #: Gram matrix of the features, their products with the targets, squares of the targets


class LastPosition(WindowForecaster):
    """Everything stays where it was last seen: x(t) = x(0)."""

    name = "last-position"
    horizon_free = True

    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        self._check(block)
        last = filled(block, self.given)[:, :, -1:]
        return last.expand(-1, -1, self.steps(steps), -1).clone()


class ConstantVelocity(WindowForecaster):
    """Everything goes on as between its last two given frames: x(t) = x(0) + t (x(0) - x(-D)) / D, in physical time."""

    name = "constant-velocity"
    horizon_free = True

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:  # noqa: ARG002
        if self.given < 2:
            raise ValueError("ConstantVelocity takes the velocity from the last two given frames; give at least 2, or use LastPosition")

    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        self._check(block)
        steps = self.steps(steps)
        time, past = block.time, filled(block, self.given)
        there = time.shape[1] >= self.given + steps
        future = time[:, self.given : self.given + steps] if there else continued(time[:, : self.given], steps, self.spacing)
        now, before = time[:, self.given - 1, None], time[:, self.given - 2, None]
        ratio = ((future - now) / (now - before)).to(past.dtype)
        return past[:, :, -1:] + ratio[:, None, :, None] * (past[:, :, -1:] - past[:, :, -2:-1])


def held_out(windows: Trajectories, share: float = 0.1) -> Bool[Tensor, "scene"]:
    """The scenes of the last tenth of the runs (of the scenes, where there are no runs); at least one, and not all."""
    run = windows.context.get("run")
    run = torch.arange(windows.n_scenes, device=windows.x.device) if run is None else run
    names = run.unique()
    if len(names) < 2:
        return torch.zeros(windows.n_scenes, dtype=torch.bool, device=windows.x.device)
    return torch.isin(run, names[-max(1, round(share * len(names))) :])


class _Ridge(WindowForecaster):
    """Ridge regression of displacements from the last given frame on invariantly weighted vectors, shared by axes.

    Each penalty is relative to the mean square of its feature. It is chosen by the squared error on the validation windows, or on a held-out
    tenth of the runs, after which all windows are fitted. All sums are float64. After `fit`, ``penalty`` is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.penalty, self.weight = float("nan"), torch.zeros(0, 0, dtype=torch.float64)

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:
        block = dense(windows)
        if validation is None:
            out = held_out(windows)
            fit, judge = self._normal(block.scenes(~out)), self._normal(block.scenes(out))
            whole: Normal = tuple(a + b for a, b in zip(fit, judge, strict=True))  # type: ignore[assignment]
        else:
            fit = whole = self._normal(block)
            judge = self._normal(dense(validation))
        if not float(whole[0].diagonal().sum()) > 0:
            raise ValueError(f"{type(self).__name__} found nothing to fit on: it wants nodes that move and are observed throughout their window")
        usable = float(fit[0].diagonal().sum()) > 0 and float(judge[0].diagonal().sum()) > 0
        self.penalty = _chosen(fit, judge) if usable else 1e-6
        self.weight = _solved(whole, self.penalty)

    def _normal(self, block: Dense) -> Normal:
        """Sums over rows of features times features and times targets."""
        total: Normal | None = None
        rows_a_scene = self._size(block)
        for scenes in torch.arange(len(block), device=block.x.device).split(max(1, CHUNK // max(rows_a_scene, 1))):
            a, y = self._rows(block.scenes(scenes))
            part = (a.T @ a, a.T @ y, (y * y).sum())
            total = part if total is None else tuple(p + q for p, q in zip(total, part, strict=True))  # type: ignore[assignment]
        if total is None:
            a, y = self._rows(block)
            total = (a.T @ a, a.T @ y, (y * y).sum())
        return total

    def _size(self, block: Dense) -> int:
        """Numbers of features a scene."""
        return block.x.shape[1] * block.x.shape[3] * 2 * self.given

    def _rows(self, block: Dense) -> tuple[Float[Tensor, "row feature"], Float[Tensor, "row target"]]:
        """Features and targets of what is observed throughout."""
        raise NotImplementedError

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "penalty": self.penalty}

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "weight": self.weight, "penalty": torch.tensor(self.penalty, dtype=torch.float64)}

    def _load(self, state: Mapping[str, Tensor]) -> None:
        super()._load(state)
        self.weight, self.penalty = state["weight"].double(), float(state["penalty"])


def _paths(normal: Normal) -> Iterator[tuple[float, Tensor]]:
    """Weights at every penalty, from one eigendecomposition of the scaled Gram matrix."""
    gram, cross, _ = normal
    scale = gram.diagonal().sqrt().clamp(min=1e-300)
    scale = torch.where(gram.diagonal() > 0, scale, 1.0)
    value, vector = torch.linalg.eigh(gram / scale[:, None] / scale)
    turned = vector.T @ (cross / scale[:, None])
    for penalty in PENALTIES:
        yield penalty, vector @ (turned / (value.clamp(min=0) + penalty)[:, None]) / scale[:, None]


def _chosen(fit: Normal, judge: Normal) -> float:
    gram, cross, _ = judge
    return min(_paths(fit), key=lambda pair: float((pair[1] * (gram @ pair[1] - 2 * cross)).sum()))[0]


def _solved(normal: Normal, penalty: float) -> Tensor:
    return dict(_paths(normal))[penalty] if penalty in PENALTIES else dict(_paths(normal))[min(PENALTIES, key=lambda p: abs(p - penalty))]


class ParticleRidge(_Ridge):
    """Each node from its own given frames and the mean of its scene, by one linear map for all nodes and axes.

    x_i(t) = x_i(0) + sum_s W_st (x_i(s) - x_i(0)) + sum_s V_st (c(s) - x_i(0)), with c the mean over the nodes seen in the given frames.
    The weights are fitted on nodes that are observed throughout their window.
    """

    name = "particle-ridge"

    def _features(self, block: Dense) -> tuple[Float[Tensor, "scene node feature dim"], Float[Tensor, "scene node 1 dim"]]:
        past = filled(block, self.given).double()
        last = past[:, :, -1:]
        centre = scene_mean(past, seen_nodes(block, self.given))
        return torch.cat([past[:, :, :-1] - last, centre - last], 2), last

    def _rows(self, block: Dense) -> tuple[Tensor, Tensor]:
        features, last = self._features(block)
        whole = block.mask.all(2) & block.there
        target = block.x[:, :, self.given :].double() - last
        return tuple(value.transpose(2, 3)[whole].flatten(0, 1) for value in (features, target))  # type: ignore[return-value]

    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        self._check(block)
        steps = self.steps(steps)
        features, last = self._features(block)
        weight = self.weight[:, :steps].to(features.device)
        out = last + torch.einsum("snfd,ft->sntd", features, weight)
        return (out * block.there[..., None, None]).to(block.x.dtype)


class EquivariantRidge(_Ridge):
    """All nodes from all nodes, for scenes that hold the same nodes in the same order (a molecule): one linear map, shared by axes.

    x_i(t) - x_i(0) is a linear function of all x_j(s) - x_j(0) and of all x_j(0) - c, with c the mean of the x_j(0). Fitted on the scenes
    that are observed throughout.

    Raises:
        ValueError: scenes of other nodes than those of the fit.
    """

    name = "equivariant-ridge"

    def __init__(self) -> None:
        super().__init__()
        self.kind = torch.zeros(0, dtype=torch.long)

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:
        self.kind = windows.kind[: int(windows.sizes[0])].cpu()
        self._same(dense(windows))
        super()._fit(windows, validation)

    def _same(self, block: Dense) -> None:
        n = len(self.kind)
        same = block.there.shape[1] >= n and bool(block.there[:, :n].all()) and not bool(block.there[:, n:].any())
        if not same or bool((block.kind[:, :n] != self.kind.to(block.kind.device)).any()):
            raise ValueError(f"EquivariantRidge knows nodes by their place: every scene must hold the same {n} nodes (kinds {self.kind.tolist()}) in "
                             "the same order, and these do not. Use ParticleRidge for scenes of different nodes")

    def _size(self, block: Dense) -> int:
        return block.x.shape[3] * len(self.kind) * (2 * self.given + self.ahead)

    def _features(self, block: Dense) -> tuple[Float[Tensor, "scene dim feature"], Float[Tensor, "scene node 1 dim"]]:
        past = filled(block, self.given)[:, : len(self.kind)].double()
        last = past[:, :, -1:]
        features = torch.cat([past[:, :, :-1] - last, last - last.mean(1, keepdim=True)], 2)
        return features.permute(0, 3, 1, 2).flatten(2), last

    def _rows(self, block: Dense) -> tuple[Tensor, Tensor]:
        self._same(block)
        features, last = self._features(block)
        whole = block.mask[:, : len(self.kind)].flatten(1).all(1)
        target = (block.x[:, : len(self.kind), self.given :].double() - last).permute(0, 3, 1, 2).flatten(2)
        return features[whole].flatten(0, 1), target[whole].flatten(0, 1)

    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        self._check(block)
        self._same(block)
        steps, nodes = self.steps(steps), len(self.kind)
        features, last = self._features(block)
        moved = (features @ self.weight.to(features.device)).unflatten(2, (nodes, self.ahead)).permute(0, 2, 3, 1)[:, :, :steps]
        out = block.x.new_zeros(len(block), block.x.shape[1], steps, block.x.shape[3])
        out[:, :nodes] = (last + moved).to(out.dtype)
        return out

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "kind": self.kind}

    def _load(self, state: Mapping[str, Tensor]) -> None:
        super()._load(state)
        self.kind = state["kind"].long()
