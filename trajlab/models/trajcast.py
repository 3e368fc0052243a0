"""TrajCast: molecular dynamics without forces, one equivariant net call a stride.

Source: F. L. Thiemann et al., "Force-Free Molecular Dynamics Through Autoregressive Equivariant Networks", arXiv:2503.23794. Written
from the equations. ``TrajCastConfig.small()`` and ``.paper()`` are the published architecture; the default differs as
docs/methods/trajcast.md says.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from trajlab.data.graphs import VerletList
from trajlab.dynamics.particles import Particles
from trajlab.models.pairs import SKIN, PairBatch, Pairs
from trajlab.models.trajcast_config import TrajCastConfig
from trajlab.models.trajcast_step import TrajCastStep
from trajlab.nets.neighbourhood import Slots
from trajlab.types import Forecast, Trajectories

if TYPE_CHECKING:
    from trajlab.train.config import TrainConfig


class TrajCast:
    """Config in, `fit`, and one verb out: `forecast`.

    A fitted model is a `trajlab.dynamics.particles.Propagator`: ``stride`` in fs and ``propagate``.
    """

    def __init__(self, config: TrajCastConfig | None = None) -> None:
        self.config = config or TrajCastConfig()
        self.step: TrajCastStep | None = None
        self.stride = float("nan")
        self.limits: Any = None
        self.about: dict[str, Any] = {}

    # ---- fitting

    def fit(
        self, trajectories: Trajectories, validation: Trajectories | None = None, *, minutes: float | None = None, train: TrainConfig | None = None,
        folder: str | Path | None = None, progress: bool = True, seed: int = 0,
    ) -> Self:
        """Fit on pairs: scenes of two frames, or longer scenes, of which each frame and the next make a pair.

        Args:
            trajectories: in MD units, with velocities and masses.
            validation: other runs; without it every tenth run is set aside.
            minutes: training budget; ``train`` says everything else.
            folder: where checkpoints and metrics go; a fit that was killed goes on from there.

        Raises:
            ValueError: velocities are missing or disagree with the displacements, or the frames are unevenly spaced.
        """
        from trajlab.models.trajcast_fit import fit

        return fit(self, trajectories, validation, minutes=minutes, train=train, folder=folder, progress=progress, seed=seed)

    @property
    def fitted(self) -> TrajCastStep:
        """The one-step map; a ValueError before `fit` or `load`."""
        if self.step is None:
            raise ValueError("this TrajCast has not been fitted; call fit(trajectories), or TrajCast.load(folder)")
        return self.step

    def at(self, stride: float) -> TrajCast:
        """The same model at another of the strides it was trained on.

        Raises:
            ValueError: it was not trained on that stride.
        """
        strides = self.fitted.strides
        if not any(abs(stride - s) < 1e-6 * s for s in strides):
            raise ValueError(f"this model was trained on strides of {', '.join(f'{s:g}' for s in strides)} fs; {stride:g} fs is not one of them")
        other = TrajCast(self.config)
        other.step, other.stride, other.limits, other.about = self.step, float(stride), self.limits, self.about
        return other

    # ---- prediction

    @torch.no_grad()
    def propagate(self, p: Particles, cache: MutableMapping[str, Any] | None = None) -> tuple[Tensor, Tensor]:
        """Displacements and new velocities one stride later, ``[node 3]`` each, float64.

        ``cache`` keeps the neighbour list until an atom has moved more than half its skin.
        """
        step = self.fitted
        cache = {} if cache is None else cache
        if "species" not in cache or len(cache["species"]) != len(p.kind) or not torch.equal(cache["kind"], p.kind):
            cache["species"], cache["kind"] = step.species(p.kind), p.kind
        stride = torch.full((p.n_scenes,), self.stride, dtype=p.x.dtype, device=p.x.device)
        which = torch.full((p.n_scenes,), self._which(), device=p.x.device)
        return step(p, self._slots(p, cache), stride, which, cache["species"])

    def _which(self) -> int:
        return min(range(len(self.fitted.strides)), key=lambda k: abs(self.fitted.strides[k] - self.stride))

    def _slots(self, p: Particles, cache: MutableMapping[str, Any]) -> Slots:
        """Neighbour slots by a Verlet list, whose state lives in the cache; the slots don't depend on when the list was built."""
        verlet = VerletList(self.config.cutoff, SKIN)
        if "list" in cache:
            verlet.load(cache["list"])
        graph = verlet.update(p.x, p.scene, p.n_scenes, p.cell, p.pbc)
        cache["list"] = verlet.state_dict()
        return Slots.of(graph)

    def forecast(self, past: Trajectories, steps: int, **options: Any) -> Forecast:
        """Continue from the last frame for ``steps`` strides; options are those of `trajlab.models.rollout.RolloutConfig`."""
        from trajlab.models.rollout import RolloutConfig, rollout

        return rollout(self, past, steps, RolloutConfig(**options))

    # ---- files

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``model.json`` into a folder, each by a temporary file and a rename."""
        from trajlab.models.trajcast_files import save

        return save(self, folder)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote. A version of trajlab other than the one that wrote it is told in a warning.

        Raises:
            ValueError: the folder holds no model, or one of another kind.
        """
        from trajlab.models.trajcast_files import load

        return load(cls, folder, device)

    def __repr__(self) -> str:
        state = "not fitted" if self.step is None else f"stride {self.stride:g} fs, elements {self.step.elements}"
        return f"TrajCast({self.config.net}, {state})"


__all__ = ["PairBatch", "Pairs", "TrajCast", "TrajCastConfig"]
