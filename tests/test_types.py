"""The nouns check themselves and say what is wrong with names and numbers."""

from __future__ import annotations

import re

import pytest
import torch
from jaxtyping import TypeCheckError

from trajlab import Forecast, Graph, JumpPaths, Snapshots, Trajectories, Units
from trajlab import _checks as check
from trajlab.units import factor


def tracks(**changes):
    known = {"x": torch.randn(5, 4, 2), "time": torch.arange(4.0).repeat(2, 1), "scene": torch.tensor([0, 0, 0, 1, 1]),
             "extra": {"velocity": torch.randn(5, 4, 2)}, "static": {"mass": torch.ones(5)}, "context": {"run": torch.tensor([7, 8])}}
    return Trajectories(**{**known, **changes})


def says(words, **changes):
    with pytest.raises((ValueError, TypeError, TypeCheckError), match=re.escape(words)):
        tracks(**changes)


def test_fills_in_what_was_left_out():
    t = tracks()
    assert bool(t.mask.all())
    assert t.kind.tolist() == [0] * 5
    assert t.time.dtype == torch.float64
    assert (t.n_nodes, t.n_frames, t.n_scenes, t.dim, t.spacing) == (5, 4, 2, 2, 1.0)
    assert t.ptr.tolist() == [0, 3, 5]
    assert "2 scenes, 5 nodes, 4 frames" in repr(t)


def test_nan_is_refused_where_it_was_observed_and_allowed_where_not():
    x = torch.randn(5, 4, 2)
    x[3, 2, 1] = torch.nan
    says("x is not finite at node 3, frame 2 (1 such places)", x=x)
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[3, 2] = False
    assert not bool(tracks(x=x, mask=mask, extra={}).mask.all())


def test_velocity_nan_is_refused():
    v = torch.zeros(5, 4, 2)
    v[1, 0, 0] = torch.inf
    says("extra['velocity'] is not finite at node 1, frame 0", extra={"velocity": v})


@pytest.mark.parametrize(("words", "changes"), [
    ("time must increase", {"time": torch.tensor([[0.0, 1, 1, 2], [0, 1, 2, 3]])}),
    ("must be sorted, but entry 0 is 1 and entry 1 is 0", {"scene": torch.tensor([1, 0, 0, 1, 1])}),
    ("scene runs from 0 to 2; 0 to 1 was wanted", {"scene": torch.tensor([0, 0, 1, 2, 2])}),
    ("the number of nodes disagrees", {"static": {"mass": torch.ones(4)}}),
    ("the number of scenes disagrees", {"context": {"run": torch.tensor([1])}}),
    ("the number of frames disagrees", {"extra": {"velocity": torch.randn(5, 3, 2)}}),
    ("the mass of node 2 is -1", {"static": {"mass": torch.tensor([1.0, 1, -1, 1, 1])}}),
    ("pbc without cell", {"pbc": torch.ones(2, 3, dtype=torch.bool)}),
    ("a cell needs positions in 3 dimensions", {"cell": torch.eye(3).repeat(2, 1, 1)}),
    ("values that are not finite; pad the clock", {"time": torch.tensor([[0.0, 1, 2, torch.nan], [0, 1, 2, 3]])}),
])
def test_what_disagrees_is_named(words, changes):
    says(words, **changes)


def unchecked(noun, **values):
    """A noun as it is while it checks itself, without the shape checker of the tests in front."""
    made = object.__new__(noun)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def test_axes_and_types_without_the_shape_checker():
    with pytest.raises(TypeError, match=re.escape("Trajectories.x is a list; pass a torch tensor")):
        check.rank("Trajectories", x=([[0.0]], 3))
    with pytest.raises(ValueError, match=re.escape("Trajectories.x has shape (5, 4); 3 axes were wanted")):
        check.rank("Trajectories", x=(torch.randn(5, 4), 3))
    edges = torch.tensor([[1, 2, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="the number of edges disagrees: edges has 3, weight has 2"):
        check.graph(unchecked(Graph, edges=edges, n_nodes=3, shift=None, weight=torch.ones(2)))


def test_what_is_missing_says_how_to_get_it():
    bare = tracks(extra={}, static={})
    with pytest.raises(ValueError, match="finite_differences"):
        _ = bare.velocity
    with pytest.raises(ValueError, match="no masses"):
        _ = bare.mass
    with pytest.raises(ValueError, match="not evenly spaced"):
        _ = tracks(time=torch.tensor([[0.0, 1, 2, 4], [0, 1, 2, 3]])).spacing
    with pytest.raises(ValueError, match="at least 2 frames"):
        _ = bare.last().spacing
    with pytest.raises(ValueError, match="last 9 frames of 4"):
        bare.last(9)


def test_scenes_and_frames_take_everything_along():
    t = tracks()
    part = t.scenes([1, 0])
    assert part.scene.tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(part.x, torch.cat([t.x[3:], t.x[:3]]))
    assert part.context["run"].tolist() == [8, 7]
    late = t.last(2)
    assert torch.equal(late.velocity, t.velocity[:, 2:])
    assert torch.equal(late.time, t.time[:, 2:])


def test_immutable():
    with pytest.raises(AttributeError):
        tracks().x = torch.zeros(1)
    with pytest.raises(TypeError):
        tracks().extra["new"] = torch.zeros(5, 4)


def test_to_keeps_the_clock_precise():
    t = tracks().to(dtype=torch.float32)
    assert t.x.dtype == torch.float32
    assert t.time.dtype == torch.float64


def test_snapshots():
    s = Snapshots(torch.randn(4, 2), torch.tensor([0, 0, 1, 1]), torch.tensor([0.0, 3.0]), names=("a", "b"))
    assert torch.equal(s.at(1), s.x[2:])
    assert s.weight.tolist() == [1] * 4
    for words, changes in (("snapshots [1] have no cells", {"snapshot": torch.tensor([0, 0, 0, 0])}),
                           ("smallest weight is -1", {"weight": -torch.ones(4)}),
                           ("1 names for 2 dimensions", {"names": ("a",)}), ("must increase", {"time": torch.tensor([3.0, 0.0])})):
        with pytest.raises(ValueError, match=re.escape(words)):
            s.replace(**changes)


def test_jump_paths():
    j = JumpPaths(torch.tensor([0, 1, 0, -1]), torch.tensor([0.0, 1.5, 0.0, 2.0]), torch.tensor([0, 0, 1, 1]), 2, torch.tensor([0, 1, 0, 2]))
    assert j.n_paths == 2
    for words, changes in (("label 5 of observation 0 is not one of the states 0 to 1", {"label": torch.tensor([5, 1, 0, -1])}),
                           ("time goes back from 1.5 to 1", {"time": torch.tensor([1.5, 1.0, 0.0, 2.0])}),
                           ("is a panel or exact look but has no label", {"observed": torch.zeros(4, dtype=torch.long)})):
        with pytest.raises(ValueError, match=re.escape(words)):
            j.replace(**changes)


def test_graph():
    g = Graph(torch.tensor([[1, 2, 0], [0, 0, 1]]), 3)
    assert g.n_edges == 3
    assert Graph(torch.zeros(2, 0, dtype=torch.long), 3).n_edges == 0
    for words, changes in (("must be sorted", {"edges": torch.tensor([[1, 2], [1, 0]])}),
                           ("senders run from 0 to 9", {"edges": torch.tensor([[9, 0], [0, 1]])})):
        with pytest.raises(ValueError, match=re.escape(words)):
            g.replace(**changes)


def test_forecast():
    past = tracks()
    f = Forecast(torch.randn(2, 5, 3, 2), past, past.time[:, -1:] + torch.arange(1.0, 4))
    assert f.stopped == ("", "")
    assert f.trajectories(1).n_frames == 3
    with pytest.raises(ValueError, match="begins before its past ends"):
        f.replace(time=f.time - 2)
    snapshots = Snapshots(torch.randn(4, 2), torch.tensor([0, 0, 1, 1]), torch.tensor([0.0, 3.0]))
    with pytest.raises((TypeError, TypeCheckError), match="Trajectories"):
        Forecast(f.draws, snapshots, f.time)


def test_units():
    assert factor("time", "ps", "fs") == pytest.approx(1000)
    assert factor("length", "nm", "angstrom") == pytest.approx(10)
    with pytest.raises(ValueError, match="unknown unit of time: 'fortnight'"):
        Units(time="fortnight")
    with pytest.raises(ValueError, match="cannot convert length"):
        factor("length", "1", "m")
