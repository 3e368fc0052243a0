"""Profiles add up over scenes, and a distance is judged against the noise of the reference."""

from __future__ import annotations

import pytest
import torch

from trajlab.metrics.profiles import Profile, alive, bins, compare, histogram, l1, overlap, replicas, time_blocks
from trajlab.types import Forecast, Trajectories


def gaussian_profile(mean: float, scenes: int, seed: int, samples: int = 5000) -> Profile:
    values = mean + torch.randn(scenes, samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    edges = bins(-5.0, 5.0, 0.1)
    counts = histogram(values, torch.arange(scenes), torch.ones_like(values, dtype=torch.bool), edges, scenes)
    return Profile((edges[1:] + edges[:-1]) / 2, counts, (counts.sum(1, keepdim=True) * 0.1).expand_as(counts))


def test_distances_of_known_curves():
    a, b = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 1.0])
    assert l1(a, b) == pytest.approx(1.0)
    assert l1(b, b) == 0
    assert overlap(a, b) == pytest.approx(0.5)
    assert overlap(3 * a, a) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="zero in every bin"):
        l1(a, 0 * a)


def test_density_integrates_to_one_and_skips_the_dead():
    profile = gaussian_profile(0.0, 4, 0)
    assert float(profile.curve().sum() * 0.1) == pytest.approx(1.0)
    values = torch.tensor([[0.5, float("nan"), 1.5]], dtype=torch.float64)
    counts = histogram(values, torch.tensor([0]), torch.tensor([[True, False, True]]), bins(0.0, 2.0, 1.0), 1)
    assert counts.tolist() == [[1, 1]]
    # values on the upper edge or outside are not counted
    assert histogram(torch.tensor([[2.0, -0.1]]), torch.tensor([0]), torch.ones(1, 2, dtype=torch.bool), bins(0.0, 2.0, 1.0), 1).sum() == 0


def test_the_same_law_is_at_the_noise_floor_and_another_is_above():
    reference = gaussian_profile(0.0, 8, 0)
    same = compare(gaussian_profile(0.0, 8, 1), reference, l1)
    other = compare(gaussian_profile(0.3, 8, 2), reference, l1)
    assert same.floor > 0.01
    assert abs(same.above) < 0.3 * same.floor
    # the exact distance between normal laws 0.3 apart is 2 erf(0.15/sqrt(2))
    exact = 2 * float(torch.erf(torch.tensor(0.15 / 2**0.5)))
    assert other.value == pytest.approx(exact, abs=0.03)
    assert other.above > 0.5 * exact


def test_a_band_is_the_standard_error_over_scenes():
    values = torch.tensor([[1.0], [2.0], [3.0], [6.0]], dtype=torch.float64)
    profile = Profile(torch.zeros(1, dtype=torch.float64), values, torch.ones_like(values))
    assert float(profile.band()) == pytest.approx(float(values.std()) / 2)


def test_comparing_needs_equal_bins_and_two_scenes():
    profile = gaussian_profile(0.0, 4, 0)
    with pytest.raises(ValueError, match="time_blocks"):
        compare(profile.pick(torch.tensor([0])), profile, l1)
    with pytest.raises(ValueError, match="bins"):
        compare(Profile(profile.axis + 1, profile.total, profile.weight), profile, l1)


def ragged() -> Trajectories:
    x = torch.arange(3 * 7 * 3, dtype=torch.float64).reshape(3, 7, 3)
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[2, 5:] = False
    return Trajectories(x=x, time=torch.arange(7.0, dtype=torch.float64).expand(2, 7), scene=torch.tensor([0, 0, 1]), mask=mask,
                        kind=torch.tensor([6, 8, 1]), extra={"velocity": x / 2}, static={"mass": torch.tensor([12.0, 16.0, 1.0])},
                        context={"run": torch.tensor([4, 5])})


def test_blocks_of_time_keep_nodes_together():
    blocks = time_blocks(ragged(), 3)
    assert (blocks.n_scenes, blocks.n_frames, blocks.n_nodes) == (6, 2, 9)
    assert blocks.scene.tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 5]
    assert torch.equal(blocks.x[3], ragged().x[1, 2:4])
    assert torch.equal(blocks.extra["velocity"][7], ragged().x[2, 2:4] / 2)
    assert blocks.kind[:4].tolist() == [6, 8, 6, 8]
    assert blocks.context["run"].tolist() == [4, 4, 4, 5, 5, 5]
    with pytest.raises(ValueError, match="7 frames into 8"):
        time_blocks(ragged(), 8)


def test_a_stopped_scene_is_alive_until_then():
    assert alive(ragged()).tolist() == [[True] * 7, [True] * 5 + [False] * 2]


def test_draws_become_scenes():
    past = ragged().frames([0])
    draws = torch.stack([past.x + 1, past.x + 2])
    answer = Forecast(draws=draws, past=past, time=past.time + 1, extra={"velocity": draws})
    both = replicas(answer)
    assert both.n_scenes == 4
    assert torch.equal(both.x, torch.cat([past.x + 1, past.x + 2]))
    assert both.scene.tolist() == [0, 0, 1, 2, 2, 3]
    assert replicas(past) is past
    with pytest.raises(Exception, match=r"Forecast\b.*\bTrajectories"):
        replicas(past.x)
