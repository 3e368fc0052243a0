"""What the inference of a Markov jump process answers: a generator, how sure it is, and what follows from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from trajlab.dynamics.jumps.generator import checked, transition
from trajlab.models.jumps.markov_jump_config import MarkovJumpConfig
from trajlab.models.jumps.rate_prior import RatePrior

if TYPE_CHECKING:
    import pandas as pd

    from trajlab.models.jumps.intervals import Interval
    from trajlab.types import JumpPaths

__all__ = ["JumpFit", "load_generator"]

FORMAT = "trajlab jump process 1"


@dataclass(frozen=True, eq=False)
class JumpFit:
    """The answer of `trajlab.MarkovJump`.

    Attributes:
        generator: rates ``q_ij`` from i to j, 1/time, rows sum to zero, ``[state state]``; at the mean of the covariates where there are any.
        initial: distribution of the first state of a path, ``[state]``.
        names: of the states.
        time_unit: the unit that rates are one over.
        seen: states that a look has named or a signal may mean; rates from and to the others are zero and mean nothing, ``[state]``.
        links: jumps that were allowed, ``[state state]``.
        noise: how states are seen: an emission of `trajlab.dynamics.jumps.emissions`, or None where labels are taken as they are.
        prior: of the rates.
        loglik: log-likelihood at the answer.
        value: the same plus the log-prior, up to a constant.
        converged: whether the optimiser settled.
        iterations: of the optimiser.
        warnings: what a user should know, in sentences.
        config: how it was asked for.
        problem: the log-posterior, a `trajlab.models.jumps.problem.Problem`, and ``x``, its unconstrained parameters at the answer; None for
            ``zero-shot``.
        zero_shot: the network's answer, where it was asked.
        paths: the data.
        provenance: method, configuration, version, checksum of the data.
    """

    generator: Float[np.ndarray, "state state"]
    initial: Float[np.ndarray, "state"]
    names: tuple[str, ...]
    time_unit: str
    seen: Bool[np.ndarray, "state"]
    links: Bool[np.ndarray, "state state"]
    noise: Any
    prior: RatePrior | None
    loglik: float
    value: float
    converged: bool
    iterations: int
    warnings: tuple[str, ...]
    config: MarkovJumpConfig
    paths: JumpPaths
    problem: Any = None
    x: Any = None
    zero_shot: Any = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_states(self) -> int:
        return len(self.generator)

    @property
    def level(self) -> float | None:
        """The estimated probability that a label is replaced, where flips were allowed."""
        return getattr(self.noise, "eps", None)

    def __repr__(self) -> str:
        state = "" if self.converged else ", not converged"
        return f"JumpFit({self.n_states} states, method {self.config.method!r}, log-likelihood {self.loglik:.6g}{state})"

    def transition(self, lag: Any) -> np.ndarray:
        """``exp(q lag)``, ``[*lag state state]``."""
        return transition(self.generator, np.asarray(lag, dtype=np.float64))

    def generator_at(self, **covariates: float) -> Float[np.ndarray, "state state"]:
        """The generator at these values of the covariates; those left out are at their mean.

        Raises:
            ValueError: the fit has no such covariate.
        """
        from trajlab.catalog import unknown

        for name in covariates:
            if name not in self.config.covariates:
                raise ValueError(unknown("covariate of this fit", name, self.config.covariates))
        if not covariates:
            return self.generator
        return self.problem.generator(self.x, **covariates)

    def intervals(self, level: float = 0.95, method: str = "laplace", seed: int = 0, **options: Any) -> Sequence[Interval]:
        """An interval for every parameter; see `trajlab.models.jumps.intervals.intervals`."""
        from trajlab.models.jumps.intervals import intervals

        return intervals(self, level=level, method=method, seed=seed, **options)

    def derive(self, function: Any, level: float = 0.95, method: str = "laplace", seed: int = 0, **options: Any) -> Interval:
        """An interval for anything that follows from generators, ``function([draw state state]) -> [draw ...]``."""
        from trajlab.models.jumps.intervals import derive

        return derive(self, function, level=level, method=method, seed=seed, **options)

    def table(self, level: float = 0.95, method: str = "laplace", seed: int = 0) -> pd.DataFrame:
        """One row a parameter: ``parameter``, ``estimate``, ``low``, ``high``."""
        import pandas as pd

        rows = self.intervals(level, method, seed)
        return pd.DataFrame({"parameter": [r.name for r in rows], "estimate": [r.estimate for r in rows], "low": [r.low for r in rows],
                             "high": [r.high for r in rows]})

    def diagnose(self, seed: int = 0) -> Sequence[Any]:
        """Every diagnostic that applies to these data; each says its figures and one sentence."""
        from trajlab.models.jumps.diagnose import diagnose

        return diagnose(self, seed)

    def to_deeptime(self, lag: float) -> Any:
        """A deeptime ``MarkovStateModel`` of this process at a lag.

        Raises:
            ImportError: deeptime is not installed.
            ValueError: the lag is not positive.
        """
        from trajlab.dynamics.jumps.to_deeptime import to_deeptime

        return to_deeptime(self.generator, lag)

    def save(self, path: str | Path) -> Path:
        """Write generator, initial distribution, names, noise level and provenance as JSON, atomically."""
        record = {"format": FORMAT, "generator": self.generator.tolist(), "initial": self.initial.tolist(), "names": list(self.names),
                  "time_unit": self.time_unit, "level": self.level, "loglik": self.loglik, "converged": self.converged,
                  "warnings": list(self.warnings), "provenance": dict(self.provenance)}
        path = Path(path)
        scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        scratch.write_text(json.dumps(record, indent=1, default=str) + "\n")
        scratch.replace(path)
        return path


def load_generator(path: str | Path) -> tuple[Float[np.ndarray, "state state"], tuple[str, ...], str]:
    """Generator, names and unit of time of a file that `JumpFit.save` wrote.

    Raises:
        ValueError: another kind of file.
    """
    try:
        record = json.loads(Path(path).read_text())
        same = record["format"] == FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} was not written by JumpFit.save: {error}") from error
    if not same:
        raise ValueError(f"{path} has format {record['format']!r}; {FORMAT!r} was wanted")
    return checked(np.array(record["generator"])), tuple(record["names"]), record["time_unit"]
