"""One door for every file: the reader is picked by what the file holds."""

from __future__ import annotations

import gzip
import inspect
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trajlab.catalog import load as imported
from trajlab.catalog import unknown

__all__ = ["READERS", "kind_of_file", "read"]

# What a file can be, its reader, and the function whose further options the reader passes on.
READERS: dict[str, tuple[str, str | None]] = {
    "zarr store": ("trajlab.data.store:load", None),
    "npz arrays": ("trajlab.data.adapters.arrays:read_npz", None),
    "table of tracks": ("trajlab.data.adapters.tables:read_table", "trajlab.data.adapters.tables:from_table"),
    "table of visits": ("trajlab.data.adapters.jump_tables:read_jumps", "trajlab.data.adapters.jump_tables:jumps_from_table"),
    "SUMO floating-car data": ("trajlab.data.adapters.sumo:read_sumo", None),
    "CommonRoad scenario": ("trajlab.data.adapters.commonroad:read_commonroad", None),
    "Argoverse 2 scenario": ("trajlab.data.adapters.argoverse:read_argoverse", None),
    "INTERACTION tracks": ("trajlab.data.adapters.interaction:read_interaction", None),
    "TrajNet++ scenes": ("trajlab.data.adapters.trajnet:read_trajnet", None),
    "nuScenes-like arrays": ("trajlab.data.adapters.nuscenes_arrays:read_nuscenes_arrays", None),
    "LAMMPS dump": ("trajlab.data.adapters.lammps:read_lammps", None),
    "MDAnalysis trajectory": ("trajlab.data.adapters.mdanalysis:read_mdanalysis", "trajlab.data.adapters.mdanalysis:from_mdanalysis"),
    "AnnData": ("trajlab.data.adapters.anndata:read_anndata", "trajlab.data.adapters.anndata:from_anndata"),
    "SDD annotation": ("trajlab.data.adapters.sdd:read_sdd", None),
    "SDD of TrajNet": ("trajlab.data.adapters.sdd:read_sdd_trajnet", None),
    "ETH/UCY text": ("trajlab.data.adapters.eth_ucy:read_eth_ucy", None),
    "ASE file": ("trajlab.data.adapters.ase:read_ase", "trajlab.data.adapters.ase:from_ase"),
}
# By which columns the tables of traffic are told from others.
COLUMNS = {("timestep_time", "vehicle_x", "vehicle_angle"): "SUMO floating-car data", ("scenario_id", "focal_track_id"): "Argoverse 2 scenario",
           ("track_id", "timestamp_ms", "agent_type"): "INTERACTION tracks"}
SDD = re.compile(rb'(-?\d+ ){9}"?[A-Z][a-z]+"?\s')  #: a box of the drone videos: nine whole numbers and a label


def read(path: str | Path, **options: Any) -> Any:
    """Read a file or a store into a noun, by what it holds rather than what it is called.

    - a zarr store (folder or ``.zarr.zip``): ``scenes=``, ``frames=``; see `trajlab.data.store.load`
    - ``.txt`` of the ETH/UCY recordings (frame, pedestrian, x, y): see `trajlab.data.adapters.eth_ucy.read_eth_ucy`
    - ``.txt`` of the Stanford Drone Dataset: annotations in pixels, ``scale=``, and files of TrajNet with withheld places; see `read_sdd`
    - ``.npz`` of the MD17 family: ``spacing=``; see `trajlab.data.adapters.arrays.read_npz`
    - ``.csv``, ``.tsv``, ``.parquet``, ``.feather`` tables of tracks: ``time=``, ``node=``, ``position=``, ...; see `from_table`.
      It takes positions alone unless told more; `read_tracks` finds velocities, headings and sizes of vehicles and people by the columns' names, and
      checks their units
    - ``.csv`` and ``.tsv`` tables with a column ``state`` and no ``x``, into `JumpPaths`: ``death=``, ``censor=``, ...; see `jumps_from_table`
    - SUMO's floating-car data (csv, xml, parquet): ``jumps=``, ``sizes=``, ``reference=``; see `read_sumo`
    - Argoverse 2 scenarios (parquet, or the folder of one), INTERACTION tracks (csv), TrajNet++ (ndjson, ``cut=``), nuScenes-like states (npz): see
      `read_argoverse`, `read_interaction`, `read_trajnet`, `read_nuscenes_arrays`
    - CommonRoad scenarios (xml): see `read_commonroad`; the lanes of the file are read by `commonroad_lanes`
    - LAMMPS text dumps: ``units=``, ``elements=``, ``timestep=``; see `read_lammps`
    - ``.xtc``, ``.trr``, ``.dcd``, ``.nc``: ``topology=``, ``select=``; see `read_mdanalysis` (extra ``md``)
    - ``.h5ad`` of cells at several times, into `Snapshots`: ``time_key=``, ``use_rep=``, ...; see `from_anndata` (extra ``cells``)
    - everything that ASE reads (extxyz, traj, cif, POSCAR, ...): ``spacing=``, ``velocity_unit=``, ...; see `from_ase`

    Raises:
        FileNotFoundError: nothing is there.
        TypeError: the reader has no such option.
        ValueError: the file is empty, cut short or damaged, or what the reader refuses (unknown elements, values that are not finite,
            velocities in another unit than declared, no clock).
    """
    path = Path(path)
    name = kind_of_file(path)
    reader, more = READERS[name]
    function = imported(reader)
    known = _options(function) + (_options(imported(more)) if more else [])
    for option in options:
        if option not in known:
            raise TypeError(f"{path} is read as {name}, which has {unknown('option', option, known)}")
    return function(path, **options)


def kind_of_file(path: str | Path) -> str:
    """Which of `READERS` a file is for.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is a folder without a store, or an empty file.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "zarr.json").is_file():
            return "zarr store"
        if any(path.glob("scenario_*.parquet")):
            return "Argoverse 2 scenario"
        raise ValueError(f"{path} is a folder without a zarr store (no zarr.json in it); give a file, or a store made by trajlab.save")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        head = file.read(256)
    if not head:
        raise ValueError(f"{path} is empty")
    if head[:2] == b"PK" and _holds(path, "states.npy") and _holds(path, "valid.npy"):
        return "nuScenes-like arrays"
    if head[:2] == b"PK":
        return "zarr store" if _holds(path, "zarr.json") or path.name.endswith(".zarr.zip") else "npz arrays"
    if head.lstrip().startswith(b"ITEM: TIMESTEP"):
        return "LAMMPS dump"
    traffic = _traffic(path, head)
    if traffic:
        return traffic
    if path.suffix in (".csv", ".tsv", ".parquet", ".feather"):
        return "table of visits" if path.suffix in (".csv", ".tsv") and _visits(head) else "table of tracks"
    if path.suffix in (".xtc", ".trr", ".dcd", ".nc", ".ncdf"):
        return "MDAnalysis trajectory"
    if path.suffix == ".h5ad":
        return "AnnData"
    if path.suffix == ".txt" and SDD.match(head):
        return "SDD annotation"
    if path.suffix == ".txt" and _numbers(head) in (4, 8):
        return "SDD of TrajNet" if b"?" in path.read_bytes() else "ETH/UCY text"
    return "npz arrays" if path.suffix == ".npz" else "ASE file"


def _traffic(path: Path, head: bytes) -> str:
    """Which form of traffic a file holds, by its first element or its columns; "" for none."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".xml"):
        from trajlab.data.adapters._xml import root_name

        return {"fcd-export": "SUMO floating-car data", "commonRoad": "CommonRoad scenario"}.get(root_name(path), "")
    if path.name.endswith(".csv.gz"):
        with gzip.open(path) as file:
            head = file.read(256)
    columns = set(re.split(r"[;,]", head.partition(b"\n")[0].decode(errors="replace").strip())) if name.endswith(".csv") else set()
    if path.suffix == ".parquet":
        columns = _parquet_columns(path)
    if path.suffix == ".ndjson":
        return "TrajNet++ scenes"
    for wanted, kind in COLUMNS.items():
        if set(wanted) <= columns:
            return kind
    return ""


def _parquet_columns(path: Path) -> set[str]:
    """The columns of a parquet file; none where it cannot be opened, which its reader will say."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        return set(read_schema(path).names)
    except (ArrowException, OSError):
        return set()


def _visits(head: bytes) -> bool:
    """Whether the columns are those of states seen at visits: a state and no position."""
    names = {c.strip().strip('"').lower() for c in re.split(r"[,\t]", head.partition(b"\n")[0].decode(errors="replace"))}
    return "state" in names and "x" not in names


def _numbers(head: bytes) -> int:
    """How many numbers the first line consists of; 0 where it holds anything else."""
    words = head.partition(b"\n")[0].split()
    try:
        return len([float(word) for word in words])
    except ValueError:
        return 0


def _holds(path: Path, name: str) -> bool:
    return zipfile.is_zipfile(path) and name in zipfile.ZipFile(path).namelist()


def _options(function: Callable[..., Any]) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
