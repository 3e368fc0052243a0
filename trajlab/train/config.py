"""How to train: everything the loop needs to know besides the model, the loss and the data. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from trajlab.catalog import unknown

PRECISIONS = ("32-true", "64-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed")
STRATEGIES = ("auto", "ddp", "ddp_fork", "ddp_spawn")
CHOICES = {
    "schedule": ("cosine", "constant"),
    "optimiser": ("adam", "amsgrad", "adamw"),
    "keep": ("last", "best"),
    "precision": PRECISIONS,
    "strategy": STRATEGIES,
}


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. Exactly one of ``steps`` and ``minutes`` is the budget.

    With ``steps`` a run is reproducible bit for bit on the same machine, also when it is killed and resumed. With ``minutes`` the
    schedule follows the time spent training (validation and checkpoints count, pauses between resumed parts do not), so the
    number of steps, and with it the result, depends on the machine.

    Attributes:
        steps: number of optimiser steps.
        minutes: wall-clock minutes of training.
        batch: samples a step, over all processes together; at most the number of samples there are.
        lr: learning rate at the top of the schedule.
        warmup: steps of linear warm-up (shortened to a tenth of the run where it would be longer).
        schedule: ``cosine`` falls to zero at the end of the budget, ``constant`` stays.
        optimiser: Adam (L2 penalty), its AMSGrad variant, or AdamW (decoupled weight decay).
        weight_decay: strength of the penalty or decay.
        clip: largest norm of the gradient over all parameters; None for no limit. Adam does not care for the scale of gradients, so a limit
            below their usual norm costs nothing and takes the force out of the rare large ones that would wreck a run.
        ema: decay of the exponential moving average of the weights, which validation and the final model use; 0 turns it off.
        precision: of Lightning Fabric, such as ``32-true``, ``64-true`` or ``bf16-mixed``.
        accelerator: ``auto`` (a CUDA device where there is one, else the CPU), ``cpu``, ``cuda``, ``mps``, ...
        devices: processes on each node, one a device; on the CPU at most one a core.
        num_nodes: machines.
        strategy: how processes are started, see `trajlab.train.processes`; ``auto`` chooses.
        seed: of the order of the samples and of every random number drawn while training.
        compile: pass the model through ``torch.compile``.
        log_every: steps between lines in ``metrics.jsonl``.
        validate_every: steps between validations; where neither this nor the seconds are given, 20 validations are spread over the run.
        validate_every_seconds: seconds of training between validations.
        patience: validations without improvement before the run stops early; None never stops early.
        keep: whether the returned model holds the ``last`` weights or those of the ``best`` validation.
        save_every_seconds: seconds between checkpoints; 0 saves after every step.

    Raises:
        ValueError: a value is out of range, the budget is missing or given twice, or a name is unknown.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 32
    lr: float = 6e-3
    warmup: int = 200
    schedule: Literal["cosine", "constant"] = "cosine"
    optimiser: Literal["adam", "amsgrad", "adamw"] = "adam"
    weight_decay: float = 0.0
    clip: float | None = 0.1
    ema: float = 0.999
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    seed: int = 0
    compile: bool = False
    log_every: int = 50
    validate_every: int | None = None
    validate_every_seconds: float | None = None
    patience: int | None = None
    keep: Literal["last", "best"] = "last"
    save_every_seconds: float = 60.0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            given = "neither" if self.steps is None else f"both (steps={self.steps}, minutes={self.minutes})"
            raise ValueError(f"TrainConfig got {given} of steps and minutes; give exactly one, such as steps=10_000 or minutes=20")
        if self.validate_every is not None and self.validate_every_seconds is not None:
            raise ValueError("TrainConfig got both validate_every (steps) and validate_every_seconds; give one or neither")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"TrainConfig: {unknown(name, str(getattr(self, name)), choices)}")
        for name in ("steps", "batch", "devices", "num_nodes", "log_every", "validate_every", "patience"):
            _whole(name, getattr(self, name), 1)
        for name in ("warmup", "seed"):
            _whole(name, getattr(self, name), 0)
        for name in ("minutes", "lr", "clip", "validate_every_seconds"):
            _within(name, getattr(self, name), 0.0, open_below=True)
        for name in ("weight_decay", "save_every_seconds"):
            _within(name, getattr(self, name), 0.0)
        _within("ema", self.ema, 0.0, below=1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config of plain values; a ValueError with what was probably meant where a key is unknown."""
        names = [f.name for f in fields(cls)]
        for key in values:
            if key not in names:
                raise ValueError(unknown("training setting", key, names))
        return cls(**values)


def _whole(name: str, value: Any, low: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
        raise ValueError(f"TrainConfig.{name} is {value!r}; a whole number of at least {low} was wanted")


def _within(name: str, value: Any, low: float, below: float = float("inf"), open_below: bool = False) -> None:
    if value is None:
        return
    if not isinstance(value, (int, float)) or not (low < value if open_below else low <= value) or not value < below:
        limits = f"{'above' if open_below else 'at least'} {low:g}" + ("" if below == float("inf") else f" and below {below:g}")
        raise ValueError(f"TrainConfig.{name} is {value!r}; a finite number {limits} was wanted")
