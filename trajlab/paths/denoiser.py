"""A denoiser: net + path + what the net predicts + preconditioning. Solvers, guidance and diagnostics take denoisers and never nets."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import KINDS, Prediction


@runtime_checkable
class Denoises(Protocol):
    """Whatever predicts on a Gaussian path: a `Denoiser`, an exact one, a guided one."""

    path: GaussianPath

    def __call__(self, x: Tensor, level: Level, **condition: Any) -> Prediction: ...


@dataclass(frozen=True)
class Edm:
    """Preconditioning by Karras et al. 2022, for every alpha and sigma: with y = x / alpha, rho = sigma / alpha,

        x0 = c_skip y + c_out F(c_in y),  c_skip = s^2/(rho^2+s^2),  c_out = rho s/sqrt(rho^2+s^2),  c_in = 1/sqrt(rho^2+s^2)

    Attributes:
        sigma_data: s, the standard deviation of the data. Standardised trajectories have 1 (images have 0.5).
    """

    sigma_data: float = 1.0

    def weights(self, level: Level) -> tuple[Any, Any, Any]:
        """Weights of x in the net's input, of x in x0, and of the net's output in x0; finite at alpha = 0 too."""
        s = self.sigma_data
        total = level.sigma**2 + (s * level.alpha) ** 2
        root = total**0.5
        return 1 / root, level.alpha * s**2 / total, level.sigma * s / root


#: What the net is told about the level, one number a sample.
CLOCKS: dict[str, Callable[[Level], Any]] = {
    "t": lambda k: k.t,
    "lam": lambda k: k.lam,
    "sigma": lambda k: k.sigma,
    "quarter_log_rho": lambda k: -k.lam / 4,
}


class Denoiser:
    """``net(x, clock, **condition)`` on a Gaussian path.

    Args:
        net: called with x ``[batch ...]``, the clock ``[batch]`` and the condition; its output has the shape of x. It is given ``mask=`` if
            it takes such an argument.
        path: the path that it was trained on.
        kind: what its output is: ``x0``, ``eps``, ``v``, ``score`` or ``velocity``.
        precondition: an `Edm`; then the output is its F, and ``kind`` stays ``x0``.
        clock: what the net is told about the level: ``t``, ``lam``, ``sigma``, or ``quarter_log_rho`` (ln(sigma/alpha)/4, as EDM does).
        dtype: what the net computes in, where that is not the dtype of the state.

    Raises:
        ValueError: an unknown kind or clock, or preconditioning with another kind than x0.
    """

    def __init__(self, net: Callable[..., Tensor], path: GaussianPath, kind: str = "x0", precondition: Edm | None = None, clock: str = "t",
                 dtype: torch.dtype | None = None) -> None:
        if kind not in KINDS:
            raise ValueError(unknown("kind of prediction", kind, KINDS))
        if clock not in CLOCKS:
            raise ValueError(unknown("clock", clock, CLOCKS))
        if precondition is not None and kind != "x0":
            raise ValueError(f"a preconditioned net predicts x0, and kind={kind!r} came; leave kind out, or precondition")
        self.net, self.path, self.kind, self.precondition, self.clock, self.dtype = net, path, kind, precondition, clock, dtype
        self.condition: dict[str, Any] = {}
        self._takes_mask = _takes(net, "mask")

    def given(self, **condition: Any) -> Denoiser:
        """The same denoiser under a condition (tensors with the batch first, handed to the net by name)."""
        other = Denoiser(self.net, self.path, self.kind, self.precondition, self.clock, self.dtype)
        other.condition = {**self.condition, **condition}
        return other

    def __call__(self, x: Tensor, level: Level, **condition: Any) -> Prediction:
        """The prediction at a state ``[batch ...]`` and level. Condition given here comes on top of what `given` fixed."""
        if not self._takes_mask:
            condition.pop("mask", None)
        if self.condition:
            condition = {**self.condition, **condition}
        told, own = CLOCKS[self.clock](level), x.dtype
        dtype = self.dtype or own
        clock = x.new_full((len(x),), told, dtype=dtype) if isinstance(told, float) else told.reshape(-1).to(dtype)
        edm = self.precondition
        inside = x if edm is None else x * edm.weights(level)[0]
        raw = self.net(inside if dtype is own else inside.to(dtype), clock, **condition)
        if raw.dtype is not own:
            raw = raw.to(own)
        return Prediction(x, level, self.kind, raw) if edm is None else Prediction.read(x, level, edm, raw)


def _takes(net: Callable[..., Any], name: str) -> bool:
    """Whether a net can be called with an argument of this name."""
    try:
        found = inspect.signature(net.forward if isinstance(net, torch.nn.Module) else net).parameters
    except (TypeError, ValueError):
        return False
    return name in found or any(p.kind is p.VAR_KEYWORD for p in found.values())


def level_range(path: GaussianPath, widest: float = 7.0) -> tuple[float, float]:
    """The log-SNR between which a path is solved: its ends, but not beyond +-``widest`` (sigma/alpha = 1e-3 at the data end)."""
    first, last = path.ends
    return max(first, -widest) if not math.isnan(first) else -widest, min(last, widest)
