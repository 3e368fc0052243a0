"""Settings of the diffusion of series."""

from __future__ import annotations

from dataclasses import dataclass

from trajlab.catalog import unknown

__all__ = ["REFERENCES", "DiffusionConfig"]

#: Deterministic forecasts about which the residual is drawn.
REFERENCES = {
    "nvar": "trajlab.models.tuning:TunedNvar",
    "linear": "trajlab.models.linear_series:Linear",
    "persistence": "trajlab.models.persistence:Persistence",
}


@dataclass(frozen=True)
class DiffusionConfig:
    """What a `SeriesDiffusion` is and how it is trained and drawn from.

    Attributes:
        reference: deterministic forecast about which residuals are drawn: ``nvar`` (ridge chosen on the tail), ``linear`` or ``persistence``.
        given: last frames that the net is shown.
        ahead: frames that are drawn together; longer forecasts go on from drawn frames, block after block.
        width, layers: of the net.
        steps, batch, lr: of the training (Adam, cosine schedule).
        seconds: budget of training instead of ``steps``; the result then depends on the machine.
        evaluations: of the net for each block.
        sigma_min, sigma_max: of the noise, in standardised residuals.
        seed: of the training in `fit`; on a context, the seed of the forecast counts.

    Raises:
        ValueError: an unknown reference, or a size out of range.
    """

    reference: str = "nvar"
    given: int = 4
    ahead: int = 8
    width: int = 96
    layers: int = 2
    steps: int = 500
    batch: int = 128
    lr: float = 3e-3
    seconds: float | None = None
    evaluations: int = 15
    sigma_min: float = 0.005
    sigma_max: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.reference not in REFERENCES:
            raise ValueError(unknown("reference forecast", self.reference, REFERENCES))
        for name, low in {"given": 1, "ahead": 1, "width": 1, "layers": 1, "steps": 1, "batch": 1, "evaluations": 5}.items():
            if getattr(self, name) < low:
                raise ValueError(f"DiffusionConfig.{name} is {getattr(self, name)}; at least {low} was wanted")
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"sigma_min={self.sigma_min}, sigma_max={self.sigma_max}; positive numbers in rising order were wanted")
