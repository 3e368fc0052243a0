"""The edit-friendly noise space: exact round trip, its known statistics, symmetries, and replay under another condition."""

from __future__ import annotations

import pytest
import torch
from guided_systems import F64, normal, rotation, seeded, springs

from trajlab.guidance.constraints import ZeroCentre
from trajlab.guidance.noise_space import Replay, encode, replay
from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import EDM, Rectified, VPLinear
from trajlab.samplers.grids import explicit, uniform_lam
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture

PATH = VPLinear()
SHAPE = (3, 4, 5, 3)


def mixture_space(eta=1.0):
    mixture = GaussianMixture.smooth_paths(seeded(1))
    data = mixture.sample(32, seeded(2))
    denoiser, grid = mixture.denoiser(PATH), uniform_lam(PATH, 50, -5.0, 4.6)
    return denoiser, data, encode(denoiser, grid, data, seeded(3), eta)


def test_the_round_trip_is_exact_to_the_last_step():
    denoiser, data, space = mixture_space()
    found = replay(denoiser, space)
    torch.testing.assert_close(found.x, data, rtol=0, atol=1e-10)
    assert found.nfe == space.nfe == 51
    assert float(space.residual.abs().max()) > 1e-4


def test_its_draws_are_loud_and_alternate():
    _, _, space = mixture_space()
    z = space.z.flatten(1)
    lag = float((z[1:] * z[:-1]).mean() / ((z[1:] ** 2).mean() * (z[:-1] ** 2).mean()).sqrt())
    assert float(z.var()) > 2
    assert -0.55 < lag < -0.45


@pytest.mark.parametrize("path", [Rectified(), EDM(), VPLinear()])
@pytest.mark.parametrize("eta", [1.0, 0.5])
@pytest.mark.parametrize("clean", [False, True])
def test_every_path_eta_and_end(path, eta, clean):
    lam = torch.linspace(-3, 4, 9, dtype=F64)
    grid = explicit(path, torch.cat([lam, torch.tensor([torch.inf], dtype=F64)]) if clean else lam, "stop")
    space = encode(springs(path), grid, normal(*SHAPE), seeded(), eta)
    for skip in (0, 3, 8):
        torch.testing.assert_close(replay(springs(path), space, skip).x, normal(*SHAPE), rtol=0, atol=1e-10)


def test_the_draws_are_those_of_the_step():
    """(x_(k+1) - mu_k)/s_k, in the VP form of the variance."""
    grid, denoiser = uniform_lam(PATH, 6, -3.0, 4.0), springs()
    space = encode(denoiser, grid, normal(*SHAPE), seeded(), 0.6)
    for k in range(6):
        a, b = grid.levels[k], grid.levels[k + 1]
        s = 0.6 * b.sigma / a.sigma * (1 - a.alpha**2 / b.alpha**2) ** 0.5
        found = denoiser(space.states[k], a)
        mean = b.alpha * found.x0 + (b.sigma**2 - s**2) ** 0.5 * found.eps
        torch.testing.assert_close((space.states[k + 1] - mean) / s, space.z[k], rtol=1e-8, atol=1e-8)


def test_turning_and_permuting_the_draws_moves_the_trajectory():
    x, turn, order = normal(*SHAPE), rotation(), torch.tensor([2, 0, 3, 1])
    space = encode(springs(), uniform_lam(PATH, 12, -3.0, 5.0), x, seeded())
    pull = springs().given(pull=torch.tensor([0.5, 1.0, 2.0], dtype=F64))
    edited = replay(pull, space, 2).x
    assert not torch.allclose(edited, x, atol=0.05)
    for move in (lambda x: x @ turn, lambda x: x[:, order], lambda x: x.roll(1, 2), lambda x: -x):
        torch.testing.assert_close(replay(pull, space.mapped(move), 2).x, move(edited), rtol=1e-8, atol=1e-8)


class Moving:
    """A denoiser that moves along with its data: D(x + alpha d) = D(x) + d."""

    path = PATH

    def __init__(self, pull=1.0):
        self.pull = pull

    def __call__(self, x, level, **_):
        centre = x.mean(1, keepdim=True)
        return Prediction(x, level, "x0", centre / level.alpha + self.pull * torch.tanh(x - centre))


def test_shifting_moves_the_trajectory():
    space = encode(Moving(), uniform_lam(PATH, 12, -3.0, 5.0), normal(*SHAPE), seeded())
    by = torch.tensor([3.0, -1.0, 0.5], dtype=F64)
    edited = replay(Moving(0.4), space, 2).x
    torch.testing.assert_close(replay(Moving(0.4), space.shifted(by), 2).x, edited + by, rtol=1e-8, atol=1e-8)


def test_a_larger_skip_keeps_more_of_the_trajectory():
    x = normal(*SHAPE)
    space = encode(springs(), uniform_lam(PATH, 20, -3.0, 5.0), x, seeded())
    pull = springs().given(pull=torch.full((3,), 1.6, dtype=F64))
    changed = [float((replay(pull, space, skip).x - x).norm()) for skip in (0, 10, 20)]
    assert changed[0] > changed[1] > changed[2] > 0
    assert replay(pull, space, 10).nfe == 11


def test_masks_hooks_and_rows():
    mask = torch.ones(3, 4, 5, dtype=torch.bool)
    mask[0, 3] = False
    x = torch.where(mask[..., None], normal(*SHAPE), float("nan"))
    grid = uniform_lam(PATH, 6, -3.0, 5.0)
    space = encode(springs(), grid, x, seeded(), mask=mask)
    out = replay(springs(), space, mask=mask).x
    torch.testing.assert_close(out[mask], x[mask], rtol=0, atol=1e-10)
    assert not out[~mask].any()
    alone = encode(springs(), grid, normal(*SHAPE)[2:], RowNoise(seeded(), [2]))
    torch.testing.assert_close(alone.z, encode(springs(), grid, normal(*SHAPE), seeded()).z[:, 2:], rtol=1e-9, atol=1e-9)
    centred = normal(*SHAPE) - normal(*SHAPE).mean(1, keepdim=True)
    space = encode(springs(), grid, centred, seeded(), hooks=[ZeroCentre()])
    assert float(space.z.sum(2).abs().max()) < 1e-9
    torch.testing.assert_close(replay(springs(), space, hooks=[ZeroCentre()]).x, centred, rtol=0, atol=1e-10)


def test_a_replay_can_be_watched():
    space = encode(springs(), uniform_lam(PATH, 6, -3.0, 5.0), normal(*SHAPE), seeded())
    found = sample(springs(), space.grid, space.states[0], Replay(space), trace=True)
    assert [round(s.level.lam, 6) for s in found.trace] == [round(k.lam, 6) for k in space.grid.levels[1:]] + [float("inf")]
    for step, state in zip(found.trace, space.states[1:]):
        torch.testing.assert_close(step.x, state, rtol=1e-9, atol=1e-9)


def test_bad_input():
    grid, x = uniform_lam(PATH, 6, -3.0, 5.0), normal(*SHAPE)
    with pytest.raises(ValueError, match="no draws"):
        encode(springs(), grid, x, seeded(), eta=0.0)
    with pytest.raises(ValueError, match=r"eta = 1\.2"):
        encode(springs(), grid, x, seeded(), eta=1.2)
    with pytest.raises(ValueError, match="not finite"):
        encode(springs(), grid, x / 0, seeded())
    with pytest.raises(ValueError, match="the mask has shape"):
        encode(springs(), grid, x, seeded(), mask=torch.ones(3, 5, dtype=torch.bool))
    space = encode(springs(), grid, x, seeded())
    with pytest.raises(ValueError, match="a node of the space"):
        Replay(space, 7)
    with pytest.raises(ValueError, match=r"use space\.grid"):
        sample(springs(), uniform_lam(PATH, 6), x, Replay(space))
