"""From unconstrained parameters to generators, and back for gradients: what all log-linear models of rates share.

``log q_l(z) = offset_l + sum_b B_lb x_b + sum_e E_le z_c(e) x_e`` for each allowed link l, where z are covariates measured from their reference.
Free rates, rates that are held equal, fixed rates, effects of covariates and rates in detailed balance differ in B and E alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.linalg import lsmr

from trajlab.dynamics.jumps.generator import from_rates

__all__ = ["LogRates", "Parametrisation", "allowed_links", "link_name", "log_rates"]

EFFECT_RANGE = 7.0  #: a covariate changes a rate by at most exp of this, at one standard deviation from its reference


@runtime_checkable
class Parametrisation(Protocol):
    """What a `Problem` needs of a model of rates; ``z`` are covariates less their reference, ``[group covariate]``."""

    n_states: int
    names: tuple[str, ...]
    covariates: tuple[str, ...]

    def generators(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """One generator a group, ``[group state state]``."""
        ...

    def pull_back(self, x: np.ndarray, z: np.ndarray, by_rate: np.ndarray) -> np.ndarray:
        """Derivative by x, ``[parameter]``, from derivatives by each off-diagonal rate, ``[group state state]``."""
        ...

    def start_from(self, q: np.ndarray) -> np.ndarray:
        """The x whose generator at the reference comes close to q."""
        ...

    def box(self, low: float, high: float, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of x where rates are within ``low .. high`` and covariates have the standard deviations ``spread``."""
        ...

    def scale(self, spread: np.ndarray) -> np.ndarray:
        """A natural step of each parameter, ``[parameter]``."""
        ...

    def free_links(self) -> np.ndarray:
        """The links whose rates can vary, so that a prior says something of them, ``[state state]``."""
        ...


@dataclass(frozen=True)
class LogRates:
    """Rates whose logarithms are linear in the parameters; made by `log_rates` or `reversible.reversible_rates`.

    Attributes:
        n_states: number of states.
        names: of the parameters, for people.
        links: the links, ``[link 2]``.
        offset: ``[link]``.
        by_base: B, sparse, ``[link base]``.
        by_effect: E, sparse, ``[link effect]``.
        of: which covariate an effect belongs to, ``[effect]``.
        covariates: names of the covariates.
        free: whether the rate of a link can vary, ``[link]``.
        kind: what each base parameter is, ``"rate"`` (a log-rate) or ``"ratio"`` (the logarithm of a number without unit), ``[base]``.
    """

    n_states: int
    names: tuple[str, ...]
    links: Int[np.ndarray, "link 2"]
    offset: Float[np.ndarray, "link"]
    by_base: csr_array
    by_effect: csr_array
    of: Int[np.ndarray, "effect"]
    covariates: tuple[str, ...] = ()
    free: Bool[np.ndarray, "link"] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    kind: tuple[str, ...] = ()

    @property
    def _at(self) -> tuple[np.ndarray, np.ndarray]:
        return self.links[:, 0], self.links[:, 1]

    @property
    def base(self) -> Float[np.ndarray, "link base"]:
        """B as a dense array, which is large for many states."""
        return self.by_base.toarray()

    @property
    def effect(self) -> Float[np.ndarray, "link effect"]:
        """E as a dense array."""
        return self.by_effect.toarray()

    def log_rates(self, x: Float[np.ndarray, "parameter"], z: Float[np.ndarray, "group covariate"]) -> Float[np.ndarray, "group link"]:
        """Logarithms of the rates of all links."""
        n = self.by_base.shape[1]
        here = self.offset + self.by_base @ x[:n]
        return here + (self.by_effect @ (z[:, self.of] * x[n:]).T).T

    def generators(self, x: Float[np.ndarray, "parameter"], z: Float[np.ndarray, "group covariate"]) -> Float[np.ndarray, "group state state"]:
        rates = np.zeros((len(z), self.n_states, self.n_states))
        rates[:, *self._at] = np.exp(self.log_rates(x, z))
        return from_rates(rates)

    def pull_back(self, x: Float[np.ndarray, "parameter"], z: Float[np.ndarray, "group covariate"],
                  by_rate: Float[np.ndarray, "group state state"]) -> Float[np.ndarray, "parameter"]:
        by_log = by_rate[:, *self._at] * np.exp(self.log_rates(x, z))
        return np.concatenate([self.by_base.T @ by_log.sum(0), ((self.by_effect.T @ by_log.T).T * z[:, self.of]).sum(0)])

    def start_from(self, q: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "parameter"]:
        """Least squares of log-rates, effects of covariates zero; rates of zero count as a millionth of the mean rate."""
        rates = q[self._at]
        floor = 1e-6 * max(rates.mean() if len(rates) else 0.0, 1e-300)
        wanted = np.log(np.maximum(rates, floor)) - self.offset
        found = lsmr(self.by_base, wanted, atol=1e-13, btol=1e-13)[0] if self.by_base.shape[1] else np.zeros(0)
        return np.concatenate([found, np.zeros(self.by_effect.shape[1])])

    def box(self, low: float, high: float, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ratio = np.log(1e6)
        lows = [np.log(low) if k == "rate" else -ratio for k in self.kind]
        highs = [np.log(high) if k == "rate" else ratio for k in self.kind]
        reach = EFFECT_RANGE / spread[self.of]
        return np.concatenate([lows, -reach]), np.concatenate([highs, reach])

    def scale(self, spread: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ones(self.by_base.shape[1]), 1.0 / spread[self.of]])

    def free_links(self) -> Bool[np.ndarray, "state state"]:
        out = np.zeros((self.n_states, self.n_states), dtype=bool)
        out[self._at] = self.free
        return out


def link_name(link: Any, states: Sequence[str], arrow: str = "->") -> str:
    return f"{states[link[0]]}{arrow}{states[link[1]]}"


def state_names(n_states: int, names: Sequence[str]) -> list[str]:
    """The names of states, or their numbers.

    Raises:
        ValueError: another number of names than of states.
    """
    if names and len(names) != n_states:
        raise ValueError(f"{len(names)} names were given for {n_states} states; give one each, or none")
    return list(names) or [str(i) for i in range(n_states)]


def allowed_links(n_states: int, mask: Any = None) -> Bool[np.ndarray, "state state"]:
    """The links that may have a rate: where ``mask`` is neither zero nor False, off the diagonal; all, where it is None.

    Raises:
        ValueError: the mask has another shape, or allows nothing.
    """
    if mask is None:
        return ~np.eye(n_states, dtype=bool)
    mask = np.asarray(mask)
    if mask.shape != (n_states, n_states):
        raise ValueError(f"the mask of links has shape {mask.shape}; ({n_states}, {n_states}) was wanted, true where a jump may happen")
    mask = (mask != 0) & ~np.eye(n_states, dtype=bool)
    if not mask.any():
        raise ValueError("the mask of links allows no jump at all; set at least one entry off its diagonal")
    return mask


def log_rates(n_states: int, mask: Any = None, tied: Sequence[Sequence[tuple[int, int]]] = (), fixed: Mapping[tuple[int, int], float] | None = None,
              effects: Mapping[str, Any] | None = None, names: Sequence[str] = ()) -> LogRates:
    """Free log-rates on the allowed links.

    Args:
        n_states: number of states.
        mask: where a jump may happen, ``[state state]``; everywhere, where it is None.
        tied: groups of links that share one rate.
        fixed: rates that are known.
        effects: covariates that rates depend on, ``log q_ij(z) = log q_ij + beta_ij (z - mean z)``: for each the value None (an effect on each link
            that is not fixed, tied links sharing it), ``"shared"`` (one effect on all of them), or groups of links that share one effect, the rest
            having none.
        names: of the states.

    Raises:
        ValueError: a link is not allowed, in two groups, or both tied and fixed; a fixed rate is negative or not finite; nothing is left to fit.
    """
    allowed = allowed_links(n_states, mask)
    fixed = dict(fixed or {})
    states = state_names(n_states, names)
    for link, rate in fixed.items():
        _known(link, n_states, "fixed")
        if not (np.isfinite(rate) and rate >= 0):
            raise ValueError(f"the fixed rate of {link_name(link, states)} is {rate}; a finite number of at least 0 was wanted")
        allowed[link] = rate > 0
    groups = _groups(tied, allowed, fixed, states)
    return _assemble(allowed, groups, {k: v for k, v in fixed.items() if v > 0}, dict(effects or {}), states)


def _known(link: Any, n_states: int, what: str) -> None:
    if len(link) != 2 or link[0] == link[1] or not all(0 <= int(s) < n_states for s in link):
        raise ValueError(f"{what} names the link {tuple(link)}; a pair of two different states of 0 .. {n_states - 1} was wanted")


def _groups(tied: Sequence, allowed: np.ndarray, taken: Mapping, states: Sequence[str], what: str = "tied", alone: bool = True) -> list[list]:
    """The groups of links with one parameter each; with `alone`, links in no group follow, each by itself, in the order of the matrix."""
    found: dict[tuple[int, int], int] = {}
    groups = []
    for group in tied:
        links = [(int(i), int(j)) for i, j in group]
        for link in links:
            _known(link, len(states), what)
            if not allowed[link]:
                raise ValueError(f"{what} names {link_name(link, states)}, which the mask does not allow; allow it, or leave it out")
            if link in found or link in taken:
                raise ValueError(f"{link_name(link, states)} is {'fixed' if link in taken else 'in two groups'}, and {what} names it; name it once")
            found[link] = len(groups)
        groups.append(links)
    if alone:
        groups += [[(int(i), int(j))] for i, j in np.argwhere(allowed) if (i, j) not in found and (i, j) not in taken]
    return sorted([g for g in groups if g], key=lambda g: g[0])


def _assemble(allowed: np.ndarray, groups: list, fixed: dict, effects: dict, states: Sequence[str]) -> LogRates:
    links = np.argwhere(allowed)
    row = {(int(i), int(j)): r for r, (i, j) in enumerate(links)}
    if not groups and not effects:
        raise ValueError("all rates are fixed, so there is nothing to fit; leave at least one free")
    offset, varies = np.zeros(len(links)), np.zeros(len(links), dtype=bool)
    for link, rate in fixed.items():
        offset[row[link]] = np.log(rate)
    for group in groups:
        varies[[row[k] for k in group]] = True
    chosen = [(c, group, label) for c, (name, how) in enumerate(effects.items())
              for group, label in _effect_groups(name, how, groups, allowed, states)]
    names = ["=".join(link_name(k, states) for k in g) for g in groups] + [label for _, _, label in chosen]
    of = np.array([c for c, _, _ in chosen], dtype=np.int64)
    return LogRates(len(states), tuple(names), links, offset, _columns(groups, row), _columns([g for _, g, _ in chosen], row), of, tuple(effects),
                    varies, ("rate",) * len(groups))


def _columns(groups: list, row: dict) -> csr_array:
    """A sparse matrix with a column for each group of links, one at its links, ``[link group]``."""
    rows = [row[k] for g in groups for k in g]
    columns = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(row), len(groups)))


def _effect_groups(covariate: str, how: Any, groups: list, allowed: np.ndarray, states: Sequence[str]) -> list:
    """Links that share an effect of one covariate, with the name of each effect."""
    if isinstance(how, str):
        if how != "shared":
            raise ValueError(f"the effects of {covariate} are {how!r}; None (one each), 'shared' or groups of links were wanted")
        return [([k for g in groups for k in g], f"beta_{covariate}")]
    chosen = groups if how is None else _groups(how, allowed, {}, states, f"the effect of {covariate}", alone=False)
    return [(g, f"beta_{covariate}({','.join(link_name(k, states) for k in g)})") for g in chosen]
