"""Baselines: exact where they can be, in the right frame, and clear about what they do not know."""

from __future__ import annotations

import pytest
import torch

from trajlab.dynamics.particles import Particles, Propagator
from trajlab.dynamics.verlet import verlet
from trajlab.models.baselines import Ballistic, LargeStepVerlet, Ridge
from trajlab.models.ridge import kabsch
from trajlab.types import Trajectories
from trajlab.units import ACCELERATION, Units

STRIDE = 7.0


def triad(count: int, seed: int, kinds: tuple[int, ...] = (8, 1, 1, 6), size: float = 0.03) -> Particles:
    """Small molecules near one structure, anywhere and turned anyhow, without total momentum."""
    generator = torch.Generator().manual_seed(seed)
    n = len(kinds)
    rest = torch.tensor([[0.0, 0, 0], [1.0, 0.2, 0], [-0.3, 1.0, 0.3], [-0.6, -0.8, 0.9]], dtype=torch.float64)[:n]
    mass = torch.tensor([{8: 16.0, 1: 1.0, 6: 12.0}[k] for k in kinds], dtype=torch.float64)
    x = rest + size * torch.randn(count, n, 3, generator=generator, dtype=torch.float64) / mass.sqrt()[:, None]
    v = 0.01 * torch.randn(count, n, 3, generator=generator, dtype=torch.float64) / mass.sqrt()[:, None]
    turn = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))[0]
    turn = turn * torch.linalg.det(turn).sign()[:, None, None]
    x = x @ turn + 5 * torch.randn(count, 1, 3, generator=generator, dtype=torch.float64)
    return Particles(x.reshape(-1, 3), (v @ turn).reshape(-1, 3), mass.repeat(count), torch.tensor(kinds).repeat(count),
                     torch.arange(count).repeat_interleave(n), count)


def springs(p: Particles) -> tuple[torch.Tensor, torch.Tensor]:
    """Bonds between all atoms of each molecule, of rest lengths of the structure of `triad`: energies and forces."""
    rest = torch.tensor([[0.0, 0, 0], [1.0, 0.2, 0], [-0.3, 1.0, 0.3], [-0.6, -0.8, 0.9]], dtype=torch.float64)
    x = p.x.reshape(p.n_scenes, -1, 3)
    between = x[:, :, None] - x[:, None]
    wanted = (rest[:, None] - rest[None]).norm(dim=-1)
    length = between.norm(dim=-1) + torch.eye(4)
    stretch = (length - wanted) * (1 - torch.eye(4))
    force = -(20.0 * stretch / length)[..., None] * between
    return 5.0 * stretch.square().sum((1, 2)), force.sum(2).reshape(-1, 3)


def pairs(start: Particles, runs: int = 10) -> Trajectories:
    after = verlet(start, springs, 0.5, 14)[0]
    count = start.n_scenes
    return Trajectories(
        x=torch.stack([start.x, after.x], 1), time=torch.tensor([[0.0, STRIDE]], dtype=torch.float64).repeat(count, 1), scene=start.scene,
        kind=start.kind, extra={"velocity": torch.stack([start.v, after.v], 1)}, static={"mass": start.mass},
        context={"run": torch.arange(count) * runs // count}, units=Units.md())


def error(model: Propagator, data: Trajectories) -> tuple[float, float]:
    p, q = Particles.of(data, 0), Particles.of(data, 1)
    d, v = model.propagate(p)
    return float((d - (q.x - p.x)).norm() / (q.x - p.x).norm()), float((v - q.v).norm() / q.v.norm())


def test_free_flight():
    p = triad(3, 0)
    d, v = Ballistic(STRIDE).propagate(p)
    assert torch.equal(d, 7.0 * p.v)
    assert torch.equal(v, p.v)
    assert isinstance(Ballistic(STRIDE), Propagator)
    with pytest.raises(ValueError, match="must be positive"):
        Ballistic(0.0)
    with pytest.raises(ValueError, match=r"stride of 5 fs.*7 fs apart"):
        Ballistic(5.0).fit(pairs(p))


def test_verlet_converges_at_second_order_to_the_reference():
    data = pairs(triad(20, 1))
    errors = [error(LargeStepVerlet(springs, STRIDE, k).fit(data), data)[0] for k in (4, 8)]
    assert errors[0] < 0.1
    # against 14 steps the error goes as 1/k^2 - 1/14^2
    assert errors[0] / errors[1] == pytest.approx((1 / 16 - 1 / 196) / (1 / 64 - 1 / 196), rel=0.15)
    exact = LargeStepVerlet(springs, STRIDE, 14)
    assert error(exact, data)[1] < 1e-12


def test_kabsch_turns_back_and_is_proper():
    p = triad(5, 2, size=0.0)
    x = p.x.reshape(5, 4, 3)
    mass = p.mass[:4]
    x = x - (x * mass[:, None]).sum(1, keepdim=True) / mass.sum()
    turn = kabsch(x, x[0], mass)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(5, dtype=torch.float64))
    assert torch.allclose(torch.einsum("sij,saj->sai", turn, x), x[:1].expand(5, 4, 3), atol=1e-10)
    mirrored = kabsch(x * torch.tensor([1.0, 1.0, -1.0]), x[0], mass)
    assert torch.allclose(torch.linalg.det(mirrored), torch.ones(5, dtype=torch.float64))


def test_ridge_beats_free_flight_and_the_quadratic_beats_the_linear():
    train, test = pairs(triad(1500, 3)), pairs(triad(200, 4))
    free, linear, quadratic = (error(m.fit(train), test) for m in (Ballistic(STRIDE), Ridge(), Ridge(degree=2)))
    assert linear[0] < 0.2 * free[0]
    assert quadratic[0] < 0.5 * linear[0]
    assert quadratic[1] < 0.5 * linear[1]


def test_a_ridge_turns_with_its_input_and_keeps_momentum():
    model = Ridge(degree=2).fit(pairs(triad(400, 3)))
    p = triad(6, 5)
    p = p.replace(v=p.v + torch.tensor([0.02, -0.01, 0.03]))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    turn = turn * torch.linalg.det(turn).sign()
    d, v = model.propagate(p)
    turned = model.propagate(p.replace(x=p.x @ turn + 3.0, v=p.v @ turn))
    assert torch.allclose(turned[0], d @ turn, atol=1e-9)
    assert torch.allclose(turned[1], v @ turn, atol=1e-9)
    momentum = p.scene_sum(p.mass[:, None] * p.v)
    assert torch.allclose(p.scene_sum(p.mass[:, None] * v), momentum, atol=1e-12)
    assert torch.allclose(p.scene_sum(p.mass[:, None] * d), STRIDE * momentum, atol=1e-11)


def test_a_ridge_says_what_it_does_not_know():
    model = Ridge().fit(pairs(triad(60, 3)))
    with pytest.raises(ValueError, match=r"atom order .* differs .*atom 0 has atomic number 1, not 8"):
        model.propagate(triad(2, 0, kinds=(1, 8, 1, 6)))
    with pytest.raises(ValueError, match=r"HCO2|CHO2"):
        model.propagate(triad(2, 0, kinds=(8, 8, 1, 6)))
    with pytest.raises(ValueError, match="H2O"):
        model.propagate(triad(2, 0, kinds=(8, 1, 1)))
    with pytest.raises(ValueError, match="not fitted"):
        Ridge().propagate(triad(2, 0))
    with pytest.raises(ValueError, match="degree 3"):
        Ridge(degree=3)


def chain(count: int, seed: int, sites: int = 4) -> Trajectories:
    """Random harmonic motion of a periodic crystal of two sorts of atoms, exactly propagated by Verlet with small steps."""
    side = 3.0 * sites
    rest = torch.zeros(2 * sites, 3, dtype=torch.float64)
    rest[:sites, 0] = 3.0 * torch.arange(sites)
    rest[sites:, 0] = 3.0 * torch.arange(sites) + 1.4
    mass = torch.tensor([23.0] * sites + [35.0] * sites, dtype=torch.float64)
    cell = torch.diag(torch.tensor([side, 20.0, 20.0], dtype=torch.float64))
    generator = torch.Generator().manual_seed(seed)
    x = rest + 0.05 * torch.randn(count, 2 * sites, 3, generator=generator, dtype=torch.float64)
    v = 0.005 * torch.randn(count, 2 * sites, 3, generator=generator, dtype=torch.float64)
    order = rest[:, 0].argsort()
    x0, v0 = x.clone(), v.clone()

    def acceleration(x):
        u = (x - rest)[:, order]
        f = torch.zeros_like(x)
        f[:, order] = 4.0 * (u.roll(1, 1) + u.roll(-1, 1) - 2 * u)
        return ACCELERATION * f / mass[:, None]

    for _ in range(20):
        v = v + 0.5 * acceleration(x)
        x = x + v
        v = v + 0.5 * acceleration(x)
    drift = torch.randn(count, 1, 3, generator=generator, dtype=torch.float64)  # the crystal as a whole is anywhere
    frames = [torch.stack(pair, 2).flatten(0, 1) for pair in ((x0 + drift, x + drift), (v0, v))]
    n = 2 * sites
    return Trajectories(
        x=frames[0], time=torch.tensor([[0.0, 20.0]], dtype=torch.float64).repeat(count, 1), scene=torch.arange(count).repeat_interleave(n),
        kind=torch.tensor([11] * sites + [17] * sites).repeat(count), extra={"velocity": frames[1]}, static={"mass": mass.repeat(count)},
        context={"run": torch.arange(count) * 5 // count}, cell=cell.expand(count, 3, 3), units=Units.md())


def test_a_harmonic_crystal_is_propagated_exactly():
    model = Ridge().fit(chain(60, 0))
    assert len(model.frame.lattice.image) == 4
    assert len(model.weights) == 2
    d, v = error(model, chain(20, 1))
    assert d < 1e-3
    assert v < 1e-3
    assert error(Ballistic(20.0), chain(20, 1))[0] > 0.1


def test_a_crystal_ridge_moves_with_the_lattice():
    model = Ridge().fit(chain(60, 0))
    p = Particles.of(chain(3, 2), 0)
    d, _ = model.propagate(p)
    image = model.frame.lattice.image[1]
    inverse = image.argsort()
    x = p.x.reshape(3, -1, 3)
    site = model.frame.lattice.site
    shifted = site + (x - site)[:, inverse]
    moved = model.propagate(p.replace(x=shifted.reshape(-1, 3), v=p.v.reshape(3, -1, 3)[:, inverse].reshape(-1, 3)))
    assert torch.allclose(moved[0].reshape(3, -1, 3)[:, image], d.reshape(3, -1, 3), atol=1e-8)
    with pytest.raises(ValueError, match="another cell"):
        model.propagate(p.replace(cell=1.1 * p.cell))
    with pytest.raises(ValueError, match="quadratic ridge is for molecules"):
        Ridge(degree=2).fit(chain(10, 0))
