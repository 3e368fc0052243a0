"""Estimators on one known process, over several simulated sets: errors of rates, slowest time, entropy production, level of wrong labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.fluxes import entropy_production
from trajlab.evaluate.bars import Bar
from trajlab.evaluate.jumps import Guess, Method, answered
from trajlab.evaluate.results import Table
from trajlab.metrics.jumps import path_kl, rate_rmse, relative_error
from trajlab.types import JumpPaths

__all__ = ["FIGURES", "KnownJumps", "figures", "judged", "known_table", "run_known", "slowest"]

FIGURES = ("seconds", "RMSE", "relative error", "path-KL", "slowest time", "entropy production", "level")


@dataclass(frozen=True)
class KnownJumps:
    """A known process and how it is looked at.

    Attributes:
        name: for the table.
        q: its generator, ``[state state]``.
        make: a seed in, paths out.
        seeds: one for each simulated set.
        noise: probability that a label is replaced.
    """

    name: str
    q: Float[np.ndarray, "state state"]
    make: Callable[[int], JumpPaths]
    seeds: Sequence[int]
    noise: float = 0.0


def slowest(q: Float[np.ndarray, "state state"]) -> float:
    """The longest relaxation time ``-1 / Re lambda``, ``lambda`` the eigenvalue next to zero; infinite where two classes do not meet."""
    real = np.sort(np.linalg.eigvals(q).real)[::-1]
    return float(-1 / real[1]) if real[1] < -1e-9 * abs(real[-1]) else float("inf")


def figures(case: KnownJumps, guess: Guess) -> dict[str, float]:
    """The figures of one answer; a failed one has infinite errors."""
    if guess.q is None:
        return dict.fromkeys(FIGURES, float("inf")) | {"seconds": guess.seconds, "level": float("nan")}
    q, h = case.q, guess.q
    level = float("nan") if guess.level is None else guess.level
    return {"seconds": guess.seconds, "RMSE": float(rate_rmse(q, h)), "relative error": float(relative_error(q, h)), "path-KL": float(path_kl(q, h)),
            "slowest time": slowest(h), "entropy production": float(entropy_production(h)), "level": level}


def run_known(case: KnownJumps, rows: Mapping[str, Method]) -> dict[str, dict[str, float]]:
    """Mean figures of every method over the sets, with ``failed``, the number of sets that it gave no answer to."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    failed = dict.fromkeys(rows, 0)
    for seed in case.seeds:
        paths = case.make(seed)
        for name, method in rows.items():
            guess = answered(method, paths)
            failed[name] += guess.q is None
            found[name].append(figures(case, guess))
    return {name: {f: float(np.mean([v[f] for v in each])) for f in FIGURES} | {"failed": float(failed[name])} for name, each in found.items()}


def known_table(case: KnownJumps, found: Mapping[str, Mapping[str, float]]) -> Table:
    """One row a method."""
    heads = ["method", "CPU s", "RMSE", "relative error", "path-KL", "slowest time", "entropy production", "level", "failed"]
    rows: list[list[Any]] = [[name, *(None if np.isnan(v[f]) else v[f] for f in FIGURES), int(v["failed"])] for name, v in found.items()]
    truth = f"True: slowest time {slowest(case.q):.4g}, entropy production {float(entropy_production(case.q)):.4g}, flips {case.noise:g}."
    sets = f"seed {case.seeds[0]}" if len(case.seeds) == 1 else f"means over {len(case.seeds)} sets, seeds {case.seeds[0]} to {case.seeds[-1]}"
    note = f"{truth} RMSE over all off-diagonal rates; relative error: median over true links; entropy production inf: a one-way link."
    return Table(f"{case.name}, {sets}", heads, rows, note)


def judged(found: Mapping[str, Mapping[str, float]], bars: Sequence[Mapping[str, Any]], where: str) -> list[str]:
    """Bars that are missed; each a record of a `Bar` with the ``method`` that it is for."""
    lost = []
    for record in bars:
        rest = {k: v for k, v in record.items() if k != "method"}
        bar, method = Bar.of(rest), record["method"]
        value = found.get(method, {}).get(bar.figure, float("nan"))
        if not bar.met(value):
            lost.append(f"{where}, {method}: {bar.figure} {value:.4g} where {bar.limit} was wanted")
    return lost
