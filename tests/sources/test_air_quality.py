"""Air quality and sensor sets: the compass, files that are right and files that are not, parts in time, and the real sets where they are."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

from trajlab.catalog import load
from trajlab.evaluate.air_quality import DAMPED, plain_methods, run
from trajlab.evaluate.air_quality_extra import metr_la_persistence, metr_la_table
from trajlab.evaluate.air_quality_protocol import Task
from trajlab.evaluate.bars import as_text
from trajlab.sources import SENSOR_SETS
from trajlab.sources.air_quality import compass, metr_la_week, prsa, read_prsa, station_list, time_parts
from trajlab.sources.air_quality_cards import COORDINATES, STATIONS, sensor_card, station_card

HEAD = '"No","year","month","day","hour","PM2.5","PM10","SO2","NO2","CO","O3","TEMP","PRES","DEWP","RAIN","wd","WSPM","station"'


def rows(n: int = 6, **changes: str) -> list[str]:
    """Lines of a file: hours from 2013-02-28 22:00, one field a row replaced where asked for, as ``row_column``."""
    out = []
    for k in range(n):
        hour, day, month = (22 + k) % 24, 28 if k < 2 else 1, 2 if k < 2 else 3
        fields = [str(k + 1), "2013", str(month), str(day), str(hour), f"{10 + k}", "20", "NA", "30", "300", "77", "-0.7", "1023", "-18.8", "0",
                  '"N"', "2", '"Dongsi"']
        for where, value in changes.items():
            row, column = (int(v) for v in where.removeprefix("at_").split("_"))
            if row == k:
                fields[column] = value
        out.append(",".join(fields))
    return out


def written(tmp_path, lines: list[str], head: str = HEAD, packed: bool = False):
    path = tmp_path / ("one.csv.gz" if packed else "one.csv")
    text = ("\n".join([head, *lines]) + "\n").encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    return path


def test_the_compass():
    assert compass(["N", "E", "S", "W", "NNE", "NW"]).tolist() == [0, 90, 180, 270, 22.5, 315]
    assert np.isnan(compass(["NA", ""])).all()
    with pytest.raises(ValueError, match="'north' is no point"):
        compass(["N", "north"])


@pytest.mark.parametrize("packed", [False, True])
def test_a_file(tmp_path, packed):
    series = read_prsa(written(tmp_path, rows(at_1_5="NA", at_2_15="NA", at_3_16="NA", at_4_7=" ", at_5_15='"SW"'), packed=packed))
    assert series.mask[0].tolist() == [True, False, True, True, True, True]
    assert series.x[0, :, 0].tolist() == [10, 0, 12, 13, 14, 15]
    assert series.source["dropped"] == {"missing": 1, "blank fields, all columns": 1}
    first = (np.datetime64("2013-02-28T22") - np.datetime64("1970-01-01T00")).astype(int)
    assert series.time[0].tolist() == [first + k for k in range(6)]
    assert series.extra["wind_seen"][0].tolist() == [True, True, False, False, True, True]
    assert torch.allclose(series.extra["wind"][0, 0], torch.tensor([0.0, -2.0]), atol=1e-6)  # from the north, to the south
    assert torch.allclose(series.extra["wind"][0, 5], torch.tensor([2.0, 2.0]) / 2**0.5, atol=1e-6)
    assert not series.extra["pollutants_seen"][0, :, 1].any()  # SO2 is missing throughout
    assert series.extra["pollutants_seen"][0, :, 0].all()
    assert series.extra["weather"][0, 0].tolist() == pytest.approx([-0.7, 1023, -18.8, 0])
    assert series.static["lon"].tolist() == [116.417]


def test_stuck_sensors_are_masked_on_request(tmp_path):
    lines = rows(6, at_1_5="10", at_2_5="10")
    assert read_prsa(written(tmp_path, lines)).mask.all()
    series = read_prsa(written(tmp_path, lines), stuck=3)
    assert series.mask[0].tolist() == [False] * 3 + [True] * 3
    assert series.source["dropped"]["constant"] == 3
    with pytest.raises(ValueError, match="at least 2 hours"):
        read_prsa(written(tmp_path, lines), stuck=1)


@pytest.mark.parametrize(("lines", "head", "says"), [
    (rows(at_3_5="many"), HEAD, "numbers or NA"),
    (rows(at_3_15='"UP"'), HEAD, "'UP' is no point"),
    (rows(at_3_4="5"), HEAD, "row 4.*one hour after"),
    (rows(), HEAD.replace("WSPM", "wind"), "lacks the columns WSPM"),
    (rows(at_2_16="-3"), HEAD, "speed is -3"),
    ([rows()[0], rows()[0]], HEAD, "drop repeats"),
])
def test_files_that_are_not_right(tmp_path, lines, head, says):
    with pytest.raises(ValueError, match=says):
        read_prsa(written(tmp_path, lines, head))


def test_cards():
    assert set(STATIONS) == set(COORDINATES)
    assert station_card("Dongsi").licence == "CC BY 4.0"
    with pytest.raises(ValueError, match="did you mean 'Dongsi'"):
        station_card("Dongsy")
    with pytest.raises(ValueError, match="los_speed"):
        sensor_card("los_speeds.csv.gz")


def test_a_changed_or_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="Dongsi"):
        prsa(tmp_path, ["Dongsi"])
    (tmp_path / station_card("Dongsi").name).write_bytes(b"something else")
    with pytest.raises(ValueError, match="is not the"):
        prsa(tmp_path, ["Dongsi"])
    with pytest.raises(ValueError, match="no station"):
        prsa(tmp_path, [])


def test_parts_in_time(tmp_path):
    series = read_prsa(written(tmp_path, rows(10)))
    train, validation, test = time_parts(series)
    assert (train.n_frames, validation.n_frames, test.n_frames) == (7, 1, 2)
    assert float(test.time[0, 0]) == float(series.time[0, 8])
    with pytest.raises(ValueError, match="add up to 1"):
        time_parts(series, (0.7, 0.2, 0.2))
    with pytest.raises(ValueError, match="longer series"):
        time_parts(series.frames(slice(0, 2)))


def test_a_list_of_stations(tmp_path):
    (tmp_path / "station.csv").write_text("station,longitude,latitude\na,116.4,39.9\nb,116.2,40.2\n")
    names, lon, lat = station_list(tmp_path / "station.csv")
    assert names == ("a", "b")
    assert lon.tolist() == [116.4, 116.2]
    assert lat.tolist() == [39.9, 40.2]
    (tmp_path / "station.csv").write_text("name,x\na,1\n")
    with pytest.raises(ValueError, match="lacks station"):
        station_list(tmp_path / "station.csv")


def test_the_real_sets(reference):
    folder = reference / "traffic"
    if not (folder / "airquality").is_dir():
        pytest.skip("no air quality data")
    series = prsa(folder / "airquality", ["Dongsi", "Changping"])
    assert series.n_frames == 35064
    assert float(series.mask.float().mean()) == pytest.approx(0.979, abs=0.003)
    listed = dict(zip(*[v if isinstance(v, tuple) else v.tolist() for v in station_list(folder / "airquality/Beijing1718/station.csv")[:2]]))
    assert all(listed[name] == pytest.approx(COORDINATES[s][0]) for s, (name, _, _) in STATIONS.items())
    week, adjacency = metr_la_week(folder)
    assert week.x.shape == (207, 2016, 1)
    assert adjacency.shape == (207, 207)
    assert torch.equal(adjacency, adjacency.T)


def test_it_is_in_the_catalog():
    assert load(SENSOR_SETS["prsa"]) is prsa
    assert load(SENSOR_SETS["metr_la_week"]) is metr_la_week


def test_damped_persistence_has_the_known_figures(reference):
    folder = reference / "traffic" / "airquality"
    if not folder.is_dir():
        pytest.skip("no air quality data")
    real = Task(prsa(folder))
    known = {"persistence": ((41.5, 54.7, 61.6), (70.0, 86.2, 94.0)), DAMPED: ((40.3, 48.8, 52.4), (62.3, 71.5, 75.3))}
    for name, (mae, rmse) in known.items():
        scores = run(name, plain_methods()[name], real).scores
        assert [s.mae for s in scores.values()] == pytest.approx(mae, abs=0.06)
        assert [s.rmse for s in scores.values()] == pytest.approx(rmse, abs=0.06)


def test_persistence_on_metr_la(reference):
    folder = reference / "traffic"
    if not (folder / "sensors").is_dir():
        pytest.skip("no METR-LA")
    scores = metr_la_persistence(metr_la_week(folder)[0])
    assert [s.mae for s in scores.values()] == pytest.approx([3.54, 4.34, 5.77], abs=0.01)
    assert [s.rmse for s in scores.values()] == pytest.approx([6.40, 8.17, 10.86], abs=0.01)
    assert "5.77" in as_text(metr_la_table({"persistence": scores}))
