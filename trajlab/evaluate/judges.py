"""Small nets that judge generated trajectories: one tells them from real ones, one learns to continue them; data and training of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.data.dense import Dense, dense
from trajlab.nets.frame_channels import FrameChannels
from trajlab.train.config import TrainConfig
from trajlab.train.loop import train
from trajlab.types import Trajectories

__all__ = ["Block", "Continuer", "Judge", "JudgeConfig", "block_of", "built", "cross_entropy", "length_scale", "square_error", "trained"]

Features = Callable[[Dense], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class JudgeConfig:
    """The small net and its training.

    Attributes:
        steps: optimiser steps of each training.
        batch: scenes a step.
        lr: learning rate at the start of a cosine.
        channels, width, layers: sizes of the net.
        seeds: repeats, each with its own parts, weights and batches.
        seed: the first of them.
        features: ``features(block)`` gives node features ``[scene node a]`` and pair features ``[scene node node b]`` of padded scenes, such
            as charges; by default a one-hot of the kind, and none.

    Raises:
        ValueError: a number is below 1 (seed: below 0).
    """

    steps: int = 200
    batch: int = 128
    lr: float = 5e-3
    channels: int = 8
    width: int = 16
    layers: int = 1
    seeds: int = 5
    seed: int = 0
    features: Features | None = None

    def __post_init__(self) -> None:
        sizes = {k: getattr(self, k) for k in ("steps", "batch", "channels", "width", "layers", "seeds")}
        if min(sizes.values()) < 1 or self.seed < 0 or not self.lr > 0:
            raise ValueError(f"JudgeConfig: {sizes}, seed={self.seed}, lr={self.lr}: at least 1 of each, a seed of at least 0 and lr > 0 were wanted")


@dataclass(frozen=True, eq=False)
class Block:
    """Scenes ready for a net: standardised about their mean seen position, with features and targets."""

    x: Tensor
    mask: Tensor
    node: Tensor
    pair: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {k: v[indices] for k, v in vars(self).items()}


def block_of(trajectories: Trajectories, label: Tensor, scale: float, kinds: Tensor, config: JudgeConfig) -> Block:
    """Scenes about their mean, in units of ``scale``. A net that reads some frames only must be blind to shifts, as the mean holds all of them."""
    block = dense(trajectories)
    seen = block.mask[..., None].float()
    x = block.x - (block.x * seen).sum((1, 2), keepdim=True) / seen.sum((1, 2), keepdim=True).clamp(min=1)
    if config.features is None:
        node = (block.kind[..., None] == kinds).float() * block.there[..., None]
        pair = node.new_zeros(len(x), x.shape[1], x.shape[1], 0)
    else:
        node, pair = (value.float() for value in config.features(block))
    return Block((x / scale).float() * seen, block.mask, node, pair, label)


def length_scale(trajectories: Trajectories) -> float:
    """Root mean square of coordinates about the mean of their scene."""
    block = dense(trajectories)
    seen = block.mask[..., None].double()
    x = block.x.double() * seen
    x = (x - x.sum((1, 2), keepdim=True) / seen.sum((1, 2), keepdim=True).clamp(min=1)) * seen
    scale = float((x.square().sum() / (seen.sum() * x.shape[-1])).sqrt())
    if not scale > 0:
        raise ValueError("nothing moves or stands apart in these scenes, so there is no length to measure in")
    return scale


class Judge(nn.Module):
    """One logit of a window: frames through the equivariant net, then invariants of what it says of each node."""

    def __init__(self, frames: int, block: Block, config: JudgeConfig) -> None:
        super().__init__()
        self.net = FrameChannels(0, frames, block.node.shape[-1], block.pair.shape[-1], config.channels, config.width, config.layers)
        self.read = nn.Sequential(nn.Linear(2 * frames, config.width), nn.SiLU(), nn.Linear(config.width, config.width))
        self.answer = nn.Sequential(nn.SiLU(), nn.Linear(config.width, 1))

    def forward(self, batch: dict[str, Tensor]) -> Float[Tensor, "batch"]:
        x, mask = batch["x"], batch["mask"]
        out = self.net(x[:, :, :0], x, x.new_zeros(len(x)), batch["node"], batch["pair"], mask)
        lengths, along = out.square().sum(-1).add(1e-6).sqrt(), (out * x).sum(-1)
        there = mask.any(-1, keepdim=True).float()
        seen = self.read(torch.cat([lengths, along], -1)) * there
        return self.answer(seen.sum(1) / there.sum(1).clamp(min=1))[:, 0]


class Continuer(nn.Module):
    """The future of a window from its given frames: the last given position plus what the equivariant net says."""

    def __init__(self, given: int, frames: int, block: Block, config: JudgeConfig) -> None:
        super().__init__()
        self.given = given
        self.net = FrameChannels(given, frames - given, block.node.shape[-1], block.pair.shape[-1], config.channels, config.width, config.layers)

    def forward(self, batch: dict[str, Tensor]) -> Float[Tensor, "batch node time dim"]:
        past, mask = batch["x"][:, :, : self.given], batch["mask"][:, :, : self.given]
        last = _last_seen(past, mask)
        ahead = mask.any(-1, keepdim=True).expand(-1, -1, batch["x"].shape[2] - self.given)
        blank = last.expand(-1, -1, ahead.shape[2], -1)
        hidden = torch.cat([mask, ahead], 2)
        return last + self.net(past, blank, past.new_zeros(len(past)), batch["node"], batch["pair"], hidden)


def _last_seen(past: Tensor, mask: Tensor) -> Float[Tensor, "batch node 1 dim"]:
    order = torch.arange(1, mask.shape[2] + 1, device=mask.device)
    last = (mask * order).amax(-1).sub(1).clamp(min=0)
    return past.gather(2, last[..., None, None].expand(-1, -1, 1, past.shape[-1]))


def cross_entropy(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """In nats; ln 2 for a net that knows nothing."""
    return nn.functional.binary_cross_entropy_with_logits(module(batch), batch["label"])


def square_error(module: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Summed over seen future coordinates of nodes that were seen in the past, and their number."""
    future, mask = batch["x"][:, :, module.given:], batch["mask"]  # type: ignore[index]  # of Continuer
    scored = (mask[:, :, module.given:] & mask[:, :, : module.given].any(-1, keepdim=True))[..., None]  # type: ignore[index]
    square = torch.where(scored, module(batch) - future, 0.0).square().sum()
    return square, (scored.sum() * future.shape[-1]).clamp(min=1)


def built(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A net whose weights are drawn from a seed; the global random numbers are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def trained(module: nn.Module, loss: Callable[..., object], blocks: list[Block], config: JudgeConfig, seed: int) -> float:
    """The loss on the last block after training on the first, with the weights of the step that is best on the second."""

    def of(block: Block) -> float:
        total, count = 0.0, 0.0
        with torch.no_grad():
            for rows in torch.arange(len(block)).split(1024):
                value = loss(module, block.batch(rows))
                value, weight = value if isinstance(value, tuple) else (value * len(rows), len(rows))  # type: ignore[operator]
                total, count = total + float(value), count + float(weight)
        return total / count

    plan = TrainConfig(steps=config.steps, batch=min(config.batch, len(blocks[0])), lr=config.lr, warmup=min(20, config.steps // 10), clip=1.0,
                       ema=0.95, seed=seed, keep="best", accelerator="cpu", validate_every=max(1, config.steps // 20), log_every=config.steps)
    train(module, loss, blocks[0], plan, validate=lambda _: {"loss": of(blocks[1])}, progress=False)
    return of(blocks[2])
