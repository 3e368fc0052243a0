"""``trajlab forecast RUN --start FILE --out forecast.zarr``: the method that wrote the run says which options there are.

Propagators are rolled out here; methods that forecast windows are in `trajlab.cli.windows`, agents of a table in `trajlab.cli.forecast_tracks`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from trajlab import models
from trajlab.catalog import load, unknown
from trajlab.cli import forecast_tracks, windows
from trajlab.cli.options import parse
from trajlab.cli.tables import method
from trajlab.cli.windows import forecasts_windows

ENDINGS = (".zarr", ".extxyz", ".xyz", ".traj")
THERMOSTATS = ("langevin", "csvr", "nve")


@dataclass(frozen=True)
class Options:
    """Continue the last frames of a file with a fitted model, by a roll-out. Systems that a watchdog stops keep what was computed until then.

    A model of windows (geotdm, motion) has other options: trajlab forecast RUN --help shows those of the method that wrote RUN. Agents of a table
    of tracks (time, id, x, y) are forecast without a fit too: trajlab forecast --data scene.csv, see trajlab forecast --data scene.csv --help.

    Attributes:
        run: a folder that trajlab fit wrote.
        start: where to start: the last frame of every scene in it.
        steps: strides.
        out: a .zarr folder, .extxyz or .traj; the latter two are one file a replica.
        replicas: systems that run at once: so many of the scenes of the start, evenly chosen, or repeats of them where there are fewer.
        thermostat: langevin, csvr or nve.
        temperature: K; the temperature of the start or of training if not given.
        to_temperature: ramp to this temperature, K.
        tau: time constant of the thermostat, fs; 50 strides if not given.
        velocities: given, or maxwell_boltzmann to draw them.
        record_every: strides between recorded frames.
        seed: of the noise.
        restart: file to write every so often, from which --resume goes on.
        resume: go on from this restart file up to --steps in all, instead of --start.
        watch: stop systems that leave what training has seen.
        overwrite: replace what is there.
        threads: of torch on the CPU.
        quiet: no progress bar.
    """

    run: tyro.conf.Positional[Path]
    steps: int
    start: Path | None = None
    out: Path = Path("forecast.zarr")
    replicas: int | None = None
    thermostat: str = "langevin"
    temperature: float | None = None
    to_temperature: float | None = None
    tau: float | None = None
    velocities: str = "given"
    record_every: int = 1
    seed: int = 0
    restart: Path | None = None
    resume: Path | None = None
    watch: bool = True
    overwrite: bool = False
    threads: int = 1
    quiet: bool = False


def run(arguments: Sequence[str]) -> None:
    """Forecast with the method that wrote the run; roll out, write, and say how it ended. With ``--data``, see `trajlab.cli.forecast_tracks`."""
    if forecast_tracks.is_for(arguments):
        forecast_tracks.run(arguments)
        return
    folder = run_among(arguments)
    if folder is not None and forecasts_windows(method_of(folder)):
        windows.run(arguments)
        return
    given = parse(Options, arguments, "forecast")
    check(given)
    name = method_of(given.run)

    import torch

    import trajlab

    torch.set_num_threads(given.threads)
    model = load(method(name)).load(given.run)
    options = rollout_options(given)
    if given.resume is not None:
        from trajlab.models.rollout import RolloutConfig, resume

        forecast = resume(given.resume, model, given.steps, RolloutConfig(**options))
    else:
        forecast = model.forecast(begin(trajlab.read(given.start), given), given.steps, **options)
    if given.out.suffix == ".zarr" and given.restart is None and given.resume is None:
        from trajlab.data import store

        told = {**forecast.provenance, "command": shlex.join(["trajlab", "forecast", *arguments])}
        store.save(forecast.replace(provenance=told), given.out, overwrite=True)  # replaces what was written on the way
    print(ending(forecast, given.out))


def run_among(arguments: Sequence[str]) -> Path | None:
    """The first argument that is a folder with a fitted model, which decides how the others are read."""
    return next((Path(a) for a in arguments if not a.startswith("-") and (Path(a) / "model.json").is_file()), None)


def check(given: Options) -> None:
    """Refuse early, before anything slow is imported.

    Raises:
        ValueError: a name is unknown, a file is in the way, or the start is missing.
        FileNotFoundError: the start is not there.
    """
    if given.thermostat.lower() not in THERMOSTATS:
        raise ValueError(unknown("thermostat", given.thermostat, THERMOSTATS))
    if given.out.suffix not in ENDINGS:
        raise ValueError(f"--out {given.out} ends in {given.out.suffix!r}; wanted is one of {', '.join(ENDINGS)}")
    if given.resume is None and given.out.exists() and not given.overwrite:
        raise ValueError(f"{given.out} exists; pass --overwrite to replace it, or another --out")
    if (given.start is None) == (given.resume is None):
        raise ValueError("pass --start FILE, or --resume FILE to go on from a restart file, and not both")
    for path in (given.start, given.resume):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} does not exist")


def method_of(folder: Path) -> str:
    """The method that wrote a run's folder.

    Raises:
        FileNotFoundError: there is no model in it.
        ValueError: there is no such method (with the nearest that there is).
    """
    file = folder / "model.json"
    if not file.is_file():
        state = "exists, but holds no model.json: has its fit ended?" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(f"{folder} {state} (trajlab fit writes such a folder)")
    name = str(json.loads(file.read_text()).get("method"))
    if name not in models.TABLE:
        raise ValueError(f"{file} was written by another method: {unknown('method', name, models.TABLE)}")
    return name


def rollout_options(given: Options) -> dict[str, Any]:
    """What `trajlab.models.rollout.RolloutConfig` takes."""
    from trajlab.dynamics.thermostats import Ramp

    temperature: Any = given.temperature
    if given.to_temperature is not None:
        if given.temperature is None:
            raise ValueError("--to-temperature needs --temperature, where the ramp begins")
        temperature = Ramp(given.temperature, given.to_temperature, given.steps)
    options = {"thermostat": given.thermostat, "temperature_K": temperature, "tau_fs": given.tau, "seed": given.seed, "velocities": given.velocities,
               "record_every": given.record_every, "write": given.out, "restart": given.restart, "progress": not given.quiet}
    return options if given.watch else {**options, "watch": None}


def begin(start: Any, given: Options) -> Any:
    """The frames to start from: as many scenes as replicas are wanted, with velocities to be overwritten where they are to be drawn."""
    import torch

    start = start.last()
    if given.velocities == "maxwell_boltzmann" and "velocity" not in start.extra:
        start = start.replace(extra={**start.extra, "velocity": torch.zeros_like(start.x)})
    if given.replicas is None:
        return start
    if given.replicas < 1:
        raise ValueError(f"--replicas {given.replicas}: at least 1 was wanted")
    n = start.n_scenes
    if given.replicas <= n:
        return start.scenes([k * n // given.replicas for k in range(given.replicas)])
    return start.scenes([k % n for k in range(given.replicas)])


def ending(forecast: Any, out: Path) -> str:
    """How it went, in a few lines."""
    stopped = [f"  replica {k}: {reason}" for k, reason in enumerate(forecast.stopped) if reason]
    frames, last = forecast.draws.shape[2], float(forecast.time[0, -1] - forecast.past.time[0, -1])
    head = f"{forecast.past.n_scenes} replicas, {frames} frames, {last / 1000:.4g} ps; {len(stopped)} stopped early"
    where = out if out.suffix == ".zarr" or forecast.past.n_scenes == 1 else f"{out.with_name(out.stem)}-000{out.suffix} and so on"
    return "\n".join([head, *stopped, f"saved in {where}"])
