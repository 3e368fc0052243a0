"""TrajCast end to end on a system whose answer is known, and what it says to bad input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from trajlab.dynamics.particles import Particles
from trajlab.models.pairs import Pairs
from trajlab.models.trajcast import TrajCast, TrajCastConfig
from trajlab.models.trajcast_fit import relative_errors, samples
from trajlab.train.config import TrainConfig
from trajlab.types import Trajectories
from trajlab.units import Units

TINY = TrajCastConfig(cutoff=3.0, channels=8, blocks=2, radial=(16, 16), width=16)
BUDGET = TrainConfig(steps=400, batch=16, lr=1.5e-2, warmup=20, ema=0.98)
REST = torch.tensor([[0.0, 0, 0], [1.2, 0, 0], [0.3, 1.1, 0]], dtype=torch.float64)
STIFFNESS, STRIDE = 20.0, 4.0  # eV/Angstrom^2 between every two atoms, fs


def springs(n: int, runs: int, seed: int, frames: int = 2) -> Trajectories:
    """Three carbon atoms joined by springs, by velocity Verlet with steps of 0.25 fs."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.cdist(REST, REST) + torch.eye(3, dtype=torch.float64)
    mass, unit = 12.011, 1 / 103.642697
    x = REST + 0.05 * torch.randn(n, 3, 3, generator=generator, dtype=torch.float64)
    v = 0.004 * torch.randn(n, 3, 3, generator=generator, dtype=torch.float64)
    v = v - v.mean(1, keepdim=True)

    def acceleration(x):
        apart = x[:, None] - x[:, :, None]
        r = apart.norm(dim=-1) + torch.eye(3, dtype=torch.float64)
        return (STIFFNESS * (r - length)[..., None] * apart / r[..., None]).sum(2) / mass * unit

    xs, vs = [x], [v]
    for _ in range(frames - 1):
        for _ in range(16):
            v = v + 0.125 * acceleration(x)
            x = x + 0.25 * v
            v = v + 0.125 * acceleration(x)
        xs.append(x)
        vs.append(v)
    stack = lambda parts: torch.stack(parts, 2).reshape(n * 3, frames, 3)  # noqa: E731
    run = torch.arange(n) * runs // n
    start = torch.arange(n).double()[:, None] * 1000
    return Trajectories(stack(xs), start + STRIDE * torch.arange(frames), torch.arange(n).repeat_interleave(3), kind=torch.full((n * 3,), 6),
                        extra={"velocity": stack(vs)}, static={"mass": torch.full((n * 3,), mass, dtype=torch.float64)}, context={"run": run},
                        units=Units.md())


@pytest.fixture(scope="module")
def fitted():
    return TrajCast(TINY).fit(springs(1000, 20, 0), train=BUDGET, progress=False)


def test_learns_springs(fitted):
    test = springs(50, 5, 9)
    error = relative_errors(fitted.step, Pairs(test, (1,), TINY.cutoff))
    assert error["displacement"] < 0.2
    assert error["velocity"] < 0.3
    ballistic = (test.x[:, 1] - test.x[:, 0] - STRIDE * test.velocity[:, 0]).norm() / (test.x[:, 1] - test.x[:, 0]).norm()
    assert error["displacement"] < 0.5 * float(ballistic)


def test_forecast_continues_and_says_where_it_came_from(fitted):
    past = springs(3, 3, 1)
    future = fitted.forecast(past.last(), 5, thermostat="nve", progress=False)
    assert future.draws.shape == (1, 9, 5, 3)
    assert_close(future.time[:, 0], past.time[:, -1] + STRIDE)
    assert fitted.about["method"] == "trajcast"
    assert len(fitted.about["data"]) >= 32


def test_saved_and_loaded_is_the_same(fitted, tmp_path):
    p = Particles.of(springs(4, 4, 2), 0)
    again = TrajCast.load(fitted.save(tmp_path / "model"))
    for a, b in zip(fitted.propagate(p), again.propagate(p), strict=True):
        assert torch.equal(a, b)
    assert again.limits == fitted.limits
    assert again.stride == fitted.stride == STRIDE


def test_a_folder_without_a_model_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"holds no model .*notes\.txt"):
        TrajCast.load(tmp_path)


def test_a_mistyped_setting_in_a_file_is_answered(fitted, tmp_path):
    folder = fitted.save(tmp_path / "model")
    path = folder / "model.json"
    path.write_text(path.read_text().replace('"channels"', '"chanels"'))
    with pytest.raises(ValueError, match="did you mean 'channels'"):
        TrajCast.load(folder)


def test_unknown_element_is_named(fitted):
    p = Particles.of(springs(2, 2, 2), 0)
    with pytest.raises(ValueError, match="atom 1 is Si, but this model was trained on C alone"):
        fitted.propagate(p.replace(kind=torch.tensor([6, 14, 6, 6, 6, 6])))


def test_stride_it_was_not_trained_on_is_refused(fitted):
    with pytest.raises(ValueError, match="trained on strides of 4 fs; 7 fs is not one of them"):
        fitted.at(7.0)


def test_unfitted_model_says_so():
    with pytest.raises(ValueError, match=r"has not been fitted; call fit\(trajectories\)"):
        TrajCast().propagate(Particles.of(springs(1, 1, 0), 0))


def test_missing_velocities_are_offered_an_estimate():
    data = springs(20, 10, 0)
    with pytest.raises(ValueError, match="finite_differences"):
        TrajCast(TINY).fit(data.replace(extra={}), train=BUDGET)


def test_velocities_in_other_units_are_refused():
    data = springs(20, 10, 0)
    with pytest.raises(ValueError, match="ps"):
        TrajCast(TINY).fit(data.replace(extra={"velocity": data.velocity * 1000}), train=BUDGET)


def test_single_frames_are_refused():
    with pytest.raises(ValueError, match="a pair needs two frames"):
        TrajCast(TINY).fit(springs(20, 10, 0).frames([0]), train=BUDGET)


def test_a_leaking_validation_is_refused():
    data = springs(20, 10, 0)
    with pytest.raises(ValueError, match="run"):
        TrajCast(TINY).fit(data, data.scenes(slice(0, 4)), train=BUDGET)


def test_several_strides_in_one_model():
    data = springs(60, 6, 0, frames=3)
    model = TrajCast(replace(TINY, strides=(4.0, 8.0))).fit(data, train=replace(BUDGET, steps=60), progress=False)
    assert model.step.strides == (4.0, 8.0)
    p = Particles.of(data.scenes([0]), 0)
    short, long = model.propagate(p)[0], model.at(8.0).propagate(p)[0]
    assert (short - long).abs().max() > 1e-3


def test_long_trajectories_are_cut_into_pairs():
    data = springs(4, 4, 0, frames=7)
    cut = samples(replace(TINY, strides=(8.0,)), data)
    assert cut.n_frames == 2
    assert cut.n_scenes == 4 * 3
    assert_close(cut.time[:, 1] - cut.time[:, 0], torch.full((12,), 8.0, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"stride of 5 fs .* lie 4, 8"):
        samples(replace(TINY, strides=(5.0,)), data)


@pytest.mark.parametrize("follow", [False, True])
def test_reversed_samples_are_the_pair_run_backwards(follow):
    data = springs(5, 5, 0, frames=3)
    pairs = Pairs(data if follow else data.frames([0, 1]), (1,), 3.0, reversed_too=True, then=2 if follow else None)
    assert len(pairs) == 10
    assert pairs.forward_samples.tolist() == list(range(5))
    back = pairs.batch(torch.tensor([7]))
    start = 2 if follow else 1
    rows = data.scene == 2
    assert_close(back.before.x, data.x[rows, start])
    assert_close(back.before.v, -data.velocity[rows, start])
    assert_close(back.displacement, data.x[rows, start - 1] - data.x[rows, start])
    assert_close(back.velocity, -data.velocity[rows, start - 1])
    if follow:
        assert_close(back.then[0], data.x[rows, 0] - data.x[rows, 2])
    both = pairs.batch(torch.tensor([1, 7]))
    assert_close(both.before.x, torch.cat([data.x[data.scene == 1, 0], data.x[rows, start]]))


def test_two_step_loss_trains():
    data = springs(40, 4, 0, frames=3)
    config = replace(TINY, rollout_loss=0.5, time_reversal=True)
    model = TrajCast(config).fit(data, train=replace(BUDGET, steps=40), progress=False)
    assert model.step.strides == (4.0,)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="channels"):
        TrajCastConfig(channels=0)
    with pytest.raises(ValueError, match="one stride only"):
        TrajCastConfig(rollout_loss=1.0, strides=(1.0, 2.0))
