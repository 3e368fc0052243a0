"""What is regressed: losses of denoisers, flows and interpolants, as a pair (sum over what is observed, how many numbers that is).

A loss in one reading is a reweighting of that in another, so what is regressed and its weight are set apart. Hidden entries are zero in the
state that the net sees, count nothing, and may hold anything, NaN too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.bridge import Path, Point
from trajlab.paths.centre import centred, spread_mask
from trajlab.paths.denoiser import Denoises, Edm
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.interpolants import drift_integrand, eta_integrand, score_integrand, velocity_integrand
from trajlab.paths.levels import Levels, LogNormal, UniformTime
from trajlab.paths.pfgm import PFGM
from trajlab.paths.prediction import KINDS, READ

#: Sum over what is observed, and the number of it, for `trajlab.train.loop.train`.
Loss = tuple[Tensor, Tensor]


def edm_weight(sigma_data: float = 1.0) -> Callable[[Level], Any]:
    """(rho^2 + s^2)/(rho s)^2 on the error of x0: the net's own output then has unit weight (Karras et al. 2022)."""
    return lambda k: (k.sigma**2 + (sigma_data * k.alpha) ** 2) / (k.sigma * sigma_data) ** 2


#: Weights by name: of a level.
WEIGHTS: dict[str, Callable[[Level], Any]] = {
    "one": lambda _: 1.0,
    "snr": lambda k: (k.alpha / k.sigma) ** 2,
    "min_snr": lambda k: torch.clamp((k.alpha / k.sigma) ** 2, max=5.0),
    "edm": edm_weight(1.0),
}


@dataclass(frozen=True)
class Denoising:
    """How a denoiser is trained.

    Attributes:
        levels: log-SNRs, ``levels(path, batch, generator)``.
        regress: the reading that is compared; the denoiser's own kind where None.
        weight: of the squared error, one of `WEIGHTS` or a function of the level. Where None: EDM's for a preconditioned denoiser, else 1.
        axes: those whose mean is taken out of the noise and the data (translation-invariant data: ``(1,)``, the nodes).

    Raises:
        ValueError: an unknown reading or weight.
    """

    levels: Levels = field(default_factory=LogNormal)
    regress: str | None = None
    weight: str | Callable[[Level], Any] | None = None
    axes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.regress is not None and self.regress not in KINDS:
            raise ValueError(unknown("kind of prediction", self.regress, KINDS))
        if isinstance(self.weight, str) and self.weight not in WEIGHTS:
            raise ValueError(unknown("weight", self.weight, WEIGHTS))


def denoising_loss(denoiser: Denoises, data: Float[Tensor, "batch *event"], generator: torch.Generator,
                   mask: Bool[Tensor, "batch *part"] | None = None, condition: Mapping[str, Any] | None = None, how: Denoising = Denoising()) -> Loss:
    """Weighted squared error of a prediction on noised data.

    Args:
        denoiser: trained on its own path; with a `PFGM` path the noise is PFGM++'s.
        data: ``[batch *event]``, clean.
        generator: for levels and noise.
        mask: True where observed; the net is given it if it takes one.
        condition: given to the denoiser (time stamps, context), batch first.
        how: levels, reading, weight and projection.

    Returns:
        Sum over observed numbers and their count.

    Raises:
        ValueError: the mask does not fit, or data are not finite where observed.
    """
    path = denoiser.path
    clean = _shown(data, mask, how.axes, "data")
    lam = how.levels(path, len(data), generator).to(data.device)
    level = path.level(lam, like=data)
    eps = noise_of(path, data, generator, mask, how.axes)
    x = level.alpha * clean + level.sigma * eps
    regress = how.regress or getattr(denoiser, "kind", "x0")
    given = {**({} if mask is None else {"mask": mask}), **(condition or {})}
    on_data, on_noise = READ[regress](level)
    error = denoiser(x, level, **given).view(regress) - (on_data * clean + on_noise * eps)
    return _observed(_weight(how, denoiser)(level) * error**2, mask)


def _weight(how: Denoising, denoiser: Denoises) -> Callable[[Level], Any]:
    if callable(how.weight):
        return how.weight
    if how.weight is not None:
        return WEIGHTS[how.weight]
    precondition = getattr(denoiser, "precondition", None)
    if isinstance(precondition, Edm) and how.regress in (None, "x0"):
        return edm_weight(precondition.sigma_data)
    return WEIGHTS["one"]


def noise_of(path: Path, like: Float[Tensor, "batch *event"], generator: torch.Generator, mask: Bool[Tensor, "batch *part"] | None = None,
             axes: Sequence[int] | None = None) -> Float[Tensor, "batch *event"]:
    """A path's unit noise: standard normal but for `PFGM`; zero where hidden, its mean over ``axes`` taken out."""
    if isinstance(path, PFGM):
        return path.noise(like, generator, mask, axes)
    z = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)
    return torch.where(spread_mask(mask, z), z, torch.zeros_like(z)) if axes is None else centred(z, mask, axes)


@dataclass(frozen=True)
class Matching:
    """How a flow or an interpolant is trained.

    Attributes:
        times: what draws t: has ``times(batch, generator)``.
        weight: of the loss, a function of t ``[batch]``; 1 where None.
        axes: those whose mean is taken out of source, data and noise.
        antithetic: use +z and -z together, where the path has noise (`antithetic`); two calls of the net.
    """

    times: UniformTime | Any = field(default_factory=UniformTime)
    weight: Callable[[Tensor], Tensor] | None = None
    axes: Sequence[int] | None = None
    antithetic: bool = True


def flow_matching_loss(net: Callable[..., Tensor], path: Path, source: Float[Tensor, "batch *event"] | None, data: Float[Tensor, "batch *event"],
                       generator: torch.Generator, mask: Bool[Tensor, "batch *part"] | None = None, condition: Mapping[str, Any] | None = None,
                       how: Matching = Matching()) -> Loss:
    """|net(x_t, t) - dx_t/dt|^2 (Lipman et al. 2023, Liu et al. 2023); least at the velocity of the flow.

    Args:
        net: ``net(x, t, **condition)``, t ``[batch]`` in the dtype of x; given ``mask`` where there is one.
        path: any.
        source: ``[batch *event]``, coupled with the data by the caller; None draws N(0, I).
        data: ``[batch *event]``.
        generator: for times and noise.
        mask, condition, how: as in `denoising_loss`.

    Raises:
        ValueError: source is None on a path whose source is not noise; shapes disagree; or an end is not finite where observed.
    """
    points = _points(path, source, data, generator, mask, how)
    return _mean(points, lambda p: (_called(net, p, mask, condition) - p.velocity) ** 2, mask, how)


def interpolant_loss(net: Callable[..., Tensor], path: Path, source: Float[Tensor, "batch *event"] | None, data: Float[Tensor, "batch *event"],
                     generator: torch.Generator, kind: str = "drift", mask: Bool[Tensor, "batch *part"] | None = None,
                     condition: Mapping[str, Any] | None = None, how: Matching = Matching()) -> Loss:
    """The loss of a drift, velocity, score or eta (E[z | x_t]) of a stochastic interpolant (Albergo et al. 2023); negative at its least.

    Arguments and errors as in `flow_matching_loss`; ``kind`` is one of `INTEGRANDS`. Scores and etas need a path with noise.
    """
    if kind not in INTEGRANDS:
        raise ValueError(unknown("interpolant loss", kind, INTEGRANDS))
    points = _points(path, source, data, generator, mask, how)
    return _mean(points, lambda p: INTEGRANDS[kind](_called(net, p, mask, condition), p, path), mask, how)


#: ``(net's value, point, path)`` to the integrand, elementwise.
INTEGRANDS: dict[str, Callable[[Tensor, Point, Path], Tensor]] = {
    "drift": lambda value, point, _: drift_integrand(value, point),
    "velocity": velocity_integrand,
    "score": score_integrand,
    "eta": lambda value, point, _: eta_integrand(value, point),
}


def _points(path: Path, source: Tensor | None, data: Tensor, generator: torch.Generator, mask: Tensor | None, how: Matching) -> list[Point]:
    """One point a sample, or the two of an antithetic pair."""
    t = how.times.times(len(data), generator).to(data.device)
    clean = _shown(data, mask, how.axes, "data")
    if source is None:
        if not path.gaussian_source:
            raise ValueError(f"{type(path).__name__} starts from data; pass source, one partner for every sample")
        first = noise_of(path, data, generator, mask, how.axes)
    else:
        first = _shown(source, mask, how.axes, "source")
    if isinstance(path, GaussianPath) or not bool((path.coefficients(t).c > 0).any()):
        return [path.at(t, first, clean)]
    z = noise_of(path, data, generator, mask, how.axes)
    return [path.at(t, first, clean, s * z) for s in ((1, -1) if how.antithetic else (1,))]


def _called(net: Callable[..., Tensor], point: Point, mask: Tensor | None, condition: Mapping[str, Any] | None) -> Tensor:
    given = {**({} if mask is None else {"mask": mask}), **(condition or {})}
    return net(point.x, point.t.to(point.x.dtype), **given)


def _mean(points: list[Point], loss: Callable[[Point], Tensor], mask: Tensor | None, how: Matching) -> Loss:
    total = torch.stack([loss(p) for p in points]).mean(0)
    if how.weight is not None:
        total = total * how.weight(points[0].t).to(total).reshape(-1, *[1] * (total.ndim - 1))
    return _observed(total, mask)


def _observed(value: Tensor, mask: Tensor | None) -> Loss:
    there = spread_mask(mask, value)
    return torch.where(there, value, torch.zeros_like(value)).sum(), there.sum()


def _shown(x: Tensor, mask: Tensor | None, axes: Sequence[int] | None, name: str) -> Tensor:
    there = spread_mask(mask, x)
    bad = ~torch.isfinite(x) & there
    if bool(bad.any()):
        row = int(bad.flatten(1).any(1).nonzero()[0])
        raise ValueError(f"{name} is not finite in {int(bad.sum())} observed places, first in row {row}; mask or drop them")
    return torch.where(there, x, torch.zeros_like(x)) if axes is None else centred(x, mask, axes)
