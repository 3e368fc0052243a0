"""Small suites on made-up series, so that tests of the benchmark neither integrate nor need a table of exponents."""

from __future__ import annotations

import zlib

import numpy as np

from trajlab.evaluate import chaos_data
from trajlab.evaluate.chaos_suite import ChaosSuite, Protocol

KNOWN = {"period": 1.0, "exponent": 0.9, "error": 0.01, "dimension": 2.06, "chaotic": True}
SEVEN = ("Lorenz", "Rossler", "Chen", "Halvorsen", "Thomas", "Aizawa", "Sakarya")


def suite(**changes) -> ChaosSuite:
    protocol = Protocol("A", "short", "period", 20, 60, 20, 60)
    values = {"protocols": {"A": protocol}, "systems": SEVEN, "forecasters": ("parrot", "persistence", "mean"), "noise": (0.0,), "starts": 2,
              "bar": ("mean",), "judged": "parrot"}
    return ChaosSuite(**{**values, **changes})


def waves(recipe) -> tuple[np.ndarray, float]:
    """Two incommensurate waves a channel, so that a parrot does well; other amplitudes and phases for each system and start."""
    p = recipe.protocol
    t = np.arange(p.context + p.free) / p.per_period
    rows = []
    for start in range(recipe.starts):
        rng = np.random.default_rng([zlib.crc32(recipe.system.encode()), start])
        a, phase = rng.uniform(0.5, 2, (2, 2)), rng.uniform(0, 6, (2, 2))
        rows.append(np.stack([a[k, 0] * np.sin(2 * np.pi * t + phase[k, 0]) + 0.2 * a[k, 1] * np.sin(2 * np.pi * 2**0.5 * t + phase[k, 1])
                              for k in range(2)], 1))
    return np.stack(rows), 1 / p.per_period


def stand_in(setattr_) -> None:
    """Replace integration and table; ``setattr_`` is that of monkeypatch, or the builtin."""
    setattr_(chaos_data, "known", lambda system: {**KNOWN, "exponent": 0.1 + SEVEN.index(system)} if system in SEVEN else KNOWN)
    setattr_(chaos_data, "_integrated", waves)
