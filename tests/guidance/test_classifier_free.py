"""Classifier-free guidance and its residual form: exact scores on Gaussians, rows of the net, weights by sample."""

from __future__ import annotations

import pytest
import torch
from guided_systems import F64, Springs, bivariate, normal, seeded, springs

from trajlab.guidance.classifier_free import ClassifierFree, Residual, residual
from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import VE, Rectified, VPLinear
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import gaussian

PATH = VPLinear()


def narrow():
    return gaussian(torch.tensor([1.0, -0.5], dtype=F64), [[0.2, 0.0], [0.0, 0.1]])


def labelled(rows=4):
    net = springs()
    yes, no = net.given(pull=torch.linspace(0.5, 1.5, rows, dtype=F64)), net.given(pull=torch.zeros(1, dtype=F64))
    return net.net, yes, no


@pytest.mark.parametrize("lam", [-3.0, 0.3, 2.0])
def test_the_guided_score_is_exact_on_gaussians(lam):
    weight, level, x = 2.5, PATH.level(lam), normal(5, 2)
    found = ClassifierFree(narrow().denoiser(PATH), bivariate().denoiser(PATH), weight)(x, level).score

    def score(mixture):
        total = level.alpha**2 * mixture.covariance[0] + level.sigma**2 * torch.eye(2, dtype=F64)
        return -(x - level.alpha * mixture.mean[0]) @ torch.linalg.inv(total)

    torch.testing.assert_close(found, score(bivariate()) + weight * (score(narrow()) - score(bivariate())), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["x0", "eps", "v"])
def test_one_call_of_two_n_rows_is_two_calls(kind):
    net = Springs()
    base = Denoiser(net, PATH, kind)
    yes, no = base.given(pull=torch.linspace(0.5, 1.5, 4, dtype=F64)), base.given(pull=torch.zeros(1, dtype=F64))
    x, level = normal(4, 5, 3, 3), PATH.level(0.2)
    one, two = (ClassifierFree(yes, no, 3.0, batched=b)(x, level).x0 for b in (True, False))
    assert net.rows == [8, 4, 4]
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
    rows = ClassifierFree(yes, no, torch.tensor([1.0, 3.0, 0.0, -1.0]), batched=True)(x, PATH.level(torch.full((4,), 0.2, dtype=F64), like=x)).x0
    torch.testing.assert_close(rows[1], one[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rows[2], no(x, level).x0[2], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rows[0], yes(x, level).x0[0], rtol=1e-12, atol=1e-12)


def test_weights_of_one_and_zero_call_one_net_and_a_window_limits():
    net, yes, no = labelled()
    x, level = normal(4, 5, 3, 3), PATH.level(0.2)
    assert torch.equal(ClassifierFree(yes, no, 1.0)(x, level).x0, yes(x, level).x0)
    assert torch.equal(ClassifierFree(yes, no, 0.0)(x, level).x0, no(x, level).x0)
    limited = ClassifierFree(yes, no, 3.0, window=(-1.0, 0.0))
    assert torch.equal(limited(x, level).x0, yes(x, level).x0)
    assert net.rows == [4] * 6
    lam = torch.tensor([0.2, -0.5, 0.2, -0.5], dtype=F64)
    mixed = limited(x, PATH.level(lam, like=x)).x0
    torch.testing.assert_close(mixed[0], yes(x, level).x0[0])
    torch.testing.assert_close(mixed[1], ClassifierFree(yes, no, 3.0)(x, PATH.level(-0.5)).x0[1])


@pytest.mark.parametrize(("mode", "rows"), [("self", 6), ("initialize", 7), ("full", 12)])
def test_calls_of_a_run(mode, rows):
    net, yes, no = labelled(rows=1)
    grid, start = uniform_lam(PATH, 5), normal(1, 5, 3, 3)
    guided = residual(yes, no, start, grid.levels[0], 2.0, mode)
    assert sample(guided, grid, start, DEIS(order=2)).nfe == 6
    assert sum(net.rows) == rows


def test_weights_up_to_one_switch_residual_guidance_off():
    _, yes, _ = labelled()
    x, level = normal(4, 5, 3, 3), PATH.level(0.2)
    assert torch.equal(Residual(yes, 0.7)(x, level).x0, yes(x, level).x0)
    some = Residual(yes, torch.tensor([0.5, 2.0, 1.0, 1.0]))(x, level).x0
    torch.testing.assert_close(some[[0, 2, 3]], yes(x, level).x0[[0, 2, 3]])
    assert not torch.allclose(some[1], yes(x, level).x0[1])


@pytest.mark.parametrize("delta", [1.0, 0.8])
def test_the_residual_follows_its_recursion(delta):
    """The stored residual of the paper, e_r <- eps' + alpha' Dx/sigma' with Dx the step applied to sigma e_r, at each of four levels."""
    denoiser, weight = bivariate().denoiser(PATH), 1.7
    frame, eps = normal(6, 2, seed=1), [normal(6, 2, seed=10 + k) for k in range(4)]
    levels = PATH.levels([-2.0, -0.5, 0.7, 2.0])
    x, stored = levels[0].alpha * frame + levels[0].sigma * eps[0], eps[0]
    for k, level in enumerate(levels):
        e = denoiser(x, level).eps
        by_hand = delta * stored + weight * (e - delta * stored)
        found = Residual(denoiser, weight, frame, delta)(x, level)
        torch.testing.assert_close(found.eps, by_hand, rtol=1e-9, atol=1e-9)
        again = Residual(denoiser, weight, delta=delta)(x, level, reference=frame)
        torch.testing.assert_close(found.x0, again.x0, rtol=0, atol=0)
        if k < 3:
            after = levels[k + 1]
            moved = (level.sigma * stored - level.sigma * by_hand) / level.alpha
            x = after.alpha * found.x0 + after.sigma * eps[k + 1]
            stored = eps[k + 1] + after.alpha * moved / after.sigma


def test_initialize_takes_the_unconditional_guess_and_rows_stand_alone():
    _, yes, no = labelled()
    grid, start = uniform_lam(PATH, 4), normal(4, 5, 3, 3)
    guided = residual(yes, no, start, grid.levels[0], 2.0, "initialize")
    e_0 = no(start, grid.levels[0])
    torch.testing.assert_close(guided(start, grid.levels[0]).eps, e_0.eps + 2.0 * (yes(start, grid.levels[0]).eps - e_0.eps))
    whole = sample(ClassifierFree(yes, no, torch.tensor([1.0, 2.0, 3.0, 4.0])), grid, start).x
    alone = sample(ClassifierFree(yes.given(pull=yes.condition["pull"][2:3]), no, torch.tensor([3.0])), grid, start[2:3]).x
    torch.testing.assert_close(whole[2:3], alone, rtol=1e-12, atol=1e-12)


def test_a_mask_goes_along():
    class Masked:
        seen = None

        def __call__(self, x, t, pull, mask):
            self.seen = mask.shape
            return x * mask[..., None, None] * pull.reshape(-1, 1, 1, 1)

    net, mask = Masked(), torch.tensor([[True, True, False]] * 2)
    base = Denoiser(net, PATH)
    guided = ClassifierFree(base.given(pull=torch.ones(2)), base.given(pull=torch.zeros(2)), 2.0)
    out = sample(guided, uniform_lam(PATH, 4), (2, 3, 2, 3), generator=seeded(), mask=mask).x
    assert net.seen == (4, 3)
    assert not out[:, 2].any()


def test_bad_input():
    _, yes, no = labelled()
    x, level = normal(4, 5, 3, 3), PATH.level(0.2)
    with pytest.raises(ValueError, match="both are on one path"):
        ClassifierFree(yes, springs(VE()), 2.0)
    with pytest.raises(ValueError, match="two Denoisers of one net"):
        ClassifierFree(yes, springs(), 2.0, batched=True)
    with pytest.raises(ValueError, match="low to high"):
        ClassifierFree(yes, no, 2.0, window=(1.0, 0.0))
    with pytest.raises(ValueError, match="one a sample"):
        ClassifierFree(yes, no, torch.ones(3))(x, level)
    with pytest.raises(ValueError, match="same names"):
        ClassifierFree(yes, springs().__class__(yes.net, PATH), 2.0)(x, level)
    with pytest.raises(ValueError, match="first axis must be the batch"):
        ClassifierFree(yes, no.given(pull=torch.zeros(3)), 2.0)(x, level)
    with pytest.raises(ValueError, match="batched=False"):
        ClassifierFree(yes.given(mode="a"), no.given(mode="b"), 2.0)(x, level)
    with pytest.raises(ValueError, match="did you mean 'initialize'"):
        residual(yes, no, x, level, 2.0, "initialise")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unconditional"):
        residual(yes, None, x, level, 2.0, "full")
    with pytest.raises(ValueError, match="the reference has shape"):
        Residual(yes, 2.0, torch.zeros(3, 5, 3, 3))(x, level)


def test_guidance_works_on_every_level_of_a_path_to_no_noise():
    path = Rectified()
    guided = ClassifierFree(narrow().denoiser(path), bivariate().denoiser(path), 1.5)
    out = sample(guided, uniform_lam(path, 30), (64, 2), generator=seeded()).x
    assert bool(torch.isfinite(out).all())
    clean = Residual(narrow().denoiser(path), 1.5)(normal(3, 2), path.level(float("inf")))
    assert bool(torch.isfinite(clean.x0).all())
