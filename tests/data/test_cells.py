"""Wrapping, unwrapping, and cells with open directions."""

from __future__ import annotations

import pytest
import torch

from trajlab.data.cells import complete, heights, unwrap, wrap
from trajlab.types import Trajectories


def walk(generator, pbc=(True, True, False), frames=40, step=0.25):
    cell = torch.tensor([[[5.0, 0, 0], [1.5, 4.0, 0], [0, 0, 0]], [[6.0, 0, 0], [0, 6.0, 0], [0, 0, 6.0]]], dtype=torch.float64)
    scene = torch.tensor([0, 0, 0, 1, 1])
    x = (step * torch.randn(5, frames, 3, generator=generator, dtype=torch.float64)).cumsum(1) + 3
    time = torch.arange(float(frames)).expand(2, -1)
    return Trajectories(x, time, scene, cell=cell, pbc=torch.tensor([pbc, (True, True, True)]))


def test_unwrap_undoes_wrap(generator):
    t = walk(generator)
    wrapped = wrap(t)
    assert not torch.allclose(wrapped.x, t.x)
    back = unwrap(wrapped)
    start = back.x[:, :1] - t.x[:, :1]  # a lattice vector of the first frame is not known
    assert torch.allclose(back.x, t.x + start)
    assert torch.allclose(unwrap(back).x, back.x)


def test_wrap_leaves_open_directions_alone(generator):
    t = walk(generator)
    w = wrap(t)
    assert torch.equal(w.x[:3, :, 2], t.x[:3, :, 2])
    fraction = torch.einsum("nti,nij->ntj", w.x, torch.linalg.inv(complete(t.cell, t.pbc))[t.scene])
    periodic = t.pbc[t.scene][:, None].expand_as(fraction)
    assert fraction[periodic].min() > -1e-9
    assert fraction[periodic].max() < 1 + 1e-9


def test_unwrap_bridges_unobserved_frames(generator):
    t = walk(generator, step=0.1)
    mask = torch.rand(5, 40, generator=generator) > 0.3
    wrapped = wrap(t)
    hidden = wrapped.replace(mask=mask, x=torch.where(mask[..., None], wrapped.x, float("nan")))
    whole, part = unwrap(wrapped), unwrap(hidden)
    for node in range(5):
        seen = mask[node]
        offset = whole.x[node, seen] - part.x[node, seen]
        assert torch.allclose(offset, offset[:1].expand_as(offset))


def test_long_steps_are_refused(generator):
    t = walk(generator, frames=3, step=0.01)
    x = t.x.clone()
    x[4, 2, 1] += 2.6
    with pytest.raises(ValueError, match=r"node 4 moves by 0\.43 of the cell height 6 along cell vector 1 between frames 1 and 2"):
        unwrap(t.replace(x=x))


def test_open_trajectories_come_back_as_they_are(generator):
    t = walk(generator).replace(cell=None, pbc=None)
    assert unwrap(t) is t
    assert wrap(t) is t


def test_heights_and_completion():
    cell = torch.tensor([[[3.0, 0, 0], [4.0, 4.0, 0], [0, 0, 7.0]]])
    pbc = torch.tensor([[True, True, True]])
    assert torch.allclose(heights(complete(cell, pbc)), torch.tensor([[3 / 2**0.5, 4.0, 7.0]], dtype=torch.float64))
    slab = complete(cell * torch.tensor([1.0, 1.0, 0.0])[:, None], torch.tensor([[True, True, False]]))
    assert torch.allclose(slab[0, :2], cell[0, :2].double())
    assert torch.allclose(slab[0, 2].abs(), torch.tensor([0.0, 0, 1], dtype=torch.float64))
    with pytest.raises(ValueError, match="degenerate"):
        complete(torch.ones(1, 3, 3), pbc)


def test_benzene_that_crosses_the_box(reference):
    from trajlab.data.adapters.ase import from_ase, read_ase

    path = reference / "md" / "trajcast_tests" / "benzene_cross_pbc_wrapped.extxyz"
    raw = read_ase(path, spacing=0.1, unwrap=False)
    assert float(raw.x.diff(dim=1).abs().max()) > 19.9
    whole = unwrap(raw)
    assert float(whole.x.diff(dim=1).abs().max()) < 0.01
    predicted = 0.05 * (raw.velocity[:, 1:] + raw.velocity[:, :-1])
    assert torch.allclose(whole.x.diff(dim=1), predicted, atol=2e-4)
    assert torch.allclose(read_ase(path, spacing=0.1).x, whole.x)
    assert from_ase is not None
