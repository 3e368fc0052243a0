"""Search of schedules and of steps: better than fixed solvers on held-out samples, never worse than seeds, right where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab import catalog
from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import VPTable
from trajlab.samplers.deis import DEIS
from trajlab.samplers.evolution import EvolutionConfig
from trajlab.samplers.grids import uniform_lam, uniform_t
from trajlab.samplers.sample import sample
from trajlab.samplers.search import ScheduleSpace, distance, search_schedule
from trajlab.samplers.search_steps import Skipping, StepChoice, StepSpace, search_steps
from trajlab.sources.mixtures import GaussianMixture

PATH = VPTable()
NFE = 5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(mixture, n, seed):
    return torch.randn(n, *mixture.event, generator=seeded(seed), dtype=torch.float64) * PATH.level(PATH.ends[0]).sigma


def fixed_solvers():
    found = [DEIS(order, kind) for order in (1, 2, 3) for kind in ("eps", "x0")]
    return found + [catalog.find(name, "samplers")() for name in catalog.table("samplers")]


def best_fixed(denoiser, start, end):
    """(mean, median) of the best fixed solver, each by itself, of those that have a table of NFE calls on a grid uniform in lam."""
    errors = []
    for solver in fixed_solvers():
        for steps in range(1, NFE):
            grid = uniform_lam(PATH, steps)
            try:
                table = solver.plan(grid)
            except (ValueError, NotImplementedError):
                continue
            if table.nfe == NFE:
                got = sample(denoiser, grid, start, solver, generator=seeded())
                errors.append((got.x - end).flatten(1).norm(dim=1))
    return min(float(e.mean()) for e in errors), min(float(e.median()) for e in errors)


@pytest.mark.parametrize("mixture", [GaussianMixture.ring(), GaussianMixture.smooth_paths(seeded(1))], ids=["ring", "paths"])
def test_beats_the_best_fixed_solver_on_fresh_samples(mixture):
    denoiser = mixture.denoiser(PATH)
    found = search_schedule(denoiser, NFE, noise(mixture, 128, 11), seeded(), config=EvolutionConfig(population=30, generations=10, pool=10))
    assert found.score < found.seed_score
    fresh = noise(mixture, 192, 12)
    end = mixture.ode_end(PATH, fresh, PATH.ends[0], float("inf"), tolerance=1e-6)
    got = sample(denoiser, found.grid, fresh, found.solver)
    error = (got.x - end).flatten(1).norm(dim=1)
    mean, median = best_fixed(denoiser, fresh, end)
    assert got.nfe == NFE
    assert float(error.mean()) < mean / 1.5
    assert float(error.median()) < median / 1.5


RING = GaussianMixture.ring()


def test_never_worse_than_the_seeds_however_short():
    start = noise(RING, 32, 1)
    space = ScheduleSpace(NFE)
    found = search_schedule(RING.denoiser(PATH), NFE, start, seeded(), config=EvolutionConfig(population=2, generations=1))
    assert len(found.evolution.seen) == len(space.seeds())
    assert found.score == found.seed_score == min(found.evolution.seen.values())
    end = sample(RING.denoiser(PATH), uniform_lam(PATH, 256), start).x
    for order in (1, 2, 3):
        for kind in ("eps", "x0"):
            plain = sample(RING.denoiser(PATH), uniform_lam(PATH, NFE - 1), start, DEIS(order, kind)).x
            assert found.score <= distance(end)(plain) + 1e-9


def test_a_search_repeats_with_its_generator_and_can_be_stored():
    start, config = noise(RING, 16, 1), EvolutionConfig(population=12, generations=3, pool=4)
    one, other = (search_schedule(RING.denoiser(PATH), 3, start, seeded(4), config=config) for _ in range(2))
    assert one.solver == other.solver
    assert list(one.evolution.seen) == list(other.evolution.seen)
    again = type(one.solver).from_json(one.solver.to_json())
    assert torch.equal(sample(RING.denoiser(PATH), again.grid(PATH), start, again).x, sample(RING.denoiser(PATH), one.grid, start, one.solver).x)


def test_a_user_metric():
    """Fitness that wants the samples' mean square at 0.6: nothing else is asked for."""
    start = noise(RING, 64, 1)
    found = search_schedule(RING.denoiser(PATH), 2, start, seeded(), fitness=lambda x: abs(float(x.square().sum(1).mean()) - 0.6),
                            config=EvolutionConfig(population=12, generations=5))
    assert found.score < 0.02
    assert float(sample(RING.denoiser(PATH), found.grid, start, found.solver).x.square().sum(1).mean()) == pytest.approx(0.6, abs=0.021)


def test_two_ddim_steps_on_a_gaussian_are_the_best_there_are():
    """N(m, v): the middle node by trying all of them, and by the search."""
    mixture = GaussianMixture(torch.full((1, 1), 0.7), torch.full((1, 1, 1), 0.3))
    denoiser, ladder, start = mixture.denoiser(PATH), uniform_t(PATH, 299), noise(mixture, 32, 2)
    target = mixture.ode_end(PATH, start, PATH.ends[0], float("inf"), tolerance=1e-7)
    score = distance(target)
    space = StepSpace(ladder, 2)
    brute = min(score(sample(denoiser, space.grid(StepChoice((0, k), ((), ()))), start, DEIS(1)).x) for k in range(1, 300))
    found = search_steps(denoiser, space, start, seeded(), target=target, config=EvolutionConfig(population=12, generations=6))
    assert brute <= found.score <= 1.01 * brute
    assert found.score < 0.9 * found.seed_score


class Blocks(torch.nn.Module):
    """The exact answer in three residual blocks, of which the second does nothing and the third only near the data."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, t, skip=()):
        self.calls.append(skip)
        lam = PATH.lam_of(t.double()).reshape(-1, 1)
        alpha, sigma = PATH.scales(lam)
        x0 = RING.posterior(x, alpha[:, :, None], sigma[:, :, None])[0]
        out = torch.zeros_like(x0)
        if 0 not in skip:
            out = out + torch.where(lam < 0, x0, 0.5 * x0)
        if 2 not in skip:
            out = out + torch.where(lam < 0, torch.zeros_like(x0), 0.5 * x0)
        return out


def test_blocks_that_do_nothing_are_skipped():
    """A budget of 1 + 2/3 + 1/3 ... forces skips; those without effect cost no accuracy, and the search finds them."""
    net, start = Blocks(), noise(RING, 32, 3)
    denoiser, ladder = Denoiser(net, PATH), uniform_lam(PATH, 60)
    free = search_steps(denoiser, StepSpace(ladder, 4), start, seeded(), config=EvolutionConfig(population=12, generations=4))
    space = StepSpace(ladder, 4, blocks=3, budget=8 / 3)
    found = search_steps(denoiser, space, start, seeded(), config=EvolutionConfig(population=20, generations=8))
    assert all(space.latency(c) <= space.budget + 1e-9 for c in found.evolution.seen)
    # At the start the answer is the mean, 0, whatever is skipped; near the data the first and third block are all there is.
    assert found.evolution.best.skips[-1] in ((), (1,))
    assert found.score < 1.5 * free.score
    net.calls.clear()
    got = sample(found.denoiser, found.grid, start, found.solver)
    assert net.calls == list(found.evolution.best.skips)
    assert distance(sample(denoiser, uniform_lam(PATH, 256), start).x)(got.x) == pytest.approx(found.score)


@pytest.mark.parametrize("first", [True, False])
def test_whatever_evolves_is_legal(first):
    space, rng = StepSpace(uniform_t(PATH, 30), 6, blocks=4, cost=(0.1, 0.2, 0.3, 0.1), budget=4.0, first=first), np.random.default_rng(0)
    pool = [*space.seeds(rng), *(space.random(rng) for _ in range(50))]
    pool += [space.mutated(c, rng) for c in pool] + [space.crossed(a, b, rng) for a, b in zip(pool, pool[::-1])]
    assert all(space.legal(c) for c in pool)
    assert len({len(space.features(c)) for c in pool}) == 1
    for wrong in (StepChoice((0, 2, 2, 4, 5, 6), ((),) * 6), StepChoice((0, 1, 2, 3, 4, 5), ((),) * 6), StepChoice((0, 1), ((), ()))):
        assert not space.legal(wrong)


def test_bad_input():
    ladder = uniform_t(PATH, 10)
    for wrong, message in (
        ({"nfe": 1}, "nfe = 1 of a ladder of 11"),
        ({"nfe": 12}, "nfe = 12"),
        ({"nfe": 3, "blocks": 2, "cost": (0.5,)}, "one share"),
        ({"nfe": 3, "blocks": 2, "cost": (0.25, 0.25), "budget": 1.0}, "cost 1.5 with all blocks skipped"),
    ):
        with pytest.raises(ValueError, match=message):
            StepSpace(ladder, **wrong)
    start = noise(RING, 4, 0)
    plain = Denoiser(lambda x, t: x, PATH)
    with pytest.raises(ValueError, match="takes no argument skip="):
        search_steps(plain, StepSpace(ladder, 3, blocks=2), start, seeded())
    level = PATH.level(torch.zeros(4), like=start)
    with pytest.raises(ValueError, match="differs between samples"):
        Skipping(Denoiser(Blocks(), PATH), [0.0], [()])(start, level)
    with pytest.raises(ValueError, match="space has schedules of 4 calls, and nfe=5"):
        search_schedule(plain, 5, start, seeded(), space=ScheduleSpace(4))
    with pytest.raises(ValueError, match="finite score"):
        search_schedule(plain, 2, start, seeded(), fitness=lambda x: float("nan"), config=EvolutionConfig(2, 1))
    with pytest.raises(ValueError, match="at least one call"):
        ScheduleSpace(0)
