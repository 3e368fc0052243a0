"""The EGNN roll-out: it learns, turns and permutes with its input, and sees nothing it should not."""

from __future__ import annotations

import pytest
import torch
from window_systems import improper, moved, packed, ragged, springs

from trajlab.data.dense import dense
from trajlab.models.egnn_rollout import EgnnRollout, EgnnRolloutConfig, _Loss
from trajlab.models.egnn_step import EgnnStep, links
from trajlab.models.features_config import FeatureConfig
from trajlab.models.linear_forecasts import ConstantVelocity, ParticleRidge
from trajlab.train.config import TrainConfig

GIVEN = 4
SPRINGS = FeatureConfig(pair=("matrix:spring",))


def config(**changes) -> EgnnRolloutConfig:
    return EgnnRolloutConfig(**{"width": 16, "layers": 2, "unroll": 2, "features": SPRINGS, **changes})


def fitted(data, settings: EgnnRolloutConfig | None = None, steps: int = 2) -> EgnnRollout:
    return EgnnRollout(settings or config()).fit(data, GIVEN, train=TrainConfig(steps=steps, batch=16, lr=5e-3, clip=1.0, ema=0.9))


def error(model, data) -> float:
    return float((model.predict(dense(data)) - dense(data).x[:, :, GIVEN:]).norm(dim=-1).mean())


@pytest.fixture(scope="module")
def model() -> EgnnRollout:
    return fitted(springs(24))


def test_learns_the_springs():
    train, test = springs(200).to(dtype=torch.float32), springs(40, seed=1).to(dtype=torch.float32)
    learned = EgnnRollout(config(unroll=1)).fit(train, GIVEN, test, train=TrainConfig(steps=80, batch=64, lr=2e-2, clip=1.0, validate_every=80))
    assert error(learned, test) < 0.5 * min(error(cls().fit(train, GIVEN), test) for cls in (ConstantVelocity, ParticleRidge))
    assert learned.about["steps"] == 80


def test_best_weights_of_the_whole_rollout_are_kept():
    data = springs(30)
    kept = EgnnRollout(config()).fit(data, GIVEN, springs(8, seed=2), train=TrainConfig(steps=12, lr=0.02, keep="best", validate_every=3, ema=0.0))
    assert error(kept, springs(8, seed=2)) == pytest.approx(kept.about["validation"]["validation"]["ade"], rel=1e-6)


def test_begins_as_constant_velocity():
    data = springs(5)
    net = EgnnStep(1, 1, 8, 2, 2).double()
    for layer in net.layers:
        for last in (layer.along[2], layer.gate[2]):
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
    x = dense(data).x
    there = torch.ones(5, 5, dtype=torch.bool)
    out = net.unroll(x[:, :, :2], 3, torch.ones(5, 5, 1).double(), torch.zeros(5, 5, 5, 1).double(), links(there, None, x))
    assert torch.allclose(out, x[:, :, 1:2] + torch.arange(1, 4).double()[:, None] * (x[:, :, 1:2] - x[:, :, :1]))


@pytest.mark.parametrize("features", [SPRINGS, FeatureConfig(edges="knn", k=2), FeatureConfig(edges="cutoff", cutoff=1.0)])
def test_turns_reflects_and_shifts(features):
    data, turn = springs(24), improper(3)
    learned = fitted(data, config(features=features, history=3))
    plain, turned = (learned.predict(dense(d)) for d in (data, moved(data, turn)))
    assert float((plain - ConstantVelocity().fit(data, GIVEN).predict(dense(data))).abs().max()) > 1e-3
    assert torch.allclose(turned, plain @ turn.T + 7.0, atol=1e-8)


def test_permutes(model):
    data, order = springs(6), torch.tensor([3, 0, 4, 1, 2])
    block = dense(data)
    permuted = packed(block.x[:, order], spring=block.static["spring"][:, order][:, :, order])
    assert torch.allclose(model.predict(dense(permuted)), model.predict(block)[:, order], atol=1e-9)


def test_padding_hidden_frames_future_and_batch_mates_change_nothing():
    data = ragged(springs(12))
    data = data.replace(static={})
    plain_model = fitted(springs(24).replace(static={}), config(features=FeatureConfig()))
    plain = plain_model.predict(dense(data))
    wild = data.replace(x=torch.where(data.mask[..., None], data.x, 1e5))
    assert torch.allclose(plain_model.predict(dense(wild, slots=9))[:, : plain.shape[1]], plain, atol=1e-10)
    assert not plain_model.predict(dense(wild, slots=9))[:, plain.shape[1] :].any()
    assert torch.equal(plain_model.predict(dense(data.frames(slice(0, GIVEN))), data.n_frames - GIVEN), plain)
    assert torch.allclose(plain_model.predict(dense(data.scenes([5, 3]), slots=plain.shape[1])), plain[[5, 3]], atol=1e-10)
    again = fitted(wild, config(features=FeatureConfig()))
    assert torch.equal(again.predict(dense(data)), fitted(data, config(features=FeatureConfig())).predict(dense(data)))


def test_hidden_targets_do_not_count():
    net = EgnnStep(1, 0, 8, 1, 2)
    x = torch.randn(2, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[[True, True], [True, False], [False, False]]]).expand(2, 3, 2)
    there = torch.ones(2, 3, dtype=torch.bool)
    batch = {"x": x, "mask": mask, "node": x.new_ones(2, 3, 1), "pair": x.new_zeros(2, 3, 3, 0), "links": links(there, None, x)}
    other = torch.where(torch.nn.functional.pad(mask, (2, 0), value=True)[..., None], x, 50.0)
    loss = _Loss(2, torch.ones(2), squared=False)
    (total, count), (again, _) = loss(net, batch), loss(net, {**batch, "x": other})
    assert torch.equal(total, again)
    assert int(count) == 6


def test_far_from_the_origin_in_single_precision():
    """Differences of large coordinates cancel; the roll-out is done about the scene's mean, so only the answer is rounded."""
    model = fitted(springs(24).to(dtype=torch.float32))
    far = springs(6).to(dtype=torch.float32)
    far = far.replace(x=(far.x + 1e5))
    near = far.replace(x=far.x - 1e5)
    apart = model.predict(dense(far)).double() - 1e5 - model.predict(dense(near)).double()
    assert float(apart.abs().max()) < 0.01  # one unit in the last place


def test_forecast_and_state(model):
    data = springs(6)
    forecast = model.forecast(data.frames(slice(0, 6)), steps=11, draws=2)
    assert forecast.draws.shape == (2, 30, 11, 3)
    assert torch.equal(forecast.draws[0], forecast.draws[1])
    again = EgnnRollout.from_state(model.state(), model.config)
    assert torch.equal(again.predict(dense(data)), model.predict(dense(data)))
    with pytest.raises(ValueError, match="is none of EgnnRollout"):
        EgnnRollout.from_state({"weight": torch.zeros(1)})


def test_same_seed_same_model_and_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    one, two = fitted(springs(24)), fitted(springs(24))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.state().values(), two.state().values(), strict=True))


def test_scaled_units():
    """Ten times the unit of length, the same data: the same forecast."""
    data = springs(24)
    large = data.replace(x=10 * data.x)
    assert torch.allclose(fitted(large).predict(dense(large)), 10 * fitted(data).predict(dense(data)), rtol=1e-4, atol=1e-4)


def test_lone_and_coincident_nodes(model):
    alone = springs(12, nodes=1).replace(static={})
    assert bool(fitted(alone, config(features=FeatureConfig())).predict(dense(alone)).isfinite().all())
    together = springs(3)
    together = together.replace(x=torch.zeros_like(together.x))
    assert torch.equal(model.predict(dense(together)), torch.zeros(3, 5, 8, 3, dtype=torch.float64))


def test_bad_input(model):
    data = springs(12)
    with pytest.raises(ValueError, match="looks at 3 frames, and 2 are given"):
        EgnnRollout(config(history=3)).fit(data, 2)
    with pytest.raises(ValueError, match="a history of at least 2"):
        EgnnRolloutConfig(history=1)
    with pytest.raises(Exception, match="absolute"):
        EgnnRolloutConfig(loss="absolute")
    with pytest.raises(ValueError, match="no static value 'spring'"):
        model.predict(dense(data.replace(static={})))
    with pytest.raises(ValueError, match=r"kinds \[7\] were not in the training data"):
        model.predict(dense(data.replace(kind=data.kind + 7)))
    for call in (lambda: EgnnRollout().predict(dense(data)), lambda: EgnnRollout().forecast(data), lambda: EgnnRollout().state()):
        with pytest.raises(ValueError, match="was not fitted"):
            call()
    with pytest.raises(ValueError, match="evenly spaced"):
        model.forecast(data.replace(time=data.time * 3))
    with pytest.raises(ValueError, match="0 steps"):
        model.forecast(data, 0)
    with pytest.raises(ValueError, match="given=12"):
        model.fit(data, 12)
