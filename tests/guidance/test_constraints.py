"""Constraints as hooks: each is a projection, keeps what it says it keeps, and holds at the end of a run."""

from __future__ import annotations

import warnings

import pytest
import torch
from guided_systems import F64, normal, rotation, seeded, springs

from trajlab.guidance.constraints import DynamicThreshold, NormClamp, ObservedFrames, PeriodicWrap, ZeroCentre
from trajlab.paths.schedules import VPLinear
from trajlab.samplers.ancestral import Ancestral
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.sample import sample

PATH = VPLinear()
LEVEL = PATH.level(0.5)
SHAPE = (3, 4, 5, 3)
MASK = torch.ones(3, 4, 5, dtype=torch.bool)
MASK[0, 3] = MASK[1, :, 4] = MASK[2, 1, 2] = False
CELL = torch.tensor([[2.0, 0.0, 0.0], [0.5, 1.5, 0.0], [0.1, 0.2, 1.7]], dtype=F64)


def on(hook, x):
    return hook.on_x0(x, x, LEVEL)


def hooks():
    value = normal(*SHAPE, seed=3)
    return {
        "centre": ZeroCentre(),
        "centre of all": ZeroCentre((1, 2)),
        "centre with holes": ZeroCentre(mask=MASK),
        "clamp": NormClamp(1.0),
        "frames": ObservedFrames(value, ~MASK),
        "threshold": DynamicThreshold(0.9, 0.8, accept=True),
        "wrap": PeriodicWrap(CELL),
        "wrap to a reference": PeriodicWrap(CELL, (True, True, False), value[:, :, :1]),
        "wrap by row": PeriodicWrap(torch.stack([CELL, 2 * CELL, 3 * CELL])),
    }


@pytest.mark.parametrize("name", hooks())
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_twice_is_once(name, dtype):
    x = 3 * normal(*SHAPE, dtype=dtype)
    once = on(hooks()[name], x)
    assert once.dtype == dtype
    assert not torch.equal(once, x)
    torch.testing.assert_close(on(hooks()[name], once), once, rtol=0, atol=2e-6 if dtype == torch.float32 else 1e-14)


def turned(name, turn):
    value = normal(*SHAPE, seed=3) @ turn
    return {"frames": ObservedFrames(value, ~MASK), "wrap": PeriodicWrap(CELL @ turn),
            "wrap to a reference": PeriodicWrap(CELL @ turn, (True, True, False), value[:, :, :1])}.get(name) or hooks()[name]


@pytest.mark.parametrize("name", ["centre", "centre of all", "centre with holes", "clamp", "frames", "wrap", "wrap to a reference"])
def test_it_turns_along(name):
    x, turn = 2 * normal(*SHAPE), rotation()
    torch.testing.assert_close(on(turned(name, turn), x @ turn), on(hooks()[name], x) @ turn, rtol=1e-10, atol=1e-10)


def test_thresholding_does_not_turn_along_and_says_so():
    x, turn = 3 * normal(*SHAPE), rotation()
    hook = hooks()["threshold"]
    assert not torch.allclose(on(hook, x @ turn), on(hook, x) @ turn, atol=0.05)
    with pytest.warns(UserWarning, match="not equivariant to rotations"):
        DynamicThreshold()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DynamicThreshold(accept=True)


@pytest.mark.parametrize("name", ["centre", "centre of all", "clamp", "wrap"])
def test_it_permutes_and_rows_stand_alone(name):
    x, order, hook = 2 * normal(*SHAPE), torch.tensor([2, 0, 3, 1]), hooks()[name]
    torch.testing.assert_close(on(hook, x[:, order]), on(hook, x)[:, order])
    torch.testing.assert_close(on(hook, x[1:2]), on(hook, x)[1:2])


def test_thresholding_is_the_formula():
    x = torch.tensor([[0.1, -0.2, 0.3, -4.0], [0.1, 0.2, -0.3, 0.5]], dtype=F64)
    top = torch.quantile(x[0].abs(), 0.8)
    found = on(DynamicThreshold(0.8, accept=True), x)
    torch.testing.assert_close(found[0], x[0].clamp(-top, top) / top)
    assert torch.equal(found[1], x[1])


def test_a_run_stays_in_the_zero_centre_subspace():
    """Start, every node and the end, with fresh noise; what is hidden stays zero, and the rest has its centre there."""
    for hook, mask, over in ((ZeroCentre(), None, (1,)), (ZeroCentre((1, 2)), None, (1, 2)), (ZeroCentre(mask=MASK), MASK, (1,))):
        centres = []
        out = sample(springs(), uniform_lam(PATH, 8), 1 + normal(*SHAPE), Ancestral(), generator=seeded(), hooks=[hook], mask=mask,
                     watch=lambda s, over=over, centres=centres: centres.append(s.x.sum(over).abs().max()))
        assert float(max(centres)) < 1e-12
        if mask is not None:
            assert not out.x[~mask].any()


def test_translation_in_the_subspace():
    """A shifted start gives the same run."""
    runs = [sample(springs(), uniform_lam(PATH, 8), normal(*SHAPE) + by, Ancestral(), generator=seeded(), hooks=[ZeroCentre()]).x for by in (0, 7.5)]
    torch.testing.assert_close(*runs, rtol=1e-10, atol=1e-10)


def test_what_was_observed_is_there_at_the_end():
    value = torch.where(MASK[..., None], normal(*SHAPE, seed=3), float("nan"))
    x = sample(springs(), uniform_lam(PATH, 8), normal(*SHAPE), hooks=[ObservedFrames(value, MASK)]).x
    assert torch.equal(x[MASK], value[MASK])
    assert bool(torch.isfinite(x).all())


def test_clamped_positions_end_within_the_radius_and_short_ones_stay():
    x = sample(springs(), uniform_lam(PATH, 8), 4 * normal(*SHAPE), hooks=[NormClamp(0.3)]).x
    assert float(x.norm(dim=-1).max()) <= 0.3 + 1e-12
    short = 0.01 * normal(*SHAPE)
    assert torch.equal(on(NormClamp(0.3), short), short)


def test_wrapping_moves_by_whole_vectors_into_the_cell():
    x = 30 * normal(*SHAPE)
    wrapped = on(PeriodicWrap(CELL), x)
    fraction = wrapped @ torch.linalg.inv(CELL)
    assert float(fraction.min()) > -1e-12
    assert float(fraction.max()) < 1
    moved = (x - wrapped) @ torch.linalg.inv(CELL)
    torch.testing.assert_close(moved, moved.round(), rtol=0, atol=1e-10)
    near = on(PeriodicWrap(CELL, (True, True, False), normal(*SHAPE)), x)
    fraction = (near - normal(*SHAPE)) @ torch.linalg.inv(CELL)
    assert float(fraction[..., :2].abs().max()) <= 0.5 + 1e-12
    moved = (x - near) @ torch.linalg.inv(CELL)
    assert float(moved[..., 2].abs().max()) < 1e-10


def test_bad_input():
    x = normal(*SHAPE)
    for make, words in (
        (lambda: ZeroCentre((0, 1)), "0 is the batch"),
        (lambda: ZeroCentre(()), "axes from 1 on"),
        (lambda: NormClamp(0.0), "a positive one"),
        (lambda: DynamicThreshold(1.5, accept=True), "quantile in"),
        (lambda: PeriodicWrap(torch.ones(3)), r"\[dim dim\]"),
        (lambda: PeriodicWrap(torch.zeros(3, 3)), "no volume"),
        (lambda: PeriodicWrap(CELL, (True,)), "pbc has 1 entries"),
        (lambda: on(ZeroCentre((3,)), x), "whose last axis holds coordinates"),
        (lambda: on(ZeroCentre(mask=MASK[:, :3]), x), "the mask has shape"),
        (lambda: on(PeriodicWrap(CELL[:2, :2]), x), "a vector a coordinate"),
        (lambda: on(PeriodicWrap(torch.stack([CELL, CELL])), x), "one a row"),
        (lambda: on(ObservedFrames(x[:2], MASK), x), "the observed value has shape"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
