"""``trajlab bridge cells.h5ad --time-key day``: a Schrodinger bridge through snapshots, judged on snapshots left out, as one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from trajlab.cli.options import parse

EMBRYOID = ("test_rna.npz", "val_rna.npz")
COMPONENTS = 5  #: of the embryoid bodies, as in published tables, where nothing else is asked for


@dataclass(frozen=True)
class Options:
    """Fit a Schrodinger bridge through snapshots of cells; show cells, paths, velocity, fates and how near it comes to snapshots left out.

    Attributes:
        data: an .h5ad file, a table (.csv, .tsv) or arrays (.npz) with one row a cell, or a folder with the published embryoid bodies.
        time_key: the column of the time of each cell (of obs in .h5ad, of the table, of the arrays).
        use_rep: coordinates in .h5ad: a key of obsm, a layer, or X.
        dims: the first so many dimensions; all by default (5 for the embryoid bodies).
        family: of references: brownian, ou, or another name; trajlab bridge with a wrong name tells which there are.
        sigma: volatility in scaled coordinates, over the root of time; by default 0.2 over the root of the mean interval for brownian, estimated
            for others.
        iterations: of reference refinement, at most.
        scale: of coordinates: none, one divisor for all dimensions, or one for each.
        growth: penalty on the source marginals of the plans, for populations that grow; smaller lets cells multiply more.
        hold_out: numbers of inner snapshots that are left out of the fit and judged; by default all are fitted, and every inner one is left out in
            turn for the table.
        terminal: clusters of the last snapshot that are taken as ends.
        terminal_key: column of obs whose labels at the last time are the ends, instead of clusters (.h5ad).
        seed: of everything that is drawn.
        report: the page.
        out: where to write the paths (.zarr), or the cells with velocity, fates and couplings (.h5ad, of .h5ad).
    """

    data: tyro.conf.Positional[Path]
    time_key: str | None = None
    use_rep: str = "X_pca"
    dims: int | None = None
    family: str = "brownian"
    sigma: float | None = None
    iterations: int | None = None
    scale: Literal["none", "one", "each"] = "one"
    growth: float | None = None
    hold_out: tuple[int, ...] = ()
    terminal: int = 3
    terminal_key: str | None = None
    seed: int = 0
    report: Path = Path("report.html")
    out: Path | None = None


def run(arguments: Sequence[str]) -> None:
    """Fit, judge, and write the page."""
    given = parse(Options, arguments, "bridge")
    _checked(given)
    from trajlab.report.page import report
    from trajlab.report.text import summary

    snapshots = read_snapshots(given)
    bridge, terminal, evaluation = made(given, snapshots)
    print(summary(evaluation))
    if given.out is not None:
        print(f"\nwritten: {_written(given, bridge, terminal)}")
    print(f"\nreport: {report(evaluation).save(given.report)}")


def _checked(given: Options) -> None:
    if not given.data.exists():
        raise FileNotFoundError(f"{given.data} does not exist; an .h5ad file, a table, arrays (.npz) or a folder with the embryoid bodies was wanted")
    if given.terminal < 1:
        raise ValueError(f"--terminal {given.terminal}: at least one cluster of the last snapshot was wanted")
    if given.terminal_key is not None and given.data.suffix != ".h5ad":
        raise ValueError(f"--terminal-key needs the obs of an .h5ad file, {given.data.name} has none; leave it out for clusters of the last snapshot")
    if given.out is not None and given.out.suffix == ".h5ad" and given.data.suffix != ".h5ad":
        raise ValueError(f"--out {given.out}: cells can be written into .h5ad where they came from one; write the paths with --out paths.zarr")


def read_snapshots(given: Options) -> Any:
    """The snapshots of a file or folder.

    Raises:
        FileNotFoundError: a folder without the embryoid bodies.
        ValueError: a file of another kind, or what its reader refuses.
    """
    if given.data.is_dir():
        return _folder(given)
    if given.data.suffix == ".h5ad":
        from trajlab.data.adapters.anndata import read_anndata

        return read_anndata(given.data, time_key=given.time_key, use_rep=given.use_rep, n_dims=given.dims)
    if given.data.suffix in (".csv", ".tsv"):
        return _first(given, _table(given))
    if given.data.suffix == ".npz":
        return _first(given, _arrays(given))
    raise ValueError(f"{given.data}: snapshots are read from .h5ad, .csv, .tsv and .npz files, and from a folder with {' and '.join(EMBRYOID)}")


def _folder(given: Options) -> Any:
    from trajlab.sources.snapshots_cells import embryoid

    for place in (given.data, given.data / "nlsb_eb"):
        if all((place / name).is_file() for name in EMBRYOID):
            return embryoid(place, components=given.dims or COMPONENTS)
    raise FileNotFoundError(f"{given.data} is a folder without {' and '.join(EMBRYOID)}; name the file with the cells, such as "
                            f"{given.data}/cells.h5ad")


def _table(given: Options) -> Any:
    import pandas as pd

    from trajlab.data.adapters.snapshot_arrays import snapshots_from_table

    table = pd.read_csv(given.data, sep="\t" if given.data.suffix == ".tsv" else ",")
    return snapshots_from_table(table, time=given.time_key or str(table.columns[0]))


def _arrays(given: Options) -> Any:
    import numpy as np

    from trajlab.catalog import unknown
    from trajlab.data.adapters.snapshot_arrays import snapshots_from_numpy

    with np.load(given.data, allow_pickle=False) as file:
        keys = list(file)
        time = given.time_key or next((key for key in ("time", "ts", "dts", "t") if key in keys), "time")
        x = next((key for key in ("x", "X", "Xs", given.use_rep) if key in keys), "x")
        for key in (time, x):
            if key not in keys:
                raise ValueError(f"{given.data}: {unknown('array', key, keys)}")
        return snapshots_from_numpy(file[x], file[time])


def _first(given: Options, snapshots: Any) -> Any:
    """The first dimensions, where so many are asked for."""
    whole = snapshots.x.shape[1]
    if given.dims is None:
        return snapshots
    if not 1 <= given.dims <= whole:
        raise ValueError(f"--dims {given.dims}: {given.data.name} has {whole} dimensions")
    return snapshots.replace(x=snapshots.x[:, : given.dims], names=snapshots.names[: given.dims])


def made(given: Options, snapshots: Any) -> tuple[Any, dict[str, Any], Any]:
    """The fitted bridge, its ends, and the evaluation."""
    from trajlab.evaluate.cells import inner, leave_one_out
    from trajlab.evaluate.cells_bridge import BridgePrediction
    from trajlab.evaluate.cells_page import bridge_evaluation, ends_by_kmeans
    from trajlab.models.sbirr import SchrodingerBridge
    from trajlab.models.snapshot_baselines import CopyNext, CopyPrevious, ExactInterpolation, Pooled

    if given.hold_out:
        inner(snapshots, given.hold_out)
    config = config_of(given, snapshots)
    bridge = SchrodingerBridge(config).fit(snapshots, leave_out=given.hold_out)
    judged = replace(config, growth=None)
    methods = {"this bridge, means": lambda: BridgePrediction(judged), "this bridge, paths": lambda: BridgePrediction(judged, noise=True),
               "exact transport": ExactInterpolation, "copy previous": CopyPrevious, "copy next": CopyNext, "pooled neighbours": Pooled}
    folds = given.hold_out or None
    scores = leave_one_out(snapshots, methods, given.seed, folds, _say, bool(folds)) if snapshots.n_snapshots > 2 else []
    terminal = _labelled(given, bridge.snapshots) if given.terminal_key else ends_by_kmeans(bridge.snapshots, given.terminal, given.seed)
    return bridge, terminal, bridge_evaluation(bridge, terminal, scores, snapshots, given.data.name, given.seed)


def config_of(given: Options, snapshots: Any) -> Any:
    """The bridge's settings: those asked for, and those of the default where nothing is."""
    from trajlab.evaluate.cells_bridge import default_config
    from trajlab.models.sbirr_config import SchrodingerBridgeConfig

    still = default_config(snapshots)
    sigma = still.sigma if given.sigma is None and given.family == "brownian" else given.sigma
    count = given.iterations if given.iterations is not None else 0 if given.family == "brownian" else SchrodingerBridgeConfig.iterations
    return SchrodingerBridgeConfig(family=given.family, sigma=sigma, iterations=count, scale=given.scale, growth=given.growth, seed=given.seed)


def _labelled(given: Options, snapshots: Any) -> dict[str, Any]:
    """Terminal sets from a column of obs."""
    from trajlab.catalog import need, unknown
    from trajlab.models.fates import terminal_sets

    adata = need("anndata", "cells", "--terminal-key").read_h5ad(given.data, backed="r")
    try:
        if given.terminal_key not in adata.obs.columns:
            raise ValueError(f"--terminal-key: obs has {unknown('column', str(given.terminal_key), map(str, adata.obs.columns))}")
        return terminal_sets(snapshots, adata.obs[given.terminal_key].to_numpy())
    finally:
        adata.file.close()


def _written(given: Options, bridge: Any, terminal: dict[str, Any]) -> Path:
    """Paths as a store, or the cells with what was found of them."""
    out = given.out
    if out is None or out.suffix != ".h5ad":
        import torch

        from trajlab.data.store import save

        clock = torch.linspace(float(bridge.snapshots.time[0]), float(bridge.snapshots.time[-1]), 41, dtype=torch.float64)
        save(bridge.bridge(clock, 400, given.seed), out or Path("bridge.zarr"))
        return out or Path("bridge.zarr")
    from trajlab.catalog import need
    from trajlab.models.cell_answers import to_anndata

    adata = need("anndata", "cells", "--out").read_h5ad(given.data)
    to_anndata(bridge, adata, terminal=terminal, seed=given.seed).write_h5ad(out)
    return out


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
