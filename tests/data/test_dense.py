"""Padded blocks of scenes."""

from __future__ import annotations

import pytest
import torch

from trajlab.data.dense import dense
from trajlab.types import Trajectories


@pytest.fixture
def ragged(generator):
    x = torch.randn(5, 4, 2, generator=generator)
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[1, 0] = mask[4, 2:] = False
    x[~mask] = torch.nan
    return Trajectories(x=x, time=torch.arange(4.0).expand(2, 4), scene=torch.tensor([0, 0, 0, 1, 1]), mask=mask, kind=torch.arange(1, 6),
                        extra={"velocity": 2 * x}, static={"mass": torch.arange(1.0, 6.0)}, context={"run": torch.tensor([7, 9])})


def test_scenes_are_padded_and_what_is_hidden_is_zero(ragged):
    block = dense(ragged)
    assert block.x.shape == (2, 3, 4, 2)
    assert block.there.tolist() == [[True, True, True], [True, True, False]]
    assert block.kind.tolist() == [[1, 2, 3], [4, 5, 0]]
    assert bool((block.x[~block.mask] == 0).all())
    assert torch.equal(block.extra["velocity"], 2 * block.x)
    assert int(block.mask.sum()) == int(ragged.mask.sum())


def test_it_packs_back(ragged):
    block = dense(ragged, slots=6)
    back = block.pack(block.x)
    assert torch.equal(back[ragged.mask], ragged.x[ragged.mask])
    assert torch.equal(block.pack(block.static["mass"]), ragged.static["mass"])


def test_some_scenes(ragged):
    assert torch.equal(dense(ragged).scenes(torch.tensor([1])).kind, torch.tensor([[4, 5, 0]]))


def test_too_few_slots_are_refused(ragged):
    with pytest.raises(ValueError, match="scene 0 has 3 nodes, and slots=2"):
        dense(ragged, slots=2)
