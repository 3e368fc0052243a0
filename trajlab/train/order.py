"""Which samples each step sees, and the seeds of its random numbers: pure functions of the seed and the step.

Nothing about the order has to be stored, so a run that is resumed at any step goes on as if it had never stopped.
"""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Int
from torch import Tensor


def mixed(*words: int | str) -> int:
    """One seed below 2^63 from several words, unrelated for words that are close to each other."""
    digest = hashlib.blake2b(repr(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Order:
    """An endless stream of samples: one shuffled pass over the data after another, cut into batches of equal size.

    A batch may hold the end of one pass and the beginning of the next, so every batch is full and every sample comes equally often.

    Args:
        size: number of samples.
        batch: samples a batch; where there are fewer samples, all of them.
        seed: of the shuffles.
    """

    def __init__(self, size: int, batch: int, seed: int) -> None:
        self.size, self.batch, self.seed = size, min(batch, size), seed
        self._shuffles: dict[int, Tensor] = {}

    def shuffle(self, epoch: int) -> Int[Tensor, "sample"]:
        """The order of pass number ``epoch``."""
        if epoch not in self._shuffles:
            generator = torch.Generator().manual_seed(mixed("order", self.seed, epoch))
            self._shuffles = {k: v for k, v in self._shuffles.items() if k >= epoch - 1}
            self._shuffles[epoch] = torch.randperm(self.size, generator=generator)
        return self._shuffles[epoch]

    def indices(self, step: int) -> Int[Tensor, "batch"]:
        """The samples of step number ``step``, counted from 0."""
        first, parts, left = step * self.batch, [], self.batch
        while left:
            epoch, at = divmod(first, self.size)
            part = self.shuffle(epoch)[at : at + left]
            parts.append(part)
            first, left = first + len(part), left - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def share(self, step: int, rank: int, world: int) -> Int[Tensor, "part"]:
        """The part of a step's samples that process ``rank`` of ``world`` takes."""
        return self.indices(step).tensor_split(world)[rank]
