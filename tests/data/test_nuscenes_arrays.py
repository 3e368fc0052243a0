"""Arrays of states with a format string, and the npz scenes."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.data.adapters.nuscenes_arrays import FORMAT, from_states, read_nuscenes_arrays, to_states

TRAJDATA = "x,y,xd,yd,xdd,ydd,h"


def states(agents=3, frames=6, columns=7):
    return np.random.default_rng(0).normal(size=(agents, frames, columns)) * 4


def test_columns_go_where_the_format_says():
    value = states()
    read = from_states(value, TRAJDATA, 0.1)
    np.testing.assert_allclose(read.x, value[..., :2])
    np.testing.assert_allclose(read.velocity, value[..., 2:4])
    np.testing.assert_allclose(read.extra["acceleration"], value[..., 4:6])
    np.testing.assert_allclose(np.exp(1j * read.extra["heading"].numpy()), np.exp(1j * value[..., 6]))
    assert read.extra["heading"].abs().max() <= np.pi
    assert read.spacing == pytest.approx(0.1)
    turned = from_states(np.stack([value[..., 1], value[..., 0], np.sin(value[..., 6]), np.cos(value[..., 6])], -1), "y,x,s,c", 0.1)
    np.testing.assert_allclose(turned.x, read.x)
    np.testing.assert_allclose(turned.extra["heading"], read.extra["heading"])


def test_states_go_out_and_come_back():
    value = states()
    value[0, :2] = np.nan
    back, valid = to_states(from_states(value, TRAJDATA, 0.1), TRAJDATA)
    np.testing.assert_allclose(back[..., :6], value[..., :6])
    assert (valid == np.isfinite(value[..., 0])).all()


def test_padding_is_a_mask_and_garbage_under_it_is_never_seen():
    value = states()
    valid = np.ones(value.shape[:2], dtype=bool)
    valid[0, :3] = valid[2] = False
    value[0, :3], value[2], value[1, 5] = 1e30, np.inf, np.nan
    read = from_states(value, TRAJDATA, np.arange(6) * 0.5, valid, kinds=["CYCLIST", "tram", "VEHICLE"], focal=[1])
    assert read.static["id"].tolist() == [0, 1]
    assert read.mask.sum(1).tolist() == [3, 5]
    assert read.x[0, 0].tolist() == [0, 0]
    assert read.source["dropped"] == {"rows": 9, "not finite": 1, "agents never seen": 1}
    assert [read.source["kinds"][k] for k in read.kind] == ["CYCLIST", "tram"]
    assert read.static["focal"].tolist() == [False, True]


def test_extents_are_medians_over_what_was_seen():
    value = states(columns=9)
    value[..., 6:] = [4.0, 2.0, 1.5]
    value[0, 0, 6], value[1, :4, 6] = 400.0, 70.0
    valid = np.ones(value.shape[:2], dtype=bool)
    valid[1, :4] = False
    read = from_states(value, FORMAT, 0.1, valid)
    assert read.static["length"].tolist() == [4.0] * 3
    assert (read.static["width"][0], read.static["height"][0]) == (2.0, 1.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "x,y,xd,yd,xdd,ydd,heading"}, "column.*heading"),
        ({"format": "x,y,xd,yd,xdd,ydd,x"}, "twice"),
        ({"format": "x,y"}, "frame 2"),
        ({"valid": np.ones((3, 5), dtype=bool)}, r"valid \(3, 5\)"),
        ({"valid": np.zeros((3, 6), dtype=bool)}, "none of the 3 agents"),
        ({"time": np.arange(5.0)}, r"time \(5,\)"),
        ({"focal": [3]}, "focal agent 3"),
        ({"kinds": ["VEHICLE"]}, "1 kinds for 3 agents"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        from_states(**{"states": states(), "format": TRAJDATA, "time": 0.1, **change})
    with pytest.raises(ValueError, match="length"):
        to_states(from_states(states(), TRAJDATA, 0.1), "x,y,length")


def scene(path, **change):
    value = states(columns=9).astype(np.float32)
    content = {"states": value, "valid": np.ones(value.shape[:2], dtype=bool), "types": np.array(["VEHICLE", "PEDESTRIAN", "VEHICLE"]),
               "ts": np.arange(6, dtype=np.float32) * np.float32(0.1), "focal": np.array([2]), "ids": np.array(["a", "b", "c"]),
               "scenario_id": np.array("s1"), "map": np.array("boston"), **change}
    np.savez(path, **{k: v for k, v in content.items() if v is not None})
    return path


def test_an_npz_scene(tmp_path):
    read = read_nuscenes_arrays(scene(tmp_path / "s.npz"))
    assert (read.source["id"], read.source["focal"], read.source["scenario"], read.source["city"]) == (["a", "b", "c"], ["c"], "s1", "boston")
    assert read.spacing == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"array.*valid"):
        read_nuscenes_arrays(scene(tmp_path / "s.npz", valid=None))
    with pytest.raises(ValueError, match="pickled"):
        read_nuscenes_arrays(scene(tmp_path / "s.npz", types=np.array([{}], dtype=object)))
    (tmp_path / "s.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match="cut short"):
        read_nuscenes_arrays(tmp_path / "s.npz")
    with pytest.raises(FileNotFoundError):
        read_nuscenes_arrays(tmp_path / "t.npz")


def test_the_reference_scenes(reference):
    agents = 0
    for path in sorted((reference / "traffic" / "nuscenes").glob("*.npz"))[:10]:
        read = read_nuscenes_arrays(path)
        agents += read.n_nodes
        assert 60 <= read.n_frames <= 81
        assert (read.spacing, int(read.static["focal"].sum())) == (pytest.approx(0.1), 1)
        assert read.x.abs().max() < 1e4
        steps = (read.x[:, 1:] - read.x[:, :-1]) / 0.1
        both = read.mask[:, 1:] & read.mask[:, :-1]
        assert (steps - read.velocity[:, :-1])[both].norm(dim=-1).median() < 0.5
        car = (read.kind == 0) & (read.static["length"] > 0)
        assert 3 < float(read.static["length"][car].median()) < 6
    assert agents > 300
