"""Lyapunov spectra with error bars: several windows, two step sizes, exact tangents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from trajlab.dynamics.compiled import EPSILON, is_exact, tangent
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.lyapunov_result import Lyapunov, entropy, kaplan_yorke
from trajlab.dynamics.ode import REASONS, solve

_WHOLE: WeakKeyDictionary[VectorField, dict[int, Any]] = WeakKeyDictionary()  #: compiled derivatives (0), and orbits with k vectors (k)

__all__ = ["Lyapunov", "entropy", "kaplan_yorke", "later", "lyapunov"]

BLOCKS, ALIGN = 20, 2  #: blocks of a window, and blocks before them in which the vectors find their directions
HALVED = 2.0**8  #: tolerances whose ratio is this have steps whose ratio is 2, with an error of order 8
MOST = 50_000_000  #: evaluations of a window, at most: an orbit that escapes while it turns faster and faster needs ever more
PROBES = 200  #: states of each orbit at which derivatives are compared with differences


def lyapunov(system: Any, x0: Any, duration: float, *, t0: float | Sequence[float] | np.ndarray = 0.0, count: int | None = None, rtol: float = 1e-9,
             atol: float | None = None, seed: int = 0, workers: int | None = None) -> Lyapunov:
    """Lyapunov exponents of a vector field, a map or a delay system.

    Tangent vectors dv/dt = J(t, x) v are carried beside the orbit and re-orthonormalised (QR); an exponent is the mean of log |R_jj| per time
    (Benettin et al. 1980). J comes from `VectorField.tangent`. Each start is a window: ``duration`` of its orbit, after a tenth of it in which the
    vectors find their directions. All of it is done at ``rtol`` and at 256 times ``rtol``, which doubles the steps. The integral of the divergence
    tr J is carried beside, to which the sum of the exponents must be equal.

    Args:
        system: a `VectorField`; or a `trajlab.dynamics.maps.Map` (``duration`` in steps) or `trajlab.dynamics.delay.DelayField`.
        x0: one start a window, ``[window dim]``, on the attractor: see `later`. Three at least for an error from window to window.
        duration: of a window, in the system's time; hundreds of periods give two digits.
        t0: time at the start of each window, for fields that depend on time.
        count: how many exponents, from the largest; by default all (delays: 1).
        rtol, atol: tolerances of the finer step, for orbit and vectors; ``atol`` is ``rtol`` by default.
        seed: of the first vectors.
        workers: threads; by default as many as there are processors.

    Raises:
        ValueError: shapes disagree, a setting is out of its range, or an orbit leaves the range of numbers.
    """
    if not isinstance(system, VectorField):
        return _other(system, x0, duration, count, rtol, seed)
    starts, times, tolerance = _checked(system, x0, duration, t0, rtol, rtol if atol is None else atol)
    vectors = first_vectors(system.dim, system.dim if count is None else count, seed, system.name)
    run, exact = _runner(system, len(vectors), starts, times, duration)
    jobs = [(start, time, scale) for scale in (1.0, HALVED) for start, time in zip(starts, times)]
    with ThreadPoolExecutor(min(len(jobs), workers or os.cpu_count() or 1)) as pool:
        told = list(pool.map(lambda job: run(job[0], vectors, job[1], duration, *(job[2] * tolerance)), jobs))
    return _gathered(system, told, len(starts), duration, tolerance, exact)


def _gathered(system: VectorField, told: list[Any], windows: int, duration: float, tolerance: np.ndarray, exact: bool) -> Lyapunov:
    """The result, from (status, blocks, time, evaluations, growth, divergence) of the windows at the finer and then the coarser step."""
    span = duration / BLOCKS
    for number, (status, _, reached, *_) in enumerate(told):
        if status:
            raise ValueError(f"{system.name}: window {number % windows} ended at t = {reached:.6g}, after the first vectors' "
                             f"{ALIGN * span:.6g} and of {duration:.6g}: {REASONS[status]}. Start on the attractor, shorten it or tighten rtol")
    growth = np.stack([item[4][ALIGN:] for item in told]) / span
    fine, coarse = growth[:windows], growth[windows:]
    order = np.argsort(-fine.mean((0, 1)), kind="stable")
    divergences = np.stack([item[5][ALIGN:] for item in told[:windows]]) / span
    rtol = float(tolerance[0])
    return Lyapunov(fine[:, :, order], coarse[:, :, order], divergences, float(duration), system.dim, system.name, system.period,
                    (rtol, HALVED * rtol), exact, int(sum(item[3] for item in told)))


def _runner(system: VectorField, count: int, starts: np.ndarray, times: np.ndarray, duration: float) -> tuple[Any, bool]:
    """A function (start, vectors, time, duration, rtol, atol) -> (status, blocks, time reached, evaluations, growth, divergence), and whether its
    derivatives are exact."""
    if system.rhs is None:
        from trajlab.dynamics.lyapunov_plain import run

        return lambda *given: run(system, *given), False
    from trajlab.dynamics.lyapunov_driver import augmented, spectrum_driver

    known, drive = _WHOLE.setdefault(system, {}), spectrum_driver()
    if not known:
        known[0] = checked_tangent(system, starts, times, duration)
    if count not in known:
        known[count] = augmented(system.rhs, known[0], system.dim, count)
    whole = known[count]

    def compiled(start: np.ndarray, vectors: np.ndarray, time: float, duration: float, rtol: float, atol: float) -> tuple[Any, ...]:
        state = np.concatenate([start, vectors.reshape(-1), [0.0]])
        growth, divergence = np.zeros((ALIGN + BLOCKS, count)), np.zeros(ALIGN + BLOCKS)
        return *drive(whole, state, float(time), duration / BLOCKS, system.p, rtol, atol, MOST, growth, divergence), growth, divergence

    return compiled, is_exact(known[0])


def checked_tangent(system: VectorField, starts: np.ndarray, times: np.ndarray, duration: float) -> Any:
    """The field's compiled derivatives if they agree with differences along the orbits, and compiled differences if they do not.

    An imaginary step is silently wrong where a function drops imaginary parts, which a few probes may not show: a Chua diode's kinks are felt within
    them alone.
    """
    bad, eye, columns, up, down = [], np.eye(system.dim), np.empty((system.dim, system.dim)), np.empty(system.dim), np.empty(system.dim)
    if not system.exact:
        return system.tangent
    grid = np.concatenate([[0.0], np.sort(np.random.default_rng(0).uniform(0.0, 0.1 * duration, PROBES))])
    for start, time in zip(starts, times):
        orbit = solve(system, start[None], time + grid, rtol=1e-6, atol=1e-6, failed="keep").x[0]
        for t, x in zip(time + grid, orbit[np.isfinite(orbit).all(1)]):
            system.tangent(t, x, eye, system.p, columns)
            size = EPSILON * np.maximum(1.0, np.abs(x))
            for j in range(system.dim):
                system.rhs(t, x + size[j] * eye[j], system.p, up)
                system.rhs(t, x - size[j] * eye[j], system.p, down)
                slope = (up - down) / (2.0 * size[j])
                if not np.allclose(slope, columns[j], rtol=1e-3, atol=1e-4 * max(1.0, np.abs(columns).max())):
                    bad.append(x)
    # A kink may lie within a difference by chance; a wrong derivative shows again and again.
    wrong = len(bad) > len(starts) * PROBES // 100
    return tangent(system.function, system.dim, None, (np.array(bad), system.p)) if wrong else system.tangent


def first_vectors(dim: int, count: int, seed: int, name: str) -> np.ndarray:
    """Random orthonormal rows ``[count dim]``: unit vectors may lie in a subspace that the tangent map keeps.

    Raises:
        ValueError: ``count`` is not in 1 .. dim.
    """
    if not 1 <= count <= dim:
        raise ValueError(f"{name}: count={count}; 1 to {dim} exponents can be had of {dim} dimensions")
    square = np.random.default_rng(seed).normal(size=(dim, dim))
    return np.ascontiguousarray(np.linalg.qr(square)[0].T[:count])


def later(field: VectorField, start: Any, windows: int, transient: float, spacing: float, *, t0: float = 0.0, rtol: float = 1e-9
          ) -> tuple[np.ndarray, np.ndarray]:
    """Starts of windows along one orbit: at t0 + transient, and then ``spacing`` apart.

    Returns:
        starts ``[window dim]`` and their times ``[window]``.

    Raises:
        ValueError: ``transient`` or ``spacing`` is not positive, or the orbit ends early.
    """
    if windows < 1 or not transient > 0 or not spacing > 0:
        raise ValueError(f"windows={windows}, transient={transient}, spacing={spacing}; positive ones were wanted")
    times = t0 + np.concatenate([[0.0], transient + spacing * np.arange(windows)])
    orbit = solve(field, np.atleast_2d(np.asarray(start, dtype=np.float64))[:1], times, rtol=rtol, atol=rtol, most=1_000_000_000)
    return np.ascontiguousarray(orbit.x[0, 1:]), times[1:]


def _other(system: Any, x0: Any, duration: float, count: int | None, rtol: float, seed: int) -> Lyapunov:
    kind = type(system).__name__
    if kind == "Map":
        from trajlab.dynamics.lyapunov_maps import map_spectrum

        return map_spectrum(system, x0, duration, count, seed)
    if kind == "DelayField":
        from trajlab.dynamics.lyapunov_delay import delay_spectrum

        return delay_spectrum(system, x0, duration, count, rtol, seed)
    raise TypeError(f"a VectorField, Map or DelayField was wanted, got {kind}; write the right-hand side as VectorField.of(f, dim, ...)")


def _checked(system: VectorField, x0: Any, duration: float, t0: Any, rtol: float, atol: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts = np.ascontiguousarray(np.atleast_2d(np.asarray(x0, dtype=np.float64)))
    if starts.ndim != 2 or starts.shape[1] != system.dim or not len(starts):
        raise ValueError(f"{system.name}: starts of shape {starts.shape}; [window {system.dim}] was wanted")
    if not np.isfinite(starts).all():
        raise ValueError(f"{system.name}: starts of windows {np.flatnonzero(~np.isfinite(starts).all(1)).tolist()} are not finite")
    if not (np.isfinite(duration) and duration > 0):
        raise ValueError(f"{system.name}: duration={duration!r}; a positive time was wanted, hundreds of periods for two digits")
    if not (0 < rtol < 1e-4 and atol > 0):
        raise ValueError(f"{system.name}: rtol={rtol!r}, atol={atol!r}; positive ones, and rtol below 1e-4, were wanted: 256 rtol is tried too")
    times = np.broadcast_to(np.asarray(t0, dtype=np.float64), (len(starts),))
    return starts, times, np.array([rtol, atol])
