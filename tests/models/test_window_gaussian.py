"""The Gaussian fit of windows: its moments, its calibration, its symmetries."""

from __future__ import annotations

import pytest
import torch
from window_systems import improper, moved, packed, ragged, springs

from trajlab.data.dense import dense
from trajlab.models.linear_forecasts import ParticleRidge
from trajlab.models.window_covariance import WindowCovariance
from trajlab.models.window_gaussian import WindowGaussian
from trajlab.samplers.noise import RowNoise

GIVEN = 4


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def walks(scenes: int, nodes: int = 3, frames: int = 8, seed: int = 0, shared: float = 1.0):
    """Brownian motion of each node plus a common one: the forecast is known in closed form."""
    own = torch.randn(scenes, nodes, frames, 2, generator=gen(seed), dtype=torch.float64)
    common = torch.randn(scenes, 1, frames, 2, generator=gen(seed + 1), dtype=torch.float64)
    return packed((own + shared * common).cumsum(2))


def test_covariance_of_walks_and_their_forecast():
    """Around the last position: own covariance min(t, s), common covariance the same."""
    model = WindowGaussian("last-position").fit(walks(4000), GIVEN)
    time = torch.arange(1, 5).double()
    wanted = torch.minimum(time[:, None], time)
    assert torch.allclose(model.residual.own, wanted, atol=0.15)
    assert torch.allclose(model.residual.shared, wanted, atol=0.25)
    drawn = model.forecast(walks(400, seed=9).frames(slice(0, GIVEN)), draws=20, generator=gen()).draws
    last = walks(400, seed=9).x[None, :, GIVEN - 1 : GIVEN]
    step = (drawn - last).reshape(20, 400, 3, 4, 2)
    assert float(step[..., -1, :].var()) == pytest.approx(8.0, rel=0.1)
    assert float((step[:, :, 0] * step[:, :, 1])[..., -1, :].mean()) == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize("around", ["constant-velocity", "particle-ridge"])
def test_calibrated_on_new_data(around):
    """Cross-validated: 19 weights from 30 scenes fit their own scenes better than new ones."""
    model = WindowGaussian(around).fit(walks(30), GIVEN)
    test = walks(500, seed=5)
    drawn = model.forecast(test.frames(slice(0, GIVEN)), draws=39, generator=gen()).draws
    rank = (drawn < test.x[None, :, GIVEN:]).sum(0)
    for low, high, share in ((4, 35, 0.8), (10, 29, 0.5)):
        assert float(((rank >= low) & (rank <= high)).double().mean()) == pytest.approx(share, abs=0.06)


def test_spread_is_that_of_new_data():
    """A map of 24 weights a target from 12 scenes fits these too well; left-out scenes tell the true spread."""
    train, test = walks(12, nodes=3), walks(500, nodes=3, seed=5)
    model = WindowGaussian("equivariant-ridge").fit(train, GIVEN)
    true = (model.predict(dense(test)) - dense(test).x[:, :, GIVEN:]).square().mean()
    assert 0.8 * float(true) < float(model.residual.own.diagonal().mean()) < 1.8 * float(true)


def test_padding_changes_no_draw():
    covariance = WindowGaussian("last-position").fit(walks(50), GIVEN).residual
    there = torch.tensor([[True, True, False], [True, True, True]])
    narrow, wide = (covariance.draw(t, 4, 2, 3, RowNoise(gen())) for t in (there, torch.nn.functional.pad(there, (0, 4))))
    assert torch.equal(wide[:, :, :3], narrow)
    assert not wide[:, :, 3:].any()
    assert not narrow[:, 0, 2].any()
    alone = covariance.draw(there[:1, :2], 4, 2, 3, RowNoise(gen()))
    assert torch.equal(alone[:, 0], narrow[:, 0, :2])


def test_mean_is_the_ridge():
    data = springs(60)
    model = WindowGaussian().fit(data, GIVEN)
    assert torch.equal(model.predict(dense(data)), ParticleRidge().fit(data, GIVEN).predict(dense(data)))


def test_conserved_centre_of_mass():
    """Nodes that move against each other: the mean of a scene has no spread, however much its nodes have."""
    x = torch.randn(300, 4, 8, 3, generator=gen(), dtype=torch.float64).cumsum(2)
    model = WindowGaussian("last-position").fit(packed(x - x.mean(1, keepdim=True)), GIVEN)
    drawn = model.forecast(packed(x - x.mean(1, keepdim=True)).frames(slice(0, GIVEN)), draws=3, generator=gen()).draws.reshape(3, 300, 4, 4, 3)
    assert float(drawn.std()) > 1
    assert float(drawn.mean(2).abs().max()) < 1e-6


def test_joint_covariance_knows_nodes_by_place():
    x = torch.randn(2000, 3, 6, 3, generator=gen(), dtype=torch.float64) * torch.tensor([1.0, 3.0, 0.1])[:, None, None]
    x[:, 2] += x[:, 1]
    whole = torch.ones(2000, 3, dtype=torch.bool)
    fitted = WindowCovariance.fit(x, whole, joint=True)
    drawn = fitted.draw(torch.ones(3000, 3, dtype=torch.bool), 6, 3, 1, RowNoise(gen()))[0]
    wanted = torch.tensor([[1.0, 0, 0], [0, 9, 9], [0, 9, 9.01]]).double()
    assert torch.allclose(torch.einsum("sntd,smtd->nm", drawn, drawn) / (3000 * 18), wanted, atol=0.3)
    model = WindowGaussian("equivariant-ridge").fit(springs(100), GIVEN)
    assert model.residual.own.shape == (40, 40)
    assert model.forecast(springs(3), draws=2, generator=gen()).draws.shape == (2, 15, 8, 3)


def test_symmetric():
    """The fit does not see turns, reflections, shifts and permutations; draws of one seed shift with the past."""
    data, order = walks(100), torch.tensor([2, 0, 1])
    turned = moved(data, improper(2))
    permuted = packed(dense(data).x[:, order])
    plain = WindowGaussian().fit(data, GIVEN)
    for other in (turned, permuted):
        again = WindowGaussian().fit(other, GIVEN)
        assert torch.allclose(again.residual.own, plain.residual.own, atol=1e-8)
        assert torch.allclose(again.window.shared, plain.window.shared, atol=1e-8)
    past = data.frames(slice(0, GIVEN))
    here, there = (plain.forecast(p, generator=gen()).draws for p in (past, past.replace(x=past.x + 5)))
    assert torch.allclose(there, here + 5)


def test_rows_depend_neither_on_batch_mates_nor_on_hidden_values():
    data = ragged(springs(50))
    data = data.replace(mask=data.mask | (torch.arange(data.n_nodes) % 2 == 0)[:, None], x=torch.where(data.mask[..., None], data.x, 0.0))
    model = WindowGaussian().fit(data, GIVEN)
    forecast = model.forecast(data.frames(slice(0, GIVEN)), draws=2, generator=gen())
    first = model.forecast(data.scenes([0, 1, 2]).frames(slice(0, GIVEN)), draws=2, generator=gen())
    assert torch.allclose(first.draws, forecast.draws[:, : first.draws.shape[1]], atol=1e-12)
    wild = data.replace(x=torch.where(data.mask[..., None], data.x, -1e5))
    assert torch.equal(WindowGaussian().fit(wild, GIVEN).residual.own, model.residual.own)


@pytest.mark.parametrize("joint", [False, True])
def test_sample(joint):
    data = walks(500, shared=0.0)
    for given in (0, GIVEN):
        model = WindowGaussian("last-position", joint=joint).fit(data, given)
        drawn = model.sample(800, data.scenes(slice(0, 2)), gen())
        assert drawn.n_scenes == 800
        assert float(dense(drawn).x.mean((1, 2)).abs().max()) < 1e-12
        steps, true = (t.x.diff(dim=1).std(0).mean() for t in (drawn, data))
        assert float(steps) == pytest.approx(float(true), rel=0.05)
        apart = [dense(t).x[:, 0, 5] - dense(t).x[:, 1, 5] for t in (drawn, data)]
        assert float(apart[0].std()) == pytest.approx(float(apart[1].std()), rel=0.1)


def test_state():
    data = springs(30)
    model = WindowGaussian("constant-velocity").fit(data, GIVEN)
    again = WindowGaussian.from_state(model.state())
    past = data.frames(slice(0, GIVEN))
    assert torch.equal(model.forecast(past, 3, 2, gen()).draws, again.forecast(past, 3, 2, gen()).draws)
    assert torch.equal(model.sample(2, data, gen()).x, again.sample(2, data, gen()).x)
    with pytest.raises(ValueError, match="is none of WindowGaussian"):
        WindowGaussian.from_state({})


def test_lone_nodes_and_one_scene():
    for data in (walks(20, nodes=1), springs(1)):
        forecast = WindowGaussian().fit(data, GIVEN).forecast(data.frames(slice(0, GIVEN)), draws=2, generator=gen())
        assert bool(forecast.draws.isfinite().all())


def test_bad_input():
    data = springs(20)
    with pytest.raises(Exception, match="ridge"):
        WindowGaussian("ridge")
    model = WindowGaussian().fit(data, GIVEN)
    with pytest.raises(ValueError, match="pass generator"):
        model.forecast(data, 3)
    with pytest.raises(ValueError, match="12 frames"):
        model.sample(2, data.frames(slice(0, 5)), gen())
    with pytest.raises(ValueError, match="was not fitted"):
        WindowGaussian().fit(data, 0).forecast(data, 3, generator=gen())
    with pytest.raises(ValueError, match="not fitted"):
        WindowGaussian().sample(2, data, gen())
    with pytest.raises(ValueError, match="scenes of 5 nodes"):
        WindowGaussian(joint=True).fit(data, GIVEN).sample(2, springs(2, nodes=4), gen())
    with pytest.raises(ValueError, match="no scene to take covariances from"):
        WindowGaussian().fit(data.replace(mask=data.mask & (torch.arange(12) != 3)), 0)
