"""The count network: equivariance, any number of states, and what its parts compute."""

from __future__ import annotations

import pytest
import torch

from trajlab.nets.count_network import LOG_VARIANCE, CountNetwork, PairLayer


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = CountNetwork(7, width=12, layers=3)
    for p in made.parameters():  # heads start at zero
        torch.nn.init.normal_(p, std=0.4)
    return made


@pytest.mark.parametrize("n", [2, 3, 6, 11])
def test_numbering_states_otherwise_permutes_the_answer(net, n):
    x, order = torch.randn(3, n, n, 7), torch.randperm(n)
    one, other = net(x), net(x[:, order][:, :, order])
    for name in ("mean", "log_variance", "link", "rate"):
        value = getattr(one, name)
        assert value.shape == (3, n, n)
        assert value.std() > 1e-3
        torch.testing.assert_close(getattr(other, name), value[:, order][:, :, order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(other.initial, one.initial[:, order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(other.noise, one.noise, atol=1e-4, rtol=1e-4)


def test_a_pair_is_not_its_reverse(net):
    x = torch.randn(1, 4, 4, 7)
    assert (net(x).mean - net(x.transpose(1, 2)).mean.transpose(1, 2)).abs().max() > 1e-3


def test_data_sets_of_a_batch_do_not_mix(net):
    x = torch.randn(4, 5, 5, 7)
    torch.testing.assert_close(net(x).rate[2:3], net(x[2:3]).rate, atol=1e-5, rtol=1e-4)


def test_layer_is_an_affine_map_of_the_concatenation():
    """Part by part gives what one matrix over [x_ij, x_ji, rows, columns and diagonals of i and j, mean of all] would."""
    torch.manual_seed(1)
    d, n = 5, 4
    layer, h = PairLayer(d), torch.randn(2, 4, 4, 5)
    x = layer.norm(h)
    row, column, diagonal = x.mean(2), x.mean(1), torch.diagonal(x, dim1=1, dim2=2).transpose(1, 2)
    state = torch.cat([row, column, diagonal], -1)
    first, second = state[:, :, None].expand(2, n, n, -1), state[:, None].expand(2, n, n, -1)
    parts = torch.cat([x, x.transpose(1, 2), first, second, x.mean((1, 2), keepdim=True).expand(2, n, n, d)], -1)
    weight = torch.cat([layer.pair.weight[: 2 * d], layer.pair.weight[2 * d :], layer.state.weight[: 2 * d], layer.state.weight[2 * d :],
                        layer.all.weight], 1)
    wanted = h + layer.out(torch.nn.functional.gelu(parts @ weight.T + layer.pair.bias[: 2 * d] + layer.pair.bias[2 * d :]))
    torch.testing.assert_close(layer(h), wanted, atol=1e-5, rtol=1e-4)


def test_untrained_it_corrects_nothing():
    out = CountNetwork(7)(torch.randn(2, 3, 3, 7))
    assert not any(value.any() for value in out)


def test_widths_are_limited(net):
    spread = net(100 * torch.randn(2, 3, 3, 7)).log_variance
    assert spread.min() >= LOG_VARIANCE[0]
    assert spread.max() <= LOG_VARIANCE[1]


def test_bad_input(net):
    with pytest.raises(ValueError, match="reads 7 features of each pair of states, and got 6"):
        net(torch.randn(1, 3, 3, 6))
