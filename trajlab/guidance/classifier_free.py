"""Classifier-free guidance (Ho & Salimans 2022) and its residual form (Kodaira et al. 2023): denoisers in, a denoiser out.

    e = e_u + w (e_c - e_u)          w = 1 conditional, w = 0 unconditional, w > 1 beyond

The weights of e_c and e_u add up to one, so the same holds for every reading of a prediction, the clean sample among them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.guidance.masks import check_window, fits, inside
from trajlab.paths.bridge import spread
from trajlab.paths.denoiser import Denoiser, Denoises
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import Prediction


@dataclass(frozen=True, eq=False)
class ClassifierFree:
    """A guided denoiser; on the usual single net, ``ClassifierFree(denoiser.given(label=c), denoiser.given(label=none), weight=3.0)``.

    A run's ``nfe`` counts calls of this object. Each costs two rows of the net a sample: one call of 2n rows (``batched``), or two calls of n.
    Where w is the number 1 (or the level outside the window) only the conditional one is called, where it is 0 only the other.

    Attributes:
        conditional, unconditional: the two denoisers, on one path. The second may be another net (a weaker one: autoguidance).
        weight: w, a number, or one a sample ``[batch]``.
        window: log-SNR between which guidance acts; outside it w = 1 (Kynkaanniemi et al. 2024).
        batched: one call of 2n rows (True), two calls (False), or one where the two are the same net (None).

    Raises:
        ValueError: the two are on different paths, the window is no interval, or one call was asked for and the two are not one net.
    """

    conditional: Denoises
    unconditional: Denoises
    weight: float | Tensor
    window: tuple[float, float] = (-float("inf"), float("inf"))
    batched: bool | None = None

    def __post_init__(self) -> None:
        check_window(self.window)
        if self.conditional.path != self.unconditional.path:
            raise ValueError(f"the conditional denoiser is on {self.conditional.path} and the other on {self.unconditional.path}; "
                             "convert one so that both are on one path")
        if self.batched and not self._one_net:
            raise ValueError("one call of 2n rows needs two Denoisers of one net (denoiser.given(...) twice); use batched=False")

    @property
    def path(self) -> GaussianPath:
        """The path of both."""
        return self.conditional.path

    @property
    def _one_net(self) -> bool:
        a, b = self.conditional, self.unconditional
        if not (isinstance(a, Denoiser) and isinstance(b, Denoiser)):
            return False
        return a.net is b.net and all(getattr(a, name) == getattr(b, name) for name in ("kind", "precondition", "clock", "dtype"))

    def __call__(self, x: Tensor, level: Level, **condition: Any) -> Prediction:
        """The guided prediction; ``condition`` goes to both.

        Raises:
            ValueError: ``weight`` is not one a sample, or conditions cannot be put into one batch.
        """
        weight = self._weight(x, level)
        if isinstance(weight, float) and weight in (0.0, 1.0):
            return (self.conditional if weight else self.unconditional)(x, level, **condition)
        kind = getattr(self.conditional, "kind", "x0")
        one = self._one_net if self.batched is None else self.batched
        yes, no = self._one_call(x, level, kind, condition) if one else self._two_calls(x, level, kind, condition)
        return Prediction(x, level, kind, no + weight * (yes - no))

    def _weight(self, x: Tensor, level: Level) -> float | Tensor:
        weight, act = _weight(self.weight, x), inside(self.window, level.lam)
        if isinstance(act, Tensor):
            return weight if bool(act.all()) else torch.where(act.reshape(-1, *[1] * (x.ndim - 1)), weight, x.new_ones(()))
        return weight if act else 1.0

    def _two_calls(self, x: Tensor, level: Level, kind: str, condition: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self.conditional(x, level, **condition).view(kind), self.unconditional(x, level, **condition).view(kind)

    def _one_call(self, x: Tensor, level: Level, kind: str, condition: dict[str, Any]) -> tuple[Tensor, Tensor]:
        both = joined({**self.conditional.condition, **condition}, {**self.unconditional.condition, **condition}, len(x))  # type: ignore[attr-defined]
        yes, no = self.conditional(torch.cat([x, x]), _twice(level), **both).view(kind).split(len(x))
        return yes, no


@dataclass(frozen=True, eq=False)
class Residual:
    """Guidance against a fixed clean sample in place of the unconditional net (RCFG, Kodaira et al. 2023), at no further calls.

        e = delta e_r + w (e_c - delta e_r),    e_r = (x - alpha r) / sigma

    e_r is the noise that makes the state out of the reference r: the paper's stored residual, without a store. It follows a run by
    itself, because its recursion e_r <- eps + alpha' (D - r)/sigma' is the same statement at the next state x' = alpha' D + sigma' eps.
    w <= 1 switches it off.

    Attributes:
        conditional: the denoiser.
        weight: w, a number or one a sample.
        reference: r ``[batch ...]``; zero where None. It belongs to the rows of one run; a stream hands it to each call instead.
        delta: damping of the residual.
    """

    conditional: Denoises
    weight: float | Tensor
    reference: Tensor | None = None
    delta: float = 1.0

    @property
    def path(self) -> GaussianPath:
        """The path of the denoiser."""
        return self.conditional.path

    def __call__(self, x: Tensor, level: Level, *, reference: Tensor | None = None, **condition: Any) -> Prediction:
        """The guided prediction; ``reference`` comes before that of the object.

        Raises:
            ValueError: the reference or the weight does not fit the state.
        """
        found, weight = self.conditional(x, level, **condition), _weight(self.weight, x)
        weight = max(weight, 1.0) if isinstance(weight, float) else weight.clamp(min=1.0)
        if isinstance(weight, float) and weight == 1.0:
            return found
        anchor = self.reference if reference is None else reference
        if anchor is None:
            anchor = torch.zeros_like(x)
        fits("the reference", anchor, x)
        # D = [x - sigma e] / alpha, written out so that neither sigma = 0 nor (for delta = 1) alpha = 0 divides by zero.
        x0 = weight * found.x0 + (1 - weight) * self.delta * anchor.to(x)
        if self.delta != 1.0:
            x0 = x0 + (1 - weight) * (1 - self.delta) / level.alpha * x
        return Prediction(x, level, "x0", x0)


def residual(conditional: Denoises, unconditional: Denoises | None, start: Tensor, level: Level, weight: float | Tensor,
             mode: str = "self", reference: Tensor | None = None, delta: float = 1.0) -> Denoises:
    """The guided denoiser of one run. Calls in a run of n, with what is called here: n (self), n + 1 (initialize), 2n (full).

    Args:
        conditional: the denoiser under the condition.
        unconditional: under none; not needed for ``self``.
        start: ``[batch ...]``, the run's first state.
        level: the run's first node.
        weight: w, a number or one a sample; w <= 1 switches guidance off.
        mode: ``self``: the reference is ``reference`` (the clean input that the start was made of; zero for a start of noise);
            ``initialize``: what the unconditional denoiser predicts at the start, one call, made here; ``full``: classifier-free guidance.
        reference: for ``self``.
        delta: damping of the residual; not used by ``full``.

    Raises:
        ValueError: an unknown mode, or a mode that needs the unconditional denoiser came without.
    """
    if mode not in ("self", "initialize", "full"):
        raise ValueError(unknown("mode of residual guidance", mode, ("self", "initialize", "full")))
    if mode == "self":
        return Residual(conditional, weight, reference, delta)
    if unconditional is None:
        raise ValueError(f"mode={mode!r} calls the unconditional denoiser; pass it, or use mode='self'")
    if mode == "full":
        return ClassifierFree(conditional, unconditional, weight)
    return Residual(conditional, weight, unconditional(start, level).x0, delta)


def joined(first: dict[str, Any], second: dict[str, Any], batch: int) -> dict[str, Any]:
    """Two conditions as one of twice the rows.

    Raises:
        ValueError: they have different names, or a value is neither a tensor with the batch first nor the same in both.
    """
    if set(first) != set(second):
        raise ValueError(f"the two conditions name {sorted(first)} and {sorted(second)}; give both the same names, or use batched=False")
    out = {}
    for name, a in first.items():
        b = second[name]
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            out[name] = torch.cat([_rows(name, a, batch), _rows(name, b, batch)])
        elif a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b):
            out[name] = a
        else:
            raise ValueError(f"condition {name!r} differs between the two and is no tensor with the batch first; use batched=False")
    return out


def _rows(name: str, value: Tensor, batch: int) -> Tensor:
    if value.ndim and len(value) in (1, batch):
        return value.expand(batch, *value.shape[1:])
    raise ValueError(f"condition {name!r} has shape {tuple(value.shape)}; its first axis must be the batch of {batch}, or 1 (or use batched=False)")


def _twice(level: Level) -> Level:
    values = (getattr(level, f.name) for f in fields(level))
    return Level(*(torch.cat([w, w]) if isinstance(w, Tensor) and w.ndim else w for w in values))


def _weight(weight: float | Tensor, x: Tensor) -> float | Tensor:
    if not isinstance(weight, Tensor):
        return float(weight)
    if weight.ndim and weight.shape != x.shape[:1]:
        raise ValueError(f"weight has shape {tuple(weight.shape)}; a number or one a sample, shape ({len(x)},), was wanted")
    return spread(weight, x)
