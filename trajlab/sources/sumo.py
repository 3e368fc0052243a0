"""Traffic made by SUMO: a grid of streets with random trips, run without a window, and read back as `Trajectories`.

Vehicles follow Krauss' car-following model (1998) and SUMO's lane-changing model (Erdmann, 2015); their paths are those of points on lanes, not of
bodies on wheels: call them kinematic-ish. Packages: ``eclipse-sumo`` (extra ``traffic``), which brings the programs; nothing else is needed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trajlab.catalog import need
from trajlab.data.adapters.sumo import read_sumo
from trajlab.types import Trajectories

__all__ = ["SumoConfig", "simulate_sumo"]

TIMEOUT = 1800.0  #: s of wall time a program


@dataclass(frozen=True)
class SumoConfig:
    """A grid of streets and the traffic on it.

    Attributes:
        grid: crossings a side.
        block: between crossings, m.
        lanes: in each direction.
        lights: traffic lights at crossings where they are usual; else right of way.
        period: mean time between departures, s.
        depart: vehicles depart until then, s.
        end: of the simulation, s.
        step: between frames, s.
        lane_change: how long a lane change takes, s; 0: vehicles jump to the next lane within a step.
        walkers: mean time between pedestrians, s; 0 for none (otherwise there are pavements and crossings).
        seed: of network, trips and drivers. The same seed gives the same trajectories with the same version of SUMO.
        trips_seed: of trips and drivers alone, for several days on one network; None: as ``seed``.
    """

    grid: int = 4
    block: float = 150.0
    lanes: int = 2
    lights: bool = True
    period: float = 1.5
    depart: float = 200.0
    end: float = 300.0
    step: float = 0.1
    lane_change: float = 3.0
    walkers: float = 0.0
    seed: int = 1
    trips_seed: int | None = None

    def __post_init__(self) -> None:
        if self.grid < 2 or self.lanes < 1 or min(self.block, self.period, self.depart, self.step) <= 0 or self.seed < 0:
            raise ValueError(f"{self}: a grid of at least 2, at least 1 lane, positive block, period, depart and step, and a seed of at least 0 "
                             "were wanted")
        if self.end < self.step or min(self.lane_change, self.walkers) < 0:
            raise ValueError(f"{self}: an end after the first step, and lane_change and walkers of at least 0 were wanted")


def simulate_sumo(config: SumoConfig | None = None, *, jumps: str = "split", reference: str = "centre",
                  cache: str | Path | None = None) -> Trajectories:
    """Run SUMO, or take the run from the cache, and read it.

    Args:
        config: what to simulate.
        jumps, reference: as `trajlab.data.adapters.sumo.read_sumo` has them.
        cache: folder of runs, kept under a hash of the config and the version of SUMO; None: the cache of downloads.

    Returns:
        One scene; ``source["config"]`` and ``["sumo"]`` (version). Positions have 4 decimal places.

    Raises:
        ImportError: eclipse-sumo is not installed.
        RuntimeError: one of its programs failed; what it said is told.

    Warns:
        UserWarning: as `read_sumo`.
    """
    config = config or SumoConfig()
    path, version = _run_of(config, cache)
    recording = read_sumo(path, jumps=jumps, reference=reference)
    return recording.replace(source={**recording.source, "config": asdict(config), "sumo": version})


def _run_of(config: SumoConfig, cache: str | Path | None) -> tuple[Path, str]:
    """The compressed floating-car data of a run, simulated on first use, and SUMO's version."""
    import pooch

    home, version = _home()
    key = hashlib.sha256(f"{config!r} {version}".encode()).hexdigest()[:12]
    folder = Path(cache) if cache is not None else Path(pooch.os_cache("trajlab")) / "sumo"
    path = folder / f"fcd-{key}.csv.gz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            os.replace(_simulated(config, home, Path(place)), path)
    return path, version


def _home() -> tuple[Path, str]:
    """Where the package keeps SUMO, and its version."""
    from importlib.metadata import PackageNotFoundError, version

    package = need("sumo", "traffic", "traffic made by SUMO")
    home = Path(str(package.__file__)).parent
    if not (home / "bin").is_dir():
        raise ImportError(f"the package sumo in {home} has no programs in bin/; traffic made by SUMO needs: pip install 'trajlab[traffic]'")
    try:
        return home, version("eclipse-sumo")
    except PackageNotFoundError:
        return home, "unknown"


def _simulated(config: SumoConfig, home: Path, place: Path) -> Path:
    """Network, trips and run; the path of the floating-car data."""
    seed = str(config.seed)
    later = str(config.seed if config.trips_seed is None else config.trips_seed)
    suffix = ".exe" if os.name == "nt" else ""
    program = lambda name: str(home / "bin" / f"{name}{suffix}")  # noqa: E731
    streets = ["--default.lanenumber", str(config.lanes), "--tls.guess", str(config.lights).lower()]
    pavements = ["--sidewalks.guess", "true", "--crossings.guess", "true"] if config.walkers else []
    _call([program("netgenerate"), "--grid", "--grid.number", str(config.grid), "--grid.length", f"{config.block:g}", *streets, *pavements,
           "--seed", seed, "-o", "net.net.xml"], home, place)
    _trips(home, place, ["-p", f"{config.period:g}", "-e", f"{config.depart:g}", "--seed", later], "routes.xml")
    routes = ["routes.xml"]
    if config.walkers:
        walking = ["-p", f"{config.walkers:g}", "-e", f"{config.depart:g}", "--seed", later, "--pedestrians", "--prefix", "walker"]
        _trips(home, place, walking, "walkers.xml")
        routes.append("walkers.xml")
    change = ["--lanechange.duration", f"{config.lane_change:g}"] if config.lane_change else []
    _call([program("sumo"), "-n", "net.net.xml", "-r", ",".join(routes), "--step-length", f"{config.step:g}", "--end", f"{config.end:g}",
           "--seed", later, "--precision", "4", *change, "--fcd-output", "fcd.csv.gz", "--no-step-log", "--no-warnings"], home, place)
    return place / "fcd.csv.gz"


def _trips(home: Path, place: Path, options: Sequence[str], out: str) -> None:
    """Random trips whose routes exist."""
    _call([sys.executable, str(home / "tools" / "randomTrips.py"), "-n", "net.net.xml", *options, "-o", f"trips.{out}", "-r", out, "--validate"],
          home, place)


def _call(command: Sequence[str], home: Path, place: Path) -> None:
    """Run one program in a folder.

    Raises:
        RuntimeError: it failed; its last words are told.
    """
    environment = {**os.environ, "SUMO_HOME": str(home), "PATH": os.pathsep.join([str(home / "bin"), os.environ.get("PATH", "")])}
    try:
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{Path(command[0]).name} could not be run: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise RuntimeError(f"{' '.join([Path(command[0]).name, *command[1:]])} failed with code {done.returncode}: {' '.join(said)}")
