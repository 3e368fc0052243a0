"""Argoverse 2: scenarios, maps, and answers written and read back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("pyarrow", reason="parquet needs pyarrow")

from trajlab.data.adapters.argoverse import CATEGORIES, KINDS, argoverse_lanes, read_argoverse
from trajlab.data.adapters.argoverse_answers import read_argoverse_answers, write_argoverse_answers
from trajlab.types import Forecast


def table(scenario="s1", frames=110, **change):
    """A focal vehicle, a scored cyclist who leaves early, and a pedestrian fragment that comes late."""
    rows = []
    tracks = ("12", "vehicle", 3, 0, frames, 10.0), ("7", "cyclist", 2, 0, 80, 4.0), ("AV", "pedestrian", 0, 30, 60, 1.0)
    for track, kind, category, low, high, vx in tracks:
        rows += [{"observed": t < 50, "track_id": track, "object_type": kind, "object_category": category, "timestep": t, "position_x": vx * 0.1 * t,
                  "position_y": 2.0, "heading": 7.0, "velocity_x": vx, "velocity_y": 0.0, "scenario_id": scenario, "start_timestamp": 0.0,
                  "end_timestamp": 1e8 * (frames - 1), "num_timestamps": frames, "focal_track_id": "12", "city": "austin"}
                 for t in range(low, min(high, frames))]
    made = pd.DataFrame(rows)
    for name, value in change.items():
        if value is None:
            made = made.drop(columns=name)
        else:
            made.loc[made.index[5], name] = value
    return made


def scenario(folder, name="s1", frames=110, **change):
    path = folder / name / f"scenario_{name}.parquet"
    path.parent.mkdir()
    table(name, frames, **change).to_parquet(path)
    return path


def test_a_scenario_is_read(tmp_path):
    read = read_argoverse(scenario(tmp_path))
    assert (read.n_scenes, read.n_nodes, read.n_frames) == (1, 3, 110)
    assert read.spacing == pytest.approx(0.1)
    node = {name: k for k, name in enumerate(read.source["id"])}
    assert read.mask.sum(1)[[node["12"], node["7"], node["AV"]]].tolist() == [110, 80, 30]
    assert not read.mask[node["AV"], 29]
    assert read.mask[node["AV"], 30]
    assert [read.source["kinds"][k] for k in read.kind] == [{"12": "vehicle", "7": "cyclist", "AV": "pedestrian"}[n] for n in read.source["id"]]
    assert [CATEGORIES[k] for k in read.static["category"]] == [{"12": "focal", "7": "scored", "AV": "fragment"}[n] for n in read.source["id"]]
    assert read.static["focal"].nonzero().flatten().tolist() == [node["12"]]
    np.testing.assert_allclose(read.extra["heading"][read.mask], 7.0 - 2 * np.pi)
    np.testing.assert_allclose(read.x[node["12"], :, 0], np.arange(110))
    assert read.source["dropped"] == {"rows": 220, "not finite": 0, "repeated": 0}
    assert (read.source["focal"], read.source["city"], read.source["given"]) == (["12"], ["austin"], 50)


def test_several_scenarios_are_one_scene_each(tmp_path):
    paths = [scenario(tmp_path, "b"), scenario(tmp_path, "a", frames=50)]
    read = read_argoverse(tmp_path)
    assert read.source["scenario"] == ["a", "b"]
    assert (read.n_scenes, read.n_frames, read.context["run"].tolist()) == (2, 110, [0, 1])
    assert len(read.source["id"]) == read.n_nodes
    assert [read.source["ids"][k] for k in read.static["id"]] == read.source["id"]
    assert not read.mask[read.scene == 0, 50:].any()
    assert read_argoverse(paths).source["scenario"] == ["b", "a"]


def test_values_that_are_not_finite_are_dropped_and_counted(tmp_path):
    with pytest.warns(UserWarning, match="1 not finite"):
        read = read_argoverse(scenario(tmp_path, position_x=np.nan))
    assert read.source["dropped"]["not finite"] == 1
    assert int(read.mask.sum()) == 219


@pytest.mark.parametrize(
    ("change", "said"),
    [({"heading": None}, "column.*heading"), ({"object_type": "tank"}, "object_type"), ({"object_category": 7}, "object_category"),
     ({"scenario_id": "other"}, "2 scenarios"), ({"position_x": 0.5, "focal_track_id": None}, "focal_track_id")],
)
def test_a_damaged_scenario_is_refused(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        read_argoverse(scenario(tmp_path, **change))


def test_what_is_no_scenario(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither"):
        read_argoverse(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_argoverse(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(ValueError, match="cut short"):
        read_argoverse(tmp_path / "x.parquet")


def answer(past, mixture=True, steps=60):
    draws = torch.randn(3, past.n_nodes, steps, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    modes = {"logits": torch.tensor([[0.0, 1.0]]).repeat(past.n_nodes, 1), "mean": draws[:2].transpose(0, 1) + 5}
    time = past.time[:, -1:] + 0.1 * torch.arange(1, steps + 1)
    return Forecast(draws, past, time, mixture=modes if mixture else {}, log_weight=None if mixture else torch.tensor([[0.0], [0.0], [1.0]]))


def test_answers_go_to_a_file_and_back(tmp_path):
    past = read_argoverse(scenario(tmp_path)).frames(slice(50))
    forecast = answer(past)
    focal = int(past.static["focal"].nonzero())
    back = read_argoverse_answers(write_argoverse_answers(tmp_path / "out.parquet", forecast))
    assert list(back) == ["s1"]
    assert list(back["s1"]) == ["12"]
    paths, probability = back["s1"]["12"]
    np.testing.assert_allclose(paths, forecast.mixture["mean"][focal])
    np.testing.assert_allclose(probability, torch.tensor([0.0, 1.0]).softmax(0), rtol=1e-6)
    back = read_argoverse_answers(write_argoverse_answers(tmp_path / "out.parquet", answer(past, mixture=False), tracks="scored"))
    assert sorted(back["s1"]) == ["12", "7"]
    paths, probability = back["s1"]["12"]
    np.testing.assert_allclose(paths, forecast.draws[:, focal])
    np.testing.assert_allclose(probability, torch.tensor([0.0, 0.0, 1.0]).softmax(0), rtol=1e-6)


def test_answers_that_the_challenge_would_refuse(tmp_path):
    past = read_argoverse(scenario(tmp_path)).frames(slice(50))
    with pytest.raises(ValueError, match="30 frames"):
        write_argoverse_answers(tmp_path / "a", answer(past, steps=30, mixture=False))
    with pytest.raises(ValueError, match="focal"):
        write_argoverse_answers(tmp_path / "a", answer(past), tracks="focus")
    with pytest.raises(ValueError, match="read_argoverse"):
        write_argoverse_answers(tmp_path / "a", answer(past.replace(static={})))
    table = pd.read_parquet(write_argoverse_answers(tmp_path / "a.parquet", answer(past)))
    table.assign(probability=0.9).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"sum to 1\.8"):
        read_argoverse_answers(tmp_path / "b.parquet")


def points(*xy):
    return [{"x": x, "y": y, "z": 1.0} for x, y in xy]


def test_a_map_is_read(tmp_path):
    lane = {"id": 5, "lane_type": "BUS", "left_lane_boundary": points((0, 4), (9, 4)), "right_lane_boundary": points((0, 0), (4, 0), (9, 0)),
            "successors": [6], "left_neighbor_id": 8, "right_neighbor_id": None}
    content = {"drivable_areas": {"1": {"area_boundary": points((0, 0), (9, 0), (9, 4), (0, 4))}},
               "lane_segments": {"5": lane, "6": {**lane, "id": 6, "centerline": points((0, 1), (9, 1))}},
               "pedestrian_crossings": {"2": {"edge1": points((3, 0), (3, 4)), "edge2": points((5, 4), (5, 0))}}}
    path = tmp_path / "log_map_archive_s1.json"
    path.write_text(json.dumps(content))
    read = argoverse_lanes(tmp_path)
    assert read.kinds == ("centre", "left", "right") * 2 + ("crosswalk",)
    np.testing.assert_allclose(read.of_kind("centre")[0], [[0, 2], [4.5, 2], [9, 2]])
    np.testing.assert_allclose(read.of_kind("centre")[1], [[0, 1], [9, 1]])
    np.testing.assert_allclose(read.of_kind("crosswalk")[0], [[3, 0], [3, 4], [5, 4], [5, 0], [3, 0]])
    assert (read.successors["5"], read.neighbours["5"], read.types["5"]) == (("6",), ("8", ""), "bus")
    assert read.inside([[1.0, 1.0], [1.0, 5.0]]).tolist() == [True, False]
    path.write_text(json.dumps({"drivable_areas": {}}))
    with pytest.raises(ValueError, match="lane_segments"):
        argoverse_lanes(path)


def test_the_reference_scenario(reference):
    folder = reference / "traffic" / "av2"
    read = read_argoverse(folder)
    assert (read.n_nodes, read.n_frames, read.source["focal"]) == (58, 110, ["138951"])
    assert torch.bincount(read.static["category"]).tolist() == [51, 5, 1, 1]
    assert int(read.mask.sum()) == read.source["dropped"]["rows"] == 2434
    lanes = argoverse_lanes(next(folder.iterdir()))
    assert (len(lanes.of_kind("centre")), len(lanes.of_kind("crosswalk")), len(lanes.areas)) == (71, 6, 2)
    focal = read.x[read.static["focal"]][0].numpy()
    assert lanes.inside(focal).all()
    assert lanes.distance_to_centre(focal).max() < 2.0
    moving = read.mask & (read.velocity.norm(dim=-1) > 2)
    off = read.extra["heading"] - torch.atan2(read.velocity[..., 1], read.velocity[..., 0])
    assert torch.atan2(off.sin(), off.cos())[moving].abs().median() < 0.02
    assert set(KINDS) == set(read.source["kinds"])
