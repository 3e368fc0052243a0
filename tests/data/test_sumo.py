"""Floating-car data of SUMO: the bumper, the angle, the lane jumps, and that all forms of a file say the same."""

from __future__ import annotations

import gzip
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from trajlab.data.adapters.sumo import read_sumo, sumo_sizes
from trajlab.data.read import read

HEAD = ("timestep_time", "vehicle_id", "vehicle_x", "vehicle_y", "vehicle_angle", "vehicle_type", "vehicle_speed", "vehicle_pos", "vehicle_lane",
        "vehicle_edge", "vehicle_slope")


def rows(frames=20, jump=True):
    """Vehicle 10 goes east and is moved to the next lane at frame 10; vehicle 9 goes north; a pedestrian goes west."""
    out = []
    for k in range(frames):
        t = k * 0.1
        out.append((t, "10", 3.1234 + 10.0 * t, 1.6 + (3.2 if jump and k >= 10 else 0.0), 90.0, "lorry", 10.0, 0.0, "A_0", "", 0.0))
        if k >= 5:
            out.append((t, "9", -7.5, 2.0321 + 5.0 * t, 0.0, "car", 5.0, 0.0, "B_0", "", 0.0))
        out.append((t, "p1", 20.0 - 1.0 * t, 0.0, 270.0, "walker", 1.0, 0.0, "", "A", 0.0))
    return out


def written(folder, data):
    """The same rows as csv, csv.gz, xml and parquet."""
    table = pd.DataFrame(data, columns=HEAD)
    text = table.to_csv(sep=";", index=False, float_format="%.4f")
    (folder / "fcd.csv").write_text(text)
    with gzip.open(folder / "fcd.csv.gz", "wt") as file:
        file.write(text)
    table.replace("", None).to_parquet(folder / "fcd.parquet")
    lines = ['<?xml version="1.0"?>', "<!-- a comment -->", "<fcd-export>"]
    for time, step in table.groupby("timestep_time"):
        lines.append(f'<timestep time="{time:.4f}">')
        for r in step.itertuples():
            common = f'id="{r.vehicle_id}" x="{r.vehicle_x:.4f}" y="{r.vehicle_y:.4f}" angle="{r.vehicle_angle}" type="{r.vehicle_type}" ' \
                     f'speed="{r.vehicle_speed}"'
            lines.append(f'<vehicle {common} lane="{r.vehicle_lane}"/>' if r.vehicle_lane else f'<person {common} edge="{r.vehicle_edge}"/>')
        lines.append("</timestep>")
    (folder / "fcd.xml").write_text("\n".join([*lines, '<timestep time="9.0"/>', "</fcd-export>"]))
    return [folder / f"fcd.{end}" for end in ("csv", "csv.gz", "xml", "parquet")]


@pytest.mark.filterwarnings("ignore:.*jump sideways")
def test_every_form_gives_the_same_trajectories(tmp_path):
    first, *others = [read(path) for path in written(tmp_path, rows())]
    assert first.units.length == "m"
    assert first.source["dropped"] == {"rows": 55, "not finite": 0, "repeated": 0}
    for other in others:
        for name in ("x", "time", "mask", "kind"):
            assert torch.allclose(getattr(first, name).double(), getattr(other, name).double(), atol=1e-9), name
        for name in ("velocity", "heading"):
            assert torch.allclose(first.extra[name], other.extra[name])
        assert first.source["id"] == other.source["id"]


@pytest.mark.filterwarnings("ignore:.*jump sideways")
def test_the_centre_is_half_a_length_behind_the_bumper(tmp_path):
    path = written(tmp_path, rows(jump=False))[0]
    (tmp_path / "routes.xml").write_text('<routes><vType id="lorry" length="12" width="2.5"/><vType id="car"/></routes>')
    assert sumo_sizes(tmp_path / "routes.xml") == {"lorry": (12.0, 2.5), "car": (5.0, 1.8)}
    got = read_sumo(path, sizes=tmp_path / "routes.xml")
    names = got.source["id"]
    lorry, car, walker = names.index("10"), names.index("9"), names.index("p1")
    assert got.x[lorry, 0].tolist() == pytest.approx([3.1234 - 6.0, 1.6])
    assert got.x[car, 5].tolist() == pytest.approx([-7.5, 2.0321 + 2.5 - 2.5])
    assert got.x[walker, 0].tolist() == pytest.approx([20.0, 0.0])  # a pedestrian is not moved
    assert got.kind.tolist() == [0, 0, 1]
    assert got.static["length"][lorry] == 12.0
    assert got.extra["heading"][[lorry, car, walker], 6].tolist() == pytest.approx([0.0, math.pi / 2, math.pi])
    assert got.extra["velocity"][car, 6].tolist() == pytest.approx([0.0, 5.0], abs=1e-12)
    assert got.mask[car].tolist() == [False] * 5 + [True] * 15  # it enters late
    front = read_sumo(path, reference="front", persons=False)
    assert front.n_nodes == 2
    assert front.x[1, 0].tolist() == pytest.approx([3.1234, 1.6])  # 9 before 10


def test_the_centre_on_the_path_does_not_jump_with_the_angle(tmp_path):
    data = [(*r[:4], 90.0 if r[0] < 1.05 else 30.0, *r[5:]) for r in rows(jump=False) if r[1] == "10"]  # the angle turns, the front goes straight on
    path = written(tmp_path, data)[0]
    straight = read_sumo(path, reference="path")
    assert straight.x[0, :, 1].tolist() == pytest.approx([1.6] * 20)
    assert straight.x[0, :, 0].tolist() == pytest.approx([3.1234 + k - 2.5 for k in range(20)])
    assert float(straight.extra["heading"].abs().max()) < 1e-9
    assert float(read_sumo(path).x[0, :, 1].diff().abs().max()) > 2.0


def test_lane_jumps_are_counted_split_masked_or_kept(tmp_path):
    path = written(tmp_path, rows())[0]
    with pytest.warns(UserWarning, match=r"1 steps jump sideways by a lane .* tracks are split there"):
        split = read_sumo(path)
    assert split.n_nodes == 4
    assert split.source["lane_jumps"] == 1
    pieces = [k for k, name in enumerate(split.source["id"]) if name == "10"]
    assert [int(split.mask[k].sum()) for k in pieces] == [10, 10]
    assert len(set(split.static["id"][pieces].tolist())) == 1
    with pytest.warns(UserWarning, match="masked out"):
        masked = read_sumo(path, jumps="mask")
    assert masked.n_nodes == 3
    assert int(masked.mask.sum()) == 54
    assert masked.source["dropped"]["jumped"] == 1
    with pytest.warns(UserWarning, match="they are kept"):
        kept = read_sumo(path, jumps="keep")
    assert int(kept.mask.sum()) == 55
    assert kept.source["lane_jumps"] == 1


def test_rounded_positions_are_said(tmp_path):
    data = [(*r[:2], round(r[2], 2), round(r[3], 2), *r[4:]) for r in rows(jump=False)]
    paths = written(tmp_path, data)
    with pytest.warns(UserWarning, match=r"rounded to 0.01 m, .* 0.7 m/s\^2"):
        assert read_sumo(paths[0]).source["rounded"] == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_sumo(written(tmp_path, rows(jump=False))[0])


def test_what_is_not_finite_or_repeated_is_counted(tmp_path):
    data = rows(jump=False)
    data[3] = (*data[3][:2], float("nan"), *data[3][3:])
    with pytest.warns(UserWarning, match="of 56 rows dropped 1 not finite, 1 repeated"):
        got = read_sumo(written(tmp_path, [*data, data[0]])[0])
    assert got.source["dropped"] == {"rows": 56, "not finite": 1, "repeated": 1}
    assert int(got.mask.sum()) == 54


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_sumo(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="did you mean 'split'"):
        read_sumo(tmp_path / "fcd.csv", jumps="splits")
    (tmp_path / "fcd.csv").write_text("time;id\n0;1\n")
    with pytest.raises(ValueError, match=r"has no x, y, angle, speed"):
        read_sumo(tmp_path / "fcd.csv")
    whole = written(tmp_path, rows())[2].read_text()
    (tmp_path / "cut.xml").write_text(whole[:900])
    with pytest.raises(ValueError, match=r"cut short or damaged .*line"):
        read_sumo(tmp_path / "cut.xml")
    (tmp_path / "other.xml").write_text("<routes/>")
    with pytest.raises(ValueError, match="<routes>; <fcd-export> was wanted"):
        read_sumo(tmp_path / "other.xml")
    (tmp_path / "bomb.xml").write_text('<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><fcd-export><timestep time="&b;"/></fcd-export>')
    with pytest.raises(ValueError, match="document type definition"):
        read_sumo(tmp_path / "bomb.xml")
    (tmp_path / "fcd.txt").write_text("x")
    with pytest.raises(ValueError, match=r"neither .csv, .xml nor .parquet"):
        read_sumo(tmp_path / "fcd.txt")


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:.*jump sideways")
def test_the_reference_runs(reference):
    instant = read_sumo(reference / "traffic" / "sumo" / "fcd.parquet")
    assert instant.source["lane_jumps"] == 110
    assert instant.n_nodes == 134 + 110
    smooth = read_sumo(reference / "traffic" / "sumo" / "fcd_lc3.parquet", reference="front")
    assert (smooth.source["lane_jumps"], smooth.n_nodes, int(smooth.mask.sum())) == (0, 134, 110185)
    both = smooth.mask[:, 1:] & smooth.mask[:, :-1]
    pace = np.asarray(smooth.x.diff(dim=1)[both].norm(dim=-1) / 0.1)
    said = np.asarray(smooth.velocity[:, 1:][both].norm(dim=-1))  # x(t) = x(t - dt) + v(t) dt
    assert np.median(np.abs(pace - said)) < 1e-6
