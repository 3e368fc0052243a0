"""Devices and processes, by Lightning Fabric.

With one device the loop runs in the calling process. With more, ``strategy`` says how the other processes come to be:

``ddp_fork``
    The calling process forks. Nothing is pickled and no ``if __name__ == "__main__"`` is needed, so it works from scripts, notebooks,
    the command line and tests. Each process computes with one thread, because OpenMP's threads do not survive a fork: on the CPU, ask
    for as many devices as there are cores. It cannot be used after CUDA was initialised.
``ddp_spawn``
    Fresh processes import everything anew (some seconds); the model, the loss and the data must be picklable.
``ddp``
    The processes were started from outside, by ``torchrun``, ``srun`` or ``fabric run``; the only choice for several nodes.
``auto``
    ``ddp`` where the environment says that processes were started from outside, else ``ddp_fork`` on the CPU, else ``ddp_spawn``.

Each process takes its part of every batch. All gradients lie in one tensor (`trajlab.train.flat`), so they are added up in one call after
the backward pass, weighted by how many terms of the loss each process had; a loss may call any method of the model, any number of times,
and need not use every weight. Only the first process validates, reports and saves; the others wait for it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trajlab.train.config import TrainConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fabric(config: TrainConfig) -> Fabric:
    """The Fabric for a config; a ValueError where devices are asked for that are not there."""
    from lightning_fabric import Fabric

    accelerator = config.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    several = config.devices * config.num_nodes > 1
    outside = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ or "LOCAL_RANK" in os.environ
    start = {"ddp": "popen", "ddp_fork": "fork", "ddp_spawn": "spawn"}.get(config.strategy)
    if start is None:
        start = "popen" if outside or config.num_nodes > 1 else "fork" if accelerator == "cpu" and _can_fork() else "spawn"
    if several and start == "popen" and not outside:
        raise ValueError(
            f"strategy {config.strategy!r} on {config.num_nodes} nodes needs processes that were started from outside, as by "
            f"torchrun --nproc-per-node {config.devices}; on one machine use strategy='ddp_fork' or 'ddp_spawn'"
        )
    strategy: Any = "auto"
    if several:
        from trajlab.train.together import Together

        strategy = Together(start_method=start)
    with quiet():
        return Fabric(accelerator=accelerator, strategy=strategy, devices=config.devices, num_nodes=config.num_nodes, precision=config.precision)


def alike(made: Fabric, module: nn.Module) -> None:
    """All processes get the weights and buffers of the first."""
    if made.world_size > 1:
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor, 0)


def add_gradients(made: Fabric, weights: Mapping[str, nn.Parameter], share: float) -> None:
    """Replace gradients by their sum over all processes, each multiplied by the process's ``share``; the shares sum to 1."""
    if made.world_size > 1:
        for flat in weights.values():
            flat.grad.mul_(share)
            torch.distributed.all_reduce(flat.grad)


def _can_fork() -> bool:
    return "fork" in multiprocessing.get_all_start_methods()


def start_method(made: Fabric) -> str | None:
    """How launching this Fabric starts new processes (``fork`` or ``spawn``), whose results have to be handed back; None if it starts none."""
    how = getattr(made.strategy, "_start_method", None)
    return how if how in ("fork", "spawn") else None


@contextmanager
def quiet() -> Iterator[None]:
    """Fabric's notices of what it uses are left out; its warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning_fabric", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Objective(nn.Module):
    """The loss as a module around the model, which is what Fabric wraps: any call of the model inside is then seen by it.

    The batch comes in a `Packet`, which precision plugins do not look into, because positions may be float64 on purpose.
    """

    def __init__(self, module: nn.Module, loss: Callable[..., Any], compiled: bool) -> None:
        super().__init__()
        self.module = module
        self._loss = loss
        self._call = [torch.compile(module) if compiled else module]  # in a list, or its parameters would be counted twice
        self.count: float | Tensor = 0.0
        self.named: dict[str, Any] = {}

    def forward(self, packet: Packet) -> Tensor:
        """The sum of the loss over the samples or terms of a batch; the count is left in ``count``."""
        found = self._loss(self._call[0], packet.batch, **packet.keywords)
        self.named = {}
        if isinstance(found, Mapping):
            if "loss" not in found:
                raise ValueError(f"the loss returned a dict without 'loss', with {', '.join(map(str, found)) or 'nothing'}")
            self.named = {k: v for k, v in found.items() if k != "loss"}
            found = found["loss"]
        if isinstance(found, tuple):
            total, self.count = found
        else:
            total, self.count = found * packet.size, float(packet.size)
        if not isinstance(total, Tensor) or total.ndim != 0:
            what = f"shape {tuple(total.shape)}" if isinstance(total, Tensor) else type(total).__name__
            raise ValueError(f"the loss must be a scalar tensor, a pair (sum, count) or a dict with 'loss'; got {what}")
        return total


class Packet:
    """A batch in a wrapper that nobody looks into on the way to the loss."""

    def __init__(self, batch: Any, size: int, keywords: dict[str, Any]) -> None:
        self.batch, self.size, self.keywords = batch, size, keywords


def moved(value: Any, device: torch.device) -> Any:
    """A batch on another device: tensors, things with ``to``, and lists, tuples and mappings of them; the rest as it is."""
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, Mapping):
        return {k: moved(v, device) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(v, device) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(moved(v, device) for v in value)
    return value


class Interrupt:
    """Ctrl-C asks the loop to stop at the end of the step; a second one, a second later, stops it where it is.

    Where signals cannot be caught (outside of the main thread) nothing changes.
    """

    def __init__(self) -> None:
        self.asked, self._when, self._before = False, 0.0, None

    def __enter__(self) -> Interrupt:
        try:
            self._before = signal.signal(signal.SIGINT, self._note)
        except ValueError:
            self._before = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # A terminal signals the whole group of processes and the parent passes its own on: those are one wish, not two.
        if self.asked and time.monotonic() - self._when > 1.0:
            raise KeyboardInterrupt
        self.asked, self._when = True, self._when or time.monotonic()


def agree(made: Fabric, values: list[float]) -> list[float]:
    """The sums of some numbers over all processes, in double precision where the device has it."""
    if made.world_size == 1:
        return values
    dtype = torch.float32 if made.device.type == "mps" else torch.float64
    tensor = torch.tensor(values, dtype=dtype, device=made.device)
    torch.distributed.all_reduce(tensor)
    return tensor.tolist()
