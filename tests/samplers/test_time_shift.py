"""The Time-Shift sampler: unbiased on exact samples, silent where variance tells nothing, row by row."""

from __future__ import annotations

import warnings
from itertools import pairwise

import pytest
import torch

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import Rectified, VPLinear, VPTable
from trajlab.samplers.deis import ddim
from trajlab.samplers.grids import at_times, uniform_lam
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.noise_views import HighFrequencies, OffSubspace, data_variance, everything
from trajlab.samplers.sample import sample
from trajlab.samplers.time_shift import TimeShift

PATH = VPTable()
DATA = 0.25  #: variance of the data


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exact(index: int, rows: int, d: int, variance: float = DATA):
    """Exact samples at an index of the table, and their level."""
    level = PATH.level_at(1 - index / 999)
    x = torch.randn(rows, d, generator=seeded(index)) * (level.alpha**2 * variance + level.sigma**2) ** 0.5
    return x, level


def moves(shift: TimeShift, index: int, rows: int, d: int, variance: float = DATA):
    """By how many indices each row is moved, and whether the variance could tell."""
    x, level = exact(index, rows, d, variance)
    lam, known = shift.shifted(PATH, x, level)
    return (1 - PATH.t_of(lam)) * 999 - index, known


class Off:
    """The exact noise prediction of N(0, 0.25), too large by a factor."""

    def __init__(self, factor: float, path=PATH) -> None:
        self.factor, self.path = factor, path

    def __call__(self, x, level, **_):
        return Prediction(x, level, "eps", self.factor * level.sigma / (level.sigma**2 + DATA * level.alpha**2) * x)


def quiet(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sample(*args, **kwargs)


def test_unbiased_on_exact_samples():
    moved, known = moves(TimeShift(DATA, 30, "index"), 350, 96, 65536)
    assert abs(float(moved.mean())) <= 1
    assert float(moved.std()) <= 4
    assert bool(known.all())


def test_the_published_target_goes_to_the_edge():
    moved, _ = moves(TimeShift(0.0, 30, "index"), 350, 32, 8192)
    assert float(moved.mean()) > 14


@pytest.mark.parametrize(("index", "d", "variance"), [(350, 512, DATA), (800, 65536, DATA), (350, 65536, 1.0)])
def test_where_variance_tells_nothing(index, d, variance):
    """Small samples, pure noise, and unit-variance data on a variance-preserving path."""
    shift = TimeShift(variance, 30, "index")
    assert not bool(moves(shift, index, 4, d, variance)[1].any())


def test_it_finds_the_level_of_a_state_that_is_off():
    shift = TimeShift(DATA, 60, "index")
    x, _ = exact(365, 32, 65536)
    nominal = PATH.level_at(1 - 350 / 999)
    lam, _ = shift.shifted(PATH, x, nominal)
    assert float(((1 - PATH.t_of(lam)) * 999).mean()) == pytest.approx(365, abs=1.5)
    by_lam, _ = TimeShift(DATA, 0.6, candidates=241).shifted(PATH, x, nominal)
    assert float(by_lam.mean()) == pytest.approx(PATH.level_at(1 - 365 / 999).lam, abs=0.01)


def test_a_net_that_is_two_per_cent_off():
    """Some of the lost variance comes back, and most of it does not (a few per cent of the truth, 0.25)."""
    grid = at_times(PATH, 1 - torch.linspace(999, 0, 11, dtype=torch.float64) / 999)
    start = torch.randn(128, 512, generator=seeded(), dtype=torch.float64)
    shift = TimeShift(DATA, 30, "index", until=PATH.level_at(1 - 300 / 999).lam, uninformative="shift")
    right, wrong, mended = (float(quiet(Off(f), grid, start, s).x.var()) for f, s in ((1.0, ddim()), (1.02, ddim()), (1.02, shift)))
    assert right == pytest.approx(0.14, abs=0.005)
    assert wrong == pytest.approx(0.10, abs=0.005)
    assert mended == pytest.approx(0.108, abs=0.005)
    assert mended > wrong + 0.004


def test_without_a_shift_it_is_ddim():
    grid = uniform_lam(PATH, 8, stop=3.0)
    start = torch.randn(5, 40, generator=seeded(), dtype=torch.float64)
    for end in ("stop", "denoise"):
        plain = sample(Off(1.0), grid.ended(end), start, ddim())
        with pytest.warns(UserWarning, match="does not tell noise levels apart at nodes"):
            never = sample(Off(1.0), grid.ended(end), start, TimeShift(DATA, 0.05))
        torch.testing.assert_close(never.x, plain.x, atol=1e-12, rtol=0)
        assert never.nfe == plain.nfe


def test_refusal():
    grid = uniform_lam(PATH, 8, stop=3.0)
    with pytest.raises(ValueError, match=r"at node 1 .* in row 0: it says nothing about the level"):
        sample(Off(1.0), grid, torch.randn(2, 40, generator=seeded()), TimeShift(DATA, 0.05, uninformative="raise"))


def test_the_first_step_and_late_ones_are_not_shifted():
    told = []
    denoiser = Denoiser(lambda x, lam: told.append(lam.clone()) or 0.2 * x, PATH, clock="lam")
    grid, start = uniform_lam(PATH, 8, stop=3.0), torch.randn(3, 4000, generator=seeded(), dtype=torch.float64)
    sample(denoiser, grid, start, TimeShift(DATA, until=0.0, uninformative="shift"))
    nominal = torch.stack(told) - grid.lam[:, None]
    assert bool((nominal[0] == 0).all())
    assert bool((nominal[grid.lam >= 0].abs() < 1e-12).all())
    assert bool((nominal[1:4].abs() > 0).any(0).all())
    assert float(nominal.abs().max()) <= 0.25 + 1e-12  # half of the window


def test_the_window_ends_at_the_neighbours():
    grid = uniform_lam(PATH, 20, stop=3.0)
    here = grid.levels[8]
    shift = TimeShift(DATA, 50.0, candidates=1001)
    x = torch.stack([torch.full((4000,), 1e-3), torch.full((4000,), 3.0)]).double()
    lam, _ = shift.shifted(PATH, x, here, (float(grid.lam[7]), float(grid.lam[9])))
    assert float(grid.lam[7]) < float(lam[1]) < here.lam < float(lam[0]) < float(grid.lam[9])


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_rows_do_not_know_their_mates(eta):
    path = Rectified()
    grid = uniform_lam(path, 9, start=-4.0, stop=3.0)
    start = torch.randn(4, 3, 40, 2, generator=seeded(), dtype=torch.float64) * torch.tensor([1.0, 1.3, 0.7, 1.1])[:, None, None, None]
    solver = TimeShift(DATA, 1.0, eta=eta)
    whole = quiet(Off(1.02, path), grid, start, solver, generator=RowNoise(seeded(2)))
    never = quiet(Off(1.02, path), grid, start, TimeShift(DATA, until=-99.0, eta=eta), generator=RowNoise(seeded(2)))
    assert float((whole.x - never.x).abs().max()) > 1e-3
    for k in range(4):
        alone = quiet(Off(1.02, path), grid, start[k : k + 1], solver, generator=RowNoise(seeded(2), [k]))
        torch.testing.assert_close(alone.x[0], whole.x[k], atol=1e-12, rtol=0)


def test_it_turns_and_pads():
    path = Rectified()
    grid = uniform_lam(path, 9, start=-4.0, stop=3.0)
    start = torch.randn(3, 6, 50, 3, generator=seeded(), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded(5), dtype=torch.float64))[0]
    solver = TimeShift(DATA, 1.0)
    straight = quiet(Off(1.05, path), grid, start, solver).x
    torch.testing.assert_close(quiet(Off(1.05, path), grid, start @ turn, solver).x, straight @ turn, atol=1e-10, rtol=0)
    mask = torch.ones(3, 8, 50, dtype=torch.bool)
    mask[:, 6:] = False
    padded = quiet(Off(1.05, path), grid, torch.cat([start, torch.full((3, 2, 50, 3), 7.0)], 1), solver, mask=mask).x
    torch.testing.assert_close(padded[:, :6], straight, atol=1e-12, rtol=0)
    assert bool((padded[:, 6:] == 0).all())


def test_a_state_is_taken_about_the_mean_of_drifting_data():
    level = PATH.level_at(1 - 350 / 999)
    mean = torch.linspace(-3, 3, 65536)
    x, _ = exact(350, 16, 65536)
    shift = TimeShift(DATA, 30, "index", mean=mean)
    lam, known = shift.shifted(PATH, x + level.alpha * mean, level)
    assert abs(float(((1 - PATH.t_of(lam)) * 999).mean()) - 350) <= 2
    assert bool(known.all())


def test_hidden_entries_are_not_measured_about_the_mean():
    level, mean = PATH.level_at(1 - 350 / 999), torch.full((100, 4, 8), 5.0)
    x, _ = exact(350, 8, 3200)
    mask = (torch.rand(8, 100, 4, 1, generator=seeded(3)) < 0.6).float()
    x = (x.reshape(8, 100, 4, 8) + level.alpha * mean) * mask
    shift = TimeShift(DATA, 1.0, mean=mean)
    lam, known = shift.shifted(PATH, x, level, None, mask)
    variance = ((x - level.alpha * mean) * mask).square().sum((1, 2, 3)) / (8 * mask.sum((1, 2, 3)))
    targets = torch.stack([torch.tensor(k.sigma**2 + DATA * k.alpha**2) for k in PATH.levels(level.lam + torch.linspace(-0.5, 0.5, 41).double())])
    torch.testing.assert_close(lam, level.lam + torch.linspace(-0.5, 0.5, 41).double()[(variance[:, None] - targets).abs().argmin(1)])
    assert bool(known.all())


def test_ancestral_steps_have_the_variance_of_their_formula():
    """x_t = a_t D + sqrt(sigma_t^2 - s^2) e + s z,  s^2 = (sigma_t^2 / sigma_s^2) (1 - a_s^2 / a_t^2), followed through on a Gaussian."""
    grid = uniform_lam(PATH, 20, stop=4.5, end="stop")
    variance = 1.0
    for s, t in pairwise(grid.levels):
        total = DATA * s.alpha**2 + s.sigma**2
        fresh = (t.sigma / s.sigma) ** 2 * (1 - (s.alpha / t.alpha) ** 2)
        variance = variance * ((t.alpha * DATA * s.alpha + (t.sigma**2 - fresh) ** 0.5 * s.sigma) / total) ** 2 + fresh
    start = torch.randn(4, 20_000, generator=seeded(), dtype=torch.float64)
    end = sample(Off(1.0), grid, start, TimeShift(DATA, 0.05, until=-99.0, eta=1.0), generator=seeded(1)).x
    assert float(end.var()) == pytest.approx(variance, rel=0.03)


def smooth(n: int):
    """Unit-variance trajectories ``[n 20 64 3]`` of one slow wave a node, about which the whole variance says nothing on a VP path."""
    time = torch.linspace(0, 1, 64, dtype=torch.float64)[:, None]
    a, b = torch.randn(2, n, 20, 1, 3, generator=seeded(8), dtype=torch.float64)
    return a * (2 * time).cos() + b * (2 * time).sin()


def test_high_frequencies_tell_the_level_of_standardised_data():
    data, level = smooth(24), PATH.level_at(1 - 350 / 999)
    x = level.alpha * data + level.sigma * torch.randn(data.shape, generator=seeded(1), dtype=torch.float64)
    view = HighFrequencies(4)
    v = data_variance(data, view)
    assert v < 2e-3
    assert data_variance(data) == pytest.approx(1, abs=0.1)
    assert not bool(TimeShift(1.0, 60, "index").shifted(PATH, x, level)[1].any())
    lam, known = TimeShift(v, 60, "index", view=view).shifted(PATH, x, level)
    assert bool(known.all())
    assert float(((1 - PATH.t_of(lam)) * 999).mean()) == pytest.approx(350, abs=4)


def test_high_frequencies_is_a_projection_that_counts():
    x = torch.randn(5, 3, 16, 2, generator=seeded(), dtype=torch.float64)
    view = HighFrequencies(3)
    once, count = view(x, None)
    torch.testing.assert_close(view(once, None)[0], once, atol=1e-12, rtol=0)
    assert count.tolist() == [3 * 13 * 2] * 5
    slow = torch.ones(5, 3, 16, 2, dtype=torch.float64)
    assert float(view(slow, None)[0].abs().max()) < 1e-12
    mask = torch.ones(5, 3, 16, 1, dtype=torch.float64)
    mask[1, 2, 4] = 0
    seen, count = view(x * mask, mask)
    assert count.tolist() == [78, 52, 78, 78, 78]
    assert bool((seen[1, 2] == 0).all())
    torch.testing.assert_close(seen[1, :2], once[1, :2], atol=1e-12, rtol=0)


def test_off_subspace():
    data = smooth(30)
    _, _, basis = torch.linalg.svd(data.flatten(1), full_matrices=False)
    view = OffSubspace(basis)
    assert data_variance(data, view) < 1e-20
    noise = torch.randn(4, 20, 64, 3, generator=seeded(), dtype=torch.float64)
    seen, count = view(noise, None)
    assert count.tolist() == [3840 - 30] * 4
    assert float(seen.square().sum() / count.sum()) == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match="hidden entries"):
        view(noise, torch.zeros(4, 20, 1, 1))
    with pytest.raises(ValueError, match="orthonormal"):
        OffSubspace(torch.ones(2, 3))
    with pytest.raises(ValueError, match="events have 3 numbers"):
        view(torch.zeros(2, 3), None)


@pytest.mark.parametrize(("change", "message"), [
    ({"unit": "step"}, "no unit of a window 'step'"),
    ({"uninformative": "hope"}, "'hope'"),
    ({"window": 0.0}, "window > 0"),
    ({"variance": -1.0}, "variance >= 0"),
    ({"eta": 2.0}, "0 <= eta <= 1"),
    ({"candidates": 2}, "at least three"),
])
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        TimeShift(**change)


def test_bad_views():
    with pytest.raises(ValueError, match="at least one must go and one stay"):
        HighFrequencies(16)(torch.zeros(2, 3, 16, 2), None)
    with pytest.raises(ValueError, match="shows nothing"):
        data_variance(torch.ones(2, 3, 4, 2), everything, mask=torch.zeros(2, 3, 4, dtype=torch.bool))


def test_defaults_run_on_a_variance_preserving_path():
    x = torch.randn(2, 4, 3, generator=seeded())
    with pytest.warns(UserWarning, match="tell noise levels apart"):
        sample(Off(1.0, VPLinear()), uniform_lam(VPLinear(), 5), x, TimeShift())
