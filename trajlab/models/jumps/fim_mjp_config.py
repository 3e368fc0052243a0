"""Settings of the published network of foundation inference for Markov jump processes; without torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FIMMJPConfig"]


@dataclass(frozen=True)
class FIMMJPConfig:
    """Sizes and loss of `FIMMJP`, as published: 1.24 million weights.

    Attributes:
        states: most states that it can take.
        hidden: of each direction of the LSTM.
        queries: learned queries over paths.
        attention: size of keys and values.
        perceptron: size of the hidden layers.
        paths: most paths at once; more are split, and the generators averaged. Training sets have a tenth of it, two tenths, ..., all of it.
        batch: processes a training step.
        rates: weight of the Gaussian negative log-likelihood of rates over links that exist.
        initial: weight of the cross-entropy of the initial state.
        absent: weight of the penalty on rates of absent links.

    Raises:
        ValueError: a size below one, fewer than two states, or a negative weight.
    """

    states: int = 6
    hidden: int = 256
    queries: int = 16
    attention: int = 128
    perceptron: int = 128
    paths: int = 300
    batch: int = 128
    rates: float = 1.0
    initial: float = 1.0
    absent: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("states", 2), ("hidden", 1), ("queries", 1), ("attention", 1), ("perceptron", 1), ("paths", 1), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"FIMMJPConfig.{name} is {getattr(self, name)}; at least {least} was wanted")
        for name in ("rates", "initial", "absent"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"FIMMJPConfig.{name} is {getattr(self, name)}; a weight, not negative, was wanted")
