"""Snapshots from arrays and tables, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trajlab as tl

A, B = np.arange(6.0).reshape(3, 2), np.arange(10.0).reshape(5, 2) ** 2


def test_three_layouts_say_the_same():
    one = tl.snapshots_from_numpy([A, B], [0.5, 2.0], weight=[np.ones(3), np.arange(5.0)], names=("u", "v"))
    two = tl.snapshots_from_numpy(np.concatenate([B, A]), [2.0] * 5 + [0.5] * 3, weight=np.r_[np.arange(5.0), np.ones(3)], names=("u", "v"))
    for name in ("x", "time", "snapshot", "weight"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    three = tl.snapshots_from_numpy(np.stack([A, A + 1]).astype(int), np.array([0, 1]))
    assert three.x.dtype == torch.float64
    assert three.n_snapshots == 2
    assert torch.equal(three.at(1), torch.from_numpy(A + 1))


def test_round_trips():
    given = tl.snapshots_from_numpy([A, B], [0.5, 2.0], weight=[np.ones(3), np.arange(5.0)], names=("u", "v"))
    parts, time = tl.snapshots_to_numpy(given)
    assert np.array_equal(parts[0], A)
    assert np.array_equal(parts[1], B)
    assert time.tolist() == [0.5, 2.0]
    again = tl.snapshots_from_table(tl.snapshots_to_table(given).sample(frac=1, random_state=0), weight="weight")
    assert again.names == ("u", "v")
    assert torch.equal(again.time, given.time)
    assert sorted(map(tuple, again.x.tolist())) == sorted(map(tuple, given.x.tolist()))
    assert float((again.weight * again.x[:, 0]).sum()) == pytest.approx(float((given.weight * given.x[:, 0]).sum()))


def test_tables_read_labels():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"day": ["D2", "D10", "D2", "D10"], "a": [1, 2, 3, 4], "b": [1.0, 2, 3, 5], "name": list("wxyz")})
    found = tl.snapshots_from_table(table, time="day")
    assert found.names == ("a", "b")
    assert found.time.tolist() == [2, 10]
    assert found.units.time == "day"
    assert found.x.tolist() == [[1, 1], [3, 3], [2, 2], [4, 5]]
    assert found.source["cell"].tolist() == [0, 2, 1, 3]
    with pytest.raises(ValueError, match="did you mean 'day'"):
        tl.snapshots_from_table(table, time="days")
    with pytest.raises(ValueError, match="no columns of numbers"):
        tl.snapshots_from_table(table[["day", "name"]], time="day")
    table.loc[2, "b"] = np.nan
    with pytest.raises(ValueError, match="nan in cell '2', column 'b'"):
        tl.snapshots_from_table(table, time="day")


@pytest.mark.parametrize(("x", "time", "message"), [
    ([A, B], [2.0, 0.5], "increas"),
    ([A, B], [1.0, 1.0], "increas"),
    ([A, B], [0.0, np.nan], "finite"),
    ([A, B], [0.0, 1.0, 2.0], "2 snapshots and 3 times"),
    ([A, B[:0]], [0.0, 1.0], "snapshot 1 has shape .0, 2."),
    ([A, B[:, :1]], [0.0, 1.0], "snapshot 1 has shape"),
    (A, [0.0, 1.0], "2 times for an array of 3 cells"),
    ([A, np.where(B == 4, np.inf, B)], [0.0, 1.0], "inf in cell '4 .of snapshot 1.', column 'x1'"),
    ([A, np.where(B == 1, np.nan, B)], [0.0, 1.0], "column 'x2'"),
    ([], [], "0 snapshots"),
])
def test_bad_arrays(x, time, message):
    with pytest.raises(ValueError, match=message):
        tl.snapshots_from_numpy(x, time)


def test_lone_cells_are_told():
    with pytest.warns(UserWarning, match=r"\['3'\] have one cell"):
        tl.snapshots_from_numpy([A, B[1:2]], [0.0, 3.0])
