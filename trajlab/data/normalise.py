"""Means and root mean squares over what was observed, of all nodes or of each kind, applied and undone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Scale", "fit_scale"]


@dataclass(frozen=True, eq=False)
class Scale:
    """An affine map a kind, ``(value - mean) / rms``, and its inverse.

    Attributes:
        mean: ``[kind dim]``, or ``[1 dim]`` for all kinds; ``dim`` is 1 where the components share one number.
        rms: as ``mean``; a value that never varies has 1 here, so that it stays finite.
        kinds: the kind of each row; empty where all kinds share one.
    """

    mean: Float[Tensor, "row dim"]
    rms: Float[Tensor, "row dim"]
    kinds: tuple[int, ...] = ()

    def apply(self, value: Float[Tensor, "node ... dim"], kind: Int[Tensor, "node"] | None = None) -> Float[Tensor, "node ... dim"]:
        """Normalised values; a ValueError names a kind that was not there when the scale was fitted."""
        mean, rms = self._rows(value, kind)
        return (value - mean) / rms

    def invert(self, value: Float[Tensor, "node ... dim"], kind: Int[Tensor, "node"] | None = None) -> Float[Tensor, "node ... dim"]:
        """The values that `apply` normalised."""
        mean, rms = self._rows(value, kind)
        return value * rms + mean

    def _rows(self, value: Tensor, kind: Tensor | None) -> tuple[Tensor, Tensor]:
        row = torch.zeros(len(value), dtype=torch.long, device=value.device)
        if self.kinds:
            if kind is None:
                raise ValueError(f"this scale was fitted for each of the kinds {self.kinds}; pass the kind of every node")
            row = _row_of(kind, self.kinds)
        shape = (len(value), *[1] * (value.ndim - 2), -1)
        return self.mean.to(value)[row].reshape(shape), self.rms.to(value)[row].reshape(shape)


def fit_scale(
    value: Float[Tensor, "node time dim"], mask: Bool[Tensor, "node time"] | None = None, kind: Int[Tensor, "node"] | None = None, *,
    centre: bool = True, componentwise: bool = True,
) -> Scale:
    """The scale of observed values.

    Args:
        value: ``[node time dim]``.
        mask: True where observed, ``[node time]``; all by default.
        kind: fit one row a kind instead of one for all.
        centre: subtract the mean; without it ``mean`` is 0 and ``rms`` the root mean square itself (displacements, velocities).
        componentwise: one number a component; without it one for all, which keeps vectors' directions.

    Raises:
        ValueError: nothing was observed.
    """
    mask = torch.ones(value.shape[:2], dtype=torch.bool, device=value.device) if mask is None else mask
    if not bool(mask.any()):
        raise ValueError("nothing was observed, so there is nothing to normalise by")
    kinds = () if kind is None else tuple(int(k) for k in kind[mask.any(1)].unique())
    row = torch.zeros_like(mask[:, 0], dtype=torch.long) if kind is None else _row_of(torch.where(mask.any(1), kind, kinds[0]), kinds)
    seen = torch.where(mask[..., None], value, 0).double()
    count = _rows_sum(mask.double().sum(1, keepdim=True), row, kinds)
    mean = _rows_sum(seen.sum(1), row, kinds) / count if centre else value.new_zeros(max(1, len(kinds)), value.shape[2], dtype=torch.float64)
    if centre and not componentwise:
        mean = mean.mean(1, keepdim=True)
    deviation = torch.where(mask[..., None], value.double() - mean[row][:, None], 0)
    square = _rows_sum(deviation.square().sum(1), row, kinds) / count
    rms = (square if componentwise else square.mean(1, keepdim=True)).sqrt()
    if not componentwise and not centre:
        mean = mean[:, :1]
    return Scale(mean, torch.where(rms > 0, rms, 1.0), kinds)


def _rows_sum(value: Tensor, row: Tensor, kinds: tuple[int, ...]) -> Tensor:
    return value.new_zeros(max(1, len(kinds)), value.shape[1]).index_add_(0, row, value)


def _row_of(kind: Tensor, kinds: tuple[int, ...]) -> Tensor:
    known = torch.tensor(kinds, device=kind.device)
    row = torch.searchsorted(known, kind).clamp_max(len(kinds) - 1)
    if bool((known[row] != kind).any()):
        strange = sorted(set(kind[known[row] != kind].tolist()))
        raise ValueError(f"kinds {strange} were not there when the scale was fitted, only {list(kinds)}; fit on data that has them")
    return row
