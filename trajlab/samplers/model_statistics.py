"""Empirical model statistics (Zheng et al. 2023, DPM-Solver-v3): what a net does on average along its own ODE, computed once a checkpoint.

With y = x/alpha, e the noise prediction and primes total derivatives in lam along the probability-flow ODE y' = -(sigma/alpha) e:

    l = E[diag(sigma de/dx)],    f = (sigma e - l x)/alpha = (1 - l) y - D,    s = E[f f']/E[f^2]

l takes the linear part out of the noise prediction, s the exponential growth out of what is left. Both are averaged over samples and over all axes of
an event, to one number a log-SNR; numbers of their own for each element would not turn or permute with the input.

The third statistic of the paper, b = E f' - s E f, is a constant added to every coordinate. Averaged over rotations and reflections it vanishes, and
for an exact denoiser E D = E x_dat at every level, so that b = (s l - l') E x_dat vanishes on centred data too, whatever its symmetry.
It is therefore left out, and s is fitted through the origin: centre the data.

y, lam, l, f and s do not depend on the path: statistics of a net hold on every path that its predictions are converted to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trajlab.paths.denoiser import Denoises
from trajlab.paths.gaussian import Level
from trajlab.paths.prediction import Prediction
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import Grid
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import shaped
from trajlab.samplers.tables import Run, execute


@dataclass(frozen=True, eq=False)
class ModelStatistics:
    """l and s on a rising grid of log-SNR, between whose entries they are linear.

    Attributes:
        lam: ``[level]``, float64.
        l, s: ``[level *kept]``, float64; ``kept`` has the axes of an event, of length 1 where the statistics are shared (usually everywhere).
        about: what they were computed from.

    Raises:
        ValueError: fewer than two levels, levels that do not rise, shapes that disagree, or entries that are not finite.
    """

    lam: Tensor
    l: Tensor  # noqa: E741 (the name in the paper)
    s: Tensor
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("lam", "l", "s"):
            object.__setattr__(self, name, getattr(self, name).detach().double().cpu())
        if self.lam.ndim != 1 or len(self.lam) < 2 or bool((self.lam.diff() <= 0).any()):
            raise ValueError(f"model statistics want at least two rising levels; lam of shape {tuple(self.lam.shape)} came")
        if self.l.shape != self.s.shape or len(self.l) != len(self.lam):
            raise ValueError(f"lam has {len(self.lam)} levels, l has shape {tuple(self.l.shape)} and s {tuple(self.s.shape)}; "
                             "the first axis of both must be the levels, and the rest the same")
        if not all(bool(torch.isfinite(w).all()) for w in (self.lam, self.l, self.s)):
            raise ValueError("model statistics are not finite; the net or the paths they came from were not")

    @classmethod
    def degenerate(cls) -> Self:
        """l = 1, s = 0 everywhere: f = -D, and DPM-Solver-v3 becomes exponential Adams-Bashforth on the clean prediction."""
        return cls(torch.tensor([-60.0, 60.0]), torch.ones(2), torch.zeros(2), {"degenerate": True})

    def save(self, folder: str | Path) -> Path:
        """Write ``statistics.safetensors`` and ``statistics.json`` into a folder; each is replaced as a whole."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"lam": self.lam, "l": self.l.contiguous(), "s": self.s.contiguous()}, str(folder / "statistics.safetensors.tmp"))
        (folder / "statistics.json.tmp").write_text(json.dumps({"format": 1, "about": self.about}, indent=1))
        for name in ("statistics.safetensors", "statistics.json"):
            os.replace(folder / f"{name}.tmp", folder / name)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ValueError: the folder holds no statistics, or a damaged file.
        """
        folder = Path(folder)
        try:
            tensors = load_file(str(folder / "statistics.safetensors"))
            about = json.loads((folder / "statistics.json").read_text())["about"]
            return cls(tensors["lam"], tensors["l"], tensors["s"], about)
        except (OSError, SafetensorError, json.JSONDecodeError, KeyError) as error:
            raise ValueError(f"{folder} holds no readable model statistics (statistics.safetensors and statistics.json): {error}") from error


def collect(
    denoiser: Denoises,
    grid: Grid,
    start: Float[Tensor, "batch *event"],
    generator: torch.Generator | RowNoise,
    keep: Sequence[int] = (),
    floor: float = 1e-4,
    mask: Bool[Tensor, "batch *part"] | None = None,
) -> ModelStatistics:
    """Statistics of a denoiser along ODE paths from ``start``: one call and one vector-Jacobian product a level.

    The paths are solved by third-order `DEIS` on the grid itself. diag(sigma de/dx) is estimated with one random sign vector (Hutchinson) a path, the
    same at all levels so that l is smooth. Because a sample of n elements gives n estimates, 64 to 256 paths are enough for shared statistics.

    Args:
        denoiser: under the condition and guidance that it will be sampled with (``Denoiser.given``).
        grid: fine, a few hundred steps, `uniform_lam`; it must cover the log-SNRs of the runs to come.
        start: states at its first node, ``path.prior`` noise.
        generator: of the sign vectors.
        keep: axes of an event (0 the first after the batch) along which statistics are not shared: frames, or channels that are scalars. To keep the
            axis of nodes, or of vector components, breaks permutation or rotation.
        floor: the share of E[D^2] below which f counts as small; s tends to 0 there instead of exploding.
        mask: as in `sample`; what is hidden does not count.

    Raises:
        ValueError: fewer than 8 steps, or an axis that the events do not have.
        TypeError: the grid is on another path.
    """
    if getattr(denoiser, "path", grid.path) != grid.path:
        raise TypeError(f"the denoiser is on {denoiser.path}, and the grid on {grid.path}; make the grid on denoiser.path")
    if grid.steps < 8:
        raise ValueError(f"derivatives along the ODE want a fine grid, and this one has {grid.steps} steps; use a few hundred")
    axes = start.ndim - 1
    if not all(-axes <= k < axes for k in keep):
        raise ValueError(f"keep={tuple(keep)} names an axis that events of shape {tuple(start.shape[1:])} do not have")
    hidden = None if mask is None else shaped(mask, start)
    noise = generator if isinstance(generator, RowNoise) else RowNoise(generator)
    signs = noise.normal(start).sign() * (1 if hidden is None else hidden)
    record = _Record(denoiser, signs, [0] + [k + 1 for k in range(axes) if k not in {j % axes for j in keep}])
    condition = {} if mask is None else {"mask": mask}
    execute(DEIS(3).plan(grid.ended("denoise")), Run(record, mask=hidden, condition=condition), start)  # type: ignore[arg-type]
    return record.statistics(floor, {"paths": len(start), "event": list(start.shape[1:]), "keep": list(keep), "path": repr(grid.path)})


class _Record:
    """A denoiser that notes the moments of three neighbouring levels as a run passes by."""

    def __init__(self, denoiser: Denoises, signs: Tensor, shared: list[int]) -> None:
        self.denoiser, self.path, self.signs, self.shared = denoiser, denoiser.path, signs, shared
        self.lam: list[float] = []
        self.l: list[Tensor] = []
        self.window: list[Tensor] = []
        self.moments: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, x: Tensor, level: Level, **condition: Any) -> Prediction:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            clean = self.denoiser(x, level, **condition).x0
            (slope,) = torch.autograd.grad((clean * self.signs).sum(), x)
        clean = clean.detach() * self.signs.abs()
        x = x.detach()
        # sigma de/dx = 1 - alpha dD/dx
        along = self._sum(self.signs * (self.signs - level.alpha * slope)) / self._sum(self.signs.square())
        self.lam.append(level.lam)
        self.l.append(along)
        self._slide(((1 - along) * (x / level.alpha).double() - clean.double()), clean)
        return Prediction(x, level, "x0", clean)

    def _slide(self, f: Tensor, clean: Tensor) -> None:
        self.window = [*self.window[-2:], f]
        if len(self.window) == 3:
            a, b, c = self.window
            before, after = self.lam[-2] - self.lam[-3], self.lam[-1] - self.lam[-2]
            rate = ((c - b) * (before / after) + (b - a) * (after / before)) / (before + after)
            self.moments.append((self._sum(b * rate), self._sum(b * b), self._sum(clean * clean)))

    def _sum(self, value: Tensor) -> Tensor:
        return value.double().sum(self.shared, keepdim=True)[0]

    def statistics(self, floor: float, about: dict[str, Any]) -> ModelStatistics:
        # A ridge: s is left alone where f is large against the floor, and goes to 0 where there is nothing to describe.
        s = [cross / (square + floor * clean + torch.finfo(torch.float64).tiny) for cross, square, clean in self.moments]
        return ModelStatistics(torch.tensor(self.lam, dtype=torch.float64), torch.stack(self.l), torch.stack([s[0], *s, s[-1]]), about)
