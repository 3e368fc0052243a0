"""Linear forecasts of windows: known answers, symmetries, masks, refusals."""

from __future__ import annotations

import pytest
import torch
from window_systems import improper, moved, packed, ragged, springs

from trajlab.data.dense import dense
from trajlab.models.given_frames import filled
from trajlab.models.linear_forecasts import ConstantVelocity, EquivariantRidge, LastPosition, ParticleRidge, held_out

ALL = [LastPosition, ConstantVelocity, ParticleRidge, EquivariantRidge]
GIVEN = 6


def error(model, data):
    return float((model.predict(dense(data)) - dense(data).x[:, :, GIVEN:]).norm(dim=-1).mean())


def straight(scenes: int = 3, nodes: int = 4, frames: int = 9):
    g = torch.Generator().manual_seed(0)
    start, velocity = torch.randn(2, scenes, nodes, 1, 2, generator=g, dtype=torch.float64)
    return packed(start + velocity * 0.5 * torch.arange(frames).double()[:, None])


def test_known_answers():
    data = straight()
    x = dense(data).x
    assert torch.equal(LastPosition().fit(data, GIVEN).predict(dense(data)), x[:, :, 5:6].expand(-1, -1, 3, -1))
    for cls in (ConstantVelocity, ParticleRidge):
        assert error(cls().fit(data, GIVEN), data) < 1e-6


def test_constant_velocity_goes_by_physical_time():
    data = straight(1, 2)
    time = torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 4.0, 5.0]]).double()
    x = data.x[:, :1] + (data.x[:, 1:2] - data.x[:, :1]) * 2 * time[0, :, None]
    uneven = data.replace(x=x, time=time)
    model = ConstantVelocity().fit(uneven, GIVEN)
    assert torch.allclose(model.predict(dense(uneven))[0], x[:, GIVEN:])
    assert torch.allclose(model.forecast(uneven.frames(slice(0, 6)), 2).time, torch.tensor([[2.5, 2.75]]).double())


def test_harmonic_motion_is_learned():
    """Springs differ from scene to scene, so the map of one node is not exact; the molecule's, always of the same springs, is."""
    train, test = springs(300), springs(60, seed=1)
    still, straight_on, ridge = (error(cls().fit(train, GIVEN), test) for cls in ALL[:3])
    assert ridge < 0.25 * min(still, straight_on)
    one = train.replace(x=_same_springs(300, 0).x)
    ridge = EquivariantRidge().fit(one, GIVEN)
    assert error(ridge, one.replace(x=_same_springs(300, 1).x)) < 1e-4
    assert error(ParticleRidge().fit(one, GIVEN), one) > 10 * error(ridge, one)


def _same_springs(scenes, seed):
    g = torch.Generator().manual_seed(seed)
    k = torch.tensor([[0.0, 1, 0, 0, 1], [1, 0, 2, 0, 0], [0, 2, 0, 1, 0], [0, 0, 1, 0, 3], [1, 0, 0, 3, 0]]).double()
    rate, mode = torch.linalg.eigh(torch.diag(k.sum(1)) - k)
    a, b = torch.randn(2, scenes, 5, 1, 3, generator=g, dtype=torch.float64)
    phase = rate.clamp(min=0).sqrt()[:, None, None] * 0.5 * torch.arange(12).double()[:, None]
    return packed(torch.einsum("nm,smtd->sntd", mode, a * phase.cos() + b * phase.sin()))


@pytest.mark.parametrize("cls", ALL)
def test_turns_reflects_and_shifts(cls):
    train, turn = springs(60), improper(3)
    model = cls().fit(train, GIVEN)
    plain, turned = (model.predict(dense(data)) for data in (train, moved(train, turn)))
    assert torch.allclose(turned, plain @ turn.T + 7.0, atol=1e-9)
    refitted = cls().fit(moved(train, turn), GIVEN)
    assert torch.allclose(refitted.predict(dense(train)), plain, atol=1e-7)


@pytest.mark.parametrize("cls", ALL[:3])
def test_padding_hidden_frames_future_and_batch_mates_change_nothing(cls):
    train = ragged(springs(80))
    train = train.replace(mask=train.mask | (torch.arange(train.n_nodes) % 2 == 0)[:, None], x=torch.where(
        train.mask[..., None], train.x, torch.zeros(())))
    model = cls().fit(train, GIVEN)
    plain = model.predict(dense(train))
    wild = train.replace(x=torch.where(train.mask[..., None], train.x, 1e6))
    assert torch.equal(cls().fit(wild, GIVEN).predict(dense(wild, slots=9))[:, : plain.shape[1]], plain)
    future = train.replace(x=torch.cat([train.x[:, :GIVEN], train.x[:, GIVEN:] + 5], 1))
    assert torch.equal(model.predict(dense(future)), plain)
    assert torch.equal(model.predict(dense(train.frames(slice(0, GIVEN)))), plain)
    some = train.scenes([7, 2])
    assert torch.allclose(model.predict(dense(some, slots=plain.shape[1])), plain[[7, 2]], atol=1e-12)
    assert not model.predict(dense(train, slots=9))[:, plain.shape[1]:].any()


def test_permutation():
    data, order = springs(40), torch.tensor([3, 0, 4, 1, 2])
    for cls in ALL[:3]:
        model = cls().fit(data, GIVEN)
        x = dense(data).x[:, order]
        assert torch.allclose(model.predict(dense(packed(x))), model.predict(dense(data))[:, order], atol=1e-12)


def test_filling():
    x = torch.arange(6.0)[None, None, :, None] ** 2 * torch.ones(1, 4, 1, 2)
    mask = torch.tensor([[1, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]]).bool()[None]
    got = filled(dense(packed(torch.where(mask[..., None], x, -50.0), mask=mask)), 6)[0, :, :, 0].tolist()
    assert got[0] == [0, 2, 4, 9, 14, 19]  # between, then on from the last two
    assert got[1] == [-8, -2, 4, 10, 16, 22]
    assert got[2] == [9] * 6
    assert got[3] == pytest.approx([(a + b + 9) / 3 for a, b in zip(got[0], got[1], strict=True)])
    with pytest.raises(ValueError, match="but the block has 6"):
        filled(dense(packed(x)), 7)


def test_forecast():
    train = springs(40)
    model = ParticleRidge().fit(train, GIVEN)
    forecast = model.forecast(train.frames(slice(0, 8)), 3, draws=2)
    assert forecast.draws.shape == (2, train.n_nodes, 3, 3)
    assert torch.equal(forecast.draws[0], forecast.draws[1])
    assert forecast.time[0].tolist() == [4.0, 4.5, 5.0]
    assert torch.equal(forecast.draws[0], dense(train).pack(model.predict(dense(train.frames(slice(2, 8))), 3)))
    assert forecast.provenance["method"] == "particle-ridge"
    assert forecast.provenance["given"] == GIVEN
    mask = train.mask.clone()
    mask[3] = False
    assert not model.forecast(train.replace(mask=mask).frames(slice(0, 6)), 3).mask[:, 3].any()


@pytest.mark.parametrize("cls", ALL)
def test_state(cls):
    train = springs(40)
    model = cls().fit(train, GIVEN)
    again = cls.from_state(model.state())
    assert torch.equal(again.predict(dense(train)), model.predict(dense(train)))
    with pytest.raises(ValueError, match=f"is none of {cls.__name__}"):
        cls.from_state({"weights": torch.zeros(1)})


def test_penalty_is_chosen_on_what_was_held_out():
    """White noise has nothing to learn: the largest penalty wins; harmonic motion wants a small one."""
    noise = packed(torch.randn(60, 4, 10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    few = EquivariantRidge().fit(noise, GIVEN)
    assert few.penalty > 0.01
    assert ParticleRidge().fit(springs(100), GIVEN).penalty < 1e-4
    given = EquivariantRidge().fit(noise.scenes(slice(0, 50)), GIVEN, validation=noise.scenes(slice(50, 60)))
    assert given.penalty > 0.01
    run = noise.replace(context={"run": torch.arange(60) // 20})
    assert held_out(run).tolist() == [False] * 40 + [True] * 20
    assert int(held_out(noise).sum()) == 6


def test_one_scene_and_one_given_frame():
    for cls in (LastPosition, ParticleRidge, EquivariantRidge):
        model = cls().fit(springs(1), 1)
        assert bool(model.predict(dense(springs(2, seed=5))).isfinite().all())


def test_coincident_nodes_and_scaled_units():
    train = springs(60)
    together = train.replace(x=torch.zeros_like(train.x))
    for cls in ALL:
        model = cls().fit(train, GIVEN)
        assert bool(model.predict(dense(together)).abs().max() < 1e-12)
        large = cls().fit(train.replace(x=1000 * train.x), GIVEN).predict(dense(train.replace(x=1000 * train.x)))
        assert torch.allclose(large, 1000 * model.predict(dense(train)), rtol=1e-6, atol=1e-4)


def test_bad_input():
    train = springs(20)
    with pytest.raises(ValueError, match="given=12 of windows of 12 frames"):
        LastPosition().fit(train, 12)
    with pytest.raises(ValueError, match="give at least 2"):
        ConstantVelocity().fit(train, 1)
    with pytest.raises(ValueError, match="was not fitted"):
        ParticleRidge().predict(dense(train))
    with pytest.raises(ValueError, match="was not fitted"):
        ParticleRidge().forecast(train)
    model = ParticleRidge().fit(train, GIVEN)
    with pytest.raises(ValueError, match="asked for 7 frames; it was fitted for 1 to 6"):
        model.forecast(train, 7)
    with pytest.raises(ValueError, match="continues 6 given frames, and the past has 2"):
        model.forecast(train.frames(slice(0, 2)), 3)
    with pytest.raises(ValueError, match=r"evenly spaced, at 0\.5"):
        model.forecast(train.replace(time=2 * train.time), 3)
    with pytest.raises(ValueError, match=r"evenly spaced"):
        model.forecast(train.frames([0, 1, 2, 3, 4, 6, 7]), 3)
    with pytest.raises(ValueError, match="draws=0"):
        model.forecast(train, 3, draws=0)
    with pytest.raises(ValueError, match="same 5 nodes"):
        EquivariantRidge().fit(train, GIVEN).predict(dense(springs(3, nodes=4)))
    with pytest.raises(ValueError, match="observed throughout"):
        ParticleRidge().fit(train.replace(mask=torch.arange(12).expand(100, 12) != 4), GIVEN)
    with pytest.raises(ValueError, match="they must agree"):
        ParticleRidge().fit(train, GIVEN, validation=train.frames(slice(0, 9)))
    with pytest.raises(ValueError, match="0 scenes"):
        LastPosition().fit(train.scenes(slice(0, 0)), GIVEN)
