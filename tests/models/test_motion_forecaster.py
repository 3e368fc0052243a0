"""The Motion forecaster: what it learns, symmetries, masks, files, resumption and bad input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from trajlab.data.dense import dense
from trajlab.models.motion.losses import Truth, likelihood, shared_logits, winner_takes_all
from trajlab.models.motion.mixture import PathMixture
from trajlab.models.motion.motion import Motion, MotionConfig
from trajlab.models.motion.rows import Layout, available, mirrored, rows_of
from trajlab.train.config import TrainConfig
from trajlab.types import Trajectories
from trajlab.units import Units

GIVEN, FRAMES = 6, 16
SHORT = TrainConfig(steps=12, batch=64, lr=3e-3, clip=5.0, ema=0.0)
SMALL = {"given": GIVEN, "width": 16, "layers": 1}


def arcs(scenes: int = 60, agents: int = 2, seed: int = 0, recorded: bool = True) -> Trajectories:
    """Agents that go round circles, at 10 Hz."""
    g = torch.Generator().manual_seed(seed)
    nodes = scenes * agents
    speed, turn = 4 + 6 * torch.rand(nodes, 1, generator=g).double(), 0.6 * torch.randn(nodes, 1, generator=g).double()
    angle = 6.28 * torch.rand(nodes, 1, generator=g).double()
    t = 0.1 * torch.arange(FRAMES).double()
    heading = angle + turn * t
    velocity = speed.unsqueeze(-1) * torch.stack((heading.cos(), heading.sin()), -1)
    x = 30 * torch.randn(nodes, 1, 2, generator=g).double() + torch.cat((torch.zeros(nodes, 1, 2), 0.1 * velocity[:, :-1].cumsum(1)), 1)
    more = {"extra": {"velocity": velocity, "heading": torch.atan2(heading.sin(), heading.cos())},
            "static": {"length": torch.full((nodes,), 4.5), "width": torch.full((nodes,), 1.8)}} if recorded else {}
    return Trajectories(x=x, time=t.expand(scenes, FRAMES), scene=torch.arange(scenes).repeat_interleave(agents), units=Units.si(),
                        context={"run": torch.arange(scenes)}, **more)


def turned(windows: Trajectories, angle: float, shift: float = 50.0) -> Trajectories:
    c, s = torch.tensor(angle).double().cos(), torch.tensor(angle).double().sin()
    matrix = torch.stack((torch.stack((c, -s)), torch.stack((s, c))))
    extra = {"velocity": windows.extra["velocity"] @ matrix.T, "heading": windows.extra["heading"] + angle} if windows.extra else {}
    return windows.replace(x=windows.x @ matrix.T + shift, extra=extra)


def fitted(windows: Trajectories | None = None, train: TrainConfig = SHORT, **settings) -> Motion:
    return Motion(MotionConfig(**SMALL | settings)).fit(arcs() if windows is None else windows, train=train)


@pytest.fixture(scope="module")
def social() -> Motion:
    return fitted(arcs(agents=3), replace(SHORT, steps=10, batch=16), backbone="social", heads=2, modes=3, joint=True, head="bicycle")


def past(windows: Trajectories) -> Trajectories:
    return windows.frames(slice(0, GIVEN))


@pytest.mark.parametrize("head", ["position", "bicycle"])
def test_it_learns_circles(head):
    test = arcs(seed=1)
    model = fitted(train=replace(SHORT, steps=80, lr=1e-2), head=head, spread=0.5)
    found = PathMixture.of(model.forecast(past(test), draws=2))
    off = found.distances(test.x[:, GIVEN:])[:, 0, -1].mean()
    straight = test.x[:, GIVEN - 1] + test.extra["velocity"][:, GIVEN - 1] * 0.1 * (FRAMES - GIVEN)
    assert off < 0.6 * (straight - test.x[:, -1]).norm(dim=-1).mean()


@pytest.mark.parametrize("head", ["position", "velocity", "speed_heading", "unicycle", "bicycle"])
def test_draws_have_the_moments_of_the_mixture(head):
    model = fitted(train=replace(SHORT, steps=5), head=head, modes=2, classify=0.1)
    model.fitted.head.spread.mul_(0.2)  # little noise, for which linear moments are exact
    one = past(arcs(1, 1))
    forecast = model.forecast(one, draws=4000)
    mix, drawn = PathMixture.of(forecast), forecast.draws[:, 0]
    weight = mix.probability[0, :, None, None]
    mean = (weight * mix.mean[0]).sum(0)
    spread = (weight * (mix.covariance[0].diagonal(dim1=-2, dim2=-1) + (mix.mean[0] - mean).square())).sum(0).sum(-1).sqrt()
    assert ((drawn.mean(0) - mean).norm(dim=-1) < 0.12 * spread).all()
    assert_close(drawn.var(0).sum(-1).sqrt(), spread, rtol=0.12, atol=0)
    assert (forecast.draws[0] - forecast.draws[1]).abs().max() > 1e-3


@pytest.mark.parametrize("recorded", [True, False])
def test_it_turns_with_the_world(recorded, social):
    model = social if recorded else fitted(arcs(recorded=False), head="acceleration", modes=2)
    windows = past(arcs(4, 3, seed=2, recorded=recorded))
    here, there = model.forecast(windows, draws=3), model.forecast(turned(windows, 2.0), draws=3)
    back = turned(windows.replace(x=there.draws[0] - 50.0, extra={}, time=there.time, mask=there.mask[0]), -2.0, 0.0).x
    assert_close(back, here.draws[0], atol=2e-3, rtol=0)
    assert_close(there.mixture["logits"], here.mixture["logits"], atol=1e-4, rtol=0)


def test_neighbours_matter_and_hidden_ones_do_not(social):
    """An agent that enters late carries garbage under its mask; one that was never seen is not there for the others."""
    windows = past(arcs(2, 3, seed=3))
    told = social.forecast(windows, draws=1).mixture["mean"]
    x = windows.x.clone()
    x[2] += 5.0
    assert (social.forecast(windows.replace(x=x), draws=1).mixture["mean"][0] - told[0]).abs().max() > 1e-5
    for frames in (slice(0, 3), slice(0, GIVEN)):  # agent 2 comes late, or never
        mask = windows.mask.clone()
        mask[2, frames] = False
        answers = []
        for wild in (1e6, -37.0):
            garbage = {k: torch.where(mask.reshape(*mask.shape, *[1] * (v.ndim - 2)), v, wild) for k, v in windows.extra.items()}
            answers.append(social.forecast(windows.replace(x=torch.where(mask[..., None], windows.x, wild), mask=mask, extra=garbage), draws=2))
        assert_close(answers[0].mixture["mean"], answers[1].mixture["mean"], rtol=0, atol=0)
        assert_close(answers[0].draws[:, :2], answers[1].draws[:, :2], rtol=0, atol=0)
        assert bool(answers[0].mask[:, 2].any()) == (frames.stop < GIVEN)


def test_order_of_agents_and_company_of_scenes(social):
    windows = past(arcs(3, 3, seed=4))
    order = torch.tensor([2, 0, 1, 3, 4, 5, 8, 6, 7])
    shuffled = windows.replace(x=windows.x[order], extra={k: v[order] for k, v in windows.extra.items()})
    told = social.forecast(windows, draws=1).mixture["mean"]
    assert_close(social.forecast(shuffled, draws=1).mixture["mean"], told[order], atol=1e-4, rtol=0)
    assert_close(social.forecast(windows.scenes([1]), draws=1).mixture["mean"], told[3:6], atol=1e-4, rtol=0)


def test_joint_modes_are_those_of_the_scene(social):
    forecast = social.forecast(past(arcs(4, 3, seed=5)), draws=4)
    logits = forecast.mixture["logits"].reshape(4, 3, 3)
    assert_close(logits, logits[:, :1].expand_as(logits))


# ---- losses


def two_modes() -> tuple[PathMixture, Truth]:
    """Agent 0 is nearer to mode 0 by a little, agent 1 to mode 1 by much; agent 2 was not seen."""
    mean = torch.zeros(1, 3, 2, 4, 2)
    mean[0, :, 1, :, 0] = 3.0
    truth = torch.zeros(1, 3, 4, 2)
    truth[0, 0, :, 0], truth[0, 1, :, 0], truth[0, 2] = 1.0, 3.0, 100.0
    mask = torch.tensor([[[True] * 4, [True] * 4, [False] * 4]])
    return PathMixture(torch.tensor([[[0.0, 1.0]] * 3]), mean, torch.eye(2).expand(1, 3, 2, 4, 2, 2)), Truth(truth, mask)


def test_winner_takes_all():
    mix, truth = two_modes()
    own = MotionConfig(modes=2, regression="distance", classify=0.0, spread=0.0)
    assert_close(winner_takes_all(mix, truth, own)[0, :2], torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)
    scene = winner_takes_all(mix, truth, replace(own, joint=True))[0, :2]
    assert_close(scene, torch.tensor([2.0, 0.0]), atol=1e-5, rtol=0)  # mode 1 for both
    named = winner_takes_all(mix, truth, replace(own, classify=1.0, spread=0.1))[0, :2]
    wanted = torch.tensor([1.0 + 0.15, 0.0 + 0.15]) - torch.tensor([0.0, 1.0]).log_softmax(-1)
    assert_close(named, wanted, atol=1e-5, rtol=0)
    exact = winner_takes_all(mix, truth, replace(own, regression="nll"))[0, :2]
    assert_close(exact, torch.tensor([0.5, 0.0]) + torch.log(torch.tensor(2 * torch.pi)), atol=1e-5, rtol=0)


def test_likelihood_of_agents_and_of_scenes():
    mix, truth = two_modes()
    own = likelihood(mix, truth, MotionConfig(modes=2, loss="likelihood"))
    assert_close(own, mix.nll_joint(truth.path, truth.mask) / 4 * truth.counted)
    whole = likelihood(shared_logits(mix, truth.counted), truth, MotionConfig(modes=2, loss="likelihood", joint=True))
    at = mix.log_density(truth.path)[0, :2].sum((0, 2))
    assert_close(whole[0, 0], -torch.logsumexp(torch.tensor([0.0, 1.0]).log_softmax(-1) + at, -1) / 8)


def test_mirror_images():
    """Mirrored rows are the rows of the mirrored world."""
    windows = arcs(3, 2)
    flip = torch.tensor([1.0, -1.0]).double()
    other = windows.replace(x=windows.x * flip, extra={"velocity": windows.extra["velocity"] * flip, "heading": -windows.extra["heading"]})
    config = MotionConfig(**SMALL)
    layout = Layout(available(dense(windows), GIVEN), (0,))
    a, b = (rows_of(dense(one), GIVEN, config, layout, 0.1) for one in (windows, other))
    image = mirrored(a, torch.ones(3, dtype=torch.bool), layout.signs)
    for name in ("told", "velocity", "heading", "truth"):
        assert_close(getattr(image, name), getattr(b, name), atol=1e-4, rtol=1e-4)
    assert_close(image.pairs(), b.pairs(), atol=1e-4, rtol=1e-4)


# ---- files, seeds, presets


def test_the_same_seed_gives_the_same_model_and_files_keep_it(tmp_path, social):
    one, two = (fitted(head="bicycle").forecast(past(arcs(2)), draws=3) for _ in range(2))
    assert_close(one.draws, two.draws, rtol=0, atol=0)
    social.save(tmp_path)
    again, windows = Motion.load(tmp_path), past(arcs(2, 3))
    assert_close(again.forecast(windows, draws=3).draws, social.forecast(windows, draws=3).draws, rtol=0, atol=0)
    assert again.config == social.config
    with pytest.raises(ValueError, match="holds no model"):
        Motion.load(tmp_path / "nowhere")


def test_a_fit_that_is_stopped_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    from trajlab.train.run import Run

    steady = replace(SHORT, save_every_seconds=0.0)
    whole = fitted(train=steady, head="acceleration", mirror=True)
    advance = Run.advance

    def dies(run: Run) -> None:
        if run.state.step == 7:
            raise MemoryError("killed")
        advance(run)

    model = Motion(MotionConfig(**SMALL, head="acceleration", mirror=True))
    with monkeypatch.context() as patched:
        patched.setattr(Run, "advance", dies)
        with pytest.raises(MemoryError):
            model.fit(arcs(), train=steady, folder=tmp_path)
    model = Motion(MotionConfig(**SMALL, head="acceleration", mirror=True)).fit(arcs(), train=steady, folder=tmp_path)
    for name, value in whole.fitted.state_dict().items():
        assert_close(model.fitted.state_dict()[name], value, rtol=0, atol=0)


def test_best_of_20_gives_its_modes():
    config = MotionConfig.best_of_20()
    model = Motion(config).fit(arcs(recorded=False), GIVEN, train=replace(SHORT, steps=3))
    told = sum(p.numel() for p in model.fitted.net.parameters())
    assert told == (2 * (GIVEN - 1)) * 256 + 256 + 256 * 256 + 256
    forecast = model.forecast(past(arcs(2, recorded=False)), draws=20)
    assert_close(forecast.draws.sort(0).values, forecast.mixture["mean"].movedim(1, 0).sort(0).values)
    with pytest.raises(ValueError, match="of 20 modes"):
        model.forecast(past(arcs(2, recorded=False)), draws=21)


def test_the_social_preset_is_small():
    model = Motion(MotionConfig.social()).fit(arcs(4, 2), GIVEN, train=replace(SHORT, steps=1, batch=2))
    assert 0.2e6 < sum(p.numel() for p in model.fitted.parameters()) < 0.6e6


# ---- bad input


@pytest.mark.parametrize(("settings", "match"), [
    ({"backbone": "gnn"}, "backbone"), ({"inputs": ("velocty",)}, "did you mean 'velocity'"), ({"head": "bycicle"}, "did you mean 'bicycle'"),
    ({"given": 0}, "positive numbers"), ({"backbone": "social", "width": 30, "heads": 4}, "no multiple"), ({"classify": -1.0}, "at least 0"),
    ({"dropout": 1.0}, "dropout"), ({"loss": "mse"}, "no loss"),
])
def test_bad_settings_of_the_forecaster_are_told(settings, match):
    with pytest.raises(ValueError, match=match):
        MotionConfig(**settings)


def test_bad_windows_are_told():
    model, windows = fitted(train=replace(SHORT, steps=1)), arcs(2)
    with pytest.raises(ValueError, match="was not fitted"):
        Motion().forecast(windows)
    with pytest.raises(ValueError, match="the past has 3"):
        model.forecast(windows.frames(slice(0, 3)))
    with pytest.raises(ValueError, match="Resample"):
        model.forecast(past(windows.replace(time=2 * windows.time)))
    with pytest.raises(ValueError, match="convert it"):
        model.forecast(past(windows.replace(units=Units(length="km", time="s"))))
    with pytest.raises(ValueError, match="windows have no velocity, heading"):
        model.forecast(past(windows.replace(extra={})))
    with pytest.raises(ValueError, match="3 dimensions"):
        fitted(arcs(2, recorded=False).replace(x=torch.cat((windows.x, windows.x[..., :1]), -1)))
    with pytest.raises(ValueError, match="heading='path'"):
        fitted(arcs(2, recorded=False), heading="recorded")
    with pytest.raises(ValueError, match="fitted for 1 to 10"):
        model.forecast(past(windows), steps=11)
    mask = windows.mask.clone()
    mask[:, GIVEN:] = False
    with pytest.raises(ValueError, match=r"nothing to learn|no samples"):
        fitted(windows.replace(mask=mask))
