"""What the inference of a Markov jump process says, as an evaluation for the report: graph, rates with intervals, what follows from them, checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajlab.dynamics.jumps.cycles import fundamental_cycles
from trajlab.dynamics.jumps.fluxes import currents, entropy_production
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.observables import relaxation, sojourn_times, stationary_distribution
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.dynamics.jumps.smoothing import Intervals, smooth
from trajlab.evaluate.jumps_checks import replicates
from trajlab.evaluate.jumps_figures import jump_figures
from trajlab.evaluate.results import Evaluation, RateGraph, Table
from trajlab.models.jumps.fit import JumpFit
from trajlab.models.jumps.intervals import METHODS, Interval, generator_draws
from trajlab.models.jumps.prepare import labelled

__all__ = ["PageConfig", "jump_evaluation"]

MOST_MATRIX = 12  #: states up to which mean first-passage times are shown
MOST_ROWS = 60  #: links in the table of rates, the fastest
VAGUE = 15.0  #: a link is dotted in the graph where its interval spans more than this factor


@dataclass(frozen=True)
class PageConfig:
    """How the page is made.

    Attributes:
        level: of intervals.
        intervals: ``laplace``, ``profile``, ``bootstrap`` or ``posterior``; what follows from rates takes the Laplace approximation for ``profile``.
        draws: of generators, for intervals of what follows.
        replicates: sets of paths that are simulated for the bands of figures; 0 for no figures.
        diagnose: whether to run the diagnostics.
        seed: of all draws.

    Raises:
        ValueError: a level outside of 0 to 1, an unknown method, or a negative number.
    """

    level: float = 0.95
    intervals: str = "laplace"
    draws: int = 500
    replicates: int = 40
    diagnose: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        from trajlab.catalog import unknown

        if not 0 < self.level < 1:
            raise ValueError(f"level={self.level}; a share between 0 and 1 was wanted")
        if self.intervals not in METHODS:
            raise ValueError(unknown("method of intervals", self.intervals, METHODS))
        if self.draws < 2 or self.replicates < 0 or self.replicates == 1:
            raise ValueError(f"draws={self.draws} and replicates={self.replicates}; at least 2 of each were wanted (no replicates for no figures)")


class Found:
    """A fit with draws of its generator: everything that is shown comes from here."""

    def __init__(self, fit: JumpFit, config: PageConfig) -> None:
        self.fit, self.config, self.q = fit, config, fit.generator
        self.rates = {i.name: i for i in fit.intervals(config.level, config.intervals, config.seed, of="rates")}
        method = "laplace" if config.intervals == "profile" else config.intervals
        self.draws = generator_draws(fit, method, config.draws, config.seed)
        self.links = np.argwhere((self.q > 0) & fit.links)
        self.jumps, self.time = _given_data(fit)
        self.back = _hardly_back(self.q, self.jumps)

    @property
    def ends(self) -> bool:
        """Whether some state is never left, so that the stationary state is not what is seen."""
        return bool((np.diag(self.q) == 0)[self.fit.seen].any())

    @property
    def weight(self) -> np.ndarray:
        """Of the states: their stationary probability, or the time that was spent in them where some are never left."""
        return self.time / self.time.sum() if self.ends else stationary_distribution(self.q)

    def interval(self, function: Callable[[np.ndarray], Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Estimate and ends of the interval of what follows from generators."""
        with np.errstate(all="ignore"):
            values = np.asarray(function(self.draws), dtype=np.float64)
            estimate = np.asarray(np.asarray(function(self.q[None]), dtype=np.float64)[0])
            low, high = np.nanquantile(values, [(1 - self.config.level) / 2, (1 + self.config.level) / 2], axis=0, method="closest_observation")
        return estimate, np.asarray(low), np.asarray(high)

    def rate(self, i: int, j: int) -> Interval | None:
        return self.rates.get(f"{self.fit.names[i]}->{self.fit.names[j]}")

    @property
    def per(self) -> str:
        return "" if self.fit.time_unit == "1" else f", 1/{self.fit.time_unit}"

    @property
    def unit(self) -> str:
        return "" if self.fit.time_unit == "1" else f", {self.fit.time_unit}"


def jump_evaluation(fit: JumpFit, name: str = "paths", config: PageConfig | None = None) -> Evaluation:
    """All that the page shows.

    Args:
        fit: of `trajlab.MarkovJump`.
        name: of the data.
        config: how.
    """
    config = config or PageConfig()
    found = Found(fit, config)
    checks = list(fit.diagnose(config.seed)) if config.diagnose and fit.problem is not None else []
    tables = [_rates(found), _states(found), _relaxation(found), *_noise(fit), *_effects(found), *_passage(found), *_cycles(found), *_checks(checks)]
    panels = [] if not config.replicates else jump_figures(fit, replicates(fit, config.replicates, config.seed), found.weight)
    return Evaluation(f"Jump process of {name}", _summary(found, checks), tables, provenance=_provenance(fit, config),
                      graphs=[_graph(found)], panels=panels)


def _summary(found: Found, checks: Sequence[Any]) -> str:
    fit, paths = found.fit, found.fit.paths
    lines = [f"- {paths.n_paths} paths, {len(paths.label)} observations, {paths.n_states} states; {_how(fit)}"]
    if np.isfinite(fit.loglik):
        lines.append(f"- log-likelihood {fit.loglik:.6g}, {fit.iterations} iterations, {'converged' if fit.converged else 'NOT converged'}")
    if fit.level is not None:
        lines.append(f"- labels replaced by a random one with probability {fit.level:.3g}")
    if not found.ends:
        lines.append(f"- entropy production{found.per}: {_entropy(found)}")
    lines += [f"- note: {note}" for note in fit.paths.source.get("notes", ())]
    doubts = list(fit.warnings) + [c.sentence for c in checks if c.warning]
    if doubts:
        lines += ["", *[f"- warning: {d}" for d in doubts]]
    by = _METHOD[found.config.intervals] if fit.problem is not None else "the network's own widths"
    return "\n".join(lines) + (f"\n\nIntervals are {found.config.level:.0%}, by {by}. The model: states jump without memory, at rates that do not "
                               "change in time. Checks and figures say whether the data agree.")


def _entropy(found: Found) -> str:
    value, low, high = (float(v) for v in found.interval(entropy_production))
    if np.isinf(value):
        least = float(entropy_production(found.q, one_way="leave-out"))
        return f"infinite, since some links are not run back (the others produce {least:.3g})"
    known = f"{value:.3g} ({low:.3g} to {high:.3g}); 0 is detailed balance"
    return known if low <= value else f"{known}. The estimate is below its interval, since links that are hardly known add to it"


_METHOD = {"laplace": "the curvature of the posterior in logarithms of rates", "profile": "profiles of the posterior",
           "bootstrap": "refits of simulated data", "posterior": "draws from the posterior"}


def _how(fit: JumpFit) -> str:
    """In words, how it was inferred."""
    words = {"auto": "posterior mode, started from the network's answer, which is also the prior where data are few",
             "map": "posterior mode under a weak prior", "mle": "maximum likelihood", "zero-shot": "answer of the network alone"}[fit.config.method]
    kind = "" if fit.noise is None else {"Flip": ", wrong labels allowed for", "Misclassification": ", labels misclassified"}.get(
        type(fit.noise).__name__, "" if type(fit.noise).__name__ == "Exactly" else ", states hidden behind a signal")
    return words + kind + (", detailed balance" if fit.config.reversible else "")


def _rates(found: Found) -> Table:
    fit, rows = found.fit, []
    for i, j in sorted(found.links.tolist(), key=lambda link: -found.q[tuple(link)])[:MOST_ROWS]:
        known, jumps = found.rate(i, j), found.jumps[i, j]
        low, high, note = (known.low, known.high, known.note) if known is not None else (None, None, "")
        rows.append([f"{fit.names[i]} → {fit.names[j]}", float(found.q[i, j]), _number(low), _number(high), float(jumps), note or None])
    more = f" The fastest {MOST_ROWS} of {len(found.links)}." if len(found.links) > MOST_ROWS else ""
    at = f" At the mean of {', '.join(fit.config.covariates)}." if fit.config.covariates else ""
    return Table(f"Rates{found.per}", ["jump", "rate", "from", "to", "jumps in these data", "remark"], rows,
                 f"With {found.config.level:.0%} intervals. Jumps: their expected number given the data.{at}{more}")


def _states(found: Found) -> Table:
    fit = found.fit
    pi, low, high = found.interval(stationary_distribution)
    stay, short, long = found.interval(sojourn_times)
    rows = [[fit.names[s], float(pi[s]), float(low[s]), float(high[s]), _number(stay[s]), _number(short[s]), _number(long[s]),
             float(found.time[s] / found.time.sum())] for s in range(fit.n_states) if fit.seen[s]]
    return Table("States", ["state", "stationary share", "from", "to", f"mean stay{found.unit}", "from", "to", "share of the watched time"], rows,
                 "Some states are never left: the stationary distribution is the one reached from a uniform start." if found.ends else "")


def _relaxation(found: Found) -> Table:
    time, low, high = found.interval(lambda q: relaxation(q).time)
    own = relaxation(found.q)
    rows: list[list[Any]] = []
    for k in range(min(len(time), 10)):
        period = float(np.ravel(own.period)[k])
        rows.append([k + 1, float(time[k]), float(low[k]), float(high[k]), period if np.isfinite(period) else None])
    return Table(f"Relaxation times{found.unit}", ["mode", "time", "from", "to", "period of oscillation"], rows,
                 "−1/Re of the eigenvalues of the generator, the slowest first. A period: the mode turns as it dies, which detailed balance forbids.")


def _noise(fit: JumpFit) -> list[Table]:
    kind, noise = type(fit.noise).__name__, fit.noise
    if kind == "Misclassification":
        return [Table("Labels given states", ["state", *(f"seen as {n}" for n in fit.names)],
                      [[name, *map(float, row)] for name, row in zip(fit.names, noise.matrix)])]
    if not hasattr(noise, "mean"):
        return []
    mean = np.asarray(noise.mean, dtype=float).reshape(fit.n_states, -1)
    width = np.sqrt(np.diagonal(noise.cov, axis1=1, axis2=2) if np.ndim(noise.cov) == 3 else noise.cov) if hasattr(noise, "cov") else noise.scale
    width = np.asarray(width, dtype=float).reshape(mean.shape)
    what = "standard deviation" if hasattr(noise, "cov") else f"scale (Student, {noise.df:.3g} degrees of freedom)"
    columns = [f"{w}{'' if mean.shape[1] == 1 else f' {d + 1}'}" for d in range(mean.shape[1]) for w in ("mean", what)]
    rows = [[name, *(float(v) for d in range(mean.shape[1]) for v in (mean[s, d], width[s, d]))] for s, name in enumerate(fit.names)
            if s not in noise.silent]
    return [Table("Signal given states", ["state", *columns], rows)]


def _effects(found: Found) -> list[Table]:
    """Parameters that are no rates: effects of covariates."""
    fit = found.fit
    if not fit.config.covariates or fit.problem is None:
        return []
    rows = [[i.name, float(np.exp(i.estimate)), float(np.exp(i.low)), float(np.exp(i.high)), i.note or None]
            for i in fit.intervals(found.config.level, found.config.intervals, found.config.seed) if i.name.startswith("beta_")]
    return [Table("Effects of covariates", ["effect", "ratio of rates", "from", "to", "remark"], rows,
                  "Factor by which the rate changes where the covariate is one larger.")] if rows else []


def _passage(found: Found) -> list[Table]:
    from trajlab.dynamics.jumps.passage import first_passage_matrix

    fit = found.fit
    there = np.flatnonzero(fit.seen)
    if not 2 <= len(there) <= MOST_MATRIX:
        return []
    q = found.q[np.ix_(there, there)]
    with np.errstate(all="ignore"):
        times = np.asarray(first_passage_matrix(q))
    return [Table(f"Mean first-passage times{found.unit}", ["from", *(f"to {fit.names[s]}" for s in there)],
                  [[fit.names[s], *(None if k == m else float(times[k, m]) for m in range(len(there)))] for k, s in enumerate(there)],
                  "∞: the state may never be reached.")]


def _cycles(found: Found) -> list[Table]:
    if found.ends:
        return []
    fit, cycles = found.fit, fundamental_cycles(found.q)[:10]
    if not cycles:
        return []
    rows = []
    for cycle in cycles:
        i, j = _closing(cycle.states, cycle.current, currents(found.q))
        low, high = found.interval(lambda q, i=i, j=j: currents(q)[:, i, j])[1:]
        rows.append([" → ".join(fit.names[s] for s in (*cycle.states, cycle.states[0])), cycle.current, float(low), float(high), cycle.affinity])
    return [Table("Cycles", ["cycle", f"current{found.per}", "from", "to", "affinity"], rows,
                  "Cycles that the links outside a spanning tree close (Schnakenberg 1976): the net current of the closing link, and the logarithm "
                  "of the ratio of the products of rates both ways round. Under detailed balance both are 0.")]


def _closing(states: Sequence[int], current: float, net: np.ndarray) -> tuple[int, int]:
    """The link of a cycle that carries its current."""
    links = list(zip(states, [*states[1:], states[0]]))
    return min(links, key=lambda link: abs(net[link] - current))


def _checks(checks: Sequence[Any]) -> list[Table]:
    rows = [[_title(c), not c.warning, c.sentence] for c in checks]
    return [Table("Checks", ["check", "passed", "in words"], rows)] if rows else []


def _title(check: Any) -> str:
    import re

    name = type(check).__name__
    return "Chapman-Kolmogorov" if name == "ChapmanKolmogorov" else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def _graph(found: Found) -> RateGraph:
    vague = np.zeros(found.q.shape, dtype=bool)
    for i, j in found.links.tolist():
        known = found.rate(i, j)
        vague[i, j] = known is not None and float(known.high) > VAGUE * float(known.low)
    note = (f"Area: {'share of the watched time' if found.ends else 'stationary share'} (small states are drawn larger). Width of arrows: root of "
            f"the rate{found.per}. Orange: no way back, or hardly one jump back in these data. Thin and dashed: hardly known (see the interval).")
    return RateGraph("Generator", np.where(found.fit.links, found.q, 0.0), found.weight, list(found.fit.names), found.back & ~vague, vague,
                     found.fit.time_unit, note)


def _given_data(fit: JumpFit) -> tuple[np.ndarray, np.ndarray]:
    """Expected jumps ``[state state]`` and time in each state ``[state]`` given the data."""
    some = bool(fit.config.covariates) and fit.problem is not None
    covariates = fit.config.covariates if some else ()
    if fit.noise is None:
        groups = pair_counts(labelled(fit.paths), covariates, fit.config.most_lags)
        generators = [fit.generator_at(**counts.covariates) for counts in groups] if some else [fit.generator] * len(groups)
    else:
        intervals = Intervals.from_paths(fit.paths, covariates, fit.config.most_lags)
        generators = list(fit.problem.generators(fit.x)) if some else [fit.generator]
        groups = list(smooth(generators, intervals, fit.noise.likelihood(fit.paths), fit.initial).counts)
    found = [evaluate(q, counts) for q, counts in zip(generators, groups, strict=True)]
    return np.sum([one.jumps for one in found], axis=0), np.sum([one.time for one in found], axis=0)


def _hardly_back(q: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """Links that are run, but of whose reverse less than one jump is expected in the data, though there is at least tenfold traffic."""
    return (q > 0) & ~np.eye(len(q), dtype=bool) & ((q.T <= 0) | ((jumps.T < 1) & (jumps > 10)))


def _provenance(fit: JumpFit, config: PageConfig) -> dict[str, Any]:
    told = dict(fit.provenance)
    source = dict(told.pop("source", {}))
    source.pop("subjects", None)
    return {**told, **({"source": source} if source else {}), "page": vars(config)}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
