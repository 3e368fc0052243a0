"""Users' tables of tracks: columns, units, gaps, headings, and everything that can be wrong with them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from trajlab.data.adapters.track_columns import find_columns, named_unit
from trajlab.data.adapters.track_motion import local_velocity
from trajlab.data.adapters.tracks import TrackRule, from_tracks, read_tracks

DT = 0.1


def table(agents=4, frames=50):
    """Agents on circles, the k-th entering at frame 5 k; headings pass through pi."""
    parts = []
    for k in range(agents):
        t = np.arange(5 * k, frames) * DT
        angle, speed = 0.5 * k + 0.8 * t, 4.0 + k
        x, y = speed / 0.8 * np.sin(angle), -speed / 0.8 * np.cos(angle)
        heading = (angle + np.pi) % (2 * np.pi) - np.pi
        parts.append(pd.DataFrame({"time": t, "id": k + 1, "x": x, "y": y, "speed": speed, "heading": heading}))
    return pd.concat(parts, ignore_index=True)


def quiet(*args, **more):
    """Read, and refuse any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return from_tracks(*args, **more)


def test_a_good_table_is_read_without_a_word():
    got = quiet(table().sample(frac=1, random_state=0))
    assert (got.n_nodes, got.n_frames) == (4, 50)
    assert got.spacing == pytest.approx(DT)
    assert got.mask.sum(1).tolist() == [50, 45, 40, 35]
    assert got.static["id"].tolist() == [1, 2, 3, 4]
    assert got.source["dropped"] == {"rows": 170, "not finite": 0, "repeated": 0}
    speed = got.velocity.norm(dim=-1)[got.mask]
    assert speed.min() == pytest.approx(4.0)
    assert speed.max() == pytest.approx(7.0)


def test_columns_and_units_by_name():
    wild = table().rename(columns={"time": "timestamp_ms", "id": "Track ID", "x": "X_m", "y": "Y_m", "speed": "speed [km/h]", "heading": "yaw_deg"})
    wild["timestamp_ms"] *= 1000
    wild["speed [km/h]"] *= 3.6
    wild["yaw_deg"] = np.rad2deg(wild["yaw_deg"])
    assert torch.allclose(quiet(wild).velocity, quiet(table()).velocity)
    assert named_unit("lengthCm") == "cm"
    assert named_unit("s") == ""
    assert find_columns(["frameId", "trackId", "xCenter", "yCenter", "xVelocity", "yVelocity"]) == {
        "frame": "frameId", "id": "trackId", "x": "xCenter", "y": "yCenter", "vx": "xVelocity", "vy": "yVelocity"}


def test_units_that_are_told():
    other = table()
    other["heading"] = 90.0 - np.rad2deg(other["heading"])
    other[["x", "y"]] /= 0.05
    other["y"] *= -1
    other["frame"] = np.rint(other.pop("time") / DT).astype(int) + 7
    with pytest.raises(ValueError, match=r"clock is in frames \(column 'frame'\); pass rate="):
        from_tracks(other)
    with pytest.raises(ValueError, match="pass metres_per_pixel="):
        from_tracks(other, rate=10, position="px")
    rule = TrackRule(rate=10, position="px", metres_per_pixel=0.05, heading="deg_north_cw")
    got, want = quiet(other.assign(y=-other["y"]), rule=rule), quiet(table())
    assert torch.allclose(got.x, want.x)
    assert torch.allclose(got.velocity, want.velocity)
    image = other.assign(heading=-np.rad2deg(table()["heading"]))  # angles as seen in the image
    down = quiet(image, rule=rule, heading="deg", y_down=True)
    assert torch.allclose(down.velocity, want.velocity)
    assert torch.allclose(down.x, want.x)


def test_kilometres_an_hour_given_as_metres_a_second():
    with pytest.warns(UserWarning, match=r"speeds are 3\.6\d? times .* looks like km/h; pass speed='km/h'"):
        got = from_tracks(table().assign(speed=lambda t: t["speed"] * 3.6))
    assert len(got.source["doubts"]) == 1
    assert torch.allclose(quiet(table().assign(speed=lambda t: t["speed"] * 3.6), speed="km/h").velocity, quiet(table()).velocity)
    components = table().assign(vx=lambda t: 3.6 * t["speed"] * np.cos(t["heading"]), vy=lambda t: 3.6 * t["speed"] * np.sin(t["heading"]))
    with pytest.warns(UserWarning, match="km/h"):
        from_tracks(components)


@pytest.mark.parametrize(("change", "fits"), [
    (lambda h: np.rad2deg(h), "heading='deg' fits"), (lambda h: 90 - np.rad2deg(h), "heading='deg_north_cw' fits"),
    (lambda h: np.pi / 2 - h, "heading='rad_north_cw' fits"), (lambda h: -h, "y_down=True"), (lambda h: 0 * h + 1, "no other reading")])
def test_headings_in_another_unit(change, fits):
    with pytest.warns(UserWarning, match=f"read as radians from x, the headings are off .*{fits}"):
        from_tracks(table().assign(heading=lambda t: change(t["heading"])))


def test_pixels_given_as_metres():
    with pytest.warns(UserWarning, match="all positions are whole numbers .* look like pixels"):
        from_tracks(table().drop(columns=["speed"]).assign(x=lambda t: (t["x"] * 20).round(), y=lambda t: (t["y"] * 20).round()))
    with pytest.warns(UserWarning, match=r"do so at [\d.]+ m/s \(median\): positions look like pixels"):
        from_tracks(table().drop(columns=["speed"]).assign(x=lambda t: t["x"] * 20, y=lambda t: t["y"] * 20))


def test_a_clock_in_milliseconds_and_degrees_of_longitude():
    with pytest.warns(UserWarning, match="clock looks like milliseconds"):
        from_tracks(table().assign(time=lambda t: t["time"] * 1000)[["time", "id", "x", "y"]])
    with pytest.warns(UserWarning, match="look like degrees of longitude"):
        from_tracks(table().assign(x=lambda t: 13.4 + t["x"] / 67000, y=lambda t: 52.5 + t["y"] / 111320)[["time", "id", "x", "y"]])


def test_missing_frames_are_masked_or_split():
    holed = table()[lambda t: ~t["time"].between(2.05, 2.45)]  # frames 21 to 24 are in nobody's rows
    holed = holed[~((holed["id"] == 1) & holed["time"].between(3.05, 3.15))]
    with pytest.warns(UserWarning, match="frames are missing at 5 places within tracks, masked out"):
        got = from_tracks(holed)
    assert got.n_frames == 50
    assert got.source["missing_frames"] == 4
    assert (~got.mask[0]).nonzero().flatten().tolist() == [21, 22, 23, 24, 31]
    with pytest.warns(UserWarning, match="where tracks were split"):
        split = from_tracks(holed, gaps="split")
    assert split.n_nodes == 4 + 5
    assert split.static["id"].tolist() == [1, 1, 1, 2, 2, 3, 3, 4, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = from_tracks(holed[["time", "id", "x", "y"]])
    assert made.velocity[made.mask].norm(dim=-1).max() < 7.1  # no velocity leads across a gap


def test_irregular_clock():
    with pytest.raises(ValueError, match=r"clock is not regular: with the usual step of 0\.1 s, the time 0\.54 s lies 0\.04 s off"):
        from_tracks(table().assign(time=lambda t: t["time"].replace(0.5, 0.54)))


def test_repeated_sightings_and_bad_rows_are_counted():
    bad = pd.concat([table(), table().iloc[[3, 7]]], ignore_index=True)
    bad.loc[20, "x"] = np.nan
    bad["id"] = bad["id"].astype(object)
    bad.loc[25, "id"] = None
    with pytest.warns(UserWarning, match="of 172 rows dropped 1 not finite, 2 repeated, 1 without id"):
        got = from_tracks(bad)
    assert got.source["dropped"] == {"rows": 172, "not finite": 1, "repeated": 2, "without id": 1}
    assert int(got.mask.sum()) == 168
    with pytest.warns(UserWarning, match="1 seen once, without velocity"):
        lone = from_tracks(pd.concat([table(), pd.DataFrame({"time": [0.0], "id": [9], "x": [0.0], "y": [0.0]})]))
    assert lone.n_nodes == 4


def test_an_id_that_two_agents_share_at_the_same_time():
    twice = pd.concat([table(agents=2), table(agents=1).assign(y=lambda t: t["y"] + 30)], ignore_index=True)
    with pytest.warns(UserWarning, match="rows are of an agent that is elsewhere at the same time, by up to 30 m: an id that two agents share"):
        got = from_tracks(twice)
    assert (got.source["dropped"]["repeated"], got.n_nodes) == (len(table(agents=1)), 2)
    with pytest.warns(UserWarning, match="repeated"):
        assert not from_tracks(pd.concat([table(agents=2), table(agents=1)], ignore_index=True)).source["doubts"]
    apart = from_tracks(twice.assign(recording=[0] * len(table(agents=2)) + [1] * len(table(agents=1))), columns={"scene": "recording"})
    assert (apart.n_scenes, apart.n_nodes, apart.source["doubts"]) == (2, 3, [])


def test_who_enters_late_with_garbage_before():
    late = table(agents=2).assign(valid=1)
    garbage = pd.DataFrame({"time": np.arange(5) * DT, "id": 2, "x": -9999.0, "y": np.nan, "speed": 0.0, "heading": 0.0, "valid": 0})
    with pytest.warns(UserWarning, match="5 marked invalid"):
        got = from_tracks(pd.concat([late, garbage]))
    assert torch.equal(got.mask, quiet(table(agents=2)).mask)
    assert torch.allclose(got.x, quiet(table(agents=2)).x)
    with pytest.warns(UserWarning, match="1 steps are faster than 60 m/s: an id that two agents share, or rows that stand for 'not there'"):
        unmarked = from_tracks(pd.concat([late, garbage.assign(y=0.0)]).drop(columns="valid"), jumps="split")
    assert unmarked.n_nodes == 3


def test_a_vehicle_that_stands_keeps_its_heading():
    rng = np.random.default_rng(0)
    t = np.arange(80) * DT
    x = np.cumsum(np.clip(5.0 - 3.0 * (t - 1.5), 0.0, 5.0)) * DT
    noisy = pd.DataFrame({"time": t, "id": "a", "x": x + 0.01 * rng.normal(size=80), "y": 0.01 * rng.normal(size=80)})
    got = quiet(noisy)
    assert got.source["estimated"] == {"velocity": 80, "heading": 80}
    assert float(got.extra["heading"].abs().max()) < 0.2  # not atan2 of a centimetre
    assert float(got.velocity[0, 40:].norm(dim=-1).max()) < 0.45  # 1 cm of noise at 10 Hz
    recorded = quiet(noisy.assign(heading=0.3))
    assert recorded.extra["heading"].unique().tolist() == [pytest.approx(0.3)]  # what is recorded stays
    still = pd.DataFrame({"time": t, "id": "a", "x": 0.01 * rng.normal(size=80), "y": 0.0})
    assert quiet(still).source["no_heading"] == 1
    assert float(quiet(still).extra["heading"].abs().max()) == 0.0
    assert float((quiet(still.assign(heading=-2.0)).extra["heading"] + 2.0).abs().max()) == 0.0


def test_a_heading_that_wraps_is_interpolated_the_short_way():
    turning = pd.DataFrame({"time": [0.0, 1.0, 2.0], "id": 1, "x": [0.0, 1.0, 2.0], "y": 0.0, "heading": [3.1, -3.1, -3.0]})
    got = from_tracks(turning, resample=0.5, check=False)
    assert got.n_frames == 5
    wrapped = got.extra["heading"][0, 1]
    assert abs(abs(float(wrapped)) - np.pi) < 1e-9  # between 3.1 and -3.1 lies pi, not 0
    assert got.x[0, :, 0].tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])


def test_resampling_does_not_bridge_long_gaps():
    parted = table(agents=1)[lambda t: (t["time"] < 1) | (t["time"] > 3)]
    with pytest.warns(UserWarning, match="missing at 1 places"):
        got = from_tracks(parted, resample=0.25)
    assert (~got.mask[0]).nonzero().flatten().tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_unknown_columns_roles_options_and_units():
    with pytest.raises(ValueError, match="no column 'spead'; did you mean 'speed'"):
        from_tracks(table(), {"speed": "spead"})
    with pytest.raises(ValueError, match="no role of a column 'hedding'; did you mean 'heading'"):
        from_tracks(table(), {"hedding": "heading"})
    with pytest.raises(ValueError, match=r"no column was found for x among .*columns=\{'x'"):
        from_tracks(table().rename(columns={"x": "foo"}))
    with pytest.raises(ValueError, match="given several roles: "):
        from_tracks(table(), {"speed": "x", "x": "x"})
    with pytest.raises(TypeError, match="no option of a table of tracks 'spede'; did you mean 'speed'"):
        from_tracks(table(), spede="km/h")
    with pytest.raises(ValueError, match="no unit of heading 'degrees'; did you mean"):
        TrackRule(heading="degrees")
    with pytest.raises(ValueError, match="rate=-1; a positive number"):
        TrackRule(rate=-1)
    with pytest.warns(UserWarning, match="column 'headng' is not used, although it looks like the heading"):
        got = from_tracks(table().rename(columns={"heading": "headng"}).assign(colour="red"))
    assert got.source["unused"] == ["colour", "headng"]
    assert "heading" not in quiet(table(), {"heading": None}).source["columns"]


def test_several_recordings_kinds_and_sizes():
    two = pd.concat([table().assign(recording="a"), table().assign(recording="b", time=lambda t: t["time"] + 100)])
    two = two.assign(type=np.where(two["id"] == 1, "truck", "car"), length=4.5, width_cm=180.0)
    got = quiet(two)
    assert got.n_scenes == 2
    assert got.n_frames == 50
    assert got.source["scenes"] == ["a", "b"]
    assert got.time[:, 0].tolist() == [0.0, 100.0]
    assert [got.source["kinds"][k] for k in got.kind] == ["truck", "car", "car", "car"] * 2
    assert got.static["length"].unique().tolist() == [4.5]


def test_dates_and_files(tmp_path):
    dated = table().assign(time=lambda t: (pd.Timestamp("2024-01-01T00:00:00Z") + pd.to_timedelta(t["time"], "s")).astype(str))
    dated.to_csv(tmp_path / "tracks.csv", sep=";", index=False)
    got = read_tracks(tmp_path / "tracks.csv")
    assert torch.allclose(got.x, quiet(table()).x)
    assert got.source["file"] == "tracks.csv"
    table().to_parquet(tmp_path / "tracks.parquet")
    assert torch.allclose(read_tracks(tmp_path / "tracks.parquet").x, got.x)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_tracks(tmp_path / "none.csv")
    (tmp_path / "tracks.xls").write_text("x")
    with pytest.raises(ValueError, match="ends in neither"):
        read_tracks(tmp_path / "tracks.xls")
    with pytest.raises(ValueError, match="no row is left of 1"):
        from_tracks(pd.DataFrame({"time": ["?"], "id": [1], "x": ["?"], "y": [0]}))


def test_local_velocity_is_exact_on_parabolas_and_filters_noise():
    t = np.sort(np.random.default_rng(0).uniform(0, 3, 40))
    x = np.stack([1 + 2 * t - 0.7 * t**2, 3 * t], 1)
    velocity, some = local_velocity(t, x, np.zeros(40, dtype=np.int64), 2, 9.0)
    assert some.all()
    assert np.allclose(velocity, np.stack([2 - 1.4 * t, 0 * t + 3], 1))
    rng, t = np.random.default_rng(1), np.arange(4000) * 0.1
    noise = 0.02 * rng.normal(size=(4000, 1))
    around = local_velocity(t, noise, np.zeros(4000, dtype=np.int64), 2, 0.15, causal=False)[0]
    assert around[5:-5].std() == pytest.approx(0.02 / (0.1 * np.sqrt(10)), rel=0.05)  # 10 is the sum of squares of -2 to 2
    behind = local_velocity(t, noise, np.zeros(4000, dtype=np.int64), 2, 0.15)[0]
    assert behind[5:].std() == pytest.approx(0.2 * np.sqrt(54**2 + 13**2 + 40**2 + 27**2 + 26**2) / 70, rel=0.05)


def test_made_velocities_and_headings_know_nothing_of_the_future():
    plain = table()[["time", "id", "x", "y"]]
    other = plain.assign(x=lambda t: np.where(t["time"] > 2.95, t["x"] + 1.7 * (t["time"] - 2.95) ** 2, t["x"]))
    one, two = quiet(plain), quiet(other)
    assert torch.equal(one.velocity[:, :30], two.velocity[:, :30])
    assert torch.equal(one.extra["heading"][:, :30], two.extra["heading"][:, :30])
    assert not torch.equal(quiet(plain, causal=False).velocity[:, :30], quiet(other, causal=False).velocity[:, :30])
