"""What deeptime users hold: files of discrete trajectories, and count models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.data.adapters.jumps import jumps_from_dtrajs
from trajlab.types import JumpPaths

__all__ = ["counts_from_deeptime", "read_dtrajs"]


def counts_from_deeptime(model: Any, frame: float = 1.0) -> tuple[Float[np.ndarray, "lag"], Float[np.ndarray, "lag state state"]]:
    """Lag and counts of a `deeptime.markov.TransitionCountModel`, as `PairCounts.from_matrices` takes them.

    Counts of a sliding window count every transition once for each of its ``lagtime`` offsets and are divided by it, so that intervals are not
    narrower than the data are; ``effective`` and ``sample`` counts are taken as they are.

    Args:
        model: the count model.
        frame: time between two frames of its trajectories.

    Returns:
        The one lag, ``[1]``, and the counts, ``[1 state state]``.

    Raises:
        TypeError: no count model.
        ValueError: counts that are negative, or a lag that is not positive.
    """
    matrix, steps = getattr(model, "count_matrix", None), getattr(model, "lagtime", None)
    if matrix is None or steps is None:
        raise TypeError(f"a deeptime TransitionCountModel was wanted (with count_matrix and lagtime), got {type(model).__name__}")
    counts = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)
    lag = float(steps) * frame
    if not (np.isfinite(counts).all() and (counts >= 0).all()) or not (np.isfinite(lag) and lag > 0):
        raise ValueError(f"counts from {counts.min():g} to {counts.max():g} at a lag of {lag:g}; counts of at least 0 and a positive lag were wanted")
    if str(getattr(model, "counting_mode", "")).startswith("sliding") and steps > 1:
        warnings.warn(f"the counts are of a sliding window over {steps} frames and are divided by it; count_mode='effective' is the finer way",
                      stacklevel=2)
        counts = counts / float(steps)
    return np.array([lag]), counts[None]


def read_dtrajs(path: str | Path, lag: float = 1.0, **options: Any) -> JumpPaths:
    """Discrete trajectories from a file: text with one state a line, ``.npy`` (``[frame]`` or ``[path frame]``) or ``.npz`` (the arrays called
    ``dtraj``, ``dtrajs`` or ``discrete_trajectory``, else all that hold whole numbers in one dimension).

    Args:
        path: the file.
        lag: time between frames.
        options: of `jumps_from_dtrajs`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no whole numbers in it, or as `jumps_from_dtrajs`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    paths = jumps_from_dtrajs(_arrays(path), lag, **options)
    return paths.replace(source={"reader": "dtrajs", "file": path.name})


def _arrays(path: Path) -> list[np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            named = [k for k in file if k in ("dtraj", "dtrajs", "discrete_trajectory")]
            found = [np.asarray(file[k]) for k in named or file]
        found = [a for a in found if a.dtype.kind in "iu" and a.ndim in (1, 2)]
        if not found:
            raise ValueError(f"{path} holds no array of whole numbers; an array called dtraj was wanted")
    elif path.suffix == ".npy":
        found = [np.load(path, allow_pickle=False)]
    else:
        try:
            found = [np.loadtxt(path, ndmin=1)]
        except ValueError as error:
            raise ValueError(f"{path} is no text of whole numbers, one state a line ({error})") from error
    return [row for a in found for row in (a if a.ndim == 2 else [a])]
