"""``trajlab bridge`` from the command line: what it reads, shows and writes, and misuse in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import trajlab
from trajlab.cli.main import main


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def branches(cells=40, seed=0):
    """Cells that start in one cloud and part into two: coordinates and times."""
    rng = np.random.default_rng(seed)
    x, time = [], []
    for k in range(4):
        side = rng.choice([-1.0, 1.0], cells)
        x.append(np.stack([np.full(cells, float(k)), side * max(k - 1, 0)], 1) + 0.15 * rng.standard_normal((cells, 2)))
        time += [float(k)] * cells
    return np.concatenate(x), np.array(time)


def write_csv(path="cells.csv"):
    x, time = branches()
    lines = [f"{t},{a},{b}" for t, (a, b) in zip(time, x)]
    Path(path).write_text("\n".join(["day,one,two", *lines]) + "\n")
    return path


def call(*arguments):
    return main(["bridge", *map(str, arguments)])


def test_a_table_becomes_a_page(capsys):
    assert call(write_csv(), "--terminal", 2, "--out", "bridge.zarr") == 0
    said = capsys.readouterr()
    page = Path("report.html").read_text()
    for part in ("Snapshots left out", "this bridge, means", "exact transport", "floor (halves)", "Fates", "Velocity", "of the bridge", "mean W2"):
        assert part in page, part
    assert page.count("<svg") >= 4
    assert "report: report.html" in said.out
    assert "copy previous" in said.out
    paths = trajlab.load("bridge.zarr")
    assert paths.x.shape == (400, 41, 2)


def test_arrays_with_a_snapshot_held_out_never_see_it(capsys):
    x, time = branches()
    rows = {}
    for name, scale in (("cells", 1.0), ("garbage", 50.0)):
        np.savez(f"{name}.npz", X=np.where((time == 2)[:, None], scale * x, x), ts=time)
        assert call(f"{name}.npz", "--hold-out", 2, "--report", f"{name}.html", "--out", f"{name}.zarr") == 0
        capsys.readouterr()
        rows[name] = trajlab.load(f"{name}.zarr").x
    assert (rows["cells"] == rows["garbage"]).all()


def test_annotated_data_and_back(capsys):
    anndata = pytest.importorskip("anndata")
    import pandas as pd

    x, time = branches(25)
    obs = pd.DataFrame({"day": [f"D{t:g}" for t in time], "kind": np.where(x[:, 1] > 0, "up", "down")}, index=[f"c{k}" for k in range(len(x))])
    anndata.AnnData(np.zeros((len(x), 1)), obs=obs, obsm={"X_pca": x}).write_h5ad("cells.h5ad")
    more = ["--terminal-key", "kind", "--out", "out.h5ad", "--family", "ou", "--sigma", 0.3, "--iterations", 2]
    assert call("cells.h5ad", "--time-key", "day", *more) == 0
    said = capsys.readouterr().out
    assert "up" in said
    assert "Objective of the refinement" in Path("report.html").read_text()
    back = anndata.read_h5ad("out.h5ad")
    assert back.obsm["velocity_pca"].shape == x.shape
    assert back.obsm["trajlab_fates"].shape == (len(x), 2)


@pytest.mark.parametrize(("arguments", "says"), [
    (["none.h5ad"], "none.h5ad does not exist"),
    (["cells.csv", "--familiy", "ou"], "did you mean '--family'"),
    (["cells.csv", "--family", "browniann"], "did you mean 'brownian'"),
    (["cells.csv", "--time-key", "dya"], "did you mean 'day'"),
    (["cells.csv", "--hold-out", "0"], "1 to 2"),
    (["cells.csv", "--terminal", "0"], "at least one cluster"),
    (["cells.csv", "--terminal", "1000"], "1 to 40 were wanted"),
    (["cells.csv", "--terminal-key", "kind"], "needs the obs"),
    (["cells.csv", "--dims", "3"], "has 2 dimensions"),
    (["cells.csv", "--out", "cells.h5ad"], "--out paths.zarr"),
    (["cells.txt"], "snapshots are read from"),
    (["."], "a folder without test_rna.npz"),
    (["empty.npz"], "no array 'time'"),
])
def test_misuse_is_told_in_one_line(arguments, says, capsys):
    write_csv()
    Path("cells.txt").write_text("1 2 3\n")
    np.savez("empty.npz", y=np.zeros(3))
    assert call(*arguments) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert says in told[-1]
    assert not Path("report.html").exists()


def test_embryoid_bodies(reference, capsys):
    folder = reference / "cells" / "nlsb_eb"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not part of the project")
    from trajlab.cli.bridge import Options, read_snapshots

    assert read_snapshots(Options(folder)).x.shape == (2750, 5)
    assert read_snapshots(Options(folder.parent, dims=20)).x.shape == (2750, 20)
