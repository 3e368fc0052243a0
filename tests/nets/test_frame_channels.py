"""FrameChannels: what its layer computes, written out pair by pair; smoothness; the anchors; bad sizes. Its symmetries are among the laws."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from trajlab.nets.frame_channels import FrameChannels, FrameLayer, _everyone
from trajlab.nets.windows import anchors

TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def r(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(given=4, future=6, node=2, pair=1, **sizes):
    torch.manual_seed(0)
    return FrameChannels(given, future, node, pair, **{"channels": 6, "width": 8, "layers": 2, **sizes}).double()


def call(batch=2, nodes=4, given=4, future=6, dim=3):
    window = r(batch, nodes, given, dim), r(batch, nodes, future, dim, seed=1)
    return *window, r(batch, seed=2), r(batch, nodes, 2, seed=3), r(batch, nodes, nodes, 1, seed=4)


def written_out(layer: FrameLayer, h, v, x, pair):
    """One scene, one pair after another: h ``[node width]``, v ``[node channel dim]``, x ``[node dim]``."""
    nodes, channels = len(h), layer.channels
    tame = lambda v: v / torch.sqrt(1 + (v**2).sum(-1).mean(-1))[:, None, None]  # noqa: E731
    length = lambda v: torch.sqrt((v**2).sum(-1) + 1e-6)  # noqa: E731
    seen, u = layer.norm(h), torch.einsum("oc,ncd->nod", layer.mix.weight, tame(v))
    to, of = layer.ends(seen).chunk(2, -1)
    moved, gathered = torch.zeros_like(v), torch.zeros_like(h)
    for i in range(nodes):
        for j in range(nodes):
            if i == j:
                continue
            d = torch.sqrt(((x[i] - x[j]) ** 2).sum() + 1e-4)
            direction, apart = (x[i] - x[j]) / d, u[i] - u[j]
            invariants = torch.cat([length(apart), apart @ direction, torch.stack([d, 1 / (d + 0.1), torch.log(d + 0.05)])])
            raw = to[i] + of[j] + layer.invariants(invariants) + layer.pair(pair[i, j])
            m = torch.nn.functional.silu(layer.edge(torch.nn.functional.silu(raw)))
            a, b = layer.gate(m).split(channels)
            moved[i] += (b[:, None] * direction - a[:, None] * apart) / nodes**0.5
            gathered[i] += m / nodes**0.5
    v = v + torch.einsum("oc,ncd->nod", layer.message.weight, moved)
    own = torch.einsum("oc,ncd->nod", layer.own.weight, tame(v))
    h = h + layer.node(torch.cat([seen, gathered, length(own)], -1))
    return h, v + layer.self_gate(h)[..., None] * own


@pytest.mark.parametrize("dim", [2, 3])
def test_the_layer_is_the_sum_over_pairs(dim):
    whole = net(pair=1)
    layer, x, pair = whole.layers[0], r(4, dim), r(4, 4, 1, seed=1)
    h, v = r(4, 8, seed=2), r(4, 6, dim, seed=3)
    edges = _everyone(4, torch.device("cpu"))
    geometry = whole._geometry(x[None, :, None], pair[None], edges)
    found_h, found_v = layer(h[:, None], v.transpose(1, 2)[:, :, None], geometry, edges)
    wanted_h, wanted_v = written_out(layer, h, v, x, pair)
    assert_close(found_h[:, 0], wanted_h, **TIGHT)
    assert_close(found_v[:, :, 0].transpose(1, 2), wanted_v, **TIGHT)


def test_smooth_at_coincident_nodes():
    """Value and gradient hardly change when two nodes that coincide part a little, and finite differences are the gradient there."""
    given, future, *rest = call()
    given[:, 1], future[:, 1] = given[:, 0], future[:, 0]
    way = torch.zeros_like(future)
    way[0, 1, 2, 0] = 1.0
    ours, weight = net(), r(2, 4, 6, 3, seed=9)
    f = lambda step: (ours(given, future + step * way, *rest) * weight).sum()  # noqa: E731
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(f(step), step)[0]
    with torch.no_grad():
        assert_close((f(1e-6) - f(-1e-6)) / 2e-6, slope, rtol=1e-4, atol=1e-6)


def test_anchors_are_the_last_seen_given_position_or_the_mean_of_the_future():
    given, future = r(1, 3, 4, 2), r(1, 3, 6, 2, seed=1)
    mask = torch.ones(1, 3, 10, dtype=torch.bool)
    mask[0, 1, 2:4] = False
    mask[0, 2, :4] = mask[0, 2, 9] = False
    found = anchors(given, future, mask)[0, :, 0]
    assert_close(found, torch.stack([given[0, 0, 3], given[0, 1, 1], future[0, 2, :5].mean(0)]))
    assert_close(anchors(given[:, :, :0], future, None)[0, :, 0], future[0].mean(1))


@pytest.mark.parametrize("given", [0, 1])
@pytest.mark.parametrize("pair", [0, 1])
def test_any_number_of_given_frames_and_no_features(given, pair):
    inputs = list(call(given=given))
    inputs[3], inputs[4] = inputs[3][..., :0], inputs[4][..., :pair]
    out = net(given, node=0, pair=pair)(*inputs)
    assert bool(torch.isfinite(out).all())
    assert out.abs().max() > 1e-3


def test_forward_derivatives_and_mapped_calls_work():
    """What likelihoods and distillation need."""
    given, future, *rest = call()
    ours = net()
    f = lambda x: ours(given, x, *rest)  # noqa: E731
    push = torch.ones_like(future)
    out, along = torch.func.jvp(f, (future,), (push,))
    assert_close(along, torch.autograd.functional.jvp(f, future, push)[1], **TIGHT)
    assert out.shape == future.shape


def test_bad_sizes_and_frames_are_named():
    with pytest.raises(ValueError, match="must be at least 1"):
        FrameChannels(4, 0, 1, 1)
    given, future, *rest = call()
    with pytest.raises(ValueError, match="built for 4 given and 6 future frames; 3 and 6 came"):
        net()(given[:, :, 1:], future, *rest)
