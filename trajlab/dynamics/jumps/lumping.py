"""Metastable sets: PCCA+ on the eigenvectors or real Schur vectors of a generator, and the coarse generator between them.

Membership functions ``chi = X A`` are combinations of the m slowest vectors X: non-negative, summing to one, as crisp as they can be (Deuflhard
and Weber 2005; Roeblitz and Weber 2013). Without detailed balance the vectors are those of the real Schur form, which span the same invariant
subspace and are real where eigenvalues are complex (Reuter, Weber, Fackeldey, Roeblitz and Garcia 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import expm, schur
from scipy.optimize import minimize

from trajlab.dynamics.jumps.elimination import closed_classes, off_diagonal, stack
from trajlab.dynamics.jumps.observables import spectrum, stationary_distribution

__all__ = ["Lumping", "aggregated", "lump", "number_of_sets", "possible_numbers"]


@dataclass(frozen=True, eq=False)
class Lumping:
    """Metastable sets of a process.

    Attributes:
        membership: ``chi``, how much each state belongs to each set, rows sum to one, ``[state set]``.
        assignment: the set with the largest membership, ``[state]``. Sets are numbered by their smallest state.
        generator: the coarse generator ``(chi^T D chi)^-1 chi^T D q chi`` (Kube and Weber 2007), ``[set set]``: its eigenvalues are the m slowest
            of the process; small negative rates are possible (`proper`).
        stationary: weight of each set, ``[set]``.
        crispness: from 0 to 1, the mean diagonal of the overlap of the sets; 1 where no state is shared.
        gap: ``|Re lambda_{m+1}| / |Re lambda_m|``, how much faster the slowest mode left out is than the fastest kept; infinite where none is left.
        proper: whether no rate of the coarse generator is negative.
    """

    membership: Float[np.ndarray, "state set"]
    assignment: Int[np.ndarray, "state"]
    generator: Float[np.ndarray, "set set"]
    stationary: Float[np.ndarray, "set"]
    crispness: float
    gap: float
    proper: bool

    @property
    def n_sets(self) -> int:
        return self.membership.shape[1]

    @property
    def lifetimes(self) -> Float[np.ndarray, "set"]:
        """Mean time of a stay in each set, of the coarse generator."""
        with np.errstate(divide="ignore"):
            return -1.0 / np.diag(self.generator)

    def metastability(self, lag: float) -> float:
        """Mean probability of being in the same set a lag later, ``trace exp(Q_c lag) / m``; 1 where nothing leaves."""
        return float(np.trace(expm(self.generator * lag)) / self.n_sets)


def possible_numbers(q: Float[np.ndarray, "state state"]) -> list[int]:
    """Numbers of sets that split no pair of complex eigenvalues."""
    values = spectrum(q)
    paired = np.abs(values.imag) > 1e-12 * np.abs(values).max(initial=1e-300)
    found, k = [], 0
    while k < len(values):
        k += 2 if paired[k] else 1
        found.append(k)
    return found


def number_of_sets(q: Float[np.ndarray, "state state"], most: int | None = None) -> int:
    """The number m from 2 to ``most`` with the largest gap ``|Re lambda_{m+1}| / |Re lambda_m|`` in the spectrum.

    Raises:
        ValueError: this is no generator, or it has fewer than three states.
    """
    q = _single(q)
    if len(q) < 3:
        raise ValueError(f"{len(q)} states cannot be lumped; at least 3 were wanted")
    speed = -spectrum(q).real
    allowed = [m for m in possible_numbers(q) if 2 <= m < len(q) and (most is None or m <= most)]
    if not allowed:
        raise ValueError(f"no number of sets from 2 to {most or len(q) - 1} keeps complex pairs together; possible are {possible_numbers(q)}")
    with np.errstate(divide="ignore", invalid="ignore"):
        return max(allowed, key=lambda m: speed[m] / speed[m - 1] if speed[m - 1] > 0 else np.inf)


def lump(q: Float[np.ndarray, "state state"], n_sets: int | None = None, *, optimise: bool = True) -> Lumping:
    """Metastable sets by PCCA+.

    Args:
        q: rates; every state must be in the one closed class (have stationary weight).
        n_sets: number of sets; by the gap of the spectrum (`number_of_sets`) where left out.
        optimise: make the memberships crisper than the inner simplex does, by Nelder and Mead's search (sets up to 8).

    Raises:
        ValueError: this is no generator, there are transient states or several closed classes, or the number of sets is outside 2 to the number of
            states or splits a pair of complex eigenvalues.
    """
    q = _single(q)
    recurrent, classes = closed_classes(q)
    if not recurrent.all() or classes > 1:
        what = f"states {np.flatnonzero(~recurrent).tolist()} are transient" if not recurrent.all() else f"{int(classes)} classes are closed"
        raise ValueError(f"{what}; metastable sets need a process that can go from every state to every other: leave states out, or add the links")
    m = number_of_sets(q) if n_sets is None else n_sets
    possible = [k for k in possible_numbers(q) if k >= 2]
    if m not in possible:
        raise ValueError(f"{m} sets of {len(q)} states were asked for; possible, without splitting a pair of complex eigenvalues, are {possible}")
    pi = stationary_distribution(q)
    x = _slow_vectors(q, pi, m)
    a = _inner_simplex(x)
    if optimise and 2 < m <= 8:
        a = _crisper(x, a)
    return _lumping(q, pi, np.clip(x @ a, 0.0, 1.0), m)


def _single(q: np.ndarray) -> np.ndarray:
    q = stack(q)
    if q.ndim != 2:
        raise ValueError(f"the generator has shape {q.shape}; sets are found of one generator, [state state]")
    return q


def _slow_vectors(q: np.ndarray, pi: np.ndarray, m: int) -> np.ndarray:
    """An orthonormal basis (weights pi) of the m slowest modes, the constant first, ``[state m]``."""
    root = np.sqrt(pi)
    scaled = root[:, None] * q / root
    symmetric = np.abs(scaled - scaled.T).max() <= 1e-12 * np.abs(scaled).max()
    if symmetric:
        vectors = np.linalg.eigh((scaled + scaled.T) / 2)[1][:, ::-1][:, :m]
    else:
        values = spectrum(q)
        bar = (values[m - 1].real + values[m].real) / 2 if m < len(q) else -np.inf
        _, vectors, kept = schur(scaled, output="real", sort=lambda re, _im: re > bar)
        if kept != m:
            raise ValueError(f"the modes number {m} and {m + 1} are as slow as each other to within rounding; choose another number of sets")
        vectors = vectors[:, :m]
    # the stationary mode exactly, the others orthogonal to it
    basis = np.linalg.qr(np.column_stack([root, vectors]))[0] if m == len(q) else _completed(root, vectors)
    return (basis * np.sign(basis[0, 0]))[:, :m] / root[:, None]


def _completed(root: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The span of the vectors, with a basis that begins with the root of the stationary distribution (which lies in it)."""
    rest = vectors - np.outer(root, root @ vectors)
    left = np.linalg.svd(rest, full_matrices=False)[0][:, : vectors.shape[1] - 1]
    return np.column_stack([root, left])


def _inner_simplex(x: np.ndarray) -> np.ndarray:
    """``A`` of the memberships, from the m states that are furthest apart (Weber and Galliat 2002), made feasible."""
    left = x - x[np.argmax((x**2).sum(1))]
    chosen = [int(np.argmax((x**2).sum(1)))]
    for _ in range(x.shape[1] - 1):
        chosen.append(int(np.argmax((left**2).sum(1))))
        axis = left[chosen[-1]] / np.linalg.norm(left[chosen[-1]])
        left = left - np.outer(left @ axis, axis)
    return _feasible(np.linalg.inv(x[chosen]), x)


def _feasible(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The nearest ``A`` with memberships that are not negative and sum to one (Roeblitz and Weber 2013)."""
    a = a.copy()
    a[1:, 0] = -a[1:, 1:].sum(1)
    a[0] = -(x[:, 1:] @ a[1:]).min(0)
    return a / a[0].sum()


def _crispness(a: np.ndarray) -> float:
    """Mean diagonal of ``diag(chi^T pi)^-1 chi^T D chi`` for orthonormal modes."""
    return float(((a**2).sum(0) / a[0]).mean()) if (a[0] > 0).all() else 0.0


def _crisper(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The most crisp memberships near to a start."""
    shape = a[1:, 1:].shape

    def loss(inner: np.ndarray) -> float:
        trial = a.copy()
        trial[1:, 1:] = inner.reshape(shape)
        return -_crispness(_feasible(trial, x))

    found = minimize(loss, a[1:, 1:].ravel(), method="Nelder-Mead", options={"maxfev": 400 * shape[0] ** 2, "fatol": 1e-10, "xatol": 1e-8})
    best = a.copy()
    best[1:, 1:] = found.x.reshape(shape)
    best = _feasible(best, x)
    return best if _crispness(best) >= _crispness(a) else a


def _lumping(q: np.ndarray, pi: np.ndarray, chi: np.ndarray, m: int) -> Lumping:
    """Sets in the order of their smallest state, and the coarse generator."""
    chi = chi / chi.sum(1, keepdims=True)
    hard = chi.argmax(1)
    first = [np.flatnonzero(hard == k)[0] if (hard == k).any() else len(hard) + k for k in range(m)]
    chi = chi[:, np.argsort(first)]
    weight = pi[:, None] * chi
    coarse = np.linalg.solve(weight.T @ chi, weight.T @ q @ chi)
    speed = -spectrum(q).real
    gap = float(speed[m] / speed[m - 1]) if m < len(q) else np.inf
    crisp = float(np.mean(np.diag(weight.T @ chi) / weight.sum(0)))
    proper = bool((off_diagonal(coarse) >= -1e-10 * np.abs(coarse).max()).all())
    return Lumping(chi, chi.argmax(1), coarse, weight.sum(0), crisp, gap, proper)


def aggregated(q: Float[np.ndarray, "... state state"], assignment: Int[np.ndarray, "state"]) -> Float[np.ndarray, "... set set"]:
    """The generator of the stationary fluxes between sets of states, ``sum_{i in A} pi_i q_ij / pi_A``.

    Always a generator, with the right stationary weights; its relaxation times are too short where the sets are not metastable. Takes many
    generators on leading axes.

    Raises:
        ValueError: this is no generator, the assignment does not fit or skips a set, or a set has no stationary weight.
    """
    q = stack(q)
    assignment = np.asarray(assignment)
    if assignment.shape != q.shape[-1:] or assignment.min() < 0 or len(np.unique(assignment)) != assignment.max() + 1:
        raise ValueError(f"the assignment is {assignment.tolist()}; a set from 0 on for each of {q.shape[-1]} states, no set without one, was wanted")
    member = np.eye(int(assignment.max()) + 1)[assignment]
    pi = stationary_distribution(q)
    weight = pi @ member
    if not (weight > 0).all():
        raise ValueError(f"the sets {np.unique(np.argwhere(weight <= 0)[:, -1]).tolist()} have no stationary weight; lump them with where they lead")
    rates = off_diagonal(member.T @ (pi[..., None] * off_diagonal(q)) @ member) / weight[..., None]
    return rates - rates.sum(-1)[..., None] * np.eye(rates.shape[-1])
