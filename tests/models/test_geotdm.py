"""GeoTDM: its verbs, laws, files, and what it says to bad input."""

from __future__ import annotations

import math

import pytest
import torch
from laws.noise_to_data import Changed, turn
from models.geotdm_systems import FRAMES, config, fitted, springs

import trajlab as tl
from trajlab.models import geotdm_sampling
from trajlab.models.geotdm import GeoTDM, GeoTDMConfig
from trajlab.models.geotdm_sampling import Sampling
from trajlab.samplers.ancestral import Ancestral
from trajlab.samplers.dopri5 import Control
from trajlab.samplers.likelihood import LikelihoodConfig
from trajlab.samplers.noise import RowNoise
from trajlab.train.config import TrainConfig

GIVEN, AHEAD = FRAMES
NETS = {"frame_channels": {}, "egtn": {"net": "egtn"}, "learned prior": {"net": "egtn", "prior": "learned"},
        "nearest": {"edges": "knn", "k": 2}, "velocity": {"prior": "velocity"}, "rollout": {"prior": "rollout"}}


@pytest.fixture(scope="module")
def data():
    return springs(40, 0)


@pytest.fixture(scope="module")
def model(data):
    return fitted(data)


@pytest.fixture(scope="module")
def trained():
    made = GeoTDM(config(channels=16, width=32, dtype="float32"))
    return made.fit(springs(400, 1), train=TrainConfig(steps=250, batch=64, lr=4e-3, clip=0.3), progress=False)


@pytest.fixture(scope="module", params=NETS)
def each(request, data):
    return fitted(data, **NETS[request.param])


@pytest.fixture
def past():
    return springs(6, 5).frames(slice(0, GIVEN))


def moved(data, change, static=None):
    return data.replace(x=change(data.x), static=static or data.static)


class TestLaws:
    def test_turns_reflects_and_shifts_with_its_input(self, each, past, monkeypatch):
        plain = each.forecast(past, draws=2, evaluations=4)
        for reflect in (False, True):
            q = turn(reflect=reflect)
            changed = lambda generator, rows: _rows(Changed(generator, lambda z: z @ q, lambda z: z @ q.T), rows)  # noqa: B023, E731
            monkeypatch.setattr(geotdm_sampling, "RowNoise", changed)
            other = each.forecast(moved(past, lambda x: x @ q + torch.tensor([30.0, -20.0, 5.0])), draws=2, evaluations=4)  # noqa: B023
            torch.testing.assert_close(other.draws, plain.draws @ q + torch.tensor([30.0, -20.0, 5.0], dtype=torch.float64), rtol=1e-6, atol=1e-7)

    def test_permutes_with_its_nodes(self, each, past, monkeypatch):
        one = past.scenes([0])
        order = torch.tensor([2, 0, 1])
        plain = each.forecast(one, draws=2, evaluations=4)
        changed = lambda generator, rows: _rows(Changed(generator, lambda z: z[:, order], lambda z: z[:, order.argsort()]), rows)  # noqa: E731
        monkeypatch.setattr(geotdm_sampling, "RowNoise", changed)
        other = each.forecast(one.replace(x=one.x[order], static={"charge": one.static["charge"][order]}), draws=2, evaluations=4)
        torch.testing.assert_close(other.draws, plain.draws[:, order], rtol=1e-6, atol=1e-7)

    def test_a_scene_does_not_depend_on_its_mates_nor_a_draw_on_their_number(self, each, past, monkeypatch):
        """Alone a scene has no padding, and its noise is that of its padded row."""
        whole = each.forecast(past, draws=3, evaluations=4)
        widths = past.sizes.max() - past.sizes[:1]
        wider = lambda z: torch.cat([z, z.new_zeros(len(z), int(widths), *z.shape[2:])], 1)  # noqa: E731
        count = int(past.sizes[0])
        streams = {0: 0, 1: past.n_scenes, 2: 2 * past.n_scenes}
        changed = lambda generator, rows: _rows(Changed(generator, lambda z: z[:, :count], wider), [streams[r] for r in rows])  # noqa: E731
        monkeypatch.setattr(geotdm_sampling, "RowNoise", changed)
        alone = each.forecast(past.scenes([0]), draws=2, evaluations=4, how=Sampling(evaluations=4, rows=1))
        torch.testing.assert_close(alone.draws, whole.draws[:2, :count], rtol=1e-7, atol=1e-8)

    def test_the_clock_may_start_anywhere(self, each, past):
        later = past.replace(time=past.time + 1000.0)
        torch.testing.assert_close(each.forecast(later, draws=1, evaluations=4).draws, each.forecast(past, draws=1, evaluations=4).draws)

    def test_log_density_is_invariant(self):
        model, windows = fitted(springs(30, 0, dim=2, sizes=(2,))), springs(2, 9, dim=2, sizes=(2,))
        q = torch.tensor([[0.6, 0.8], [0.8, -0.6]], dtype=torch.float64)
        turned = moved(windows, lambda x: x @ q + 7.0)
        how = LikelihoodConfig(start=-2.0, stop=1.0, control=Control(1e-4, 1e-4))
        density = model.log_likelihood(windows, how)
        torch.testing.assert_close(model.log_likelihood(turned, how), density, rtol=0, atol=2e-3)
        order = torch.tensor([1, 0, 3, 2])
        swapped = windows.replace(x=windows.x[order], static={"charge": windows.static["charge"][order]})
        torch.testing.assert_close(model.log_likelihood(swapped, how), density, rtol=0, atol=2e-3)


def _rows(noise, rows):
    noise._rows = list(rows)
    return noise


class TestForecast:
    def test_it_learns_what_the_reference_does_not_know(self, trained):
        """Springs are linear with coefficients that depend on the charges: the net must beat the ridge whose residual it diffuses."""
        test = springs(60, 2)
        found = trained.forecast(test.frames(slice(0, GIVEN)), draws=8, evaluations=8)
        error = lambda x: float((x - test.x[:, GIVEN:]).norm(dim=-1).mean())  # noqa: E731
        assert error(found.draws.mean(0)) < 0.6 * error(_packed(trained, test))

    def test_any_solver_and_its_clock(self, model, past):
        found = model.forecast(past, draws=2, how=Sampling(evaluations=6, solver=Ancestral()))
        assert found.draws.shape == (2, past.n_nodes, AHEAD, 3)
        torch.testing.assert_close(found.time[0], 0.2 * torch.arange(GIVEN, GIVEN + AHEAD, dtype=torch.float64))
        assert found.provenance["method"] == "geotdm"

    def test_the_seed_decides(self, model, past):
        one, same, other = (model.forecast(past, draws=2, evaluations=4, seed=s).draws for s in (1, 1, 2))
        assert torch.equal(one, same)
        assert float((one - other).abs().max()) > 1e-3
        assert float((one[0] - one[1]).abs().max()) > 1e-3

    def test_longer_than_a_window(self, model, past):
        found = model.forecast(past, 2 * AHEAD + 1, draws=2, evaluations=4)
        assert found.draws.shape[2] == 2 * AHEAD + 1
        torch.testing.assert_close(found.draws[:, :, :AHEAD], model.forecast(past, draws=2, evaluations=4).draws)

    def test_frames_that_are_known_are_kept(self, trained):
        model, windows = trained, springs(20, 5)
        truth, known = windows.x[:, GIVEN:], torch.zeros(windows.n_nodes, AHEAD, dtype=torch.bool)
        known[:, -1] = True
        found = model.forecast(windows.frames(slice(0, GIVEN)), draws=4, evaluations=25, observed=(truth.where(known[..., None], torch.nan), known))
        assert float((found.draws[:, :, -1] - truth[:, -1]).norm(dim=-1).mean()) < 0.02
        free = model.forecast(windows.frames(slice(0, GIVEN)), draws=4, evaluations=25)
        error = lambda f: float((f.draws - truth).norm(dim=-1)[:, :, :-1].mean())  # noqa: E731
        assert error(found) < error(free)

    def test_steering_and_rejection(self, model, data, past):
        still = lambda x: x[:, :, -1].square().sum((1, 2))  # noqa: E731
        free, steered = (model.forecast(past, draws=2, how=Sampling(evaluations=20, guide=g)) for g in (None, still))
        assert float(steered.draws[:, :, -1].norm(dim=-1).mean()) < float(free.draws[:, :, -1].norm(dim=-1).mean())
        threshold = model.calibrate(data, loss=0.2)
        weight = model.forecast(past, draws=20, how=Sampling(reject=threshold)).log_weight
        assert weight.shape == (20, 6)
        assert 0.02 < float(weight.isinf().float().mean()) < 0.6

    def test_guidance_of_a_model_fitted_with_dropped_pasts(self, data, past):
        model = fitted(data, drop=0.3)
        plain, guided = (model.forecast(past, draws=1, how=Sampling(evaluations=4, weight=w)).draws for w in (1.0, 2.0))
        assert bool(torch.isfinite(guided).all())
        assert not torch.allclose(plain, guided)


def _packed(model, windows):
    from trajlab.data.dense import dense

    block = dense(windows)
    return block.pack(model.fitted.forecast(block))


class TestOtherVerbs:
    def test_windows_from_nothing(self, data):
        model = fitted(data, given=0, predicted=9)
        drawn = model.sample(5, like=data, evaluations=6)
        assert drawn.n_scenes == 5
        assert float(drawn.x.reshape(5, 3, 9, 3).mean((1, 2)).abs().max()) < 1e-9
        assert model.refine(springs(2, 3), 0.4).x.shape == (5, 9, 3)
        with pytest.raises(ValueError, match="has no past to go on from"):
            model.forecast(data)

    def test_rough_windows_are_kept_or_forgotten(self, model):
        windows = springs(6, 5)
        rough = windows.replace(x=windows.x + 0.3 * torch.randn(windows.x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
        little, much = (model.refine(rough, strength) for strength in (0.05, 1.0))
        assert torch.equal(little.x[:, :GIVEN], rough.x[:, :GIVEN])
        off = lambda made: float((made.x - rough.x).norm(dim=-1).mean())  # noqa: E731
        assert off(little) < off(much)
        with pytest.raises(ValueError, match="strength=0"):
            model.refine(rough, 0.0)

    def test_saved_and_loaded(self, each, past, tmp_path):
        again = GeoTDM.load(each.save(tmp_path / "run"))
        assert torch.equal(again.forecast(past, draws=1, evaluations=4).draws, each.forecast(past, draws=1, evaluations=4).draws)
        assert repr(again) == repr(each)

    def test_a_killed_fit_goes_on(self, data, tmp_path):
        train = TrainConfig(steps=6, batch=16, save_every_seconds=0, precision="64-true")
        whole = GeoTDM(config()).fit(data, train=train, progress=False)
        GeoTDM(config()).fit(data, train=train, folder=tmp_path, progress=False)
        resumed = GeoTDM(config()).fit(data, train=train, folder=tmp_path, progress=False)
        for a, b in zip(whole.fitted.parameters(), resumed.fitted.parameters()):
            assert torch.equal(a, b)


class TestWhatMayCome:
    def test_missing_frames_and_late_agents(self, data):
        hidden = torch.ones_like(data.mask)
        hidden[::7, 1] = False
        hidden[3, :2] = False
        hidden[5, :GIVEN] = False
        gaps = data.replace(mask=hidden, x=torch.where(hidden[..., None], data.x, torch.nan))
        model = fitted(gaps)
        found = model.forecast(gaps.frames(slice(0, GIVEN)), draws=1, evaluations=4)
        assert not bool(found.mask[:, 5].any())
        assert bool(torch.isfinite(found.draws[found.mask]).all())

    def test_coincident_nodes(self, model, past):
        x = past.x.clone()
        x[1] = x[0]
        assert bool(torch.isfinite(model.forecast(past.replace(x=x), draws=1, evaluations=4).draws).all())

    def test_one_frame_is_too_few(self, model, past):
        with pytest.raises(ValueError, match="continues 4 given frames, and the past has 1"):
            model.forecast(past.last(1))
        assert fitted(springs(20, 0, frames=6), given=1, predicted=5, prior="last").forecast(past.last(1), draws=1).draws.shape[2] == 5

    def test_another_unit_is_told(self, model, past):
        with pytest.warns(UserWarning, match="times those of the training data"):
            model.forecast(past.replace(x=10 * past.x), draws=1, evaluations=4)
        with pytest.raises(ValueError, match="convert it"):
            model.forecast(past.replace(units=tl.Units.md()))

    def test_another_spacing_or_kind_is_refused(self, model, past):
        with pytest.raises(ValueError, match="resample them"):
            model.forecast(past.replace(time=2 * past.time))
        with pytest.raises(ValueError, match=r"kinds \[6\] were not in the training data"):
            model.forecast(past.replace(kind=torch.full_like(past.kind, 6)))

    @pytest.mark.parametrize(("changes", "message"), [
        ({"predicted": 0}, "predicted"), ({"given": 1, "prior": "velocity"}, "no velocity"),
        ({"sigma_min": 50.0}, "falling sigma"), ({"given": 0, "edges": "knn"}, "given=0")])
    def test_bad_settings(self, changes, message):
        with pytest.raises(ValueError, match=message):
            GeoTDMConfig(**changes)

    def test_bad_windows(self, data, model, past):
        with pytest.raises(ValueError, match="9 frames, but a window has 10 given and 20"):
            GeoTDM(GeoTDMConfig()).fit(data)
        with pytest.raises(ValueError, match="charge"):
            fitted(data.replace(static={}))
        straight = data.replace(x=data.x[:, :1] + data.time[data.scene][..., None])
        with pytest.raises(ValueError, match="leaves no residual"):
            fitted(straight, prior="velocity")
        with pytest.raises(ValueError, match="not been fitted"):
            GeoTDM().forecast(past)
        with pytest.raises(ValueError, match="observed has shapes"):
            model.forecast(past, observed=(past.x, past.mask))
        with pytest.raises(ValueError, match="holds no model"):
            GeoTDM.load("/nowhere")
        with pytest.raises(ValueError, match="evaluations=1"):
            Sampling(evaluations=1)

    def test_two_dimensions_and_one_node(self):
        data = springs(30, 0, dim=2, sizes=(1, 2))
        found = fitted(data).forecast(data.frames(slice(0, GIVEN)), draws=2, evaluations=4)
        assert found.draws.shape[-1] == 2
        assert math.isfinite(float(found.draws.sum()))


def test_presets():
    assert GeoTDMConfig.paper().net == "egtn"
    assert all(getattr(GeoTDMConfig, name)() for name in ("default", "nbody", "molecule", "pedestrians", "paper"))
    assert RowNoise is geotdm_sampling.RowNoise
