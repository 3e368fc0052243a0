"""EGTN in its fast form is the published network: a plain one, written from the equations over torch_geometric, gives the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from benchmark_files import load
from torch.testing import assert_close

from trajlab.nets.egtn import EGTN, EgtnSettings
from trajlab.nets.geometric_prior import GeometricPrior

PlainEGTN = load("geotdm_plain").PlainEGTN

TIGHT = {"rtol": 1e-10, "atol": 1e-10}
SMALL = EgtnSettings(width=16, layers=2)


def call(batch=2, nodes=5, given=4, future=6, dim=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    r = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    return {"given": r(batch, nodes, given, dim), "future": r(batch, nodes, future, dim), "clock": r(batch) * 50, "node": r(batch, nodes, 2),
            "pair": r(batch, nodes, nodes, 3)}


def net(settings=SMALL, seed=1):
    torch.manual_seed(seed)
    return EGTN(2, 3, settings).double()


@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_is_the_published_network(dim, prenorm):
    ours, inputs = net(replace(SMALL, prenorm=prenorm)), call(dim=dim)
    adjacent = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(2)) < 0.6
    adjacent[0, 3] = False  # a node without edges
    for graph in (None, adjacent):
        found, wanted = ours(**inputs, adjacent=graph), PlainEGTN(ours)(**inputs, adjacent=graph)
        assert_close(found, wanted, **TIGHT)
        assert found.abs().max() > 1e-3


def test_gradients_are_those_of_the_published_network():
    ours, inputs = net(), call()
    plain = PlainEGTN(ours)
    future = inputs.pop("future").requires_grad_()
    grads = [torch.autograd.grad((f(future=future, **inputs) ** 2).sum(), [future, *ours.parameters()], allow_unused=True) for f in (ours, plain)]
    for parameter, a, b in zip([future, *ours.parameters()], *grads, strict=True):
        none = torch.zeros_like(parameter)  # what is constant in the softmax, or behind the last positions, is not even used by ours
        assert_close(none if a is None else a, none if b is None else b, rtol=1e-8, atol=1e-9)


def test_size_of_the_published_network():
    """1.90 million parameters, 0.476 million of them in the prior, at width 128, 6 and 2 layers (molecules: 30 node and 4 pair features)."""
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    prior = count(GeometricPrior(30, 4, 20))
    assert round(prior / 1e6, 3) == 0.476
    assert round((count(EGTN(30, 4)) + prior) / 1e6, 2) == 1.90


def test_frames_may_be_ragged():
    """Hidden frames at the ends or in the middle are as if they were not there, real times given."""
    ours, inputs = net(), call()
    short = {**inputs, "given": inputs["given"][:, :, 1:], "future": inputs["future"][:, :, :-2]}
    mask = torch.ones(2, 5, 10, dtype=torch.bool)
    mask[:, :, 0] = mask[:, :, -2:] = False
    hidden = {k: v.clone() for k, v in inputs.items()}
    hidden["given"][:, :, 0], hidden["future"][:, :, -2:] = float("nan"), 1e6
    found = ours(**hidden, mask=mask)
    assert_close(found[:, :, :-2], ours(**short), **TIGHT)
    assert not found[:, :, -2:].any()
    gap = torch.ones(2, 5, 10, dtype=torch.bool)
    gap[:, :, 2] = False
    rest = {**inputs, "given": inputs["given"][:, :, [0, 1, 3]]}
    time = torch.tensor([0.0, 1, 3, 4, 5, 6, 7, 8, 9], dtype=torch.float64).expand(2, -1)
    assert_close(ours(**inputs, mask=gap), ours(**rest, time=time), **TIGHT)


def test_absolute_time_does_not_enter_and_steps_do():
    ours, inputs = net(), call()
    time = torch.arange(10, dtype=torch.float64).expand(2, -1)
    plain = ours(**inputs)
    assert_close(ours(**inputs, time=time + 1000.0), plain, **TIGHT)
    assert (ours(**inputs, time=time * 1.5) - plain).abs().max() > 1e-5


def test_given_frames_have_no_noise_level_where_flagged():
    """With the flag, a window of given frames alone would not know the level: only the noisy part does."""
    flagged, inputs = net(replace(SMALL, given_flag=True)), call()
    other = {**inputs, "clock": inputs["clock"] + 1}
    assert (flagged(**inputs) - flagged(**other)).abs().max() > 1e-6
    h = [flagged._scalars(torch.ones(1, 2, dtype=torch.float64), torch.tensor([c], dtype=torch.float64), 3, None, 5) for c in (0.0, 2.0)]
    assert torch.equal(h[0][:, :3], h[1][:, :3])
    assert not torch.equal(h[0][:, 3:], h[1][:, 3:])
    assert not torch.equal(h[0][:, 0], h[0][:, 4])


def test_velocities_are_invariants():
    inputs, built = call(), net(replace(SMALL, velocities=True))
    v = torch.randn(2, 5, 10, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64))[0]
    plain = built(**inputs, velocity=v)
    turned = {**inputs, "given": inputs["given"] @ turn, "future": inputs["future"] @ turn}
    assert_close(built(**turned, velocity=v @ turn), plain @ turn, rtol=1e-8, atol=1e-9)
    assert (built(**inputs, velocity=2 * v) - plain).abs().max() > 1e-6
    with pytest.raises(ValueError, match="no velocities came to a net built with them"):
        built(**inputs)
    with pytest.raises(ValueError, match="velocity has shape"):
        built(**inputs, velocity=v[:, :, 1:])
    with pytest.raises(ValueError, match="without them"):
        net()(**inputs, velocity=v)


def test_coincident_nodes_and_single_nodes_have_finite_gradients():
    ours, inputs = net(), call()
    inputs["given"][:, 1], inputs["future"][:, 1] = inputs["given"][:, 0], inputs["future"][:, 0]
    future = inputs.pop("future").requires_grad_()
    grad = torch.autograd.grad(ours(future=future, **inputs).square().sum(), future)[0]
    assert bool(torch.isfinite(grad).all())
    alone = net()(**call(nodes=1))
    assert bool(torch.isfinite(alone).all())
    assert alone.abs().max() > 1e-4


def test_bad_calls_are_named():
    ours, inputs = net(), call()
    for change, message in (({"node": inputs["node"][..., :1]}, r"node has shape .*\(2, 5, 2\) was wanted"),
                            ({"clock": inputs["clock"][:1]}, "clock has shape"),
                            ({"time": torch.zeros(2, 3, dtype=torch.float64)}, "time has shape")):
        with pytest.raises(ValueError, match=message):
            ours(**{**inputs, **change})
    with pytest.raises(ValueError, match="at least 1"):
        EgtnSettings(width=0)
