"""Settings of the inference of Markov jump processes, without torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from trajlab.catalog import unknown

METHODS = ("auto", "map", "mle", "zero-shot")
NOISES = ("auto", "none", "flip", "matrix", "gaussian", "student")
OPTIMISERS = ("auto", "em", "lbfgs")
UNSEEN = ("leave-out", "keep")
STARTS = ("auto", "network", "crude")


@dataclass(frozen=True)
class MarkovJumpConfig:
    """One frozen record says what is estimated, from which prior, and how.

    Attributes:
        method: ``auto``: the exact posterior mode, the network's answer being the start and, where data are few, what the prior is centred on;
            ``map``: the exact posterior mode under a prior that knows the overall rate of jumps alone; ``mle``: maximum likelihood; ``zero-shot``:
            the network alone.
        noise: of the labels. ``none``; ``flip``: with an unknown probability a label is replaced by one drawn evenly from all; ``matrix``: a full
            matrix of misclassification; ``gaussian``, ``student``: the states are seen through a continuous signal; ``auto``: a signal is Gaussian,
            labels are flipped or not as the evidence says.
        level: of flips, where it is known (``noise`` is then ``flip``, whether it says so or ``auto``); None to estimate it.
        confusions: pairs (true, seen) of labels that may be confused, for ``matrix``; None for all.
        strength: pseudo-jumps of the prior for each link. None for ``map``: 1 where fewer than 20 label changes fall on a link, else a tenth; None
            for ``auto``: 30 / (1 + (x / 10)^2) where x label changes fall on a link.
        links: the jumps that are possible, pairs (from, to); None for all.
        absorbing: states that are never left.
        unseen: states that no look names. ``leave-out``: they change nothing, and rates from and to them are given as zero; ``keep``: they are taken
            to be there, and their rates are what the prior says, less the time in which nobody was seen there.
        equal: groups of links that share one rate.
        fixed: known rates, (from, to, rate), 1/time.
        reversible: detailed balance holds, ``q_ij = s_ij sqrt(pi_j / pi_i)``.
        covariates: names of covariates that rates depend on, ``log q_ij(z) = log q_ij + beta_ij . (z - mean)``.
        parametric: a torch function ``theta -> rates [state state]`` with its start ``(function, theta0)``, instead of free rates.
        optimiser: ``em``, ``lbfgs`` with the closed-form gradient, or ``auto``.
        start: of the optimiser: ``network``, ``crude``, or ``auto`` (network where it applies).
        iterations: at most.
        tolerance: relative change of the log-posterior at which the optimiser stops.
        most_lags: distinct lags beyond which lags within one per cent share their mean; None to keep all.
        seed: of what is drawn (starts of mixtures).

    Raises:
        ValueError: an unknown name, or a number out of range.
    """

    method: str = "auto"
    noise: str = "auto"
    level: float | None = None
    confusions: tuple[tuple[int, int], ...] | None = None
    strength: float | None = None
    links: tuple[tuple[int, int], ...] | None = None
    absorbing: tuple[int, ...] = ()
    unseen: str = "leave-out"
    equal: tuple[tuple[tuple[int, int], ...], ...] = ()
    fixed: tuple[tuple[int, int, float], ...] = ()
    reversible: bool = False
    covariates: tuple[str, ...] = ()
    parametric: Any = None
    optimiser: str = "auto"
    start: str = "auto"
    iterations: int = 1000
    tolerance: float = 1e-10
    most_lags: int | None = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("noise", NOISES), ("optimiser", OPTIMISERS), ("start", STARTS), ("unseen", UNSEEN)):
            if getattr(self, name) not in known:
                raise ValueError(unknown(name, getattr(self, name), known))
        for name in ("links", "equal", "fixed", "confusions", "absorbing", "covariates"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else _tuples(value))
        if self.level is not None and not 0 <= self.level < 1:
            raise ValueError(f"level={self.level}; a probability of flips of at least 0 and less than 1 was wanted")
        if self.level is not None and self.noise not in ("auto", "flip"):
            raise ValueError(f"level={self.level} is one of flips, but noise={self.noise!r}; take noise='flip', or leave level out")
        if self.confusions is not None and self.noise != "matrix":
            raise ValueError(f"confusions are entries of a matrix of misclassification, but noise={self.noise!r}; take noise='matrix'")
        if self.strength is not None and not 0 <= self.strength < float("inf"):
            raise ValueError(f"strength={self.strength}; a number of pseudo-jumps of at least 0 was wanted (0 is maximum likelihood)")
        if self.method == "mle" and self.strength:
            raise ValueError(f"method='mle' has no prior, but strength={self.strength}; take method='map'")
        if self.iterations < 1 or not self.tolerance > 0:
            raise ValueError(f"iterations={self.iterations} and tolerance={self.tolerance}; at least 1 and more than 0 were wanted")
        for i, j, rate in self.fixed:
            if not rate >= 0:
                raise ValueError(f"the fixed rate from {i} to {j} is {rate}; at least 0 was wanted")
        if self.parametric is not None and not (isinstance(self.parametric, list | tuple) and len(self.parametric) == 2):
            raise ValueError("parametric is a pair (function, first guess of its parameters)")
        if self.parametric is not None and (self.links or self.equal or self.fixed or self.reversible or self.covariates):
            raise ValueError("parametric says all about the rates; leave out links, equal, fixed, reversible and covariates")
        if self.optimiser == "em" and (self.reversible or self.covariates or self.parametric is not None):
            raise ValueError("EM is there for free, equal and fixed rates; take optimiser='lbfgs' for reversible, covariates and parametric")

    def as_dict(self) -> dict[str, Any]:
        """For provenance: a parametric function by its name."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.parametric is not None:
            found["parametric"] = getattr(self.parametric[0], "__qualname__", repr(self.parametric[0]))
        return found


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
