"""Generators that the tests of jump processes share, written out by hand."""

from __future__ import annotations

import numpy as np

from trajlab.dynamics.jumps.generator import from_rates

#: alanine dipeptide in six states, 1/ns, as published with NeuralMJP (Seifner and Sanchez 2023)
ADP = from_rates(np.array([[0, 53, 0.19, 7.9, 0.06, 0.02], [47, 0, 0.05, 12, 0.04, 0.01], [0.28, 0.13, 0, 17, 0.02, 0.04],
                           [36, 26.9, 41, 0, 0.3, 0.01], [0.17, 0.2, 0.4, 0.2, 0, 3], [1.2, 1.8, 0.5, 0.7, 19, 0]]))
#: ion channel in three states, 1/s, from published mean first-passage times (Koehs et al. 2021)
ION = from_rates(np.array([[0, 18.7, 11.3], [24.0, 0, 45.5], [2.8, 10.1, 0]]))


def ratchet(v: float, r: float = 1.0, b: float = 1.0) -> np.ndarray:
    """The discrete flashing ratchet: states 0-2 with the potential (0, V, 2 V) on, 3-5 with it off."""
    q = np.zeros((6, 6))
    for i in range(3):
        q[i, i + 3] = q[i + 3, i] = r
        for j in range(3):
            if i != j:
                q[i, j], q[3 + i, 3 + j] = np.exp(-(j - i) * v / 2), b
    return from_rates(q)


def ring(n: int, forward: float, backward: float) -> np.ndarray:
    """A biased ring."""
    return from_rates(forward * np.roll(np.eye(n), 1, 1) + backward * np.roll(np.eye(n), -1, 1))


def chain(up: list[float], down: list[float]) -> np.ndarray:
    """A birth-death process with rates up from 0, 1, ... and down from 1, 2, ..."""
    return from_rates(np.diag(up, 1) + np.diag(down, -1))
