"""Changes the form of trajectories, never their source: graphs, windows, splits, scales, batches, the store, and adapters."""

from __future__ import annotations

from typing import Any

TABLE = {
    "BatchOrder": "trajlab.data.batches:BatchOrder",
    "LaneMap": "trajlab.data.lanes:LaneMap",
    "Scale": "trajlab.data.normalise:Scale",
    "Split": "trajlab.data.splits:Split",
    "VerletList": "trajlab.data.graphs:VerletList",
    "append": "trajlab.data.store:append",
    "check_split": "trajlab.data.splits:check_split",
    "check_velocities": "trajlab.data.velocities:check_velocities",
    "checksum": "trajlab.data.fields:checksum",
    "concat": "trajlab.data.batches:concat",
    "finite_differences": "trajlab.data.velocities:finite_differences",
    "fit_scale": "trajlab.data.normalise:fit_scale",
    "from_ase": "trajlab.data.adapters.ase:from_ase",
    "from_mdanalysis": "trajlab.data.adapters.mdanalysis:from_mdanalysis",
    "from_numpy": "trajlab.data.adapters.arrays:from_numpy",
    "from_pyg": "trajlab.data.adapters.pyg:from_pyg",
    "from_table": "trajlab.data.adapters.tables:from_table",
    "info": "trajlab.data.store:info",
    "load": "trajlab.data.store:load",
    "neighbours": "trajlab.data.graphs:neighbours",
    "pieces": "trajlab.data.store:pieces",
    "save": "trajlab.data.store:save",
    "split": "trajlab.data.splits:split",
    "to_ase": "trajlab.data.adapters.ase:to_ase",
    "to_numpy": "trajlab.data.adapters.arrays:to_numpy",
    "to_pyg": "trajlab.data.adapters.pyg:to_pyg",
    "from_gluonts": "trajlab.data.adapters.gluonts:from_gluonts",
    "to_gluonts": "trajlab.data.adapters.gluonts:to_gluonts",
    "to_table": "trajlab.data.adapters.tables:to_table",
    "unwrap": "trajlab.data.cells:unwrap",
    "verify": "trajlab.data.store:verify",
    "wrap": "trajlab.data.cells:wrap",
}  # `read` and `windows` are functions in modules of their own name


def __getattr__(name: str) -> Any:
    from trajlab.catalog import load, unknown

    if name in TABLE:
        return load(TABLE[name])
    raise AttributeError(unknown("name in trajlab.data", name, TABLE))
