"""Laws of the social transformer and the perceptron of motion."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from trajlab.evaluate.kinematics_cost import cost
from trajlab.nets.motion_perceptron import MotionPerceptron
from trajlab.nets.social_transformer import SocialSettings, SocialTransformer

SCENES, NODES, FRAMES, TOLD, STATIC, PAIR = 2, 4, 5, 3, 2, 7


@pytest.fixture
def net() -> SocialTransformer:
    torch.manual_seed(0)
    return SocialTransformer(TOLD, STATIC, PAIR, SocialSettings(16, 2, 2, 2, modes=3, frames=8), context=6).double()


def call() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    r = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    seen = torch.ones(SCENES, NODES, FRAMES, dtype=torch.bool)
    seen[0, 1, :3], seen[1, 3] = False, False  # one enters late, one is never there
    return {"told": r(SCENES, NODES, FRAMES, TOLD), "static": r(SCENES, NODES, STATIC), "pair": r(SCENES, NODES, NODES, PAIR), "seen": seen}


def test_what_is_hidden_is_not_looked_at(net):
    inputs = call()
    wild = {k: v.clone() for k, v in inputs.items()}
    wild["told"][~inputs["seen"]] = float("nan")
    wild["pair"][1, 3], wild["pair"][1, :, 3] = float("nan"), float("nan")
    there = inputs["seen"].any(-1)
    assert_close(net(**wild)[there], net(**inputs)[there], rtol=0, atol=0)
    wild["static"][1, 3] = 1e3
    assert_close(net(**wild)[1, :3], net(**inputs)[1, :3], rtol=0, atol=0)
    changed = {**inputs, "told": inputs["told"] + 0.1 * (~inputs["seen"][..., None] | (torch.arange(FRAMES) == 4)[:, None])}
    assert (net(**changed) - net(**inputs)).abs().max() > 1e-4


def test_agents_see_each_other_and_scenes_do_not(net):
    inputs = call()
    moved = {**inputs, "told": inputs["told"].clone()}
    moved["told"][0, 0] += 1.0
    off = (net(**moved) - net(**inputs)).abs().amax((-1, -2))
    assert (off[0] > 1e-6).all()
    assert float(off[1].max()) == 0.0


def test_permutes_with_its_agents(net):
    inputs, order = call(), torch.tensor([2, 0, 3, 1])
    shuffled = {k: v[:, order][:, :, order] if k == "pair" else v[:, order] for k, v in inputs.items()}
    assert_close(net(**shuffled), net(**inputs)[:, order], rtol=1e-9, atol=1e-10)


def test_context_of_a_map(net):
    """Tokens that are there matter; those that are not may hold anything."""
    inputs = call()
    tokens, there = torch.randn(SCENES, NODES, 3, 6, dtype=torch.float64), torch.ones(SCENES, NODES, 3, dtype=torch.bool)
    there[..., 2] = False
    told = net(**inputs, context=(tokens, there))
    wild = torch.where(there[..., None], tokens, float("nan"))
    assert_close(net(**inputs, context=(wild, there)), told, rtol=0, atol=0)
    assert (told - net(**inputs)).abs().max() > 1e-4
    assert_close(net(**inputs, context=(tokens, torch.zeros_like(there))), net(**inputs), rtol=1e-9, atol=1e-10)


def test_modes_differ(net):
    out = net(**call())
    assert out.shape == (SCENES, NODES, 3, 16)
    assert (out[:, :, 0] - out[:, :, 1]).abs().max() > 1e-2


def test_bad_sizes_are_told(net):
    inputs = call()
    with pytest.raises(ValueError, match="were wanted"):
        net(**{**inputs, "static": inputs["static"][..., :1]})
    with pytest.raises(ValueError, match="at most 8"):
        net(**{**inputs, "told": inputs["told"].repeat(1, 1, 2, 1), "seen": inputs["seen"].repeat(1, 1, 2)})
    with pytest.raises(ValueError, match="multiple of the heads"):
        SocialSettings(width=10, heads=4)
    with pytest.raises(ValueError, match="4 were wanted"):
        MotionPerceptron(4, 8)(torch.zeros(2, 5))


def test_the_perceptron_treats_agents_alike():
    net = MotionPerceptron(4, 8, 2)
    x = torch.randn(3, 2, 4)
    assert_close(net(x)[1, 0], net(x[1, 0]))


def test_costs_are_measured():
    found = cost(agents=2, modes=2, steps=10, repeats=2)
    assert set(found["bicycle"]) == {"joint", "marginal", "sums", "joint/marginal", "joint/sums"}
    assert all(v > 0 for v in found["bicycle"].values())
