"""What a fit needs of the data before it starts: which states and links there are, pairs of looks, and what a user should be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from trajlab.dynamics.jumps.pair_counts import PairCounts, pair_counts
from trajlab.models.jumps.markov_jump_config import MarkovJumpConfig
from trajlab.models.jumps.rate_prior import all_links
from trajlab.types import JumpPaths

__all__ = ["Prepared", "labelled", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """The data, looked through.

    Attributes:
        paths: as they came.
        counts: pairs of consecutive labels, one `PairCounts` for each value of the covariates; of hidden states a rough guide. Empty for signals.
        hidden: whether an observation that names no state tells something all the same: within a path, or since it rules some states out.
        signal: whether states are seen through a continuous signal.
        seen: states that a look names or may mean, or that are kept all the same, ``[state]``.
        links: jumps that are possible, ``[state state]``.
        absorbing: states that are never left, by wish or since they were entered at a known date and never left.
        warnings: sentences.
        dated: states that are entered at known dates and never left, so that no look or signal is of them.
        clash: whether two looks at one time see different states, so that one of them is wrong.
    """

    paths: JumpPaths
    counts: list[PairCounts]
    hidden: bool
    signal: bool
    seen: Bool[np.ndarray, "state"]
    links: Bool[np.ndarray, "state state"]
    absorbing: tuple[int, ...]
    warnings: tuple[str, ...]
    dated: tuple[int, ...] = ()
    clash: bool = False

    def name(self, state: int) -> str:
        return self.paths.names[state] if self.paths.names else str(state)


def prepare(paths: Any, config: MarkovJumpConfig) -> Prepared:
    """Look through the data.

    Raises:
        TypeError: not `JumpPaths`.
        ValueError: there are no observations, no path has two, fewer than two states are there, links and states that do not exist are named, or two
            looks at one time differ though no label may be wrong.
    """
    if not isinstance(paths, JumpPaths):
        raise TypeError(f"MarkovJump.infer got a {type(paths).__name__}; JumpPaths were wanted (tl.jumps_from_table makes them of a table)")
    if not len(paths.label):
        raise ValueError("there are no observations; at least one path with two looks was wanted")
    if paths.n_states < 2:
        raise ValueError(f"there is {paths.n_states} state; a process that jumps has at least two")
    label, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.path, paths.observed))
    signal = bool((kind == JumpPaths.SIGNAL).any())
    if not (path[1:] == path[:-1]).any():
        raise ValueError(f"each of the {paths.n_paths} paths has one observation, so nothing is known of rates; at least two of one path were wanted")
    clash = _clash(paths)
    if clash is not None and config.noise == "none":
        other = label[:clash][label[:clash] >= 0][-1]
        raise ValueError(f"two looks at one time see states {other} and {label[clash]} (observation {clash}); drop one, or allow for wrong labels "
                         "(noise='flip')")
    looks = labelled(paths)
    enough = len(looks.label) > 1 and bool((looks.path.diff() == 0).any())
    if not enough and not signal:
        raise ValueError(f"none of the {paths.n_paths} paths has two looks that name a state, so nothing is known of rates")
    counts = pair_counts(looks, config.covariates, config.most_lags) if enough else []
    seen = np.ones(paths.n_states, dtype=bool) if config.unseen == "keep" else _seen(paths, label, kind, signal)
    dated = _dated(label, path, kind)
    absorbing = _absorbing(paths, dated, config.absorbing)
    links = _links(paths.n_states, config, seen, absorbing)
    hidden = _between(label, path) or _rules_out(paths, kind)
    found = Prepared(paths, counts, hidden, signal, seen, links, absorbing, (), dated, clash is not None)
    return replace(found, warnings=tuple(_remarks(found, config)))


def labelled(paths: JumpPaths) -> JumpPaths:
    """The observations that name a state; of looks at one time that differ, the first."""
    keep = paths.label >= 0
    if _clash(paths) is not None:
        keep[torch.from_numpy(_again(paths)[0])] = False
    if bool(keep.all()):
        return paths
    _, path = torch.unique_consecutive(paths.path[keep], return_inverse=True)
    return JumpPaths(paths.label[keep], paths.time[keep], path, paths.n_states, paths.observed[keep], paths.units, paths.source,
                     covariates={k: v[keep] for k, v in paths.covariates.items()}, names=paths.names)


def _again(paths: JumpPaths) -> tuple[np.ndarray, np.ndarray]:
    """Looks at the time of the last observation that named a state, by their numbers, and whether that was another state."""
    label, time, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
    named = np.flatnonzero(label >= 0)
    at_once = (np.diff(path[named]) == 0) & (np.diff(time[named]) == 0) & (kind[named[1:]] == JumpPaths.PANEL)
    return named[1:][at_once], np.diff(label[named])[at_once] != 0


def _clash(paths: JumpPaths) -> int | None:
    """The first look at the time of one before that saw another state."""
    again, other = _again(paths)
    return int(again[other][0]) if other.any() else None


def _rules_out(paths: JumpPaths, kind: np.ndarray) -> bool:
    """Whether a censored look rules some states out."""
    return paths.allowed is not None and not np.asarray(paths.allowed.cpu())[kind == JumpPaths.CENSORED].all()


def _between(label: np.ndarray, path: np.ndarray) -> bool:
    """Whether an observation without a state has looks before and after it in its path."""
    named = np.flatnonzero(label >= 0)
    same = path[named[1:]] == path[named[:-1]]
    return bool((np.diff(named)[same] > 1).any())


def _seen(paths: JumpPaths, label: np.ndarray, kind: np.ndarray, signal: bool) -> np.ndarray:
    if signal:
        return np.ones(paths.n_states, dtype=bool)
    seen = np.zeros(paths.n_states, dtype=bool)
    seen[label[label >= 0]] = True
    if paths.allowed is not None and (kind == JumpPaths.CENSORED).any():
        sets = np.asarray(paths.allowed.cpu())[kind == JumpPaths.CENSORED]
        seen |= sets[~sets.all(1)].any(0)  # a look that allows every state tells of none
    return seen


def _dated(label: np.ndarray, path: np.ndarray, kind: np.ndarray) -> tuple[int, ...]:
    entered = np.unique(label[kind == JumpPaths.ENTRY])
    left = np.unique(label[:-1][(path[1:] == path[:-1]) & (label[1:] != label[:-1])])
    return tuple(int(s) for s in np.setdiff1d(entered, left))


def _absorbing(paths: JumpPaths, dated: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    for state in wanted:
        if not 0 <= state < paths.n_states:
            raise ValueError(f"absorbing names state {state}, but there are states 0 to {paths.n_states - 1}")
    return tuple(sorted({*wanted, *dated}))


def _links(n: int, config: MarkovJumpConfig, seen: np.ndarray, absorbing: Sequence[int]) -> np.ndarray:
    links = all_links(n)
    if config.links is not None:
        for pair in config.links:
            if len(pair) != 2 or pair[0] == pair[1] or not all(0 <= s < n for s in pair):
                raise ValueError(f"links names {pair}; a pair (from, to) of two different states of 0 .. {n - 1} was wanted")
        links = np.zeros((n, n), dtype=bool)
        links[tuple(np.array(config.links, dtype=np.int64).reshape(-1, 2).T)] = True
    links[list(absorbing)] = False
    links[~seen] = False
    links[:, ~seen] = False
    if not links.any():
        there = np.flatnonzero(seen).tolist()
        raise ValueError(f"no jump is possible between the states that were seen ({there}), so there is nothing to infer; "
                         "wanted looks at two states or more, at least one of them not absorbing")
    return links


def _remarks(data: Prepared, config: MarkovJumpConfig) -> list[str]:
    said = []
    name = data.name
    unseen = np.flatnonzero(~data.seen)
    if len(unseen):
        said.append(f"no look names {_states(unseen, name)}: nothing is known of rates from and to there, and they are given as zero")
    if not data.counts:
        return said
    if not sum(c.changes for c in data.counts):
        said.append("no look saw another state than the one before: rates are upper limits set by the prior and the time that was watched")
    exposure = sum(c.exposure for c in data.counts)
    blind = np.flatnonzero(data.seen & (exposure <= 0) & data.links.any(1))
    if len(blind) and not data.hidden:
        said.append(f"{_states(blind, name)} was never watched after it was entered: its rates are those of the prior; "
                    f"if it is not left, say absorbing={tuple(int(s) for s in blind)}")
    fresh = [s for s in data.absorbing if s not in config.absorbing]
    if fresh:
        said.append(f"{_states(fresh, name)} was entered at known dates and never left: taken as absorbing")
    return said


def _states(which: Sequence[int] | np.ndarray, name) -> str:
    return f"state{'s' if len(which) > 1 else ''} " + ", ".join(name(int(s)) for s in which)
