"""Neighbour lists against a replicated cell, and the Verlet list against the plain one."""

from __future__ import annotations

import itertools
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trajlab.data import graphs
from trajlab.data.graphs import VerletList, neighbours


def brute_force(x, scene, n_scenes, cutoff, cell, pbc, reach):
    """Every pair of every scene over `reach` images on each side, by adding them all."""
    found = set()
    for s in range(n_scenes):
        nodes = (scene == s).nonzero().flatten()
        sides = [range(-reach, reach + 1) if cell is not None and pbc[s, k] else (0,) for k in range(3)]
        image = torch.tensor(list(itertools.product(*sides)), dtype=x.dtype)
        shift = image @ cell[s]
        r = x[nodes][None, :, None] - x[nodes][:, None, None] + shift  # [receiver sender image 3]
        same = torch.eye(len(nodes), dtype=torch.bool)[..., None] & (image == 0).all(1)
        for j, i, m in ((r.norm(dim=-1) < cutoff) & ~same).nonzero().tolist():
            found.add((int(nodes[j]), int(nodes[i]), *(round(v, 4) + 0.0 for v in shift[m].tolist())))
    return found


def as_set(graph):
    shift = torch.zeros(graph.n_edges, 3) if graph.shift is None else graph.shift
    rows = torch.cat([graph.receiver[:, None], graph.sender[:, None], shift], 1).tolist()
    edges = [(int(j), int(i), *(round(v, 4) + 0.0 for v in rest)) for j, i, *rest in rows]
    assert len(set(edges)) == len(edges), "an edge is listed twice"
    return set(edges)


def box(generator, size=4.0, tilt=0.8):
    return size * torch.eye(3, dtype=torch.float64) + tilt * torch.randn(3, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("limit", [graphs.ALL_PAIRS, 0], ids=["all pairs", "cell list"])
@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, True)], ids=str)
def test_small_periodic_cells_against_replication(limit, pbc, generator, monkeypatch):
    monkeypatch.setattr(graphs, "ALL_PAIRS", limit)
    cell = torch.stack([box(generator), box(generator)])
    scene = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    x = 9 * torch.randn(7, 3, generator=generator, dtype=torch.float64)  # far out of the cell, as unwrapped positions are
    pbc = torch.tensor([pbc, pbc])
    got = neighbours(x, scene, 2, 3.9, cell, pbc)  # the heights are about 4: far below twice the cutoff
    want = brute_force(x, scene, 2, 3.9, cell, pbc, reach=14)
    assert as_set(got) == want
    assert any(i == j for j, i, *_ in want) or not pbc.all()


def test_both_paths_give_the_same_list_in_the_same_order(generator, monkeypatch):
    cell = box(generator, 12.0)[None]
    x = 12 * torch.rand(40, 3, generator=generator, dtype=torch.float64)
    scene = torch.zeros(40, dtype=torch.long)
    first = neighbours(x, scene, 1, 5.0, cell)
    monkeypatch.setattr(graphs, "ALL_PAIRS", 0)
    second = neighbours(x, scene, 1, 5.0, cell)
    assert torch.equal(first.edges, second.edges)
    assert torch.equal(first.shift, second.shift)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("limit", [graphs.ALL_PAIRS, 0], ids=["all pairs", "cell list"])
def test_open_scenes_of_mixed_sizes(dim, limit, generator, monkeypatch):
    monkeypatch.setattr(graphs, "ALL_PAIRS", limit)
    scene = torch.tensor([0] * 5 + [2] * 3 + [3])  # scene 1 is empty, scene 3 a single node
    x = torch.randn(9, dim, generator=generator)
    got = neighbours(x, scene, 4, 1.5)
    close = (torch.cdist(x.double(), x.double()) < 1.5) & (scene[:, None] == scene) & ~torch.eye(9, dtype=torch.bool)
    receiver, sender = close.nonzero(as_tuple=True)
    assert torch.equal(got.edges, torch.stack([sender, receiver]))


@pytest.mark.parametrize("periodic", [True, False])
def test_batches_done_in_parts_are_the_same(periodic, generator, monkeypatch):
    scene = torch.arange(9).repeat_interleave(torch.tensor([3, 5, 1, 0, 7, 4, 6, 2, 8]))
    x, cell = 4 * torch.rand(36, 3, generator=generator), 5 * torch.eye(3).expand(9, 3, 3) if periodic else None
    whole = neighbours(x, scene, 9, 3.0, cell)
    monkeypatch.setattr(graphs, "TOGETHER", 100)
    part = neighbours(x, scene, 9, 3.0, cell)
    assert torch.equal(whole.edges, part.edges)
    assert not periodic or torch.equal(whole.shift, part.shift)


def test_directions_that_are_open_may_have_no_cell_vector(generator):
    x = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    scene, pbc = torch.zeros(6, dtype=torch.long), torch.tensor([[True, True, False]])
    cell = torch.diag(torch.tensor([5.0, 6.0, 0.0], dtype=torch.float64))[None]
    full = torch.diag(torch.tensor([5.0, 6.0, 50.0], dtype=torch.float64))[None]
    assert as_set(neighbours(x, scene, 1, 3.0, cell, pbc)) == as_set(neighbours(x, scene, 1, 3.0, full, pbc))


def test_one_atom_sees_its_twelve_images_in_fcc():
    cell = 3.6 / 2 * torch.tensor([[[0, 1, 1], [1, 0, 1], [1, 1, 0]]], dtype=torch.float64)
    graph = neighbours(torch.zeros(1, 3), torch.zeros(1, dtype=torch.long), 1, 2.6, cell)
    assert graph.n_edges == 12
    assert torch.allclose(graph.shift.norm(dim=1), torch.tensor(3.6 / 2**0.5))


@given(seed=st.integers(0, 1000), skin=st.sampled_from([0.0, 0.3, 1.5]), small=st.booleans())
@settings(max_examples=15, deadline=None)
def test_verlet_list_is_the_plain_list_at_every_step(seed, skin, small):
    generator = torch.Generator().manual_seed(seed)
    cell = None if small else torch.stack([box(generator, 6.0), box(generator, 7.0)])
    scene = torch.tensor([0] * 6 + [1] * 4)
    x = 5 * torch.rand(10, 3, generator=generator, dtype=torch.float64)
    kept = VerletList(2.5, skin)
    for _ in range(12):
        x += 0.1 * torch.randn(10, 3, generator=generator, dtype=torch.float64)  # in place, as integrators may
        got, want = kept.update(x, scene, 2, cell), neighbours(x, scene, 2, 2.5, cell)
        assert torch.equal(got.edges, want.edges)
        assert cell is None or torch.equal(got.shift, want.shift)
    assert kept.builds == 12 if skin == 0 else kept.builds < 12 or skin < 1


def test_verlet_list_is_not_rebuilt_while_nothing_moves_far(generator):
    x, scene = torch.randn(8, 3, generator=generator), torch.zeros(8, dtype=torch.long)
    kept = VerletList(2.0, 1.0)
    kept.update(x, scene, 1)
    kept.update(x + 0.28, scene, 1)  # 0.28 sqrt(3) < 0.5
    assert kept.builds == 1
    kept.update(x + 0.30, scene, 1)
    assert kept.builds == 2
    kept.update(x + 0.30, scene, 1, 9 * torch.eye(3)[None])
    assert kept.builds == 3


def test_verlet_list_restarts_from_its_state(generator):
    x, scene = torch.randn(8, 3, generator=generator), torch.zeros(8, dtype=torch.long)
    cell = 5 * torch.eye(3)[None]
    kept, other = VerletList(2.0, 1.0), VerletList(2.0, 1.0)
    kept.update(x, scene, 1, cell)
    other.load(kept.state_dict())
    assert torch.equal(other.update(x + 0.1, scene, 1, cell).edges, kept.update(x + 0.1, scene, 1, cell).edges)
    assert other.builds == 1
    with pytest.raises(ValueError, match=r"cutoff 2\.0 and skin 1\.0"):
        VerletList(3.0, 1.0).load(kept.state_dict())


def test_bad_input(generator):
    x, scene = torch.randn(4, 3, generator=generator), torch.zeros(4, dtype=torch.long)
    with pytest.raises(ValueError, match="cutoff is -1"):
        neighbours(x, scene, 1, -1.0)
    with pytest.raises(ValueError, match="degenerate: its 3 periodic vectors"):
        neighbours(x, scene, 1, 2.0, torch.ones(1, 3, 3))
    with pytest.raises(ValueError, match="degenerate"):
        neighbours(x, scene, 1, 2.0, torch.zeros(1, 3, 3))
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="position of node 2"):
            neighbours(x.index_fill(0, torch.tensor([2]), bad), scene, 1, 2.0)
    kept = VerletList(2.0, 1.0)
    kept.update(x, scene, 1)
    with pytest.raises(ValueError, match="position of node 2"):
        kept.update(x.index_fill(0, torch.tensor([2]), float("nan")), scene, 1)


def test_isolated_atoms_and_empty_graphs():
    x = torch.tensor([[0.0, 0, 0], [1, 0, 0], [50, 0, 0]])
    scene = torch.zeros(3, dtype=torch.long)
    assert neighbours(x, scene, 1, 2.0).n_edges == 2
    with pytest.raises(ValueError, match=r"1 of 3 nodes have no neighbour within 2 \(the first is node 2"):
        neighbours(x, scene, 1, 2.0, require_neighbours=True)
    assert neighbours(x, torch.arange(3), 3, 2.0).n_edges == 0
    assert neighbours(x[:0], scene[:0], 1, 2.0).n_edges == 0
    assert neighbours(x[:0], scene[:0], 1, 2.0, torch.eye(3)[None]).n_edges == 0


def test_thousands_of_molecules_take_milliseconds(generator):
    x, scene = torch.randn(24_000, 3, generator=generator), torch.arange(2000).repeat_interleave(12)
    neighbours(x, scene, 2000, 4.0)
    begin = time.process_time()
    neighbours(x, scene, 2000, 4.0)
    assert time.process_time() - begin < 0.5  # about 0.03 s; a loop over molecules needs more than a second


def test_permuting_scenes_permutes_the_graph(generator):
    scene = torch.tensor([0, 0, 0, 1, 1, 1])
    x, cell = 3 * torch.rand(6, 3, generator=generator, dtype=torch.float64), torch.stack([box(generator), box(generator)])
    swap = torch.tensor([3, 4, 5, 0, 1, 2])
    one, two = neighbours(x, scene, 2, 3.0, cell), neighbours(x[swap], scene, 2, 3.0, cell.flip(0))
    first = one.receiver < 3
    expected = torch.cat([one.edges[:, ~first] - 3, one.edges[:, first] + 3], 1)
    assert torch.equal(two.edges, expected)
    assert torch.allclose(two.shift, torch.cat([one.shift[~first], one.shift[first]]))


def test_a_doubled_cell_has_the_same_neighbourhoods(generator):
    cell, x = box(generator, 5.0), 5 * torch.rand(4, 3, generator=generator, dtype=torch.float64)
    one = neighbours(x, torch.zeros(4, dtype=torch.long), 1, 4.0, cell[None])
    doubled = cell * torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)[:, None]
    two = neighbours(torch.cat([x, x + cell[0]]), torch.zeros(8, dtype=torch.long), 1, 4.0, doubled[None])
    length = lambda g, y: sorted((y[g.sender] - y[g.receiver] + g.shift).norm(dim=1).tolist())  # noqa: E731
    assert length(two, torch.cat([x, x + cell[0]])) == pytest.approx(sorted(length(one, x) * 2))
    assert torch.equal(torch.bincount(two.receiver, minlength=8), torch.bincount(one.receiver, minlength=4).repeat(2))
