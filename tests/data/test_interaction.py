"""INTERACTION tables of tracks, lanelet2 maps, and the projection that their coordinates need."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.data.adapters.interaction import interaction_lanes, read_interaction
from trajlab.data.transverse_mercator import utm

HEADER = "track_id,frame_id,timestamp_ms,agent_type,x,y,vx,vy,psi_rad,length,width\n"


def rows(track, frames, kind="car", heading=0.0):
    return "".join(f"{track},{f},{100 * f},{kind},{f},2.5,10,0,{heading},4,1.8\n" for f in frames)


def written(path, text):
    path.write_text(text)
    return path


def test_tracks_are_read(tmp_path):
    read = read_interaction(written(tmp_path / "t.csv", HEADER + rows(1, range(1, 6)) + rows(2, [3, 4, 5], "Truck", 3.5)))
    assert (read.n_scenes, read.n_nodes, read.n_frames, read.spacing) == (1, 2, 5, pytest.approx(0.1))
    assert float(read.time[0, 0]) == pytest.approx(0.1)
    assert read.mask.tolist() == [[True] * 5, [False, False, True, True, True]]
    assert [read.source["kinds"][k] for k in read.kind] == ["car", "truck"]
    assert read.static["id"].tolist() == [1, 2]
    np.testing.assert_allclose(read.extra["heading"][1, 2:], 3.5 - 2 * np.pi)
    np.testing.assert_allclose(read.velocity[0], [[10.0, 0.0]] * 5)
    assert (read.static["length"].tolist(), read.static["width"].tolist()) == ([4, 4], [1.8, 1.8])


def test_pedestrians_have_no_heading_and_names_that_are_no_numbers(tmp_path):
    text = "track_id,frame_id,timestamp_ms,agent_type,x,y,vx,vy\n" + "".join(f"P1,{f},{100 * f},pedestrian/bicycle,1,{f},0,1\n" for f in (1, 2))
    read = read_interaction(written(tmp_path / "p.csv", text))
    assert set(read.extra) == {"velocity"}
    assert read.source["id"] == ["P1"]
    assert read.source["kinds"][int(read.kind[0])] == "pedestrian/bicycle"


def test_cases_are_scenes(tmp_path):
    text = "case_id," + HEADER + "".join("1.0," + line + "\n" for line in rows(1, (1, 2)).split()) + "".join(
        "2.0," + line + "\n" for line in rows(1, (1, 2)).split())
    read = read_interaction(written(tmp_path / "c.csv", text))
    assert (read.n_scenes, read.n_nodes, read.context["run"].tolist()) == (2, 2, [0, 1])


def test_a_missing_frame_is_masked_and_an_empty_field_dropped(tmp_path):
    with pytest.warns(UserWarning, match="1 not finite"):
        read = read_interaction(written(tmp_path / "t.csv", HEADER + rows(1, [1, 2, 3, 6, 7]) + "1,8,800,car,,2.5,10,0,0,4,1.8\n"))
    assert read.mask.tolist() == [[True, True, True, False, False, True, True]]
    assert (read.source["dropped"]["not finite"], read.source["missing_frames"]) == (1, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER.replace(",vx", ",speed") + rows(1, [1]), "column.*vx"),
        (HEADER + rows(1, [1, 2]) + "1,3,300,car,fast,2.5,10,0,0,4,1.8\n", "line 4 of .*x is 'fast'"),
        (HEADER, "no rows"),
        (HEADER + rows(1, range(1, 9)) + "1,9,955,car,9,2.5,10,0,0,4,1.8\n", "not regular"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        read_interaction(written(tmp_path / "t.csv", text))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_interaction(tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError):
        interaction_lanes(tmp_path / "t.osm")


def test_utm_of_known_places():
    # On the central meridian, the arc from the equator to 45 degrees is 4 984 944.378 m, times 0.9996.
    np.testing.assert_allclose(utm(np.array([45.0]), np.array([3.0]), origin=(0.0, 3.0)), [[0.0, 0.9996 * 4984944.378]], rtol=0, atol=2e-3)
    # Zero degrees east lie at an easting of 166 021.443 m in zone 31, whose meridian is at 500 000 m.
    np.testing.assert_allclose(utm(np.array([0.0]), np.array([3.0])), [[500_000 - 166_021.443, 0.0]], rtol=0, atol=1e-3)
    turned = utm(np.array([10.0, 10.0]), np.array([2.0, 4.0]), origin=(0.0, 3.0))
    np.testing.assert_allclose(turned[0] * [-1, 1], turned[1], atol=1e-6)
    with pytest.raises(ValueError, match="origin"):
        utm(np.array([10.0]), np.array([80.0]))


METRE = 0.00000898  # degrees, nearly


def osm(ways, lanelets, nodes=None):
    points = sorted({p for points, *_ in ways.values() for p in points})
    number = {p: k for k, p in enumerate(points, 1)}
    text = "<?xml version='1.0'?><osm version='0.6'>"
    text += "".join(f"<node id='{n}' lat='{p[1] * METRE:.12f}' lon='{p[0] * METRE:.12f}'/>" for p, n in number.items() if n != nodes)
    for name, (line, kind) in ways.items():
        text += f"<way id='{name}'>" + "".join(f"<nd ref='{number[p]}'/>" for p in line) + f"<tag k='type' v='{kind}'/></way>"
    for name, (left, right, subtype) in lanelets.items():
        sides = "".join(f"<member type='way' ref='{w}' role='{side}'/>" for side, ws in (("left", left), ("right", right)) for w in ws)
        text += f"<relation id='{name}'>{sides}<tag k='type' v='lanelet'/><tag k='subtype' v='{subtype}'/></relation>"
    return text + "</osm>"


WAYS = {"1": (((0, 0), (50, 0)), "road_border"), "2": (((50, 4), (0, 4)), "line_thin"), "3": (((0, 8), (50, 8)), "curbstone"),
        "4": (((50, 0), (80, 0)), "virtual"), "5": (((50, 4), (80, 4)), "virtual"), "6": (((49, 0), (49, 4)), "stop_line")}
LANELETS = {"a": (["2"], ["1"], "road"), "b": (["3"], ["2"], "road"), "c": (["5"], ["4"], "bus_lane"), "x": (["6"], ["6"], "crosswalk")}


def test_a_lanelet_map(tmp_path):
    read = interaction_lanes(written(tmp_path / "m.osm", osm(WAYS, LANELETS)))
    assert sorted(read.kinds) == sorted(["centre", "left", "right"] * 3 + ["boundary"] * 2 + ["stop", "crosswalk"])
    centre = dict(zip(read.lanes, read.polylines))
    assert read.successors["a"] == ("c",)
    assert read.successors["c"] == read.successors["b"] == ()
    assert read.neighbours == {"a": ("b", ""), "b": ("", "a"), "c": ("", "")}
    assert read.types["c"] == "bus_lane"
    assert centre["a"][0, 0] < centre["a"][-1, 0]
    assert read.inside([[20.0, 2.0], [20.0, 6.0], [60.0, 6.0]]).tolist() == [True, True, False]


def test_bounds_of_several_ways_are_joined(tmp_path):
    read = interaction_lanes(written(tmp_path / "m.osm", osm(WAYS, {"long": (["2", "5"], ["1", "4"], "road")})))
    np.testing.assert_allclose(read.bounds[1][0], 80, atol=0.2)
    assert (np.diff(read.of_kind("left")[0][:, 0]) >= 0).all()
    assert read.inside([[70.0, 2.0]]).all()


def test_a_damaged_map_is_refused(tmp_path):
    with pytest.raises(ValueError, match="refers to '1'"):
        interaction_lanes(written(tmp_path / "m.osm", osm(WAYS, LANELETS, nodes=1)))
    with pytest.raises(ValueError, match="no right bound"):
        interaction_lanes(written(tmp_path / "m.osm", osm(WAYS, {"a": (["2"], [], "road")})))
    with pytest.raises(ValueError, match="cut short"):
        interaction_lanes(written(tmp_path / "m.osm", osm(WAYS, LANELETS)[:-40]))


def test_the_reference_files(reference):
    folder = reference / "traffic" / "interaction"
    read = read_interaction(folder / "vehicle_tracks_000.csv")
    assert (read.n_nodes, int(read.mask.sum()), read.n_frames) == (2, 170, 100)
    lanes = interaction_lanes(folder / "TestScenarioForScripts.osm")
    np.testing.assert_allclose(lanes.bounds, [[1, 1], [101, 7]], atol=1e-5)  # whole metres, if the projection is right
    headings = dict(zip(lanes.lanes, lanes.polylines))
    assert headings["20"][0, 0] < headings["20"][-1, 0]
    assert headings["21"][0, 0] > headings["21"][-1, 0]
