"""The three frameworks (DDPM, NCSN, SDE; and EDM) as Gaussian paths, from the numbers that each is published with; and nets of one on another.

Noise time of the literature is tau = 1 - t; the index n of a table grows with noise.

    DDPM (Ho et al. 2020)        x_n = sqrt(abar_n) x + sqrt(1 - abar_n) eps            score = -eps / sqrt(1 - abar)
    NCSN (Song & Ermon 2019)     x_n = x + sigma_n z, sigma geometric                   score = (D - x) / sigma^2
    SDE (Song et al. 2021)       dx = f x dtau + g dW: VP f = -beta/2, g^2 = beta; VE f = 0, g^2 = d sigma^2/dtau; sub-VP
    between them                 x_VE = x_VP / alpha at equal log-SNR: sigma_VE^2 = (1 - abar) / abar
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trajlab.catalog import unknown
from trajlab.paths.denoiser import Denoises
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import EDM, VE, SubVP, VPLinear, VPTable


def betas(kind: str = "linear", steps: int = 1000, first: float = 1e-4, last: float = 2e-2) -> tuple[float, ...]:
    """Noise rates of a DDPM: ``linear`` (Ho et al. 2020), ``scaled_linear`` (linear in the root; Rombach et al. 2022), both from ``first`` to
    ``last``, or ``cosine`` (Nichol & Dhariwal 2021).

    Raises:
        ValueError: an unknown kind, or fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"steps={steps}; a table wants at least two")
    if kind == "linear":
        return tuple(torch.linspace(first, last, steps, dtype=torch.float64).tolist())
    if kind == "scaled_linear":
        return tuple((torch.linspace(math.sqrt(first), math.sqrt(last), steps, dtype=torch.float64) ** 2).tolist())
    if kind == "cosine":
        edge = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        abar = torch.cos((edge + 0.008) / 1.008 * math.pi / 2) ** 2
        return tuple((1 - abar[1:] / abar[:-1]).clamp(max=0.999).tolist())
    raise ValueError(unknown("table of betas", kind, ("linear", "scaled_linear", "cosine")))


def ddpm(kind: str | Sequence[float] = "linear", steps: int = 1000, first: float = 1e-4, last: float = 2e-2) -> VPTable:
    """The path of a DDPM, from a kind of `betas` or from the betas themselves."""
    return VPTable(betas(kind, steps, first, last) if isinstance(kind, str) else tuple(float(b) for b in kind))


def ddpm_from_abar(abar: Sequence[float]) -> VPTable:
    """The path of a DDPM from its cumulative products abar_n, as checkpoints store them (``alphas_cumprod``).

    Raises:
        ValueError: they do not fall within (0, 1).
    """
    table = torch.as_tensor(abar, dtype=torch.float64)
    if table.ndim != 1 or len(table) < 2 or not bool((table.diff() < 0).all()) or not 0 < float(table[-1]) <= float(table[0]) < 1:
        raise ValueError("abar must fall strictly within (0, 1), n growing with noise; reverse it, or give the betas to ddpm()")
    return VPTable(tuple((1 - table / torch.cat([table.new_ones(1), table[:-1]])).tolist()))


@dataclass(frozen=True)
class SigmaTable(GaussianPath):
    """alpha = 1 and a table of noise levels ``sigmas[n]``, growing with n, continued by linear interpolation of log sigma (NCSN).

    Raises:
        ValueError: fewer than two, not positive, or not growing.
    """

    sigmas: tuple[float, ...] = field(default_factory=lambda: tuple(torch.logspace(-2, 0, 10, dtype=torch.float64).tolist()), repr=False)

    def __post_init__(self) -> None:
        table = torch.tensor(self.sigmas, dtype=torch.float64)
        if len(table) < 2 or not float(table.min()) > 0 or not bool((table.diff() > 0).all()):
            raise ValueError("a table of at least two positive sigmas that grow was wanted; sort them")
        object.__setattr__(self, "_log", table.log())

    def _cell(self, place: Tensor) -> tuple[Tensor, Tensor, int]:
        table = self._log.to(place.device)  # type: ignore[attr-defined]
        return table, place.floor().long().clamp(0, len(table) - 2), len(table) - 1

    def lam_of(self, t: Tensor) -> Tensor:
        table, low, last = self._cell((1 - t) * (len(self.sigmas) - 1))
        return -(table[low] + ((1 - t) * last - low) * (table[low + 1] - table[low]))

    def t_of(self, lam: Tensor) -> Tensor:
        table = self._log.to(lam.device)  # type: ignore[attr-defined]
        low = (torch.searchsorted(table, (-lam).contiguous(), right=True) - 1).clamp(0, len(table) - 2)
        return 1 - (low + (-lam - table[low]) / (table[low + 1] - table[low])) / (len(table) - 1)

    def scales(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(lam), torch.exp(-lam)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table, low, last = self._cell((1 - t) * (len(self.sigmas) - 1))
        return torch.zeros_like(t), -torch.exp(-self.lam_of(t)) * (table[low + 1] - table[low]) * last


def ncsn(sigmas: Sequence[float] | None = None, sigma_min: float = 0.01, sigma_max: float = 1.0) -> VE | SigmaTable:
    """The path of an NCSN: geometric between two noise levels, or through the levels that are given, in either order."""
    return VE(sigma_min, sigma_max) if sigmas is None else SigmaTable(tuple(sorted(float(s) for s in sigmas)))


def sde(kind: str = "vp", **numbers: float) -> GaussianPath:
    """The path of an SDE: ``vp`` and ``sub_vp`` (``b0``, ``b1``), ``ve`` (``sigma_min``, ``sigma_max``), ``edm`` (these and ``rho``).

    Raises:
        ValueError: an unknown kind, or what the path refuses.
        TypeError: a number that this path does not have.
    """
    known: dict[str, Callable[..., GaussianPath]] = {"vp": VPLinear, "sub_vp": SubVP, "ve": VE, "edm": EDM}
    if kind not in known:
        raise ValueError(unknown("SDE", kind, known))
    return known[kind](**numbers)


def drift_and_diffusion(level: Level) -> tuple[Any, Any]:
    """(f, g^2) of the forward SDE dx = f x dtau + g dW of any Gaussian path at a level: f = dlog alpha/dtau, g^2 = dsigma^2/dtau - 2 f sigma^2."""
    f = -level.dalpha / level.alpha
    return f, -2 * level.sigma * level.dsigma - 2 * f * level.sigma**2


class Reclocked(nn.Module):
    """A net that is told another clock than t: ``net(x, told(t), **condition)``.

    ``Reclocked(net, index(1000))`` is for nets trained with DDPM's integer n, on the path of `ddpm`.
    """

    def __init__(self, net: Callable[..., Tensor], told: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.told = net, told

    def forward(self, x: Tensor, t: Tensor, **condition: Any) -> Tensor:
        return self.net(x, self.told(t), **condition)


def index(steps: int, last: float | None = None) -> Callable[[Tensor], Tensor]:
    """Clock of a table of ``steps`` entries: n = (1 - t) (steps - 1), a real number; n runs to ``last`` instead where given (999 for SDE nets)."""
    if steps < 2:
        raise ValueError(f"steps={steps}; a table has at least two")
    top = float(steps - 1 if last is None else last)
    return lambda t: (1 - t) * top


class Converted:
    """A denoiser trained on one Gaussian path, used on another: x is rescaled to the same log-SNR, where clean sample and noise are the same.

        x' = (alpha'/alpha) x = (sigma'/sigma) x at equal lam;      x0 and eps carry over
    """

    def __init__(self, denoiser: Denoises, path: GaussianPath, strict: bool = True) -> None:
        self.inner, self.path, self.strict = denoiser, path, strict
        self._levels: dict[float, Level] = {}

    def given(self, **condition: Any) -> Converted:
        """The same denoiser under a condition, where the inner one takes conditions."""
        return Converted(self.inner.given(**condition), self.path, self.strict)  # type: ignore[attr-defined]

    def __call__(self, x: Tensor, level: Level, **condition: Any) -> Prediction:
        """The prediction at a state and a level of the new path."""
        there = self._level(level, x)
        if isinstance(level.lam, Tensor):
            scale = torch.where(level.lam > 0, there.alpha / level.alpha, there.sigma / level.sigma)
        else:
            # Of the two equal ratios, the one that is not 0/0 at its end.
            scale = there.alpha / level.alpha if level.lam > 0 else there.sigma / level.sigma
        found = self.inner(x * scale, there, **condition)
        kind = "eps" if found.kind in ("eps", "score") else "x0"
        return Prediction(x, level, kind, found.view(kind))

    def _level(self, level: Level, x: Tensor) -> Level:
        lam = level.lam
        if isinstance(lam, Tensor):
            self._check(float(lam.min()), float(lam.max()))
            return self.inner.path.level(lam.reshape(-1), like=x)
        if lam not in self._levels:
            self._check(lam, lam)
            if len(self._levels) > 1000:
                self._levels.clear()
            self._levels[lam] = self.inner.path.level(lam)
        return self._levels[lam]

    def _check(self, low: float, high: float) -> None:
        first, last = self.inner.path.ends
        slack = 1e-4  # levels of a batch may be in float32
        if self.strict and not first - slack <= low <= high <= last + slack:
            raise ValueError(f"the denoiser was trained at log-SNRs {first:.4g} to {last:.4g}, and was asked for {low if low < first else high:.4g}; "
                             "start and stop the grid within these, or convert(..., strict=False) to let it extrapolate")


def convert(denoiser: Denoises, to: GaussianPath, strict: bool = True) -> Converted:
    """A denoiser trained on one Gaussian path, for use on another (VE <-> VP, DDPM -> rectified flow, ...); nothing is trained.

    Args:
        denoiser: any, guided ones and exact ones too.
        to: the new path.
        strict: refuse levels that the denoiser's own path does not reach; False lets it extrapolate (exact denoisers can).

    Raises:
        TypeError: ``to`` is not a Gaussian path.
        ValueError: from the result, at a level beyond the denoiser's path.
    """
    if not isinstance(to, GaussianPath) or not isinstance(getattr(denoiser, "path", None), GaussianPath):
        raise TypeError(f"convert wants a denoiser on a Gaussian path and another such path; {type(denoiser).__name__} and {type(to).__name__} came")
    return Converted(denoiser, to, strict)
