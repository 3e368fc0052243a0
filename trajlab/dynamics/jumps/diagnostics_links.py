"""Which rates the data can tell: expected jumps, exposure and information of every link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from trajlab.dynamics.jumps.diagnostics_looks import numbers, single
from trajlab.dynamics.jumps.elimination import off_diagonal
from trajlab.dynamics.jumps.information import fisher_information
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts

__all__ = ["Identifiability", "identifiability"]

FEW = 3.0  #: exposure times rate below which a missing link is no surprise (5 %)


@dataclass(frozen=True, eq=False)
class Identifiability:
    """What is known of each rate.

    Attributes:
        jumps: expected number of jumps given the data, ``[state state]``.
        exposure: expected time in each state given the data, ``[state]``.
        standard_error: of the logarithm of each rate, from the inverse of the expected Fisher information of all rates together; infinite where
            there is no link or no information, ``[state state]``.
        identifiable: links whose 95 % interval spans less than a factor of 50, standard error below 1, ``[state state]``.
        upper: rate that is excluded at 95 % where a link was not seen, ``3 / exposure``, else the upper end of the interval, ``[state state]``.
        unknown: links that are not identifiable: start, stop, and why.
        warning: whether there is such a link with at least half a jump expected, or a state without exposure.
        sentence: the same in words.
    """

    jumps: Float[np.ndarray, "state state"]
    exposure: Float[np.ndarray, "state"]
    standard_error: Float[np.ndarray, "state state"]
    identifiable: Bool[np.ndarray, "state state"]
    upper: Float[np.ndarray, "state state"]
    unknown: tuple[tuple[int, int, str], ...]
    warning: bool
    sentence: str

    def table(self) -> list[dict[str, float | int | bool]]:
        """One row a link with a rate: ``start, stop, jumps, exposure, standard_error, identifiable``."""
        return [{"start": int(i), "stop": int(j), "jumps": float(self.jumps[i, j]), "exposure": float(self.exposure[i]),
                 "standard_error": float(self.standard_error[i, j]), "identifiable": bool(self.identifiable[i, j])}
                for i, j in np.argwhere(np.isfinite(self.standard_error) | (self.jumps > 0))]


def identifiability(q: Float[np.ndarray, "state state"], counts: PairCounts | Sequence[PairCounts]) -> Identifiability:
    """Judge every link of a fitted generator by the data it was fitted to.

    Args:
        q: rates; links with rate 0 are taken as absent.
        counts: pairs of looks (`pair_counts.pair_counts`), or of several groups that share the rates.

    Raises:
        ValueError: generator and counts differ in their states, or there are no counts.
    """
    q = single(q)
    groups = [counts] if isinstance(counts, PairCounts) else list(counts)
    if not groups or any(c.n_states != len(q) for c in groups):
        raise ValueError(f"counts of {[c.n_states for c in groups]} states came for a generator of {len(q)} states; as many were wanted")
    found = [evaluate(q, c) for c in groups]
    jumps, exposure = np.sum([f.jumps for f in found], 0), np.sum([f.time for f in found], 0)
    links = np.argwhere(off_diagonal(q) > 0)
    parts = [fisher_information(q, c, links) for c in groups]
    error = np.full(q.shape, np.inf)
    if len(links):
        error[tuple(links.T)] = _standard_errors(None if any(p is None for p in parts) else np.sum(parts, 0), jumps[tuple(links.T)])
    total = exposure.sum()
    known = error < 1.0
    bound = np.where(exposure > 1e-9 * total, FEW / np.maximum(exposure, 1e-9 * total), np.inf)[:, None] * np.ones_like(q)
    with np.errstate(over="ignore", divide="ignore"):
        upper = off_diagonal(np.where(known, q * np.exp(1.96 * np.where(known, error, 0.0)), np.maximum(bound, q)))
    unknown = tuple((int(i), int(j), _why(jumps[i, j], exposure[i] / total)) for i, j in links if not known[i, j])
    ends = (off_diagonal(q) <= 0).all(1) & (jumps.sum(0) >= 0.5)  # entered and not left: there is nothing to know
    blind = [int(i) for i in np.flatnonzero((exposure <= 1e-9 * total) & ~ends)]
    doubtful = [(i, j) for i, j, _ in unknown if jumps[i, j] >= 0.5]
    return Identifiability(jumps, exposure, error, known, upper, unknown, bool(doubtful or blind), _said(links, unknown, doubtful, blind))


def _standard_errors(information: np.ndarray | None, jumps: np.ndarray) -> np.ndarray:
    """Square roots of the diagonal of the inverse; infinite in directions without information."""
    if information is None:  # too large a sum: as if all jumps had been seen, a lower bound
        return 1.0 / np.sqrt(np.maximum(jumps, 1e-300))
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    with np.errstate(over="ignore"):
        variance = (vectors**2 / np.maximum(values, 1e-12)).sum(1) / scale**2
    error = np.sqrt(variance)
    return np.where(error > 1e3, np.inf, error)


def _why(jumps: float, share: float) -> str:
    if share <= 1e-9:
        return "the state it starts from was never seen"
    if jumps < 0.5:
        return f"no jump is expected in these data ({jumps:.2g}), so that there is an upper bound only"
    if jumps < 4:
        return f"only {jumps:.2g} jumps are expected in these data"
    return f"{jumps:.2g} jumps are expected, but between looks they cannot be told from other ways"


def _said(links: np.ndarray, unknown: tuple, doubtful: list, blind: list[int]) -> str:
    if not unknown and not blind:
        return f"All {len(links)} rates are identifiable (standard errors of their logarithms below 1)."
    words = []
    if blind:
        words.append(f"Nothing is known of rates from state{'s' * (len(blind) > 1)} {numbers(blind)}, never seen.")
    if unknown:
        named = numbers([f"{i} to {j}" for i, j, _ in unknown])
        words.append(f"{len(unknown)} of {len(links)} rates are not identifiable: {named}.")
        if not doubtful:
            words.append("None of these jumps is expected in the data; the rates are near 0 or upper bounds.")
    return " ".join(words)
