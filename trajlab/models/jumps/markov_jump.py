"""Inference of Markov jump processes: the network's answer, exact likelihood, and the mode of the posterior."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

import trajlab
from trajlab.dynamics.jumps.label_emissions import Exactly
from trajlab.models.jumps.em import EM, Fitted, HiddenData, Impossible, Rates
from trajlab.models.jumps.fit import JumpFit
from trajlab.models.jumps.markov_jump_config import MarkovJumpConfig
from trajlab.models.jumps.noise import chosen_emission, first_states, flip, flips_help, guide
from trajlab.models.jumps.optimise import optimise
from trajlab.models.jumps.prepare import Prepared, labelled, prepare
from trajlab.models.jumps.problem import Problem, rate_bounds
from trajlab.models.jumps.rate_model import rate_model
from trajlab.models.jumps.rate_prior import RatePrior, crude, rate_prior
from trajlab.types import JumpPaths

__all__ = ["MarkovJump", "MarkovJumpConfig"]

LARGEST = 20  #: most states that the network has seen in training
TRUST, HALF_TRUST = 30.0, 10.0  #: pseudo-jumps of the prior that the network makes, and the label changes for each link that halve them
LEAST_TRUST = 0.05  #: below this the prior changes nothing that matters
SHARE = 0.7  #: of the network in its centre, the rest is the mode without it
LEAST_CENTRE = 1e-3  #: of the prior's centre, in observed label changes a unit of time and link
INDEPENDENT = 0.05  #: correlation of two looks, about exp(-3), below which they count as independent
SETTLED = 1e-8  #: relative change of the log-posterior at which EM of hidden states stops: later steps move rates by far less than their error
STARTS = 1.0  #: pseudo-starts, shared by all states


class MarkovJump:
    """Rates of a Markov jump process from paths that were looked at now and then, with labels that may be wrong.

    ``MarkovJump().infer(paths)``: the network (`ZeroShot`, after foundation inference of Berghaus et al. 2024, arXiv 2406.06419) answers first; from
    there the mode of the exact posterior is found, by EM or L-BFGS with the closed-form gradient (Kalbfleisch and Lawless 1985; Bladt and Sorensen
    2005), through forward-backward sums where states are hidden (Liu et al. 2015).

    Args:
        config: see `MarkovJumpConfig`; or its settings one by one, ``MarkovJump(method="map", noise="flip")``.
    """

    def __init__(self, config: MarkovJumpConfig | None = None, **settings: Any) -> None:
        if config is not None and not isinstance(config, MarkovJumpConfig):
            raise TypeError(f"MarkovJump got a {type(config).__name__}; a MarkovJumpConfig was wanted, or its settings by name")
        self.config = replace(config, **settings) if config is not None else MarkovJumpConfig(**settings)

    def infer(self, paths: Any) -> JumpFit:
        """Infer the generator from `JumpPaths`.

        Raises:
            TypeError: not `JumpPaths`.
            ValueError: nothing can be learned (no path with two looks), the settings name states or covariates that are not there, or something was
                seen that the allowed links cannot make.
        """
        return _Inference(prepare(paths, self.config), self.config).run()


class _Inference:
    """One inference, step by step."""

    def __init__(self, data: Prepared, config: MarkovJumpConfig) -> None:
        self.data, self.config = data, config
        self.said = list(data.warnings)
        self.warnings = list(self.said)
        self.network: Any = None
        self.sharper: RatePrior | None = None

    def run(self) -> JumpFit:
        if self._asks_network():
            self.network = self._ask_network()
        if self.config.method == "zero-shot":
            return self._zero_shot()
        fit = self._first()
        self.sharper = self._informed(fit)
        if self.sharper is None:
            return fit
        self.warnings = list(self.said)
        return self._seen() if fit.noise is None else self._hidden(fit.noise)

    def _first(self) -> JumpFit:
        """The mode under a prior that knows the overall rate of jumps alone (or under none)."""
        emission = chosen_emission(self.data, self.config, self.network)
        if self.config.noise == "auto" and (emission is None or isinstance(emission, Exactly)):
            return self._as_it_may_be(emission)
        return self._seen() if emission is None else self._hidden(emission)

    def _as_it_may_be(self, exactly: Any) -> JumpFit:
        """With labels as they are, or flipped where the likelihood rises with it, or where what was seen cannot be otherwise."""
        try:
            plain = self._seen() if exactly is None else self._hidden(exactly)
        except Impossible:
            self.said.append("some looks cannot follow each other by the possible jumps, so labels were taken to be wrong now and then")
            self.warnings = list(self.said)
            return self._hidden(flip(self.data, self.config, self.network))
        emission = flips_help(plain.generator, self.data, self.config)
        if emission is None:
            return plain
        self.warnings = list(self.said)
        return self._hidden(emission)

    def _informed(self, fit: JumpFit) -> RatePrior | None:
        """The prior that the network's answer makes, where it is asked for and the data leave room for it.

        Its centre is a geometric mean of the network's answer and the first mode, whose errors differ. The network has seen the same data; this is a
        prior for what they leave open, and its strength falls with the square of the label changes for each link.
        """
        if self.network is None or self.config.method != "auto":
            return None
        links, counts = self.data.links, self.data.counts
        strength = self.config.strength
        if strength is None:
            strength = TRUST / (1 + (sum(c.changes for c in counts) / max(links.sum(), 1) / HALF_TRUST) ** 2)
        if strength < LEAST_TRUST:
            return None
        floor = LEAST_CENTRE * rate_prior(counts, links).centre
        answered, mode = np.maximum(self._answered(), floor), np.maximum(fit.generator, floor)
        return RatePrior(strength, answered**SHARE * mode ** (1 - SHARE))

    def _asks_network(self) -> bool:
        c, d = self.config, self.data
        wanted = c.method in ("auto", "zero-shot") or c.start == "network"
        refused = _no_network(d, c)
        if wanted and refused and (c.method == "zero-shot" or c.start == "network"):
            raise ValueError(f"the network cannot answer here: {refused}; take method='map'")
        return wanted and not refused and c.start != "crude"

    def _ask_network(self) -> Any:
        """The network sees the states that were seen alone, so that one more that was not changes nothing."""
        from trajlab.models.jumps.zero_shot import ZeroShot

        looks, seen = labelled(self.data.paths), np.flatnonzero(self.data.seen)
        import torch

        number = torch.full((self.data.paths.n_states,), -1)
        number[torch.from_numpy(seen)] = torch.arange(len(seen))
        few = ZeroShot.load().infer(looks.replace(label=number[looks.label], n_states=len(seen), names=()))
        return few.among(self.data.seen, tuple(looks.names))

    def _answered(self) -> np.ndarray:
        """The network's rates of the possible links."""
        return np.where(self.data.links, self.network.generator, 0.0)

    def _prior(self, counts: list) -> RatePrior:
        if self.config.method == "mle":
            return RatePrior(0.0, np.ones(self.data.links.shape))
        return self.sharper or rate_prior(counts, self.data.links, self.config.strength)

    def _start(self, counts: list) -> Float[np.ndarray, "state state"]:
        if self.sharper is not None:
            return np.where(self.data.links, self.sharper.centre, 0.0)
        return crude(counts, self.data.links) if self.network is None else self._answered()

    def _uses_em(self, hidden: bool = False) -> bool:
        """By default where states are hidden and rates are free: a forward-backward sum then serves three steps of EM, but one of L-BFGS."""
        c = self.config
        return c.optimiser == "em" or (c.optimiser == "auto" and hidden and not (c.reversible or c.covariates or c.parametric is not None))

    def _em(self, prior: RatePrior, bounds: tuple[float, float], tolerance: float) -> EM:
        c = self.config
        return EM(Rates(self.data.links, c.equal, c.fixed), prior, bounds, c.iterations, tolerance)

    def _seen(self) -> JumpFit:
        """States are what the labels say."""
        counts = self.data.counts
        prior, bounds = self._prior(counts), rate_bounds(counts, self.data.links)
        problem = Problem(counts, rate_model(self.data, self.config), prior or None, bounds)
        start = self._start(counts)
        if self._uses_em():
            found = self._em(prior, bounds, self.config.tolerance).fit(counts[0], start)
            return self._answer(problem, problem.start_from(found.q), prior, found, None, self._starts())
        best = optimise(problem, problem.start_from(start), self.config.iterations, self.config.tolerance)
        return self._answer(problem, best.x, prior, best, None, self._starts())

    def _starts(self) -> np.ndarray:
        """The distribution of first states, from the first labels of all paths."""
        looks = labelled(self.data.paths)
        n, path = looks.n_states, np.asarray(looks.path.cpu())
        first = np.flatnonzero(np.diff(path, prepend=-1))
        counts = np.bincount(np.asarray(looks.label.cpu())[first], minlength=n) + STARTS / n * self.data.seen
        return counts / counts.sum()

    def _hidden(self, emission: Any) -> JumpFit:
        """States are guessed from labels or a signal."""
        from trajlab.dynamics.jumps.smoothing import Intervals
        from trajlab.models.jumps.hidden import HiddenStates
        counts, model = guide(self.data, emission), rate_model(self.data, self.config)
        prior, bounds = self._prior(counts), rate_bounds(counts, self.data.links)
        intervals = Intervals.from_paths(self.data.paths, self.config.covariates, self.config.most_lags)
        initial = first_states(self.data)
        start = self._start(counts)
        if self._uses_em(hidden=True):
            tolerance = self.config.tolerance if self.config.optimiser == "em" else max(self.config.tolerance, SETTLED)
            found = self._em(prior, bounds, tolerance).fit(HiddenData(intervals, self.data.paths, emission, initial), start)
            hidden = HiddenStates(intervals, self.data.paths, found.emission, found.initial)
            problem = Problem(hidden, model, prior or None, bounds)
            return self._answer(problem, problem.start_from(found.q), prior, found, found.emission, found.initial)
        hidden = HiddenStates(intervals, self.data.paths, emission, initial)
        problem = Problem(hidden, model, prior or None, bounds)
        best = optimise(problem, problem.start_from(start), self.config.iterations, self.config.tolerance)
        extra = best.x[problem.n_rates:]
        return self._answer(problem, best.x, prior, best, hidden.emission_at(extra), hidden.initial_at(extra))

    def _answer(self, problem: Problem, x: np.ndarray, prior: RatePrior, found: Any, noise: Any, initial: np.ndarray) -> JumpFit:
        q = problem.generator(x)
        loglik = found.loglik if isinstance(found, Fitted) else problem.log_likelihood(x)
        if not found.converged:
            self.warnings.append(f"not converged after {found.iterations} iterations; raise iterations, or look at what the data do not determine")
        self.warnings += _limits(self.data, q, problem.rate_bounds)
        return self._fit(generator=q, initial=initial, noise=noise, prior=prior, loglik=loglik, value=found.value, converged=found.converged,
                         iterations=found.iterations, problem=problem, x=x)

    def _zero_shot(self) -> JumpFit:
        from trajlab.dynamics.jumps.emissions import Flip
        from trajlab.dynamics.jumps.generator import from_rates

        return self._fit(generator=from_rates(self._answered()), initial=self.network.initial, noise=Flip(self.network.eps), prior=None,
                         loglik=float("nan"), value=float("nan"), converged=True, iterations=0)

    def _fit(self, **found: Any) -> JumpFit:
        from trajlab.data.fields import checksum

        paths = self.data.paths
        names = tuple(paths.names) or tuple(str(k) for k in range(paths.n_states))
        told = {"method": "markov_jump", "version": trajlab.__version__, "config": self.config.as_dict(), "data": checksum(paths),
                "paths": paths.n_paths, "observations": len(paths.label), **({"source": dict(paths.source)} if paths.source else {})}
        return JumpFit(names=names, time_unit=paths.units.time, seen=self.data.seen, links=self.data.links, warnings=tuple(self.warnings),
                       config=self.config, paths=paths, zero_shot=self.network, provenance=told, **found)


def _no_network(data: Prepared, config: MarkovJumpConfig) -> str:
    """Why the network cannot be asked, or an empty string."""
    if data.signal:
        return "it reads labels, and these paths are seen through a signal"
    kinds = set(np.asarray(data.paths.observed.cpu()).tolist())
    if kinds & {JumpPaths.EXACT, JumpPaths.ENTRY}:
        return "it reads looks, and some of these jumps were seen as they happened"
    if config.covariates or config.parametric is not None:
        return "it knows nothing of covariates and parametric rates"
    if config.method == "zero-shot" and (config.equal or config.fixed or config.reversible):
        return "it knows nothing of equal and fixed rates and of detailed balance"
    if config.method == "auto" and data.seen.sum() > LARGEST:
        return f"it was trained on processes of at most {LARGEST} states"
    if not data.counts:
        return "there are no two looks that name a state"
    return ""


def _limits(data: Prepared, q: np.ndarray, bounds: tuple[float, float]) -> list[str]:
    """What the sampling interval and the bounds do to the answer."""
    said = []
    rates = q[data.links]
    high = np.argwhere((q >= bounds[1] * (1 - 1e-6)) & data.links)
    if len(high):
        links = ", ".join(f"{data.name(int(i))}->{data.name(int(j))}" for i, j in high[:5])
        said.append(f"the data drive {links} beyond what looks this far apart can tell; stopped at {bounds[1]:.3g}, where the rate means 'fast'")
    shortest = min((c.lag[0] for c in data.counts if len(c.lag)), default=None)
    fastest = -np.diag(q).min()
    if shortest is None or not len(rates):
        return said
    if fastest * shortest > 3:
        said.append(f"the fastest state is left after {1 / fastest:.3g}, but looks are {shortest:.3g} apart or more: "
                    "fast rates are hardly identifiable, since looks forget each other in between; look more often")
    elif _forgotten(data.counts, 2 * shortest):
        said.append(f"looks {shortest:.3g} apart tell nothing of each other: the rates are not identifiable beyond being fast, and their size "
                    "comes from the prior; look more often")
    return said


def _forgotten(counts: list, longest: float) -> bool:
    """Whether looks at most so far apart are independent of each other, as far as their number can tell."""
    table = np.zeros((counts[0].n_states,) * 2)
    for c in counts:
        near = (c.lag_of_pair <= longest) & ~c.entry
        np.add.at(table, (c.start[near], c.stop[near]), c.weight[near])
    rows, columns, total = table.sum(1), table.sum(0), table.sum()
    there = (rows > 0) & (columns > 0)
    if total < 20 * there.sum() ** 2 or there.sum() < 2:
        return False
    expected = np.outer(rows, columns)[np.ix_(there, there)] / total
    chi2 = float(((table[np.ix_(there, there)] - expected) ** 2 / expected).sum())
    freedom = (there.sum() - 1) ** 2
    return bool(chi2 / total < INDEPENDENT**2 * freedom + freedom / total)
