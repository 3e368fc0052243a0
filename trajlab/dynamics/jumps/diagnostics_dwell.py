"""Dwell times: are stays as long as a Markov process has them, or does the process know how long it has been where it is?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import kstest, norm

from trajlab.dynamics.jumps.diagnostics_looks import Looks, PairsOfLooks, copies_of, looks_of, numbers, simulated, single, tail
from trajlab.types import JumpPaths

__all__ = ["DwellTimes", "Stays", "dwell_times", "stays_of"]

LEVEL = 0.01
CLASSES = 6  #: of age in looks: 1, 2-3, 4-7, 8-15, 16-31, 32 and more
LEAST = 5.0  #: expected stays and leavings that a class needs


@dataclass(frozen=True, eq=False)
class Stays:
    """Survival of the stays in one state.

    Attributes:
        state: which.
        time: since the state was first seen in this stay, ``[time]``.
        observed: share of stays that last longer (Kaplan and Meier 1958), ``[time]``.
        low, high: 95 % band around it (Greenwood's formula on the logarithm), ``[time]``.
        expected: the same share in the model, ``[time]``.
        number: stays that were seen to end.
    """

    state: int
    time: Float[np.ndarray, "time"]
    observed: Float[np.ndarray, "time"]
    low: Float[np.ndarray, "time"]
    high: Float[np.ndarray, "time"]
    expected: Float[np.ndarray, "time"]
    number: int


@dataclass(frozen=True, eq=False)
class DwellTimes:
    """The test of every state, and of all together.

    Attributes:
        exact: whether jumps were seen as they happened (times are compared with exponentials), or between looks (runs of looks are).
        p_value: of each state, NaN where there are too few stays, ``[state]``.
        tendency: standardised; above 0 the longer a stay has lasted the likelier it goes on (a state that hides several, or wrong labels),
            below 0 it ages (stays of even length), ``[state]``.
        overall: p-value of all states together; by simulation where looks were drawn anew.
        number: stays that were seen to end, ``[state]``.
        warning: whether ``overall`` is below 0.01.
        sentence: the same in words.
    """

    exact: bool
    p_value: Float[np.ndarray, "state"]
    tendency: Float[np.ndarray, "state"]
    overall: float
    number: Float[np.ndarray, "state"]
    warning: bool
    sentence: str


def dwell_times(paths: JumpPaths, q: Float[np.ndarray, "state state"], simulations: int = 199, seed: int = 0,
                noise: float | Float[np.ndarray, "state other"] | None = None) -> DwellTimes:
    """Test whether stays are without memory.

    Jumps seen as they happened: under exponential stays the scaled total time on test at each leaving is uniform, with the rate estimated (Barlow
    and Campo 1975; with stays cut short by the end of following, for many stays); Kolmogorov-Smirnov and mean of these, the smaller p-value doubled.
    Looks: the next look at a run in i is again i with probability ``P_ii(lag)``, however long the run has lasted; expected and seen are compared in
    classes of age, after one correction of ``P_ii`` as a whole; the p-value is from labels drawn anew at the same times (chi-square for many looks).

    Args:
        paths: the data.
        q: rates; of exactly known paths its diagonal is estimated anew.
        simulations: sets of labels that are drawn; fewer where there are many looks.
        seed: of these.
        noise: of the labels, as for `diagnostics_chapman_kolmogorov.chapman_kolmogorov`.

    Raises:
        ValueError: generator and paths differ in their states, or no path has two looks.
    """
    q = single(q, paths)
    if simulations < 0:
        raise ValueError(f"{simulations} simulations were asked for; none (0) or more were wanted")
    if bool((paths.observed == JumpPaths.EXACT).any()):
        return _from_jumps(paths)
    looks = looks_of(paths, noise=noise)
    pairs = looks.pairs(1, q)
    statistic, freedom, tendency, number = _by_age(looks.label, looks, pairs)
    p = np.array([tail(s, int(f)) if f > 0 else np.nan for s, f in zip(statistic, freedom, strict=True)])
    copies = copies_of(looks, simulations)
    if copies > 1 and (freedom > 0).any():
        again = [_excess(*_by_age(label, looks, pairs)[:2]) for label in looks.redrawn(q, copies, np.random.default_rng(seed))]
        overall = simulated(_excess(statistic, freedom), again)
    else:
        overall = tail(float(statistic.sum()), int(freedom.sum()))
    return _result(False, p, tendency, float(overall), number)


def _excess(statistic: np.ndarray, freedom: np.ndarray) -> float:
    """The sum of chi-squares in standard deviations from its mean, whatever the number of classes that were pooled."""
    return float((statistic - freedom).sum() / np.sqrt(2 * max(freedom.sum(), 1)))


def _ages(label: np.ndarray, position: np.ndarray) -> np.ndarray:
    """How many looks the run of each look has lasted, itself included, ``[look]``."""
    begins = (position == 0) | np.append(True, label[1:] != label[:-1])
    index = np.arange(len(label))
    return index - np.maximum.accumulate(np.where(begins, index, 0)) + 1


def _by_age(label: np.ndarray, looks: Looks, pairs: PairsOfLooks) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Chi-square, degrees of freedom and tendency of staying by age, and the number of runs that ended, ``[state]`` each."""
    start, stop = label[pairs.here], label[pairs.there]
    chance = np.clip(pairs.table[pairs.lag_class, start, start], 0.0, 1.0)
    age = np.minimum(np.log2(_ages(label, looks.position)[pairs.here]).astype(int), CLASSES - 1)
    cell, shape = start * CLASSES + age, (looks.n_states, CLASSES)
    seen, mean, var = (np.bincount(cell, weights=w, minlength=shape[0] * CLASSES).reshape(shape)
                       for w in (stop == start, chance, chance * (1 - chance)))
    out = np.zeros((4, looks.n_states))
    for i in range(looks.n_states):
        out[:3, i] = _age_test(seen[i], mean[i], var[i])
    out[3] = np.bincount(start[stop != start], minlength=looks.n_states)
    return out[0], out[1], out[2], out[3]


def _age_test(seen: np.ndarray, mean: np.ndarray, var: np.ndarray) -> tuple[float, int, float]:
    """Chi-square of stays by age against their mean, shifted as a whole to agree in total; and whether they lean to going on with age."""
    good = var >= LEAST
    if good.sum() < 2:
        return 0.0, 0, 0.0
    seen, mean, var = np.append(seen[good], seen[~good].sum()), np.append(mean[good], mean[~good].sum()), np.append(var[good], var[~good].sum())
    if var[-1] < LEAST:
        seen, mean, var = seen[:-1], mean[:-1], var[:-1]
    mean = mean + var * (seen - mean).sum() / var.sum()
    left = seen - mean
    rank = np.arange(len(var)) - np.average(np.arange(len(var)), weights=var)
    return float((left**2 / var).sum()), len(var) - 1, float((rank * left).sum() / np.sqrt((rank**2 * var).sum()))


@dataclass(frozen=True, eq=False)
class _Sojourns:
    """Stays of exactly known paths: state, length, and whether their end was seen."""

    state: np.ndarray
    length: np.ndarray
    ended: np.ndarray


def _sojourns(paths: JumpPaths) -> _Sojourns:
    """Put together the time between observations that end with a jump, or with news that there was none."""
    label, time, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
    at = np.flatnonzero((path[1:] == path[:-1]) & (kind[1:] == JumpPaths.EXACT) & (label[:-1] >= 0))
    jump = label[at] != label[at + 1]
    joined = np.append(False, (at[1:] == at[:-1] + 1) & ~jump[:-1]) if len(at) else np.zeros(0, dtype=bool)
    which = np.cumsum(~joined) - 1
    last = np.flatnonzero(np.diff(which, append=len(at) + 1)) if len(at) else np.zeros(0, dtype=int)
    length = np.bincount(which, weights=time[at + 1] - time[at]) if len(at) else np.zeros(0)
    kept = length > 0
    return _Sojourns(label[at][last][kept], length[kept], jump[last][kept])


def _from_jumps(paths: JumpPaths) -> DwellTimes:
    """Total time on test of each state."""
    found = _sojourns(paths)
    p, tendency, number = np.full(paths.n_states, np.nan), np.zeros(paths.n_states), np.zeros(paths.n_states)
    for i in range(paths.n_states):
        length, ended = found.length[found.state == i], found.ended[found.state == i]
        number[i] = ended.sum()
        if number[i] < 8:
            continue
        u = _total_time_on_test(length, ended)
        z = (u.mean() - 0.5) * np.sqrt(12 * len(u))
        tendency[i] = -z
        p[i] = min(1.0, 2 * min(float(kstest(u, "uniform").pvalue), float(2 * norm.sf(abs(z)))))
    tested = np.isfinite(p)
    overall = min(1.0, float(np.nanmin(p)) * int(tested.sum())) if tested.any() else 1.0
    return _result(True, p, tendency, overall, number)


def _total_time_on_test(length: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """Share of all time on test that had passed at each leaving but the last: uniform under exponential stays."""
    order = np.argsort(length, kind="stable")
    length, ended = length[order], ended[order]
    at_risk = np.arange(len(length), 0, -1)
    total = np.cumsum(np.diff(length, prepend=0.0) * at_risk)
    leaving = total[ended]
    # without censoring the last leaving ends the test; with it the test ends with the last stay
    return leaving[:-1] / total[-1] if ended[-1] else leaving / total[-1]


def _result(exact: bool, p: np.ndarray, tendency: np.ndarray, overall: float, number: np.ndarray) -> DwellTimes:
    tested = np.flatnonzero(np.isfinite(p))
    if not len(tested):
        said = f"Too few stays were seen to end ({int(number.sum())}) to test whether they are without memory."
    elif overall < LEVEL:
        worst = int(tested[np.argmin(p[tested])])
        why = ("stays that have lasted are likelier to go on: it hides several states, or labels are wrong now and then" if tendency[worst] > 0
               else "stays are more even in length than a single state's: it has steps inside, or a dead time")
        said = f"Stays have memory (p = {overall:.2g}), most of all in state {worst}: {why}."
    else:
        said = f"Stays agree with a process without memory in states {numbers(tested)} (p = {overall:.2g})."
    return DwellTimes(exact, p, tendency, overall, number, bool(len(tested)) and overall < LEVEL, said)


def stays_of(paths: JumpPaths, q: Float[np.ndarray, "state state"]) -> list[Stays]:
    """Survival curves of the stays in each state that was left at least once, as seen and in the model, for a picture.

    Jumps seen as they happened: against ``exp(q_ii t)``. Looks: runs of looks, against the product of ``P_ii(lag)``; a run may hide short absences,
    in the data as in the model.

    Raises:
        ValueError: as `dwell_times`.
    """
    q = single(q, paths)
    if bool((paths.observed == JumpPaths.EXACT).any()):
        found = _sojourns(paths)
        rows = [(i, *_at_times(found.length[found.state == i], found.ended[found.state == i])) for i in range(paths.n_states)]
        return [_curve(i, time, risk, left, np.exp(q[i, i] * time)) for i, time, risk, left in rows if len(time)]
    looks = looks_of(paths)
    pairs = looks.pairs(1, q)
    age, stay = _ages(looks.label, looks.position)[pairs.here], pairs.start == pairs.stop
    chance = np.clip(pairs.table[pairs.lag_class, pairs.start, pairs.start], 0.0, 1.0)
    begin = looks.time - _run_start(looks)
    out = []
    for i in range(paths.n_states):
        mine = pairs.start == i
        if not (mine & ~stay).any():
            continue
        risk, left, kept, end = (np.bincount(age[mine], weights=w)[1:] for w in
                                 (np.ones(mine.sum()), ~stay[mine], chance[mine], begin[pairs.here[mine]] + pairs.lag[mine]))
        last = int(np.flatnonzero(risk >= 1)[-1]) + 1
        full = np.maximum(risk[:last], 1.0)
        out.append(_curve(i, end[:last] / full, full, left[:last], np.cumprod(kept[:last] / full)))
    return out


def _run_start(looks: Looks) -> np.ndarray:
    """Time of the first look of the run that each look is in, ``[look]``."""
    return looks.time[np.arange(len(looks.label)) - _ages(looks.label, looks.position) + 1]


def _at_times(length: np.ndarray, ended: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times of leaving, stays that last at least as long, and how many end then."""
    time, left = np.unique(length[ended], return_counts=True)
    return time, len(length) - np.searchsorted(np.sort(length), time), left.astype(np.float64)


def _curve(state: int, time: np.ndarray, risk: np.ndarray, left: np.ndarray, expected: np.ndarray) -> Stays:
    """Kaplan and Meier's estimate with Greenwood's band, from the numbers at risk and leaving."""
    observed = np.cumprod(1.0 - left / risk)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        wide = 1.96 * np.sqrt(np.cumsum(left / (risk * np.maximum(risk - left, 1e-9))))
        low, high = observed * np.exp(-wide), np.minimum(observed * np.exp(wide), 1.0)
    return Stays(state, time, observed, np.nan_to_num(low), np.where(observed > 0, high, np.nan_to_num(high, nan=1.0)), expected, int(left.sum()))
