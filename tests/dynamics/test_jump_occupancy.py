"""Where a process was between its observations, against Bayes' formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from trajlab.dynamics.jumps.emissions import Exactly, Flip
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.occupancy import occupancy
from trajlab.dynamics.jumps.smoothing import Intervals, smooth
from trajlab.types import JumpPaths

Q = from_rates(np.array([[0, 1.0, 0.5], [0.4, 0, 0.8], [0.6, 0.9, 0]]))
START = np.array([0.2, 0.3, 0.5])


def paths():
    """A path with a look, an entry of known date, a stay and a jump; another that is looked at twice."""
    kind = [JumpPaths.PANEL, JumpPaths.PANEL, JumpPaths.ENTRY, JumpPaths.EXACT, JumpPaths.EXACT, JumpPaths.PANEL, JumpPaths.PANEL]
    return JumpPaths(torch.tensor([0, 1, 2, 2, 0, 1, 2]), torch.tensor([0.0, 1.0, 1.5, 2.0, 3.0, 10.0, 12.0]).double(),
                     torch.tensor([0, 0, 0, 0, 0, 1, 1]), 3, observed=torch.tensor(kind), covariates={"dose": torch.tensor([0.0, 0, 1, 1, 1, 0, 0])})


def test_between_looks_and_after_the_last():
    times = np.array([3.5, 0.4, 1.2, 1.7, 2.9, 3.0, 1.0])
    found = occupancy(Q, paths(), Exactly(), START, times)
    between = expm(0.4 * Q)[0] * expm(0.6 * Q)[:, 1]
    off = Q - np.diag(np.diag(Q))
    entered = expm(0.2 * Q)[1] * (expm(0.3 * Q) @ off)[:, 2]
    wanted = [expm(0.5 * Q)[0], between / between.sum(), entered / entered.sum(), [0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_paths_in_any_order_with_wrong_labels_and_groups():
    data, emission, generators = paths(), Flip(0.2), [Q, 2 * Q]
    times, path = np.array([11.0, 0.0, 10.0, 1.0, 12.0, 3.0]), np.array([1, 0, 1, 0, 1, 0])
    found = occupancy(generators, data, emission, START, times, path, ("dose",))
    posterior = smooth(generators, Intervals.from_paths(data, ("dose",)), emission.likelihood(data), START).posterior
    np.testing.assert_allclose(found[1:], posterior[[0, 5, 1, 6, 4]], atol=1e-12)
    rows = np.asarray(emission.likelihood(data))
    middle = (START * rows[5]) @ expm(Q) * (expm(Q) @ rows[6])
    np.testing.assert_allclose(found[0], middle / middle.sum(), atol=1e-12)
    late = occupancy(generators, data, emission, START, np.array([3.7]), 0, ("dose",))
    np.testing.assert_allclose(late[0], posterior[4] @ expm(2 * Q * 0.7), atol=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="time 9 of path 1 is not at or after its first observation, 10"):
        occupancy(Q, paths(), Exactly(), START, np.array([11.0, 9.0]), 1)
    with pytest.raises(ValueError, match="time nan of path 0"):
        occupancy(Q, paths(), Exactly(), START, np.array([np.nan]))
    with pytest.raises(ValueError, match="there are paths 0 to 1"):
        occupancy(Q, paths(), Exactly(), START, np.array([1.0]), 2)
    with pytest.raises(ValueError, match="impossible"):
        occupancy(Q, paths(), Exactly(), np.array([0.0, 1, 0]), np.array([1.0]))
