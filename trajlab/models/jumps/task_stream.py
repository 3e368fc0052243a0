"""Batches drawn on the fly for the training loop, the next ones in the background."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from torch import Tensor

from trajlab.train.order import Order

__all__ = ["Stream"]

AHEAD = 2  #: batches drawn before they are wanted


class Stream:
    """Batch k of a seed is always the same one, whatever was drawn before; subclasses say how it is drawn (`draw`).

    A "sample" of the training loop is a whole batch here, so that ``TrainConfig(batch=1)`` is wanted. One thread draws ahead while the loop computes;
    compiled simulation leaves the interpreter to the other.

    Args:
        steps: number of batches.
        seed: of the order of batches; that of the training.
        said: what the batches depend on, as plain values, so that a run is not resumed with other ones.
    """

    def __init__(self, steps: int, seed: int, said: Any) -> None:
        self.steps, self.seed = steps, seed
        self.order = Order(steps, 1, seed)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="tasks")
        self.ahead: dict[int, Future[list[Any]]] = {}
        self.fingerprint = hashlib.blake2b(json.dumps([said, steps, seed], sort_keys=True).encode(), digest_size=16).hexdigest()
        self._place: np.ndarray | None = None

    def __len__(self) -> int:
        return self.steps

    def draw(self, index: int) -> list[Any]:
        """Batch number ``index``."""
        raise NotImplementedError

    def batch(self, indices: Tensor) -> list[Any]:
        """The batches of these numbers, one after another."""
        found = []
        for index in indices.tolist():
            ready = self.ahead.pop(index, None)
            self._start(self._after(index))
            found += ready.result() if ready else self.draw(index)
        return found

    def _after(self, index: int) -> list[int]:
        """The batches that the training will want next."""
        if self._place is None:
            self._place = np.argsort(self.order.shuffle(0).numpy())
        step = int(self._place[index])
        return [int(self.order.shuffle(0)[s]) for s in range(step + 1, min(step + 1 + AHEAD, self.steps))]

    def _start(self, wanted: list[int]) -> None:
        for old in [k for k in self.ahead if k not in wanted]:
            self.ahead.pop(old).cancel()
        for index in wanted:
            if index not in self.ahead:
                self.ahead[index] = self.pool.submit(self.draw, index)
