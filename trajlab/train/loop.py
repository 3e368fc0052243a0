"""The training loop: `train(module, loss, batches, config)`."""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from trajlab.train import checkpoint, processes
from trajlab.train.config import TrainConfig
from trajlab.train.run import Job, Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Batches(Protocol):
    """The data: how many samples there are, and the batch of some of them (any structure of tensors, or things with ``to``)."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> Any: ...


@dataclass
class TrainResult:
    """What a run leaves.

    Attributes:
        module: the model that was passed in, in evaluation mode, with averaged weights (those of the best validation with ``keep="best"``).
        step: optimiser steps, over all resumed parts.
        elapsed: seconds of training, likewise.
        history: the lines of ``metrics.jsonl``: losses every ``log_every`` steps, and validations.
        best: the line of the best validation, ``{"step", "elapsed", "validation": {...}}``; None without validation.
        folder: of the run, if any.
        interrupted: whether Ctrl-C ended it; the same call with the same folder goes on.
        stopped: ``steps``, ``minutes``, ``patience`` or ``interrupted``.
        skipped: steps without a finite gradient.
    """

    module: nn.Module
    step: int
    elapsed: float
    history: list[dict[str, Any]]
    best: dict[str, Any] | None
    folder: Path | None
    interrupted: bool
    stopped: str
    skipped: int


def train(
    module: nn.Module,
    loss: Callable[..., Any],
    batches: Any,
    config: TrainConfig,
    folder: str | Path | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    progress: bool = True,
) -> TrainResult:
    """Fit a model; with a folder, go on from where an earlier call with the same arguments was stopped or killed.

    Args:
        module: the model; trained in place.
        loss: ``loss(module, batch)`` gives the mean over the batch's samples, or a pair (sum, count) where a batch of ragged samples is a mean
            over something else (atoms), or a dict with ``"loss"`` (either) and further numbers to log. If it has a parameter ``generator`` it
            is given the step's random numbers, the same in a run that is resumed.
        batches: an object with ``len()``, the number of samples, and ``batch(indices)``, which may have a parameter ``generator`` too. An
            attribute ``fingerprint`` (a checksum of the data) is used, if there, to refuse resuming with other data.
        config: the settings.
        folder: where checkpoints and ``metrics.jsonl`` go; None keeps nothing.
        validate: ``validate(module)`` gives numbers by name, smaller is better; the first decides on the best weights and on
            stopping early. It is called with averaged weights, in evaluation mode, without gradients.
        progress: show a progress bar (lines where standard error is not a terminal).

    Returns:
        The result; `TrainResult.module` is ``module``.

    Raises:
        ValueError: there are no samples or fewer in a batch than processes, or the folder holds another run (the differences are named).
        TypeError: ``batches`` is not such an object.
        FloatingPointError: loss or gradient were not finite in 20 steps in a row.
        OSError: a checkpoint could not be written; the previous one is intact.
        RuntimeError: a process that was started for this failed.
    """
    _check(module, batches, config, validate is not None)
    job = Job(module, loss, batches, config, None if folder is None else Path(folder), validate, progress)
    made = processes.fabric(config)
    if processes.start_method(made) is not None:
        return _elsewhere(made, job)
    with processes.quiet():
        made.launch()
    return _here(made, job)


def _check(module: nn.Module, batches: Any, config: TrainConfig, validated: bool) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"train wants a torch.nn.Module, and got {type(module).__name__}")
    if not (hasattr(batches, "batch") and hasattr(batches, "__len__")):
        raise TypeError(f"batches must have len() and batch(indices); {type(batches).__name__} has not")
    if not validated and (config.keep == "best" or config.patience is not None):
        raise ValueError(f"keep={config.keep!r} with patience={config.patience} needs validate(module); pass it, or keep='last' and patience=None")
    world = config.devices * config.num_nodes
    if len(batches) == 0:
        raise ValueError("there are no samples to train on")
    if min(config.batch, len(batches)) < world:
        raise ValueError(f"a batch of {min(config.batch, len(batches))} samples cannot be shared by {world} processes; use fewer or a larger batch")


def _here(made: Fabric, job: Job) -> TrainResult:
    """Train in this process."""
    cuda = [made.device.index or 0] if made.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), _no_denormals(), processes.Interrupt() as interrupt:
        run = Run(job, made, interrupt)
        run.go()
    state = run.state
    return TrainResult(job.module, state.step, state.elapsed, run.log.lines, state.best, job.folder,
                       state.stopped == "interrupted", str(state.stopped), state.skipped)


def _elsewhere(made: Fabric, job: Job) -> TrainResult:
    """Train in processes started for it, and take over the weights of the first."""
    if processes.start_method(made) == "spawn":
        _check_picklable(job)
    with tempfile.TemporaryDirectory(prefix="trajlab-") as name, processes.quiet(), _left_to_children():
        handover = Path(name)
        try:
            made.launch(partial(_worker, job=job, handover=handover))  # Fabric would look into arguments, not into this
        except torch.multiprocessing.ProcessRaisedException as error:
            last = str(error).strip().splitlines()[-1]
            raise RuntimeError(f"process {error.error_index} of the training failed: {last}") from error
        tensors, about = checkpoint.load(checkpoint.latest(handover))
    made.strategy.precision.convert_module(job.module)
    job.module.load_state_dict(tensors["model"])
    job.module.eval()
    return TrainResult(module=job.module, folder=job.folder, **about)


def _check_picklable(job: Job) -> None:
    for name in ("loss", "validate"):
        try:
            pickle.dumps(getattr(job, name))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"strategy ddp_spawn hands {name} to other processes by pickling, which failed: {error}. Define it at the top level of a "
                "module, or use strategy='ddp_fork' on the CPU"
            ) from error


def _worker(made: Fabric, job: Job, handover: Path) -> None:
    if processes.start_method(made) == "fork":
        torch.set_num_threads(1)  # the threads of OpenMP are not there after a fork, and waiting for them would not end
    else:
        for tensor in (*job.module.parameters(), *job.module.buffers()):
            tensor.data = tensor.data.clone()  # pickled tensors arrive in memory that all processes share
    result = _here(made, job)
    if made.global_rank == 0:
        about = {k: v for k, v in vars(result).items() if k not in ("module", "folder")}
        checkpoint.save(handover, result.step, {"model": job.module.state_dict()}, about)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()  # a process that leaves early takes the connections of the others with it


@contextmanager
def _left_to_children() -> Iterator[None]:
    """Ctrl-C is handled by the processes that train; this one waits for them to stop by themselves."""
    try:
        before = signal.signal(signal.SIGINT, _pass_on)
    except ValueError:  # not in the main thread, where no signal arrives either
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _pass_on(number: int, frame: Any) -> None:  # noqa: ARG001
    for child in torch.multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, number)


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Subnormal numbers are flushed to zero while training: on most CPUs they take a hundred times as long to compute with."""
    tiny = torch.tensor(1e-40)
    before = float(tiny * 1.0) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
