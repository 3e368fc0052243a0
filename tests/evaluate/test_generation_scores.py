"""Scores that train a net: ln 2 for the same law, 0 for laws that can be told apart, and useful synthetic data are known by their error."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from trajlab.evaluate.generation import GenerationScore, JudgeConfig, _shares, classification_score, prediction_score
from trajlab.evaluate.judges import Judge, block_of
from trajlab.types import Trajectories
from trajlab.units import Units

QUICK = JudgeConfig(steps=60, seeds=1, batch=64)


def springs(scenes, seed, stiff=1.0, nodes=3, frames=10, noise=0.0, **changes):
    """Particles bound to their mean by springs, semi-implicit Euler."""
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    generator = torch.Generator().manual_seed(seed)
    x, v, seen = normal(scenes, nodes, 3), 0.5 * normal(scenes, nodes, 3), []
    for _ in range(frames):
        for _ in range(4):
            v = v - 0.08 * stiff * (x - x.mean(1, keepdim=True))
            x = x + 0.08 * v
        seen.append(x)
    out = torch.stack(seen, 2) + noise * normal(scenes, nodes, frames, 3)
    return Trajectories(x=out.reshape(-1, frames, 3).float(), time=torch.arange(float(frames)).expand(scenes, -1).double(),
                        scene=torch.arange(scenes).repeat_interleave(nodes), **changes)


def test_the_same_law_cannot_be_told_apart():
    score = classification_score(springs(400, 0), springs(200, 1), QUICK)
    assert score.value.value == pytest.approx(math.log(2), abs=0.04)
    assert score.control.value == pytest.approx(math.log(2), abs=0.04)
    assert score.ideal == math.log(2)
    assert "real against real" in str(score)


def test_other_laws_can():
    score = classification_score(springs(300, 0), springs(150, 1, stiff=2.0), QUICK)
    assert score.value.value < 0.25
    assert score.control.value > 0.6


def test_windows_of_a_run_do_not_leak():
    """Every scene twice: a split by scenes would let the net remember, one by runs must not find a difference."""
    base = springs(200, 0)
    twice = base.scenes(torch.arange(200).repeat_interleave(2)).replace(context={"run": torch.arange(200).repeat_interleave(2)})
    parts = _shares(twice, (0.6, 0.2, 0.2), torch.Generator().manual_seed(0))
    runs = [set(p.context["run"].tolist()) for p in parts]
    assert [len(r) for r in runs] == [120, 40, 40]
    assert not (runs[0] & runs[1] | runs[0] & runs[2] | runs[1] & runs[2])
    assert [p.n_scenes for p in parts] == [240, 80, 80]


def test_prediction_knows_useful_data():
    real = springs(300, 0)
    good, bad = prediction_score(real, springs(150, 1), 5, QUICK), prediction_score(real, springs(150, 2, stiff=2.0), 5, QUICK)
    assert 0.6 < good.value.value / good.control.value < 1.7
    assert bad.value.value > 3 * good.value.value
    assert good.control == bad.control
    still = (real.x[:, 4:5] - real.x[:, 5:]).square().mean()
    assert good.value.value < 0.3 * float(still)


def test_prediction_in_other_units():
    one, ten = (prediction_score(*(t.replace(x=k * t.x) for t in (springs(40, 0), springs(20, 1))), 5, replace(QUICK, steps=5)) for k in (1, 10))
    assert ten.value.value == pytest.approx(100 * one.value.value, rel=0.01)


def test_the_judge_is_invariant_and_padding_changes_nothing():
    data = springs(4, 0, kind=torch.tensor([1, 6, 8]).repeat(4))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    order = torch.arange(12).reshape(4, 3).flip(1).flatten()
    block = lambda t: block_of(t, torch.zeros(4), 1.0, torch.tensor([1, 6, 8]), QUICK)  # noqa: E731
    torch.manual_seed(0)
    judge = Judge(10, block(data), QUICK)
    want = judge(block(data).batch(torch.arange(4)))
    moved = data.replace(x=(data.x @ turn + 2.0)[order], kind=data.kind[order])
    assert torch.allclose(judge(block(moved).batch(torch.arange(4))), want, atol=1e-4)
    assert float(want.detach().std()) > 1e-4
    padded = {k: torch.nn.functional.pad(v, pads) for (k, v), pads in zip(
        block(data).batch(torch.arange(4)).items(), ((0, 0, 0, 0, 0, 2), (0, 0, 0, 2), (0, 0, 0, 2), (0, 0, 0, 2, 0, 2), (0, 0)))}
    assert torch.allclose(judge(padded), want, atol=1e-5)


def test_features_and_seeds():
    def charges(block):
        return block.static["charge"][..., None], block.static["charge"][:, :, None, None] * block.static["charge"][:, None, :, None]

    with_charge = lambda t: t.replace(static={"charge": torch.ones(t.n_nodes)})  # noqa: E731
    config = JudgeConfig(steps=3, seeds=2, batch=16, features=charges)
    one, two = (classification_score(with_charge(springs(40, 0)), with_charge(springs(20, 1)), config) for _ in range(2))
    assert one == two
    assert len(one.values) == len(one.controls) == 2
    assert one.values[0] != one.values[1]
    assert one.value.error > 0


def test_estimates():
    score = GenerationScore((1.0, 2.0, 3.0), (1.0,))
    assert score.value == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert math.isnan(score.control.error)


def test_bad_input():
    real = springs(40, 0)
    with pytest.raises(ValueError, match="10 frames in 3 dimensions and the generated 8"):
        classification_score(real, springs(40, 1, frames=8), QUICK)
    with pytest.raises(ValueError, match="given=10 of 10 frames"):
        prediction_score(real, real, 10, QUICK)
    with pytest.raises(ValueError, match="1 independent runs cannot be shared out"):
        classification_score(real.replace(context={"run": torch.zeros(40, dtype=torch.long)}), real, QUICK)
    with pytest.raises(ValueError, match="convert one of them"):
        classification_score(real, real.replace(units=Units.md()), QUICK)
    with pytest.raises(ValueError, match="seeds"):
        JudgeConfig(seeds=0)
