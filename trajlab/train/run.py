"""One process's part of a training run: its state, a step, and what happens between steps."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trajlab.train import checkpoint, identity, optim
from trajlab.train.config import TrainConfig
from trajlab.train.ema import EMA
from trajlab.train.flat import Flat
from trajlab.train.log import Log
from trajlab.train.order import Order, mixed
from trajlab.train.processes import Interrupt, Objective, Packet, add_gradients, agree, alike, moved
from trajlab.train.progress import Bar

if TYPE_CHECKING:
    from lightning_fabric import Fabric

VALIDATIONS = 20  # spread over a run where the config does not say how often
FAILURES = 20  # steps in a row without a finite gradient, after which a run gives up


@dataclass
class Job:
    """What `trajlab.train.train` was asked for."""

    module: nn.Module
    loss: Callable[..., Any]
    batches: Any
    config: TrainConfig
    folder: Path | None
    validate: Callable[[nn.Module], dict[str, float]] | None
    progress: bool


@dataclass
class State:
    """Where a run is, in plain numbers; together with the tensors this is a checkpoint."""

    step: int = 0
    elapsed: float = 0.0
    failures: int = 0  # steps in a row that were skipped
    skipped: int = 0  # all of them
    validated: int = -1  # step of the last validation
    validated_at: float = 0.0  # its time
    validations: int = 0
    validation_seconds: float = 0.0  # what the last one took
    best: dict[str, Any] | None = None
    stale: int = 0  # validations since the best
    stopped: str | None = None
    averages: int = 0  # updates of the moving average
    metrics: int = 0  # bytes of metrics.jsonl
    sums: dict[str, list[float]] = field(default_factory=dict)  # since the last line of the log: sum and number


class Run:
    """A training run in one of its processes; the first process alone validates, reports and saves."""

    def __init__(self, job: Job, made: Fabric, interrupt: Interrupt) -> None:
        self.job, self.config, self.made, self.interrupt = job, job.config, made, interrupt
        self.module, self.state, self.first = job.module, State(), made.global_rank == 0
        self.order = Order(len(job.batches), job.config.batch, job.config.seed)
        self.identity = identity.identity(job.module, job.batches, job.config) if job.folder else {}
        self.objective = Objective(job.module, job.loss, job.config.compile)
        self.wrapped = made.setup_module(self.objective)
        alike(made, job.module)
        self.flat = Flat(job.module)
        self.optimiser = optim.build(self.flat.weights, job.config)
        self.stepper = made.setup_optimizers(self.optimiser)
        self.ema = EMA(self.flat.weights, job.config.ema)
        self.best: dict[str, Tensor] = {}
        self.whole = True  # False while the weights are ahead of the step count
        self.pace = 0.0  # seconds a step, smoothed
        self.takes_generator = [_takes(job.batches.batch), _takes(job.loss)]
        self.resume()
        self.start = self.state.step
        self.log = Log(job.folder if self.first else None, self.state.metrics)
        self.bar = Bar(job.progress and self.first)
        self.began = time.perf_counter() - self.state.elapsed
        self.saved = time.perf_counter()

    # --- the clock and the budget -------------------------------------------------------------------------------------------------

    def progress(self) -> float:
        """The fraction of the budget that is spent."""
        if self.config.steps is not None:
            return self.state.step / self.config.steps
        return self.state.elapsed / (60.0 * self.config.minutes)

    def tick(self) -> None:
        """Bring the time spent up to date."""
        self.state.elapsed = time.perf_counter() - self.began

    def reason(self) -> str | None:
        """Why this process would stop now."""
        if self.interrupt.asked:
            return "interrupted"
        if self.config.patience is not None and self.state.stale >= self.config.patience:
            return "patience"
        if self.progress() >= 1.0:
            return "steps" if self.config.steps is not None else "minutes"
        return None

    def stop(self) -> str | None:
        """Why all processes stop now, agreed among them; also agrees on the time, which the schedule may follow."""
        self.tick()
        mine = self.reason()
        if self.made.world_size == 1:
            return mine
        reasons = (None, "steps", "minutes", "patience", "interrupted")
        say = [self.state.elapsed * self.first, *(float(mine == r and (self.first or r == "interrupted")) for r in reasons[1:])]
        self.state.elapsed, *votes = agree(self.made, say)
        return next((r for r, vote in zip(reversed(reasons), reversed(votes), strict=False) if vote), None)

    # --- a step -------------------------------------------------------------------------------------------------------------------

    def generator(self) -> torch.Generator:
        """The random numbers of this step in this process: a function of the seed, the step and the rank alone."""
        seed = mixed("step", self.config.seed, self.state.step, self.made.global_rank)
        torch.default_generator.manual_seed(seed)  # for dropout and the like; the caller's state is put back after training
        if self.made.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        return torch.Generator().manual_seed(seed)

    def packet(self) -> Packet:
        """This process's part of the step's batch, on its device."""
        keywords = {"generator": self.generator()}
        indices = self.order.share(self.state.step, self.made.global_rank, self.made.world_size)
        batch = self.job.batches.batch(indices, **keywords if self.takes_generator[0] else {})
        if self.made.device.type != "cpu":
            batch = moved(batch, self.made.device)
        return Packet(batch, len(indices), keywords if self.takes_generator[1] else {})

    def gradient(self) -> tuple[float, float]:
        """Forward and backward; the loss and the norm of its gradient, over all processes and before clipping.

        The mean over the whole batch is the sum of all sums over the sum of all counts, so the mean of each process weighs as its
        share of the count.
        """
        total = self.wrapped(self.packet())
        mine = float(self.objective.count)
        self.made.backward(total / (mine or 1.0))
        value, count = agree(self.made, [float(total.detach()), mine])
        if not count > 0:
            raise ValueError(f"the loss counted {count:g} terms in the batch of step {self.state.step}; at least one was wanted")
        add_gradients(self.made, self.flat.weights, mine / count)
        norm = self.made.clip_gradients(self.wrapped, self.stepper, max_norm=self.config.clip or math.inf, error_if_nonfinite=False)
        return value / count, float(norm)

    def advance(self) -> None:
        """One step of the optimiser; where the loss or its gradient is not finite the step is skipped and counted."""
        start, state = time.perf_counter(), self.state
        self.lr = optim.learning_rate(self.config, state.step, self.progress())
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr
        loss, norm = self.gradient()
        good = math.isfinite(loss) and math.isfinite(norm)
        self.whole = False
        if good or self.config.precision == "16-mixed":  # whose scaler skips by itself, and must be told to scale less
            self.stepper.step()
        self.optimiser.zero_grad(set_to_none=False)
        if good:
            self.ema.update()
            self.count({"loss": loss, "gradient": norm, **self.objective.named})
        state.failures = 0 if good else state.failures + 1
        state.skipped += not good
        state.step += 1
        self.whole = True
        if state.failures >= FAILURES:
            self.give_up(loss, norm)
        took = time.perf_counter() - start
        self.pace = took if not self.pace else 0.95 * self.pace + 0.05 * took

    def count(self, values: dict[str, Any]) -> None:
        """Add a step's values to the sums of the next line of the log."""
        for name, value in values.items():
            entry = self.state.sums.setdefault(name, [0.0, 0])
            entry[0] += float(value)
            entry[1] += 1

    def give_up(self, loss: float, norm: float) -> None:
        """Say where and how the run went astray."""
        where = checkpoint.latest(self.job.folder) if self.job.folder else None
        kept = f"the last checkpoint is {where}" if where else "no checkpoint was kept"
        raise FloatingPointError(
            f"loss ({loss:g}) or gradient norm ({norm:g}) was not finite in {FAILURES} steps in a row, up to step {self.state.step} at "
            f"learning rate {self.lr:.3g}; try a smaller lr or clip, and look for bad values in the data. {kept}"
        )

    # --- between steps ------------------------------------------------------------------------------------------------------------

    def between(self) -> None:
        """Report, validate and save where it is time to."""
        if not self.first:
            return
        self.tick()
        if self.state.step % self.config.log_every == 0:
            self.report()
        if self.validation_due():
            self.validate()
        if self.job.folder and time.perf_counter() - self.saved >= self.config.save_every_seconds:
            self.save()
        if self.bar.due():
            self.show()

    def report(self) -> None:
        """A line of the log: means since the last one."""
        state, means = self.state, {k: s / n for k, (s, n) in self.state.sums.items()}
        epoch = state.step * self.order.batch / self.order.size
        self.log.add({"step": state.step, "elapsed": round(state.elapsed, 3), "epoch": round(epoch, 4), **means,
                      "lr": self.lr, "rate": round(1 / self.pace, 3), "skipped": state.skipped})
        state.sums = {}

    def show(self) -> None:
        """Draw the progress bar."""
        left = 60.0 * self.config.minutes - self.state.elapsed if self.config.minutes else (self.config.steps - self.state.step) * self.pace
        total, number = self.state.sums.get("loss") or [next((x["loss"] for x in reversed(self.log.lines) if "loss" in x), math.nan), 1]
        self.bar.update(self.state.step, self.progress(), total / number, 1 / self.pace if self.pace else 0.0, left)

    def validation_due(self) -> bool:
        """Whether to validate after this step; not when the budget ends before this validation would, as one follows then anyway."""
        config, state = self.config, self.state
        if self.job.validate is None or state.validated == state.step or self.progress() >= 1.0:
            return False
        if config.minutes is not None and 60.0 * config.minutes - state.elapsed < 2 * state.validation_seconds:
            return False
        if config.validate_every_seconds is not None:
            return state.elapsed - state.validated_at >= config.validate_every_seconds
        if config.validate_every is not None:
            return state.step % config.validate_every == 0
        if config.steps is not None:
            return state.step % math.ceil(config.steps / VALIDATIONS) == 0
        return self.progress() * VALIDATIONS >= state.validations + 1

    def validate(self) -> None:
        """Judge the averaged weights; the first entry is the criterion, smaller is better."""
        start, state = time.perf_counter(), self.state
        with self.ema.applied(), torch.no_grad():
            self.module.eval()
            found = {k: float(v) for k, v in self.job.validate(self.module).items()}
            self.module.train()
            self.flat.bind()  # in case the model was moved or cast meanwhile
            if not found:
                raise ValueError("validate returned an empty dict; its first entry is the criterion")
            value = next(iter(found.values()))
            better = math.isfinite(value) and (state.best is None or value < next(iter(state.best["validation"].values())))
            if better and self.config.keep == "best":
                self.best = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        state.validation_seconds = time.perf_counter() - start
        self.tick()
        line = {"step": state.step, "elapsed": round(state.elapsed, 3), "validation": found}
        state.best = line if better else state.best
        state.stale = 0 if better else state.stale + 1
        state.validated, state.validated_at, state.validations = state.step, state.elapsed, state.validations + 1
        self.log.add(line)
        words = "  ".join(f"{k} {v:.4g}" for k, v in found.items())
        self.bar.note(f"step {state.step:,}: {words}" + ("" if better or state.best is None else f"  (best at step {state.best['step']:,})"))

    # --- checkpoints --------------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint, if there is a folder for it."""
        if not self.job.folder or not self.first:
            return
        state = self.state
        state.averages, state.metrics = self.ema.updates, self.log.position()
        tensors = {"model": self.module.state_dict(), "optimiser": optim.state(self.flat.weights, self.optimiser)}
        if self.ema.mean:
            tensors["ema"] = self.flat.split(self.ema.mean)
        if self.best:
            tensors["best"] = self.best
        about = {**asdict(state), **self.identity, "precision": self.made.strategy.precision.state_dict()}
        checkpoint.save(self.job.folder, state.step, tensors, about)
        self.saved = time.perf_counter()

    def resume(self) -> None:
        """Go on from the latest checkpoint in the folder, if there is one; a ValueError where it belongs to another run."""
        found = checkpoint.latest(self.job.folder) if self.job.folder else None
        if found is None:
            return
        tensors, about = checkpoint.load(found)
        wrong = identity.differences(about, self.identity)
        if wrong:
            raise ValueError(
                f"{self.job.folder} holds another run ({'; '.join(wrong[:5])}{' ...' if len(wrong) > 5 else ''}); "
                "train into another folder, or with the same settings and data to go on"
            )
        self.state = State(**{k: about[k] for k in asdict(self.state)})
        self.module.load_state_dict(tensors["model"])
        optim.load(self.flat.weights, self.optimiser, tensors["optimiser"])
        if self.ema.mean:
            self.flat.join(self.ema.mean, tensors["ema"])
        self.ema.updates = self.state.averages
        self.best = {k: v.to(self.made.device) for k, v in tensors.get("best", {}).items()}
        if about["precision"]:
            self.made.strategy.precision.load_state_dict(about["precision"])

    # --- from beginning to end ----------------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Train until the budget is spent, patience is lost or somebody interrupts; then validate, save and average."""
        self.module.train()
        try:
            with self.bar:
                self.finish(self.loop())
        finally:
            self.optimiser.zero_grad(set_to_none=False)
            self.flat.release()
        self.module.eval()

    def loop(self) -> str:
        """Step after step until there is a reason to stop, which is returned."""
        if self.start:
            self.bar.note(f"going on after step {self.start:,} of {self.job.folder}")
        try:
            while not (why := self.stop()):
                self.advance()
                self.between()
        except KeyboardInterrupt:
            return "interrupted"
        return why

    def finish(self, why: str) -> None:
        """Report, validate and save for the last time, and leave the averaged or best weights in the model."""
        before, self.state.stopped = self.state.stopped, why
        if self.first:
            if self.state.sums and why != "interrupted":
                self.report()
            if self.job.validate is not None and self.state.validated != self.state.step and why != "interrupted":
                self.validate()
            if self.whole and (self.state.step > self.start or before != why):
                self.save()
            if self.bar.show and self.pace:
                self.show()
            if why == "interrupted":
                self.bar.note(f"interrupted after step {self.state.step:,}" + ("; the same call goes on from there" if self.job.folder else ""))
        if self.config.keep == "best" and self.best:
            self.module.load_state_dict(self.best)
        else:
            self.ema.overwrite()
        alike(self.made, self.module)  # the best weights are known to the first process only


def _takes(function: Callable[..., Any]) -> bool:
    """Whether a function has a parameter called ``generator``."""
    try:
        return "generator" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
