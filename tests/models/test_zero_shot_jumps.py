"""Zero-shot inference of jump processes: laws and known answers of the shipped weights, training, and its command."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from trajlab.cli import fit as fit_command
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.metrics.jumps import path_kl
from trajlab.models.jumps import zero_shot_fit
from trajlab.models.jumps.zero_shot import WEIGHTS, ZeroShot, recipe
from trajlab.models.jumps.zero_shot_config import ZeroShotConfig, prior_of
from trajlab.models.jumps.zero_shot_fit import Objective, TaskStream, group_of, noise_of, noise_to, stretched
from trajlab.nets.count_network import CountOutputs
from trajlab.sources.jump_prior import JumpPrior
from trajlab.sources.jump_prior_config import PriorConfig
from trajlab.train.config import TrainConfig
from trajlab.types import JumpPaths

TINY = ZeroShotConfig(width=12, layers=2, groups=1, pairs=100, most=10, stretch=(0.5, 2.0))
PRIOR = PriorConfig(states=(2, 3), state_weights=(1.0, 1.0), paths=(1, 30))


@pytest.fixture(scope="module", autouse=True)
def few_fresh_tasks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trajlab.models.jumps.zero_shot_validation.BATCHES", 2)
        yield


@pytest.fixture(scope="module")
def shipped():
    if not (WEIGHTS / "model.json").is_file():
        pytest.skip("the weights are not there")
    return ZeroShot.load()


@pytest.fixture(scope="module")
def task():
    return JumpPrior(PriorConfig(own_grid=1.0)).task_at(3, 0, n=5, K=20, L=60, irregular=True, eps=0.01)


def ratchet(seed, paths=300):
    """The discrete flashing ratchet at V = r = b = 1: its generator and `paths` stationary paths of 50 looks over 2.5."""
    off = np.ones((3, 3)) - np.eye(3)
    on = np.exp((np.arange(3)[:, None] - np.arange(3)[None]) / 2) * off
    q = from_rates(np.block([[on, np.eye(3)], [np.eye(3), off]]))
    from trajlab.dynamics.jumps.simulate import simulate

    return q, simulate(q, paths, (2.5, 50), seed=seed)


def map_em(paths):
    """The posterior mode under Gamma(2, 1 / mean rate), no label noise, by expectation-maximisation."""
    data = pair_counts(paths)[0]
    rate = (data.changes + 0.5) / data.total_time / (data.n_states - 1)
    q = from_rates((data.matrix + 1) / (data.exposure[:, None] + 1 / rate))
    for _ in range(40):
        found = evaluate(q, data)
        q = from_rates((found.jumps + 1) / (found.time[:, None] + 1 / rate))
    return q


# --- the shipped weights -------------------------------------------------------------------------------------------------------------------


def test_unit_and_origins_of_clocks(shipped, task):
    paths = task.paths()
    one = shipped.infer(paths)
    shift = torch.linspace(-500, 900, 20, dtype=torch.float64)[paths.path]
    other = shipped.infer(paths.replace(time=paths.time * 1e-6 + shift * 1e-6))
    np.testing.assert_allclose(other.generator * 1e-6, one.generator, rtol=2e-3, atol=1e-9)
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(other.mean[off] + np.log(1e-6), one.mean[off], atol=2e-3)
    np.testing.assert_allclose(other.link, one.link, atol=1e-3)
    assert other.eps == pytest.approx(one.eps, abs=1e-4)


def test_relabelling_permutes(shipped, task):
    paths, order = task.paths(), np.array([4, 2, 0, 1, 3])
    one, other = shipped.infer(paths), shipped.infer(paths.replace(label=torch.from_numpy(np.argsort(order))[paths.label]))
    for name in ("generator", "mean", "std", "link"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name)[np.ix_(order, order)], rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(other.initial, one.initial[order], atol=1e-4)


def test_answers_are_generators_whatever_the_data(shipped):
    zero, clock = torch.zeros(50, dtype=torch.long), torch.arange(50, dtype=torch.float64)
    for n, label in ((2, zero), (3, zero), (3, torch.arange(50) % 3), (20, torch.arange(50) % 7), (40, torch.arange(50) % 40)):
        answer = shipped.infer(JumpPaths(label, clock, zero, n))
        q, clock_of_data = answer.generator, 49 / (float((label.diff() != 0).sum()) + 0.5)
        assert np.isfinite(q).all()
        assert np.abs(q.sum(1)).max() < 1e-9
        assert (q - np.diag(np.diag(q)) >= 0).all()
        assert q.max() < 1e4 / clock_of_data
        assert np.isfinite(answer.std).all()
        assert (answer.link >= 0).all()
        assert (answer.link <= 1).all()
        assert answer.initial.sum() == pytest.approx(1)
        assert 0 <= answer.eps <= 1


def test_many_at_once_is_one_by_one(shipped):
    many = [t.paths() for t in JumpPrior(PRIOR).tasks(5, 8)]
    for one, other in zip([shipped.infer(p) for p in many], shipped.infer_many(many), strict=True):
        np.testing.assert_allclose(one.generator, other.generator, rtol=1e-3)


def test_ratchet(shipped):
    q, paths = ratchet(0)
    rmse = np.sqrt(((shipped.infer(paths).generator - q)[~np.eye(6, dtype=bool)] ** 2).mean())
    assert rmse <= 0.15


def test_one_path_with_wrong_labels_beats_the_posterior_mode(shipped):
    tasks = list(JumpPrior().tasks(300, 17, K=1, L=100, eps=0.01))
    net = [path_kl(t.q, shipped.infer(t.paths()).generator) for t in tasks]
    mode = [path_kl(t.q, map_em(t.paths())) for t in tasks]
    assert np.median(net) < np.median(mode)
    assert np.mean(net) < np.mean(mode)


def test_intervals_cover_and_noise_is_found(shipped):
    inside, levels = [], []
    for t in JumpPrior().tasks(60, 23, L=100, K=30):
        answer = shipped.infer(t.paths())
        low, high = answer.interval(0.9)
        there = t.q > 0
        inside.append(((low < t.q) & (t.q < high))[there])
        levels.append((t.eps, answer.eps))
    assert 0.83 < np.concatenate(inside).mean() < 0.97
    assert np.corrcoef(np.array(levels).T)[0, 1] > 0.8


def test_a_call_is_quick(shipped):
    paths = JumpPrior().task_at(1, 0, n=6, K=50, L=100).paths()
    shipped.infer(paths)
    spent = []
    for _ in range(15):
        begin = time.thread_time()
        shipped.infer(paths)
        spent.append(time.thread_time() - begin)
    assert min(spent) < 0.006  # twice the bar, for slow machines


def test_the_record_says_how(shipped):
    about = json.loads((WEIGHTS / "model.json").read_text())["about"]
    assert about["command"].startswith("trajlab fit jumps --prior")
    assert about["steps"] > 0
    assert about["accuracy"]["as published"]["nll"] < 0
    assert sum(f.stat().st_size for f in WEIGHTS.iterdir()) < 2e6


# --- training ------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    model = ZeroShot(TINY)
    return model.fit(PRIOR, replace(recipe(80), warmup=8, lr=6e-3, ema=0.9, validate_every=80), progress=False)


def test_a_short_training_learns(trained):
    scores = trained.about["validation"]
    untrained = ZeroShot(TINY).fit(PRIOR, recipe(1), progress=False).about["validation"]
    for name in ("nll", "link", "point", "loss"):
        assert scores[name] < 0.97 * untrained[name], name
    paths = JumpPrior(PRIOR).task_at(9, 0, n=3, K=30).paths()
    assert np.isfinite(trained.infer(paths).generator).all()


def test_batches_are_functions_of_seed_and_number():
    one, other = TaskStream(PRIOR, TINY, 6, 4), TaskStream(PRIOR, TINY, 6, 4)
    order = [int(i) for i in one.order.shuffle(0)]
    drawn = [one.batch(torch.tensor([i]))[0] for i in order]
    for index, group in zip(order, drawn, strict=True):
        torch.testing.assert_close(other.draw(index)[0].pairs, group.pairs, rtol=0, atol=0)
    assert not torch.equal(drawn[0].rate.flatten()[:4], drawn[1].rate.flatten()[:4])
    assert one.fingerprint == other.fingerprint != TaskStream(PRIOR, TINY, 6, 5).fingerprint


def test_cut_off_and_resumed_is_as_if_never_stopped(tmp_path, monkeypatch):
    """A kill leaves the same checkpoint: the loop writes it whole or not at all (tests/train)."""
    train = replace(recipe(20, seed=2), save_every_seconds=0.0, validate_every=20)
    whole = ZeroShot(TINY).fit(PRIOR, train, progress=False)
    calls, batch = [], TaskStream.batch

    def cut_off(self, indices):
        calls.append(0)
        if len(calls) == 9:
            raise OSError("cut off")
        return batch(self, indices)

    with monkeypatch.context() as patch:
        patch.setattr(TaskStream, "batch", cut_off)
        with pytest.raises(OSError, match="cut off"):
            ZeroShot(TINY).fit(PRIOR, train, tmp_path, progress=False)
    assert ZeroShot.from_checkpoint(tmp_path, TINY).about["steps"] == 8
    resumed = ZeroShot(TINY).fit(PRIOR, train, tmp_path, progress=False)
    for a, b in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_stretched_paths_keep_the_number_of_looks():
    long, short = stretched(PriorConfig(), 10.0), stretched(PriorConfig(), 0.1)
    assert (long.horizon, long.looks, long.paths) == (100.0, (200, 1000), (1, 30))
    assert (short.horizon, short.looks, short.paths) == (1.0, (2, 10), (1, 3000))


def test_the_point_estimate_is_the_weighted_mean():
    """Two processes that look the same: the loss is least where h = E[w q] / E[w]."""
    tasks = [JumpPrior().task_at(0, k, n=3, K=2, L=20) for k in (0, 1)]
    group = group_of([tasks[0], replace(tasks[0], q=tasks[1].q)])
    group = replace(group, scale=torch.full((2,), 1e-4))  # far below where its logarithm counts

    class Says(torch.nn.Module):
        rate = torch.zeros(3, 3, requires_grad=True)

        def forward(self, pairs):
            still = torch.zeros(2, 3, 3)
            return CountOutputs(still, still, still, self.rate.expand(2, 3, 3), torch.zeros(2, 2), torch.zeros(2, 3))

    says = Says()
    best = torch.optim.LBFGS([says.rate], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=1e-14)

    def closure():
        best.zero_grad()
        loss = 1e4 * Objective(TINY).parts(says, group)["point"].mean()
        loss.backward()
        return loss

    best.step(closure)
    w = group.weight[:, :, None]
    wanted = (w * group.rate).sum(0) / w.sum(0)
    found = zero_shot_fit.log_point(group.base[0], says.rate).exp().detach()
    off = (wanted > 0) & ~torch.eye(3, dtype=torch.bool)
    torch.testing.assert_close(found[off], wanted[off], rtol=0.02, atol=1e-4)


def test_scale_of_noise():
    levels = np.array([0.0, 0.01, 0.1, 0.5])
    np.testing.assert_allclose(noise_of(noise_to(levels)), levels, atol=1e-12)


def test_saved_and_loaded(trained, tmp_path):
    paths = JumpPrior(PRIOR).task_at(11, 0).paths()
    exact = ZeroShot.load(trained.save(tmp_path / "a", half=False)).infer(paths).generator
    np.testing.assert_array_equal(exact, trained.infer(paths).generator)
    np.testing.assert_allclose(ZeroShot.load(trained.save(tmp_path / "b")).infer(paths).generator, exact, rtol=0.02)


def test_command(tmp_path, capsys):
    (tmp_path / "prior.toml").write_text("states = [2, 3]\nstate_weights = [1, 2]\npaths = [1, 5]\nbirth_death = 1.0\n")
    prior = str(tmp_path / "prior.toml")
    fit_command.run(["jumps", "--prior", prior, "--steps", "3", "--width", "8", "--layers", "1", "--out", str(tmp_path), "--quiet"])
    assert "as published" in capsys.readouterr().out
    model = ZeroShot.load(tmp_path)
    assert model.config.width == 8
    assert model.about["prior"]["birth_death"] == 1.0
    assert model.about["command"].startswith("trajlab fit jumps --prior")


def test_bad_input(trained, tmp_path):
    paths = JumpPrior(PRIOR).task_at(12, 0).paths()
    with pytest.raises(TypeError, match="wants JumpPaths, and got list"):
        trained.infer_many([[1, 2]])
    with pytest.raises(ValueError, match="kind 'entry'"):
        trained.infer(paths.replace(observed=torch.full_like(paths.observed, JumpPaths.ENTRY)))
    with pytest.raises(ValueError, match="no weights"):
        ZeroShot().infer(paths)
    with pytest.raises(ValueError, match="holds no model"):
        ZeroShot.load(tmp_path)
    with pytest.raises(ValueError, match="holds no checkpoint"):
        ZeroShot.from_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="steps=None, batch=1"):
        ZeroShot(TINY).fit(PRIOR, TrainConfig(minutes=1, batch=1))
    with pytest.raises(ValueError, match="did you mean 'published'"):
        prior_of("publishd")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml"):
        prior_of("nowhere.toml")
    (tmp_path / "wrong.toml").write_text("pathz = 3")
    with pytest.raises(ValueError, match="did you mean 'paths'"):
        prior_of(str(tmp_path / "wrong.toml"))
    with pytest.raises(ValueError, match="layers is 0"):
        ZeroShotConfig(layers=0)
    with pytest.raises(ValueError, match=r"level of an interval is 1\.5"):
        trained.infer(paths).interval(1.5)
