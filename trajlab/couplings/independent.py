"""The independent coupling: every source point with any data point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Independent:
    """Pairs as they come, or at random where a generator is given. On a source of fresh noise both are the same coupling.

    Between two stored populations whose rows are in some order (cells sorted by type, say) give a generator.
    """

    def __call__(self, source: Float[Tensor, "n *event"], data: Float[Tensor, "m *other"], *, generator: torch.Generator | None = None,
                 **_: Any) -> Int[Tensor, " n"]:
        """The index that pairs `source[k]` with `data[index[k]]`.

        Args:
            source, data: batches of the same size.
            generator: where the permutation is drawn from; rows stay where they are without one.

        Raises:
            ValueError: the batches differ in size.
        """
        same_size(source, data)
        if generator is None:
            return torch.arange(len(data), device=data.device)
        return torch.randperm(len(data), generator=generator, device=generator.device).to(data.device)


def same_size(source: Tensor, data: Tensor) -> None:
    """Refuse batches of which no permutation makes pairs."""
    if len(source) != len(data):
        raise ValueError(f"{len(source)} source points and {len(data)} samples came; a coupling is a permutation and wants as many of one as of the "
                         "other: draw the larger one down to the smaller without replacement")
