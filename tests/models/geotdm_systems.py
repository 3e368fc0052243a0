"""Small fitted GeoTDM models on springs, for tests: ragged scenes, two dimensions or three."""

from __future__ import annotations

import torch

from trajlab.models.geotdm import GeoTDM, GeoTDMConfig
from trajlab.train.config import TrainConfig
from trajlab.types import Trajectories

FRAMES = (4, 5)


def springs(scenes: int, seed: int, dim: int = 3, sizes: tuple[int, ...] = (3, 2, 4), frames: int = sum(FRAMES)) -> Trajectories:
    """Nodes that pull each other harmonically, charge by charge: exact dynamics by small steps, float64."""
    generator = torch.Generator().manual_seed(seed)
    count = [sizes[k % len(sizes)] for k in range(scenes)]
    scene = torch.arange(scenes).repeat_interleave(torch.tensor(count))
    x, v = (torch.randn(len(scene), dim, generator=generator, dtype=torch.float64) for _ in range(2))
    charge = 0.2 + 1.6 * torch.rand(len(scene), generator=generator, dtype=torch.float64)
    same = (scene[:, None] == scene) * charge[:, None] * charge
    record = []
    for step in range(frames * 10):
        if step % 10 == 0:
            record.append(x)
        v = v + 0.06 * (same @ x - same.sum(1, keepdim=True) * x)
        x = x + 0.02 * v
    clock = (0.2 * torch.arange(frames, dtype=torch.float64)).expand(scenes, -1)
    return Trajectories(x=torch.stack(record, 1), time=clock, scene=scene, kind=torch.zeros_like(scene) + 1, static={"charge": charge},
                        context={"run": torch.arange(scenes)})


def config(**changes) -> GeoTDMConfig:
    settings = {"given": FRAMES[0], "predicted": FRAMES[1], "channels": 8, "width": 16, "layers": 2, "node": ("charge",), "pair": ("product:charge",),
                "dtype": "float64"}
    return GeoTDMConfig(**{**settings, **changes})


def fitted(data: Trajectories, steps: int = 8, **changes) -> GeoTDM:
    return GeoTDM(config(**changes)).fit(data, train=TrainConfig(steps=steps, batch=16, lr=2e-3, precision="64-true"), progress=False)
