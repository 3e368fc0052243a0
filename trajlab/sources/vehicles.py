"""Windows of vehicles by name: traffic made by SUMO, and NGSIM recordings from CommonRoad scenarios.

Traffic of SUMO is simulated on first use: one network, and three days of trips for training, validation and test. Recordings that are given as files
are parted by vehicle, so that none is in two parts. Figures on both are of one place and a few minutes: they compare methods, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trajlab.catalog import load, unknown
from trajlab.data.adapters.commonroad import commonroad_lanes, read_commonroad
from trajlab.data.adapters.sumo import read_sumo
from trajlab.data.batches import concat
from trajlab.data.lanes import LaneMap
from trajlab.sources.sumo import SumoConfig, simulate_sumo
from trajlab.sources.vehicle_cards import SCENARIOS, card
from trajlab.sources.vehicle_windows import VehicleRule, part_by_vehicle, share_of, vehicle_windows
from trajlab.types import Trajectories

__all__ = ["VehicleRule", "ngsim", "ngsim_lanes", "ngsim_recordings", "share_of", "sumo", "sumo_lc3", "vehicle_windows", "vehicles"]

Parts = tuple[Trajectories, Trajectories, Trajectories]
ENDINGS = (".parquet", ".csv", ".csv.gz", ".xml", ".xml.gz")
BRIEF = 150.0  #: s of the day for validation, of which vehicles depart for two thirds
URBAN = ("USA_Lanker-1_1_T-1", "USA_Peach-4_8_T-1")


def vehicles(name: str, folder: str | Path | None = None, **options: Any) -> Parts:
    """Training, validation and test windows of vehicles.

    Args:
        name: ``"sumo"`` (lane changes within a step), ``"sumo_lc3"`` (lane changes of 3 s) or ``"ngsim"``.
        folder: with the files; None: simulated, or downloaded.
        **options: ``rule``, a `VehicleRule`; ``share`` of the training windows; and those of `sumo`, `sumo_lc3` and `ngsim`.

    Returns:
        Three sets of windows in metres and seconds, see `vehicle_windows`.

    Raises:
        ValueError: there is no set of this name, or as the reader says.
        TypeError: the set has no such option.
        FileNotFoundError: a file is missing.
        ImportError: SUMO is needed and not installed.
    """
    import inspect

    from trajlab.sources import VEHICLES

    if name not in VEHICLES:
        raise ValueError(unknown("set of vehicles", name, VEHICLES))
    function: Callable[..., Parts] = load(VEHICLES[name])
    known = [p for p in inspect.signature(function).parameters if p != "folder"]
    for option in options:
        if option not in known:
            raise TypeError(f"vehicles({name!r}) has {unknown('option', option, known)}")
    return function(folder, **options)


def sumo(folder: str | Path | None = None, *, rule: VehicleRule | None = None, share: float = 1.0, seed: int = 1, config: SumoConfig | None = None,
         cache: str | Path | None = None, jumps: str = "split", reference: str = "centre") -> Parts:
    """Windows of SUMO traffic in which lanes are changed within a step; tracks are split there.

    Args:
        folder: with ``fcd.parquet`` (or .csv, .xml; compressed): parted by vehicle, 64 % : 8 % : 28 %. None: simulated.
        rule: windows; 11 + 80 frames every second around every vehicle.
        share: of the training windows, see `share_of`.
        seed: of the trips; the three days have seeds ``3 seed``, ``3 seed + 1`` and ``3 seed + 2``. Of the parts, where there is a folder.
        config: of the simulation; its ``trips_seed`` is not used.
        cache: folder of simulated runs.
        jumps, reference: see `read_sumo`.

    Raises:
        FileNotFoundError: there is no such file in the folder.
        ImportError: eclipse-sumo is not installed.
        ValueError: no window fits, or an option is out of range.
    """
    config = config or SumoConfig(lane_change=0.0)
    return _sumo(folder, "fcd", config, rule or VehicleRule(), share, {"seed": seed, "cache": cache, "jumps": jumps, "reference": reference})


def sumo_lc3(folder: str | Path | None = None, *, rule: VehicleRule | None = None, share: float = 1.0, seed: int = 1,
             config: SumoConfig | None = None, cache: str | Path | None = None, jumps: str = "split", reference: str = "centre") -> Parts:
    """Windows of SUMO traffic in which a lane change takes 3 s; as `sumo`, and from ``fcd_lc3.parquet`` where there is a folder."""
    config = config or SumoConfig(lane_change=3.0)
    return _sumo(folder, "fcd_lc3", config, rule or VehicleRule(), share, {"seed": seed, "cache": cache, "jumps": jumps, "reference": reference})


def _sumo(folder: str | Path | None, stem: str, config: SumoConfig, rule: VehicleRule, share: float, more: Mapping[str, Any]) -> Parts:
    how = {"jumps": more["jumps"], "reference": more["reference"]}
    if folder is not None:
        paths = [Path(folder) / f"{stem}{ending}" for ending in ENDINGS]
        path = next((p for p in paths if p.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"there is no {stem} of {', '.join(ENDINGS)} in {folder}; leave folder= away to simulate it")
        windows = vehicle_windows(read_sumo(path, **how), rule)
        parts = part_by_vehicle(windows, given=rule.given, generator=torch.Generator().manual_seed(more["seed"]))
    else:
        days = [replace(config, trips_seed=3 * more["seed"] + k) for k in range(3)]
        brief = min(config.end, BRIEF)
        days[1] = replace(days[1], end=brief, depart=min(config.depart, brief * 2 / 3))
        runs = [simulate_sumo(day, cache=more["cache"], **how) for day in days]
        parts = tuple(_named(vehicle_windows(run.replace(context={"run": torch.tensor([k])}), rule), name)  # type: ignore[assignment]
                      for k, (run, name) in enumerate(zip(runs, ("train", "validation", "test"))))
    return share_of(parts[0], share, generator=torch.Generator().manual_seed(more["seed"])), parts[1], parts[2]


def _named(windows: Trajectories, name: str) -> Trajectories:
    return windows.replace(source={**windows.source, "part": name})


def ngsim_recordings(folder: str | Path | None = None) -> dict[str, Trajectories]:
    """The five NGSIM scenarios, by name.

    Raises:
        FileNotFoundError, ConnectionError: a file is missing. ``USA_US101-3_1_T-1`` cannot be downloaded; without a folder it is left out.
        ValueError: a file is damaged.
    """
    names = [name for name in SCENARIOS if folder is not None or card(name).url]
    return {name: read_commonroad(card(name).path(folder)) for name in names}


def ngsim_lanes(scenario: str, folder: str | Path | None = None) -> LaneMap:
    """The lanes of an NGSIM scenario, in the frame of its recording.

    Raises:
        FileNotFoundError, ConnectionError: the file is missing.
        ValueError: there is no such scenario.
    """
    return commonroad_lanes(card(scenario).path(folder))


def ngsim(folder: str | Path | None = None, *, rule: VehicleRule | None = None, share: float = 1.0, seed: int = 1, split: str = "vehicle") -> Parts:
    """Windows of the NGSIM scenarios of CommonRoad: three of the US 101 highway and two of urban streets, 3 to 10 s each.

    Args:
        folder: with the XML files; None: downloaded.
        rule: windows; 11 + 20 frames every 0.5 s by default, as the recordings are short (8 s of future fit into one alone).
        share: of the training windows.
        seed: of the parts and the share.
        split: ``"vehicle"``: disjoint vehicles, 64 % : 8 % : 28 %. ``"scene"``: trained on US 101, tested on the urban streets; the validation
            vehicles are from US 101.

    Returns:
        ``context["run"]`` is the place of the scenario in ``source["scenarios"]``.

    Raises:
        FileNotFoundError, ConnectionError: a file is missing.
        ValueError: no window fits, or an option is out of range.
    """
    if split not in ("vehicle", "scene"):
        raise ValueError(unknown("split", split, ("vehicle", "scene")))
    rule = rule or VehicleRule(predicted=20, hop=5)
    recordings = ngsim_recordings(folder)
    whole = concat([one.replace(context={"run": torch.tensor([k])}) for k, one in enumerate(recordings.values())], pad=True)
    whole = whole.replace(source={"what": "NGSIM vehicles", "reader": "commonroad", "kinds": next(iter(recordings.values())).source["kinds"],
                                  "scenarios": list(recordings), "dropped": _sum([one.source["dropped"] for one in recordings.values()])})
    windows = vehicle_windows(whole, rule)
    generator = torch.Generator().manual_seed(seed)
    if split == "vehicle":
        train, validation, test = part_by_vehicle(windows, given=rule.given, generator=generator)
    else:
        urban = torch.tensor([k for k, name in enumerate(recordings) if name in URBAN])
        away = torch.isin(windows.context["run"], urban)
        train, validation, _ = part_by_vehicle(windows.scenes((~away).nonzero().flatten()), (0.88, 0.12, 0.0), given=rule.given, generator=generator)
        test = _named(windows.scenes(away.nonzero().flatten()), "test")
    return share_of(train, share, generator=torch.Generator().manual_seed(seed)), validation, test


def _sum(counts: list[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(c[name] for c in counts) for name in counts[0]}
