"""A random stream for every system of a batch, so that a batch of replicas gives the numbers that single runs give.

A system's numbers depend on its own generator and its own size alone, never on its batch mates. They are drawn in blocks of
`BLOCK` requests, because a generator call a system and step would cost more than the step. The state (generators as they were
before the present block, and the place in it) can be saved and restored to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles

BLOCK = 32  #: requests drawn at once


class Streams:
    """One generator a system. ``normal(p)`` hands out ``[node 3]`` standard normal numbers.

    Generators live on the CPU on every device, so that a run on another device sees the same noise.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = list(generators)
        self._before: list[Tensor] = []
        self._block: Tensor | None = None
        self._row = BLOCK

    @classmethod
    def seeded(cls, seed: int, n: int, first: int = 0) -> Self:
        """Streams ``first .. first+n-1`` of a seed: stream k is the same whether drawn alone or in a batch."""
        return cls([torch.Generator().manual_seed(_mix(seed, first + k)) for k in range(n)])

    def normal(self, p: Particles) -> Float[Tensor, "node 3"]:
        """The next numbers of every system.

        Raises:
            ValueError: the number of systems is not the number of streams, or a system changed its size.
        """
        if self._row >= BLOCK:
            self._fill(p.sizes.tolist(), p.v)
        block = self._block
        if block is None or block.shape[1] != len(p.v):
            raise ValueError(f"these streams were drawn for {0 if block is None else block.shape[1]} nodes, but {len(p.v)} came; "
                             "make new Streams for another batch, or keep(...) some of its systems")
        self._row += 1
        return block[self._row - 1]

    def keep(self, which: Tensor, nodes: Tensor) -> None:
        """Go on with some of the systems: ``which[scene]`` and ``nodes[node]`` are True for those that stay."""
        chosen = which.tolist()
        self.generators = [g for g, stays in zip(self.generators, chosen) if stays]
        self._before = [s for s, stays in zip(self._before, chosen) if stays]
        if self._block is not None:
            self._block = self._block[:, nodes]

    def state(self) -> dict[str, Any]:
        """Everything needed to go on to the same bits: generator states as tensors and the place in the block."""
        states = self._before if self._block is not None else [g.get_state() for g in self.generators]
        return {"generators": torch.stack(states), "row": self._row if self._block is not None else -1}

    def restore(self, state: Mapping[str, Any], p: Particles) -> None:
        """Take up a saved state for the systems ``p``."""
        for generator, saved in zip(self.generators, state["generators"]):
            generator.set_state(saved.clone())
        self._block, self._row = None, BLOCK
        if int(state["row"]) >= 0:
            self._fill(p.sizes.tolist(), p.v)
            self._row = int(state["row"])

    def _fill(self, sizes: list[int], like: Tensor) -> None:
        if len(sizes) != len(self.generators):
            raise ValueError(f"{len(sizes)} systems need {len(sizes)} streams, but there are {len(self.generators)}")
        self._before = [g.get_state() for g in self.generators]
        parts = [torch.randn(BLOCK, n, 3, generator=g, dtype=like.dtype) for n, g in zip(sizes, self.generators)]
        self._block, self._row = torch.cat(parts, 1).to(like.device), 0


def _mix(seed: int, stream: int) -> int:
    """A well-mixed seed, so that neighbouring seeds and streams share nothing."""
    low, high = numpy.random.SeedSequence([seed, stream]).generate_state(2)
    return int(low) | int(high) << 32 & 0x7FFFFFFFFFFFFFFF
