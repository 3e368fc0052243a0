"""Small windows for tests: bodies on springs, and turns, reflections and shifts."""

from __future__ import annotations

import torch

from trajlab.types import Trajectories


def springs(scenes: int, nodes: int = 5, frames: int = 12, seed: int = 0, dim: int = 3) -> Trajectories:
    """Unit masses, some of them joined by springs of constant 0.5; velocity Verlet, 50 steps of 0.01 between frames."""
    g = torch.Generator().manual_seed(seed)
    k = torch.randint(0, 2, (scenes, nodes, nodes), generator=g).double().triu(1)
    k = 0.5 * (k + k.mT)
    x = 0.5 * torch.randn(scenes, nodes, dim, generator=g, dtype=torch.float64)
    v = 0.5 * torch.randn(scenes, nodes, dim, generator=g, dtype=torch.float64)
    force = lambda x: k @ x - k.sum(-1, keepdim=True) * x  # noqa: E731
    out = []
    for _ in range(frames):
        out.append(x)
        for _ in range(50):
            v = v + 0.005 * force(x)
            x = x + 0.01 * v
            v = v + 0.005 * force(x)
    return packed(torch.stack(out, 2), spring=2 * k)


def packed(x: torch.Tensor, kind: torch.Tensor | None = None, mask: torch.Tensor | None = None, spacing: float = 0.5, **static) -> Trajectories:
    """Trajectories of ``x[scene node time dim]``."""
    scenes, nodes, frames, _ = x.shape
    kind = torch.zeros(scenes, nodes, dtype=torch.long) if kind is None else kind
    mask = torch.ones(scenes, nodes, frames, dtype=torch.bool) if mask is None else mask
    return Trajectories(
        x=x.flatten(0, 1), time=(spacing * torch.arange(frames).double()).expand(scenes, frames),
        scene=torch.arange(scenes).repeat_interleave(nodes), kind=kind.flatten(), mask=mask.flatten(0, 1),
        static={name: value.flatten(0, 1) for name, value in static.items()},
    )


def improper(dim: int, seed: int = 3) -> torch.Tensor:
    """A random orthogonal matrix of determinant -1."""
    q = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q
    return q if torch.det(q) < 0 else -q if dim % 2 else q @ torch.diag(torch.tensor([-1.0] + [1.0] * (dim - 1), dtype=torch.float64))


def moved(windows: Trajectories, turn: torch.Tensor, shift: float = 7.0) -> Trajectories:
    return windows.replace(x=windows.x @ turn.to(windows.x.dtype).T + shift)


def ragged(windows: Trajectories, seed: int = 1) -> Trajectories:
    """The same scenes with some of their nodes left out, and some frames hidden under wild values."""
    g = torch.Generator().manual_seed(seed)
    keep = torch.rand(windows.n_nodes, generator=g) < 0.8
    keep[windows.ptr[:-1]] = True
    mask = torch.rand(windows.mask.shape, generator=g) < 0.7
    mask[:, 1] = True
    x = torch.where(mask[..., None], windows.x, 1e3)
    static = {name: value[keep] for name, value in windows.static.items()}
    return windows.replace(x=x[keep], scene=windows.scene[keep], mask=mask[keep], kind=windows.kind[keep], static=static)
