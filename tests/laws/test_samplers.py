"""Laws of every solver of the table: it turns, reflects and permutes with its input, minds its own row, respects masks, and counts its calls."""

from __future__ import annotations

import contextlib

import pytest
import torch
from laws.noise_to_data import Changed, Counting, grid, seeded, start, turn

from trajlab import catalog
from trajlab.guidance.classifier_free import ClassifierFree
from trajlab.guidance.constraints import NormClamp, ZeroCentre
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample

SOLVERS = sorted(catalog.table("samplers"))
CLOSE = {"rtol": 1e-8, "atol": 1e-9}


def solver(name):
    return catalog.find(name, "samplers")()


def hooks(which, mask=None):
    """No hook, or constraints that keep the symmetries, at once."""
    return () if which == "plain" else (ZeroCentre(mask=mask), NormClamp(3.0))


def denoiser(which, pull=None, rows=3):
    """The plain denoiser; with hooks also classifier-free guidance, whose two conditions are told apart by ``pull``."""
    if which == "plain":
        return Counting() if pull is None else Counting(pull=pull)
    pull = torch.full((rows,), 0.1, dtype=torch.float64) if pull is None else pull
    return ClassifierFree(Counting(pull=pull), Counting(pull=torch.zeros_like(pull)), 1.5)


@pytest.fixture(params=SOLVERS)
def name(request):
    return request.param


@pytest.fixture(params=["plain", "hooks"])
def which(request):
    return request.param


@pytest.fixture
def hooked(which):
    return hooks(which)


@pytest.mark.parametrize("reflect", [False, True], ids=["rotation", "reflection"])
def test_turns_with_its_input(name, which, hooked, reflect):
    q = turn(reflect=reflect)
    there = lambda x: x @ q  # noqa: E731
    back = lambda x: x @ q.T  # noqa: E731
    plain = sample(denoiser(which), grid(), start(), solver(name), generator=seeded(), hooks=hooked).x
    turned = sample(denoiser(which), grid(), there(start()), solver(name), generator=Changed(seeded(), there, back), hooks=hooked).x
    torch.testing.assert_close(turned, there(plain), **CLOSE)


def test_permutes_with_its_input(name, which, hooked):
    order = torch.tensor([3, 0, 4, 1, 2])
    there = lambda x: x[:, order]  # noqa: E731
    back = lambda x: x[:, order.argsort()]  # noqa: E731
    plain = sample(denoiser(which), grid(), start(), solver(name), generator=seeded(), hooks=hooked).x
    moved = sample(denoiser(which), grid(), there(start()), solver(name), generator=Changed(seeded(), there, back), hooks=hooked).x
    torch.testing.assert_close(moved, there(plain), **CLOSE)


def test_a_row_does_not_depend_on_its_batch(name, which, hooked):
    pull = torch.tensor([0.0, 0.05, 0.1], dtype=torch.float64)
    x = start() * torch.tensor([1.0, 3.0, 0.2], dtype=torch.float64).reshape(-1, 1, 1, 1)
    whole = sample(denoiser(which, pull), grid(), x, solver(name), generator=seeded(), hooks=hooked).x
    for row in range(3):
        noise = RowNoise(seeded(), rows=[row])
        alone = sample(denoiser(which, pull[row : row + 1]), grid(), x[row : row + 1], solver(name), generator=noise, hooks=hooked).x
        torch.testing.assert_close(alone[0], whole[row], **CLOSE)


def test_what_is_hidden_changes_nothing(name, which):
    mask = torch.ones(3, 5, 4, dtype=torch.bool)
    mask[0, 3:] = False
    mask[1, :, 3] = False
    x, hooked = start() * mask[..., None], hooks(which, mask)
    garbage = torch.where(mask[..., None], x, torch.full_like(x, 50.0))
    clean = sample(denoiser(which), grid(), x, solver(name), generator=seeded(), mask=mask, hooks=hooked).x
    dirty = sample(denoiser(which), grid(), garbage, solver(name), generator=seeded(), mask=mask, hooks=hooked).x
    torch.testing.assert_close(dirty, clean, rtol=0, atol=0)
    assert bool((clean[~mask] == 0).all())
    # Nodes that are hidden might as well not be there (noise apart, whose place in the stream they take).
    noise = Changed(seeded(), lambda z: z[:, :3], lambda x: torch.cat([x, x.new_zeros(len(x), 2, *x.shape[2:])], 1))
    kept = sample(denoiser(which, rows=1), grid(), x[:1, :3], solver(name), generator=noise, hooks=hooks(which)).x
    torch.testing.assert_close(kept[0], clean[0, :3], **CLOSE)


def test_calls_are_counted_and_nothing_is_kept(name):
    used, counting = solver(name), Counting()
    first = sample(counting, grid(), start(), used, generator=seeded(), trace=True)
    assert first.nfe == counting.calls > 0
    with contextlib.suppress(NotImplementedError):
        assert used.plan(grid()).nfe == first.nfe
    sample(counting, grid(15), start(5)[:, :2], used, generator=seeded())
    again = sample(counting, grid(), start(), used, generator=seeded())
    torch.testing.assert_close(again.x, first.x, rtol=0, atol=0)
    assert torch.equal(first.trace[-1].x, first.x)
    assert len({step.index for step in first.trace}) == len(first.trace)


def test_float32_stays_float32(name):
    x = sample(Counting(), grid(), start().float(), solver(name), generator=seeded()).x
    assert x.dtype == torch.float32
    assert bool(torch.isfinite(x).all())


def test_half_precision_is_raised(name):
    assert sample(Counting(), grid(), start().bfloat16(), solver(name), generator=seeded()).x.dtype == torch.float32


def test_every_name_of_the_table_gives_a_solver():
    from trajlab.samplers.solver import Solver

    assert SOLVERS
    assert all(isinstance(solver(name), Solver) for name in SOLVERS)
