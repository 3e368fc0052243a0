import math
from itertools import pairwise

import pytest
import torch
from samplers.ring_of_modes import FIRST, LAST, MIXTURE, PATH, nodes, reference, start

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import Rectified
from trajlab.samplers.dpm_solver import DPMSolver
from trajlab.samplers.dpm_solver_adaptive import DPMSolverAdaptive
from trajlab.samplers.grids import Grid, at_times
from trajlab.samplers.hooks import Hook
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import gaussian


class Counted:
    """Counts the calls of a denoiser."""

    def __init__(self, denoiser):
        self.denoiser, self.path, self.calls = denoiser, denoiser.path, 0

    def __call__(self, x, level, **condition):
        self.calls += 1
        return self.denoiser(x, level, **condition)


def adapt(x, solver, grid=None, denoiser=None, **more):
    """The samples, and what every row took."""
    told = []
    settings = {name: getattr(solver, name) for name in ("order", "kind", "first", "atol", "rtol", "theta", "most")}
    out = sample(denoiser or MIXTURE.denoiser(PATH), grid or nodes(1), x, DPMSolverAdaptive(**settings, tell=told.append), **more)
    return out, told[0]


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("kind", ["eps", "x0"])
def test_one_step_is_that_of_the_table(order, kind):
    whole = DPMSolverAdaptive(order, kind, first=100.0, atol=1e9)
    out, took = adapt(start(), whole)
    torch.testing.assert_close(out.x, sample(MIXTURE.denoiser(PATH), nodes(1), start(), DPMSolver(order, kind)).x, rtol=1e-9, atol=1e-9)
    assert out.nfe == order
    assert took.calls.tolist() == [order] * 32
    assert took.steps.tolist() == [1] * 32


@pytest.mark.parametrize(("order", "kind", "error", "worst", "calls"),
                         [(2, "eps", 0.02, 0.1, 43), (3, "eps", 0.007, 3.0, 34), (2, "x0", 0.035, 0.25, 24), (3, "x0", 0.007, 0.05, 28)])
def test_error_and_calls_at_the_published_tolerance(order, kind, error, worst, calls):
    out, took = adapt(start(64), DPMSolverAdaptive(order, kind))
    far = (out.x - reference(64)).norm(dim=1)
    assert float(far.median()) < error
    assert float(far.max()) < worst
    assert float(took.calls.double().mean()) < calls
    # What a step needs, less the first call of a step made again, which is kept.
    assert torch.equal(took.calls, order * took.steps + (order - 1) * took.rejected)


@pytest.mark.parametrize("order", [2, 3])
def test_tolerance_buys_accuracy(order):
    far, calls = [], []
    for much in (1.0, 0.1, 0.01):
        out, took = adapt(start(), DPMSolverAdaptive(order, atol=0.0078 * much, rtol=0.05 * much))
        far.append(float((out.x - reference()).norm(dim=1).median()))
        calls.append(float(took.calls.double().mean()))
    assert far[0] > 3 * far[1] > 9 * far[2]
    assert calls[0] < calls[1] < calls[2]


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("end", ["stop", "denoise"])
def test_a_row_alone_is_the_row_in_its_batch(order, end):
    solver = DPMSolverAdaptive(order)
    together, took = adapt(start(), solver, nodes(1, end))
    assert len(set(took.steps.tolist())) > 1
    for row in (0, 3, 17):
        alone, own = adapt(start()[row : row + 1], solver, nodes(1, end))
        torch.testing.assert_close(alone.x, together.x[row : row + 1], rtol=1e-10, atol=1e-10)
        assert (int(own.calls), int(own.steps), int(own.rejected)) == (int(took.calls[row]), int(took.steps[row]), int(took.rejected[row]))


def test_hooks_act_on_steps_that_count_alone():
    class Nudge(Hook):
        def after_step(self, x, prediction, level):
            return x + 0.01

        def before_model(self, x, level):
            return x + 0.001

    solver = DPMSolverAdaptive(3)
    together, _ = adapt(start(), solver, hooks=[Nudge()])
    alone, _ = adapt(start()[4:5], solver, hooks=[Nudge()])
    torch.testing.assert_close(alone.x, together.x[4:5], rtol=1e-10, atol=1e-10)
    assert float((together.x - adapt(start(), solver)[0].x).abs().min()) > 1e-3


def test_calls_are_counted():
    denoiser = Counted(MIXTURE.denoiser(PATH))
    out, took = adapt(start(), DPMSolverAdaptive(3), nodes(1, "denoise"), denoiser)
    assert out.nfe == denoiser.calls
    assert int(took.calls.max()) <= out.nfe
    one, own = adapt(start()[:1], DPMSolverAdaptive(3))
    assert one.nfe == int(own.calls)


def test_only_the_ends_of_the_grid_matter():
    a, b = (adapt(start(), DPMSolverAdaptive(3), nodes(steps, "denoise")) for steps in (1, 9))
    assert torch.equal(a[0].x, b[0].x)
    c, _ = adapt(start(), DPMSolverAdaptive(3), Grid(PATH, torch.tensor([FIRST, LAST, math.inf], dtype=torch.float64), "stop"))
    torch.testing.assert_close(c.x, a[0].x, rtol=1e-12, atol=1e-12)
    assert c.nfe == a[0].nfe


def test_watchers_see_where_every_row_is():
    seen = []
    adapt(start(), DPMSolverAdaptive(3), watch=seen.append)
    assert all(step.level.lam.shape == (32, 1) for step in seen)
    torch.testing.assert_close(seen[-1].level.lam, torch.full((32, 1), LAST, dtype=torch.float64))
    for before, after in pairwise(seen):
        stood = (after.level.lam == before.level.lam)[:, 0]
        assert torch.equal(after.x[stood], before.x[stood])


@pytest.mark.parametrize("order", [2, 3])
def test_what_is_hidden_does_not_count(order):
    def two_points(x, t):
        alpha, sigma = (w.reshape(-1, 1, 1, 1) for w in PATH.scales(PATH.lam_of(t)))
        return torch.tanh(alpha * x / sigma**2)

    denoiser = Denoiser(two_points, PATH, "x0")
    x = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain, took = adapt(x, DPMSolverAdaptive(order), denoiser=denoiser)
    padded = torch.cat([x, torch.full((3, 6, 5, 2), 3.0, dtype=torch.float64)], 1)
    mask = torch.arange(10).expand(3, 10) < 4
    out, own = adapt(padded, DPMSolverAdaptive(order), denoiser=denoiser, mask=mask)
    torch.testing.assert_close(out.x[:, :4], plain.x, rtol=1e-10, atol=1e-10)
    assert torch.equal(own.steps, took.steps)
    assert float(out.x[:, 4:].abs().max()) == 0


@pytest.mark.parametrize("order", [2, 3])
def test_data_in_one_point_take_long_steps(order):
    mean = torch.tensor([0.7, -1.2], dtype=torch.float64)
    out, took = adapt(start(), DPMSolverAdaptive(order, "x0"), denoiser=gaussian(mean, torch.zeros(2, 2)).denoiser(PATH))
    first, last = nodes(1).levels
    torch.testing.assert_close(out.x, last.alpha * mean + last.sigma * (start() - first.alpha * mean) / first.sigma, rtol=1e-10, atol=1e-10)
    assert int(took.steps.max()) == 2


def test_rows_of_single_numbers():
    out, _ = adapt(start()[:, 0], DPMSolverAdaptive(3), denoiser=Denoiser(lambda x, t: 0.5 * x, PATH, "x0"))
    assert out.x.shape == (32,)


def test_a_run_that_does_not_arrive():
    with pytest.raises(RuntimeError, match=r"rows have not arrived after 5 steps; row 0 is at lam = -.* Loosen atol and rtol"):
        adapt(start(), DPMSolverAdaptive(3, most=5))


def test_a_denoiser_that_breaks():
    def broken(x, t):
        return torch.where((t > 0.5)[:, None] & (torch.arange(len(x)) == 2)[:, None], torch.nan, 0.5) * x

    with pytest.raises(RuntimeError, match="row 2 is not finite"):
        adapt(start(), DPMSolverAdaptive(2), denoiser=Denoiser(broken, PATH, "x0"))


@pytest.mark.parametrize(("settings", "words"), [({"order": 1}, "order 2"), ({"kind": "v"}, "kind for adaptive"), ({"first": 0.0}, "first = 0"),
                                                ({"atol": -1.0}, "atol = -1"), ({"theta": 0.0}, "theta"), ({"most": 0}, "most = 0")])
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        DPMSolverAdaptive(**settings)


def test_cannot_start_from_pure_noise():
    for kind in ("eps", "x0"):
        with pytest.raises(ValueError, match="cannot start at alpha = 0"):
            adapt(start(), DPMSolverAdaptive(kind=kind), at_times(Rectified(), [0.0, 0.9]), MIXTURE.denoiser(Rectified()))
