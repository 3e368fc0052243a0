"""Laws of every sequence backbone: nothing later is seen, pieces equal the whole, rows do not mix; and what single layers compute."""

from __future__ import annotations

import pytest
import torch
from laws.sequences import NETS

from trajlab.nets.causal_transformer import CausalTransformer, rotary
from trajlab.nets.state_space import Diagonal
from trajlab.nets.window_perceptron import WindowPerceptron


@pytest.fixture(params=NETS)
def net(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETS[request.param]().double()


@pytest.fixture
def x(generator):
    return torch.randn(2, 17, 3, generator=generator, dtype=torch.float64)


def test_frame_by_frame_equals_all_at_once(net, x):
    whole, _ = net(x)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            parts, state = [], None
            for piece in (slice(0, 6), *(slice(k, k + 1) for k in range(6, 12)), slice(12, 17)):
                part, state = net(x[:, piece], state)
                parts.append(part)
        assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-12)


def test_nothing_later_is_seen(net, x):
    changed = x.clone()
    changed[:, 9:] += 1
    before, after = net(x)[0], net(changed)[0]
    assert torch.equal(before[:, :9], after[:, :9]) or torch.allclose(before[:, :9], after[:, :9], atol=1e-13)
    assert (before[:, 9] - after[:, 9]).abs().max() > 1e-3


def test_rows_do_not_mix(net, x):
    assert torch.allclose(net(x)[0][1:], net(x[1:])[0], atol=1e-13)


def test_other_shapes_are_refused(net, x):
    with pytest.raises(ValueError, match=r"the sequences have shape \(2, 17, 2\); \[batch time 3\]"):
        net(x[..., :2])
    with pytest.raises(ValueError, match="at least one frame"):
        net(x[:, :0])


def test_attention_reaches_so_far_and_no_farther(x):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CausalTransformer(3, 8, 1, heads=2, reach=5).double()
    changed = x.clone()
    changed[:, 4] += 1
    moved = (net(x)[0] - net(changed)[0]).abs().amax((0, 2))
    assert (moved[4:9] > 1e-6).all()
    assert (moved[9:] < 1e-12).all()
    _, (kept, frames) = net(x)
    assert kept[0][0].shape[2] == 4
    assert frames == 17
    with pytest.raises(ValueError, match="an even width a head"):
        CausalTransformer(3, 6, heads=4)


def test_rotary_products_depend_on_the_distance_alone(generator):
    q, k = torch.randn(2, 1, 6, generator=generator, dtype=torch.float64)
    product = lambda m, n: float((rotary(q, m) * rotary(k, n)).sum())  # noqa: E731
    assert product(7, 3) == pytest.approx(product(1004, 1000), abs=1e-9)
    assert product(0, 0) == pytest.approx(float((q * k).sum()))
    assert abs(product(7, 3) - product(8, 3)) > 1e-3


def test_a_state_space_channel_is_its_differential_equation():
    """One mode, a step for an input: s(t) = (exp(A t) - 1)/A, at every multiple of Delta."""
    layer = Diagonal(1, 1).double()
    with torch.no_grad():
        layer.log_step.fill_(-2.0)
        layer.log_decay.fill_(-1.0)
        layer.turn.fill_(0.7)
        layer.read[0, 0] = torch.tensor([1.0, 0.0])
        layer.through.fill_(0.0)
        a = torch.complex(-torch.tensor(-1.0).double().exp(), torch.tensor(0.7).double())
        t = torch.tensor(-2.0).double().exp() * torch.arange(1, 30)
        y, state = layer(torch.ones(1, 29, 1).double(), None)
    exact = torch.expm1(a * t) / a
    assert torch.allclose(y[0, :, 0], exact.real, atol=1e-12)
    assert torch.allclose(state[0, 0, 0], exact[-1])


def test_window_perceptron_begins_at_zero_and_checks_shapes(generator):
    net = WindowPerceptron(4, 2, 5)
    x, told = torch.randn(3, 4, 2, generator=generator), torch.randn(3, 5, generator=generator)
    assert float(net(x, torch.zeros(3), told).detach().abs().max()) == 0
    with pytest.raises(ValueError, match=r"windows \(3, 4, 2\) and condition \(3, 4\) came"):
        net(x, torch.zeros(3), told[:, :4])
