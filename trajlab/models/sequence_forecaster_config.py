"""Settings of a learned sequence forecaster."""

from __future__ import annotations

from dataclasses import dataclass, field

from trajlab.catalog import unknown

__all__ = ["BACKBONES", "SequenceConfig"]

#: Backbones by the name of the setting, and where each is.
BACKBONES = {
    "gru": "trajlab.nets.gru:GRUSequence",
    "transformer": "trajlab.nets.causal_transformer:CausalTransformer",
    "state_space": "trajlab.nets.state_space:StateSpace",
}


@dataclass(frozen=True)
class SequenceConfig:
    """What a `SequenceForecaster` is and how it is trained.

    Attributes:
        backbone: ``gru``, ``transformer`` (rotary positions, a bounded reach) or ``state_space`` (S4D).
        width, layers: of the backbone.
        options: further arguments of the backbone: ``heads`` and ``reach``, or ``modes`` and ``steps``.
        lags: increments that are shown beside the present frame.
        window: frames of a training sample, over which every next frame is predicted from the true ones.
        unroll: frames after it that are predicted from the model's own; 0 trains on true frames alone.
        washout: first frames of a sequence that count for nothing: the state has to fill.
        steps: of the optimiser, on each context, or in `fit`.
        seconds: budget of training instead of ``steps``; the result then depends on the machine.
        batch, lr: of the optimiser (Adam, cosine schedule).
        tail: share of the context, its end, that is held out to choose weights and readout.
        horizon: frames that are rolled out for that choice, at most half of the tail.
        patience: of eight judgements, how many without improvement end the training early.
        ridge: penalties from which that of the final linear readout is chosen; empty keeps the trained readout.
        finetune: steps of training on each context after a `fit` on many series; 0 takes the fitted model as it is.
        seed: of the training in `fit`; on a context, the seed of the forecast counts.

    Raises:
        ValueError: an unknown backbone, or a size out of range.
    """

    backbone: str = "gru"
    width: int = 48
    layers: int = 1
    options: dict[str, object] = field(default_factory=dict)
    lags: int = 2
    window: int = 40
    unroll: int = 4
    washout: int = 8
    steps: int = 100
    seconds: float | None = None
    batch: int = 32
    lr: float = 3e-3
    tail: float = 0.2
    horizon: int = 50
    patience: int = 3
    ridge: tuple[float, ...] = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
    finetune: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(unknown("backbone", self.backbone, BACKBONES))
        least = {"width": 1, "layers": 1, "lags": 1, "unroll": 0, "washout": 0, "steps": 1, "batch": 1, "horizon": 2, "patience": 1, "finetune": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"SequenceConfig.{name} is {getattr(self, name)}; at least {low} was wanted")
        if self.window <= self.washout:
            raise ValueError(f"a window of {self.window} frames has none left after a washout of {self.washout}; make it longer")
        if not 0 < self.tail < 1 or min(self.ridge, default=1.0) <= 0:
            raise ValueError(f"tail={self.tail}, ridge={self.ridge}; a share within (0, 1) and positive penalties were wanted")
