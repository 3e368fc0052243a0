"""AirPhyNet and what it is compared with: physics that persists and learns, masks, places, saved models, baselines with known answers."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.catalog import load
from trajlab.evaluate.air_quality_protocol import around
from trajlab.models import STATION_FORECASTERS
from trajlab.models.air.air_fit import SeenError, chosen_origins
from trajlab.models.air.airphynet import AirPhyNet
from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.baselines import Climatology, DampedPersistence, StationPersistence
from trajlab.models.air.calendar import calendar
from trajlab.models.air.inputs import Shown, StationScale, trailing
from trajlab.nets.graph_ode import GraphODE
from trajlab.types import Trajectories, Units

SMALL = AirPhyNetConfig(horizon=12, past=12, step=3, latent=6, width=12, members=1, steps=3, batch=8, check_every=2, lr=1e-2)
DAY = 2 * math.pi / 24


def sensors(frames: int = 600, nodes: int = 4, seed: int = 0, places: bool = True) -> Trajectories:
    """A daily cycle with a phase of each sensor and autoregressive noise, some values missing, wind that turns."""
    g = torch.Generator().manual_seed(seed)
    hour = torch.arange(frames, dtype=torch.float64)
    noise = torch.zeros(nodes, frames)
    for k in range(1, frames):
        noise[:, k] = 0.9 * noise[:, k - 1] + torch.randn(nodes, generator=g)
    cycle = 20 * torch.sin(DAY * hour + 0.2 * torch.arange(nodes)[:, None]).float()
    x = (60 + cycle + 2 * noise)[..., None]
    mask = torch.rand(nodes, frames, generator=g) > 0.05
    wind = torch.stack([3 * torch.cos(hour / 30), 3 * torch.sin(hour / 30)], -1).float().expand(nodes, frames, 2).contiguous()
    extra = {"wind": wind, "wind_seen": torch.rand(nodes, frames, generator=g) > 0.02, "weather": torch.randn(nodes, frames, 2, generator=g)}
    grid = torch.arange(nodes, dtype=torch.float64)
    static = {"lon": 116 + 0.1 * grid, "lat": 40 + 0.07 * (grid % 2)} if places else {}
    return Trajectories(torch.where(mask[..., None], x, torch.nan), hour[None] + 24.0 * 20_000, torch.zeros(nodes, dtype=torch.long), mask,
                        extra=extra, static=static, units=Units(time="h"))


@pytest.fixture(scope="module")
def series():
    return sensors()


@pytest.fixture(scope="module")
def fitted(series):
    return AirPhyNet(SMALL).fit(series.frames(slice(0, 450)), series.frames(slice(450, 600)))


# ------------------------------------------------------------------------------------------------------------------- physics


def test_physics_is_made_once_and_learns(series):
    model = AirPhyNet(SMALL).fit(series)
    net = model.nets[0].train()
    batch = Shown(series, model.scale, SMALL).batch(torch.arange(8))
    before = {n: (id(p), p.detach().clone()) for n, p in net.named_parameters()}
    torch.nn.init.normal_(net.core.decoder.weight)  # it begins at zero, behind which no gradient passes
    one, two = net.eval()(batch)[0], net(batch)[0]
    assert torch.equal(one, two)  # nothing is drawn anew in a forward pass
    assert {n: id(p) for n, p in net.named_parameters()} == {n: i for n, (i, _) in before.items()}
    SeenError(0.0)(net, batch).backward()
    for name in ("core.ode.log_k", "core.ode.log_v", "core.ode.strength", "core.log_memory", "core.ode.gate.weight", "core.ode.source.1.weight"):
        gradient = dict(net.named_parameters())[name].grad
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name


def test_training_moves_the_physics(fitted):
    fresh = fitted._net(SMALL.seed)
    moved = {n for n, p in fitted.nets[0].named_parameters() if not torch.equal(p, dict(fresh.named_parameters())[n])}
    assert {"core.ode.strength", "core.ode.log_k", "core.ode.log_v", "core.ode.gate.weight"} <= moved
    assert set(fitted.physics()) == {"k", "v", "memory", "damping"}


def test_the_latent_transport_conserves_and_has_any_number_of_nodes():
    for nodes in (3, 7):
        ode = GraphODE(4, 2, diffusion=True, advection=False, source=False)
        a = torch.rand(nodes, nodes)
        m = a - torch.diag(a.sum(0))
        z = torch.rand(5, nodes, 4)
        path = ode(z, torch.zeros(5, 6, nodes, 2), 1.0, diffuse=m)
        assert path.shape == (5, 7, nodes, 4)
        assert torch.allclose(path.sum(2), z.sum(1)[:, None].expand(5, 7, 4), rtol=1e-5)
        assert (path[:, -1] - z).abs().max() > 0.01
        advect = GraphODE(4, 2, diffusion=False, advection=True, source=False)
        path = advect(z, torch.zeros(5, 6, nodes, 2), 1.0, advect=50 * m.expand(5, 6, nodes, nodes))  # stiff, and still bounded
        assert torch.allclose(path.sum(2), z.sum(1)[:, None].expand(5, 7, 4), rtol=1e-4)
        assert path.min() >= -1e-4
    with pytest.raises(ValueError, match="at least one term"):
        GraphODE(4, 2, diffusion=False, advection=False, source=False)


@pytest.mark.parametrize("solver", ["implicit", "euler"])
def test_solvers_agree_where_steps_are_short(solver):
    torch.manual_seed(0)
    a = torch.rand(4, 4, dtype=torch.float64)
    m = a - torch.diag(a.sum(0))
    ode = GraphODE(1, 0, diffusion=True, advection=False, source=False, solver=solver).double()
    torch.nn.init.constant_(ode.strength, 40.0)  # sigmoid = 1
    z = torch.rand(1, 4, 1, dtype=torch.float64)
    path = ode(z, torch.zeros(1, 400, 4, 0, dtype=torch.float64), 1.0, diffuse=m / 400)
    assert torch.allclose(path[0, -1], torch.linalg.matrix_exp(m) @ z[0], atol=2e-3)


def test_wind_carries_the_state_downwind():
    series = sensors()
    model = AirPhyNet(SMALL.but(diffusion=False, source=False, wind="given")).fit(series.frames(slice(0, 60)))
    core = model.nets[0].core
    torch.nn.init.constant_(core.ode.strength, 40.0)
    shown = Shown(series, model.scale, model.config, torch.tensor([40]))
    batch = shown.batch(torch.tensor([0]))
    z = torch.zeros(1, 4, 6)
    z[0, 1] = 1.0
    for east in (4.0, -4.0):
        told = type(batch)(batch.past, batch.ahead, batch.last, batch.wind, torch.tensor([east, 0.0]).expand_as(batch.expected_wind))
        path = core.path(z, told)[0, -1, :, 0].detach()
        centre = float((path * torch.arange(4)).sum() / path.sum())  # sensors lie from west to east
        assert (centre - 1) * east > 0.3


# -------------------------------------------------------------------------------------------------------------------- forecasts


@pytest.mark.parametrize("change", [{}, {"core": "gru"}, {"core": "graph_gru"}, {"advection": False}, {"diffusion": False},
                                    {"diffusion": False, "advection": False}, {"transform": "none", "solver": "euler"}])
def test_every_net_forecasts(series, change):
    model = AirPhyNet(SMALL.but(**change)).fit(series.frames(slice(0, 200)))
    past = around(series, torch.tensor([250, 300]), 20, 0)
    out = model.forecast(past, 10, draws=2)
    assert out.draws.shape == (2, 8, 10, 1)
    assert torch.equal(out.draws[0], out.draws[1])
    assert float(out.time[0, 0] - past.time[0, -1]) == 1.0
    assert out.draws.isfinite().all()


def test_it_learns_what_damped_persistence_cannot():
    series = sensors(900)
    train, validation = series.frames(slice(0, 700)), series.frames(slice(700, 800))
    damped = DampedPersistence(24.0).fit(train)
    model = AirPhyNet(SMALL.but(steps=60, batch=32, check_every=20)).fit(train, validation)
    origins = torch.arange(800, 880, 5)
    past, truth = around(series, origins, 24, 0), around(series, origins + 12, 12, 0)
    error = lambda m: float(((m.forecast(past, 12).draws[0] - truth.x)[..., 0].abs())[truth.mask].mean())  # noqa: E731
    assert error(model) < 0.7 * error(damped)
    assert {"error", "step", "seconds"} <= set(model.found[0])


def test_what_is_masked_is_not_looked_at(series, fitted):
    past = around(series, torch.tensor([300]), 24, 0)
    other = past.replace(x=torch.where(past.mask[..., None], past.x, 1e6),
                         extra={**past.extra, "wind": torch.where(past.extra["wind_seen"][..., None], past.extra["wind"], 99.0)})
    assert not past.mask.all()
    assert torch.equal(fitted.forecast(past).draws, fitted.forecast(other).draws)
    nothing = past.replace(mask=torch.zeros_like(past.mask))
    assert fitted.forecast(nothing).draws.isfinite().all()


def test_batches_of_windows_and_single_ones_agree(series, fitted):
    origins = torch.tensor([200, 250, 301])
    many = fitted.forecast(around(series, origins, 30, 0)).draws[0].reshape(3, 4, 12)
    for k, origin in enumerate(origins):
        one = fitted.forecast(around(series, origin[None], 12, 0)).draws[0, ..., 0]
        assert torch.allclose(many[k], one, atol=1e-3)


def test_training_sees_the_same_as_forecasts(series, fitted):
    origin = 300
    batch = Shown(series, fitted.scale, SMALL, torch.tensor([origin])).batch(torch.tensor([0]))
    past = around(series, torch.tensor([origin]), 12, 0)
    alone = Shown(past, fitted.scale, SMALL, torch.tensor([11])).batch(torch.tensor([0]))
    for name in ("past", "ahead", "last", "wind", "expected_wind"):
        assert torch.allclose(getattr(batch, name), getattr(alone, name), atol=1e-5), name
    assert alone.target is None
    assert (batch.target[~batch.seen] == 0).all()
    assert torch.equal(batch.seen[0], series.mask[:, origin + 1 : origin + 13])


def test_statistics_come_from_the_training_part(series):
    train, later = series.frames(slice(0, 300)), series.frames(slice(300, 400))
    one = AirPhyNet(SMALL).fit(train, later).scale
    two = AirPhyNet(SMALL).fit(train, later.replace(x=3 * later.x)).scale
    assert torch.equal(one.mean, two.mean)
    assert torch.equal(one.level, two.level)


def test_saved_models_say_the_same(fitted, series, tmp_path):
    past = around(series, torch.tensor([300]), 24, 0)
    again = AirPhyNet.load(fitted.save(tmp_path))
    assert torch.equal(again.forecast(past).draws, fitted.forecast(past).draws)
    assert again.found == fitted.found
    with pytest.raises(ValueError, match="not fitted"):
        AirPhyNet(SMALL).save(tmp_path)


def test_draws_of_the_initial_state(series, generator):
    model = AirPhyNet(SMALL.but(kl=0.01)).fit(series.frames(slice(0, 200)))
    torch.nn.init.normal_(model.nets[0].core.decoder.weight)
    past = around(series, torch.tensor([300]), 24, 0)
    out = model.forecast(past, draws=5, generator=generator)
    assert out.draws.std(0).max() > 0
    assert torch.equal(model.forecast(past).draws, model.forecast(past).draws)  # the mean, without a generator


def test_the_same_seed_gives_the_same_net(series):
    past = around(series, torch.tensor([300]), 24, 0)
    say = [AirPhyNet(SMALL.but(seed=s)).fit(series.frames(slice(0, 200))).forecast(past).draws for s in (0, 0, 1)]
    assert torch.equal(say[0], say[1])
    assert not torch.equal(say[0], say[2])


def test_given_wind_is_used(series):
    model = AirPhyNet(SMALL.but(wind="given")).fit(series.frames(slice(0, 200)))
    torch.nn.init.normal_(model.nets[0].core.decoder.weight)
    past = around(series, torch.tensor([300]), 24, 0)
    calm, gale = (model.forecast(past, wind=torch.full((4, 12, 2), v)).draws for v in (0.0, 9.0))
    assert (calm - gale).abs().max() > 0
    with pytest.raises(ValueError, match="pass wind="):
        model.forecast(past)
    with pytest.raises(ValueError, match="was wanted"):
        model.forecast(past, wind=torch.zeros(4, 5, 2))


def test_an_adjacency_instead_of_places():
    series = sensors(200, places=False)
    a = torch.rand(4, 4)
    settings = SMALL.but(advection=False)
    model = AirPhyNet(settings, a).fit(series)
    assert torch.allclose(model.graph["diffuse"], model.graph["diffuse"].T)
    assert model.graph["diffuse"].sum(0).abs().max() < 1e-6
    cases = ((None, SMALL, "no static"), (a, SMALL, "wants coordinates"), (torch.rand(3, 3), settings, "4 4"), (-a, settings, "non-negative"))
    for wrong, config, says in cases:
        with pytest.raises(ValueError, match=says):
            AirPhyNet(config, wrong).fit(series)


# --------------------------------------------------------------------------------------------------------------------- pieces


def test_sparse_training_keeps_whole_weeks(series):
    long = sensors(2000, 1)
    all_, half = (chosen_origins(long, SMALL.but(share=s)) for s in (1.0, 0.5))
    assert len(half) / len(all_) == pytest.approx(0.5, abs=0.1)
    assert len(torch.unique(half // 168)) == 6
    with pytest.raises(ValueError, match="at least 24"):
        chosen_origins(series.frames(slice(0, 20)), SMALL)


def test_means_of_steps_skip_what_is_missing():
    value = torch.tensor([1.0, 2.0, 50.0, 4.0])[None, :, None]
    seen = torch.tensor([True, True, False, True])[None, :, None]
    mean, missing = trailing(value, seen, 2)
    assert mean[0, :, 0].tolist() == [1.0, 1.5, 2.0, 4.0]
    assert missing[0, :, 0].tolist() == [0.5, 0.0, 0.5, 0.5]


def test_the_calendar():
    noon = calendar(torch.tensor([12.0]), "h")[0]
    assert noon[:2].tolist() == pytest.approx([0, -1], abs=1e-6)
    assert torch.allclose(noon, calendar(torch.tensor([12.0 * 60]), "min")[0], atol=1e-6)
    assert torch.allclose(noon[:4], calendar(torch.tensor([12.0 + 24 * 7]), "h")[0, :4], atol=1e-5)


def test_baselines_with_known_answers():
    x = torch.tensor([[1.0, 2.0, 3.0, 10.0, 0.0], [5.0, 5.0, 5.0, 5.0, 0.0]])
    mask = torch.tensor([[True] * 4 + [False]] * 2)
    series = Trajectories(x[..., None], torch.arange(5.0)[None], torch.zeros(2, dtype=torch.long), mask, units=Units(time="h"))
    at = lambda m: m.fit(series).forecast(series, 2).draws[0, ..., 0]  # noqa: E731
    assert at(StationPersistence()).tolist() == [[10, 10], [5, 5]]  # the hidden last value is skipped
    assert at(Climatology("mean")).tolist() == [[4, 4], [5, 5]]
    assert at(Climatology("median")).tolist() == [[2, 2], [5, 5]]
    assert at(DampedPersistence(24.0))[0].tolist() == pytest.approx([4 + 6 * math.exp(-1 / 24), 4 + 6 * math.exp(-2 / 24)])
    roots = at(DampedPersistence(24.0, roots=True))[0]
    assert roots.tolist() == pytest.approx([(2**0.5 + (10**0.5 - 2**0.5) * math.exp(-h / 24)) ** 2 for h in (1, 2)])
    daily = sensors(24 * 30, 2)
    table = Climatology("hour").fit(daily).forecast(daily.last(1), 24).draws[0, ..., 0]
    assert table.shape == (2, 24)
    hours = torch.remainder(daily.time[0, -1] + torch.arange(1, 25), 24)
    assert (table[0] - 60 - 20 * torch.sin(DAY * hours)).abs().max() < 8


def test_the_e_folding_time_is_chosen_by_the_validation():
    series = sensors(600, 2)
    slow = DampedPersistence(None, steps=6, candidates=(1.0, 500.0))
    assert slow.fit(series.frames(slice(0, 400)), series.frames(slice(400, 600))).e_fold == 500.0
    white = series.replace(x=torch.randn(2, 600, 1, generator=torch.Generator().manual_seed(0)))
    assert DampedPersistence(None, steps=6, candidates=(1.0, 500.0)).fit(white.frames(slice(0, 400)), white.frames(slice(400, 600))).e_fold == 1.0
    with pytest.raises(ValueError, match="pass validation="):
        DampedPersistence(None).fit(series)


def test_every_entry_of_the_table_can_be_made():
    for target in STATION_FORECASTERS.values():
        assert load(target)().stations == 0


@pytest.mark.parametrize(("call", "says"), [
    (lambda s: AirPhyNetConfig(core="lstm"), "core"),
    (lambda s: AirPhyNetConfig(past=70), "multiples of step"),
    (lambda s: AirPhyNetConfig(share=0.0), "share"),
    (lambda s: AirPhyNetConfig(steps=0), "steps is 0"),
    (lambda s: AirPhyNetConfig(diffusion=False, advection=False, source=False), "switch one on"),
    (lambda s: AirPhyNet(SMALL).forecast(s), "not fitted"),
    (lambda s: StationPersistence().fit(s).forecast(s.frames(slice(0, 5)).replace(units=Units(time="min")), 3), "resample"),
    (lambda s: StationPersistence().fit(s).forecast(s.frames(slice(0, 10, 2)), 3), "resample"),
    (lambda s: StationPersistence().fit(s).forecast(sensors(30, 3), 3), "4 sensors and got 3"),
    (lambda s: StationPersistence().fit(s).forecast(s), "steps=None"),
    (lambda s: StationPersistence().fit(s.replace(mask=torch.zeros_like(s.mask))), "nothing was seen"),
    (lambda s: AirPhyNet(SMALL).fit(s.replace(x=s.x - 200)), "below 0"),
    (lambda s: StationScale.fit(s, SMALL) and Shown(s.replace(extra={}), StationScale.fit(s, SMALL), SMALL), "no extra"),
    (lambda s: Climatology("mode"), "climatology"),
    (lambda s: DampedPersistence(-1.0), "positive"),
])
def test_bad_input(series, call, says):
    with pytest.raises(ValueError, match=says):
        call(series)


def test_too_many_steps_or_too_short_a_past(fitted, series):
    with pytest.raises(ValueError, match="at most 12"):
        fitted.forecast(series, 13)
    with pytest.raises(ValueError, match="looks at 12 frames"):
        fitted.forecast(series.last(5))
