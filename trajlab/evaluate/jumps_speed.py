"""Speed of jump processes: fits of many states, and simulated paths a second."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.compiled import OFF
from trajlab.dynamics.jumps.generator import from_rates, mean_jump_rate
from trajlab.dynamics.jumps.simulate import simulate
from trajlab.evaluate.jumps_known import KnownJumps

__all__ = ["Rate", "large", "simulated_rates", "without_compiler"]

METHODS = ("gillespie", "grid")
JUMPS, LOOKS = 21.0, 100  #: of a path whose simulation is timed


@dataclass(frozen=True)
class Rate:
    """Paths a second.

    Attributes:
        cpu: over CPU seconds of all threads; wall: over seconds that passed.
        paths: that were simulated for it.
    """

    cpu: float
    wall: float
    paths: int


def large(n_states: int, seed: int, n_paths: int = 300, looks: int = 100) -> KnownJumps:
    """A complete random process with exponential rates, looked at every half sojourn time."""
    r = np.random.default_rng(seed)
    q = from_rates(r.exponential(size=(n_states, n_states)))
    q /= mean_jump_rate(q)
    times = 0.5 * np.arange(looks)
    return KnownJumps(f"{n_states} states, {n_paths} paths x {looks} looks", q, lambda s: simulate(q, n_paths, times, seed=s), [seed])


def simulated_rates(counts: Mapping[str, int], seed: int) -> dict[str, Rate]:
    """Paths a second with the compiler, by Gillespie's algorithm and by transition matrices, and without one.

    Args:
        counts: paths to simulate ``with`` and ``without`` the compiler.
        seed: of process and paths.
    """
    q = _process(seed)
    times = np.linspace(0.0, JUMPS, LOOKS)
    found = {f"{method}, numba": _timed(q, counts["with"], times, method, seed) for method in METHODS}
    with without_compiler():
        return found | {f"{method}, numpy": _timed(q, counts["without"], times, method, seed) for method in METHODS}


def _process(seed: int) -> Float[np.ndarray, "state state"]:
    """Six states with one jump a unit of time."""
    q = from_rates(np.random.default_rng(seed).exponential(size=(6, 6)))
    return q / mean_jump_rate(q)


def _timed(q: np.ndarray, count: int, times: np.ndarray, method: str, seed: int) -> Rate:
    simulate(q, 50, times, method=method, seed=seed)  # compiles
    wall, cpu = time.perf_counter(), time.process_time()
    simulate(q, count, times, method=method, seed=seed + 1)
    return Rate(count / (time.process_time() - cpu), count / (time.perf_counter() - wall), count)


@contextmanager
def without_compiler() -> Iterator[None]:
    """As on a machine without numba."""
    before = os.environ.get(OFF)
    os.environ[OFF] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OFF]
        else:
            os.environ[OFF] = before
