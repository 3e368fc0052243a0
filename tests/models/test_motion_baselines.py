"""Baselines of motion: known answers, laws, the table of ETH/UCY, the Kalman filter against matrices and against its own draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from window_systems import moved, packed, ragged

from trajlab.catalog import load
from trajlab.data.batches import concat
from trajlab.data.dense import dense
from trajlab.models import MOTION_BASELINES
from trajlab.models.linear_forecasts import ConstantVelocity, LastPosition
from trajlab.models.motion.baselines import ConstantAcceleration, HeadingNoise, LinearFit, MeanVelocity, TurnRate
from trajlab.models.motion.kalman import KalmanVelocity, filtered
from trajlab.models.motion.mixture import PathMixture
from trajlab.sources.pedestrians import SCENES, WindowRule, pedestrian_windows, read_eth_ucy

GIVEN = 5
DETERMINISTIC = {"constant velocity": ConstantVelocity, "mean velocity": MeanVelocity, "linear fit": LinearFit, "turn rate": TurnRate,
                 "constant acceleration": ConstantAcceleration, "stand still": LastPosition}
#: ADE / FDE in m, windows of at least two pedestrians; the last number is heading noise, best of 20
TABLE = {
    "eth": (70, 181, [.995, 2.234, .959, 2.127, 1.021, 2.184, 1.697, 3.771, 3.387, 8.472, 2.843, 4.824], [.854, 1.888]),
    "hotel": (301, 1053, [.323, .617, .239, .453, .256, .468, .763, 1.649, 1.856, 4.623, 1.150, 2.089], [.245, .459]),
    "univ": (947, 24334, [.524, 1.165, .676, 1.370, .737, 1.429, .697, 1.562, 1.066, 2.664, 1.359, 2.474], [.387, .816]),
    "zara1": (602, 2253, [.431, .960, .557, 1.141, .609, 1.192, .670, 1.562, .897, 2.225, 2.506, 4.612], [.305, .618]),
    "zara2": (921, 5833, [.326, .728, .422, .862, .458, .896, .471, 1.101, .644, 1.622, 1.377, 2.532], [.229, .479]),
}
ALONE = {"eth": (253, 364, 1.075, 2.282), "hotel": (445, 1197, .319, .614), "univ": (947, 24334, .524, 1.165), "zara1": (705, 2356, .427, .952),
         "zara2": (998, 5910, .324, .724)}


def walkers(scenes: int = 4, frames: int = 9, seed: int = 0):
    """Two dimensions, noisy turns and speeds."""
    g = torch.Generator().manual_seed(seed)
    steps = torch.randn(scenes, 3, 1, 2, generator=g, dtype=torch.float64) + 0.2 * torch.randn(scenes, 3, frames, 2, generator=g, dtype=torch.float64)
    return packed(steps.cumsum(2))


def predicted(model, data):
    return dense(data).pack(model.predict(dense(data)))


def fitted(name: str, data):
    return load(MOTION_BASELINES[name])().fit(data, GIVEN)


# ---------------------------------------------------------------------------------------------------------------- known answers


def circle(angle: float, frames: int = 9):
    """Steps of 1 m, each turned by ``angle`` against the last."""
    at = angle * torch.arange(frames).double()
    return packed(torch.stack([at.cos(), at.sin()], -1).cumsum(0)[None, None])


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2, 3.0])
def test_turn_rate_goes_round_in_a_circle(angle):
    data = circle(angle)
    assert torch.allclose(predicted(TurnRate().fit(data, GIVEN), data), data.x[:, GIVEN:], atol=1e-9)


def test_turn_rate_takes_no_direction_from_a_centimetre():
    data = circle(1.0)
    small = data.replace(x=0.019 * data.x)
    assert torch.allclose(predicted(TurnRate().fit(small, GIVEN), small), predicted(ConstantVelocity().fit(small, GIVEN), small))
    large = data.replace(x=0.021 * data.x)
    assert torch.allclose(predicted(TurnRate().fit(large, GIVEN), large), large.x[:, GIVEN:], atol=1e-9)


def test_constant_acceleration_is_the_explicit_euler_step():
    speed = 2 + 0.5 * torch.arange(9).double()
    data = packed(torch.stack([speed.cumsum(0), torch.zeros(9).double()], -1)[None, None])
    assert torch.allclose(predicted(ConstantAcceleration().fit(data, GIVEN), data), data.x[:, GIVEN:])


def test_mean_and_line_of_a_zigzag():
    x = torch.tensor([0.0, 2.0, 1.0, 3.0, 5.0, 0.0, 0.0]).double()
    data = packed(torch.stack([x, 0 * x], -1)[None, None])
    assert torch.allclose(predicted(MeanVelocity().fit(data, GIVEN), data)[0, :, 0], torch.tensor([6.25, 7.5]).double())
    slope, middle = np.polyfit(np.arange(5), x[:5].numpy(), 1)
    wanted = torch.tensor([middle + 5 * slope, middle + 6 * slope]).double()
    assert torch.allclose(predicted(LinearFit().fit(data, GIVEN), data)[0, :, 0], wanted)


@pytest.mark.parametrize("model", [TurnRate, ConstantAcceleration, MeanVelocity, LinearFit, KalmanVelocity, HeadingNoise])
def test_straight_motion_goes_by_physical_time(model):
    time = torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 4.0, 5.0]]).double()
    x = torch.tensor([[1.0, -2.0]]).double() * time[0, :, None]
    data = packed(x[None, None]).replace(time=time)
    near = 1e-2 if model is KalmanVelocity else 1e-9  # its velocity has a prior
    assert torch.allclose(predicted(model().fit(data, GIVEN), data), data.x[:, GIVEN:], atol=near)


@pytest.mark.parametrize("name", list(MOTION_BASELINES))
def test_laws(name):
    """Turning the input turns the forecast; what is hidden or comes later does not matter; packed and saved models say the same."""
    data = ragged(walkers())
    angle = torch.tensor(0.7).double()
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    model = fitted(name, data)
    said = predicted(model, data)
    assert torch.isfinite(said).all()
    assert torch.allclose(predicted(model, moved(data, turn)), said @ turn.T + 7.0, atol=1e-8)
    future = torch.arange(data.n_frames) >= GIVEN
    later = data.replace(x=torch.where(future[:, None] | ~data.mask[..., None], 1e4, data.x))
    assert torch.equal(predicted(model, later), said)
    again = load(MOTION_BASELINES[name]).from_state(model.state())
    assert torch.equal(predicted(again, data), said)
    longer = model.forecast(data.frames(slice(0, GIVEN)), 30, draws=2, generator=torch.Generator().manual_seed(0))
    assert longer.draws.shape[2] == 30


def test_bad_input():
    data = walkers()
    with pytest.raises(ValueError, match="looks at 3 given frames"):
        TurnRate().fit(data, 2)
    deep = data.replace(x=torch.nn.functional.pad(data.x, (0, 1)))
    turning = TurnRate().fit(deep, GIVEN)
    with pytest.raises(ValueError, match="positions have 3 dimensions"):
        turning.predict(dense(deep))
    with pytest.raises(ValueError, match="above 0 and below 360"):
        HeadingNoise(0.0)
    for model in (HeadingNoise(), KalmanVelocity()):
        with pytest.raises(ValueError, match="pass generator="):
            model.fit(data, GIVEN).forecast(data.frames(slice(0, GIVEN)), draws=2)
    with pytest.raises(ValueError, match="did you mean 'future'"):
        KalmanVelocity("futur")
    hidden = torch.ones_like(data.mask)
    hidden[:, GIVEN:] = False
    with pytest.raises(ValueError, match="there are none"):
        KalmanVelocity().fit(data.replace(mask=hidden), GIVEN)


# ------------------------------------------------------------------------------------------------------------------ heading noise


def test_heading_noise_turns_whole_paths_about_the_last_position():
    data = walkers(200)
    model = HeadingNoise(30.0).fit(data, GIVEN)
    f = model.forecast(data.frames(slice(0, GIVEN)), draws=20, generator=torch.Generator().manual_seed(0))
    last, straight = data.x[:, GIVEN - 1, None], predicted(model, data)
    assert torch.allclose((f.draws - last).norm(dim=-1), (straight - last).norm(dim=-1).expand(f.draws.shape[:3]))
    unit = lambda v: torch.view_as_complex(v.contiguous())  # noqa: E731
    angle = (unit(f.draws - last) / unit(straight - last)).angle()
    assert torch.allclose(angle, angle[..., :1].expand_as(angle))  # one angle a draw and agent
    assert float(angle[..., 0].std()) == pytest.approx(math.radians(30), rel=0.03)
    same = model.forecast(data.frames(slice(0, GIVEN)), draws=20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(f.draws, same.draws)


# ------------------------------------------------------------------------------------------------------------------------- Kalman


def test_filter_against_matrices():
    g = torch.Generator().manual_seed(0)
    x, time = torch.randn(1, 7, 2, generator=g, dtype=torch.float64), torch.tensor([[0, 0.3, 0.5, 1.1, 1.2, 2.0, 2.1]]).double()
    mask = torch.tensor([[False, True, True, False, True, True, False]])
    q, r, v0 = 0.7, 0.05, 2.0
    found = filtered(x, mask, time, torch.tensor([q, r, v0]).double())
    m, p, density, h = np.array([x[0, 1, 0], 0.0]), np.diag([r, v0]), 0.0, np.array([1.0, 0.0])
    for k in range(2, 7):
        d = float(time[0, k] - time[0, k - 1])
        f = np.array([[1, d], [0, 1]])
        m, p = f @ m, f @ p @ f.T + q * np.array([[d**3 / 3, d**2 / 2], [d**2 / 2, d]])
        if mask[0, k]:
            s, off = h @ p @ h + r, float(x[0, k, 0]) - m[0]
            density -= 0.5 * (off**2 / s + np.log(2 * np.pi * s))
            m, p = m + p @ h * off / s, p - np.outer(p @ h, h @ p) / s
    assert [float(found.position[0, 0]), float(found.velocity[0, 0])] == pytest.approx(m.tolist())
    assert [float(v[0]) for v in (found.xx, found.xv, found.vv)] == pytest.approx([p[0, 0], p[0, 1], p[1, 1]])
    one_axis = filtered(x[..., :1], mask, time, torch.tensor([q, r, v0]).double())
    assert float(one_axis.log_density[0]) == pytest.approx(density)


def white(n: int = 700, frames: int = 14, noise=(0.3, 0.02, 1.5), d: float = 0.4):
    """Paths of the model itself."""
    q, r, v0 = noise
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(q * np.array([[d**3 / 3, d**2 / 2], [d**2 / 2, d]]))
    state = np.stack([np.zeros((n, 2)), math.sqrt(v0) * rng.standard_normal((n, 2))], -1)
    out = []
    for _ in range(frames):
        out.append(state[..., 0] + math.sqrt(r) * rng.standard_normal((n, 2)))
        state = state @ np.array([[1, d], [0, 1]]).T + rng.standard_normal((n, 2, 2)) @ root.T
    return packed(torch.from_numpy(np.stack(out, 1))[:, None], spacing=d)


@pytest.mark.parametrize("objective", ["future", "path"])
def test_the_noise_of_the_model_is_found(objective):
    q, r, v0 = KalmanVelocity(objective).fit(white(), 8).noise.tolist()
    assert q == pytest.approx(0.3, rel=0.15)
    assert r == pytest.approx(0.02, rel=0.15)
    assert v0 == pytest.approx(1.5 + 2 * 0.02 / 0.4**2 + 0.3 * 6.5 * 0.4, rel=0.1)  # of differences of noisy positions, over the whole window


def test_mixture_and_draws_have_one_law():
    data = white(400)
    model = KalmanVelocity().fit(data, 8)
    f = model.forecast(data.frames(slice(0, 8)), draws=400, generator=torch.Generator().manual_seed(1))
    mixture = PathMixture.of(f)
    scaled = (f.draws - mixture.mean[:, 0]) / mixture.covariance[:, 0, :, 0, 0].sqrt()[..., None]
    assert float(scaled.mean().abs()) < 0.01
    assert torch.allclose(scaled.std((0, 1, 3)), torch.ones(6).double(), atol=0.02)
    # over time: position at two times
    t, q = 0.4 * torch.arange(1, 7).double(), float(model.noise[0])
    now = model._belief(dense(data.frames(slice(0, 8))))
    between = now.xx[0] + (t[1] + t[5]) * now.xv[0] + t[1] * t[5] * now.vv[0] + q * (t[1] ** 2 * t[5] / 2 - t[1] ** 3 / 6)
    off = f.draws - mixture.mean[:, 0]
    assert float((off[:, :, 1] * off[:, :, 5]).mean()) == pytest.approx(float(between), rel=0.03)
    inside = ((data.x[:, 8:] - mixture.mean[:, 0]).square().sum(-1) / mixture.covariance[:, 0, :, 0, 0] < 2.279).double().mean()
    assert float(inside) == pytest.approx(0.68, abs=0.03)


def test_what_is_scored_is_fitted():
    """On agents that do not jitter like white acceleration, the fit to the future has the better density of the future."""
    g = torch.Generator().manual_seed(0)
    bend = 0.3 * torch.randn(400, 1, 1, 2, generator=g, dtype=torch.float64)
    s = 0.4 * torch.arange(14).double()[:, None]
    data = packed(torch.randn(400, 1, 1, 2, generator=g, dtype=torch.float64) * s + bend * s.square() / 2
                  + 0.01 * torch.randn(400, 1, 14, 2, generator=g, dtype=torch.float64), spacing=0.4)
    score = {}
    for objective in ("future", "path"):
        f = KalmanVelocity(objective).fit(data, 8).forecast(data.frames(slice(0, 8)), generator=g)
        score[objective] = float(PathMixture.of(f).nll_marginal(data.x[:, 8:]).mean())
    assert score["future"] < score["path"] - 0.1


# ------------------------------------------------------------------------------------------------------------ reference figures


def scene_windows(folder, scene: str, least: int):
    """The test windows alone."""
    parts = [read_eth_ucy(folder / "traffic" / "eth_ucy" / f"{name}.txt", stretched="keep") for name in SCENES[scene]]
    return concat([pedestrian_windows(part, WindowRule(least=least)) for part in parts])


@pytest.mark.parametrize("scene", list(TABLE))
def test_eth_ucy_table(reference, scene):
    windows, agents, figures, noisy = TABLE[scene]
    test = scene_windows(reference, scene, 2)
    assert (test.n_scenes, test.n_nodes) == (windows, agents)
    block, truth, found = dense(test), test.x[:, 8:], []
    for cls in DETERMINISTIC.values():
        far = (block.pack(cls().fit(test, 8).predict(block)) - truth).norm(dim=-1)
        found += [float(far.mean()), float(far[:, -1].mean())]
    assert found == pytest.approx(figures, abs=0.005)
    if agents < 5000:
        f = HeadingNoise().fit(test, 8).forecast(test.frames(slice(0, 8)), draws=20, generator=torch.Generator().manual_seed(0))
        far = (f.draws - truth).norm(dim=-1)
        best = [float(far.mean(-1).amin(0).mean()), float(far[..., -1].amin(0).mean())]
        assert best == pytest.approx(noisy, abs=0.012)  # random numbers


@pytest.mark.parametrize("scene", list(ALONE))
def test_eth_ucy_with_single_pedestrians(reference, scene):
    windows, agents, ade, fde = ALONE[scene]
    test = scene_windows(reference, scene, 1)
    assert (test.n_scenes, test.n_nodes) == (windows, agents)
    far = (predicted(ConstantVelocity().fit(test, 8), test) - test.x[:, 8:]).norm(dim=-1)
    assert [float(far.mean()), float(far[:, -1].mean())] == pytest.approx([ade, fde], abs=0.005)
