"""The diffusion transformer: it starts as a net that ignores attention, learns from pair features, and names bad settings."""

from __future__ import annotations

import pytest
import torch

from trajlab.nets.diffusion_transformer import DiffusionTransformer, TransformerSettings


def r(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def call(dim=3):
    return r(2, 4, 3, dim), r(2, 4, 5, dim, seed=1), r(2, seed=2), r(2, 4, 2, seed=3), r(2, 4, 4, 1, seed=4)


def net(tokens, dim=3):
    torch.manual_seed(0)
    return DiffusionTransformer(3, 5, 2, 1, dim, TransformerSettings(width=16, layers=2, heads=2, tokens=tokens))


@pytest.mark.parametrize("tokens", ["node", "frame"])
def test_blocks_start_as_the_identity(tokens):
    """adaLN-zero: at the start neither the level nor another node is felt."""
    ours, (given, future, clock, node, pair) = net(tokens), call()
    other = future.clone()
    other[:, 1] += 1
    plain = ours(given, future, clock, node, pair)
    assert torch.equal(ours(given, future, clock + 1, node, pair), plain)
    assert torch.equal(ours(given, other, clock, node, pair)[:, 0], plain[:, 0])
    assert (ours(given, other, clock, node, pair)[:, 1] - plain[:, 1]).abs().max() > 1e-3


@pytest.mark.parametrize("tokens", ["node", "frame"])
def test_learns(tokens):
    """A few steps of training on a target that depends on another node and on the pair feature get below predicting nothing."""
    ours = net(tokens)
    given, future, clock, node, pair = call()
    target = (pair[..., None] * (given[:, None, :, -1:] - given[:, :, None, -1:])).sum(2).expand_as(future)
    optimiser = torch.optim.Adam(ours.parameters(), 3e-3)
    for _ in range(60):
        loss = (ours(given, future, clock, node, pair) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.3 * target.square().mean()
    assert all(p.grad is not None for p in ours.parameters())
    assert ours.bias.weight.grad.abs().max() > 0


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="multiple of heads"):
        TransformerSettings(width=10, heads=4)
    with pytest.raises(ValueError, match="tokens='pixel'"):
        TransformerSettings(tokens="pixel")
    with pytest.raises(ValueError, match="dimension 3, and 2 came"):
        net("node")(*call(dim=2))
    with pytest.raises(ValueError, match="future and dim must be"):
        DiffusionTransformer(3, 0, 1, 1)
