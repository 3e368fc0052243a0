"""Arrays, tables, graphs of PyG and MDAnalysis universes, there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trajlab.data as data
from trajlab.data.adapters.arrays import from_numpy, to_numpy
from trajlab.data.adapters.ase import from_ase
from trajlab.data.adapters.pyg import from_pyg, to_pyg
from trajlab.data.adapters.tables import from_table, to_table
from trajlab.data.fields import flatten
from trajlab.data.graphs import neighbours
from trajlab.data.read import read
from trajlab.units import ASE_TIME, Units


def assert_same(a, b, tolerance=1e-12):
    (arrays, _), (others, _) = flatten(a), flatten(b)
    assert arrays.keys() == others.keys()
    for name, value in arrays.items():
        assert value.shape == others[name].shape, name
        assert torch.allclose(value.double(), others[name].double(), atol=tolerance), name
    assert a.units == b.units


def test_numpy_there_and_back(generator):
    x = torch.randn(2, 5, 3, 2, generator=generator).numpy()
    t = from_numpy(x, 0.5, velocity=x + 1, mask=x[..., 0] > -1, kind=[1, 2, 3], mass=[1.0, 2, 3], units=Units.si())
    assert t.x.shape == (6, 5, 2)
    assert torch.equal(t.x[4, 2], torch.as_tensor(x[1, 2, 1]))
    assert torch.equal(t.mask[4], torch.as_tensor(x[1, :, 1, 0] > -1))
    assert t.kind.tolist() == [1, 2, 3] * 2
    arrays = to_numpy(t)
    assert np.array_equal(arrays["x"].reshape(2, 3, 5, 2).swapaxes(1, 2), x)
    assert np.array_equal(arrays["extra/velocity"], arrays["x"] + 1)
    assert from_numpy(x[0], np.arange(5.0)).n_scenes == 1
    single = from_numpy(x[0, :, 0], 1.0)
    assert single.x.shape == (1, 5, 2)
    for args, message in (((x[0, 0, 0], 1.0), "x has shape"), ((x, np.arange(4)), "time has shape"), ((x, -1.0), "time=-1")):
        with pytest.raises(ValueError, match=message):
            from_numpy(*args)
    with pytest.raises(ValueError, match=r"velocity has shape \(5, 3, 2\), x \(2, 5, 3, 2\)"):
        from_numpy(x, 1.0, velocity=x[0])


def tracks():
    pd = pytest.importorskip("pandas")
    rows = [("a", t, "car", 3 * t, 1.0) for t in (0.0, 0.1, 0.2)] + [("b", t, "bus", t, 2.0) for t in (0.1, 0.2, 0.3, 0.4)]
    first = pd.DataFrame(rows, columns=["id", "time", "class", "x", "y"]).assign(rec="one")
    second = pd.DataFrame([("a", t, "bus", t, t) for t in (7.0, 7.1)], columns=["id", "time", "class", "x", "y"]).assign(rec="two")
    table = pd.concat([first, second]).sample(frac=1, random_state=0)
    return table.assign(vx=1.0, vy=0.0)


def test_tables_give_every_agent_its_own_span():
    t = from_table(tracks(), scene="rec", kind="class", extra={"velocity": ("vx", "vy")})
    assert (t.n_scenes, t.n_nodes, t.n_frames) == (2, 3, 5)
    assert t.mask.tolist() == [[True] * 3 + [False] * 2, [False] + [True] * 4, [True] * 2 + [False] * 3]
    assert torch.allclose(t.x[0, :3, 0], torch.tensor([0, 0.3, 0.6], dtype=torch.float64))
    assert torch.allclose(t.time[1, :2], torch.tensor([7.0, 7.1], dtype=torch.float64))
    assert [t.source["kinds"][k] for k in t.kind] == ["car", "bus", "bus"]
    assert t.source["id"] == ["a", "b", "a"]
    assert t.units == Units.si()
    back = to_table(t)
    assert len(back) == 9
    again = from_table(back, scene="scene", kind="kind", extra={"velocity": ("velocity_0", "velocity_1")})
    assert_same(again, t)


def test_dropped_rows_are_counted_and_said():
    table = tracks().reset_index(drop=True)
    table.loc[3, "x"] = np.nan
    table.loc[5, "id"] = None
    import pandas as pd

    table = pd.concat([table, table.iloc[[0]]])
    with pytest.warns(UserWarning, match="dropped 2 of 10 rows .* and 1 repeated"):
        t = from_table(table, scene="rec")
    assert int(t.mask.sum()) == 7
    assert t.source["dropped"] == {"rows": 10, "not finite": 2, "repeated": 1}
    with pytest.raises(ValueError, match="no row is left of 10: 10 lack"):
        from_table(table.assign(y=np.nan))
    with pytest.raises(ValueError, match="no column 'tiem'; did you mean 'time'"):
        from_table(table, time="tiem")


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_table_files(ending, tmp_path):
    table, path = tracks(), tmp_path / f"a.{ending}"
    if ending == "parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    assert_same(read(path, scene="rec"), from_table(table, scene="rec"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 - 3])
    if ending == "parquet":
        with pytest.raises(ValueError, match="cut short"):
            read(path, scene="rec")


def test_pyg_there_and_back(run):
    t = data.concat([from_ase(run), from_ase(run[::-1], spacing=2.0, check=False)])
    t = t.replace(context={"run": torch.tensor([0, 1])}, extra={**t.extra, "charge": torch.zeros(16, 6)})
    first = t.frames([0])
    graph = neighbours(first.x[:, 0], t.scene, 2, 3.0, t.cell, t.pbc)
    held = to_pyg(t, graph)
    assert held.num_nodes == 16
    assert held.edge_index.shape[1] == graph.n_edges
    assert held.pos.shape == (16, 6, 3)
    assert_same(from_pyg(held), t)
    with pytest.raises(ValueError, match="the graph has 16 nodes, the trajectories 8"):
        to_pyg(t.scenes([0]), graph)


def test_pyg_data_of_others():
    from torch_geometric.data import Batch, Data

    one = Data(pos=torch.rand(3, 3), z=torch.tensor([8, 1, 1]), vel=torch.rand(3, 3))
    t = from_pyg(Batch.from_data_list([one, one]), units=Units.md())
    assert (t.n_scenes, t.n_frames, t.units) == (2, 1, Units.md())
    assert t.velocity.shape == (6, 1, 3)
    with pytest.raises(ValueError, match=r"no positions 'pos', only \['z'\]"):
        from_pyg(Data(z=torch.ones(3)))


def test_mdanalysis(run):
    mda = pytest.importorskip("MDAnalysis")
    universe = mda.Universe.empty(8, trajectory=True, velocities=True)
    universe.add_TopologyAttr("elements", ["Cu"] * 8)
    x = np.stack([image.positions for image in run]).astype(np.float32)
    v = np.stack([image.get_velocities() for image in run]).astype(np.float32) / ASE_TIME * 1000
    box = np.array(run[0].cell.cellpar(), dtype=np.float32)
    universe.load_new(x, velocities=v, dimensions=np.tile(box, (6, 1)), dt=0.002, order="fac")
    assert_same(data.from_mdanalysis(universe), from_ase(run), 2e-5)
    assert data.from_mdanalysis(universe, frames=slice(0, 4, 2)).time[0].tolist() == pytest.approx([0.0, 4.0])
    assert data.from_mdanalysis(universe.atoms[:3]).n_nodes == 3
    universe.load_new(x, velocities=v * 1000, dimensions=np.tile(box, (6, 1)), dt=0.002, order="fac")
    with pytest.raises(ValueError, match=r"fs and ps|plausible"):
        data.from_mdanalysis(universe)
    bare = mda.Universe.empty(8, trajectory=True)
    with pytest.raises(ValueError, match="no elements; pass elements"):
        data.from_mdanalysis(bare)
    assert data.from_mdanalysis(bare, elements=["CU"] * 8).kind.tolist() == [29] * 8


def test_mdanalysis_files(run, tmp_path):
    mda = pytest.importorskip("MDAnalysis")
    universe = mda.Universe.empty(8, trajectory=True)
    universe.add_TopologyAttr("elements", ["Cu"] * 8)
    universe.add_TopologyAttr("names", ["CU"] * 8)
    universe.load_new(np.stack([image.positions for image in run]).astype(np.float32), dt=0.002, order="fac")
    universe.atoms.write(tmp_path / "a.gro")
    universe.atoms.write(tmp_path / "a.xtc", frames="all")
    with pytest.raises(ValueError, match="pass topology="):
        read(tmp_path / "a.xtc")
    t = read(tmp_path / "a.xtc", topology=tmp_path / "a.gro", elements=["Cu"] * 8, unwrap=False)
    assert torch.allclose(t.x, from_ase(run).x, atol=1e-2)
    assert t.spacing == pytest.approx(2.0)
    whole = (tmp_path / "a.xtc").read_bytes()
    (tmp_path / "a.xtc").write_bytes(whole[: len(whole) // 8])
    with pytest.raises(ValueError, match="cut short"):
        read(tmp_path / "a.xtc", topology=tmp_path / "a.gro", elements=["Cu"] * 8)
