"""Settings of AirPhyNet and of the nets that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from trajlab.catalog import unknown

__all__ = ["AirPhyNetConfig"]

PERIODS = ("day", "week", "year")
CORES = ("ode", "gru", "graph_gru")
TRANSFORMS = ("sqrt", "none")
WINDS = ("expected", "given")


@dataclass(frozen=True)
class AirPhyNetConfig:
    """Settings; lengths of time are in frames of the series.

    Attributes:
        horizon: frames to predict.
        past: given frames, a multiple of ``step``.
        step: frames that one step of the encoder and of the differential equation spans; the past enters as means over them.
        core: ``"ode"`` (AirPhyNet), ``"gru"`` (a recurrent net of every sensor by itself and the mean of all), ``"graph_gru"`` (DCRNN-lite).
        diffusion, advection: which transport there is; neither makes a neural ODE without physics.
        source: the learned source; without it the latent system is closed.
        latent: channels of the state. width: of encoder and perceptrons. dropout: of their inputs. noise: added to the
            standardised past in training (deviation).
        clocks: which of ``day``, ``week`` and ``year`` nets are told; from a few years the season is learned by heart.
        solver: ``"implicit"`` or ``"euler"``, see `trajlab.nets.graph_ode.GraphODE`.
        radius, floor: of links, and the least distance, km.
        wind: over the horizon: ``"expected"`` (the last seen wind, decaying to the mean of the hour; the time is learned) or ``"given"`` (told to
            `AirPhyNet.forecast`, such as a weather forecast; in training the wind that came).
        transform: of the quantity, before it is standardised: ``"sqrt"`` for concentrations, ``"none"``.
        damping: e-folding time that the learned one starts from.
        kl: weight of the Kullback-Leibler term; above 0 the initial state is drawn, and forecasts have draws. 0 makes the encoder deterministic.
        members: nets, alike but for their seeds, whose mean is the forecast.
        steps, batch, lr, weight_decay: of the training of each. check_every: steps between validations, patience: validations without improvement
            before it stops.
        share: of the training windows that are used, in blocks of a week that are left out at random (sparse data).
        seed: of the first member.

    Raises:
        ValueError: a number is out of range, or a name is unknown.
    """

    horizon: int = 72
    past: int = 24
    step: int = 3
    core: str = "ode"
    diffusion: bool = True
    advection: bool = True
    source: bool = True
    latent: int = 24
    width: int = 48
    dropout: float = 0.2
    noise: float = 0.0
    clocks: tuple[str, ...] = ("day",)
    solver: str = "implicit"
    radius: float = 40.0
    floor: float = 5.0
    wind: str = "expected"
    transform: str = "sqrt"
    damping: float = 48.0
    kl: float = 0.0
    members: int = 3
    steps: int = 320
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 1e-3
    check_every: int = 40
    patience: int = 4
    share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("core", CORES), ("transform", TRANSFORMS), ("wind", WINDS), ("solver", ("implicit", "euler"))):
            if getattr(self, name) not in known:
                raise ValueError(f"AirPhyNetConfig: {unknown(name, str(getattr(self, name)), known)}")
        whole = ("horizon", "past", "step", "latent", "width", "members", "steps", "batch", "check_every", "patience")
        for clock in self.clocks:
            if clock not in PERIODS:
                raise ValueError(f"AirPhyNetConfig: {unknown('clock', clock, PERIODS)}")
        low = [n for n in whole if getattr(self, n) < 1] + [n for n in ("radius", "floor", "damping", "lr") if not getattr(self, n) > 0]
        if low:
            raise ValueError(f"AirPhyNetConfig.{low[0]} is {getattr(self, low[0])!r}; a positive number was wanted")
        if self.past % self.step or self.horizon % self.step:
            raise ValueError(f"past={self.past} and horizon={self.horizon} must be multiples of step={self.step}")
        if not 0 < self.share <= 1 or self.kl < 0 or not 0 <= self.dropout < 1:
            raise ValueError(f"share={self.share}, kl={self.kl}, dropout={self.dropout}: within (0, 1], at least 0 and within [0, 1) were wanted")
        if self.core == "ode" and not (self.diffusion or self.advection or self.source):
            raise ValueError("without diffusion, advection and source nothing is left of the equation; switch one on")

    @property
    def calendar(self) -> int:
        """Channels of the calendar."""
        return 2 * len(self.clocks)

    @property
    def knots(self) -> int:
        """Ends of steps over the horizon."""
        return self.horizon // self.step

    @classmethod
    def traffic(cls) -> Self:
        """An hour of a road network from an hour, every 5 minutes; diffusion only, since there is no wind."""
        return cls(horizon=12, past=12, step=1, advection=False, transform="none", damping=24.0, clocks=("day", "week"))

    def but(self, **changes: object) -> Self:
        """A copy with some settings changed."""
        return replace(self, **changes)  # type: ignore[arg-type]
