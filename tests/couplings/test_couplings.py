"""Couplings are permutations, the transport between batches is the best of all, and whole samples move together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch

from trajlab.catalog import find
from trajlab.couplings import TABLE
from trajlab.couplings.independent import Independent
from trajlab.couplings.minibatch_ot import MinibatchOT
from trajlab.couplings.together import check_permutation, inverse, together


@dataclass(frozen=True)
class Sample:
    x: torch.Tensor
    time: torch.Tensor
    units: str = "metal"


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor | None


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def total(source: torch.Tensor, data: torch.Tensor, index: torch.Tensor) -> float:
    return float((source - data[index]).square().sum())


def turn() -> torch.Tensor:
    return torch.linalg.qr(normal(3, 3, seed=9))[0]


def test_the_table_holds_couplings():
    assert {"independent", "minibatch_ot", "semidiscrete"} <= set(TABLE)
    assert isinstance(find("minibatch_ot", "couplings")(), MinibatchOT)


@pytest.mark.parametrize("coupling", [Independent(), MinibatchOT(), MinibatchOT(block=4)])
@pytest.mark.parametrize("seed", [None, 3])
def test_every_coupling_is_a_permutation(coupling, seed):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    check_permutation(coupling(normal(14, 3, 2), normal(14, 3, 2, seed=1), generator=generator))


def test_transport_is_the_best_of_all_permutations():
    source, data = normal(6, 2, 3), normal(6, 2, 3, seed=1)
    best = min(total(source, data, torch.tensor(p)) for p in itertools.permutations(range(6)))
    assert total(source, data, MinibatchOT()(source, data)) == pytest.approx(best, rel=1e-12)


def test_transport_on_a_line_sorts():
    source, data = normal(50, 1), normal(50, 1, seed=1)
    index = MinibatchOT()(source, data)
    assert torch.equal(data[index][source[:, 0].argsort()], data.sort(0).values)


def test_blocks_lie_between_no_coupling_and_the_best():
    source, data = normal(128, 4), normal(128, 4, seed=1)
    drawn = torch.Generator().manual_seed(0)
    none, blocks, best = (total(source, data, c(source, data, generator=drawn)) for c in (Independent(), MinibatchOT(block=32), MinibatchOT()))
    assert best < blocks < none
    assert torch.equal(MinibatchOT(block=32)(source, data)[:32] < 32, torch.ones(32, dtype=torch.bool))  # without a generator: runs of rows


def test_pairs_do_not_turn_and_follow_the_rows():
    source, data, turned = normal(20, 5, 4, 3), normal(20, 5, 4, 3, seed=1), turn()
    index = MinibatchOT()(source, data)
    assert torch.equal(MinibatchOT()(source @ turned, data @ turned), index)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(MinibatchOT()(source[order], data), index[order])


def test_what_is_hidden_costs_nothing():
    source, data = normal(20, 2, 4, 3), normal(20, 2, 4, 3, seed=1)
    mask = torch.rand(20, 2, 4, generator=torch.Generator().manual_seed(2)) < 0.6
    wild = torch.where(mask[..., None], data, torch.nan)
    index = MinibatchOT()(source, wild, mask=mask)
    table = ((source[:, None] - data) * mask[..., None]).square().flatten(2).sum(-1)
    torch.testing.assert_close(MinibatchOT().cost(source, wild, mask=mask), table)
    assert not torch.equal(index, MinibatchOT()(source, data))


def test_conditions_keep_their_noise():
    """Regardless of conditions, the noise of a condition is skewed; with a heavy weight it is the source."""
    label = torch.arange(64) % 2
    source, data = normal(64, 2), normal(64, 2, seed=1) + torch.tensor([6.0, 0.0]) * (2 * label[:, None] - 1)
    free, kept = MinibatchOT()(source, data), MinibatchOT(condition_weight=1e6)(source, data, condition=label)
    assert float(source[label[free] == 1][:, 0].mean() - source[label[free] == 0][:, 0].mean()) > 1.2
    assert torch.equal(label[kept], label)
    assert torch.equal(MinibatchOT(condition_weight=1e9)(source, data, condition=normal(64, 3, seed=2)), torch.arange(64))


def test_float_conditions_cost_their_squared_distance():
    source, data, here, there = normal(9, 2), normal(9, 2, seed=1), normal(9, 3, seed=2), normal(9, 3, seed=3)
    with_condition = MinibatchOT(condition_weight=2.0).cost(source, data, condition=there, source_condition=here)
    torch.testing.assert_close(with_condition - MinibatchOT().cost(source, data), 2 * (here[:, None] - there).square().sum(-1))


def test_ties_are_broken_by_the_generator():
    same = torch.ones(8, 2)
    assert torch.equal(MinibatchOT()(same, same), MinibatchOT()(same, same))
    found = {tuple(MinibatchOT()(same, same, generator=torch.Generator().manual_seed(s)).tolist()) for s in range(10)}
    assert len(found) > 5


def test_independent_pairs_need_a_generator_to_move():
    x = normal(30, 2)
    assert torch.equal(Independent()(x, x), torch.arange(30))
    once, again = (Independent()(x, x, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, torch.arange(30))


def test_everything_of_a_sample_moves_together():
    n = 7
    row = torch.arange(n)
    index = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    belongings = {
        "x": row[:, None, None].expand(n, 2, 3).double(),
        "given": (Sample(row.double(), row[:, None] * 10, "real"), [row, None]),
        "pair": Pair(row > 3, None),
        "array": row.numpy(),
        "cell": torch.eye(3),
    }
    moved = together(index, belongings, shared=("cell", "units"))
    assert torch.equal(moved["x"][:, 0, 0].long(), index)
    assert torch.equal(moved["given"][0].x.long(), index)
    assert torch.equal(moved["given"][0].time[:, 0], index * 10)
    assert moved["given"][0].units == "real"
    assert torch.equal(moved["given"][1][0], index)
    assert moved["given"][1][1] is None
    assert torch.equal(moved["pair"].left, index > 3)
    assert np.array_equal(moved["array"], index.numpy())
    assert torch.equal(moved["cell"], torch.eye(3))
    assert torch.equal(belongings["x"][:, 0, 0].long(), row)  # what came is as it was


def test_the_source_moves_by_the_inverse():
    source, data = normal(20, 2), normal(20, 2, seed=1)
    index = MinibatchOT()(source, data)
    torch.testing.assert_close((together(inverse(index), source) - data).square().sum(), (source - together(index, data)).square().sum())


@pytest.mark.parametrize(("index", "message"), [
    (torch.tensor([0, 0, 2]), "row 0 comes 2 times and row 1 never"),
    (torch.tensor([0, 1, 3]), "permutation of 0 to 2"),
    (torch.tensor([[0, 1]]), "shape"),
])
def test_sampling_with_replacement_is_refused(index, message):
    with pytest.raises(ValueError, match=message):
        check_permutation(index)


def test_what_is_left_behind_is_named():
    index = torch.tensor([1, 0])
    with pytest.raises(ValueError, match=r"\['given'\]\[0\] has shape \(3,\)"):
        together(index, {"x": torch.zeros(2), "given": (torch.zeros(3),)})
    with pytest.raises(TypeError, match=r"\['label'\]\[0\] is a str"):
        together(index, {"label": ["a", "b"]})
    with pytest.raises(ValueError, match="permutation"):
        together(torch.tensor([1, 1]), {"x": torch.zeros(2)})


def test_bad_batches_are_refused():
    x = normal(4, 2)
    with pytest.raises(ValueError, match="4 source points and 3 samples"):
        MinibatchOT()(x, x[:3])
    with pytest.raises(ValueError, match="3 source points"):
        Independent()(x[:3], x)
    with pytest.raises(ValueError, match="row 1 of the data is not finite"):
        MinibatchOT()(x, torch.where(torch.arange(4)[:, None] == 1, torch.nan, x))
    with pytest.raises(ValueError, match="no condition came"):
        MinibatchOT(condition_weight=1.0)(x, x)
    with pytest.raises(ValueError, match="4 rows of one shape"):
        MinibatchOT(condition_weight=1.0)(x, x, condition=x[:3])
    with pytest.raises(ValueError, match="the mask has shape"):
        MinibatchOT()(x, x, mask=torch.ones(4, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="events must have the same shape"):
        MinibatchOT()(x, normal(4, 3))
    with pytest.raises(ValueError, match="block=1"):
        MinibatchOT(block=1)
    with pytest.raises(ValueError, match="condition_weight=-1"):
        MinibatchOT(condition_weight=-1.0)
