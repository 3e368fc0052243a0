"""Files of motion data sets are told apart by what they hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trajlab.data.read import kind_of_file, read


def test_interaction_and_trajnet(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("track_id,frame_id,timestamp_ms,agent_type,x,y,vx,vy\n1,1,100,car,0,0,1,0\n1,2,200,car,0.1,0,1,0\n")
    assert kind_of_file(table) == "INTERACTION tracks"
    assert read(table).source["kinds"][0] == "car"
    lines = tmp_path / "t.ndjson"
    lines.write_text("\n".join(json.dumps({"track": {"f": f, "p": 1, "x": f, "y": 0}}) for f in (0, 10, 20)))
    assert kind_of_file(lines) == "TrajNet++ scenes"
    assert read(lines, cut="recording").n_frames == 3


def test_arrays_of_states_are_not_molecules(tmp_path):
    np.savez(tmp_path / "s.npz", states=np.ones((2, 3, 9)), valid=np.ones((2, 3), dtype=bool), types=["VEHICLE"] * 2, ts=np.arange(3) * 0.1)
    assert kind_of_file(tmp_path / "s.npz") == "nuScenes-like arrays"
    assert read(tmp_path / "s.npz").n_nodes == 2
    np.savez(tmp_path / "m.npz", z=np.ones(2), R=np.ones((4, 2, 3)))
    assert kind_of_file(tmp_path / "m.npz") == "npz arrays"


def test_argoverse(tmp_path):
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    import pandas as pd

    pd.DataFrame({"scenario_id": ["a"], "focal_track_id": ["1"], "x": [0.0]}).to_parquet(tmp_path / "s.parquet")
    assert kind_of_file(tmp_path / "s.parquet") == "Argoverse 2 scenario"
    pd.DataFrame({"id": ["a"], "time": [0.0], "x": [0.0], "y": [0.0]}).to_parquet(tmp_path / "t.parquet")
    assert kind_of_file(tmp_path / "t.parquet") == "table of tracks"


def test_drone_videos(tmp_path):
    video = tmp_path / "gates_video1_annotations.txt"
    video.write_text('0 10 10 20 20 0 0 0 0 "Biker"\n0 12 10 22 20 12 0 0 0 "Biker"\n')
    assert kind_of_file(video) == "SDD annotation"
    assert read(video, scale=0.05).x[0, :, 0].tolist() == pytest.approx([0.75, 0.85])
    with pytest.raises(ValueError, match="is in pixels"):
        read(video)
    cut = tmp_path / "quad_1.txt"
    cut.write_text("0 1.0 10.0 13.0\n12 1.0 10.5 13.0\n24 1.0 ? ?\n")
    assert read(cut).mask.tolist() == [[True, True, False]]
    cut.write_text("0 1.0 10.0 13.0\n12 1.0 10.5 13.0\n")
    assert kind_of_file(cut) == "ETH/UCY text"


def test_the_folder_of_a_scenario(tmp_path):
    (tmp_path / "scenario_a.parquet").touch()
    assert kind_of_file(tmp_path) == "Argoverse 2 scenario"
