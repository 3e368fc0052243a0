"""``trajlab prepare DATA_SET``: recorded or simulated data, cut into training, validation and test parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import tyro

from trajlab import sources
from trajlab.catalog import load
from trajlab.cli.options import command, parse, subject

PEDESTRIANS = """Cut recorded pedestrians into windows: all scenes but one to train on, that one to test.

Attributes:
    scene: tested on: eth, hotel, univ, zara1, zara2, or eth_native (the true clock).
    out: folder in which train.zarr, validation.zarr and test.zarr are written.
    folder: where the text files are; without it they are downloaded.
    given: frames.
    predicted: frames.
    least: pedestrians in a window: 1, or 2 as in Social GAN.
    agents: complete (seen in all frames) or present (seen in the last given frame, masked elsewhere).
    hop: frames between the beginnings of windows.
    stretched: warn, keep or correct the stretched clock of the ETH file.
    overwrite: replace what is there.
"""
VEHICLES = """Cut traffic into windows around vehicles, none of which is in two parts.

Attributes:
    out: folder in which train.zarr, validation.zarr and test.zarr are written.
    folder: where the recordings are; without it they are downloaded, or simulated (extra traffic).
    given: frames, of 0.1 s; 11 if left out.
    predicted: frames; 80 if left out, 20 of the short NGSIM recordings.
    hop: frames between the beginnings of windows; 10 if left out, 5 of NGSIM.
    neighbours: of each vehicle, at most, within 50 m.
    share: of the training windows.
    seed: of the trips of a simulation, or of the parts of a recording.
    overwrite: replace what is there.
"""
SENSORS = """Cut series of sensors into training (70 %), validation (10 %) and test (20 %), one after another in time.

Attributes:
    folder: where the files are.
    out: folder in which train.zarr, validation.zarr and test.zarr are written, and adjacency.npy where links come with the series.
    overwrite: replace what is there.
"""
PARTS = ("train", "validation", "test")


def options(name: str) -> type:
    """The options of ``trajlab prepare NAME``."""
    if name in sources.SENSOR_SETS:
        own = [("folder", tyro.conf.Positional[Path], MISSING), ("out", Path, Path("sensors")), ("overwrite", bool, False)]
        return command("Prepare", SENSORS, own)
    if name in sources.VEHICLES:
        own = [("out", Path, Path("vehicles")), ("folder", Path | None, None), ("given", int | None, None), ("predicted", int | None, None),
               ("hop", int | None, None), ("neighbours", int, 0), ("share", float, 1.0), ("seed", int, 1), ("overwrite", bool, False)]
        return command("Prepare", VEHICLES, own)
    own = [("scene", tyro.conf.Positional[str], MISSING), ("out", Path, Path("pedestrians")), ("folder", Path | None, None), ("given", int, 8),
           ("predicted", int, 12), ("least", int, 1), ("agents", str, "complete"), ("hop", int, 1), ("stretched", str, "warn"),
           ("overwrite", bool, False)]
    return command("Prepare", PEDESTRIANS, own)


def run(arguments: Sequence[str]) -> None:
    """Read, cut and store."""
    name, rest = subject(arguments, "data set", [*sources.DATA_SETS, *sources.VEHICLES, *sources.SENSOR_SETS], "prepare")
    given: Any = parse(options(name), rest, f"prepare {name}")
    targets = [given.out / f"{part}.zarr" for part in PARTS]
    there = [str(path) for path in targets if path.exists()]
    if there and not given.overwrite:
        raise ValueError(f"{there[0]} exists; pass --overwrite to replace it, or another --out")

    from trajlab.data import store

    make: Callable[[str, Any], Sequence[Any]] = sensors if name in sources.SENSOR_SETS else vehicles if name in sources.VEHICLES else pedestrians
    parts = make(name, given)
    given.out.mkdir(parents=True, exist_ok=True)
    for trajectories, path in zip(parts, targets):
        print(f"{path}: {trajectories}")
        store.save(trajectories, path, overwrite=given.overwrite)


def pedestrians(name: str, given: Any) -> Sequence[Any]:
    return load(sources.DATA_SETS[name])(given.folder, given.scene, given.given, given.predicted, least=given.least, agents=given.agents,
                                         hop=given.hop, stretched=given.stretched)


def vehicles(name: str, given: Any) -> Sequence[Any]:
    from trajlab.sources.vehicle_windows import VehicleRule

    default = {"given": 11, "predicted": 20, "hop": 5} if name == "ngsim" else {"given": 11, "predicted": 80, "hop": 10}
    frames = {key: default[key] if getattr(given, key) is None else getattr(given, key) for key in default}
    return load(sources.VEHICLES[name])(given.folder, rule=VehicleRule(**frames, neighbours=given.neighbours), share=given.share, seed=given.seed)


def sensors(name: str, given: Any) -> Sequence[Any]:
    """Parts in time; links that come with the series are written beside them."""
    import numpy as np

    from trajlab.sources.air_quality import time_parts

    found = load(sources.SENSOR_SETS[name])(given.folder)
    series, adjacency = found if isinstance(found, tuple) else (found, None)
    if adjacency is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        np.save(given.out / "adjacency.npy", adjacency.numpy())
    return time_parts(series)
