"""The geometric prior is an affine combination of what its network makes of the given frames."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from trajlab.nets.egtn import EgtnSettings
from trajlab.nets.egtn_spatial import scene_graph
from trajlab.nets.geometric_prior import GeometricPrior, centre_of_mass

SMALL = EgtnSettings(width=16, layers=2)
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def r(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prior(horizon=5, seed=0):
    torch.manual_seed(seed)
    return GeometricPrior(2, 1, horizon, SMALL).double()


def test_weights_of_the_equation():
    """x_r(f) = sum_s W_sf x~_s with W_sf = b_s gamma_f, the last one 1 minus the rest: written out."""
    given, node, pair = r(2, 4, 6, 3), r(2, 4, 2, seed=1), r(2, 4, 4, 1, seed=2)
    ours = prior()
    with torch.no_grad():
        ours.gamma.copy_(r(5, seed=3))
    h = ours.embed(node.flatten(0, 1))[:, None].expand(-1, 6, -1)
    h, x = ours.stack(h, given.flatten(0, 1), scene_graph(pair, 6, None, None), torch.arange(6.0, dtype=torch.float64))
    weight = h.mean(-1)[..., None] * ours.gamma
    weight[:, -1] = 1 - weight[:, :-1].sum(1)
    wanted = torch.einsum("nsf,nsd->nfd", weight, x).view(2, 4, 5, 3)
    assert_close(ours(given, 5, node, pair), wanted, rtol=1e-8, atol=1e-9)


def test_shifts_turns_and_permutes():
    given, node, pair, ours = r(2, 4, 6, 3), r(2, 4, 2, seed=1), r(2, 4, 4, 1, seed=2), prior()
    turn = torch.linalg.qr(r(3, 3, seed=4))[0]
    order, shift = torch.tensor([2, 0, 3, 1]), torch.tensor([5.0, -3.0, 40.0], dtype=torch.float64)
    moved = ours(given[:, order] @ turn + shift, 5, node[:, order], pair[:, order][:, :, order])
    assert_close(moved, ours(given, 5, node, pair)[:, order] @ turn + shift, rtol=1e-8, atol=1e-9)


def test_hidden_frames_have_no_weight_and_the_last_seen_one_counts_as_last():
    given, node, pair, ours = r(1, 4, 6, 3), r(1, 4, 2, seed=1), r(1, 4, 4, 1, seed=2), prior()
    mask = torch.ones(1, 4, 6, dtype=torch.bool)
    mask[:, :, 4:] = False
    wild = given.clone()
    wild[:, :, 4:] = float("nan")
    assert_close(ours(wild, 5, node, pair, mask), ours(given[:, :, :4], 5, node, pair), **TIGHT)


def test_gradients_reach_the_prior():
    ours = prior()
    ours(r(2, 4, 6, 3), 5, r(2, 4, 2, seed=1), r(2, 4, 4, 1, seed=2)).square().sum().backward()
    assert ours.gamma.grad.abs().min() > 0
    assert ours.stack.spatial[0].edge[0].weight.grad.abs().max() > 0


def test_any_horizon_with_a_function_of_the_frame():
    inputs = (r(2, 4, 6, 3), r(2, 4, 2, seed=1), r(2, 4, 4, 1, seed=2))
    ours = prior(None)
    assert_close(ours.weights(7, inputs[0]), torch.ones(7, dtype=torch.float64))  # starts as the published one
    with torch.no_grad():
        ours.shape[2].weight.normal_(generator=torch.Generator().manual_seed(0))
    long, short = (ours(inputs[0], steps, *inputs[1:]) for steps in (9, 3))
    assert_close(long[:, :, :3], short, **TIGHT)
    assert (long[:, :, 0] - long[:, :, 8]).abs().max() > 1e-4


def test_centre_of_mass():
    given = r(2, 3, 4, 2)
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[0, 2] = mask[1, 0, 0] = False
    out = centre_of_mass(torch.where(mask[..., None], given, float("nan")), 5, mask)
    assert out.shape == (2, 3, 5, 2)
    for k in range(2):
        assert_close(out[k, 1, 4], given[k][mask[k]].mean(0))
    assert_close(centre_of_mass(given, 5)[:, 2, 3], given.mean((1, 2)))


def test_bad_horizons_are_named():
    inputs = (r(2, 4, 2, seed=1), r(2, 4, 4, 1, seed=2))
    with pytest.raises(ValueError, match="learned 5 future frames, and 6 were asked for"):
        prior()(r(2, 4, 6, 3), 6, *inputs)
    with pytest.raises(ValueError, match="at least one given frame"):
        prior()(r(2, 4, 0, 3), 5, *inputs)
    with pytest.raises(ValueError, match="horizon=0"):
        GeometricPrior(2, 1, 0)
    with pytest.raises(ValueError, match="given frames alone"):
        GeometricPrior(2, 1, 5, EgtnSettings(given_flag=True))
