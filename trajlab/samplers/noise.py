"""Random numbers of which every row of a batch has its own, so that a sample does not depend on its batch mates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

#: Numbers held in memory at once, over all rows.
HELD = 1 << 22
MOST = 32  #: requests drawn at once


class RowNoise:
    """Standard normal numbers ``[batch ...]``; row k depends on the generator's state and on ``rows[k]`` alone.

    The generator is asked once, for a seed. Row 5 of a batch of eight is had alone with ``rows=[5]`` and a generator in the same state.
    Numbers are made on the CPU, so that another device sees the same, and in blocks, because a generator call a row and step is slow.

    Args:
        generator: where the seed comes from; None is an error as soon as a number is wanted, because nothing global is drawn from.
        rows: index of every row; 0, 1, 2, ... by default.
    """

    def __init__(self, generator: torch.Generator | None, rows: Sequence[int] | None = None) -> None:
        self._seed = None if generator is None else int(torch.randint(0, 2**62, (), generator=generator, device=generator.device))
        self._rows = None if rows is None else [int(r) for r in rows]
        self._generators: list[torch.Generator] = []
        self._block: Tensor | None = None
        self._next = 0

    def normal(self, like: Tensor) -> Tensor:
        """The next numbers, of the shape, dtype and device of ``like``.

        Raises:
            ValueError: there is no generator, or the batch is not that of the earlier calls.
        """
        if not self._generators:
            self._start(len(like))
        if len(self._generators) != len(like):
            raise ValueError(f"this noise was drawn for {len(self._generators)} rows, and {len(like)} came")
        block = self._block
        if block is None or self._next >= len(block) or block.shape[1:] != like.shape or block.dtype != like.dtype:
            block = self._fill(like)
        self._next += 1
        return block[self._next - 1].to(like.device)

    def _start(self, batch: int) -> None:
        if self._seed is None:
            raise ValueError("this sampler draws random numbers; pass generator=torch.Generator().manual_seed(...)")
        rows = self._rows if self._rows is not None else range(batch)
        seeds = (numpy.random.SeedSequence([self._seed, row]).generate_state(1, numpy.uint64)[0] for row in rows)
        self._generators = [torch.Generator().manual_seed(int(s) & 0x7FFFFFFFFFFFFFFF) for s in seeds]

    def _fill(self, like: Tensor) -> Tensor:
        # A row's numbers must not depend on how many rows share the block: the length of a block follows from the row's size alone.
        length = max(1, min(MOST, HELD // 256 // max(1, like[0].numel())))
        rows = [torch.randn(length, *like.shape[1:], generator=g, dtype=like.dtype) for g in self._generators]
        self._block, self._next = torch.stack(rows, 1), 0
        return self._block
