"""Models of other libraries: each is asked through its own interface, here by small stand-ins with the same methods."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from trajlab.data.adapters.arrays import from_numpy
from trajlab.data.adapters.gluonts import from_gluonts as read_records
from trajlab.data.adapters.gluonts import to_gluonts
from trajlab.models.foreign import from_darts, from_function, from_gluonts, from_sktime

RAMP = np.stack([np.arange(20.0), -2 * np.arange(20.0)], 1)  # [time dim]; continued exactly by its drift


def drift(y, steps):
    return y[-1] + np.arange(1, steps + 1).reshape(-1, *[1] * (y.ndim - 1)) * (y[-1] - y[-2])


EXPECTED = drift(RAMP, 7)


def answer(forecaster, steps=7, draws=1, x=RAMP):
    return forecaster.forecast(from_numpy(x, 0.5), steps, draws=draws).draws[:, 0].numpy()


def test_functions():
    assert np.allclose(answer(from_function(drift)), EXPECTED)
    noisy = from_function(lambda context, steps, draws, rng: drift(context, steps) + rng.normal(size=(draws, 1, 1)), name="noisy")
    two = answer(noisy, draws=3)
    assert two.shape == (3, 7, 2)
    assert np.array_equal(two, answer(noisy, draws=3))
    assert not np.allclose(two[0], two[1])
    with pytest.raises(ValueError, match=r"lazy answered with an array of shape \(1, 3, 2\)"):
        answer(from_function(lambda context, steps: drift(context, 3), name="lazy"))
    with pytest.raises(TypeError, match="a function"):
        from_function(3)


class Predictor:
    """Drift with prediction length 3, as gluonts predictors answer."""

    def __init__(self, multivariate=False):
        self.asked, self.multivariate = 0, multivariate

    def predict(self, dataset, num_samples=100):
        for record in dataset:
            self.asked += 1
            y = np.asarray(record["target"], dtype=float)
            assert y.ndim == (2 if self.multivariate else 1)
            assert record["start"].freqstr == "h"
            ahead = drift(y.T if self.multivariate else y, 3)
            yield SimpleNamespace(samples=np.stack([ahead] * num_samples), item_id=record["item_id"])


@pytest.mark.parametrize("multivariate", [False, True])
def test_gluonts_predictors_go_on_from_their_own_samples(multivariate):
    predictor = Predictor(multivariate)
    out = answer(from_gluonts(predictor, multivariate=multivariate, freq="h"), draws=4)
    assert out.shape == (4, 7, 2)
    assert np.allclose(out, EXPECTED)
    series = 1 if multivariate else 2
    assert predictor.asked == series * (1 + 4 + 4)  # 3 frames, then two blocks for each of the 4 draws


def test_gluonts_forecasts_with_quantiles_alone():
    class Quantiles:
        def predict(self, dataset):
            return [SimpleNamespace(quantile=lambda q: np.full(7, q)) for _ in dataset]

    out = answer(from_gluonts(Quantiles()), draws=4)
    assert np.allclose(out[:, 0, 0], [0.125, 0.375, 0.625, 0.875])


def test_a_real_gluonts_predictor():
    naive = pytest.importorskip("gluonts.model.seasonal_naive")
    out = answer(from_gluonts(naive.SeasonalNaivePredictor(prediction_length=4, season_length=2)))
    assert np.allclose(out[0, :, 0], [18, 19, 18, 19, 18, 19, 18])


class TimeSeries:
    def __init__(self, values):
        self.values = values  # [time component sample]

    @classmethod
    def from_values(cls, values):
        return cls(np.asarray(values)[..., None])

    def all_values(self):
        return self.values


class DartsModel:
    def __init__(self):
        self.fits, self.series = [], None

    def untrained_model(self):
        fresh = DartsModel()
        fresh.fits = self.fits  # shared, to count
        return fresh

    def fit(self, series):
        self.series = series
        self.fits.append(series)

    def predict(self, n, series=None, num_samples=1):
        return TimeSeries(np.repeat(drift((series or self.series).values, n), num_samples, -1))


def test_darts_models(monkeypatch):
    package = ModuleType("darts")
    package.TimeSeries = TimeSeries
    monkeypatch.setitem(sys.modules, "darts", package)
    model = DartsModel()
    out = answer(from_darts(model), draws=3)
    assert out.shape == (3, 7, 2)
    assert np.allclose(out, EXPECTED)
    assert len(model.fits) == 1
    assert model.series is None  # a copy was fitted
    answer(from_darts(model, fitted=True))
    assert len(model.fits) == 1


def test_darts_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "darts", None)
    with pytest.raises(ImportError, match="pip install darts"):
        answer(from_darts(DartsModel()))


class SktimeForecaster:
    def clone(self):
        return SktimeForecaster()

    def fit(self, y, fh=None):
        self.y, self.fh = y, fh
        return self

    def predict(self):
        assert list(self.fh) == list(range(1, len(self.fh) + 1))
        return drift(self.y.to_numpy(), len(self.fh))


def test_sktime_forecasters():
    assert np.allclose(answer(from_sktime(SktimeForecaster())), EXPECTED)
    assert np.allclose(answer(from_sktime(SktimeForecaster()), x=RAMP[:, :1]), EXPECTED[:, :1])


@pytest.mark.parametrize(("door", "model"), [(from_sktime, 3), (from_darts, DartsModel), (from_gluonts, object())])
def test_what_is_no_such_model_is_refused(door, model):
    with pytest.raises(TypeError, match=f"{door.__name__} got .* was wanted, an object with"):
        door(model)


def test_records_and_back(generator):
    import torch

    x = torch.randn(3, 12, 2, generator=generator).numpy()
    trajectories = from_numpy(np.swapaxes(x, 0, 1)[None], 0.1)
    records = to_gluonts(trajectories, freq="h")
    assert records[0]["target"].shape == (2, 12)
    assert len({r["item_id"] for r in records}) == 3
    back = read_records(records, spacing=0.1)
    assert np.array_equal(back.x.numpy(), x.astype(np.float32))
    assert back.spacing == pytest.approx(0.1)
    assert (back.n_scenes, back.n_nodes) == (3, 3)


def test_records_of_other_lengths_and_with_gaps():
    back = read_records([{"target": [1.0, np.nan, 3.0], "item_id": "a"}, {"target": [4.0, 5.0]}])
    assert back.mask.tolist() == [[True, False, True], [True, True, False]]
    again = to_gluonts(back)
    assert again[0]["target"].shape == (3,)
    assert np.isnan(again[0]["target"][1])
    with pytest.raises(ValueError, match="a target was wanted"):
        read_records([{"values": [1.0]}])
    with pytest.raises(ValueError, match=r"2 records with \[1, 2\] channels"):
        read_records([{"target": [1.0]}, {"target": [[1.0], [2.0]]}])
    with pytest.raises(ValueError, match="0 records"):
        read_records([])
