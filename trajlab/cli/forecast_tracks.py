"""``trajlab forecast --data scene.csv --method kalman --report out.html``: agents of a table of tracks, or of a file of traffic, forecast, judged."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from trajlab import models
from trajlab.catalog import load, unknown
from trajlab.cli.options import parse
from trajlab.cli.tables import method as place_of

PAST = ("auto", "first", "last")
GIVEN, AHEAD = 2.0, 4.0  #: s, where nobody says


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what; guessed by its name where it is left out.

    Attributes:
        time: clock.
        frame: number of the frame, where there is no clock.
        id: of the agent.
        x: position.
        y: position.
        vx: velocity.
        vy: velocity.
        speed: along the heading.
        heading: direction of the agent.
        kind: class of the agent.
        length: of the agent.
        width: of the agent.
        scene: recording.
        valid: rows that count.
    """

    time: str | None = None
    frame: str | None = None
    id: str | None = None
    x: str | None = None
    y: str | None = None
    vx: str | None = None
    vy: str | None = None
    speed: str | None = None
    heading: str | None = None
    kind: str | None = None
    length: str | None = None
    width: str | None = None
    scene: str | None = None
    valid: str | None = None


@dataclass(frozen=True)
class Reading:
    """Units of a table and what is done about gaps; units as the ends of the columns' names say (speed_kmh), else SI, where they are left out.

    Attributes:
        position_unit: m, cm, km, ft or px.
        time_unit: s, ms, us, ns or frame.
        speed_unit: m/s, km/h, mph, kn or ft/s.
        heading_unit: rad or deg counter-clockwise from x, rad_north_cw or deg_north_cw clockwise from y.
        metres_per_pixel: for pixels.
        rate: frames a second, for frame numbers.
        y_down: y grows downwards, as in images.
        resample: put tracks on a clock of this step, s.
        gaps: frames that an agent misses are masked out (mask), or split its track in two (split).
        jumps: steps faster than 60 m/s are kept (keep), or split the track (split).
    """

    position_unit: str | None = None
    time_unit: str | None = None
    speed_unit: str | None = None
    heading_unit: str | None = None
    metres_per_pixel: float | None = None
    rate: float | None = None
    y_down: bool = False
    resample: float | None = None
    gaps: str = "mask"
    jumps: str = "keep"


@dataclass(frozen=True)
class TrackOptions:
    """Forecast the agents of a table of tracks (one row a sighting: time, id, x, y), or of a file of SUMO, CommonRoad, Argoverse 2, INTERACTION, ...

    Windows of given and predicted frames are cut all over the recording and judged by what came; where it is too short for that, or with --past
    last, its last frames are continued into what nobody knows.

    Attributes:
        run: a folder that trajlab fit motion wrote, instead of --method.
        data: the file.
        method: constant_velocity, heading_noise, turn_rate, constant_acceleration, mean_velocity, linear_fit, kalman, stand_still, or such a folder.
        given: frames (8) or seconds (3.2s) of the past; 2s if left out, or what the model was fitted with.
        steps: frames to predict.
        seconds: to predict, instead of --steps; 4 if neither is given, or what the model was fitted with.
        past: first, judge windows; last, continue the last frames; auto, judge where a window fits.
        hop: frames between the beginnings of windows; a quarter of the given ones if left out.
        windows: so many windows at most, evenly chosen.
        draws: for each agent.
        lanes: a map to draw under the agents and to judge the road by: CommonRoad .xml, Argoverse .json, lanelet2 .osm.
        report: write an HTML page.
        out: also write the forecast: a .zarr folder, or a .csv table.
        seed: of the draws.
        overwrite: replace what is there.
    """

    data: Path
    run: tyro.conf.Positional[Path | None] = None
    method: str = "constant_velocity"
    given: str | None = None
    steps: int | None = None
    seconds: float | None = None
    past: str = "auto"
    hop: int | None = None
    windows: int | None = None
    draws: int = 20
    lanes: Path | None = None
    report: Path | None = None
    out: Path | None = None
    seed: int = 0
    overwrite: bool = False
    columns: Annotated[Columns, tyro.conf.OmitArgPrefixes] = field(default_factory=Columns)
    reading: Annotated[Reading, tyro.conf.OmitArgPrefixes] = field(default_factory=Reading)


def is_for(arguments: Sequence[str]) -> bool:
    """Whether these arguments forecast a file of tracks."""
    return any(a == "--data" or a.startswith("--data=") for a in arguments)


def run(arguments: Sequence[str]) -> None:
    """Read, forecast, judge where what came is known, write, and say how it went."""
    options = parse(TrackOptions, arguments, "forecast")
    check(options)

    import torch

    from trajlab.cli.track_windows import cut, lanes_of, recorded
    from trajlab.evaluate.motion_page import MotionPage, judge_motion

    recording = recorded(options)
    lanes = lanes_of(options)
    model = fitted(options)
    task = cut(recording, options, model)
    model, notes = (model, []) if model is not None else baseline(options.method, task)
    forecast = forecast_of(model, task, options, torch.Generator().manual_seed(options.seed))
    told = {"data": str(options.data), "command": shlex.join(["trajlab", "forecast", *arguments])}
    forecast = forecast.replace(provenance={**forecast.provenance, **told})
    from trajlab.evaluate.track_tables import doubts, reading_table

    page = MotionPage(f"{options.data.name}: {forecast.provenance['method']}", notes=[*notes, *task.notes, *doubts(recording)],
                      tables=[reading_table(recording)])
    evaluation = judge_motion(forecast, task.truth, lanes=lanes, page=page)
    print(evaluation.summary)
    for line in written(forecast, evaluation, options):
        print(line)


def check(options: TrackOptions) -> None:
    """Refuse early, before anything slow is imported.

    Raises:
        ValueError: a number is out of range, a name unknown, or a file in the way.
        FileNotFoundError: the data, the map or the run are not there.
    """
    if options.past not in PAST:
        raise ValueError(unknown("past", options.past, PAST))
    for name in ("steps", "hop", "windows", "draws", "seconds"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} {value}: a positive number was wanted")
    if options.steps is not None and options.seconds is not None:
        raise ValueError("pass --steps or --seconds, and not both")
    for name, endings in (("report", (".html", ".htm")), ("out", (".zarr", ".csv"))):
        path = getattr(options, name)
        if path is not None and path.suffix not in endings:
            raise ValueError(f"--{name} {path} ends in {path.suffix!r}; wanted is {' or '.join(endings)}")
    if options.out is not None and options.out.exists() and not options.overwrite:
        raise ValueError(f"{options.out} exists; pass --overwrite to replace it, or another --out")
    for path in (options.data, options.lanes, options.run):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
    if folder_of(options) is None and options.method not in models.MOTION_BASELINES:
        raise ValueError(f"{unknown('method', options.method, models.MOTION_BASELINES)}, or a folder that trajlab fit motion wrote")


def folder_of(options: TrackOptions) -> Path | None:
    """The folder of a fitted model, if one is wanted."""
    return options.run if options.run is not None else Path(options.method) if (Path(options.method) / "model.json").is_file() else None


def fitted(options: TrackOptions) -> Any:
    """The fitted model of a folder, or None for a baseline.

    Raises:
        FileNotFoundError: there is no model in the folder.
        ValueError: its method does not forecast windows.
    """
    from trajlab.cli.forecast import method_of
    from trajlab.cli.windows import forecasts_windows

    folder = folder_of(options)
    if folder is None:
        return None
    name = method_of(folder)
    if not forecasts_windows(name):
        raise ValueError(f"{folder} was written by {name}, which does not forecast windows of agents; pass one that trajlab fit motion wrote")
    return load(place_of(name)).load(folder)


def baseline(name: str, task: Any) -> tuple[Any, list[str]]:
    """A method that learns next to nothing, fitted on all windows of the recording, and what is to be said of that."""
    model = load(models.MOTION_BASELINES[name])()
    try:
        model.fit(task.all_windows, task.given)
    except ValueError as error:
        if task.fits:
            raise
        raise ValueError(f"{name} cannot be fitted, for no window of {task.given} given and {task.steps} predicted frames fits into the recording "
                         f"({error}); choose fewer frames or a method that learns nothing (constant_velocity)") from error
    few = name == "kalman"
    return model, ["The noise of the filter, three numbers, was fitted on the recording itself."] if few else []


def forecast_of(model: Any, task: Any, options: TrackOptions, generator: Any) -> Any:
    """The forecast; a method that says one path says it once."""
    import inspect

    parameters = inspect.signature(model.forecast).parameters
    random = {"generator": generator} if "generator" in parameters else {"seed": options.seed}
    one = options.method in ("constant_velocity", "turn_rate", "constant_acceleration", "mean_velocity", "linear_fit", "stand_still")
    draws = 1 if one and folder_of(options) is None else options.draws
    return model.forecast(task.past, task.steps, draws=draws, **random)


def written(forecast: Any, evaluation: Any, options: TrackOptions) -> list[str]:
    """Write what is wanted; where it is, in words."""
    lines = []
    if options.out is not None and options.out.suffix == ".zarr":
        from trajlab.data import store

        store.save(forecast, options.out, overwrite=options.overwrite)
    elif options.out is not None:
        from trajlab.evaluate.track_tables import write_csv

        write_csv(forecast, options.out)
    if options.report is not None:
        from trajlab.report.page import report

        lines.append(f"report: {report(evaluation).save(options.report)}")
    return [*lines, f"saved in {options.out}"] if options.out is not None else lines


def given_columns(options: TrackOptions) -> dict[str, str]:
    """The columns that were told."""
    return {k: v for k, v in dataclasses.asdict(options.columns).items() if v is not None}
